//! The same on real engines: with a volume that is due and one in quarantine, nothing that is wrong with the configuration or the
//! engine's address changes anything.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::damage::bad_input::{is_refusal, text};
use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine, tree_listing};

/// Everything that a command could change.
fn on_disk(engine: &PrivateEngine, volgc: &Volgc) -> Vec<String> {
    let places = [engine.volumes_dir(), engine.root().join("volgc"), volgc.state_dir()];
    // The engine writes into its own record of the volumes by itself.
    let is_its_record = |line: &String| line.starts_with("metadata.db ");
    places.iter().flat_map(|place| tree_listing(place)).filter(|line| !is_its_record(line)).collect()
}

#[track_caller]
fn assert_nothing_changes(
    engine: &PrivateEngine,
    volgc: &Volgc,
    config: &str,
    entry: &str,
    status: i32,
    parts: &[&str],
) {
    volgc.config(config);
    let before = (on_disk(engine, volgc), engine.volume_names());
    let commands: [&[&str]; 6] = [
        &["sweep"],
        &["run"],
        &["quarantine", "due"],
        &["restore", entry],
        &["delete", "--yes", entry],
        &["report"],
    ];
    for words in commands {
        // The service waits for an engine that is not there yet.
        if words == ["run"] && status != 2 {
            continue;
        }
        let output = volgc.run(words);
        is_refusal(words, &output, status, parts);
    }
    let after = (on_disk(engine, volgc), engine.volume_names());
    assert_eq!(after, before, "{config}");
}

fn at(socket: &Path) -> String {
    NO_GRACE.replace("{socket}", &text(socket))
}

on_each_engine! {
    fn what_is_wrong_with_the_configuration_changes_nothing(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for (seed, name) in ["aside", "due"].into_iter().enumerate() {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, seed as u64);
        }
        volgc.ok(&["quarantine", "aside"]);
        let entry = volgc.entry_id_of("aside");

        let mistakes = [
            (NO_GRACE.replace("mode = \"enforce\"", "mode = "), ":1:8:"),
            (format!("colour = true\n{NO_GRACE}"), "colour"),
            (NO_GRACE.replacen("= \"0s\"", "= \"7dd\"", 1), "7dd"),
            (format!("{NO_GRACE}[schedule]\ncron = \"0 0 30 2 *\"\n"), "0 0 30 2 *"),
        ];
        for (config, part) in mistakes {
            assert_nothing_changes(&engine, &volgc, &config, &entry, 2, &["1 mistake in", part]);
        }
        let socket = engine.dir().join("other");
        assert_nothing_changes(&engine, &volgc, &at(&socket), &entry, 1, &["cannot reach", "No such file"]);
        drop(UnixListener::bind(&socket).unwrap());
        assert_nothing_changes(&engine, &volgc, &at(&socket), &entry, 1, &["cannot reach", "Connection refused"]);
        fs::remove_file(&socket).unwrap();

        // Both were within reach all the time.
        volgc.config(NO_GRACE);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
    }
}
