//! The Docker engine: what it says, asked with GET alone, and the two calls that change something.
//!
//! [`Engine`] has no method that could change anything (I10). Only [`ChangingEngine`] has, and only the commands that move
//! data make one.

mod answer;
mod asked;
pub mod cluster;
mod delete;
pub mod endpoint;
mod error;
pub mod events;
pub mod follow;
pub mod past;
mod prefetch;
mod slow;
pub mod transport;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::VolumeCreateRequest;
use serde::de::DeserializeOwned;

use crate::gc::volume::VolumeName;
pub use answer::Answer;
pub use asked::Asked;
pub use delete::{DeleteAnswer, Route};
use endpoint::Endpoint;
pub use error::EngineError;
use error::chain;
use prefetch::{Kept, Prefetched};
use transport::{Transport, TransportError};

/// The oldest API version this program speaks, and the one it prefers: that of Docker 20.10, which every engine up to 28 and
/// from 29.3.1 on still serves, so that one form of each answer is enough. Under it no DELETE can reach a Swarm cluster volume
/// (that needs 1.42).
pub const OLDEST_API: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// An API version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    #[expect(clippy::disallowed_methods, reason = "the caller refuses a version that we cannot read")]
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// The engine, for reading.
#[derive(Debug, Clone)]
pub struct Engine {
    transport: Transport,
    api: ApiVersion,
    version: wire::Version,
    kept: Kept,
}

/// The engine, for the two calls that change something.
#[derive(Debug, Clone)]
pub struct ChangingEngine {
    engine: Engine,
    docker: bollard::Docker,
}

impl Engine {
    /// Connects and agrees on an API version.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, EngineError> {
        let transport = Transport::new(endpoint);
        let version = Answer::fetch(&transport, "/version".to_owned()).await?.read()?;
        Self::agree(transport, version)
    }

    /// The same for a command that looks at once: what [`Self::begin_look`] asks has been asked by then.
    pub async fn connect_to_look(endpoint: Endpoint) -> Result<Self, EngineError> {
        let transport = Transport::new(endpoint);
        let path = |what: &str| format!("/v{OLDEST_API}{what}");
        let until = prefetch::fresh();
        let volumes = list(&transport, path("/volumes"));
        #[expect(clippy::disallowed_methods, reason = "`try_join!` unwraps only what it has checked")]
        let (version, info) = tokio::try_join!(Answer::fetch(&transport, "/version".to_owned()), async {
            Ok(Answer::fetch(&transport, path("/info")).await)
        })?;
        let engine = Self::agree(transport, version.read()?)?;
        // By another version they are asked again.
        if engine.api == OLDEST_API {
            engine.kept.keep(Prefetched { until, info, volumes });
        }
        Ok(engine)
    }

    fn agree(transport: Transport, version: wire::Version) -> Result<Self, EngineError> {
        let too_old = || EngineError::TooOld { newest: version.api_version.clone() };
        let newest = ApiVersion::parse(&version.api_version).ok_or_else(too_old)?;
        if newest < OLDEST_API {
            return Err(too_old());
        }
        let oldest = version.min_api_version.as_deref().and_then(ApiVersion::parse).unwrap_or(OLDEST_API);
        Ok(Self { transport, api: oldest.max(OLDEST_API), version, kept: Kept::default() })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// The API version that every call carries.
    pub fn api_version(&self) -> ApiVersion {
        self.api
    }

    /// Whether it is Podman, whose DELETE takes a prefix for a name (podman issue 23943).
    pub fn is_podman(&self) -> bool {
        self.version.is_podman()
    }

    /// `GET /info`.
    pub async fn info(&self) -> Result<wire::Info, EngineError> {
        Ok(self.named(self.get("/info").await?))
    }

    /// The same, while other things are done.
    pub fn ask_info(&self) -> Asked<wire::Info> {
        let engine = self.clone();
        Asked::begin("GET /info", async move { engine.info().await })
    }

    /// `GET /plugins`, of the managed ones, while other things are done.
    pub fn ask_plugins(&self) -> Asked<Vec<wire::Plugin>> {
        let engine = self.clone();
        Asked::begin("GET /plugins", async move { engine.get("/plugins").await })
    }

    /// What a look begins with: `GET /info`, and the list of volumes, which is under way.
    pub async fn begin_look(&self) -> Result<(wire::Info, Asked<Answer<wire::Volumes>>), EngineError> {
        if let Some(Prefetched { info, volumes, .. }) = self.kept.take() {
            return Ok((self.named(info?.read()?), volumes));
        }
        let volumes = list(&self.transport, format!("/v{}/volumes", self.api));
        Ok((self.info().await?, volumes))
    }

    /// Podman makes up another ID for each answer (seen with 4.3), so its ID says nothing.
    fn named(&self, mut info: wire::Info) -> wire::Info {
        if self.is_podman() {
            "podman".clone_into(&mut info.id);
        }
        info
    }

    /// `GET /volumes`, of every driver.
    pub async fn volumes(&self) -> Result<wire::Volumes, EngineError> {
        self.get("/volumes").await
    }

    /// Whether Docker calls a volume dangling. That it does proves nothing; that it does not means that the engine itself counts a
    /// use, as by a container whose creation is not finished and which no list shows yet.
    pub async fn is_dangling(&self, name: &VolumeName) -> Result<bool, EngineError> {
        let filter = serde_json::json!({"dangling": ["true"], "name": [name.as_str()]}).to_string();
        let answer: wire::Volumes =
            self.get(&format!("/volumes?filters={}", percent_encode(&filter))).await?;
        // The name filter takes any part of a name (moby `daemon/volumes` filters).
        Ok(answer.volumes.into_iter().flatten().any(|volume| volume.name == *name))
    }

    /// The names that Docker calls dangling, all at once; see [`Self::is_dangling`].
    pub async fn dangling(&self) -> Result<BTreeSet<VolumeName>, EngineError> {
        let filter = serde_json::json!({"dangling": ["true"]}).to_string();
        let answer: wire::Volumes =
            self.get(&format!("/volumes?filters={}", percent_encode(&filter))).await?;
        Ok(answer.volumes.into_iter().flatten().map(|volume| volume.name).collect())
    }

    /// One volume; none when the engine does not know it (404).
    pub async fn volume(&self, name: &VolumeName) -> Result<Option<wire::Volume>, EngineError> {
        match self.get(&format!("/volumes/{}", percent_encode(name.as_str()))).await {
            Ok(volume) => Ok(Some(volume)),
            Err(EngineError::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /containers/json?all=1`: every container in every state. Not read yet.
    pub async fn fetch_containers(&self) -> Result<Answer<Vec<wire::Container>>, EngineError> {
        self.fetch("/containers/json?all=1").await
    }

    /// These containers, as far as the engine still knows them, in any state.
    pub async fn containers_of(&self, ids: &[&str]) -> Result<Vec<wire::Container>, EngineError> {
        let filter = serde_json::json!({ "id": ids }).to_string();
        self.get(&format!("/containers/json?all=1&filters={}", percent_encode(&filter))).await
    }

    /// Any other GET, for the witnesses that need one.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        self.fetch(path).await?.read()
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, EngineError> {
        Answer::fetch(&self.transport, format!("/v{}{path}", self.api)).await
    }
}

impl ChangingEngine {
    /// A handle that can change something.
    pub fn new(engine: Engine) -> Result<Self, EngineError> {
        let transport = engine.transport.clone();
        let api = engine.api;
        let send = move |mut request: bollard::BollardRequest| {
            let transport = transport.clone();
            async move {
                // bollard 0.21 sends no API version: `Url::join` drops it.
                if let Some(path) = request.uri().path_and_query()
                    && let Ok(versioned) = format!("/v{api}{path}").parse()
                {
                    *request.uri_mut() = versioned;
                }
                transport.send(request).await.map_err(|error| for_bollard(&error))
            }
        };
        let docker = bollard::Docker::connect_with_custom_transport(
            send,
            Some("http://docker"),
            delete::PATIENCE.as_secs(),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| EngineError::Broken { call: "connect".to_owned(), why: error.to_string() })?;
        Ok(Self { engine, docker })
    }

    /// The same engine, for reading.
    pub fn reading(&self) -> &Engine {
        &self.engine
    }

    /// Why a DELETE must not be sent now; see [`cluster`].
    async fn cluster_danger(&self) -> Option<String> {
        if !cluster::is_known_to(self.engine.api) {
            return None;
        }
        match self.engine.info().await {
            Ok(info) => cluster::fall_through(self.engine.api, &info),
            Err(error) => Some(format!("it was not asked: {error}")),
        }
    }

    /// `POST /volumes/create`. 201 is also the answer for a volume that exists already, so the caller looks at what came back.
    pub async fn create_volume(
        &self,
        name: &VolumeName,
        driver: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let call = "POST /volumes/create";
        let request = VolumeCreateRequest {
            name: Some(name.to_string()),
            driver: Some(driver.to_owned()),
            driver_opts: None,
            labels: Some(labels.clone().into_iter().collect::<HashMap<_, _>>()),
            cluster_volume_spec: None,
        };
        let patience = answer::patience();
        let answer = self.docker.create_volume(request);
        match self.engine.transport.slow().bounded(call, patience, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(bollard::errors::Error::DockerResponseServerError { status_code, message })) => {
                Err(EngineError::Status { call: call.to_owned(), code: status_code, message })
            }
            Ok(Err(error)) => Err(EngineError::Broken { call: call.to_owned(), why: chain(&error) }),
            Err(_) => Err(EngineError::Timeout { call: call.to_owned(), patience }),
        }
    }
}

/// Begins to list the volumes.
fn list(transport: &Transport, path: String) -> Asked<Answer<wire::Volumes>> {
    let transport = transport.clone();
    Asked::begin("GET /volumes", async move { Answer::fetch(&transport, path).await })
}

/// A connection that was never made is told apart: then nothing was sent.
fn for_bollard(error: &TransportError) -> bollard::errors::Error {
    let kind = match error {
        TransportError::Connect { .. } | TransportError::Certificates { .. } | TransportError::Request(_) => {
            std::io::ErrorKind::NotConnected
        }
        TransportError::Http(_) => std::io::ErrorKind::ConnectionAborted,
    };
    bollard::errors::Error::IOError { err: std::io::Error::new(kind, chain(error)) }
}

/// Everything but the unreserved characters of RFC 3986, 2.3.
fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            // Writing to a String does not fail.
            return encoded;
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(ApiVersion::parse("1.5") < ApiVersion::parse("1.41"));
        assert_eq!(ApiVersion::parse("x"), None);
    }

    #[test]
    fn names_are_encoded_whole() {
        assert_eq!(percent_encode("a?b/c%"), "a%3Fb%2Fc%25");
    }
}
