//! Metrics and health of the service, as a real Prometheus and other readers see them.

mod documents;
mod prometheus;
mod reader;
mod service;
mod textfile;

use std::fs;

use harness::{PrivateEngine, Volgc};

/// Sweeps each second; what is set aside stays for an hour.
const CONFIG: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1s"
[metrics]
listen = "127.0.0.1:0"
[[rule]]
name = "kept"
match = { volume = "kept-*" }
keep = true
[[rule]]
name = "slow"
match = { volume = "slow-*" }
quarantine_after = "1h"
delete_after = "1h"
[[rule]]
name = "all"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 2
"#;

/// A host with a volume in most states, an entry in quarantine, one that was restored and one that was deleted.
fn scene(engine: &PrivateEngine) -> Volgc {
    for name in ["kept-a", "slow-a", "due-a", "back", "gone", "used"] {
        engine.create_volume(name, &[]);
        fs::write(engine.volume_data(name).join("file"), vec![b'x'; 100_000]).unwrap();
    }
    engine.docker(&["create", "--name", "web", "--network", "none", "-v", "used:/data", "bb", "true"]);
    let volgc = Volgc::new(engine);
    volgc.config(CONFIG);
    volgc.ok(&["quarantine", "back", "gone"]);
    volgc.ok(&["restore", "back", "--as", "kept-back"]);
    let list = volgc.json(&["list", "--format", "json"]);
    let entry = list[0]["entry"].as_str().unwrap();
    volgc.ok(&["delete", "--yes", entry]);
    volgc
}
