//! Names, labels and whatever else a stranger chose never break a table, a log line or JSON.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hostile::listing::listing;
use crate::hostile::trees::assert_same;
use harness::daemon::Daemon;
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, wait_until};

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

/// What a service told while it swept.
struct Told {
    /// Its stderr.
    log: String,
    /// Its metrics.
    page: String,
    /// What it said to the service manager, one message each.
    messages: Vec<String>,
}

/// A service that sweeps each second, until the volume `marker` is in quarantine. `command` makes the command that becomes it.
fn told_by_service(volgc: &Volgc, engine: &PrivateEngine, command: impl FnOnce() -> Command) -> Told {
    volgc.config(&format!(
        "{KEEP_IN_QUARANTINE}\n[schedule]\ninterval = \"1s\"\n[metrics]\nlisten = \"unix://{{state}}/metrics.sock\"\n"
    ));
    engine.create_volume("marker", &[]);
    let mut command = command();
    command.env("VOLGC_LOG", "debug,hyper=warn,bollard=warn").stdout(Stdio::null());
    let daemon = Daemon::launch(volgc, command, None);
    daemon.await_message("READY=1");
    wait_until("the service sweeps", || !engine.volume_names().contains(&"marker".to_owned()));
    std::thread::sleep(Duration::from_secs(2));
    let page = page(&volgc.state_dir().join("metrics.sock"));
    let messages = daemon.messages().into_iter().map(|(_, message)| message).collect();
    let log = daemon.log();
    drop(daemon);
    volgc.config(KEEP_IN_QUARANTINE);
    volgc.ok(&["restore", "marker"]);
    engine.json("DELETE", "/volumes/marker", None);
    Told { log, page, messages }
}

fn page(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: volgc\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    page.to_owned()
}

/// Labels that name no volume, and nothing else.
#[track_caller]
fn assert_page(page: &str) {
    assert_plain("the metrics", page);
    assert!(page.contains("volgc_volumes{"), "{page}");
    for name in
        NAMES.iter().filter_map(|name| std::str::from_utf8(name).ok()).chain(["marker", "labelled", "plain"])
    {
        assert!(name.len() < 3 || !page.contains(name), "the metrics name a volume: {name:?}\n{page}");
    }
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    for (line, labels) in samples.filter_map(|line| Some((line, line.split_once('{')?.1.split_once('}')?.0)))
    {
        for label in labels.split(',') {
            let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
            assert!(
                ["version", "mode", "result", "reason", "state", "class", "action"].contains(&name),
                "{line:?}"
            );
            let word = value.trim_matches('"');
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)), "{line:?}");
        }
    }
}

/// Variables of `sd_notify(3)`, each on a line of its own.
#[track_caller]
fn assert_messages(messages: &[String]) {
    assert!(
        messages.iter().any(|message| message.contains("STATUS=") && message.contains(" held, ")),
        "{messages:#?}"
    );
    for message in messages {
        assert_plain("a message to the service manager", message);
        for line in message.lines() {
            let name = line.split_once('=').map(|(name, _)| name);
            let known = ["READY", "STATUS", "WATCHDOG", "STOPPING", "RELOADING", "MONOTONIC_USEC"];
            assert!(name.is_some_and(|name| known.contains(&name)), "a forged variable: {message:?}");
        }
    }
}

/// Datagrams as the journal takes them, read for as long as the test lasts.
struct Journal {
    directory: PathBuf,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    ends: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Journal {
    fn listen(directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
        let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let ends = Arc::new(AtomicBool::new(false));
        let (of_thread, its_end) = (Arc::clone(&taken), Arc::clone(&ends));
        let listener = std::thread::spawn(move || {
            let mut message = vec![0; 4 << 20];
            while let Ok(length) = socket.recv(&mut message) {
                if its_end.load(Ordering::Acquire) {
                    break;
                }
                of_thread.lock().unwrap().push(message[..length].to_vec());
            }
        });
        Self { directory, taken, ends, listener: Some(listener) }
    }

    /// The service as a unit of a systemd whose journal listens here.
    fn unit(&self, volgc: &Volgc, stderr: &Path) -> Command {
        let product = volgc.command(&["run"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(
            "set -e; mount -t tmpfs none /run; mkdir -p /run/systemd/journal; mount --bind \"$0\" /run/systemd/journal\n\
             exec 2>\"$1\"; shift; export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec \"$@\"",
        );
        command
            .arg(&self.directory)
            .arg(stderr)
            .arg(product.get_program())
            .args(product.get_args())
            .env_clear();
        command.envs(product.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Whole entries of plain fields. A journal keeps any bytes; but what shows a field shows it as it is.
    #[track_caller]
    fn assert_entries(&self) {
        let taken = self.taken.lock().unwrap();
        // The first is empty, to find out whether a journal is there (tracing-journald). Later ones would be too large for a datagram.
        let (first, taken) = taken.split_first().unwrap();
        assert!(first.is_empty() && taken.len() > 2, "{first:?} {}", taken.len());
        let mut moved = 0;
        for datagram in taken {
            let fields = fields(datagram);
            let count = |name: &str| fields.iter().filter(|(field, _)| field == name).count();
            assert_eq!(
                (count("MESSAGE"), count("PRIORITY"), count("SYSLOG_IDENTIFIER")),
                (1, 1, 1),
                "{fields:?}"
            );
            for (name, value) in &fields {
                assert_plain(name, value);
            }
            moved += usize::from(fields.contains(&("VOLGC_VOLUME".to_owned(), "marker".to_owned())));
        }
        assert!(moved > 0, "the journal was told of no volume");
    }
}

/// A socket that is still bound when its file is gone holds every volume that has a socket with its name.
impl Drop for Journal {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let woken = UnixDatagram::unbound().unwrap().send_to(&[], self.directory.join("socket"));
        if let Some(listener) = self.listener.take().filter(|_| woken.is_ok()) {
            listener.join().ok();
        }
    }
}

/// The native protocol: `NAME=VALUE`, or NAME, a length and VALUE (systemd, `JOURNAL_NATIVE_PROTOCOL.md`).
#[track_caller]
fn fields(mut datagram: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(!datagram.is_empty(), "an entry that was too large for a datagram");
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        let (name, value, rest) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            (text(&line[..at]), text(&line[at + 1..]), rest)
        } else {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            assert_eq!(rest[8 + length], b'\n');
            (text(line), text(&rest[8..8 + length]), &rest[8 + length + 1..])
        };
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(!name.is_empty() && name.chars().all(is_name), "a forged field: {name:?}");
        fields.push((name, value));
        datagram = rest;
    }
    fields
}

/// All that a service shows of itself: its log in each form, its metrics, its state.
fn assert_service(volgc: &Volgc, engine: &PrivateEngine) {
    for format in ["text", "json", "journald"] {
        let told = told_by_service(volgc, engine, || volgc.command(&["--log-format", format, "run"]));
        assert!(told.log.lines().count() > 2, "{}", told.log);
        for line in told.log.lines() {
            match format {
                // Each line is a whole one: it begins with its time, or its priority.
                "text" => {
                    assert_plain("the log as text", line);
                    assert!(
                        line.starts_with("20") && line.get(10..11) == Some("T"),
                        "a torn or forged line: {line:?}"
                    );
                }
                "journald" => {
                    assert_plain("the log for the journal", line);
                    let is_whole =
                        ["<3>", "<4>", "<6>", "<7>"].iter().any(|priority| line.starts_with(priority));
                    assert!(is_whole && !line[3..].starts_with("20"), "a torn or forged line: {line:?}");
                }
                _ => {
                    assert_plain("the log as JSON", line);
                    let line: Value =
                        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
                    assert!(line["timestamp"].is_string(), "{line}");
                }
            }
        }
        assert_page(&told.page);
        assert_messages(&told.messages);
    }
    let journal = Journal::listen(engine.dir().join("journal"));
    let stderr = engine.dir().join("journal-stderr");
    told_by_service(volgc, engine, || journal.unit(volgc, &stderr));
    assert_eq!(fs::read_to_string(&stderr).unwrap(), "");
    journal.assert_entries();
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
        assert_service(&volgc, &engine);
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
        assert_service(&volgc, &engine);
        volgc.ok(&["restore", "labelled"]);
        assert!(engine.json("GET", "/volumes/labelled", None)["Labels"] == before, "other labels came back");
        assert_same(&content, &listing(&engine.volume_data("labelled")), "labelled");
        println!("hostile: 3 trees tried, 0 losses");
    }
}
