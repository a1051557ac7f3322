//! The watchdog: fed from the loop while it is free, and from what the job in hand comes to while one runs.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::host::pulse::Seen;
use crate::host::systemd::ServiceManager;

/// The rhythm where no watchdog gives one: how often the connection to the engine is looked at.
const WITHOUT_WATCHDOG: Duration = Duration::from_mins(5);

/// The one timer of an idle service beside its schedule.
#[derive(Debug)]
pub(super) struct Heart {
    limit: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    is_free: bool,
    seen: Seen,
}

impl Heart {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let timer = Box::pin(sleep(Duration::ZERO));
        let mut heart = Self { limit, timer, is_free: true, seen: Seen::now() };
        heart.wind();
        heart
    }

    /// Waits for the next beat.
    pub(super) async fn next(&mut self) {
        self.timer.as_mut().await;
    }

    /// Whether no job runs.
    pub(super) fn rest(&mut self, is_free: bool) {
        self.is_free = is_free;
    }

    /// A job begins: from now on the watchdog is fed only when it comes further.
    pub(super) fn work_begins(&mut self, manager: &ServiceManager) {
        self.seen = Seen::now();
        self.is_free = false;
        self.feed(manager);
        self.wind();
    }

    /// The job ended, which is a sign of life. The timer is left as it is: a job of a moment costs no wakeup.
    pub(super) fn work_ended(&mut self, manager: &ServiceManager) {
        self.is_free = true;
        self.feed(manager);
    }

    /// Feeds, unless a job runs and did not come further since the last beat.
    pub(super) fn beat(&mut self, manager: &ServiceManager) {
        if self.is_free || self.seen.goes_on() {
            self.feed(manager);
        } else {
            tracing::warn!(
                "the work in hand has not come further for a while; if it hangs, the watchdog ends the service"
            );
        }
        self.wind();
    }

    fn feed(&self, manager: &ServiceManager) {
        if self.limit.is_some() {
            manager.feed();
        }
    }

    /// Half the limit, as `sd_watchdog_enabled(3)` asks for. A third while a job runs: one beat may find that it did not come
    /// further, and the next one that it did.
    fn wind(&mut self) {
        let rhythm = self.limit.map_or(WITHOUT_WATCHDOG, |limit| limit / if self.is_free { 2 } else { 3 });
        self.timer.as_mut().reset(Instant::now() + rhythm);
    }
}
