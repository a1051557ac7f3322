//! A small HTTP server for pages that are only read. It runs on a thread of its own: a sweep never waits for a reader, and a
//! reader never for a sweep.
//!
//! Every limit is here: how many connections, how long a request may take to arrive and an answer to leave, and that nothing
//! but GET and HEAD is answered. hyper speaks HTTP.

mod listener;

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Listen;
pub use listener::ListenError;
use listener::{Listener, Stream, listen};

/// More connections wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 16;

/// How long the head of a request may take to arrive.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may last, its answer included.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(15);

/// The largest head of a request, in bytes; the least that hyper takes.
const LARGEST_HEAD: usize = 8192;

/// How long is waited after a connection could not be accepted, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A page as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

impl Page {
    /// Plain text.
    pub fn plain(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", text: text.into() }
    }
}

/// What is served. To make a page must not block and changes nothing (I10).
pub trait Pages: Send + Sync + 'static {
    /// The page at a path, for a reader that accepts this; none when there is no such page.
    fn page(&self, path: &str, accept: &str) -> Option<Page>;
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
}

impl Server {
    /// Listens.
    pub fn bind(at: &Listen) -> Result<Self, ListenError> {
        Ok(Self { listener: listen(at)? })
    }

    /// Where, with the true port.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Answers on a thread of its own until `stop` is requested.
    pub fn start(self, pages: Arc<dyn Pages>, stop: CancellationToken) -> std::io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(accept_all(self.listener, &pages, &stop)) {
                tracing::error!(%error, "metrics and health are not served any more");
            }
        })
    }
}

async fn accept_all(
    listener: Listener,
    pages: &Arc<dyn Pages>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let listener = listener.into_async()?;
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(std::io::Error::other)?;
            listener.accept().await.map(|stream| (slot, stream))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return Ok(()),
        };
        match accepted {
            Ok((slot, stream)) => {
                let pages = Arc::clone(pages);
                tokio::spawn(async move {
                    serve(stream, pages).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a reader of metrics was not served");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request: a reader that keeps its connection would keep its slot.
async fn serve(stream: Box<dyn Stream>, pages: Arc<dyn Pages>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &*pages);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .keep_alive(false)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION_PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a reader of metrics went away"),
        Err(_) => tracing::debug!("a reader of metrics was too slow"),
    }
}

fn respond(request: &Request<Incoming>, pages: &dyn Pages) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refusal =
            Page::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here\n");
        let mut response = response(refusal);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = request.headers().get(header::ACCEPT).map_or("", |accept| accept.to_str().unwrap_or(""));
    let page = pages.page(request.uri().path(), accept);
    response(page.unwrap_or_else(|| Page::plain(StatusCode::NOT_FOUND, "there is no such page\n")))
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.text)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
