//! Every kind of tree that a container can make, through the whole life of a volume.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::hostile::listing::listing;
use crate::hostile::watched;
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine};

/// A tree by its name, and how it is made in the data directory of a volume.
type Tree = (&'static str, fn(&PrivateEngine, &Path));

const TREES: [Tree; 9] = [
    ("links", links),
    ("special", special),
    ("odd-names", odd_names),
    ("wide", wide),
    ("deep", deep),
    ("wide-and-deep", wide_and_deep),
    ("hard-links", hard_links),
    ("sparse", sparse),
    ("closed", closed),
];

/// What must be as it was, whatever happens to the volumes: links lead here, by each way there is.
pub(crate) struct Canary {
    path: PathBuf,
    before: Vec<String>,
}

/// So large that it shows in any sum it gets into, by mistake.
pub(crate) const CANARY_BYTES: usize = 32 << 20;

impl Canary {
    pub(crate) fn new(engine: &PrivateEngine) -> Self {
        let path = engine.dir().join("canary");
        fs::create_dir_all(path.join("sub/a")).unwrap();
        for number in 0..40 {
            fs::write(path.join(format!("file-{number}")), "precious").unwrap();
            fs::write(path.join(format!("sub/{number}")), "precious").unwrap();
        }
        fs::write(path.join("sub/large"), vec![7; CANARY_BYTES]).unwrap();
        let before = listing(&path);
        Self { path, before }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[track_caller]
    pub(crate) fn assert_sings(&self) {
        assert!(listing(&self.path) == self.before, "the canary was touched");
    }
}

/// What the container itself writes, as root with the usual capabilities.
fn in_container(engine: &PrivateEngine, data: &Path, script: &str) {
    let name = data.parent().unwrap().file_name().unwrap().to_str().unwrap();
    engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &format!("{name}:/v"),
        "bb",
        "sh",
        "-ec",
        script,
    ]);
}

fn links(engine: &PrivateEngine, data: &Path) {
    in_container(
        engine,
        data,
        "cd /v; ln -s / root; ln -s .. up; ln -s ../../../../../../../../.. far-up; ln -s loop loop; ln -s . here; \
         mkdir -p a/b; ln -s ../../a a/b/ring; ln -s /proc/self/root proc; ln -s /etc/passwd etc; ln -s nowhere none; \
         ln -s ../../other/_data sibling; ln -s ../opts.json opts",
    );
    // To where only the host can know that something is.
    let canary = engine.dir().join("canary");
    symlink(&canary, data.join("canary")).unwrap();
    symlink(canary.join("sub"), data.join("a/sub")).unwrap();
    symlink(canary.join("file-1"), data.join("file")).unwrap();
    symlink(engine.root(), data.join("docker")).unwrap();
    symlink("../../../../canary", data.join("up-and-down")).unwrap();
    // A name of its own making, as the walk would give one.
    symlink(&canary, data.join(".volgc-deep-0000000000000000")).unwrap();
}

fn special(engine: &PrivateEngine, data: &Path) {
    in_container(
        engine,
        data,
        "cd /v; mkfifo fifo; mkdir fifos; for n in 1 2 3 4 5 6 7 8 9; do mkfifo fifos/$n; done; \
         mknod null c 1 3; mknod mem c 1 1; mknod loop b 7 0; mknod watchdog c 10 130; \
         echo x > setuid; chmod 6755 setuid; mkdir sticky; chmod 7777 sticky; echo x > sticky/of-all; chmod 0 sticky/of-all",
    );
    rustix::fs::mknodat(CWD, data.join("unbound"), FileType::Socket, Mode::from_raw_mode(0o777), 0).unwrap();
    // An overlayfs whiteout, and a device that is none.
    let whiteout = rustix::fs::makedev(0, 0);
    rustix::fs::mknodat(CWD, data.join("whiteout"), FileType::CharacterDevice, Mode::empty(), whiteout)
        .unwrap();
}

fn odd_names(engine: &PrivateEngine, data: &Path) {
    in_container(
        engine,
        data,
        r#"cd /v; touch "$(printf '\033[2J\033]0;title\007')"; touch "$(printf 'new\nline\r')"; mkdir "$(printf 'a\tb')"; touch -- -rf; mkdir -- --; touch "* ?"; touch "$(printf 'not\377utf8')"; mkdir "$(printf '\342\200\256bidi')" "$(printf '\342\200\256bidi/x')"; touch ...; touch '"'; touch "'"; touch '\'; touch "$(printf '\\134')""#,
    );
    let longest = data.join("\u{e9}".repeat(127));
    fs::create_dir(&longest).unwrap();
    fs::write(longest.join("x".repeat(255)), "x").unwrap();
    // Every byte that a name can have.
    for byte in (1..=255_u8).filter(|byte| !matches!(byte, b'/' | b'.')) {
        let path = data.join(OsStr::from_bytes(&[b'b', byte]));
        fs::write(path, [byte]).unwrap();
    }
}

fn wide(_: &PrivateEngine, data: &Path) {
    let directory = data.join("one");
    fs::create_dir(&directory).unwrap();
    for number in 0..100_000 {
        fs::File::create(directory.join(format!("entry-{number:06}"))).unwrap();
    }
}

/// `levels` directories in each other, with a file and a directory on each level.
fn nest(data: &Path, levels: usize, files: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o755);
    let mut here = rustix::fs::open(data, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        for name in ["a", "down", "z"] {
            rustix::fs::mkdirat(&here, name, mode).unwrap();
        }
        for number in 0..files {
            let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&here, format!("file-{number}"), create, mode).unwrap();
        }
        here = rustix::fs::openat(&here, "down", flags, Mode::empty()).unwrap();
    }
}

fn deep(_: &PrivateEngine, data: &Path) {
    nest(data, 4000, 1);
}

fn wide_and_deep(_: &PrivateEngine, data: &Path) {
    for number in 0..8 {
        let directory = data.join(format!("{number}"));
        fs::create_dir(&directory).unwrap();
        nest(&directory, 150, 20);
    }
}

/// Within the volume, and to the file of another one on the same file system.
fn hard_links(engine: &PrivateEngine, data: &Path) {
    in_container(engine, data, "cd /v; echo mine > one; ln one two; mkdir d; ln one d/three");
    fs::hard_link(engine.volume_data("neighbour").join("PG_VERSION"), data.join("stolen")).unwrap();
    // And to one that is no volume's. (The docker root may be a mount, and no link leads out of one.)
    fs::write(engine.root().join("precious"), "precious").unwrap();
    fs::hard_link(engine.root().join("precious"), data.join("precious")).unwrap();
}

fn sparse(engine: &PrivateEngine, data: &Path) {
    in_container(
        engine,
        data,
        "cd /v; dd if=/dev/zero of=end bs=1 count=1 seek=1099511627775 2>/dev/null; truncate -s 1099511627776 hole",
    );
    assert_eq!(fs::metadata(data.join("hole")).unwrap().len(), 1 << 40);
}

fn closed(engine: &PrivateEngine, data: &Path) {
    in_container(
        engine,
        data,
        "cd /v; mkdir -p no/entry; echo x > no/entry/file; chmod 0 no/entry no; mkdir of-others; chown 4242:4343 of-others; \
         chmod 1733 of-others; chown 65534:65534 /v; chmod 0700 /v",
    );
}

/// What `du` says: the blocks of each inode once, on this file system.
fn du(path: &Path) -> u64 {
    let output = Command::new("du").args(["-sx", "-B1"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

/// The volumes, each with its tree, and what is in each of them.
fn make(engine: &PrivateEngine) -> Vec<(&'static str, Vec<String>)> {
    for (name, tree) in TREES {
        engine.create_volume(name, &[]);
        tree(engine, &engine.volume_data(name));
    }
    TREES.iter().map(|(name, _)| (*name, listing(&engine.volume_data(name)))).collect()
}

#[track_caller]
fn assert_sized(engine: &PrivateEngine, report: &serde_json::Value) {
    for (name, _) in TREES {
        let line = report["volumes"].as_array().unwrap().iter().find(|line| line["name"] == name).unwrap();
        assert_eq!(line["size_bytes"], du(&engine.volume_data(name)), "{name}: {line:#}");
    }
    assert_eq!(report["totals"]["sizes_complete"], true, "{:#}", report["totals"]);
}

/// The difference of two long listings, shown shortly.
#[track_caller]
pub(crate) fn assert_same(before: &[String], now: &[String], what: &str) {
    if before != now {
        let at = before.iter().zip(now).position(|(one, other)| one != other);
        let at = at.unwrap_or(before.len().min(now.len()));
        panic!("{what} is not as it was: line {at}: {:?} is {:?}", before.get(at), now.get(at));
    }
}

on_each_engine! {
    fn whatever_a_container_wrote_is_sized_quarantined_restored_and_deleted(engine: PrivateEngine) {
        let canary = Canary::new(&engine);
        engine.create_volume("neighbour", &[]);
        engine.fill_volume("neighbour", 1);
        engine.docker(&["create", "--name", "db", "-v", "neighbour:/data", "bb", "true"]);
        let made = make(&engine);
        let neighbour = engine.volume_data("neighbour");
        let neighbour_before = listing(&neighbour);
        let volgc = Volgc::configured(&engine, KEEP_IN_QUARANTINE);

        let report = watched::ok(&volgc, &["report", "--format", "json"]);
        assert_sized(&engine, &serde_json::from_str(&report).unwrap());
        watched::ok(&volgc, &["report"]);
        watched::ok(&volgc, &["sweep"]);
        let swept = watched::ok(&volgc, &["sweep"]);
        assert_eq!(volgc.quarantined_names().len(), TREES.len(), "{swept}");
        let table = watched::ok(&volgc, &["list"]);
        assert_eq!(table.lines().count(), 1 + TREES.len(), "{table}");
        for (name, before) in &made {
            let data = engine.quarantined_data(&volgc.entry_id_of(name));
            assert_same(before, &listing(&data), &format!("{name} in quarantine"));
        }
        let report: serde_json::Value =
            serde_json::from_str(&watched::ok(&volgc, &["report", "--format", "json"])).unwrap();
        assert_eq!(report["totals"]["sizes_complete"], true, "{:#}", report["totals"]);

        for (name, before) in &made {
            watched::ok(&volgc, &["restore", name]);
            assert_same(before, &listing(&engine.volume_data(name)), name);
        }
        canary.assert_sings();
        assert_same(&neighbour_before, &listing(&neighbour), "the neighbour");

        let names: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
        watched::ok(&volgc, &[&["quarantine"], names.as_slice()].concat());
        let entries: Vec<String> = names.iter().map(|name| volgc.entry_id_of(name)).collect();
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let deleted = watched::ok(&volgc, &[&["delete", "--yes"], entries.as_slice()].concat());
        assert_eq!(deleted.matches("deleted entry").count(), TREES.len(), "{deleted}");
        assert_eq!(fs::read_dir(engine.root().join("volgc")).unwrap().count(), 2, "more than the lock and the note is left");

        // The names that went were the volume's own: a file of others has one link less, and all its bytes.
        fs::hard_link(neighbour.join("PG_VERSION"), engine.root().join("link")).unwrap();
        assert_same(&neighbour_before, &listing(&neighbour), "the neighbour");
        assert_eq!(fs::read_to_string(engine.root().join("precious")).unwrap(), "precious");
        canary.assert_sings();
        println!("hostile: {} trees tried, 0 losses", TREES.len());
    }
}
