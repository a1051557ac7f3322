//! Whether the work in hand goes on. The service feeds its watchdog from this, so that a hang ends it and long work does not.
//!
//! Work goes on when it [`beat`]s: with each step, each directory of a deletion, each retry; or while it waits for something
//! that is given up after a time of its own ([`bounded`]). What does neither for too long hangs: a system call on a dead file
//! system, a lock that is never given back. One count for the whole process, as there is one watchdog for it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::error::Elapsed;

tokio::task_local! {
    /// Set inside of the work that the service watches. Other tasks, such as the one that hears the engine's events, wait too;
    /// what they do is no sign of life of the work.
    static WATCHED: ();
}

static BEATS: AtomicU64 = AtomicU64::new(0);
static BOUNDED: AtomicU64 = AtomicU64::new(0);

/// The work has come further.
pub fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// Work whose waits count, see [`bounded`].
pub async fn watched<F: Future>(work: F) -> F::Output {
    WATCHED.scope((), work).await
}

/// Waits for `future`, but no longer than `patience`. A wait that has an end is no hang.
pub async fn bounded<F: Future>(patience: Duration, future: F) -> Result<F::Output, Elapsed> {
    let _waiting = WATCHED.try_with(|()| Waiting::begin());
    tokio::time::timeout(patience, future).await
}

/// How far the work was when it was looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// How far it is now.
    pub fn now() -> Self {
        Self(BEATS.load(Ordering::Relaxed))
    }

    /// Whether the work came further since, or waits for something that has an end. Looks from now on.
    pub fn goes_on(&mut self) -> bool {
        let now = Self::now();
        let is_waiting = BOUNDED.load(Ordering::Relaxed) > 0;
        let has_moved = *self != now;
        *self = now;
        has_moved || is_waiting
    }
}

struct Waiting;

impl Waiting {
    fn begin() -> Self {
        BOUNDED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        BOUNDED.fetch_sub(1, Ordering::Relaxed);
        beat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the count is the process's.
    #[tokio::test]
    async fn work_goes_on_when_it_beats_or_waits_for_what_has_an_end() {
        let mut seen = Seen::now();
        assert!(!seen.goes_on());
        beat();
        assert!(seen.goes_on());
        assert!(!seen.goes_on());
        let never = || bounded(Duration::from_millis(20), std::future::pending::<()>());
        assert!(never().await.is_err());
        assert!(!seen.goes_on(), "somebody else waited");
        let wait = watched(never());
        tokio::pin!(wait);
        tokio::select! {
            biased;
            _ = &mut wait => panic!("it never comes"),
            () = std::future::ready(()) => {}
        }
        assert!(seen.goes_on());
        assert!(seen.goes_on(), "it still waits");
        assert!(wait.await.is_err());
        assert!(seen.goes_on(), "the wait has ended");
        assert!(!seen.goes_on());
    }
}
