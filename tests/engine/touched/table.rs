//! What the data itself tells of a use that no other witness sees: each kind of use, on each file system, measured. The table in
//! `tests/README.md` is what this finds; with `VOLGC_WRITE_TABLE=1` it is written anew.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use harness::{NO_GRACE, PrivateEngine, Version, Volgc, project, text};

use super::uses::{Kind, User, every_kind, run};

/// The kernel witness sees nothing, and nothing is really deleted.
const BLIND: &str = "witness.kernel_is_blind=1,delete.rename=EIO";

/// A file system in a file, with a docker root on it.
struct Disk {
    point: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    fn make(kind: &str, times: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (image, point) = (directory.path().join("image"), directory.path().join("m"));
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        run(&format!("mkfs.{kind}"), &["-q".as_ref(), image.as_os_str()]);
        fs::create_dir(&point).unwrap();
        let options = format!("loop,{times}");
        run("mount", &["-o".as_ref(), options.as_ref(), image.as_os_str(), point.as_os_str()]);
        Self { point, _directory: directory }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The engine mounts its root on itself.
        Command::new("umount").arg("--recursive").arg(&self.point).status().ok();
    }
}

/// Which witness sees a use of a volume, as `explain` tells.
fn seen_by(volgc: &Volgc, volume: &str) -> &'static str {
    let story = volgc.ok(&["explain", volume]);
    let tells = |line: &str| match line.split_whitespace().next() {
        Some("witness") if line.contains("held by mount") => Some("mounts"),
        Some("witness") if line.contains("held by") => Some("another"),
        Some("processes") if line.contains("is in it:") => Some("processes"),
        Some(_) | None => None,
    };
    story.lines().find_map(tells).unwrap_or("none")
}

/// Whether the other witnesses are asked as well, which takes a while and is the same everywhere.
#[derive(Clone, Copy)]
enum Witness {
    Asked,
    NotAsked,
}

/// For each kind of use: which witness sees it, and whether its data tells of it.
fn measure(kind: &str, times: &str, witness: Witness) -> Vec<(&'static str, &'static str)> {
    let disk = Disk::make(kind, times);
    let root = disk.point.join("d");
    fs::create_dir(&root).unwrap();
    let engine = PrivateEngine::builder(Version::V20_10).data_root(&root).without_images().start();
    let kinds = every_kind();
    let mut users: Vec<User> = Vec::new();
    for Kind { volume, prepare, .. } in &kinds {
        engine.create_volume(volume, &[]);
        let data = engine.volume_data(volume);
        fs::write(data.join("f"), vec![b'x'; 64 * 1024]).unwrap();
        users.push(prepare(engine.dir(), &data));
    }
    sleep(Duration::from_millis(50));
    let volgc = Volgc::configured(&engine, NO_GRACE);
    let seen: Vec<&str> = match witness {
        Witness::Asked => kinds.iter().map(|kind| seen_by(&volgc, kind.volume)).collect(),
        Witness::NotAsked => vec![""; kinds.len()],
    };
    let blind = volgc.clone().env("VOLGC_FAULT", BLIND);
    blind.sweep_twice();
    for (Kind { volume, act, .. }, user) in kinds.iter().zip(&mut users) {
        act(user, &engine.quarantined_data(&volgc.entry_id_of(volume)));
    }
    sleep(Duration::from_millis(50));
    let told = blind.run(&["sweep"]).stdout;
    let tells = |kind: &Kind| {
        // A swap file is told by what it is, not by its times.
        let entry = blind.entry_of(kind.volume);
        let id = text(&entry["entry"]);
        let is_kept = told.contains(&format!("kept entry {id}: "));
        assert!(is_kept || told.contains(&format!("deletion of entry {id} failed")), "{told}");
        if entry["reason"] == "touched" { "yes" } else { "no" }
    };
    let told = kinds.iter().map(tells).collect::<Vec<_>>();
    drop(users);
    drop(engine);
    seen.into_iter().zip(told).collect()
}

/// Where reads leave no trace, the administrator has to know before something is lost.
#[test]
fn check_tells_where_reads_leave_no_trace() {
    for (times, reads_hold, is_told) in
        [("noatime", true, true), ("relatime", true, false), ("noatime", false, false)]
    {
        let disk = Disk::make("ext4", times);
        let root = disk.point.join("d");
        fs::create_dir(&root).unwrap();
        let engine = PrivateEngine::builder(Version::V20_10).data_root(&root).without_images().start();
        let config = NO_GRACE.replace("[limits]", &format!("[limits]\nreads_hold = {reads_hold}"));
        let told = Volgc::configured(&engine, &config).ok(&["check"]);
        assert_eq!(told.contains("leave no trace"), is_told, "{times}, reads_hold = {reads_hold}: {told}");
    }
}

#[test]
fn each_kind_of_use_is_told_by_the_data_or_known_not_to_be() {
    let disks = [
        ("ext4", "relatime", Witness::Asked),
        ("xfs", "relatime", Witness::NotAsked),
        ("ext4", "noatime", Witness::NotAsked),
        ("xfs", "noatime", Witness::NotAsked),
    ];
    let measured = disks.map(|(kind, times, witness)| measure(kind, times, witness));
    let mut table = "| use | other witness | ext4, relatime | XFS, relatime | ext4, noatime | XFS, noatime |\n\
                     |-----|---------------|----------------|---------------|---------------|--------------|\n"
        .to_owned();
    for (row, Kind { name, .. }) in every_kind().iter().enumerate() {
        let (witness, _) = measured[0][row];
        let cells: Vec<&str> = measured.iter().map(|column| column[row].1).collect();
        table.push_str(&format!("| {name} | {witness} | {} |\n", cells.join(" | ")));
    }
    print!("{table}");
    let path = project().join("tests/README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- uses: begin -->\n", "<!-- uses: end -->");
    let (before, rest) = readme.split_once(begin).expect("the README has a place for it");
    let (written, after) = rest.split_once(end).expect("the README has a place for it");
    if std::env::var_os("VOLGC_WRITE_TABLE").is_some() {
        fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "write it anew with VOLGC_WRITE_TABLE=1");
}
