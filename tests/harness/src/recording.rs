//! A socket in front of an engine's that writes down every request and lets only some through, GET if nothing else is said, as
//! the proxies do that people put before a Docker socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// Whether a request passes, by its method and path, as `GET /v1.41/info`.
type Allows = dyn Fn(&str) -> bool + Send + Sync;

/// A proxy that allows some requests. Gone when the test process ends.
#[derive(Debug)]
pub struct Recording {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    /// Listens at `socket`, which must not exist yet, for the engine that listens at `engine`. Only GET passes.
    pub fn start(socket: &Path, engine: &Path) -> Self {
        Self::start_allowing(socket, engine, |asked| asked.starts_with("GET "))
    }

    /// The same with a choice of what passes.
    pub fn start_allowing(
        socket: &Path,
        engine: &Path,
        allows: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let allows: Arc<Allows> = Arc::new(allows);
        let listener = UnixListener::bind(socket)
            .unwrap_or_else(|error| panic!("cannot listen at {}: {error}", socket.display()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (record, engine) = (Arc::clone(&requests), engine.to_owned());
        spawn(move || {
            for client in listener.incoming().flatten() {
                let (record, engine, allows) = (Arc::clone(&record), engine.clone(), Arc::clone(&allows));
                // A client that goes away early is no failure of the proxy.
                spawn(move || serve(client, &engine, &record, &*allows).ok());
            }
        });
        Self { socket: socket.to_owned(), requests }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What was asked since the last call, as `GET /v1.41/info`, in order.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this was asked since the last call of `take`.
    pub fn has_seen(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|asked| wanted(asked))
    }

    /// What `take` returns, without order and repetition.
    pub fn take_distinct(&self) -> Vec<String> {
        let mut requests = self.take();
        requests.sort();
        requests.dedup();
        requests
    }
}

fn serve(
    mut client: UnixStream,
    engine: &Path,
    record: &Mutex<Vec<String>>,
    allows: &Allows,
) -> io::Result<()> {
    let (head, rest) = read_head(&mut client)?;
    let line: String = head.lines().next().unwrap_or_default().to_owned();
    let asked = line.rsplit_once(' ').map_or(line.as_str(), |(asked, _)| asked).to_owned();
    let passes = allows(&asked);
    let asked_with_get = asked.starts_with("GET ");
    record.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    if !passes {
        let body = if asked_with_get {
            r#"{"message":"the proxy does not allow this path"}"#
        } else {
            r#"{"message":"the proxy allows GET only"}"#
        };
        return write!(
            client,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
    }
    let mut upstream = UnixStream::connect(engine)?;
    // One request a connection: so none goes by unseen.
    upstream.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    upstream.write_all(&rest)?;
    let missing = body_length(&head).saturating_sub(rest.len() as u64);
    io::copy(&mut (&client).take(missing), &mut upstream)?;
    io::copy(&mut upstream, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn body_length(head: &str) -> u64 {
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lengths.filter(|(key, _)| key.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, length)| length.trim().parse().unwrap_or(0))
}

/// The head of a request with its empty line, and what came after it.
pub(super) fn read_head(client: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Carries TCP connections to a Unix socket, as `socat` would, and returns the port on the loopback address.
pub fn tcp_to_unix(socket: &Path) -> u16 {
    let listener =
        TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("cannot listen on TCP: {error}"));
    let port = listener.local_addr().map_or(0, |address| address.port());
    let socket = socket.to_owned();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(engine) = UnixStream::connect(&socket) else { continue };
            let (Ok(mut from_client), Ok(mut to_engine)) = (client.try_clone(), engine.try_clone()) else {
                continue;
            };
            spawn(move || io::copy(&mut from_client, &mut to_engine));
            spawn(move || {
                let (mut from_engine, mut to_client) = (engine, client);
                io::copy(&mut from_engine, &mut to_client).ok();
                to_client.shutdown(Shutdown::Both)
            });
        }
    });
    port
}

/// Waits until something holds, and says whether it did within the limit.
pub fn eventually(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let pause = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while !holds() {
        if waited > limit {
            return false;
        }
        sleep(pause);
        waited += pause;
    }
    true
}
