//! Every way in which the product passes its fault points: what is prepared, and which command is then run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::treasure::{self, Treasure};
use super::{Output, PrivateEngine, Volgc, tree_listing};

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

/// An engine, the product, and a place beside the quarantine for entries that shall not be recovered yet.
#[derive(Debug)]
pub struct Host<'a> {
    pub engine: &'a PrivateEngine,
    pub volgc: Volgc,
    config: String,
    made: Cell<u32>,
}

/// One run that is about to be disturbed.
#[derive(Debug)]
pub struct Case {
    /// What must survive.
    pub treasures: Vec<Treasure>,
    /// What lies behind a volume in place, which must never change.
    pub behind: Option<Behind>,
    /// The first of the treasures may be deleted, if it is deleted as a whole.
    pub is_deletion: bool,
    /// Somebody asked the engine for the volume while it was being restored.
    pub is_adopted: bool,
    /// An order for its name may still be on its way, so nothing is restored under it.
    pub is_name_unsafe: bool,
    /// The command.
    pub command: Vec<String>,
    /// Configuration beside the usual.
    rule: String,
    parked: Vec<String>,
}

/// A directory of somebody else that a volume is a mount of, with what is in it.
#[derive(Debug, Clone)]
pub struct Behind {
    path: PathBuf,
    listing: Vec<String>,
}

impl Behind {
    /// Makes one with content.
    fn make(host: &Host<'_>, name: &str) -> Self {
        let path = host.engine.dir().join("behind").join(name);
        fs::create_dir_all(&path)
            .and_then(|()| treasure::fill(&path, name))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let listing = tree_listing(&path);
        assert!(listing.len() > 3, "{} was not filled: {listing:?}", path.display());
        Self { path, listing }
    }
}

impl Case {
    /// Whatever becomes of a volume in place, what it is a mount of is never touched (I6).
    #[track_caller]
    pub fn assert_behind(&self, when: &str) {
        if let Some(behind) = &self.behind {
            let now = tree_listing(&behind.path);
            assert_eq!(
                now,
                behind.listing,
                "{when}: what is behind the volume, in {}",
                behind.path.display()
            );
        }
    }
}

/// A way in which fault points are passed.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Faults that lead the run there, besides the one that is tested.
    pub with: &'static str,
    /// Whether the command waits for the engine to settle first.
    pub settles: bool,
    prepare: fn(&Host<'_>, &str) -> Case,
}

/// What an operator or the service does: each begins with nothing unfinished.
pub const COMMANDS: &[Scenario] = &[
    Scenario { name: "quarantine", with: "", settles: false, prepare: quarantine },
    Scenario { name: "quarantine undone", with: "take.ask_again=EIO", settles: false, prepare: quarantine },
    Scenario { name: "restore", with: "", settles: false, prepare: |host, name| restore(host, name, &[]) },
    Scenario { name: "restore as", with: "", settles: false, prepare: restore_as },
    Scenario { name: "restore replacing", with: "", settles: false, prepare: restore_replacing },
    Scenario {
        name: "restore given up",
        with: "engine.create=EIO",
        settles: false,
        prepare: |host, name| restore(host, name, &[]),
    },
    Scenario { name: "delete", with: "", settles: false, prepare: delete },
    Scenario {
        name: "delete of a deep tree",
        with: "delete.levels=1",
        settles: false,
        prepare: |host, name| delete(host, name),
    },
    Scenario { name: "sweep that quarantines", with: "", settles: false, prepare: sweep_quarantines },
    Scenario { name: "sweep that deletes", with: "", settles: false, prepare: sweep_deletes },
    Scenario { name: "hold", with: "", settles: false, prepare: hold },
    Scenario { name: "release", with: "", settles: false, prepare: release },
    Scenario { name: "acknowledge", with: "", settles: false, prepare: acknowledge },
    Scenario { name: "sweep with a new ledger", with: "", settles: false, prepare: new_ledger },
    Scenario {
        name: "quarantine of what is not listed",
        with: "",
        settles: false,
        prepare: quarantine_unlisted,
    },
    Scenario { name: "quarantine in place", with: "", settles: false, prepare: mark },
    Scenario { name: "release by hand", with: "", settles: false, prepare: release_by_hand },
    Scenario { name: "sweep that releases", with: "", settles: false, prepare: sweep_releases },
    Scenario { name: "end in place", with: "", settles: false, prepare: end_in_place },
    Scenario {
        name: "restore as, of an unsafe name",
        with: "",
        settles: false,
        prepare: restore_as_of_an_unsafe_name,
    },
    Scenario {
        name: "delete, of an unsafe name",
        with: "",
        settles: false,
        prepare: delete_of_an_unsafe_name,
    },
];

/// Sweeps that find something unfinished.
pub const RECOVERIES: &[Scenario] = &[
    Scenario {
        name: "recovery of an entry without manifest",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, quarantine(host, name), "manifest.rename"),
    },
    Scenario {
        name: "recovery of moving",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, quarantine(host, name), "take.ask_again"),
    },
    Scenario {
        name: "recovery of moving, volume removed",
        with: "",
        settles: false,
        prepare: |host, name| {
            let case = unfinished(host, quarantine(host, name), "take.ask_again");
            host.engine.json("DELETE", &format!("/volumes/{name}"), None);
            case
        },
    },
    Scenario {
        name: "recovery of in doubt, not asked",
        with: "",
        settles: true,
        prepare: |host, name| unfinished(host, quarantine(host, name), "engine.delete"),
    },
    Scenario {
        name: "recovery of in doubt, done",
        with: "",
        settles: true,
        prepare: |host, name| unfinished(host, quarantine(host, name), "engine.deleted"),
    },
    Scenario {
        name: "recovery of restoring, nothing made",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, restore(host, name, &[]), "restore.make_directory"),
    },
    Scenario {
        name: "recovery of restoring, not placed",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, restore(host, name, &[]), "restore.rename"),
    },
    Scenario {
        name: "recovery of restoring, placed",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, restore(host, name, &[]), "engine.create"),
    },
    Scenario {
        name: "recovery of restoring, made",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, restore(host, name, &[]), "engine.created"),
    },
    Scenario {
        name: "recovery of deleting",
        with: "",
        settles: false,
        prepare: |host, name| unfinished(host, delete(host, name), "delete.contents"),
    },
    Scenario {
        name: "recovery of what is not listed, directory there",
        with: "",
        settles: false,
        prepare: |host, name| unfinished_unlisted(host, name, "take.ask_again"),
    },
    Scenario {
        name: "recovery of what is not listed, directory gone",
        with: "",
        settles: false,
        prepare: |host, name| unfinished_unlisted(host, name, "unlisted.ask_last"),
    },
    Scenario {
        name: "recovery of in place in doubt, not asked",
        with: "",
        settles: true,
        prepare: |host, name| unfinished(host, end_in_place(host, name), "engine.remove"),
    },
    Scenario {
        name: "recovery of in place in doubt, done",
        with: "",
        settles: true,
        prepare: |host, name| unfinished(host, end_in_place(host, name), "engine.removed"),
    },
];

impl<'a> Host<'a> {
    pub fn new(engine: &'a PrivateEngine) -> Self {
        Self::by(engine, &engine.socket())
    }

    /// The same, but the product speaks to the engine by way of another socket.
    pub fn by(engine: &'a PrivateEngine, socket: &Path) -> Self {
        let volgc = Volgc::new(engine);
        let config = BY_HAND.replace("{socket}", &socket.display().to_string());
        volgc.config(&config);
        // Makes the ledger: to make one is a scenario of its own.
        volgc.ok(&["sweep"]);
        Self { engine, volgc, config, made: Cell::new(0) }
    }

    /// What the scenario needs, on a volume of its own. Entries of it that are unfinished are parked.
    pub fn prepare(&self, scenario: &Scenario) -> Case {
        self.made.set(self.made.get() + 1);
        let mut case = (scenario.prepare)(self, &format!("v{:04}", self.made.get()));
        case.parked = self.park();
        case
    }

    /// Runs the case's command under fault orders.
    pub fn run(&self, case: &Case, orders: &str, trace: Option<&PathBuf>) -> Output {
        self.unpark(&case.parked);
        self.volgc.config(&format!("{}{}", self.config, case.rule));
        let mut volgc = self.volgc.clone().env("VOLGC_FAULT", orders);
        if let Some(trace) = trace {
            volgc = volgc.env("VOLGC_FAULT_TRACE", trace);
        }
        let output = volgc.run(&case.command);
        self.volgc.config(&self.config);
        output
    }

    /// Starts the case's command.
    pub fn start(&self, case: &Case, orders: &str) -> Child {
        self.unpark(&case.parked);
        self.volgc.config(&format!("{}{}", self.config, case.rule));
        self.volgc.clone().env("VOLGC_FAULT", orders).spawn(&case.command)
    }

    /// Starts the case's command, and returns when it rests before its n-th pass of a point, for so many milliseconds.
    pub fn rest_at(&self, case: &Case, with: &str, point: &str, pass: u32, milliseconds: u64) -> Child {
        let trace = self.engine.dir().join("trace");
        fs::remove_file(&trace).ok();
        self.unpark(&case.parked);
        self.volgc.config(&format!("{}{}", self.config, case.rule));
        let mut child = self
            .volgc
            .clone()
            .env("VOLGC_FAULT", format!("{point}@{pass}=delay:{milliseconds},{with}"))
            .env("VOLGC_FAULT_TRACE", &trace)
            .spawn(&case.command);
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            if text.lines().filter(|passed| *passed == point).count() >= pass as usize {
                break;
            }
            assert!(Instant::now() < deadline, "{:?} does not come to {point}@{pass}", case.command);
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{:?} ended with {status} before it came to {point}@{pass}", case.command);
            }
            sleep(Duration::from_millis(2));
        }
        // It has read its configuration long ago.
        self.volgc.config(&self.config);
        child
    }

    /// The fault points that an undisturbed run of the scenario passes, each with how often.
    pub fn passes(&self, scenario: &Scenario) -> Vec<(String, u32)> {
        let trace = self.engine.dir().join("trace");
        fs::remove_file(&trace).ok();
        let case = self.prepare(scenario);
        let output = self.run(&case, scenario.with, Some(&trace));
        assert!(
            !scenario.with.is_empty() || output.status == Some(0),
            "{} {:?}: {output:?}",
            scenario.name,
            case.command
        );
        if !case.is_deletion {
            case.treasures.iter().for_each(|treasure| {
                treasure.assert_whole(self.engine, scenario.name);
            });
        }
        case.assert_behind(scenario.name);
        self.park();
        let mut passes: BTreeMap<String, u32> = BTreeMap::new();
        for point in fs::read_to_string(&trace).unwrap_or_default().lines() {
            *passes.entry(point.to_owned()).or_default() += 1;
        }
        passes.into_iter().collect()
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
        // The next run makes the quarantine itself.
        fs::remove_file(quarantine.join("lock")).ok();
        fs::remove_dir(&quarantine).ok();
        entries
    }

    /// Puts entries back into the quarantine.
    pub fn unpark(&self, entries: &[String]) {
        let (quarantine, park) = self.places();
        if !entries.is_empty() && !quarantine.is_dir() {
            fs::create_dir(&quarantine)
                .and_then(|()| {
                    fs::set_permissions(&quarantine, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                })
                .unwrap_or_else(|error| panic!("{}: {error}", quarantine.display()));
        }
        for entry in entries {
            // A run that failed may have been recovered and parked since.
            fs::rename(park.join(entry), quarantine.join(entry))
                .unwrap_or_else(|error| panic!("cannot bring back {entry}: {error}"));
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

    /// After recovery: nothing unfinished, and whatever is in quarantine can be brought back whole. Says how much was not seen to be
    /// whole, or deleted as it was ordered: none, or an assertion has failed.
    pub fn assert_all_well(&self, cases: &[(String, Case)], when: &str) -> usize {
        let mut unseen: usize =
            cases.iter().map(|(_, case)| case.treasures.len() + usize::from(case.behind.is_some())).sum();
        treasure::assert_no_husk(self.engine, when);
        let list = self.volgc.json(&["list", "--format", "json"]);
        for entry in list.as_array().into_iter().flatten() {
            let is_finished = entry["state"] == "quarantined" || entry["state"] == "in_place";
            assert!(is_finished, "{when}: unfinished: {entry:#}");
        }
        for (what, case) in cases {
            let when = &format!("{when}, {what}");
            case.assert_behind(when);
            unseen -= usize::from(case.behind.is_some());
            for (number, treasure) in case.treasures.iter().enumerate() {
                if case.is_deletion && number == 0 && treasure.places(self.engine).is_empty() {
                    unseen -= 1;
                    continue;
                }
                let name = match treasure.assert_whole(self.engine, when) {
                    treasure::Place::Volume(name) => name,
                    treasure::Place::Deleting(entry) => panic!("{when}: {entry} is still being deleted"),
                    treasure::Place::Entry(entry, manifest) => {
                        assert_eq!(manifest["state"], "quarantined", "{when}: {manifest:#}");
                        // Behind a proxy the name is closed while an order to forget it could still arrive.
                        let is_proxied = !self.config.contains(&self.engine.socket().display().to_string());
                        let is_closed = is_proxied || case.is_name_unsafe;
                        let name = if is_closed || self.engine.volumes_dir().join(&treasure.name).exists() {
                            format!("{}-back{number}", treasure.name)
                        } else {
                            treasure.name.clone()
                        };
                        self.volgc.ok(&["restore", &entry, "--as", &name]);
                        name
                    }
                };
                if case.is_adopted {
                    // The engine made the volume for somebody else, without labels, around the data that lay there.
                    treasure.assert_content(self.engine, &name, when);
                } else {
                    treasure.assert_back(self.engine, &name, when);
                }
                unseen -= 1;
            }
        }
        unseen
    }
}

fn case(treasures: Vec<Treasure>, command: &[&str]) -> Case {
    Case {
        treasures,
        behind: None,
        is_deletion: false,
        is_adopted: false,
        is_name_unsafe: false,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        rule: String::new(),
        parked: Vec::new(),
    }
}

fn quarantine(host: &Host<'_>, name: &str) -> Case {
    case(vec![Treasure::make(host.engine, name)], &["quarantine", name])
}

/// A volume in quarantine, and its entry.
fn quarantined(host: &Host<'_>, name: &str) -> (Treasure, String) {
    let treasure = Treasure::make(host.engine, name);
    host.volgc.ok(&["quarantine", name]);
    match treasure.assert_whole(host.engine, "prepared") {
        treasure::Place::Entry(entry, _) => (treasure, entry),
        place @ (treasure::Place::Volume(_) | treasure::Place::Deleting(_)) => {
            panic!("volume {name} was not quarantined, it is in {place:?}")
        }
    }
}

fn restore(host: &Host<'_>, name: &str, more: &[&str]) -> Case {
    let (treasure, entry) = quarantined(host, name);
    case(vec![treasure], &[&["restore", &entry], more].concat())
}

fn restore_as(host: &Host<'_>, name: &str) -> Case {
    let other = format!("{name}-other");
    restore(host, name, &["--as", &other])
}

fn restore_replacing(host: &Host<'_>, name: &str) -> Case {
    let mut case = restore(host, name, &["--replace"]);
    case.treasures.push(Treasure::make(host.engine, name));
    case
}

fn delete(host: &Host<'_>, name: &str) -> Case {
    let (treasure, entry) = quarantined(host, name);
    Case { is_deletion: true, ..case(vec![treasure], &["delete", "--yes", &entry]) }
}

fn rule(name: &str) -> String {
    format!(
        "[[rule]]\nname = \"it\"\nmatch = {{ volume = \"{name}\" }}\nquarantine_after = \"0s\"\ndelete_after = \"0s\"\n"
    )
}

fn sweep_quarantines(host: &Host<'_>, name: &str) -> Case {
    let treasure = Treasure::make(host.engine, name);
    host.volgc.ok(&["sweep"]);
    Case { rule: rule(name), ..case(vec![treasure], &["sweep"]) }
}

fn sweep_deletes(host: &Host<'_>, name: &str) -> Case {
    host.volgc.config(&format!("{}{}", host.config, rule(name)));
    let (treasure, _) = quarantined(host, name);
    host.volgc.config(&host.config);
    host.volgc.ok(&["sweep"]);
    Case { is_deletion: true, rule: rule(name), ..case(vec![treasure], &["sweep"]) }
}

fn hold(host: &Host<'_>, name: &str) -> Case {
    case(vec![Treasure::make(host.engine, name)], &["hold", name, "--reason", "a test"])
}

fn release(host: &Host<'_>, name: &str) -> Case {
    let treasure = Treasure::make(host.engine, name);
    host.volgc.ok(&["hold", name, "--reason", "a test"]);
    case(vec![treasure], &["release", name])
}

fn acknowledge(host: &Host<'_>, name: &str) -> Case {
    case(vec![Treasure::make(host.engine, name)], &["acknowledge"])
}

/// Nothing is remembered, not even where (I9).
fn new_ledger(host: &Host<'_>, name: &str) -> Case {
    let state = host.volgc.state_dir();
    // The one before may have been stopped before it made the directory.
    if state.exists() {
        fs::remove_dir_all(&state).unwrap_or_else(|error| panic!("{}: {error}", state.display()));
    }
    case(vec![Treasure::make(host.engine, name)], &["sweep"])
}

/// What a command leaves that is killed at a point, for a sweep to recover.
fn unfinished(host: &Host<'_>, before: Case, point: &str) -> Case {
    let output = host.run(&before, &format!("{point}@1=kill"), None);
    assert_eq!(output.status, None, "not killed at {point}: {output:?}");
    Case { command: vec!["sweep".to_owned()], ..before }
}

/// A directory that the engine does not list, beside a volume that it does: else nothing proves that the root is its own.
fn quarantine_unlisted(host: &Host<'_>, name: &str) -> Case {
    host.engine.create_volume("anchor", &[("volgc.keep", "true")]);
    let treasure = Treasure::stray(host.engine, name);
    let rule = "[[rule]]\nname = \"strays\"\nmatch = { class = \"unlisted\" }\nquarantine_after = \"0s\"\ndelete_after = \"1h\"\n";
    // It may become a volume, without the labels that others have.
    Case { rule: rule.to_owned(), is_adopted: true, ..case(vec![treasure], &["quarantine", name]) }
}

/// What is left of it by a kill. The sweep that recovers it has no rule that would take others like it.
fn unfinished_unlisted(host: &Host<'_>, name: &str, point: &str) -> Case {
    let case = unfinished(host, quarantine_unlisted(host, name), point);
    Case { rule: String::new(), ..case }
}

/// A volume that is a mount of a directory beside the engine's own, and that a rule permits to be quarantined in place.
fn mark(host: &Host<'_>, name: &str) -> Case {
    let behind = Behind::make(host, name);
    let options = serde_json::json!({ "type": "none", "o": "bind", "device": behind.path });
    let body = serde_json::json!({ "Name": name, "Driver": "local", "DriverOpts": options }).to_string();
    host.engine.json("POST", "/volumes/create", Some(&body));
    let rule =
        format!("{}in_place = true\n", rule(name)).replace("delete_after = \"0s\"", "delete_after = \"1h\"");
    Case { rule, behind: Some(behind), ..case(Vec::new(), &["quarantine", name]) }
}

/// A volume in quarantine in place: what is behind it, and its entry.
fn marked(host: &Host<'_>, name: &str) -> (Option<Behind>, String) {
    let case = mark(host, name);
    host.volgc.config(&format!("{BY_HAND}{}", case.rule));
    host.volgc.ok(&case.command);
    host.volgc.config(BY_HAND);
    (case.behind, host.volgc.entry_id_of(name))
}

fn release_by_hand(host: &Host<'_>, name: &str) -> Case {
    let (behind, entry) = marked(host, name);
    Case { behind, ..case(Vec::new(), &["restore", &entry]) }
}

fn sweep_releases(host: &Host<'_>, name: &str) -> Case {
    let (behind, _) = marked(host, name);
    host.volgc.ok(&["hold", name, "--reason", "a test"]);
    Case { behind, ..case(Vec::new(), &["sweep"]) }
}

fn end_in_place(host: &Host<'_>, name: &str) -> Case {
    let (behind, entry) = marked(host, name);
    Case { behind, is_deletion: true, ..case(Vec::new(), &["delete", "--yes", &entry]) }
}

/// The entry's name, for which an order may still be on its way through a proxy.
fn make_name_unsafe(host: &Host<'_>, entry: &str) {
    let file = host.engine.root().join("volgc").join(entry).join("manifest.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut manifest: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    manifest["name_unsafe_until"] = (chrono::Utc::now() + chrono::TimeDelta::minutes(50)).to_rfc3339().into();
    fs::write(&file, manifest.to_string()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

fn restore_as_of_an_unsafe_name(host: &Host<'_>, name: &str) -> Case {
    let (treasure, entry) = quarantined(host, name);
    make_name_unsafe(host, &entry);
    let other = format!("{name}-other");
    Case { is_name_unsafe: true, ..case(vec![treasure], &["restore", &entry, "--as", &other]) }
}

fn delete_of_an_unsafe_name(host: &Host<'_>, name: &str) -> Case {
    let (treasure, entry) = quarantined(host, name);
    make_name_unsafe(host, &entry);
    Case { is_deletion: true, is_name_unsafe: true, ..case(vec![treasure], &["delete", "--yes", &entry]) }
}
