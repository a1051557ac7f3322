//! One storm: everybody at once, and a calm now and then in which everything is looked for.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::content::{Identity, Place, Scan, manifest, path_of, scan};
use super::dice::Dice;
use super::log::Log;
use super::model::{Fate, Model};
use super::operation::Operation;
use super::operators::{Counts, Operator};
use super::users::Users;
use harness::{PrivateEngine, Volgc, tree_listing};

/// Whatever nothing holds goes into quarantine as fast as it can, and stays there; only what is labelled as of no worth, which no
/// container ever uses, is deleted.
const NO_GRACE: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[schedule]
interval = "1s"
[policy.anonymous]
quarantine_after = "0s"
delete_after = "52w"
[[rule]]
name = "disposable"
match = { label = "com.example.disposable" }
quarantine_after = "0s"
delete_after = "0s"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "52w"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
sudden_orphans = 100000
"#;

/// From one calm to the next.
const WIND: Duration = Duration::from_secs(15);

/// What was found, beside what must be.
#[derive(Debug, Default)]
struct Findings {
    verified: u64,
    lost: usize,
    calms: u64,
}

/// What ends the actors, also when one of them fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One storm.
pub fn storm(engine: &PrivateEngine, seed: u64, length: Duration) {
    let shown = shown(engine);
    println!("soak: {shown}, VOLGC_SOAK_SEED={seed}, {} s", length.as_secs());
    let log = Log::begin(&format!("soak-{shown}-{seed}.log"));
    println!("soak: {shown}, what is done is written to {}", log.path().display());
    let volgc = Volgc::configured(engine, NO_GRACE);
    let counts = Counts::default();
    let (mut users, mut dice) = (Users::new(engine, &log), Dice::of(seed, 0));
    let mut findings = Findings::default();
    let ends: Mutex<Vec<Identity>> = Mutex::default();
    let (over, wind) = (AtomicBool::new(false), RwLock::new(()));
    let failed = AtomicU64::new(0);
    thread::scope(|scope| {
        // Ends the actors when this closure ends, however it ends.
        let _over = Over(&over);
        let actor = |name: &'static str, number: u64| {
            Operator::new(engine, &volgc, &log, &counts, name, Dice::of(seed, number))
        };
        let (mut sweeps, mut one, mut other) =
            (actor("sweeps", 1), actor("operator one", 2), actor("operator two", 3));
        let (over, wind, failed, ends) = (&over, &wind, &failed, &ends);
        // Each of them waits between two commands while there is a calm.
        let while_it_blows = move |act: &mut dyn FnMut()| {
            let _failed = Failed(failed);
            while !over.load(Ordering::Acquire) {
                let _blowing = wind.read().unwrap_or_else(PoisonError::into_inner);
                act();
            }
        };
        scope.spawn(move || while_it_blows(&mut || sweeps.sweep()));
        let note = move |entry: &str| ends_of(engine, entry, ends);
        scope.spawn(move || while_it_blows(&mut || one.command(&mut |entry| note(entry))));
        scope.spawn(move || while_it_blows(&mut || other.command(&mut |entry| note(entry))));
        let began = Instant::now();
        while began.elapsed() < length {
            let blow = Instant::now();
            while blow.elapsed() < WIND && began.elapsed() < length {
                users.act(Operation::draw(&mut dice));
                assert_eq!(failed.load(Ordering::Acquire), 0, "an operator failed");
            }
            let _calm = wind.write().unwrap_or_else(PoisonError::into_inner);
            log.note("calm");
            told_of_ends(&mut users.model, ends);
            calm(engine, &volgc, &mut users, &mut findings);
        }
    });
    // Each of them may have given one more command after the last calm.
    told_of_ends(&mut users.model, &ends);
    end(engine, &volgc, &mut users, &mut findings);
    println!(
        "soak: {shown}, {} volumes made, {} removed by hand, {} commands of volgc, {} reads by containers and mounts, {} calms, seed {seed}",
        users.model.kept.len(),
        users.removed_by_hand,
        counts.commands.load(Ordering::Relaxed),
        users.reads,
        findings.calms
    );
    println!(
        "soak: {shown}, {} operations, {} kills, {} checksums verified, {} lost, 0 half states, {} panics",
        users.operations + counts.commands.load(Ordering::Relaxed),
        users.kills + counts.kills.load(Ordering::Relaxed),
        findings.verified,
        findings.lost,
        counts.panics.load(Ordering::Relaxed)
    );
}

fn told_of_ends(model: &mut Model, ends: &Mutex<Vec<Identity>>) {
    for end in ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        model.may_go(&end, "its entry was deleted by an operator");
    }
}

/// Says that an actor panicked.
struct Failed<'a>(&'a AtomicU64);

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn shown(engine: &PrivateEngine) -> String {
    format!("{:?}", engine.version()).trim_start_matches('V').replace('_', ".")
}

/// Notes whose data is in an entry that is about to be deleted by hand.
fn ends_of(engine: &PrivateEngine, entry: &str, ends: &Mutex<Vec<Identity>>) {
    let data = engine.quarantined_data(entry);
    if let Ok(opened) = super::content::Opened::open(&data)
        && let Ok(identity) = opened.identity()
    {
        ends.lock().unwrap_or_else(PoisonError::into_inner).push(identity);
    }
}

/// One sweep recovers what was left unfinished; then everything is there, and nothing is half done.
fn calm(engine: &PrivateEngine, volgc: &Volgc, users: &mut Users<'_>, findings: &mut Findings) {
    recover(volgc);
    findings.calms += 1;
    let found = scan(engine);
    assert_eq!(found.half, Vec::<String>::new(), "half states after a sweep");
    users.assert_containers_well();
    verify(engine, &users.model, &found, findings);
}

fn recover(volgc: &Volgc) {
    let output = volgc.run(&["sweep"]);
    assert_eq!(output.status, Some(0), "the sweep in the calm: {output:?}");
    let told = format!("{}{}", output.stdout, output.stderr);
    for word in ["panicked", "could not be recovered", "in doubt"] {
        assert!(!told.contains(word), "the sweep in the calm: {output:?}");
    }
}

/// All data that must be there is whole, in one place; what may be gone is whole or gone.
fn verify(engine: &PrivateEngine, model: &Model, found: &Scan, findings: &mut Findings) {
    let mut lost = Vec::new();
    for (identity, kept) in &model.kept {
        let Some(place) = found.places.get(identity) else {
            if kept.fate == Fate::Kept {
                lost.push(format!("{} is nowhere", kept.token));
            }
            continue;
        };
        let now = tree_listing(&path_of(engine, place));
        // Owner and mode of the directory itself are the engine's until a restore is finished.
        if now.get(1..) != kept.listing.get(1..) {
            lost.push(format!("{} in {place:?} is\n{now:#?}\nnot\n{:#?}", kept.token, kept.listing));
        }
        if let Place::Entry(entry, _) = place {
            let path = engine.root().join("volgc").join(entry).join("manifest.json");
            let manifest = manifest(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(
                manifest["data_directory"]["inode"],
                serde_json::json!(identity.0),
                "{entry} names other data"
            );
        }
        findings.verified += 1;
    }
    findings.lost += lost.len();
    assert!(lost.is_empty(), "lost: {}", lost.join("\n"));
}

/// The end of the storm: all containers start and read their files, then all of them go, everything goes into quarantine, and
/// everything comes back, down to owner and mode.
fn end(engine: &PrivateEngine, volgc: &Volgc, users: &mut Users<'_>, findings: &mut Findings) {
    calm(engine, volgc, users, findings);
    users.assert_containers_start();
    users.leave();
    for hold in volgc.json(&["holds", "--format", "json"]).as_array().into_iter().flatten() {
        volgc.run(&["release", hold["name"].as_str().unwrap()]);
    }
    // Seen without a holder once, and then quarantined.
    for _ in 0..2 {
        recover(volgc);
    }
    let found = scan(engine);
    assert_eq!(found.half, Vec::<String>::new(), "half states at the end");
    verify(engine, &users.model, &found, findings);
    for (identity, kept) in &users.model.kept {
        let Some(place) = found.places.get(identity) else { continue };
        let name = match place {
            Place::Volume(name) => name.clone(),
            Place::Entry(entry, _) => {
                let name = format!("final-{}", kept.token);
                volgc.ok(&["restore", entry, "--as", &name]);
                name
            }
            Place::Deleting(entry) => panic!("{entry} is still being deleted"),
        };
        let now = tree_listing(&engine.volume_data(&name));
        let first = usize::from(!kept.is_strict);
        assert_eq!(now.get(first..), kept.listing.get(first..), "{} as volume {name}", kept.token);
        assert!(engine.volume_names().contains(&name), "the engine does not list {name}");
        findings.verified += 1;
    }
    let there = users.model.kept.keys().filter(|identity| found.places.contains_key(*identity)).count();
    assert!(there >= users.model.count(), "{there} of {}", users.model.count());
}
