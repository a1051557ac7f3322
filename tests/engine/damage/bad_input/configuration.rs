//! The configuration file and the command line.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{CONFIG, Volgc, due, fails, on_disk, text};

/// Commands that read the configuration, the ones that change something among them.
const COMMANDS: [&[&str]; 7] = [
    &["report"],
    &["list"],
    &["check"],
    &["sweep"],
    &["run"],
    &["quarantine", "orphan"],
    &["explain", "orphan"],
];

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_remedy() {
    let (fake, volgc) = due();
    let file = text(&volgc.config_file());
    let at = |line: usize| format!("{file}:{line}:");
    let cases: [(&str, Vec<String>); 7] = [
        ("mode = \n", vec![at(1), "1 mistake in".into()]),
        ("mode = \"observe\"\n[dokcer]\n", vec![at(2), "dokcer".into(), "docker".into()]),
        (
            "[policy.anonymous]\nquarantine_after = \"7dd\"\ndelete_after = \"1d\"\n",
            vec![at(2), "7dd".into(), "7d".into()],
        ),
        ("[schedule]\ncron = \"0 0 30 2 *\"\n", vec![at(2), "0 0 30 2 *".into(), "never".into()]),
        ("[schedule]\ntimezone = \"Mars/Olympus\"\n", vec![at(2), "Mars/Olympus".into()]),
        ("[docker]\nhost = 7\n", vec![at(2)]),
        (
            "mode = \"enfroce\"\n[schedule]\ncron = \"61 * * * *\"\n[limits]\nmin_grace = \"soon\"\nmax_per_sweep = -1\n",
            vec![at(1), at(3), at(5), at(6), "4 mistakes in".into()],
        ),
    ];
    for (config, parts) in cases {
        volgc.config(config);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        for words in COMMANDS {
            let output = fails(&fake, &volgc, words, 2, &parts);
            assert_eq!(output.stdout, "", "{words:?}: data on stdout");
        }
        assert!(fake.take().is_empty(), "the engine was asked");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let (fake, volgc) = due();
    let file = volgc.config_file();
    let named = text(&file);
    fs::remove_file(&file).unwrap();
    for words in COMMANDS {
        fails(&fake, &volgc, words, 2, &["cannot read the configuration", &named, "No such file"]);
    }
    fs::create_dir(&file).unwrap();
    fails(&fake, &volgc, &["sweep"], 2, &["cannot read the configuration", &named, "directory"]);
    fs::remove_dir(&file).unwrap();
    fs::write(&file, b"mode = \"observe\" # \xff\n").unwrap();
    fails(&fake, &volgc, &["sweep"], 2, &["cannot read the configuration", &named, "UTF-8"]);
}

#[test]
fn the_configuration_is_taken_from_the_argument_then_the_environment() {
    let (fake, volgc) = due();
    let run = |config: Option<&str>| {
        // Without the `--config` that the harness gives.
        let mut command = std::process::Command::new(harness::program());
        command.env_clear().arg("--state-dir").arg(volgc.state_dir()).arg("check").current_dir(fake.dir());
        command.env("DOCKER_HOST", format!("unix://{}", fake.socket().display()));
        config.map(|file| command.env("VOLGC_CONFIG", file));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let named = text(&volgc.config_file());
    let (status, stdout, _) = run(Some(&named));
    assert!(status == Some(0) && stdout.contains(&named) && stdout.contains("rule everything"), "{stdout}");
    let (status, _, stderr) = run(Some("/nowhere/volgc.toml"));
    assert!(status == Some(2) && stderr.contains("/nowhere/volgc.toml"), "{stderr}");
    // Only the default file may be missing; an empty variable is none.
    for config in [None, Some("")] {
        let (status, stdout, stderr) = run(config);
        assert!(status == Some(0) && stdout.contains("built-in defaults"), "{stdout}{stderr}");
    }
    // The argument comes first.
    let output = volgc.env("VOLGC_CONFIG", "/nowhere/volgc.toml").run(&["check"]);
    assert_eq!(output.status, Some(0), "{output:?}");
}

#[test]
fn commands_that_are_not_understood_change_nothing() {
    let (fake, volgc) = due();
    let cases: [(&[&str], &[&str]); 15] = [
        (&[], &["Usage: volgc"]),
        (&["prune"], &["unrecognized subcommand 'prune'", "Usage"]),
        (&["repotr"], &["'report'"]),
        (&["restore"], &["<ENTRY|VOLUME>", "Usage: volgc restore"]),
        (&["delete"], &["<ENTRY>"]),
        (&["quarantine"], &["<VOLUME>"]),
        (&["hold", "orphan"], &["--reason"]),
        (&["report", "--format", "html"], &["table", "json"]),
        (&["report", "--frobnicate"], &["--frobnicate"]),
        (&["hold", "orphan", "--reason", "x", "--for", "7dd"], &["--for", "7dd"]),
        (&["hold", "orphan", "--reason", " "], &["--reason", "why"]),
        (&["history", "--since", "yesterday"], &["--since", "yesterday"]),
        (&["quarantine", "../used"], &["../used"]),
        (&["explain", ""], &["volume"]),
        (&["delete", "--yes", "../../etc"], &["../../etc", "volgc list"]),
    ];
    for (words, parts) in cases {
        fails(&fake, &volgc, words, 2, parts);
    }
    fails(&fake, &volgc, &["restore", "nothing"], 1, &["no entry nothing", "volgc list"]);
    fails(&fake, &volgc, &["explain", "nothing"], 1, &["no volume nothing", "volgc report"]);
    fails(&fake, &volgc, &["release", "nothing"], 1, &["no hold on nothing", "volgc holds"]);
    fails(&fake, &volgc, &["sweep", "--plan", "/nowhere/plan"], 2, &["/nowhere/plan", "No such file"]);
    let plan = fake.dir().join("plan");
    for (content, part) in [
        ("{", "is no report"),
        ("[]", "is no report"),
        (r#"{"schema_version":99}"#, "volgc report --format json"),
    ] {
        fs::write(&plan, content).unwrap();
        fails(&fake, &volgc, &["sweep", "--plan", &text(&plan)], 2, &[&text(&plan), part]);
    }
    let mut report = volgc.json(&["report", "--format", "json"]);
    report["quarantine"] = serde_json::json!([{ "entry": "../../etc", "action": "delete" }]);
    fs::write(&plan, report.to_string()).unwrap();
    let parts = [&text(&plan), "\"../../etc\" is not the name of a quarantine entry"];
    fails(&fake, &volgc, &["sweep", "--plan", &text(&plan)], 2, &parts);
    report["quarantine"] = serde_json::json!([]);
    report["volumes"] = serde_json::json!([{ "name": "../../etc", "identity": "x", "action": "quarantine" }]);
    fs::write(&plan, report.to_string()).unwrap();
    fails(&fake, &volgc, &["sweep", "--plan", &text(&plan)], 2, &[&text(&plan), "../../etc"]);
}

#[test]
fn nothing_is_deleted_without_yes_and_without_a_terminal() {
    let (fake, volgc) = due();
    volgc.ok(&["sweep"]);
    let list = volgc.json(&["list", "--format", "json"]);
    let entry = list[0]["entry"].as_str().unwrap();
    fails(&fake, &volgc, &["delete", entry], 2, &["--yes", "terminal"]);

    // Not even when somebody pipes an answer in.
    let before = on_disk(&fake, &volgc);
    let mut child = volgc
        .command(&["delete", entry])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it could be told.
    child.stdin.take().unwrap().write_all(b"y\n").ok();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(on_disk(&fake, &volgc), before);

    volgc.config(&CONFIG.replace("everything", "all"));
    volgc.ok(&["delete", "--yes", entry]);
    let output = volgc.run(&["delete", "--yes", entry]);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stdout.contains("no entry"), "{output:?}");
}

/// `script` gives the command a terminal, and types what it is given.
fn delete_at_a_terminal(volgc: &Volgc, entry: &str, typed: &[u8]) -> (Option<i32>, String) {
    let command = volgc.command(&["delete", entry]);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script: run tests/setup");
    let mut input = child.stdin.take().unwrap();
    input.write_all(typed).unwrap();
    // It stays open until the end, or the command would read the end of the file from its terminal.
    let output = child.wait_with_output().unwrap();
    drop(input);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn at_a_terminal_deletion_asks_and_only_a_yes_deletes() {
    let (fake, volgc) = due();
    volgc.ok(&["sweep"]);
    let entry = volgc.entry_id_of("orphan");
    let before = on_disk(&fake, &volgc);
    for answer in ["n\n", "\n", "no\n", "yellow\n", "\u{4}"] {
        let (status, told) = delete_at_a_terminal(&volgc, &entry, answer.as_bytes());
        assert_eq!(status, Some(4), "{answer:?}: {told}");
        assert!(told.contains("Delete 1 entry for good? [y/N] "), "{answer:?}: {told}");
        assert!(told.contains(&format!("{entry}  orphan")), "{answer:?}: {told}");
        assert!(told.contains("nothing was deleted"), "{answer:?}: {told}");
        assert_eq!(on_disk(&fake, &volgc), before, "{answer:?}: {told}");
    }
    let (status, told) = delete_at_a_terminal(&volgc, &entry, b"y\n");
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains(&format!("deleted entry {entry}")), "{told}");
    assert_eq!(volgc.quarantined_names(), Vec::<String>::new());
    // Nothing is asked where there is nothing to delete.
    let (status, told) = delete_at_a_terminal(&volgc, &entry, b"");
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no entry") && !told.contains("[y/N]"), "{told}");
}
