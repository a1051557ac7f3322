//! I10: the commands that read hold nothing with which they could change anything. Seen from outside: they ask with GET
//! alone, for a short list of paths, and no system call of theirs writes, makes, renames or removes a file.

use std::fs;
use std::process::Command;

use harness::recording::Recording;
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine, tree_listing};

/// What a user of the socket needs to be allowed for `report`, `list` and `check`. This list is documented as the least
/// privilege: a change here is a change of the documentation.
const LEAST: [&str; 5] = [
    "GET /v1.41/containers/json?all=1",
    "GET /v1.41/info",
    "GET /v1.41/plugins",
    "GET /v1.41/volumes",
    "GET /version",
];
/// What `explain` asks besides: whether Docker calls the volume dangling.
const DANGLING: &str = "GET /v1.41/volumes?filters=...";

/// Every command that reads, and whether it asks the engine.
const READING: [(&[&str], bool); 12] = [
    (&["report"], true),
    (&["report", "--no-sizes"], true),
    (&["report", "--format", "json"], true),
    (&["explain", "orphan"], true),
    (&["explain", "set-aside"], true),
    (&["list"], true),
    (&["list", "--format", "json"], true),
    (&["check"], true),
    (&["holds"], false),
    (&["holds", "--format", "json"], false),
    (&["history"], false),
    (&["history", "--format", "json", "--volume", "set-aside"], false),
];

/// A host on which everything is there to be read: held volumes, orphans, an entry in quarantine, holds and history.
fn scene(engine: &PrivateEngine) -> Volgc {
    for name in ["orphan", "set-aside", "used"] {
        engine.create_volume(name, &[("com.example", name)]);
        engine.fill_volume(name, 7);
    }
    engine.docker(&["create", "--name", "web", "--network", "none", "-v", "used:/data", "bb", "true"]);
    let bind = format!("{}:/b", engine.volumes_dir().display());
    engine.docker(&["create", "--name", "backup", "--network", "none", "-v", &bind, "bb", "true"]);
    let volgc = Volgc::configured(engine, KEEP_IN_QUARANTINE);
    volgc.ok(&["sweep"]);
    volgc.ok(&["quarantine", "set-aside"]);
    volgc.ok(&["hold", "orphan", "--reason", "to be looked at", "--for", "60d"]);
    volgc
}

/// Everything that a reading command must leave as it is. The engine itself writes elsewhere in its root at any time.
fn listing(engine: &PrivateEngine, volgc: &Volgc) -> Vec<String> {
    let quarantine = engine.root().join("volgc");
    let mut lines = tree_listing(&engine.volumes_dir());
    lines.extend(
        fs::symlink_metadata(&quarantine).is_ok().then(|| tree_listing(&quarantine)).into_iter().flatten(),
    );
    lines.extend(volgc.state_dir().exists().then(|| tree_listing(&volgc.state_dir())).into_iter().flatten());
    lines
}

on_each_engine! {
    fn reading_commands_work_over_a_socket_that_allows_get_alone(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let proxy = Recording::start(&engine.dir().join("p"), &engine.socket());
        let before = listing(&engine, &volgc);
        let direct: Vec<_> = READING.iter().map(|(words, _)| volgc.ok(words)).collect();
        volgc.config(&KEEP_IN_QUARANTINE.replace("{socket}", &proxy.socket().display().to_string()));
        for ((words, asks), direct) in READING.iter().zip(direct) {
            let output = volgc.run(words);
            assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{words:?}: {}", output.stdout);
            assert_eq!(comparable(&output.stdout), comparable(&direct), "{words:?}");
            let mut expected: Vec<&str> = if *asks { LEAST.to_vec() } else { Vec::new() };
            if words.contains(&"explain") {
                expected.push(DANGLING);
                expected.sort_unstable();
            }
            let mut asked = proxy.take_distinct();
            for asked in &mut asked {
                if let Some(start) = asked.find("filters=") {
                    asked.replace_range(start + "filters=".len().., "...");
                }
            }
            assert_eq!(asked, expected, "{words:?}");
        }
        assert_eq!(listing(&engine, &volgc), before);
    }

    fn a_sweep_over_such_a_socket_puts_back_what_the_engine_would_not_forget(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let digest = tree_listing(&engine.volume_data("orphan"));
        volgc.ok(&["release", "orphan"]);
        let proxy = Recording::start(&engine.dir().join("p"), &engine.socket());
        volgc.config(&KEEP_IN_QUARANTINE.replace("{socket}", &proxy.socket().display().to_string()));
        let output = volgc.run(&["quarantine", "orphan"]);
        assert_eq!(output.status, Some(4), "{output:?}");
        assert!(output.stdout.contains("left volume orphan") && output.stdout.contains("GET only"), "{output:?}");
        assert_eq!(proxy.take().iter().filter(|asked| !asked.starts_with("GET ")).count(), 1, "never asked twice");
        assert_eq!(tree_listing(&engine.volume_data("orphan")), digest);
        assert_eq!(engine.volume_names(), ["orphan", "used"]);
    }

    fn reading_commands_make_no_system_call_that_changes_a_file(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let before = listing(&engine, &volgc);
        for (words, _) in READING {
            let changes = changes_of(&volgc, words);
            assert_eq!(changes, Vec::<String>::new(), "{words:?}");
        }
        assert_eq!(listing(&engine, &volgc), before);

        // Neither a ledger nor the directory for it: nothing is remembered, and nothing is made. No hold is missing from it.
        volgc.ok(&["release", "orphan"]);
        fs::remove_dir_all(volgc.state_dir()).unwrap();
        for (words, _) in READING {
            let changes = changes_of(&volgc, words);
            assert_eq!(changes, Vec::<String>::new(), "{words:?}");
        }
        assert!(!volgc.state_dir().exists());

        // The judge itself: a command that does change something is caught.
        let changes = changes_of(&volgc, &["sweep"]);
        for call in ["mkdir(", "mknodat(", "O_RDWR", "fsync(", "unlink("] {
            assert!(changes.iter().any(|line| line.contains(call)), "{call}: {changes:#?}");
        }
    }

    fn reading_commands_work_on_a_read_only_state_directory(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let state = volgc.state_dir();
        let ledger = fs::read(state.join("ledger.db")).unwrap();
        let mount = |words: &[&str]| {
            assert!(Command::new("mount").args(words).arg(&state).status().unwrap().success(), "{words:?}");
        };
        mount(&["-t", "tmpfs", "tmpfs"]);
        fs::write(state.join("ledger.db"), ledger).unwrap();
        mount(&["-o", "remount,ro"]);
        for (words, _) in READING {
            let output = volgc.run(words);
            assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{words:?}");
        }
        assert!(volgc.ok(&["holds"]).contains("to be looked at"));
        assert!(volgc.ok(&["history"]).contains("set-aside"));
    }
}

/// All but the time of the look, and the address of the socket.
fn comparable(text: &str) -> String {
    text.lines()
        .filter(|line| {
            !line.contains("\"taken_at\"")
                && !line.contains("\"seen_at\"")
                && !line.contains("last seen")
                && !line.contains(" of it watched")
                && !line.starts_with("engine address")
                // What other tests mount meanwhile.
                && !line.contains("mount namespace")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The system calls of a command that change a file or could, in strace's words.
fn changes_of(volgc: &Volgc, words: &[&str]) -> Vec<String> {
    let (status, text) = volgc
        .traced(&["-y", "-s", "200", "--signal=none", "-e", "trace=%file,%desc,%network,%process"], words);
    assert!(status.success(), "{words:?}: {status}\n{text}");
    assert!(text.contains("exit_group("), "strace saw nothing:\n{text}");
    text.lines().filter(|line| changes_something(line)).map(str::to_owned).collect()
}

/// Calls that change no file, whatever their arguments are.
const HARMLESS: &str = "access accept4 bind brk clone clone3 close connect dup epoll_create1 epoll_ctl epoll_pwait \
    epoll_wait eventfd2 execve exit exit_group faccessat faccessat2 fadvise64 fstat fstatfs futex getcwd getdents64 \
    getpeername getsockname getsockopt kill lseek lstat newfstatat pipe2 poll ppoll pread64 preadv preadv2 read \
    readlink readlinkat readv recvfrom recvmsg sendmsg sendto setsockopt shutdown socket socketpair stat statfs statx \
    vfork wait4 waitid getxattr lgetxattr fgetxattr rt_sigreturn";

/// Whether a line of strace's shows a call that changes a file or could. What is not known to be harmless could.
fn changes_something(line: &str) -> bool {
    // `1234  name(arguments) = result`; a call that another thread interrupted is shown whole at its first part.
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    // A thread that ends with its process before strace has read what it was about to call is shown as `???(`.
    if ["<...", "+++", "---", "???("].iter().any(|nothing| call.starts_with(nothing)) {
        return false;
    }
    let (name, rest) = call.split_once('(').unwrap_or((call, ""));
    match name {
        "open" | "openat" | "openat2" => {
            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE", "O_APPEND"]
                .iter()
                .any(|flag| rest.contains(flag))
        }
        // Answers go to pipes, requests to sockets; an event counter and a terminal are no files.
        "write" | "writev" => {
            let target = rest.split_once('<').map_or("", |(_, target)| target);
            !["pipe:", "socket:", "UNIX", "unix:", "anon_inode:[eventfd]", "/dev/null>"]
                .iter()
                .any(|kind| target.starts_with(kind))
        }
        "mmap" => rest.contains("MAP_SHARED") && rest.contains("PROT_WRITE"),
        // A lock that is shared lets others read; the ledger's reader takes one.
        "fcntl" => ["F_WRLCK", "F_SETLEASE", "F_ADD_SEALS"].iter().any(|word| rest.contains(word)),
        "ioctl" => {
            !["FIONBIO", "TCGETS", "FS_IOC_GETFLAGS", "FIOCLEX"].iter().any(|word| rest.contains(word))
        }
        _ => !HARMLESS.split_whitespace().any(|harmless| harmless == name),
    }
}

#[test]
fn the_judge_of_system_calls_knows_what_changes_a_file() {
    let harmless = [
        r#"12 openat(AT_FDCWD</>, "/etc/localtime", O_RDONLY|O_CLOEXEC) = 3</etc/localtime>"#,
        "12 write(1<pipe:[4]>, \"x\", 1) = 1",
        "12 write(5<anon_inode:[eventfd]>, \"x\", 8) = 8",
        "12 fcntl(3</a/ledger.db>, F_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET}) = 0",
        "12 <... read resumed>) = 3",
        "12 +++ exited with 0 +++",
        "12 ???( <unfinished ...>",
    ];
    let changing = [
        r#"12 openat(AT_FDCWD</>, "/a", O_RDONLY|O_CREAT|O_CLOEXEC, 0666) = 3</a>"#,
        r#"12 openat(3</a>, "b", O_RDWR|O_NOFOLLOW <unfinished ...>"#,
        "12 write(3</a>, \"x\", 1) = 1",
        "12 renameat2(3</a>, \"b\", 3</a>, \"c\", RENAME_NOREPLACE) = 0",
        "12 unlinkat(3</a>, \"b\", 0) = 0",
        "12 fchmodat(AT_FDCWD</>, \"b\", 0700) = 0",
        "12 utimensat(3</a>, \"b\", NULL, 0) = 0",
        "12 openat2(3</a>, \"b\", {flags=O_RDWR|O_CLOEXEC}, 24) = 4",
        "12 flock(3</a/lock>, LOCK_EX|LOCK_NB) = 0",
        "12 fcntl(3</a/ledger.db>, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET}) = 0",
    ];
    for line in harmless {
        assert!(!changes_something(line), "{line}");
    }
    for line in changing {
        assert!(changes_something(line), "{line}");
    }
}
