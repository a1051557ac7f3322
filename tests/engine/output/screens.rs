//! What people read, in full: the tables and stories of every reading command over one fixed host. The same on every
//! engine, but for what is made equal here: IDs, paths, times and sizes.
//!
//! After an intended change: `INSTA_UPDATE=always cargo test --test output`, and read the difference.

use std::fs;

use harness::pool::Lease;
use harness::{Volgc, on_each_engine};

const CONFIG: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[schedule]
cron = "17 3 * * *"
timezone = "UTC"
[[rule]]
name = "ci"
match = { volume = "ci-*" }
quarantine_after = "0s"
delete_after = "3d"
[[rule]]
name = "databases"
match = { volume = "*-db" }
keep = true
[limits]
min_grace = "0s"
min_sightings = 2
"#;

/// A host with one volume of each kind.
struct Scene {
    engine: Lease,
    volgc: Volgc,
    /// What differs from run to run, and what is shown instead.
    differs: Vec<(String, String)>,
}

impl Scene {
    fn new(engine: Lease) -> Self {
        let made = [
            ("app-db", &[("com.docker.compose.project", "app"), ("com.docker.compose.volume", "db")][..]),
            ("cache", &[]),
            ("ci-1", &[("com.example.build", "17")]),
            ("ci-held", &[]),
            ("ci-old", &[("com.example.build", "3")]),
            ("precious", &[("volgc.keep", "true")]),
            ("typo", &[("volgc.keep", "yes please")]),
            ("nfs-like", &[]),
        ];
        for (name, labels) in made.iter().filter(|(name, _)| *name != "nfs-like") {
            engine.create_volume(name, labels);
            fs::write(engine.volume_data(name).join("file"), [b'x'; 4096]).unwrap();
        }
        let options =
            r#"{"Name":"nfs-like","DriverOpts":{"type":"nfs","o":"addr=127.0.0.1","device":":/export"}}"#;
        engine.json("POST", "/volumes/create", Some(options));
        // As an engine before 23.0 names its anonymous volumes: known by the name alone.
        engine.create_volume(&"0123456789abcdef".repeat(4), &[]);
        let labelled =
            ["--label", "com.docker.compose.project=app", "--label", "com.docker.compose.service=db"];
        let create = |name: &str, more: &[&str], mount: &str| {
            let mut words = vec!["create", "--name", name, "--network", "none", "-v", mount];
            words.extend(more);
            words.extend(["bb", "true"]);
            engine.docker(&words)
        };
        let web = create("web", &labelled, "app-db:/var/lib/db");
        let backup = create("backup", &[], &format!("{}:/host:ro", engine.volumes_dir().display()));
        let volgc = Volgc::new(&engine);
        volgc.config(CONFIG);
        volgc.ok(&["sweep"]);
        volgc.ok(&["hold", "ci-held", "--reason", "until the release is out", "--for", "60d"]);
        volgc.ok(&["quarantine", "ci-old"]);
        let entry = volgc.json(&["list", "--format", "json"])[0]["entry"].as_str().unwrap().to_owned();
        let info = engine.json("GET", "/info", None);
        let told = |key: &str| info[key].as_str().unwrap().to_owned();
        let differs = [
            (engine.root().display().to_string(), "/var/lib/docker"),
            (engine.socket().display().to_string(), "/var/run/docker.sock"),
            (volgc.config_file().display().to_string(), "/etc/volgc/config.toml"),
            (volgc.state_dir().display().to_string(), "/var/lib/volgc"),
            (told("ID"), "ENGINE-ID"),
            (told("ServerVersion"), "ENGINE-VERSION"),
            (entry, "20991231-235959-0123abcd"),
            (web, "WEB-ID"),
            (backup, "BACKUP-ID"),
        ];
        let differs = differs.map(|(is, shown)| (is, shown.to_owned())).into();
        Self { engine, volgc, differs }
    }

    /// What a command prints, with all that differs made equal.
    #[track_caller]
    fn shown(&self, words: &[&str]) -> String {
        let text = self.volgc.ok(words);
        let text = self.differs.iter().fold(text, |text, (is, shown)| text.replace(is, shown));
        watched(sizes(&times(&text)))
    }
}

/// Replaces every time by one that is as long.
fn times(text: &str) -> String {
    const FORMS: [&str; 4] = [
        "0000-00-00T00:00:00Z",
        "0000-00-00 00:00:00Z",
        "0000-00-00 00:00Z",
        "0000-00-00T00:00:00.000000000Z",
    ];
    let bytes = text.as_bytes();
    let matches = |at: usize, form: &str| {
        bytes.get(at..at + form.len()).is_some_and(|found| {
            found
                .iter()
                .zip(form.bytes())
                .all(|(&is, form)| if form == b'0' { is.is_ascii_digit() } else { is == form })
        })
    };
    let (mut shown, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if let Some(form) = FORMS.into_iter().find(|form| matches(at, form)) {
            shown.extend_from_slice(form.replace('0', "#").as_bytes());
            at += form.len();
        } else {
            shown.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(shown).unwrap()
}

/// A directory has its own size on each file system: `8.1 kB` and `4.0 kB` are both `#.# kB`.
fn sizes(text: &str) -> String {
    let mut shown = text.to_owned();
    for unit in [" kB", " MB"] {
        let mut from = 0;
        while let Some(found) = shown[from..].find(unit) {
            let end = from + found;
            let start =
                shown[..end].rfind(|c: char| !c.is_ascii_digit() && c != '.').map_or(0, |before| before + 1);
            let masked: String = shown[start..end].chars().map(|c| if c == '.' { c } else { '#' }).collect();
            shown.replace_range(start..end, &masked);
            from = end + unit.len();
        }
    }
    shown
}

/// How long a volume was watched depends on how fast the machine is.
fn watched(mut text: String) -> String {
    if let Some(end) = text.find(" of it watched") {
        let start = text[..end].rfind(' ').map_or(0, |blank| blank + 1);
        text.replace_range(start..end, "#s");
    }
    text
}

on_each_engine! {
    fn tables_and_stories(engine: PrivateEngine) {
        let scene = Scene::new(engine);
        insta::assert_snapshot!("report", scene.shown(&["report"]));
        insta::assert_snapshot!("report_without_sizes", scene.shown(&["report", "--no-sizes"]));
        insta::assert_snapshot!("list", scene.shown(&["list"]));
        insta::assert_snapshot!("holds", scene.shown(&["holds"]));
        insta::assert_snapshot!("history", scene.shown(&["history"]));
        insta::assert_snapshot!("check", scene.shown(&["check"]));
        insta::assert_snapshot!("explain_due", scene.shown(&["explain", "ci-1"]));
        insta::assert_snapshot!("explain_held_by_a_container", scene.shown(&["explain", "app-db"]));
        insta::assert_snapshot!("explain_held_by_an_operator", scene.shown(&["explain", "ci-held"]));
        insta::assert_snapshot!("explain_kept_by_a_label", scene.shown(&["explain", "typo"]));
        insta::assert_snapshot!("explain_in_quarantine", scene.shown(&["explain", "ci-old"]));
        insta::assert_snapshot!("sweep", scene.shown(&["sweep"]).replace(&entry_of(&scene, "ci-1"), "20991231-235959-0123abcd"));
        insta::assert_snapshot!("restore", scene.shown(&["restore", "ci-old"]));
        assert!(scene.engine.volume_names().contains(&"ci-old".to_owned()));
    }

    fn an_empty_host_has_plain_sentences(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let id = engine.json("GET", "/info", None)["ID"].as_str().unwrap().to_owned();
        let version = engine.json("GET", "/version", None)["Version"].as_str().unwrap().to_owned();
        let root = engine.root().display().to_string();
        let mut text = String::new();
        for words in [&["report"][..], &["list"], &["holds"], &["history"], &["sweep"]] {
            text.push_str(&format!("$ volgc {}\n{}\n", words.join(" "), volgc.ok(words)));
        }
        let text = text.replace(&id, "ENGINE-ID").replace(&version, "ENGINE-VERSION").replace(&root, "/var/lib/docker");
        insta::assert_snapshot!("an_empty_host", text);
    }
}

fn entry_of(scene: &Scene, name: &str) -> String {
    let list = scene.volgc.json(&["list", "--format", "json"]);
    let line = list.as_array().unwrap().iter().find(|line| line["name"] == name);
    line.unwrap_or_else(|| panic!("{name} is not in quarantine: {list:#}"))["entry"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn what_differs_is_made_equal_at_the_same_width() {
    assert_eq!(
        times("at 2026-11-24T03:27:02Z, 2026-11-24 03:27Z ü"),
        "at ####-##-##T##:##:##Z, ####-##-## ##:##Z ü"
    );
    assert_eq!(sizes("a 12.1 kB (8.0 MB)"), "a ##.# kB (#.# MB)");
}
