//! The DELETE: sent once, and what its answer says of its fate (I5).

use std::time::Duration;

use bollard::query_parameters::RemoveVolumeOptionsBuilder;

use super::error::{chain, is_final};
use super::{ChangingEngine, Engine, wire};
use crate::gc::volume::VolumeName;
use crate::host::engine_process;
use crate::host::fault::{self, Setting};
use crate::host::volumes_dir::VolumesDir;

/// How long a DELETE may take before its fate counts as unknown. It may queue behind the removal of a large volume.
pub(super) const PATIENCE: Duration = Duration::from_mins(15);

fn patience() -> Duration {
    Duration::from_millis(fault::limit(Setting::DeletePatience, PATIENCE.as_secs() * 1000))
}

/// How requests reach the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The engine itself reads them.
    Direct,
    /// Something in between may answer in its own words, and may deliver a request after it has given up.
    Proxied,
}

/// What became of a DELETE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// The engine does not know the volume any more (204 or 404).
    Forgotten,
    /// The engine refused; nothing was done and nothing will be.
    Refused(String),
    /// No answer, or one that somebody between us and the engine may have made up: it may still be carried out (I5).
    Unknown(String),
}

/// Whose words an answer is in that refuses.
enum Words {
    /// The engine's: nothing was done.
    Engine,
    /// Perhaps an authorization plugin's, which the engine asks before it does anything and once more when it has done it (moby
    /// `pkg/authorization`, 20.10 to 29). The engine is done with the request all the same.
    Plugin,
    /// Perhaps a proxy's, while the request is still on its way.
    Proxy,
}

impl Engine {
    /// How requests reach the engine of this volumes directory. If we cannot tell, assume a proxy.
    pub async fn route(&self, volumes: &VolumesDir) -> Route {
        let Some(socket) = self.endpoint().local_socket() else { return Route::Proxied };
        if fault::limit(Setting::EngineIsDirect, 0) == 1 {
            return Route::Direct;
        }
        match engine_process::is_direct(socket, volumes.volumes()).await {
            Ok(true) => Route::Direct,
            Ok(false) => Route::Proxied,
            Err(error) => {
                tracing::debug!(%error, "cannot tell who answers for the engine");
                Route::Proxied
            }
        }
    }
}

impl ChangingEngine {
    /// Asks the engine once, without force, to forget a volume. Never repeated by itself: on a Swarm manager a second DELETE
    /// could reach a cluster volume, and on Podman any volume whose name begins so.
    pub async fn delete_volume(&self, name: &VolumeName, route: Route) -> DeleteAnswer {
        if !name.is_accepted_by_api() {
            // bollard puts the name into the URL as it is: `a?b` would delete `a`.
            return DeleteAnswer::Refused("the API does not accept the name".to_owned());
        }
        if let Some(why) = self.cluster_danger().await {
            return DeleteAnswer::Refused(why);
        }
        let options = RemoveVolumeOptionsBuilder::new().force(false).build();
        let call = self.docker.remove_volume(name.as_str(), Some(options));
        let patience = patience();
        let named = format!("DELETE /volumes/{name}");
        match self.engine.transport.slow().bounded(&named, patience, call).await {
            Ok(Ok(())) => DeleteAnswer::Forgotten,
            Ok(Err(error)) => match self.words(&error, route).await {
                Words::Engine => delete_answer(error),
                Words::Plugin => self.look_after(name, &chain(&error)).await,
                Words::Proxy => DeleteAnswer::Unknown(chain(&error)),
            },
            Err(_) => DeleteAnswer::Unknown(format!("no answer within {} s", patience.as_secs())),
        }
    }

    async fn words(&self, error: &bollard::errors::Error, route: Route) -> Words {
        let bollard::errors::Error::DockerResponseServerError { status_code, .. } = error else {
            return Words::Engine;
        };
        match (status_code, route) {
            (403 | 500, Route::Direct) => Words::Plugin,
            // A proxy that gives up may say so in its own words (I5).
            (500, Route::Proxied) => Words::Proxy,
            // A proxy that denies the request does not deliver it. It passes on what a plugin denies.
            (403, Route::Proxied) => match self.engine.info().await {
                Ok(info) if info.authorization() == wire::Authorization::None => Words::Engine,
                Ok(_) | Err(_) => Words::Proxy,
            },
            _ => Words::Engine,
        }
    }

    /// The engine is done with the request: what it lists says what became of it.
    async fn look_after(&self, name: &VolumeName, answer: &str) -> DeleteAnswer {
        match self.engine.volume(name).await {
            Ok(None) => DeleteAnswer::Forgotten,
            Ok(Some(_)) => DeleteAnswer::Refused(answer.to_owned()),
            Err(error) => {
                DeleteAnswer::Unknown(format!("{answer}; and whether it was done is not known: {error}"))
            }
        }
    }
}

fn delete_answer(error: bollard::errors::Error) -> DeleteAnswer {
    use bollard::errors::Error;
    if let Error::DockerResponseServerError { status_code, message } = error {
        return match status_code {
            404 => DeleteAnswer::Forgotten,
            code if is_final(code) => DeleteAnswer::Refused(message),
            other => DeleteAnswer::Unknown(format!("status {other}: {message}")),
        };
    }
    if let Error::IOError { err } = &error
        && err.kind() == std::io::ErrorKind::NotConnected
    {
        return DeleteAnswer::Refused(format!("it was not asked: {err}"));
    }
    DeleteAnswer::Unknown(chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_engines_own_refusals_are_final() {
        let answer = |status_code| {
            delete_answer(bollard::errors::Error::DockerResponseServerError {
                status_code,
                message: "m".to_owned(),
            })
        };
        assert_eq!(answer(404), DeleteAnswer::Forgotten);
        for code in [409, 500, 403] {
            assert_eq!(answer(code), DeleteAnswer::Refused("m".to_owned()), "{code}");
        }
        for code in [408, 502, 503, 504, 301] {
            assert!(matches!(answer(code), DeleteAnswer::Unknown(_)), "{code}");
        }
    }
}
