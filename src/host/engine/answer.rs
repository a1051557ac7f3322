//! One answer of the engine to a GET: fetched whole, then read.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde::de::DeserializeOwned;

use super::error::{EngineError, chain, unreachable_or_broken};
use super::transport::Transport;
use crate::host::fault::{self, Setting};

/// How long a GET may take, to its last byte. A list waits for the engine's own removals to end.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) fn patience() -> Duration {
    Duration::from_millis(fault::limit(Setting::AnswerPatience, PATIENCE.as_secs() * 1000))
}

/// The largest answer that is read, in bytes: 100,000 volumes are about 60 MB.
const LARGEST: usize = 512 << 20;

/// A good answer (200), whole and not read yet: reading a long list takes a while, in which the engine can be asked something else.
#[derive(Debug)]
pub struct Answer<T> {
    path: String,
    body: Bytes,
    form: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Answer<T> {
    /// Sends the request and waits for the last byte.
    pub(super) async fn fetch(transport: &Transport, path: String) -> Result<Self, EngineError> {
        let call = || format!("GET {path}");
        let patience = patience();
        let answer = transport.slow().bounded(&call(), patience, fetch_body(transport, &path)).await;
        let (status, body) = answer.map_err(|_| EngineError::Timeout { call: call(), patience })??;
        if status != StatusCode::OK {
            return Err(EngineError::Status { call: call(), code: status.as_u16(), message: message(&body) });
        }
        Ok(Self { path, body, form: PhantomData })
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// When it is not what the API promises.
    pub fn read(&self) -> Result<T, EngineError> {
        serde_json::from_slice(&self.body).map_err(|error| EngineError::Shape {
            call: format!("GET {}", self.path),
            why: error.to_string(),
        })
    }
}

/// The engine's words in an answer that is an error.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).trim().chars().take(300).collect(),
        |Message { message }| message,
    )
}

async fn fetch_body(transport: &Transport, path: &str) -> Result<(StatusCode, Bytes), EngineError> {
    let broken = |why: String| EngineError::Broken { call: format!("GET {path}"), why };
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(error.to_string()))?;
    let response = transport.send(request).await.map_err(|error| unreachable_or_broken(error, path))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| broken(chain(error.as_ref())))?;
    Ok((status, body.to_bytes()))
}
