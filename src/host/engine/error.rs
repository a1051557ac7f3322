//! Why an answer of the engine is not known, in words for the administrator.

use std::time::Duration;

use super::OLDEST_API;
use super::endpoint::Endpoint;
use super::transport::TransportError;

/// Why the engine's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No connection could be made.
    #[error("cannot reach the Docker engine at {endpoint}: {why}; {remedy}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// The system's words.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The connection broke, or the other side does not speak HTTP.
    #[error("the engine's answer to {call} broke off: {why}")]
    Broken {
        /// Method and path.
        call: String,
        /// What went wrong.
        why: String,
    },
    /// No complete answer in time.
    #[error("the engine did not answer {call} within {} s; is it hanging, or removing a large volume?", .patience.as_secs())]
    Timeout {
        /// Method and path.
        call: String,
        /// How long it was given.
        patience: Duration,
    },
    /// An answer that is an error.
    #[error("the engine answered {call} with {code}: {message}")]
    Status {
        /// Method and path.
        call: String,
        /// HTTP status.
        code: u16,
        /// The engine's words.
        message: String,
    },
    /// An answer that is not what the API promises.
    #[error("the engine's answer to {call} is not understood: {why}")]
    Shape {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// An engine that is too old.
    #[error("the engine speaks API {newest} at most; volgc needs {OLDEST_API} (Docker 20.10) or newer")]
    TooOld {
        /// Its newest API version.
        newest: String,
    },
}

impl EngineError {
    /// Whether the engine may have done what it was asked for although the answer is an error: an authorization plugin denied the
    /// answer (moby `pkg/authorization`, 20.10 to 29).
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 403 | 500),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::Shape { .. }
            | Self::TooOld { .. } => false,
        }
    }

    /// Whether the engine has said no and will not do later what it was asked for. See `is_final`.
    pub fn is_final_refusal(&self) -> bool {
        match self {
            Self::Status { code, .. } => is_final(*code),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::Shape { .. }
            | Self::TooOld { .. } => false,
        }
    }
}

/// What the engine itself answers when it did not and will not do what it was asked for. Gateways between us and it answer 408
/// and 502 to 504 while the request may still be on its way.
pub(super) fn is_final(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 404 | 405 | 409 | 500)
}

/// What it means that a GET of `path` could not be sent or was not answered.
pub(super) fn unreachable_or_broken(error: TransportError, path: &str) -> EngineError {
    match error {
        TransportError::Connect { endpoint, source } => {
            let kind = source.kind();
            let remedy = if kind == std::io::ErrorKind::PermissionDenied {
                "run volgc as root or as a member of the socket's group"
            } else if kind == std::io::ErrorKind::NotFound {
                "is the engine running? Set [docker] host or DOCKER_HOST if it listens elsewhere; a container with \
                 volgc needs the socket, as by -v /var/run/docker.sock:/var/run/docker.sock"
            } else {
                "is the engine running? Set [docker] host or DOCKER_HOST if it listens elsewhere"
            };
            EngineError::Unreachable { endpoint, why: source.to_string(), remedy }
        }
        other @ (TransportError::Certificates { .. }
        | TransportError::Http(_)
        | TransportError::Request(_)) => {
            EngineError::Broken { call: format!("GET {path}"), why: chain(&other) }
        }
    }
}

/// An error with all its sources, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
