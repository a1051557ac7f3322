//! Something between the product and an engine, as socket proxies and load balancers are: it can lose, delay, hold back and make
//! up answers, and it delivers requests whose sender is long gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{PrivateEngine, http};

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treat {
    /// Delivered after this time.
    Delay(Duration),
    /// Delivered; the answer is thrown away and the connection closed.
    LoseAnswer,
    /// Not delivered; the connection is closed.
    Close,
    /// Not delivered; answered with this status.
    Answer(u16),
    /// Delivered, but answered with this status.
    AnswerInstead(u16),
    /// Delivered; of the answer only the first half comes back.
    HalfAnswer,
    /// Delivered when [`Proxy::release`] is called, whether or not its sender still waits.
    Hold,
    /// The same, but answered with this status at once.
    AnswerAndHold(u16),
}

/// A proxy on a socket of its own.
#[derive(Debug)]
pub struct Proxy {
    socket: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    ends: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Each for the next request of this name only.
    orders: Vec<(String, Treat)>,
    /// For the request that comes after so many others.
    later: Option<(usize, Treat)>,
    seen: Vec<String>,
    delivered: Vec<(String, u16)>,
    released: bool,
}

impl Proxy {
    /// Starts one in front of an engine.
    pub fn start(engine: &PrivateEngine) -> Self {
        let socket = engine.dir().join("proxy");
        let listener =
            UnixListener::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let shared = Arc::new(Shared {
            engine: engine.socket(),
            state: Mutex::default(),
            changed: Condvar::new(),
            ends: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.ends.load(Ordering::Acquire) {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                // An error is a client that went away.
                thread::spawn(move || shared.serve(&client).ok());
            }
        });
        Self { socket, shared }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What is done with the next request of this name, such as `DELETE /volumes/x`; all others are passed on.
    pub fn next(&self, request: &str, treat: Treat) {
        let mut state = self.shared.state();
        state.released = false;
        state.orders.push((request.to_owned(), treat));
    }

    /// What is done with the request that comes after so many others from now on, whatever it is.
    pub fn after(&self, others: usize, treat: Treat) {
        let mut state = self.shared.state();
        state.released = false;
        let at = state.seen.len() + others;
        state.later = Some((at, treat));
    }

    /// Passes on everything from now on. Says whether the requests of [`Proxy::after`] and [`Proxy::next`] had come.
    pub fn treat_well(&self) -> bool {
        let mut state = self.shared.state();
        let number = state.seen.len();
        let next_came = std::mem::take(&mut state.orders).is_empty();
        state.later.take().is_none_or(|(at, _)| at < number) && next_came
    }

    /// Every request that came so far, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().seen.clone()
    }

    /// How often a request came.
    pub fn seen(&self, request: &str) -> usize {
        self.shared.state().seen.iter().filter(|seen| *seen == request).count()
    }

    /// The engine's answers to what was delivered of a request.
    pub fn delivered(&self, request: &str) -> Vec<u16> {
        let state = self.shared.state();
        state.delivered.iter().filter(|(name, _)| name == request).map(|(_, status)| *status).collect()
    }

    /// Waits until a request came.
    #[track_caller]
    pub fn await_request(&self, request: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.seen(request) == 0 {
            assert!(Instant::now() < deadline, "no {request} came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets go of what is held, and waits until the engine has answered it.
    #[track_caller]
    pub fn release(&self, request: &str) {
        let before = self.delivered(request).len();
        self.shared.state().released = true;
        self.shared.changed.notify_all();
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.delivered(request).len() == before {
            assert!(Instant::now() < deadline, "{request} was not delivered");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        UnixStream::connect(&self.socket).ok();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, client: &UnixStream) -> std::io::Result<()> {
        let (method, path, body) = read_request(client)?;
        let name = name(&method, &path);
        let treat = {
            let mut state = self.state();
            state.seen.push(name.clone());
            let order = state.orders.iter().position(|(request, _)| *request == name);
            let number = state.seen.len() - 1;
            let later = state.later.filter(|(at, _)| *at == number).map(|(_, treat)| treat);
            order.map(|order| state.orders.remove(order).1).or(later)
        };
        match treat {
            Some(Treat::Close) => return Ok(()),
            Some(Treat::Answer(status)) => return answer(client, status, r#"{"message":"made up"}"#),
            Some(Treat::Delay(time)) => thread::sleep(time),
            Some(Treat::Hold | Treat::AnswerAndHold(_)) => {
                if let Some(Treat::AnswerAndHold(status)) = treat {
                    answer(client, status, r#"{"message":"made up"}"#)?;
                }
                let state = self.state();
                drop(self.changed.wait_while(state, |state| !state.released));
            }
            Some(Treat::LoseAnswer | Treat::AnswerInstead(_) | Treat::HalfAnswer) | None => {}
        }
        if treat.is_none() && name == "GET /events" && !path.contains("until=") {
            return self.pass_on(client, &path);
        }
        let limit = Duration::from_mins(3);
        let (status, text) = http::request(&self.engine, &method, &path, "application/json", &body, limit)?;
        self.state().delivered.push((name, status));
        match treat {
            Some(Treat::LoseAnswer | Treat::AnswerAndHold(_)) => Ok(()),
            Some(Treat::HalfAnswer) => half_answer(client, status, &text),
            Some(Treat::AnswerInstead(other)) => answer(client, other, r#"{"message":"made up"}"#),
            _ => answer(client, status, &text),
        }
    }
}

impl Shared {
    /// A stream without an end, as it comes.
    fn pass_on(&self, mut client: &UnixStream, path: &str) -> std::io::Result<()> {
        let mut engine = UnixStream::connect(&self.engine)?;
        write!(engine, "GET {path} HTTP/1.1\r\nHost: engine\r\n\r\n")?;
        std::io::copy(&mut engine, &mut client).map(drop)
    }
}

fn read_request(client: &UnixStream) -> std::io::Result<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((key, value)) = header.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((method, path, body))
}

/// Without API version and query.
fn name(method: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/{rest}"),
        None => path.to_owned(),
    };
    format!("{method} {path}")
}

fn answer(mut client: &UnixStream, status: u16, text: &str) -> std::io::Result<()> {
    let text = if status == 204 { "" } else { text };
    write!(
        client,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// The length that was promised never comes.
fn half_answer(mut client: &UnixStream, status: u16, text: &str) -> std::io::Result<()> {
    let half = text.get(..text.len() / 2).unwrap_or_default();
    write!(
        client,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{half}",
        text.len().max(1)
    )
}
