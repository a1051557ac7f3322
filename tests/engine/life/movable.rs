//! Ordinary volumes that nothing holds, and whose data must not be renamed away for what is in or around their directories: they stay,
//! whole, and the report says why.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::fake::{Fake, volume};
use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine, show, text, tree_listing};
use serde_json::json;

/// Each volume, and the reason that the report gives.
const KEPT: [(&str, &str); 6] = [
    ("beside", "foreign_content"),
    ("lost-options", "options_file"),
    ("x", "name_not_accepted"),
    ("mount-on-data", "mounted"),
    ("mount-on-volume", "mounted"),
    ("quota", "project_quota"),
];

#[track_caller]
fn succeed<S: AsRef<OsStr>>(program: &str, arguments: &[S]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", show(&output));
}

/// A tmpfs over a directory, for as long as this is there.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(at: PathBuf) -> Self {
        succeed("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), at.as_os_str()]);
        Self(at)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status().unwrap();
        assert!(status.success() || std::thread::panicking(), "cannot unmount {}", self.0.display());
    }
}

/// A volume whose options are in its `opts.json` alone, and one with a name of one letter, which the engine finds as a directory when
/// it starts: the API accepts no such name.
fn lose_the_record_of_options(engine: &PrivateEngine) {
    let device = engine.dir().join("device");
    fs::create_dir(&device).unwrap();
    let device = format!("device={}", device.display());
    engine.docker(&[
        "volume",
        "create",
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        &device,
        "lost-options",
    ]);
    harness::fill(&engine.volume_data("lost-options"), 1);
    engine.stop();
    fs::remove_file(engine.volumes_dir().join("metadata.db")).unwrap();
    let one_letter = engine.volume_data("x");
    fs::create_dir_all(&one_letter).unwrap();
    harness::fill(&one_letter, 2);
    engine.restart();
    assert!(engine.volume_names().contains(&"x".to_owned()), "the engine did not adopt the directory");
    let options = &engine.json("GET", "/volumes/lost-options", None)["Options"];
    assert!(options.is_null(), "{options}");
}

/// As where an administrator limits a volume's size by hand (ext4 and XFS).
fn under_a_project_quota(engine: &PrivateEngine, name: &str) {
    engine.create_volume(name, &[]);
    engine.fill_volume(name, 3);
    succeed("chattr", &["+P".as_ref(), engine.volume_data(name).as_os_str()]);
}

#[track_caller]
fn assert_told(volgc: &Volgc) {
    let report = volgc.report();
    for (name, reason) in KEPT {
        let lines = report["volumes"].as_array().unwrap();
        let line =
            lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"));
        assert_eq!(
            (text(&line["action"]).as_str(), text(&line["reason"]).as_str()),
            ("keep", reason),
            "{line:#}"
        );
        assert_eq!(line["holders"], json!([]), "something else keeps it: {line:#}");
    }
}

on_each_engine! {
    fn what_must_not_be_renamed_stays_with_its_reason(engine: PrivateEngine) {
        lose_the_record_of_options(&engine);
        for name in ["beside", "mount-on-data", "mount-on-volume"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 4);
        }
        fs::write(engine.volumes_dir().join("beside/notes"), "of an administrator").unwrap();
        under_a_project_quota(&engine, "quota");
        let mut kept = Contents::new(&engine);
        for (name, _) in KEPT {
            kept.note_volume(name);
            kept.note(&engine.volumes_dir().join(name));
        }
        let mounts = [
            Tmpfs::over(engine.volume_data("mount-on-data")),
            Tmpfs::over(engine.volumes_dir().join("mount-on-volume")),
        ];

        let volgc = Volgc::configured(&engine, NO_GRACE);
        engine.create_volume("canary", &[]);
        for _ in 0..4 {
            volgc.ok(&["sweep"]);
            assert_told(&volgc);
        }
        assert!(!engine.volume_names().contains(&"canary".to_owned()), "the sweeps took nothing");
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
        for (name, _) in KEPT {
            let output = volgc.run(&["quarantine", name]);
            assert_eq!(output.status, Some(4), "{name}: {output:?}");
        }
        let story = volgc.ok(&["explain", "quota"]);
        assert!(story.contains("a project quota applies to it"), "{story}");
        // Told before it is due, too, to whoever asks about the volume.
        let patient = Volgc::configured(&engine, &NO_GRACE.replace("quarantine_after = \"0s\"", "quarantine_after = \"7d\""));
        for (name, why) in [("quota", "a project quota applies to it"), ("beside", "something else lies beside")] {
            let story = patient.ok(&["explain", name]);
            assert!(story.contains(why), "{story}");
        }
        drop(mounts);
        kept.assert_untouched();
    }
}

/// Drivers other than `local` are plugins, which come from a registry.
#[test]
fn volumes_of_another_driver_or_scope_stay_with_their_reason() {
    let fake = Fake::start();
    let root = fake.root().display().to_string();
    fake.add_volume("canary");
    for name in ["elsewhere", "everywhere"] {
        harness::fill(
            &fs::create_dir_all(fake.volume_data(name)).map(|()| fake.volume_data(name)).unwrap(),
            5,
        );
    }
    fake.set(|world| {
        let mut elsewhere = volume(&root, "elsewhere");
        elsewhere["Driver"] = json!("rexray/ebs");
        let mut everywhere = volume(&root, "everywhere");
        everywhere["Scope"] = json!("global");
        world.volumes.extend([elsewhere, everywhere]);
    });
    let before = ["elsewhere", "everywhere"].map(|name| tree_listing(&fake.volume_data(name)));
    fake.take();

    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(NO_GRACE);
    for _ in 0..4 {
        volgc.ok(&["sweep"]);
        assert_eq!(volgc.reason_of("elsewhere"), "other_driver");
        assert_eq!(volgc.reason_of("everywhere"), "other_scope");
    }
    let asked = fake.take();
    let deleted = |name: &str| asked.iter().any(|line| line.starts_with("DELETE") && line.contains(name));
    assert!(deleted("canary"), "the sweeps took nothing: {asked:#?}");
    assert!(!deleted("elsewhere") && !deleted("everywhere"), "{asked:#?}");
    assert_eq!(["elsewhere", "everywhere"].map(|name| tree_listing(&fake.volume_data(name))), before);
    assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
}
