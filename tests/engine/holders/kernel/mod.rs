//! What only the kernel knows to hold a volume: mounts however they are written, files without a descriptor, sockets, watches, swap.

mod many;
mod mounts;
mod namespaces;
mod partly;
mod pathless;
mod shown;
mod unseen;
mod uses;
mod without_files;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Contents, KEEP_IN_QUARANTINE, NO_GRACE, PrivateEngine, Volgc, show};

/// A program that holds files in many ways, made by the compiler of the machine.
#[track_caller]
fn program(engine: &PrivateEngine) -> PathBuf {
    let (source, program) = (engine.dir().join("holder.c"), engine.dir().join("holder"));
    fs::write(&source, include_str!("holder.c")).unwrap();
    let output =
        Command::new("cc").args(["-static", "-pthread", "-o"]).args([&program, &source]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    program
}

/// A process that holds something until this is dropped.
struct Holding(Child);

impl Holding {
    /// Waits until it says `ready`.
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        let told = child.stdout.as_mut().unwrap().read_exact(&mut said);
        assert!(told.is_ok() && &said == b"ready\n", "{command:?} is not ready");
        Self(child)
    }

    /// The program, holding `path` in its way.
    #[track_caller]
    fn path(engine: &PrivateEngine, how: &str, path: &Path, more: &[&str]) -> Self {
        Self::start(Command::new(program(engine)).arg(how).arg(path).args(more))
    }

    /// A shell in a mount namespace of its own; the script says `ready` and stays.
    #[track_caller]
    fn apart(script: &str, arguments: &[&Path]) -> Self {
        let words = ["--mount", "--propagation", "private", "--", "sh", "-ec", script, "sh"];
        Self::start(Command::new("unshare").args(words).args(arguments))
    }
}

impl Holding {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a command of the machine that must succeed.
#[track_caller]
fn run(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", show(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Something of the machine that a command takes away again.
struct TakenAway(&'static str, Vec<PathBuf>);

impl Drop for TakenAway {
    fn drop(&mut self) {
        let status = Command::new(self.0).args(&self.1).status().unwrap();
        assert!(status.success() || std::thread::panicking(), "{} {:?}", self.0, self.1);
    }
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        harness::unmount(&self.0);
    }
}

#[track_caller]
fn mount(arguments: &[&Path], at: &Path) -> Mounted {
    fs::create_dir_all(at).unwrap();
    run("mount", &[arguments, &[at]].concat());
    Mounted(at.to_owned())
}

/// A name that nothing has in the other tests of this moment. Of some holders the kernel tells the end of a path alone, or what a pool
/// was named after: they hold whatever has that name, in the volumes of every engine.
fn own(engine: &PrivateEngine, what: &str) -> String {
    let engine = engine.dir().file_name().unwrap().to_string_lossy().into_owned();
    format!("{what}-{}", engine.trim_start_matches("volgc-it-"))
}

/// The name of the volume that is held.
fn held(engine: &PrivateEngine) -> String {
    own(engine, "held")
}

/// That volume with content, and with files below it that have names of their own.
fn make_held(engine: &PrivateEngine) -> Contents<'_> {
    let held = held(engine);
    engine.create_volume(&held, &[]);
    engine.fill_volume(&held, 7);
    let data = engine.volume_data(&held);
    for file in [data.join(own(engine, "file")), data.join("base").join(own(engine, "deep"))] {
        fs::write(file, "content").unwrap();
    }
    let mut kept = Contents::new(engine);
    kept.note_volume(&held);
    kept
}

/// The volume is kept by four sweeps without any grace, through which another one goes, and is named by the last of them as held so.
#[track_caller]
fn assert_kept_as(engine: &PrivateEngine, kept: &Contents<'_>, told: &str) {
    let volgc = Volgc::configured(engine, NO_GRACE);
    kept.assert_survive_sweeps_of(&volgc);
    let swept = volgc.ok(&["sweep"]);
    let explained = volgc.ok(&["explain", &held(engine)]);
    assert!(
        swept.contains(told) || explained.contains(told),
        "{told:?} is in neither:\n{swept}\n{explained}"
    );
}

/// Volumes of which each is held in another way, all at the same time.
struct Several<'e> {
    engine: &'e PrivateEngine,
    kept: Contents<'e>,
    names: Vec<String>,
}

impl<'e> Several<'e> {
    fn new(engine: &'e PrivateEngine) -> Self {
        Self { engine, kept: Contents::new(engine), names: Vec::new() }
    }

    /// A volume with some content, and a directory of the test for it that has `m`, `e` and `other` in it, the last two not empty.
    #[track_caller]
    fn volume(&mut self, name: &str) -> (PathBuf, PathBuf) {
        self.engine.create_volume(name, &[]);
        self.engine.fill_volume(name, 7 + self.names.len() as u64);
        self.names.push(name.to_owned());
        let place = self.engine.dir().join(name);
        for below in ["m", "e", "other"] {
            fs::create_dir_all(place.join(below)).unwrap();
        }
        for file in ["e/an e", "other/another"] {
            fs::write(place.join(file), "x").unwrap();
        }
        (self.engine.volume_data(name), place)
    }

    /// Four sweeps without any grace take none of them, but another one; and say why each is kept.
    #[track_caller]
    fn assert_kept(&mut self, told: &str) {
        self.names.iter().for_each(|name| self.kept.note_volume(name));
        let volgc = Volgc::configured(self.engine, NO_GRACE);
        self.kept.assert_survive_sweeps_of(&volgc);
        let swept = volgc.ok(&["sweep"]);
        for name in &self.names {
            let explained = volgc.ok(&["explain", name]);
            assert!(
                swept.contains(told) || explained.contains(told),
                "{told:?} is in neither:\n{swept}\n{explained}"
            );
            assert!(
                swept.contains(name) || explained.contains(told),
                "{name} is not named:\n{swept}\n{explained}"
            );
        }
    }

    /// Once nobody holds them, they go as others do.
    #[track_caller]
    fn assert_go(&self) {
        let volgc = Volgc::configured(self.engine, KEEP_IN_QUARANTINE);
        for name in &self.names {
            let output = volgc.run(&["quarantine", name]);
            assert_eq!(output.status, Some(0), "{output:?}");
        }
    }
}

/// Once nobody holds it, it goes as others do.
#[track_caller]
fn assert_goes(engine: &PrivateEngine) {
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    let output = volgc.run(&["quarantine", &held(engine)]);
    assert_eq!(output.status, Some(0), "{output:?}");
}
