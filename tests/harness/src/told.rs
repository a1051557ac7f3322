//! What the product says of volumes and entries, as tests ask for it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PrivateEngine, Volgc};

impl Volgc {
    /// A runner with a configuration, see [`Volgc::config`].
    pub fn configured(engine: &PrivateEngine, config: &str) -> Self {
        let volgc = Self::new(engine);
        volgc.config(config);
        volgc
    }

    /// Sweeps so often that what nothing holds is quarantined: the first sighting only starts its clock.
    #[track_caller]
    pub fn sweep_twice(&self) {
        self.ok(&["sweep"]);
        self.ok(&["sweep"]);
    }

    /// Lets the ledger's last sweep be long ago, in another boot: the host was off meanwhile, for a day more than twice as long as this
    /// machine has been up. Says what may count of that: how long it has been up.
    #[track_caller]
    pub fn host_was_off(&self) -> Duration {
        let (uptime, off) = (uptime(), longer_than_up());
        let last = (chrono::Utc::now() - off).to_rfc3339();
        let change = "UPDATE meta SET last_sweep_boot_id = 'the boot before', last_sweep_at = ?1";
        let changed = rusqlite::Connection::open(self.state_dir().join("ledger.db"))
            .and_then(|ledger| ledger.execute(change, [last]));
        assert!(matches!(changed, Ok(1)), "{changed:?}");
        uptime
    }

    /// The report as data, sizes left out.
    #[track_caller]
    pub fn report(&self) -> Value {
        self.json(&["report", "--format", "json", "--no-sizes"])
    }

    /// What the report says of one volume.
    #[track_caller]
    pub fn told_of(&self, volume: &str) -> Value {
        let report = self.report();
        let lines = report["volumes"].as_array().into_iter().flatten();
        lines
            .clone()
            .find(|line| line["name"] == volume)
            .unwrap_or_else(|| panic!("no volume {volume} in {report:#}"))
            .clone()
    }

    /// The stable word for why a volume is to be kept or taken.
    #[track_caller]
    pub fn reason_of(&self, volume: &str) -> String {
        text(&self.told_of(volume)["reason"])
    }

    /// Everything in quarantine.
    #[track_caller]
    pub fn entries(&self) -> Vec<Value> {
        match self.json(&["list", "--format", "json"]) {
            Value::Array(entries) => entries,
            other => panic!("`list` wrote no list: {other:#}"),
        }
    }

    /// The names of the volumes in quarantine, sorted.
    #[track_caller]
    pub fn quarantined_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.entries().iter().map(|entry| text(&entry["name"])).collect();
        names.sort();
        names
    }

    /// The only entry that was a volume of this name.
    #[track_caller]
    pub fn entry_of(&self, volume: &str) -> Value {
        let entries = self.entries();
        let mut found = entries.iter().filter(|entry| entry["name"] == volume);
        match (found.next(), found.next()) {
            (Some(only), None) => only.clone(),
            _ => panic!("not exactly one entry of {volume} in {entries:#?}"),
        }
    }

    /// The ID of the only entry that was a volume of this name.
    #[track_caller]
    pub fn entry_id_of(&self, volume: &str) -> String {
        text(&self.entry_of(volume)["entry"])
    }
}

impl PrivateEngine {
    /// Waits for a container to end, and returns its exit code and the last line that it wrote to its output.
    #[track_caller]
    pub fn read_from(&self, container: &str) -> (i64, String) {
        let ended = self.json("POST", &format!("/containers/{container}/wait"), None);
        let code = ended["StatusCode"].as_i64().unwrap_or_else(|| panic!("no exit code: {ended}"));
        let (_, log) = self.api("GET", &format!("/containers/{container}/logs?stdout=1&tail=1"), None);
        // Without a terminal each piece has a header of eight bytes.
        (code, log.get(8..).unwrap_or_default().to_owned())
    }

    /// What lies in the quarantine directory beside its lock and the note about the ledger: entries, and what should not be there.
    pub fn left_in_quarantine(&self) -> Vec<String> {
        let found =
            std::fs::read_dir(self.root().join("volgc")).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.unwrap_or_else(|error| panic!("the quarantine directory cannot be read: {error}"));
        let names = found.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut left: Vec<String> = names.filter(|name| name != "lock" && name != "ledger.json").collect();
        left.sort();
        left
    }

    /// The data of a quarantine entry.
    pub fn quarantined_data(&self, entry: &str) -> PathBuf {
        self.root().join("volgc").join(entry).join("data")
    }
}

/// A JSON value that must be text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:#}")).to_owned()
}

/// Looks again and again until the condition holds, for two minutes at most: engines on a loaded machine take their time.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !holds() {
        assert!(Instant::now() < deadline, "two minutes went by without: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// How long this machine has been up.
#[track_caller]
fn uptime() -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime =
        uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs_f64);
    uptime.unwrap_or_else(|| panic!("cannot read /proc/uptime"))
}

/// How long a host is off in [`Volgc::host_was_off`].
#[track_caller]
fn longer_than_up() -> Duration {
    2 * uptime() + Duration::from_hours(24)
}

/// A grace period, as the configuration has it, that is over when all the time counts for which a host was off, and not when only the
/// time counts for which it was up.
#[track_caller]
pub fn grace_of_a_host_that_was_off() -> String {
    format!("{}h", longer_than_up().as_secs() / 3600 - 4)
}
