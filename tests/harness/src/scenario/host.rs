//! The machine that the cases run on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use super::stock::Stock;
use super::{Case, Scenario};
use crate::rest::Resting;
use crate::treasure;
use crate::{Output, PrivateEngine, Volgc};

/// Everything by hand: no sweep moves or deletes what no rule names.
const BY_HAND: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
sudden_orphans = 100000
"#;

/// An engine, volgc, and a place beside the quarantine for entries that shall not be recovered yet.
#[derive(Debug)]
pub struct Host<'a> {
    pub engine: &'a PrivateEngine,
    pub volgc: Volgc,
    pub(super) config: String,
    /// Whether volgc speaks to the engine by way of something else.
    pub(super) is_proxied: bool,
    pub(super) stock: Stock,
    /// The kinds of entries that were restored, see `settled`.
    pub(super) restored: RefCell<BTreeSet<String>>,
    made: Cell<u32>,
}

impl<'a> Host<'a> {
    pub fn new(engine: &'a PrivateEngine) -> Self {
        Self::by(engine, &engine.socket())
    }

    /// The same, but volgc speaks to the engine by way of another socket.
    pub fn by(engine: &'a PrivateEngine, socket: &Path) -> Self {
        let volgc = Volgc::new(engine);
        let config = BY_HAND.replace("{socket}", &socket.display().to_string());
        volgc.config(&config);
        // Makes the ledger: to make one is a scenario of its own.
        volgc.ok(&["sweep"]);
        let is_proxied = socket != engine.socket();
        let (stock, restored) = (Stock::default(), RefCell::default());
        Self { engine, volgc, config, is_proxied, stock, restored, made: Cell::new(0) }
    }

    /// A name that no volume has had.
    /// The manifest of the only entry of a volume.
    pub(super) fn manifest_of(&self, name: &str) -> PathBuf {
        let quarantine = self.engine.root().join("volgc");
        let mut manifests = fs::read_dir(&quarantine)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("manifest.json"));
        let is_of =
            |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("\"{name}\"")));
        manifests.find(|path| is_of(path)).unwrap_or_else(|| panic!("no entry of {name}"))
    }

    pub(super) fn new_name(&self) -> String {
        self.made.set(self.made.get() + 1);
        format!("v{:04}", self.made.get())
    }

    /// What the scenario needs, on a volume of its own. Its entries are parked.
    pub fn prepare(&self, scenario: &Scenario) -> Case {
        let mut case = (scenario.prepare)(self);
        case.parked = self.park();
        case
    }

    /// The configuration with more at its end, until this is called again.
    pub(super) fn configure(&self, more: &str) {
        self.volgc.config(&format!("{}{more}", self.config));
    }

    fn make_ready(&self, case: &Case) {
        self.unpark(&case.parked);
        self.configure(&case.rule);
    }

    /// Runs the case's command under fault orders.
    pub fn run(&self, case: &Case, orders: &str, trace: Option<&PathBuf>) -> Output {
        self.make_ready(case);
        let mut volgc = self.volgc.clone().env("VOLGC_FAULT", orders);
        if let Some(trace) = trace {
            volgc = volgc.env("VOLGC_FAULT_TRACE", trace);
        }
        let output = volgc.run(&case.command);
        self.configure("");
        output
    }

    /// Starts the case's command.
    pub fn start(&self, case: &Case, orders: &str) -> Child {
        self.make_ready(case);
        self.volgc.clone().env("VOLGC_FAULT", orders).spawn(&case.command)
    }

    /// Starts the case's command, and returns when it rests before a pass of a point (`exchange.swap@2`).
    #[track_caller]
    pub fn rest_at(&self, case: &Case, point: &str, faults: &str) -> Resting {
        self.make_ready(case);
        let command: Vec<&str> = case.command.iter().map(String::as_str).collect();
        let resting = Resting::start(&self.volgc, point, faults, &command);
        // It has read its configuration long ago.
        self.configure("");
        resting
    }

    /// Puts every entry aside, so that the next command does not recover it. Renamed on the same file system, so it stays
    /// what it is.
    pub fn park(&self) -> Vec<String> {
        let (quarantine, park) = self.places();
        fs::create_dir_all(&park).unwrap_or_else(|error| panic!("{}: {error}", park.display()));
        let entries = treasure::names(&quarantine);
        for entry in &entries {
            fs::rename(quarantine.join(entry), park.join(entry))
                .unwrap_or_else(|error| panic!("cannot park {entry}: {error}"));
        }
        // The next run makes the quarantine itself, and its note about the ledger.
        for file in fs::read_dir(&quarantine).into_iter().flatten().flatten() {
            fs::remove_file(file.path()).ok();
        }
        fs::remove_dir(&quarantine).ok();
        entries
    }

    /// Puts entries back into the quarantine.
    pub fn unpark(&self, entries: &[String]) {
        let (quarantine, park) = self.places();
        if !entries.is_empty() && !quarantine.is_dir() {
            fs::create_dir(&quarantine)
                .and_then(|()| fs::set_permissions(&quarantine, fs::Permissions::from_mode(0o700)))
                .unwrap_or_else(|error| panic!("{}: {error}", quarantine.display()));
            self.forget_places();
        }
        for entry in entries {
            // A run that failed may have been recovered and parked since.
            fs::rename(park.join(entry), quarantine.join(entry))
                .unwrap_or_else(|error| panic!("cannot bring back {entry}: {error}"));
        }
    }

    /// Lets the ledger not know which directory the quarantine was: a new one is no sign of a copied docker root here.
    pub(super) fn forget_places(&self) {
        self.change_ledger("UPDATE lineage SET places = NULL");
    }

    /// Changes the ledger behind the program's back, if there is one.
    pub(super) fn change_ledger(&self, change: &str) {
        let ledger = self.volgc.state_dir().join("ledger.db");
        if ledger.exists() {
            let changed = rusqlite::Connection::open(&ledger).and_then(|ledger| ledger.execute(change, []));
            changed.unwrap_or_else(|error| panic!("{}: {error}", ledger.display()));
        }
    }

    /// Puts everything back that was parked.
    pub fn unpark_all(&self) {
        let (_, park) = self.places();
        self.unpark(&treasure::names(&park));
    }

    fn places(&self) -> (PathBuf, PathBuf) {
        (self.engine.root().join("volgc"), self.engine.root().join("parked"))
    }

    /// Removes what the cases so far have left: the next ones find the host as it was at the beginning, and few volumes.
    pub fn clear(&self) {
        for name in self.engine.volume_names() {
            self.engine.json("DELETE", &format!("/volumes/{name}?force=1"), None);
        }
        let (quarantine, park) = self.places();
        let strays = treasure::names(&self.engine.volumes_dir());
        let strays = strays.iter().map(|name| self.engine.volumes_dir().join(name));
        for path in strays.chain([quarantine, park, self.engine.dir().join("behind")]) {
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
        self.stock.clear();
        // The ledger forgets them, too.
        self.volgc.ok(&["sweep"]);
    }
}
