//! A service that runs with its log in a file, and the smallest reader of its pages.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use harness::Volgc;

/// `volgc run`, killed with the value.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn start(volgc: &Volgc) -> Self {
        let log = volgc.state_dir().join("service.log");
        let stderr = File::create(&log).unwrap();
        let child = volgc.command(&["run"]).stderr(stderr).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The port it chose.
    pub(crate) fn address(&self) -> SocketAddr {
        const BEFORE: &str = "http://127.0.0.1:";
        await_that("it listens", || self.log().contains(BEFORE));
        let log = self.log();
        let port: String =
            log.split_once(BEFORE).unwrap().1.chars().take_while(char::is_ascii_digit).collect();
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    /// Ends it as systemd does.
    pub(crate) fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        self.log()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Status, head and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a request as it is and reads to the end.
pub(crate) fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:?} was answered with {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: volgc\r\nConnection: close\r\n\r\n"))
}

pub(crate) fn get_unix(socket: &Path, path: &str) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: volgc\r\n\r\n"))
}

/// The value of a sample, by its name with its labels.
pub(crate) fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until a sample has a value.
#[track_caller]
pub(crate) fn await_sample(address: SocketAddr, name: &str, value: f64) -> String {
    let mut text = String::new();
    await_that(&format!("{name} {value}"), || {
        text = get(address, "/metrics").body;
        sample(&text, name).is_some_and(|is| (is - value).abs() < 0.5)
    });
    text
}

#[track_caller]
pub(crate) fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
