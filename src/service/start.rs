//! The time until the first complete look. The service counts as started when it has one, or when it has waited long enough for an
//! engine that is not up yet; it goes on waiting, and tries again.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// After this long the service counts as started all the same, so that what starts after it does not wait for Docker.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// The first wait before another try, and the longest. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What the start waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another try.
    Retry,
    /// To count as started.
    LongEnough,
}

#[derive(Debug)]
pub(super) struct Start {
    is_over: bool,
    is_ready: bool,
    wait: Duration,
    retry: Option<Pin<Box<Sleep>>>,
    long_enough: Pin<Box<Sleep>>,
}

impl Start {
    pub(super) fn new() -> Self {
        Self {
            is_over: false,
            is_ready: false,
            wait: FIRST_WAIT,
            retry: None,
            long_enough: Box::pin(sleep(LONG_ENOUGH)),
        }
    }

    /// Whether there was a complete look.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the service manager was told that the service has started.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether it is to be told now.
    pub(super) fn becomes_ready(&mut self) -> bool {
        !std::mem::replace(&mut self.is_ready, true)
    }

    /// There was a complete look.
    pub(super) fn over(&mut self) {
        self.is_over = true;
        self.retry = None;
    }

    /// There was none; says how long until the next try.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        self.retry = Some(Box::pin(sleep(wait)));
        wait
    }

    /// Waits for the time of the next try, if one may be made, or until the service counts as started without a look.
    pub(super) async fn next(&mut self, may_try: bool) -> Next {
        let is_ready = self.is_ready;
        let retry = async {
            match &mut self.retry {
                Some(retry) if may_try => retry.as_mut().await,
                Some(_) | None => pending().await,
            }
        };
        let long_enough = async {
            if is_ready {
                pending::<()>().await;
            } else {
                self.long_enough.as_mut().await;
            }
        };
        let next = tokio::select! {
            () = retry => Next::Retry,
            () = long_enough => Next::LongEnough,
        };
        if next == Next::Retry {
            self.retry = None;
        }
        next
    }
}
