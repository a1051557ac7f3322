//! One connection a request to the engine, over whatever the endpoint is. bollard's calls and our own lists share it.
//!
//! Our own lists, because bollard 0.21 fails a whole list on one odd item and sends no API version; see `wire`.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::endpoint::Endpoint;
use super::slow::SlowAnswers;

/// Why no answer was had.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use the TLS certificates in {directory}: {why}")]
    Certificates {
        /// `DOCKER_CERT_PATH`.
        directory: String,
        /// What is wrong.
        why: String,
    },
    /// The connection broke, or the other side does not speak HTTP.
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// A request that cannot be made.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections to one endpoint and sends each request under one API version.
#[derive(Debug, Clone)]
pub struct Transport {
    endpoint: Endpoint,
    slow: SlowAnswers,
}

impl Transport {
    /// No connection is made yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, slow: SlowAnswers::default() }
    }

    /// What says that an answer takes long.
    pub(super) fn slow(&self) -> &SlowAnswers {
        &self.slow
    }

    /// Where it goes to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one request on a connection of its own. The URI is a path with a query; headers that HTTP/1.1 needs are added.
    pub async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, TransportError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The task ends with the connection; an error on it reaches the request below.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "engine connection ended");
            }
        });
        // A client speaks origin-form to a server (RFC 9112, 3.2.1), while bollard builds absolute URIs.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(path);
        }
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("docker"));
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, TransportError> {
        let failed = |source| TransportError::Connect { endpoint: self.endpoint.clone(), source };
        match &self.endpoint {
            Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
            Endpoint::Tcp(address) => Ok(Box::new(TcpStream::connect(address).await.map_err(failed)?)),
            Endpoint::Tls { address, certificates } => {
                let config = tls_config(certificates)?;
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
            }
            Endpoint::Ssh { destination, port } => {
                Ok(Box::new(dial_ssh(destination, port.as_deref()).map_err(failed)?))
            }
        }
    }
}

fn tls_config(directory: &Path) -> Result<ClientConfig, TransportError> {
    let bad = |why: String| TransportError::Certificates { directory: directory.display().to_string(), why };
    let read = |file: &str| -> Result<Vec<CertificateDer<'static>>, TransportError> {
        CertificateDer::pem_file_iter(directory.join(file))
            .and_then(Iterator::collect)
            .map_err(|error| bad(format!("{file}: {error}")))
    };
    let mut roots = RootCertStore::empty();
    for certificate in read("ca.pem")? {
        roots.add(certificate).map_err(|error| bad(format!("ca.pem: {error}")))?;
    }
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem"))
        .map_err(|error| bad(format!("key.pem: {error}")))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_root_certificates(roots).with_client_auth_cert(read_chain(&read)?, key)
        })
        .map_err(|error| bad(error.to_string()))
}

fn read_chain(
    read: &impl Fn(&str) -> Result<Vec<CertificateDer<'static>>, TransportError>,
) -> Result<Vec<CertificateDer<'static>>, tokio_rustls::rustls::Error> {
    read("cert.pem").map_err(|error| tokio_rustls::rustls::Error::General(error.to_string()))
}

/// Speaks to the engine of another machine the way the Docker CLI does: `ssh HOST docker system dial-stdio`.
fn dial_ssh(destination: &str, port: Option<&str>) -> io::Result<impl Stream + use<>> {
    let mut command = tokio::process::Command::new("ssh");
    command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]);
    if let Some(port) = port {
        command.args(["-p", port]);
    }
    let mut child = command
        .args(["--", destination, "docker", "system", "dial-stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("ssh was started without pipes"));
    };
    // The child lives as long as the connection: its exit is awaited so that it does not stay behind.
    tokio::spawn(async move { child.wait().await });
    Ok(tokio::io::join(output, input))
}
