//! Where metrics and health are served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::keys;
use super::mistake::Place;
use super::reader::{Given, Reader, Section};

/// The longest path of a Unix socket, in bytes: `sun_path` has 108 with the zero at the end (`unix(7)`).
const LONGEST_SOCKET_PATH: usize = 107;

const EXAMPLE: &str = "127.0.0.1:9710";

/// Where metrics and health are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; 0 is any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    /// As a URL for people.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "http://{address}"),
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
        }
    }
}

/// None when nothing is served, which is the default.
pub(super) fn read(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<Listen> {
    let section = reader.section(top, "metrics", &keys::METRICS)?;
    let may_leave = reader.boolean(&section, "allow_non_loopback");
    let listen = reader.text(&section, "listen", EXAMPLE);
    if listen.is_absent() {
        let message = format!(
            "{} without `listen` serves nothing; write `listen = \"{EXAMPLE}\"`",
            section.table.title
        );
        reader.missing(&section.place, &message);
    }
    let listen = reader.refine(listen, |text| parse(text));
    let Given::Good(listen, place) = listen else { return None };
    // A broken `allow_non_loopback` has been noted; one mistake is not told twice.
    if !matches!(may_leave, Given::Good(true, _) | Given::Broken) {
        refuse_others(reader, &listen, &place);
    }
    Some(listen)
}

fn parse(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix://") {
        return match path {
            path if !path.starts_with('/') => Err(format!(
                "`{text}` has no absolute path; write three slashes, as in `unix:///run/volgc/metrics.sock`"
            )),
            path if path.ends_with('/') || path.contains('\0') => {
                Err(format!("`{text}` does not name a socket"))
            }
            path if path.len() > LONGEST_SOCKET_PATH => Err(format!(
                "the path of a socket can have {LONGEST_SOCKET_PATH} bytes at most; `{path}` has more"
            )),
            path => Ok(Listen::Unix(PathBuf::from(path))),
        };
    }
    let address = text.strip_prefix("http://").unwrap_or(text);
    address.parse().map(Listen::Tcp).map_err(|_| {
        format!(
            "`{text}` is no address with a port; write it in digits, as in `{EXAMPLE}` or `[::1]:9710`, or a socket, as \
             in `unix:///run/volgc/metrics.sock`"
        )
    })
}

/// Names and volumes of a host are nobody else's business, and there is neither TLS nor a password here.
fn refuse_others(reader: &mut Reader<'_>, listen: &Listen, place: &Place) {
    match listen {
        Listen::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            let message = format!(
                "`{address}` can be reached from other machines, and there is neither encryption nor a password; write \
                 `127.0.0.1:{}`, or add `allow_non_loopback = true` if that is meant",
                address.port()
            );
            reader.wrong(place, &message);
        }
        Listen::Tcp(_) | Listen::Unix(_) => {}
    }
}
