//! What a person reads has no word of the JSON form in it: those have underscores, and belong to scripts.

use std::fs;

use volgc::gc::brakes;
use volgc::gc::history::Happening;
use volgc::gc::reference::Witness;

use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine};

/// Words with an underscore that only JSON, the ledger and logs may have. Those of the configuration are the operator's own.
fn words_of_json() -> Vec<&'static str> {
    let kinds = ["unloaded_container", "unknown_swarm"];
    let states = ["in_doubt", "in_place_in_doubt"];
    let reasons = [
        "keep_label",
        "malformed_label",
        "rule_keep",
        "class_keep",
        "sudden_orphan",
        "first_sighting",
        "within_grace",
        "too_few_sightings",
        "limit_per_sweep",
        "not_ordered",
        "grace_over",
        "by_hand",
        "in_quarantine",
        "operator_deletes",
        "name_in_use",
        "unfinished_move",
        "unfinished_restore",
        "unfinished_deletion",
        "manifest_damaged",
        "not_listed",
        "volume_gone",
        "not_opted_in",
        "driver_options",
        "name_not_accepted",
        "foreign_content",
        "options_file",
    ];
    let witnesses = Witness::ALL.map(Witness::word);
    let happenings = Happening::ALL.map(Happening::word);
    let all = [&kinds[..], &states, &reasons, &witnesses, &happenings, &brakes::WORDS].concat();
    all.into_iter().filter(|word| word.contains('_')).collect()
}

#[track_caller]
fn assert_spoken(volgc: &Volgc, arguments: &[&str]) -> String {
    let output = volgc.run(arguments);
    let text = format!("{}{}", output.stdout, output.stderr);
    let shown: Vec<_> = words_of_json().into_iter().filter(|word| text.contains(word)).collect();
    assert!(shown.is_empty(), "volgc {} shows {shown:?}:\n{text}", arguments.join(" "));
    text
}

on_each_engine! {
    fn a_container_that_was_not_loaded(engine: PrivateEngine) {
        for name in ["held", "free", "odd"] {
            engine.create_volume(name, &[]);
        }
        fs::write(engine.volumes_dir().join("odd/beside"), "").unwrap();
        engine.docker(&["create", "--name", "lost", "-v", "held:/data", "bb", "true"]);
        let id = engine.docker(&["inspect", "--format", "{{.Id}}", "lost"]);
        engine.stop();
        let file = engine.root().join("containers").join(&id).join("hostconfig.json");
        let text = fs::read(&file).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        engine.restart();

        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        let mut shown = assert_spoken(&volgc, &["report"]);
        for arguments in [
            &["sweep"][..], &["sweep"], &["list"], &["history"], &["check"], &["report"], &["explain", "held"],
            &["explain", "free"], &["explain", "odd"], &["quarantine", "held", "odd"],
        ] {
            shown.push_str(&assert_spoken(&volgc, arguments));
        }
        assert!(shown.contains("held by unloaded container"), "{shown}");
        // For scripts the words are what they were.
        assert_eq!(volgc.told_of("held")["holders"][0]["kind"], "unloaded_container");
    }

    /// What the engine refuses, or a brake stops, is told in sentences too.
    fn a_refusal(engine: PrivateEngine) {
        engine.create_volume("free", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["sweep"]);
        let other = PrivateEngine::builder(engine.version()).without_images().start();
        volgc.config(&KEEP_IN_QUARANTINE.replace("{socket}", &other.socket().display().to_string()));
        for arguments in [&["sweep"][..], &["report"], &["check"], &["explain", "free"], &["history"]] {
            assert_spoken(&volgc, arguments);
        }
        let refused = volgc.run(&["sweep"]);
        assert!(refused.stdout.contains("refused to act (other engine)"), "{refused:?}");
    }
}
