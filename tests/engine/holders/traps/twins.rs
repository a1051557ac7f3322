//! Two volumes that are prepared in the same way: one for the engine, one for volgc.

use std::path::Path;

use serde_json::Value;

use harness::{Contents, NO_GRACE, PrivateEngine, Version, Volgc, show};

/// The volume with which the engine shows what it does.
pub(crate) const LOST: &str = "lost";
/// The volume over which volgc sweeps.
pub(crate) const KEPT: &str = "kept";
/// Both.
pub(crate) const BOTH: [&str; 2] = [LOST, KEPT];
/// What the content that the harness writes has in its file `PG_VERSION`.
pub(crate) const CONTENT: &str = "15";

/// Makes a volume with content, and with a label by which the engine can be told to prune nothing else.
#[track_caller]
pub(crate) fn make(engine: &PrivateEngine, volume: &str) {
    engine.create_volume(volume, &[("trap", volume)]);
    engine.fill_volume(volume, 4711);
}

/// The container of a volume.
pub(crate) fn app(volume: &str) -> String {
    format!("{volume}-app")
}

/// `source:/data` as an argument for `-v`.
pub(crate) fn on_data(source: &Path) -> String {
    format!("{}:/data", source.display())
}

/// Makes both volumes, each with a container that will show its content when it is started.
#[track_caller]
pub(crate) fn make_with_apps(engine: &PrivateEngine) {
    for volume in BOTH {
        make(engine, volume);
        let mount = format!("{volume}:/data");
        engine.docker(&["create", "--name", &app(volume), "-v", &mount, "bb", "cat", "/data/PG_VERSION"]);
    }
}

/// The engine counts no use of these volumes.
#[track_caller]
pub(crate) fn assert_dangling(engine: &PrivateEngine, volumes: &[&str]) {
    let dangling = dangling(engine);
    for volume in volumes {
        assert!(dangling.iter().any(|name| name == volume), "{volume} is not among {dangling:?}");
    }
}

/// The volumes that the engine calls dangling.
#[track_caller]
pub(crate) fn dangling(engine: &PrivateEngine) -> Vec<String> {
    let list = engine.docker(&["volume", "ls", "--quiet", "--filter", "dangling=true"]);
    list.lines().map(str::to_owned).collect()
}

/// The engine's prune deletes the volume `lost` with its data. It is limited to it by its label, and would take `kept` as well.
#[track_caller]
pub(crate) fn assert_pruned(engine: &PrivateEngine) {
    assert_dangling(engine, &BOTH);
    let filter = format!("label=trap={LOST}");
    let mut words = vec!["volume", "prune", "--force", "--filter", &filter];
    // Since Docker 23 named volumes are pruned only so; 20.10 prunes them always, and knows no such option.
    if engine.version() != Version::V20_10 {
        words.push("--all");
    }
    let told = engine.docker(&words);
    assert!(told.lines().any(|line| line == LOST), "prune took nothing: {told}");
    assert_gone(engine, LOST);
}

/// The engine's `volume rm` deletes a volume with its data.
#[track_caller]
pub(crate) fn assert_removed(engine: &PrivateEngine, volume: &str) {
    engine.docker(&["volume", "rm", volume]);
    assert_gone(engine, volume);
}

/// The engine refuses to remove a volume, for a reason in which these words are.
#[track_caller]
pub(crate) fn assert_removal_fails(engine: &PrivateEngine, volume: &str, words: &str) {
    let output = engine.try_docker(&["volume", "rm", volume]);
    assert!(!output.status.success() && show(&output).contains(words), "{}", show(&output));
}

#[track_caller]
fn assert_gone(engine: &PrivateEngine, volume: &str) {
    assert!(!engine.volume_names().iter().any(|name| name == volume), "{volume} is still listed");
    let directory = engine.volumes_dir().join(volume);
    assert!(directory.symlink_metadata().is_err(), "{} is still there", directory.display());
}

/// Sweeps over `kept` and whatever else is given, without any grace: nothing of it changes, and an unreferenced volume goes for
/// good meanwhile.
#[track_caller]
pub(crate) fn assert_kept(engine: &PrivateEngine, more: &[&Path]) -> Volgc {
    let mut contents = Contents::new(engine);
    contents.note_volume(KEPT);
    for path in more {
        contents.note(path);
    }
    let volgc = Volgc::configured(engine, NO_GRACE);
    contents.assert_survive_sweeps_of(&volgc);
    volgc
}

/// volgc names this holder of the volume, seen by this witness.
#[track_caller]
pub(crate) fn assert_holder(volgc: &Volgc, volume: &str, witness: &str, kind: &str, name: &str) {
    let told = volgc.told_of(volume);
    assert_eq!(told["reason"], "held", "{told:#}");
    let is_it =
        |holder: &Value| holder["witness"] == witness && holder["kind"] == kind && holder["name"] == name;
    assert!(told["holders"].as_array().unwrap().iter().any(is_it), "no {kind} {name} of {witness}: {told:#}");
}

/// The container of `kept` finds its data.
#[track_caller]
pub(crate) fn assert_app_finds_its_data(engine: &PrivateEngine) {
    assert_eq!(engine.docker(&["start", "--attach", &app(KEPT)]), CONTENT);
}

/// The container of `lost` starts, if at all, on an empty volume.
#[track_caller]
pub(crate) fn assert_app_finds_nothing(engine: &PrivateEngine) {
    let output = engine.try_docker(&["start", "--attach", &app(LOST)]);
    assert!(!output.status.success(), "{}", show(&output));
    assert!(!String::from_utf8_lossy(&output.stdout).contains(CONTENT), "{}", show(&output));
}
