//! Follows the engine's events for as long as the service runs, and keeps what they come to until somebody asks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::events::Events;
use super::past::Past;
use super::{Engine, EngineError};
use crate::gc::ledger::ClockReading;
use crate::gc::news::{News, Tracker};
use crate::gc::watch::{Followed, Watch};
use crate::host::clock;

/// The first wait after a connection was lost, and the longest. Doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The wait when the address answers that it has no events, as a socket proxy that denies them.
const DENIED_WAIT: Duration = Duration::from_hours(1);

/// After this time without an event the stream is made anew: it may be dead without a word, and nothing is lost by it.
const SILENCE: Duration = Duration::from_mins(10);

/// The most stretches of followed time that are remembered. Of an engine that comes and goes more often, the first ones count no
/// more, which can only delay.
const MOST_STRETCHES: usize = 256;

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
    /// Through which time the events were followed.
    followed: Vec<Followed>,
    /// Whether the engine answers and has no events to tell.
    is_denied: bool,
}

/// How a stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Beginning {
    /// Nothing was missed since the end of the one before, or since the time that was asked for.
    Continued {
        /// That time.
        from: ClockReading,
    },
    /// Something may have been missed before this.
    Anew {
        /// Now.
        at: ClockReading,
    },
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

    /// Takes what happened alone.
    pub fn news(&self) -> News {
        self.state().tracker.drain()
    }

    /// Puts back what could not be written down, for whoever asks next. Nobody is woken: there is nothing new.
    pub fn put_back(&self, news: News) {
        self.state().tracker.put_back(news);
    }

    /// Who watched until now: this service as far as it followed the events, or nobody where the engine tells of none.
    pub fn watch(&self) -> Watch {
        let state = self.state();
        if state.is_denied { Watch::Sweeps } else { Watch::Events(state.followed.clone()) }
    }

    /// Forgets what was followed: another engine is followed from now on.
    pub fn forget(&self) {
        self.state().followed.clear();
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

    fn connect(&self, beginning: Beginning) {
        let mut state = self.state();
        state.is_denied = false;
        state.begin(beginning);
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
        state.is_denied = true;
        state.connected |= !state.was_connected;
        if !std::mem::replace(&mut state.was_connected, true) {
            tracing::warn!(event = "events_lost", "no events from the engine, sweeps go on without: {why}");
            self.arrived.notify_one();
        }
        state.lost = None;
    }

    /// There is no stream any more; the last one told of everything until then.
    fn lose(&self, why: String, followed: &ClockReading) {
        let mut state = self.state();
        state.end(followed);
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

impl State {
    fn begin(&mut self, beginning: Beginning) {
        match beginning {
            Beginning::Continued { from } => match self.followed.last_mut() {
                Some(last) => last.until = None,
                None => self.followed.push(Followed { from, until: None }),
            },
            Beginning::Anew { at } => {
                self.end(&at);
                self.followed.push(Followed { from: at, until: None });
            }
        }
        if self.followed.len() > MOST_STRETCHES {
            self.followed.remove(0);
        }
    }

    fn end(&mut self, at: &ClockReading) {
        if let Some(Followed { until: until @ None, .. }) = self.followed.last_mut() {
            *until = Some(at.clone());
        }
    }
}

/// Follows, and comes back when the clock cannot be read. What was lost while there was no stream is asked for again, as far as
/// the engine still knows; so is what came since the last sweep, whose clocks were `last`.
pub async fn follow(endpoint: Endpoint, inbox: &Inbox, last: Option<ClockReading>) -> std::io::Result<()> {
    let now = clock::read()?;
    // Of another boot the engine knows nothing.
    let followed = last.filter(|last| last.boot_id == now.boot_id).unwrap_or(now);
    let mut place = Place { since: followed.wall, followed };
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        let end = stream(endpoint.clone(), &mut place, inbox).await;
        if began.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        match end {
            // Made anew at once: nothing is wrong.
            Ok(()) => continue,
            Err(Lost::Denied(why)) => {
                inbox.deny(&why);
                tokio::time::sleep(DENIED_WAIT).await;
                continue;
            }
            Err(Lost::Broken(why)) => inbox.lose(why, &place.followed),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// How far the events were followed.
struct Place {
    /// The engine's time of the last event: from there on it is asked again.
    since: DateTime<Utc>,
    /// Until when nothing was missed, by our clocks.
    followed: ClockReading,
}

enum Lost {
    /// The engine answers that it has no events.
    Denied(String),
    /// It does not answer, or not any more.
    Broken(String),
}

impl From<EngineError> for Lost {
    fn from(error: EngineError) -> Self {
        if matches!(error, EngineError::Status { code: 400..500, .. }) {
            Self::Denied(error.to_string())
        } else {
            Self::Broken(error.to_string())
        }
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// One stream to its end; `Ok` when it was silent for long and is to be made anew.
async fn stream(endpoint: Endpoint, place: &mut Place, inbox: &Inbox) -> Result<(), Lost> {
    let engine = Engine::connect(endpoint).await?;
    let events = engine.events(place.since).await?;
    inbox.connect(begin(&engine, &place.followed).await?);
    let end = listen(&engine, events, &mut place.since, inbox).await;
    // Whatever ended it: until now it told of what there was.
    place.followed = clock::read()?;
    end
}

/// Whether the stream that was just made goes on where the one before ended. Asked after it was made: what the engine keeps now it
/// kept then.
async fn begin(engine: &Engine, followed: &ClockReading) -> Result<Beginning, Lost> {
    let at = clock::read()?;
    let kept = engine.past().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "what happened before is not known");
        Past::default()
    });
    Ok(match Watch::since(followed, &at, kept.oldest) {
        Watch::Events(_) => Beginning::Continued { from: followed.clone() },
        Watch::Sweeps => Beginning::Anew { at },
    })
}

async fn listen(
    engine: &Engine,
    mut events: Events,
    since: &mut DateTime<Utc>,
    inbox: &Inbox,
) -> Result<(), Lost> {
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
                Ok(None) => return Err(Lost::Broken("it ended the stream".to_owned())),
                Err(why) => return Err(Lost::Broken(format!("the stream broke: {why}"))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> ClockReading {
        ClockReading {
            wall: DateTime::from_timestamp(1_800_000_000 + i64::try_from(seconds).unwrap(), 0).unwrap(),
            monotonic: Duration::from_secs(seconds),
            boot_id: "b".to_owned(),
        }
    }

    fn followed(inbox: &Inbox) -> Vec<(u64, Option<u64>)> {
        let Watch::Events(stretches) = inbox.watch() else { panic!("nobody follows") };
        let shown = |one: &Followed| {
            (one.from.monotonic.as_secs(), one.until.as_ref().map(|until| until.monotonic.as_secs()))
        };
        stretches.iter().map(shown).collect()
    }

    #[test]
    fn time_counts_from_the_last_sweep_on_when_nothing_was_missed_since_else_from_now_on() {
        let inbox = Inbox::default();
        assert_eq!(followed(&inbox), [], "no stream yet");
        inbox.connect(Beginning::Continued { from: at(10) });
        assert_eq!(followed(&inbox), [(10, None)]);
        let inbox = Inbox::default();
        inbox.connect(Beginning::Anew { at: at(70) });
        assert_eq!(followed(&inbox), [(70, None)]);
    }

    #[test]
    fn time_without_a_stream_counts_only_when_nothing_was_missed_in_it() {
        let inbox = Inbox::default();
        inbox.connect(Beginning::Anew { at: at(10) });
        inbox.lose("it ended".to_owned(), &at(20));
        inbox.lose("it does not answer".to_owned(), &at(20));
        assert_eq!(followed(&inbox), [(10, Some(20))]);
        inbox.connect(Beginning::Continued { from: at(20) });
        assert_eq!(followed(&inbox), [(10, None)], "a proxy had ended it");
        inbox.lose("it ended".to_owned(), &at(30));
        inbox.connect(Beginning::Anew { at: at(40) });
        assert_eq!(followed(&inbox), [(10, Some(30)), (40, None)], "the engine was restarted");
        // One that was silent for long is made anew while it is there.
        inbox.connect(Beginning::Anew { at: at(50) });
        assert_eq!(followed(&inbox), [(10, Some(30)), (40, Some(50)), (50, None)]);
    }

    #[test]
    fn where_the_engine_tells_of_nothing_the_sweeps_count_by_themselves() {
        let inbox = Inbox::default();
        inbox.deny("403");
        assert_eq!(inbox.watch(), Watch::Sweeps);
        inbox.connect(Beginning::Anew { at: at(10) });
        assert_eq!(followed(&inbox), [(10, None)]);
        inbox.forget();
        assert_eq!(followed(&inbox), []);
    }

    #[test]
    fn an_engine_that_comes_and_goes_takes_no_more_memory() {
        let inbox = Inbox::default();
        for start in 0..1000 {
            inbox.connect(Beginning::Anew { at: at(start * 10) });
            inbox.lose("it ended".to_owned(), &at(start * 10 + 5));
        }
        assert_eq!(followed(&inbox).len(), MOST_STRETCHES);
    }
}
