//! A request that is under way while other things are done.

use std::future::Future;

use tokio::task::JoinSet;

use super::answer::patience;
use super::error::EngineError;
use crate::host::pulse;

/// The answer to come. The request is given up when nobody waits for it any more.
#[derive(Debug)]
pub struct Asked<T> {
    call: &'static str,
    // A set ends its task when it is dropped.
    request: JoinSet<Result<T, EngineError>>,
}

impl<T: Send + 'static> Asked<T> {
    /// Sends it. `call` is for messages.
    pub(super) fn begin(
        call: &'static str,
        request: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Self {
        let mut asked = Self { call, request: JoinSet::new() };
        asked.request.spawn(request);
        asked
    }

    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// What the request ends with, which has a patience of its own; the wait has the same one, so that it is known to have an end.
    pub async fn answer(mut self) -> Result<T, EngineError> {
        let broken = |why: String| EngineError::Broken { call: self.call.to_owned(), why };
        let patience = patience();
        match pulse::bounded(patience, self.request.join_next()).await {
            Ok(Some(Ok(answer))) => answer,
            Ok(Some(Err(error))) => Err(broken(error.to_string())),
            Ok(None) => Err(broken("it was not asked".to_owned())),
            Err(_) => Err(EngineError::Timeout { call: self.call.to_owned(), patience }),
        }
    }
}
