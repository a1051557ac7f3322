//! A file system whose server is alive and never answers: as that of a dead NFS or FUSE server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::{PrivateEngine, unmount, wait_until};

/// A FUSE server that answers INIT alone (linux/fuse.h, 7.31). Its source is not the name of a volume: a source that is no path holds
/// whatever has that name.
const SERVER: &str = r#"
use strict;
use Fcntl;
my ($path) = @ARGV;
sysopen(my $fuse, "/dev/fuse", O_RDWR) or die "/dev/fuse: $!";
my $options = "fd=" . fileno($fuse) . ",rootmode=40000,user_id=0,group_id=0,allow_other";
my $mount = $ENV{MOUNT_NUMBER};
syscall($mount, my $what = "no-answer", my $where = $path, my $kind = "fuse", 0, my $data = $options) == 0 or die "mount: $!";
sysread $fuse, my $request, 1 << 20 or die "INIT: $!";
my ($length, $operation, $unique) = unpack "LLQ", $request;
die "operation $operation" if $operation != 26;
my $init = pack "LLLLSSLLSSLL7", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, (0) x 7;
syswrite $fuse, pack("LlQ", 16 + length $init, 0, $unique) . $init or die "INIT: $!";
sleep 1000 while 1;
"#;

/// Aborted, and unmounted, when dropped.
#[derive(Debug)]
pub struct Hung {
    server: Child,
    point: PathBuf,
    in_engine: Option<u32>,
}

impl Hung {
    /// Mounts one on a directory, in the mount namespace of the tests.
    pub fn mount(point: &Path) -> Self {
        Self::start(Command::new("perl"), point, None)
    }

    /// The same where the engine sees it, which may be in a mount namespace of its own.
    pub fn mount_for_engine(engine: &PrivateEngine, point: &Path) -> Self {
        Self::start(engine.command_inside("perl"), point, engine.pid())
    }

    fn start(mut command: Command, point: &Path, in_engine: Option<u32>) -> Self {
        let number = if cfg!(target_arch = "x86_64") { "165" } else { "40" };
        let server = command
            .args(["-e", SERVER])
            .arg(point)
            .env("MOUNT_NUMBER", number)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run perl: {error}: run tests/setup"));
        let hung = Self { server, point: point.to_owned(), in_engine };
        wait_until("a mount that hangs", || hung.is_mounted());
        hung
    }

    /// By the table alone: whoever touches it hangs.
    fn is_mounted(&self) -> bool {
        let process = self.in_engine.map_or_else(|| "self".to_owned(), |process| process.to_string());
        let table = std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        table.lines().any(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == self.point))
    }

    /// Ends the server: then whoever waits for it, or touches the mount, gets an error.
    pub fn die(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.die();
        unmount(&self.point);
    }
}
