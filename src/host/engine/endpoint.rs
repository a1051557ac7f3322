//! Where the engine listens: `unix://`, `tcp://` (plain or TLS) and `ssh://`, as the Docker CLI writes them.

use std::fmt;
use std::path::{Path, PathBuf};

/// The socket used when nothing else is configured (docker CLI reference, `DOCKER_HOST`).
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// Plain TCP.
    Tcp(String),
    /// TCP with TLS, with the directory that holds `ca.pem`, `cert.pem` and `key.pem`.
    Tls {
        /// `host:port`.
        address: String,
        /// `DOCKER_CERT_PATH`.
        certificates: PathBuf,
    },
    /// `docker system dial-stdio` on another machine, through the `ssh` command.
    Ssh {
        /// `[user@]host`.
        destination: String,
        /// The port, if it is not ssh's own default.
        port: Option<String>,
    },
}

/// A host that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// An unknown scheme.
    #[error(
        "{0:?} is not an engine address: write unix:///path/to/docker.sock, tcp://host:port or ssh://user@host"
    )]
    Unknown(String),
    /// TLS was asked for, but no certificates are given.
    #[error(
        "DOCKER_TLS_VERIFY is set, but DOCKER_CERT_PATH is not: name the directory that holds ca.pem, cert.pem and key.pem"
    )]
    NoCertificates,
}

/// The settings that the Docker CLI takes from its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEnvironment {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set to anything but the empty text.
    pub tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`.
    pub certificates: Option<PathBuf>,
}

impl Endpoint {
    /// The endpoint of the configured host, else of `DOCKER_HOST`, else the default socket.
    pub fn choose(configured: Option<&str>, environment: &EngineEnvironment) -> Result<Self, EndpointError> {
        let host = configured
            .or(environment.host.as_deref().filter(|host| !host.is_empty()))
            .unwrap_or(DEFAULT_HOST);
        Self::parse(host, environment)
    }

    fn parse(host: &str, environment: &EngineEnvironment) -> Result<Self, EndpointError> {
        let unknown = || EndpointError::Unknown(host.to_owned());
        let (scheme, rest) = host.split_once("://").ok_or_else(unknown)?;
        if rest.is_empty() {
            return Err(unknown());
        }
        let with_port = |port: &str| {
            let address = rest.trim_end_matches('/');
            if address.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']')) {
                address.to_owned()
            } else {
                format!("{address}:{port}")
            }
        };
        let wants_tls = environment.tls_verify.as_deref().is_some_and(|value| !value.is_empty());
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "https" if wants_tls || scheme == "https" => {
                let certificates = environment.certificates.clone().ok_or(EndpointError::NoCertificates)?;
                Ok(Self::Tls { address: with_port("2376"), certificates })
            }
            "tcp" | "http" => Ok(Self::Tcp(with_port("2375"))),
            "ssh" => {
                let rest = rest.trim_end_matches('/');
                let (destination, port) = match rest.rsplit_once(':') {
                    Some((destination, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                        (destination, Some(port.to_owned()))
                    }
                    Some(_) | None => (rest, None),
                };
                // A destination that begins with a dash would be an option of ssh.
                if destination.is_empty() || destination.starts_with('-') {
                    return Err(unknown());
                }
                Ok(Self::Ssh { destination: destination.to_owned(), port })
            }
            _ => Err(unknown()),
        }
    }

    /// The path of the socket, when the engine is reached through one on this machine.
    pub fn local_socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) | Self::Tls { .. } | Self::Ssh { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp(address) | Self::Tls { address, .. } => write!(out, "tcp://{address}"),
            Self::Ssh { destination, port: None } => write!(out, "ssh://{destination}"),
            Self::Ssh { destination, port: Some(port) } => write!(out, "ssh://{destination}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(host: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::choose(Some(host), &EngineEnvironment::default())
    }

    #[test]
    fn the_configured_host_comes_before_the_environment_and_that_before_the_default() {
        let environment =
            EngineEnvironment { host: Some("tcp://other:1".to_owned()), ..EngineEnvironment::default() };
        assert_eq!(choose("unix:///a.sock"), Ok(Endpoint::Unix("/a.sock".into())));
        assert_eq!(Endpoint::choose(None, &environment), Ok(Endpoint::Tcp("other:1".to_owned())));
        assert_eq!(
            Endpoint::choose(None, &EngineEnvironment::default()),
            Ok(Endpoint::Unix("/var/run/docker.sock".into()))
        );
    }

    #[test]
    fn addresses_are_read_as_the_docker_cli_reads_them() {
        assert_eq!(choose("tcp://h"), Ok(Endpoint::Tcp("h:2375".to_owned())));
        assert_eq!(choose("tcp://[::1]:99"), Ok(Endpoint::Tcp("[::1]:99".to_owned())));
        assert_eq!(choose("tcp://[::1]"), Ok(Endpoint::Tcp("[::1]:2375".to_owned())));
        assert_eq!(
            choose("ssh://me@host:22"),
            Ok(Endpoint::Ssh { destination: "me@host".to_owned(), port: Some("22".to_owned()) })
        );
        for bad in
            ["", "/var/run/docker.sock", "unix://", "unix://relative", "npipe:////./x", "ssh://-oProxy=x"]
        {
            assert!(choose(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tls_needs_its_certificates() {
        let mut environment =
            EngineEnvironment { tls_verify: Some("1".to_owned()), ..EngineEnvironment::default() };
        assert_eq!(Endpoint::choose(Some("tcp://h"), &environment), Err(EndpointError::NoCertificates));
        environment.certificates = Some("/c".into());
        assert_eq!(
            Endpoint::choose(Some("tcp://h"), &environment),
            Ok(Endpoint::Tls { address: "h:2376".to_owned(), certificates: "/c".into() })
        );
    }
}
