//! Whatever is wrong with what volgc is given: one clear message that names the file and the way out, the documented exit
//! code, and nothing changed on disk.

mod configuration;
mod engine;
mod quarantine;
mod real;
mod state;

use std::fs;
use std::path::Path;

use harness::fake::Fake;
use harness::{Output, Volgc, tree_listing};

/// Moves whatever nothing holds as fast as it can, and deletes nothing.
const CONFIG: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
"#;

/// An engine with an orphan that the next sweep quarantines: whatever goes wrong then keeps it where it is.
fn due() -> (Fake, Volgc) {
    let fake = Fake::start();
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(CONFIG);
    volgc.ok(&["sweep"]);
    (fake, volgc)
}

/// What must be as it was.
fn on_disk(fake: &Fake, volgc: &Volgc) -> Vec<String> {
    let mut lines = tree_listing(&fake.root());
    if fs::symlink_metadata(volgc.state_dir()).is_ok_and(|meta| meta.is_dir()) {
        lines.extend(tree_listing(&volgc.state_dir()));
    }
    lines
}

/// Runs a command that must fail with this exit code and a message that has all these parts, and change nothing.
#[track_caller]
fn fails(fake: &Fake, volgc: &Volgc, words: &[&str], status: i32, parts: &[&str]) -> Output {
    let before = on_disk(fake, volgc);
    fake.take();
    let output = volgc.run(words);
    is_refusal(words, &output, status, parts);
    assert_eq!(on_disk(fake, volgc), before, "{words:?}: {output:?}");
    assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")), "{words:?}: {output:?}");
    output
}

#[track_caller]
fn is_refusal(words: &[&str], output: &Output, status: i32, parts: &[&str]) {
    assert_eq!(output.status, Some(status), "{words:?}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{words:?}: {output:?}");
    let told = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    for part in parts {
        assert!(told.contains(part), "{words:?}: no {part:?} in\n{told}");
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
