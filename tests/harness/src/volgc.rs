//! Runs the product against a private engine.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::engine::PrivateEngine;
use super::takedown;

/// The end of a command: exit code and what it wrote.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; none when a signal ended the command.
    pub status: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// The built `volgc` with a configuration and a state directory of its own, below the engine's directory.
#[derive(Debug, Clone)]
pub struct Volgc {
    dir: PathBuf,
    engine: PathBuf,
    replacements: Vec<(&'static str, String)>,
    /// The socket of a real engine. What listens elsewhere stands for one; see [`Self::command`].
    own: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

/// Runs a command to its end.
fn ended(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {:?}: {error}: run tests/setup", command.get_program()));
    Output::from(output)
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Volgc {
    /// A runner with an empty state and a configuration that only names the engine's socket.
    pub fn new(engine: &PrivateEngine) -> Self {
        let this = Self::beside(engine.dir(), &engine.socket(), &engine.root());
        Self { own: Some(engine.socket()), ..this }
    }

    /// The same for whatever listens at `socket`, with everything below `home`.
    pub fn beside(home: &Path, socket: &Path, root: &Path) -> Self {
        /// A test may have several.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let dir = home.join(format!("volgc{}", MADE.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(dir.join("state"))
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        let replacements = vec![
            ("{socket}", socket.display().to_string()),
            ("{root}", root.display().to_string()),
            ("{state}", dir.join("state").display().to_string()),
        ];
        let this = Self { dir, engine: home.to_path_buf(), replacements, own: None, env: Vec::new() };
        this.config("[docker]\nhost = \"unix://{socket}\"\n");
        this
    }

    /// Replaces the whole configuration. `{socket}`, `{root}` (the engine's `DockerRootDir`) and `{state}` stand for the
    /// paths of this engine and runner.
    pub fn config(&self, text: &str) {
        let text =
            self.replacements.iter().fold(text.to_owned(), |text, (name, path)| text.replace(name, path));
        fs::write(self.config_file(), text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", self.config_file().display()));
    }

    /// Sets an environment variable for the commands that follow, such as `VOLGC_FAULT`.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("volgc.toml")
    }

    /// The directory with all of its files.
    pub(crate) fn directory(&self) -> &Path {
        &self.dir
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Runs a command to its end, whatever that is.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        ended(&mut self.command(arguments))
    }

    /// The same with a wall clock that is off by so much, as `+2h` or `-366d`. The monotonic clock is the host's.
    pub fn run_at<S: AsRef<OsStr>>(&self, offset: &str, arguments: &[S]) -> Output {
        let plain = self.command(arguments);
        let mut command = Command::new("faketime");
        command.args(["--exclude-monotonic", "-f", offset]).arg(plain.get_program()).args(plain.get_args());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = plain.get_current_dir() {
            command.current_dir(directory);
        }
        ended(&mut command)
    }

    /// Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        self.ends_with(0, arguments)
    }

    /// Runs a command that must be refused, and returns its standard output.
    #[track_caller]
    pub fn refused<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        self.ends_with(4, arguments)
    }

    #[track_caller]
    fn ends_with<S: AsRef<OsStr>>(&self, status: i32, arguments: &[S]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status == Some(status),
            "volgc {} ended with {:?}\n--- stdout\n{}--- stderr\n{}",
            words(arguments),
            output.status,
            output.stdout,
            output.stderr
        );
        output.stdout
    }

    /// Runs a command that must succeed, and returns its standard output as JSON.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> serde_json::Value {
        let text = self.ok(arguments);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("volgc {} wrote no JSON ({error}):\n{text}", words(arguments)))
    }

    /// Starts a command and leaves it running, its output piped. It is killed with the engine at the latest.
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program().display()))
    }

    /// A program of a test that stands for an engine, or that makes trouble between it and volgc, counts as the engine itself. Where it
    /// shall not, a test sets `VOLGC_SETTINGS` to nothing.
    fn settings(&self) -> Option<(&'static str, &'static str)> {
        let config = fs::read_to_string(self.config_file()).unwrap_or_default();
        let is_own = |own: &PathBuf| config.contains(&format!("\"unix://{}\"", own.display()));
        (!self.own.as_ref().is_some_and(is_own)).then_some(("VOLGC_SETTINGS", "engine.is_direct=1"))
    }

    /// The command as it would be run, for anything that is not covered above. Its environment holds nothing of the
    /// machine's, no `DOCKER_HOST` in particular.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(self.config_file())
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.dir)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env(takedown::MARK, &self.engine)
            .envs(self.settings())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            // Coverage of the product's own processes is measured through it.
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
    }
}

/// The built `volgc`, with its fault points: Cargo names it to the tests that it runs, and puts it beside their directory.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_volgc") {
        return PathBuf::from(path);
    }
    let test =
        std::env::current_exe().unwrap_or_else(|error| panic!("cannot tell which test this is: {error}"));
    test.parent()
        .and_then(Path::parent)
        .map(|target| target.join("volgc"))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| panic!("no volgc beside {}: run `cargo build`", test.display()))
}

fn words<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}
