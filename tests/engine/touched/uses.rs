//! Kinds of use of a volume's data: how each is set up while the volume is there, and what it does when the data is in quarantine.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// One kind of use.
pub(super) struct Kind {
    /// In the table.
    pub(super) name: &'static str,
    /// The volume for it.
    pub(super) volume: &'static str,
    /// Sets it up: below a directory for mounts, on the data of the volume.
    pub(super) prepare: fn(&Path, &Path) -> User,
    /// Uses the data, which is there now.
    pub(super) act: fn(&mut User, &Path),
}

/// Whoever uses the data; ends when it is dropped.
#[derive(Default)]
pub(super) struct User {
    process: Option<(Child, BufReader<ChildStdout>)>,
    /// A mount point, or a device.
    place: PathBuf,
    /// Run at the end, the last one first.
    ends: Vec<Vec<String>>,
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.process {
            child.kill().ok();
            child.wait().ok();
        }
        for words in self.ends.iter().rev() {
            Command::new(&words[0]).args(&words[1..]).status().ok();
        }
    }
}

/// Runs a program that must succeed, and returns what it wrote.
#[track_caller]
pub(super) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}: run tests/setup");
    });
    assert!(output.status.success(), "{program}: {}", harness::show(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl User {
    /// A process that says `ready`, waits for a line, uses the data and says `done`.
    fn process(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let mut user = Self { process: Some((child, told)), place: PathBuf::new(), ends: Vec::new() };
        user.await_word("ready");
        user
    }

    fn await_word(&mut self, word: &str) {
        let (_, told) = self.process.as_mut().unwrap();
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    fn go(&mut self) {
        let (child, _) = self.process.as_mut().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
        self.await_word("done");
    }

    fn at(place: PathBuf, ends: &[&[&str]]) -> Self {
        let ends = ends.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
        Self { process: None, place, ends }
    }
}

/// `uses.c`, compiled once.
fn helper() -> &'static Path {
    static HELPER: OnceLock<PathBuf> = OnceLock::new();
    HELPER.get_or_init(|| {
        let source = harness::project().join("tests/engine/touched/uses.c");
        let program = std::env::temp_dir().join(format!("volgc-uses-{}", std::process::id()));
        run(
            "cc",
            &["-O1".as_ref(), "-pthread".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()],
        );
        program
    })
}

fn by_helper(mode: &str, data: &Path) -> User {
    User::process(Command::new(helper()).arg(mode).arg(data))
}

/// A mount point of its own.
fn point(below: &Path, name: &str) -> PathBuf {
    let point = below.join(format!("point-{name}"));
    fs::create_dir(&point).unwrap();
    point
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn loop_device(data: &Path) -> User {
    let device = run("losetup", &["--find".to_owned(), "--show".to_owned(), text(&data.join("f"))]);
    User::at(PathBuf::from(&device), &[&["losetup", "-d", &device]])
}

fn mounted(below: &Path, name: &str, words: impl FnOnce(&str) -> Vec<String>) -> User {
    let place = point(below, name);
    run("mount", &words(&text(&place)));
    let end = text(&place);
    User::at(place, &[&["umount", &end]])
}

fn overlay(below: &Path, name: &str, options: &str) -> User {
    mounted(below, name, |place| {
        ["-t", "overlay", "overlay", "-o", options, place].map(str::to_owned).to_vec()
    })
}

fn nobody(_: &Path, _: &Path) -> User {
    User::default()
}

fn go(user: &mut User, _: &Path) {
    user.go();
}

macro_rules! helped {
    ($name:literal, $mode:literal) => {
        Kind { name: $name, volume: $mode, prepare: |_, data| by_helper($mode, data), act: go }
    };
}

/// All of them, in the order of the table.
pub(super) fn every_kind() -> Vec<Kind> {
    let mut kinds = vec![
        helped!("reads a file that it has open", "open-read"),
        helped!("writes a file that it has open", "open-write"),
        helped!("reads through a mapping made before", "map-read"),
        helped!("writes through a mapping made before", "map-write"),
        helped!("reads a file in a thread with descriptors of its own", "thread"),
        helped!("reads a registered file of an io_uring", "ring-read"),
        helped!("writes a registered file of an io_uring", "ring-write"),
        helped!("reads through a detached mount", "detached"),
        Kind {
            name: "connects to a socket that listens in it",
            volume: "socket",
            prepare: |_, data| by_helper("socket", data),
            act: |user, data| {
                drop(std::os::unix::net::UnixStream::connect(data.join("s")).unwrap());
                user.go();
            },
        },
        helped!("watches it (inotify)", "watch"),
    ];
    kinds.extend(of_mounts());
    kinds.extend(of_others());
    kinds
}

fn of_mounts() -> Vec<Kind> {
    vec![
        Kind {
            name: "reads a loop device on a file",
            volume: "loop-read",
            prepare: |_, data| loop_device(data),
            act: |user, _| {
                run(
                    "dd",
                    &[
                        &format!("if={}", text(&user.place)),
                        "of=/dev/null",
                        "bs=4k",
                        "count=1",
                        "iflag=direct",
                    ],
                );
            },
        },
        Kind {
            name: "writes a loop device on a file",
            volume: "loop-write",
            prepare: |_, data| loop_device(data),
            act: |user, _| {
                run(
                    "dd",
                    &[
                        "if=/dev/zero",
                        &format!("of={}", text(&user.place)),
                        "bs=4k",
                        "count=1",
                        "oflag=direct",
                    ],
                );
            },
        },
        Kind {
            name: "a container of another engine reads (a bind in another namespace)",
            volume: "namespace",
            prepare: |_, data| {
                let script = "mount --bind \"$1\" /mnt && echo ready && read x && cat /mnt/f > /dev/null && echo done && cat";
                let words = ["-m", "sh", "-c", script, "sh"];
                User::process(Command::new("unshare").args(words).arg(data))
            },
            act: go,
        },
        Kind {
            name: "reads through a read-only mount",
            volume: "read-only",
            prepare: |below, data| {
                let user = mounted(below, "read-only", |place| {
                    ["--bind", &text(data), place].map(str::to_owned).to_vec()
                });
                run("mount", &["-o", "remount,bind,ro", &text(&user.place)]);
                user
            },
            act: |user, _| drop(fs::read(user.place.join("f")).unwrap()),
        },
        Kind {
            name: "reads the lower layer of an overlay",
            volume: "overlay-lower",
            prepare: |below, data| {
                let (upper, work) = (point(below, "upper"), point(below, "work"));
                let options =
                    format!("lowerdir={},upperdir={},workdir={}", text(data), text(&upper), text(&work));
                overlay(below, "lower", &options)
            },
            act: |user, _| drop(fs::read(user.place.join("f")).unwrap()),
        },
        Kind {
            name: "writes the upper layer of an overlay",
            volume: "overlay-upper",
            prepare: |below, data| {
                let lower = point(below, "empty");
                for name in ["up", "work"] {
                    fs::create_dir(data.join(name)).unwrap();
                }
                let options =
                    format!("lowerdir={1},upperdir={0}/up,workdir={0}/work", text(data), text(&lower));
                overlay(below, "merged", &options)
            },
            act: |user, _| fs::write(user.place.join("new"), "new").unwrap(),
        },
        Kind {
            name: "reads an EROFS that is mounted from a file",
            volume: "erofs",
            prepare: |below, data| {
                let source = point(below, "erofs-source");
                fs::write(source.join("big"), vec![b'y'; 256 * 1024]).unwrap();
                run("mkfs.erofs", &[text(&data.join("image")), text(&source)]);
                mounted(below, "erofs", |place| {
                    ["-t", "erofs", "-o", "ro", &text(&data.join("image")), place].map(str::to_owned).to_vec()
                })
            },
            act: |user, _| drop(fs::read(user.place.join("big")).unwrap()),
        },
        Kind {
            name: "swaps to a file",
            volume: "swap",
            prepare: |_, data| {
                let file = text(&data.join("swap"));
                run("dd", &["if=/dev/zero", &format!("of={file}"), "bs=64k", "count=16"]);
                fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                run("mkswap", &[&file]);
                run("swapon", &["--priority", "0", &file]);
                User::default()
            },
            // Nobody can say when the kernel does.
            act: |user, data| {
                user.ends.push(vec!["swapoff".to_owned(), text(&data.join("swap"))]);
            },
        },
    ]
}

fn of_others() -> Vec<Kind> {
    vec![
        Kind {
            name: "a backup reads the quarantine",
            volume: "backup",
            prepare: nobody,
            act: |_, data| {
                run("tar", &["-C", &text(data), "-cf", "/dev/null", "--ignore-failed-read", "."]);
                drop(fs::read(data.join("f")).unwrap());
            },
        },
        Kind {
            name: "the same, where the file was read less than a day before",
            volume: "backup-again",
            prepare: |_, data| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                drop(fs::read(data.join("f")).unwrap());
                User::default()
            },
            act: |_, data| drop(fs::read(data.join("f")).unwrap()),
        },
        Kind {
            name: "lists names and sizes (`ls -lR`, `du`, `find`)",
            volume: "listing",
            prepare: nobody,
            act: |_, data| {
                run("ls", &["-laR", &text(data)]);
                run("du", &["-s", &text(data)]);
                run("find", &[&text(data)]);
            },
        },
        Kind {
            name: "changes owner or mode of a file",
            volume: "mode",
            prepare: nobody,
            act: |_, data| drop(run("chmod", &["600", &text(&data.join("f"))])),
        },
        Kind {
            name: "changes owner or mode of its top directory alone",
            volume: "top-mode",
            prepare: nobody,
            act: |_, data| drop(run("chmod", &["700", &text(data)])),
        },
    ]
}
