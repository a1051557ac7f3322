//! Follows the engine's events for as long as the service runs, and keeps what they come to until somebody asks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::{Engine, EngineError};
use crate::gc::news::{News, Tracker};
use crate::host::clock;

/// The first wait after a connection was lost, and the longest. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The wait when the address answers that it has no events, as a socket proxy that denies them.
const DENIED_WAIT: Duration = Duration::from_hours(1);

/// After this time without an event the stream is made anew: it may be dead without a word, and nothing is lost by it.
const SILENCE: Duration = Duration::from_mins(10);

/// What the engine told, kept until it is asked for.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
    check: Notify,
}

#[derive(Debug, Default)]
struct State {
    tracker: Tracker,
    /// The engine answers again, and nobody was told yet.
    connected: bool,
    /// Why there is no stream; as in the beginning.
    lost: Option<String>,
    /// How often in a row there was none.
    failures: u32,
    was_connected: bool,
}

/// What became known since it was asked last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mail {
    /// Whether the engine answers for the first time, or again.
    pub connected: bool,
    /// What happened.
    pub news: News,
}

impl Inbox {
    /// Waits until there is something to ask for.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what there is.
    pub fn take(&self) -> Mail {
        let mut state = self.state();
        Mail { connected: std::mem::take(&mut state.connected), news: state.tracker.drain() }
    }

    /// Why the engine does not answer; none when it does.
    pub fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    /// Has the stream looked at: whether the engine still answers. Called in the service's own rhythm, so that an idle host is
    /// woken once for both.
    pub fn check(&self) {
        self.check.notify_one();
    }

    /// Changes what is known of containers.
    pub fn teach(&self, change: impl FnOnce(&mut Tracker)) {
        let mut state = self.state();
        change(&mut state.tracker);
        if state.tracker.has_news() {
            self.arrived.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) {
        let mut state = self.state();
        let was_lost = state.lost.take().is_some();
        // A silent stream that was made anew is no news.
        state.connected |= was_lost || !state.was_connected;
        state.was_connected = true;
        if std::mem::take(&mut state.failures) > 1 {
            tracing::info!(event = "events_again", "the engine tells of events again");
        }
        if state.connected {
            self.arrived.notify_one();
        }
    }

    /// The engine answers, and tells of nothing.
    fn deny(&self, why: &str) {
        let mut state = self.state();
        state.connected |= !state.was_connected;
        if !std::mem::replace(&mut state.was_connected, true) {
            tracing::warn!(event = "events_lost", "no events from the engine, sweeps go on without: {why}");
            self.arrived.notify_one();
        }
        state.lost = None;
    }

    fn lose(&self, why: String) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        // An engine that restarts, or a proxy that ends what is old, is no reason to complain: the next try mostly succeeds.
        if state.failures == 2 {
            tracing::warn!(event = "events_lost", "no events from the engine, sweeps go on without: {why}");
        } else {
            tracing::debug!("no events from the engine: {why}");
        }
        state.lost = Some(why);
    }
}

/// Follows, and comes back when the clock cannot be read. What was lost while there was no stream is asked for again, as far as
/// the engine still knows.
pub async fn follow(endpoint: Endpoint, inbox: &Inbox) -> std::io::Result<()> {
    let mut since = clock::read()?.wall;
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        let end = stream(endpoint.clone(), &mut since, inbox).await;
        if began.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        match end {
            // Made anew at once: nothing is wrong.
            Ok(()) => continue,
            Err(Lost { why, is_denied }) => {
                if is_denied {
                    inbox.deny(&why);
                    tokio::time::sleep(DENIED_WAIT).await;
                    continue;
                }
                inbox.lose(why);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Lost {
    why: String,
    is_denied: bool,
}

impl From<EngineError> for Lost {
    fn from(error: EngineError) -> Self {
        let is_denied = matches!(error, EngineError::Status { code: 400..500, .. });
        Self { why: error.to_string(), is_denied }
    }
}

/// One stream to its end; `Ok` when it was silent for long and is to be made anew.
async fn stream(endpoint: Endpoint, since: &mut DateTime<Utc>, inbox: &Inbox) -> Result<(), Lost> {
    let engine = Engine::connect(endpoint).await?;
    let mut events = engine.events(*since).await?;
    inbox.connect();
    let lost = |why: String| Lost { why, is_denied: false };
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            next = events.next() => match next {
                Ok(Some((event, at))) => {
                    heard = Instant::now();
                    *since = at.max(*since);
                    if let Some(event) = event {
                        inbox.teach(|tracker| tracker.take(event));
                    }
                }
                Ok(None) => return Err(lost("it ended the stream".to_owned())),
                Err(why) => return Err(lost(format!("the stream broke: {why}"))),
            },
            () = inbox.check.notified() => {
                if heard.elapsed() > SILENCE {
                    return Ok(());
                }
                engine.ping().await?;
            }
        }
    }
}
