//! A TCP port or a Unix socket to listen on.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Listen;

/// Every local user may connect, as to a port on the loopback address; the directory decides who reaches the socket.
const SOCKET_MODE: Mode = Mode::from_raw_mode(0o666);

/// Why nobody can be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A port.
    #[error("cannot serve metrics at {address}: {source}; choose another [metrics] listen, or remove it")]
    Port {
        /// Which.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// A Unix socket.
    #[error(
        "cannot serve metrics at the socket {path}: {source}; its directory has to exist (RuntimeDirectory=volgc in the unit \
         makes /run/volgc), and nothing else may be there"
    )]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Something to read from and write to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// It listens.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Listens. A socket that nobody listens on any more is replaced.
pub(super) fn listen(at: &Listen) -> Result<Listener, ListenError> {
    match at {
        Listen::Tcp(address) => {
            let bound = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(listener))
            });
            bound.map_err(|source| ListenError::Port { address: *address, source })
        }
        Listen::Unix(path) => {
            let bound = bind_unix(path).and_then(|listener| {
                let file = SocketFile(path.clone());
                listener.set_nonblocking(true)?;
                rustix::fs::chmodat(CWD, path, SOCKET_MODE, AtFlags::empty())?;
                Ok(Listener::Unix(listener, file))
            });
            bound.map_err(|source| ListenError::Socket { path: path.clone(), source })
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path)? => {
            rustix::fs::unlinkat(CWD, path, AtFlags::empty())?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether it is a socket whose process has ended without taking it away, as after a kill.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let facts = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::Socket {
        return Ok(false);
    }
    // `connect(2)` refuses when nobody listens.
    Ok(matches!(UnixStream::connect(path), Err(error) if error.kind() == ErrorKind::ConnectionRefused))
}

/// Taken away when the server ends.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::unlinkat(CWD, &self.0, AtFlags::empty()) {
            tracing::debug!(%error, "the socket {} stays", self.0.display());
        }
    }
}

impl Listener {
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => Listen::Tcp(address).to_string(),
                Err(error) => format!("a port that is not known ({error})"),
            },
            Self::Unix(_, SocketFile(path)) => Listen::Unix(path.clone()).to_string(),
        }
    }

    /// To be called inside a runtime.
    pub(super) fn into_async(self) -> io::Result<AsyncListener> {
        Ok(match self {
            Self::Tcp(listener) => AsyncListener::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener, file) => {
                AsyncListener::Unix(tokio::net::UnixListener::from_std(listener)?, file)
            }
        })
    }
}

/// The same, in a runtime.
#[derive(Debug)]
pub(super) enum AsyncListener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, #[expect(dead_code, reason = "taken away when it is dropped")] SocketFile),
}

impl AsyncListener {
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }
}
