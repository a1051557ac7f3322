//! The container directories: which are read, which cannot be, and what else is in them.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::*;

#[test]
fn a_listed_container_is_not_read() {
    // Its file could not be: a fifo in its place would be refused.
    let root = Root::new(&["pg"]).container(ID, &[]).listed(ID, "db", "[]");
    fifo(&root.directory(ID).join("config.v2.json"));
    assert_eq!(root.ask().unwrap(), Answer::new(Witness::ContainersOnDisk, Vec::new()));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_way_out() {
    type Break = fn(&Path);
    let cases: [(Break, &str); 6] = [
        (|path| fifo(&path.join("config.v2.json")), "config.v2.json is no regular file"),
        (|path| std::fs::create_dir(path.join("config.v2.json")).unwrap(), "config.v2.json is no regular"),
        (|path| std::fs::create_dir(path.join("hostconfig.json")).unwrap(), "hostconfig.json is no regular"),
        (
            |path| std::os::unix::fs::symlink("/etc/hostname", path.join("config.json")).unwrap(),
            "config.json is a symbolic link",
        ),
        (|path| sparse(&path.join("config.v2.json")), "config.v2.json is larger than 64 MiB"),
        (
            |path| {
                std::fs::remove_dir(path).unwrap();
                std::os::unix::fs::symlink("/etc", path).unwrap();
            },
            "it is a symbolic link",
        ),
    ];
    for (make_unreadable, why) in cases {
        let root = Root::new(&["pg"]).container(ID, &[]).container(OTHER, &[]);
        make_unreadable(&root.directory(ID));
        fifo(&root.directory(OTHER).join("config.v2.json"));
        let refusal = root.refusal();
        assert_refuses(&refusal, &root.directory(ID), why);
        // Both at once.
        assert_refuses(&refusal, &root.directory(OTHER), "config.v2.json is no regular file");
        let acknowledged = root.acknowledging(ID).acknowledging(OTHER);
        assert_eq!(acknowledged.volumes(), Vec::<String>::new());
        let notes = acknowledged.notes();
        assert!(notes.contains(ID) && notes.contains("acknowledged in the configuration"), "{notes}");
    }
}

#[test]
fn an_acknowledged_directory_holds_nothing_even_when_it_is_readable() {
    let root = Root::new(&["pg"])
        .container(ID, &[("config.v2.json", &mount("pg"))])
        .container(OTHER, &[("config.v2.json", &mount("pg"))])
        .acknowledging(ID)
        .acknowledging("never-there");
    assert_eq!(root.held(), [("pg".to_owned(), OTHER[..12].to_owned())]);
    assert_eq!(root.notes().lines().count(), 1, "{}", root.notes());
}

#[test]
fn without_the_containers_directory_nothing_is_known() {
    let root = Root::new(&["pg"]);
    std::fs::remove_dir(root.path().join("containers")).unwrap();
    assert!(root.refusal().contains("/containers cannot be read"), "{}", root.refusal());
}

#[test]
fn a_containers_directory_that_is_a_link_is_followed_as_the_engine_does() {
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &mount("pg"))]);
    std::fs::rename(root.path().join("containers"), root.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("moved", root.path().join("containers")).unwrap();
    assert_eq!(root.volumes(), ["pg"]);
}

#[test]
fn a_directory_without_a_configuration_holds_what_its_other_files_name() {
    let root = Root::new(&["pg"]).container(ID, &[]);
    assert_eq!(root.volumes(), Vec::<String>::new());
    assert!(root.notes().contains("has no config.v2.json"), "{}", root.notes());

    let root = Root::new(&["pg"]).container(ID, &[("hostconfig.json", r#"{"Binds":["pg:/d"]}"#)]);
    assert_eq!(root.volumes(), ["pg"]);
    assert!(root.ask().unwrap().references[0].holder.detail.contains("it has no config.v2.json"));

    for leftover in [".tmp-config.v2.json123", "config.v2.json.bak"] {
        let root = Root::new(&["pg", "pg-data"])
            .container(ID, &[(leftover, &mount("pg"))])
            .container(OTHER, &[(leftover, r#"{"x":"pg-data"#)]);
        assert_eq!(root.volumes(), ["pg", "pg", "pg-data"], "{leftover}");
    }
}

#[test]
fn leftovers_beside_a_good_configuration_count_too() {
    let root = Root::new(&["pg", "old-data"]).container(
        ID,
        &[
            ("config.v2.json", &mount("pg")),
            ("hostconfig.json", NO_BINDS),
            (".tmp-config.v2.json77", r#"{"Name":"old-data","#),
            (".tmp-hostconfig.json78", ""),
            ("config.v2.json.bak", ""),
        ],
    );
    assert_eq!(root.volumes(), ["old-data", "pg"]);
    let answer = root.ask().unwrap();
    assert_eq!(answer.notes, Vec::<String>::new());
    assert!(answer.references.iter().all(|reference| reference.holder.detail.contains("its layer may be")));
}

#[test]
fn any_directory_with_a_configuration_counts_and_foreign_ones_do_not() {
    let root = Root::new(&["pg"])
        .container("lost+found", &[])
        .container("notes", &[("readme.txt", "pg")])
        .container("a-copy-made-by-hand", &[("config.v2.json", &mount("pg"))]);
    std::fs::write(root.directory("file"), "pg").unwrap();
    fifo(&root.directory("fifo"));
    let answer = root.ask().unwrap();
    assert_eq!(answer.references.len(), 1, "{answer:?}");
    assert_eq!(answer.references[0].holder.id, "a-copy-made-by-hand");
    assert_eq!(answer.notes, Vec::<String>::new());
}

#[test]
fn a_container_that_is_just_being_made_is_looked_at_again() {
    // On a loaded machine it may be made after the second look, or before the first.
    assert!((0..5).any(|_| is_seen_when_made()), "it was never looked at again in time");
}

/// Whether one is seen whole whose file comes a moment after the look began, and nothing of one whose directory goes.
fn is_seen_when_made() -> bool {
    let root = Root::new(&["pg"]).container(ID, &[]).container(OTHER, &[]);
    let (made, removed) = (root.directory(ID).join("config.v2.json"), root.directory(OTHER));
    let meanwhile = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(made, mount("pg")).unwrap();
        std::fs::remove_dir(removed).unwrap();
    });
    let answer = root.ask().unwrap();
    meanwhile.join().unwrap();
    answer.references.len() == 1 && answer.notes.is_empty()
}

#[test]
fn a_container_that_goes_away_while_it_is_read_holds_nothing() {
    let root = Root::new(&["pg"]).container(ID, &[("config.v2.json", &mount("pg"))]);
    let open = |path: PathBuf| crate::host::directory::open_path(&path).unwrap();
    let (containers, directory) = (open(root.path().join("containers")), open(root.directory(ID)));
    let id = std::ffi::CString::new(ID).unwrap();
    let read = || files::read_open(containers.as_fd(), &id, directory.as_fd()).unwrap();
    assert_ne!(read(), files::Seen::NoContainer);
    std::fs::remove_dir_all(root.directory(ID)).unwrap();
    assert_eq!(read(), files::Seen::NoContainer);
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn sparse(path: &Path) {
    std::fs::File::create(path).unwrap().set_len((64 << 20) + 1).unwrap();
}
