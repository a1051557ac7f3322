//! What nothing holds: which of it is taken, when, how much at once, and what never is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness::{
    Contents, KEEP_IN_QUARANTINE, NO_GRACE, OBSERVE, Version, Volgc, on_each_engine, tree_digest,
    tree_listing,
};
use serde_json::Value;

const NOBODY: [&str; 0] = [];

/// A configuration without grace, in a mode, with these rules and limits of their own.
fn config(mode: &str, rules: &str, limits: &str) -> String {
    format!(
        "mode = \"{mode}\"\n[docker]\nhost = \"unix://{{socket}}\"\n[policy.anonymous]\nquarantine_after = \"0s\"\n\
         delete_after = \"1h\"\n{rules}\n[limits]\nmin_grace = \"0s\"\nmin_sightings = 1\n{limits}"
    )
}

fn rule(name: &str, conditions: &str, what: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nmatch = {{ {conditions} }}\n{what}\n")
}

const COLLECT: &str = "quarantine_after = \"0s\"\ndelete_after = \"1h\"";

fn reasons(volgc: &Volgc) -> BTreeMap<String, String> {
    let report = volgc.report();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    report["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (word(line, "name"), word(line, "reason")))
        .collect()
}

on_each_engine! {
    fn orphans_are_quarantined_whole_then_deleted(engine: PrivateEngine) {
        engine.create_volume("orphan", &[("a", "b")]);
        let digest = engine.fill_volume("orphan", 1);
        let anonymous = engine.docker(&["volume", "create"]);
        engine.docker(&["create", "--name", "gone", "-v", "/data", "bbvol"]);
        engine.docker(&["rm", "gone"]);
        let volgc = Volgc::configured(&engine, NO_GRACE);

        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names().len(), 3, "the first sighting only starts the clock");
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), NOBODY);
        assert_eq!(engine.docker(&["volume", "ls", "-q"]), "");
        assert_eq!(fs::read_dir(engine.volumes_dir()).unwrap().flatten().filter(|e| e.path().is_dir()).count(), 0);
        let names = volgc.quarantined_names();
        assert!(names.len() == 3 && names.contains(&"orphan".to_owned()) && names.contains(&anonymous), "{names:?}");
        let data = engine.quarantined_data(&volgc.entry_id_of("orphan"));
        assert_eq!(tree_digest(&data), digest, "{:#?}", tree_listing(&data));

        volgc.ok(&["sweep"]);
        assert_eq!(volgc.entries(), Vec::<Value>::new());
        assert_eq!(engine.left_in_quarantine(), NOBODY);
    }

    /// Four sightings are needed; the commands between the first sweep and the second would be more than that.
    fn what_a_command_sees_is_no_sighting(engine: PrivateEngine) {
        let everything = rule("all", "volume = \"*\"", COLLECT);
        let volgc = Volgc::configured(&engine, &config("quarantine", &everything, "").replace("sightings = 1", "sightings = 4"));
        for name in ["db", "extra"] {
            engine.create_volume(name, &[]);
        }
        volgc.ok(&["sweep"]);
        let seen = |sweeps: &str| {
            let story = volgc.ok(&["explain", "db"]);
            assert!(story.contains(&format!("seen so by {sweeps} until now (4 needed)")), "{story}");
        };
        for words in [&["report"][..], &["check"], &["list"], &["holds"], &["history"], &["acknowledge"], &["explain", "extra"]] {
            volgc.ok(words);
        }
        seen("1 sweep");
        for _ in 0..2 {
            volgc.ok(&["quarantine", "extra"]);
            volgc.ok(&["hold", "extra", "--reason", "audit"]);
            volgc.ok(&["release", "extra"]);
            volgc.ok(&["restore", "extra"]);
            volgc.run(&["delete", "--yes", "20270115-080000-0000000a"]);
            seen("1 sweep");
        }
        volgc.ok(&["quarantine", "extra"]);
        let entry = volgc.entry_id_of("extra");
        volgc.ok(&["delete", "--yes", &entry]);
        seen("1 sweep");
        for sweeps in ["2 sweeps", "3 sweeps"] {
            volgc.ok(&["sweep"]);
            seen(sweeps);
        }
        volgc.ok(&["sweep"]);
        assert_eq!(engine.volume_names(), NOBODY);
    }

    fn volumes_with_options_are_never_moved(engine: PrivateEngine) {
        let host = engine.dir().join("host");
        fs::create_dir(&host).unwrap();
        harness::fill(&host, 3);
        let mut kept = Contents::new(&engine);
        kept.note(&host);
        let device = format!("device={}", host.display());
        for (name, options) in [
            ("bind", ["type=none", "o=bind", device.as_str()]),
            ("memory", ["type=tmpfs", "o=size=1m", "device=tmpfs"]),
            ("nfs", ["type=nfs", "o=addr=192.0.2.1,rw", "device=:/export"]),
        ] {
            let options = options.iter().flat_map(|option| ["--opt", option]);
            engine.docker(&["volume", "create"].into_iter().chain(options).chain([name]).collect::<Vec<_>>());
        }
        // Mounted once, so that the directory below has been in use.
        engine.docker(&["run", "--rm", "-v", "bind:/data", "bb", "cat", "/data/PG_VERSION"]);

        kept.assert_survive_sweeps();
        assert_eq!(engine.volume_names(), ["bind", "memory", "nfs"]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for name in ["bind", "memory", "nfs"] {
            let told = volgc.told_of(name);
            assert_eq!(told["action"], "keep");
            assert_eq!(told["reason"], "driver_options", "{told:#}");
            assert!(told["detail"].as_str().unwrap().contains("driver options"), "{told:#}");
        }
        let output = volgc.refused(&["quarantine", "bind"]);
        assert!(output.contains("kept volume bind: cannot be moved"), "{output}");
        assert_eq!(engine.docker(&["run", "--rm", "-v", "bind:/data", "bb", "cat", "/data/PG_VERSION"]), "15");
    }

    fn a_project_that_is_down_is_taken_by_its_rule_alone(engine: PrivateEngine) {
        for (name, project) in [("shop_db", "shop"), ("shop-test_db", "shop-test"), ("blog_db", "blog")] {
            engine.create_volume(
                name,
                &[("com.docker.compose.project", project), ("com.docker.compose.volume", "db")],
            );
        }
        engine.create_volume("shop_like", &[]);
        let rules = rule("tests", "compose_project = \"*-test\"", COLLECT);
        let volgc = Volgc::configured(&engine, &config("quarantine", &rules, ""));
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["blog_db", "shop_db", "shop_like"]);
        assert_eq!(volgc.quarantined_names(), ["shop-test_db"]);
    }

    fn named_volumes_are_kept_by_default(engine: PrivateEngine) {
        engine.create_volume("named", &[]);
        // Compose gives this form of a name to nothing, but a label of its says that somebody manages the volume.
        let generated = "0a".repeat(32);
        engine.create_volume(&generated, &[("com.docker.compose.project", "shop")]);
        let anonymous = engine.docker(&["volume", "create"]);
        let volgc = Volgc::configured(&engine, &config("quarantine", "", ""));
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), [anonymous]);
        let told = volgc.told_of("named");
        assert_eq!(told["reason"], "class_keep");
        assert!(!told["unreferenced_since"].is_null(), "{told:#}");
        assert_eq!(volgc.reason_of(&generated), "class_keep");
    }

    /// By hand under a policy that keeps: then no sweep ever deletes it, also under another policy, and whoever orders it is told.
    fn what_the_policy_keeps_and_a_hand_sets_aside_is_for_a_hand_to_delete(engine: PrivateEngine) {
        engine.create_volume("named", &[]);
        let anonymous = engine.docker(&["volume", "create"]);
        let volgc = Volgc::configured(&engine, &config("quarantine", "", ""));
        let told = volgc.ok(&["quarantine", "named", &anonymous]);
        let entry = volgc.entry_id_of("named");
        let way = format!("so no sweep deletes the entry: `volgc delete {entry}` does");
        assert!(told.contains(&way) && told.matches("no sweep deletes").count() == 1, "{told}");
        assert!(volgc.ok(&["list"]).contains(&format!("`volgc delete {entry}` does")), "{}", volgc.ok(&["list"]));
        volgc.config(NO_GRACE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        assert_eq!(volgc.entry_of("named")["reason"], "operator_deletes");
        assert_eq!(volgc.entry_of(&anonymous)["reason"], "in_quarantine", "the hour that was promised");
        volgc.ok(&["delete", "--yes", &entry]);
        assert_eq!(volgc.quarantined_names(), [anonymous]);
    }

    fn labels_keep_whatever_the_rules_say(engine: PrivateEngine) {
        engine.create_volume("asked", &[("volgc.keep", "true")]);
        engine.create_volume("misspelt", &[("volgc.keep", "yes")]);
        engine.create_volume("unknown", &[("volgc.ttl", "14d")]);
        engine.create_volume("declined", &[("volgc.keep", "false")]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        let expected = [("asked", "keep_label"), ("misspelt", "malformed_label"), ("unknown", "malformed_label")];
        assert_eq!(reasons(&volgc), expected.map(|(name, why)| (name.to_owned(), why.to_owned())).into());
        assert!(volgc.told_of("misspelt")["detail"].as_str().unwrap().contains("volgc.keep=yes"));
        let output = volgc.refused(&["quarantine", "asked", "misspelt"]);
        assert_eq!(output.matches("kept volume").count(), 2, "{output}");
    }

    fn the_first_rule_that_matches_decides(engine: PrivateEngine) {
        for name in ["ci-cache", "ci-db", "db"] {
            engine.create_volume(name, &[("tier", "test")]);
        }
        engine.create_volume("ci-prod", &[("tier", "prod")]);
        let rules = [
            rule("databases", "volume = \"*-db\"", "keep = true"),
            rule("ci", "volume = \"ci-*\", label = \"tier=test\"", COLLECT),
            rule("rest", "volume = \"*\"", "keep = true"),
            rule("too late", "volume = \"*\"", COLLECT),
        ];
        let volgc = Volgc::configured(&engine, &config("quarantine", &rules.concat(), ""));
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["ci-cache"]);
        for (name, rule) in [("ci-db", "databases"), ("ci-prod", "rest"), ("db", "rest")] {
            let told = volgc.told_of(name);
            assert_eq!((&told["reason"], &told["rule"]), (&"rule_keep".into(), &rule.into()), "{told:#}");
        }
    }

    fn a_sweep_takes_the_oldest_and_leaves_the_rest_for_later(engine: PrivateEngine) {
        let volgc = Volgc::configured(&engine, OBSERVE);
        // Their names run against their ages.
        let by_age = ["z-oldest", "m-middle", "a-youngest"];
        for name in by_age {
            engine.create_volume(name, &[]);
            volgc.ok(&["sweep"]);
        }
        let limits = "max_per_sweep = 1\nmax_share_per_sweep = \"1%\"\n";
        volgc.config(&config("quarantine", &rule("all", "volume = \"*\"", COLLECT), limits));
        let mut taken = Vec::new();
        for name in by_age {
            let waiting: Vec<String> = engine.volume_names().into_iter().filter(|other| *other != name).collect();
            volgc.ok(&["sweep"]);
            assert_eq!(engine.volume_names(), waiting);
            taken.push(name.to_owned());
            assert_eq!(volgc.quarantined_names().len(), taken.len());
        }
    }

    fn what_waits_for_the_limit_says_so(engine: PrivateEngine) {
        for name in ["one", "two", "three"] {
            engine.create_volume(name, &[]);
        }
        let limits = "max_per_sweep = 2\nmax_share_per_sweep = \"1%\"\n";
        let volgc = Volgc::configured(&engine, &config("quarantine", &rule("all", "volume = \"*\"", COLLECT), limits));
        volgc.ok(&["sweep"]);
        let count = |word: &str| reasons(&volgc).values().filter(|reason| *reason == word).count();
        assert_eq!((count("grace_over"), count("limit_per_sweep")), (2, 1));
    }

    fn each_mode_goes_as_far_as_it_says(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        kept.volume("orphan");
        let volgc = Volgc::configured(&engine, OBSERVE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        kept.assert_untouched();
        assert!(!engine.root().join("volgc").exists(), "observing made a quarantine");
        assert_eq!(volgc.told_of("orphan")["action"], "quarantine");
        assert_eq!(volgc.run(&["report", "--detailed-exit-code"]).status, Some(10));

        volgc.config(&NO_GRACE.replace("\"enforce\"", "\"quarantine\""));
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        let entry = volgc.entry_of("orphan");
        assert_eq!((&entry["action"], &entry["reason"]), (&"delete".into(), &"grace_over".into()), "{entry:#}");

        // Orders by hand are not limited by it, but by everything else.
        volgc.config(OBSERVE);
        volgc.ok(&["restore", "orphan"]);
        kept.assert_untouched();
        volgc.ok(&["quarantine", "orphan"]);
        assert_eq!(volgc.quarantined_names(), ["orphan"]);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        let entry = volgc.entry_id_of("orphan");
        assert_eq!(volgc.run(&["delete", &entry]).status, Some(2), "nobody was there to be asked");
        volgc.ok(&["delete", "--yes", &entry]);
        assert_eq!(volgc.entries(), Vec::<Value>::new());
    }

    fn an_approved_plan_takes_nothing_else(engine: PrivateEngine) {
        let plan = |volgc: &Volgc, path: &Path| {
            fs::write(path, volgc.ok(&["report", "--format", "json", "--no-sizes"])).unwrap();
            path.display().to_string()
        };
        let mut kept = Contents::new(&engine);
        for name in ["approved", "re-created"] {
            engine.create_volume(name, &[]);
        }
        let volgc = Volgc::configured(&engine, OBSERVE);
        volgc.ok(&["sweep"]);
        let file = plan(&volgc, &engine.dir().join("plan.json"));
        engine.docker(&["volume", "rm", "re-created"]);
        kept.volume("re-created");
        kept.volume("late");
        volgc.ok(&["sweep"]);
        for name in ["approved", "re-created", "late"] {
            assert_eq!(volgc.told_of(name)["action"], "quarantine", "all three are due");
        }

        volgc.config(NO_GRACE);
        for _ in 0..3 {
            volgc.ok(&["sweep", "--plan", &file]);
            assert_eq!(volgc.quarantined_names(), ["approved"], "its deletion is in no plan");
            kept.assert_untouched();
        }
        assert_eq!(volgc.entry_of("approved")["action"], "delete", "it is due all the same");
        let file = plan(&volgc, &engine.dir().join("next.json"));
        volgc.ok(&["sweep", "--plan", &file]);
        assert_eq!(volgc.quarantined_names(), ["late", "re-created"]);
    }

    fn anonymous_is_what_the_engine_made_without_a_name(engine: PrivateEngine) {
        engine.docker(&["create", "--name", "app", "--mount", "type=volume,dst=/data", "bb"]);
        engine.docker(&["rm", "app"]);
        let name = engine.volume_names().pop().unwrap();
        let has_label = |name: &str| {
            let labels = engine.json("GET", &format!("/volumes/{name}"), None)["Labels"].clone();
            labels.get("com.docker.volume.anonymous").is_some()
        };
        // The engine labels it since 27.4; what is made without `--mount`, since 23.0.
        assert_eq!(has_label(&name), engine.version() == Version::V28_5);
        let labelled = engine.docker(&["volume", "create"]);
        assert_eq!(has_label(&labelled), engine.version() != Version::V20_10);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        for volume in [&name, &labelled] {
            assert_eq!(volgc.told_of(volume)["class"], "anonymous");
        }
    }
}
