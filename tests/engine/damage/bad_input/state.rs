//! The state directory and the ledger in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Fake, Volgc, due, fails, on_disk, text};

/// Commands that read the ledger, and those that write it.
const READING: [&[&str]; 6] =
    [&["report"], &["list"], &["explain", "orphan"], &["check"], &["holds"], &["history"]];
/// What they say is for the ledger alone.
const WRITING: [&[&str]; 3] =
    [&["hold", "orphan", "--reason", "x"], &["release", "orphan"], &["acknowledge"]];
/// They delete what is due or ordered whatever can be written, and move nothing meanwhile.
const MOVING: [&[&str]; 2] = [&["sweep"], &["quarantine", "orphan"]];

/// A file system of its own, unmounted when dropped.
pub(super) struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    pub(super) fn tmpfs(options: &str, at: &'a Path) -> Self {
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success(), "cannot mount {}", at.display());
        Self(at)
    }

    pub(super) fn make_read_only(&self) {
        // A process that another test starts has our files open until it runs its own program, for writing, too.
        harness::wait_until("nobody writes there", || {
            Command::new("mount").args(["-o", "remount,ro"]).arg(self.0).status().unwrap().success()
        });
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().unwrap().success() || std::thread::panicking());
    }
}

fn ledger_file(volgc: &Volgc) -> std::path::PathBuf {
    volgc.state_dir().join("ledger.db")
}

#[track_caller]
fn all_fail(fake: &Fake, volgc: &Volgc, commands: &[&[&str]], parts: &[&str]) {
    for words in commands {
        let output = fails(fake, volgc, words, 1, parts);
        assert_eq!(output.stderr.lines().count(), 1, "{words:?}: {output:?}");
    }
}

#[track_caller]
fn assert_moves_wait(fake: &Fake, volgc: &Volgc, parts: &[&str]) {
    let volumes = fake.root().join("volumes");
    let before = harness::tree_listing(&volumes);
    for words in MOVING {
        fake.take();
        let output = volgc.run(words);
        assert_eq!(output.status, Some(3), "{words:?}: {output:?}");
        for part in parts {
            assert!(output.stdout.contains(part), "{words:?}: no {part:?} in {}", output.stdout);
        }
        assert_eq!(harness::tree_listing(&volumes), before, "{words:?}");
        assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")), "{words:?}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_what_writes_and_nothing_else() {
    let (fake, volgc) = due();
    let state = volgc.state_dir();
    let kept = fs::read(ledger_file(&volgc)).unwrap();
    let mount = Mounted::tmpfs("size=1m", &state);
    fs::write(ledger_file(&volgc), kept).unwrap();
    mount.make_read_only();
    let parts = [text(&ledger_file(&volgc)), "cannot be written".to_owned(), "read-only".to_owned()];
    let parts = parts.each_ref().map(String::as_str);
    all_fail(&fake, &volgc, &WRITING, &parts);
    assert_moves_wait(&fake, &volgc, &parts);
    for words in READING {
        volgc.ok(words);
    }
    drop(mount);

    // Neither there nor to be made.
    let mount = Mounted::tmpfs("size=1m", &state);
    mount.make_read_only();
    all_fail(&fake, &volgc, &WRITING, &[&text(&state), "written"]);
    all_fail(&fake, &volgc, &[&["run"]], &[&text(&state), "written"]);
    assert_moves_wait(&fake, &volgc, &[&text(&state), "written"]);
    for words in READING.iter().filter(|words| !words.contains(&"holds")) {
        volgc.ok(words);
    }
    drop(mount);
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "in the way").unwrap();
    all_fail(&fake, &volgc, &WRITING, &[&text(&state)]);
    all_fail(
        &fake,
        &volgc,
        &[&["sweep"], &["quarantine", "orphan"], &["run"]],
        &["File exists", "--state-dir"],
    );
}

#[test]
fn a_full_disk_below_the_ledger_stops_a_sweep_before_anything_moves() {
    let (fake, volgc) = due();
    let state = volgc.state_dir();
    let kept = fs::read(ledger_file(&volgc)).unwrap();
    let _mount = Mounted::tmpfs("size=256k", &state);
    fs::write(ledger_file(&volgc), kept).unwrap();
    // To the last byte.
    let mut filler = fs::File::create(state.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 512]).is_ok() {}
    drop(filler);
    let parts = [text(&ledger_file(&volgc)), "full".to_owned(), "Make room".to_owned()];
    let parts = parts.each_ref().map(String::as_str);
    assert_moves_wait(&fake, &volgc, &parts);
    let output = volgc.run(&["hold", "orphan", "--reason", "x"]);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(parts.iter().all(|part| output.stderr.contains(part)), "{output:?}");
    volgc.ok(&["report"]);
    fs::remove_file(state.join("filler")).unwrap();
    assert!(volgc.ok(&["sweep"]).contains("quarantined volume orphan"));
}

#[test]
fn a_ledger_that_is_none_or_newer_is_never_reset() {
    let (fake, volgc) = due();
    let file = ledger_file(&volgc);
    let good = fs::read(&file).unwrap();
    let mut scribbled = good.clone();
    scribbled[4096..].fill(0xa5);
    let newer = {
        // `user_version` is at byte 60 of the header (SQLite file format, 1.3).
        let mut bytes = good.clone();
        bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
        bytes
    };
    let named = text(&file);
    let cases: [(&str, Vec<u8>, &[&str]); 5] = [
        ("garbage", vec![b'x'; 5000], &["not a ledger"]),
        ("cut short", good[..good.len() / 2].to_vec(), &["damaged"]),
        ("noise after its head", scribbled, &["damaged"]),
        ("newer", newer, &["newer volgc", "version is 99"]),
        ("a log file", b"Nov 24 03:00:00 host volgc: sweep done\n".to_vec(), &["not a ledger"]),
    ];
    for (what, bytes, parts) in cases {
        fs::write(&file, bytes).unwrap();
        let mut parts: Vec<&str> = parts.to_vec();
        parts.extend([named.as_str(), "mv "]);
        for words in READING.iter().chain(&WRITING) {
            let output = fails(&fake, &volgc, words, 1, &parts);
            assert_eq!(output.stderr.lines().count(), 1, "{what}: {words:?}: {output:?}");
        }
    }
    fs::write(&file, good).unwrap();
    assert!(volgc.ok(&["sweep"]).contains("quarantined volume orphan"));
}

#[test]
fn a_lost_or_empty_ledger_only_delays() {
    let (fake, volgc) = due();
    let file = ledger_file(&volgc);
    for emptied in [false, true] {
        if emptied {
            fs::write(&file, "").unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let before = on_disk(&fake, &volgc);
        volgc.ok(&["report"]);
        assert_eq!(on_disk(&fake, &volgc), before, "a reading command made a ledger");
        volgc.ok(&["sweep"]);
        assert!(fake.volume_data("orphan").exists(), "moved at the first sighting");
    }
    volgc.ok(&["sweep"]);
    assert!(!fake.volume_data("orphan").exists());
}
