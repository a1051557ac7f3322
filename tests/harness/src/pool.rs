//! Engines that a test process starts once and hands out clean to one test after the other.
//!
//! Starting an engine takes most of the time of a short test. A [`Lease`] gives its engine back when it is dropped: what the
//! test left is removed, and when the engine is then exactly as it was after its start, the next test gets it. If anything
//! else is left, if the test failed, or if its engine does not run, the engine is taken down.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{PrivateEngine, Version, reaper, takedown, watchdog};

/// An engine and what was in its places when it had just started.
#[derive(Debug)]
struct Idle {
    engine: PrivateEngine,
    baseline: Baseline,
}

/// What an engine has before any test has used it.
#[derive(Debug, PartialEq, Eq)]
struct Baseline {
    directory: BTreeSet<String>,
    root: BTreeSet<String>,
    volumes: BTreeSet<String>,
    /// Who may go there.
    modes: [u32; 3],
    /// As the engine lists them: those of a plugin have no directory there.
    listed: BTreeSet<String>,
    /// An engine never forgets a volume plugin that it has found once.
    drivers: BTreeSet<String>,
    mounts: Vec<String>,
    images: BTreeSet<String>,
    networks: usize,
}

static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Idle>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine that a test uses alone; it goes back to the pool when it is dropped.
#[derive(Debug)]
pub struct Lease {
    idle: Option<Idle>,
    _watch: watchdog::Watch,
}

/// A clean engine: an idle one, or a new one.
pub fn take(version: Version) -> Lease {
    reaper::watch_this_process();
    let watch = watchdog::watch();
    let idle = std::iter::from_fn(|| take_idle(version)).find(is_clean).unwrap_or_else(|| {
        let engine = PrivateEngine::start(version);
        let baseline = Baseline::of(&engine);
        Idle { engine, baseline }
    });
    Lease { idle: Some(idle), _watch: watch }
}

fn take_idle(version: Version) -> Option<Idle> {
    let mut idle = idle();
    let index = idle.iter().position(|one| one.engine.version() == version)?;
    Some(idle.swap_remove(index))
}

/// Whether an idle engine is still as it was: what other tests do to the machine may have changed it.
fn is_clean(idle: &Idle) -> bool {
    let Idle { engine, baseline } = idle;
    let now = engine.answers(Duration::from_secs(10)).then(|| Baseline::of(engine));
    let is_clean = now.as_ref() == Some(baseline);
    if !is_clean {
        eprintln!("pool: this engine changed while it was idle: {now:?}, and before {baseline:?}");
    }
    is_clean
}

impl Deref for Lease {
    type Target = PrivateEngine;

    fn deref(&self) -> &PrivateEngine {
        match &self.idle {
            Some(idle) => &idle.engine,
            None => unreachable!("only a drop takes it"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Idle { engine, baseline }) = self.idle.take() else { return };
        // A failed test shows its engine's log, which the take-down does.
        if std::thread::panicking() {
            return;
        }
        match clean(&engine, &baseline) {
            Ok(()) => idle().push(Idle { engine, baseline }),
            Err(why) => eprintln!("pool: this engine is not used again: {why}"),
        }
    }
}

impl Baseline {
    fn of(engine: &PrivateEngine) -> Self {
        let networks = engine.json("GET", "/networks", None);
        Self {
            directory: names(engine.dir()),
            root: names(&engine.root()),
            volumes: names(&engine.volumes_dir()),
            modes: [engine.dir(), &engine.root(), &engine.volumes_dir()].map(mode),
            listed: engine.volume_names().into_iter().collect(),
            drivers: drivers(engine),
            mounts: engine.mounts(),
            images: ids(&engine.json("GET", "/images/json", None)),
            networks: networks.as_array().map_or(0, Vec::len),
        }
    }
}

/// Removes what a test left. Says what is not as it was.
fn clean(engine: &PrivateEngine, baseline: &Baseline) -> Result<(), String> {
    if !engine.answers(Duration::from_secs(10)) {
        return Err("it does not answer".to_owned());
    }
    takedown::end_strangers(engine.dir(), &engine.processes())?;
    for container in list(engine, "/containers/json?all=1", "Id")? {
        remove(engine, &format!("/containers/{container}?force=1&v=1"))?;
    }
    for volume in list(engine, "/volumes", "Name")? {
        remove(engine, &format!("/volumes/{volume}?force=1"))?;
    }
    let info = engine.json("GET", "/info", None);
    if info["Swarm"]["LocalNodeState"].as_str().is_some_and(|state| state != "inactive") {
        return Err("it is in a swarm".to_owned());
    }
    // Nothing is deleted beside a mount that was left: `rm` would stop there, but the engine is not as it was.
    if engine.mounts() != baseline.mounts {
        return Err(format!("mounts: {:?}, and before {:?}", engine.mounts(), baseline.mounts));
    }
    for (place, known) in [
        (engine.dir().to_path_buf(), &baseline.directory),
        (engine.root(), &baseline.root),
        (engine.volumes_dir(), &baseline.volumes),
        (engine.root().join("containers"), &BTreeSet::new()),
    ] {
        for name in names(&place).difference(known) {
            takedown::remove(&place.join(name));
        }
    }
    fs::write(engine.log(), "").map_err(|error| format!("{}: {error}", engine.log().display()))?;
    let now = Baseline::of(engine);
    if now != *baseline {
        return Err(format!("it is not as it was: {now:?}, and before {baseline:?}"));
    }
    match list(engine, "/plugins", "Name")?.as_slice() {
        [] => Ok(()),
        plugins => Err(format!("plugins: {plugins:?}")),
    }
}

/// One field of every item of a list.
fn list(engine: &PrivateEngine, path: &str, field: &str) -> Result<Vec<String>, String> {
    let answer = engine.json("GET", path, None);
    let items = answer.as_array().or_else(|| answer["Volumes"].as_array());
    let name =
        |item: &Value| item[field].as_str().map(str::to_owned).ok_or_else(|| format!("{path}: {item}"));
    items.into_iter().flatten().map(name).collect()
}

fn remove(engine: &PrivateEngine, path: &str) -> Result<(), String> {
    match engine.try_api("DELETE", path, None, Duration::from_secs(30)) {
        // 404: removed with the one before, as the anonymous volumes of a container are.
        Ok((204 | 404, _)) => Ok(()),
        other => Err(format!("DELETE {path}: {other:?}")),
    }
}

/// The volume drivers that an engine knows by now.
fn drivers(engine: &PrivateEngine) -> BTreeSet<String> {
    let info = engine.json("GET", "/info", None);
    let drivers = info["Plugins"]["Volume"].as_array();
    drivers.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|one| one["Id"].as_str().map(str::to_owned)).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |facts| facts.permissions().mode())
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
