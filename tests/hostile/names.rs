//! Names, labels and whatever else a stranger chose never break a table, a log line or JSON.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, wait_until};
use crate::listing::listing;
use crate::trees::assert_same;

/// Names of directories that somebody made in `volumes/`; an engine adopts each as a volume when it starts. The last are no text.
const NAMES: [&[u8]; 12] = [
    b"with space",
    b" ",
    b"\x1b[2J\x1b]0;title\x07",
    b"new\nline",
    b"-rf",
    b"--yes",
    b"tab\tand\rreturn",
    "\u{202e}bidi\u{2066}".as_bytes(),
    b"\"quoted\\'{}[]",
    "\u{e9}\u{4e2d}\u{1f4a9}".as_bytes(),
    b"not\xffutf8",
    b"$(reboot)`reboot`;|&<>*?",
];

/// What is put into every label, by key and value.
const LABELS: [(&str, &str); 6] = [
    ("com.docker.compose.project", "\u{1b}[31mred\u{1b}[0m\n2026-11-24T00:00:00Z  INFO forged line"),
    ("com.docker.compose.service", "\u{202e}evil\u{2028}\u{9b}2J"),
    ("com.docker.compose.volume", "\"},{\"name\":\"forged\"\\"),
    ("\u{1b}]0;title\u{7}", "\r\n"),
    ("com.example.odd", "\u{0}\u{8}\u{7f}"),
    ("", ""),
];

fn adopt(engine: &PrivateEngine) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = NAMES.iter().map(|name| name.to_vec()).collect();
    names.push(vec![b'x'; 255]);
    names.push("\u{e9}".repeat(127).into_bytes());
    engine.stop();
    for name in &names {
        let data = engine.volumes_dir().join(OsStr::from_bytes(name)).join("_data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("file"), "precious").unwrap();
    }
    engine.restart();
    names
}

/// Lines that a terminal shows as lines, and nothing else.
#[track_caller]
fn assert_plain(what: &str, text: &str) {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let at = text.find(steers);
    assert!(
        at.is_none(),
        "{what}: {:?}",
        text.get(at.unwrap_or(0).saturating_sub(60)..).map(|t| t.chars().take(140).collect::<String>())
    );
}

/// Every reading command, as a table and as JSON.
#[track_caller]
fn assert_told_plainly(volgc: &Volgc) -> Value {
    for words in [&["report"][..], &["report", "--no-sizes"], &["list"], &["holds"], &["history"], &["check"]]
    {
        let output = volgc.run(words);
        assert_eq!(output.status, Some(0), "{words:?}: {output:?}");
        assert_plain(words[0], &output.stdout);
        assert_plain(words[0], &output.stderr);
    }
    volgc.json(&["list", "--format", "json"]);
    volgc.json(&["history", "--format", "json"]);
    volgc.json(&["report", "--format", "json"])
}

/// A service that sweeps each second, until the volume `marker` is in quarantine; what it logged.
fn log_of_service(volgc: &Volgc, engine: &PrivateEngine, format: &str) -> String {
    volgc.config(&format!("{KEEP_IN_QUARANTINE}\n[schedule]\ninterval = \"1s\"\n"));
    engine.create_volume("marker", &[]);
    let file = volgc.state_dir().join("log");
    let mut service = volgc
        .command(&["--log-format", format, "run"])
        .env("VOLGC_LOG", "debug,hyper=warn,bollard=warn")
        .stderr(fs::File::create(&file).unwrap())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the service sweeps", || !engine.volume_names().contains(&"marker".to_owned()));
    std::thread::sleep(Duration::from_secs(2));
    service.kill().unwrap();
    service.wait().unwrap();
    volgc.config(KEEP_IN_QUARANTINE);
    volgc.ok(&["restore", "marker"]);
    engine.json("DELETE", "/volumes/marker", None);
    String::from_utf8(fs::read(file).unwrap()).unwrap()
}

fn assert_logs(volgc: &Volgc, engine: &PrivateEngine) {
    let text = log_of_service(volgc, engine, "text");
    assert_plain("the log as text", &text);
    for line in text.lines() {
        // Each line is a whole one: it begins with its time.
        assert!(line.starts_with("20") && line.get(10..11) == Some("T"), "a torn or forged line: {line:?}");
    }
    let text = log_of_service(volgc, engine, "json");
    assert!(text.lines().count() > 2, "{text}");
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(line["timestamp"].is_string(), "{line}");
    }
}

on_each_engine! {
    fn volumes_with_any_name_are_told_plainly_and_kept(engine: PrivateEngine) {
        let names = adopt(&engine);
        let before: Vec<_> = names
            .iter()
            .map(|name| listing(&engine.volumes_dir().join(OsStr::from_bytes(name))))
            .collect();
        // A volume that is taken, so that a sweep has something to do.
        engine.create_volume("plain", &[]);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        for _ in 0..3 {
            let output = volgc.run(&["sweep"]);
            assert_eq!(output.status, Some(0), "{output:?}");
            assert_plain("sweep", &output.stdout);
        }
        let report = assert_told_plainly(&volgc);
        let told = report["volumes"].as_array().unwrap();
        // The API takes it, so it is moved, and comes back.
        let longest = "x".repeat(255);
        assert_eq!(volgc.quarantined_names(), ["plain", &longest]);
        volgc.ok(&["restore", &longest]);
        for name in &names {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let line = told.iter().find(|line| line["name"] == name);
            let noted = report["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains(name));
            assert!(line.is_some() || noted || name == longest, "{name:?} is neither listed nor noted: {report:#}");
            assert!(line.is_none_or(|line| line["action"] == "keep"), "{line:?}");
            for words in [&["hold", "--reason", name, "--", name][..], &["explain", "--", name], &["quarantine", "--", name]] {
                let output = volgc.run(words);
                assert!(output.status.is_some_and(|status| status <= 4), "{words:?}: {output:?}");
                assert_plain("explain", &output.stdout);
                assert_plain("explain", &output.stderr);
            }
        }
        assert_told_plainly(&volgc);
        assert_logs(&volgc, &engine);
        for (name, before) in names.iter().zip(&before) {
            let at = engine.volumes_dir().join(OsStr::from_bytes(name));
            assert_same(&before[1..], &listing(&at)[1..], "a volume");
        }
        println!("hostile: {} trees tried, 0 losses", names.len());
    }

    fn labels_of_any_text_and_size_are_told_plainly_and_come_back(engine: PrivateEngine) {
        // Six times as large in a manifest.
        let huge = format!("\u{202e}{}", "\u{1b}".repeat(1 << 20));
        let mut labels: serde_json::Map<String, Value> =
            LABELS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        labels.insert("huge".to_owned(), json!(huge));
        for name in ["labelled", "held", "used"] {
            let body = json!({ "Name": name, "Driver": "local", "Labels": labels }).to_string();
            engine.json("POST", "/volumes/create", Some(&body));
            engine.fill_volume(name, 1);
        }
        let before = engine.json("GET", "/volumes/labelled", None)["Labels"].clone();
        let content = listing(&engine.volume_data("labelled"));
        let container = json!({
            "Image": "bb", "Cmd": ["true"], "Labels": labels,
            "HostConfig": { "Binds": ["used:/data"], "NetworkMode": "none" },
        });
        engine.json("POST", "/containers/create?name=web", Some(&container.to_string()));
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);
        volgc.ok(&["hold", "held", "--reason", "\u{1b}[2J\n\u{202e}\"forged\""]);
        volgc.sweep_twice();
        assert_eq!(volgc.quarantined_names(), ["labelled"]);
        assert_told_plainly(&volgc);
        for name in ["labelled", "held", "used"] {
            assert_plain("explain", &volgc.ok(&["explain", name]));
        }
        assert_logs(&volgc, &engine);
        volgc.ok(&["restore", "labelled"]);
        assert!(engine.json("GET", "/volumes/labelled", None)["Labels"] == before, "other labels came back");
        assert_same(&content, &listing(&engine.volume_data("labelled")), "labelled");
        println!("hostile: 3 trees tried, 0 losses");
    }
}
