//! Requests that the engine takes long for. Each is waited for with patience, and a dead plugin makes every one of them slow: so volgc
//! says once which answer it waits for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::host::fault::{self, Setting};
use crate::host::pulse;

/// How long a request may take before that is said. The engine dials a plugin for 15 s and more before it gives up (moby `pkg/plugins`,
/// 20.10 to 29).
const SLOW: Duration = Duration::from_secs(10);

fn slow() -> Duration {
    Duration::from_millis(fault::limit(Setting::SlowAnswer, SLOW.as_secs() * 1000))
}

/// Whether it was said of this engine already. Copies are one.
#[derive(Debug, Clone, Default)]
pub(super) struct SlowAnswers(Arc<AtomicBool>);

impl SlowAnswers {
    /// Waits for an answer, but no longer than `patience`, and says so when it takes long.
    pub(super) fn bounded<F: Future>(
        &self,
        call: &str,
        patience: Duration,
        answer: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        self.bounded_after(slow(), call, patience, answer)
    }

    fn bounded_after<F: Future>(
        &self,
        slow: Duration,
        call: &str,
        patience: Duration,
        answer: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        // Boxed before anything is awaited: some requests are large.
        let mut answer = Box::pin(pulse::bounded(patience, answer));
        async move {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::time::sleep(slow) => self.warn(slow, call, patience),
            }
            answer.await
        }
    }

    fn warn(&self, slow: Duration, call: &str, patience: Duration) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            "the engine has not answered {call} within {} s, and volgc waits for it up to {} s; this is said once, and other requests \
             may take as long. A volume plugin whose program is gone delays each of them: look at `docker plugin ls`, and for a socket \
             or specification that nobody serves any more in /run/docker/plugins, /etc/docker/plugins and /usr/lib/docker/plugins. An \
             engine that deletes a large volume is slow, too",
            slow.as_secs_f32(),
            patience.as_secs_f32()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_takes_long_is_waited_for_and_said_once() {
        let answers = SlowAnswers::default();
        let after = |millis| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            millis
        };
        let (never, slow, patience) =
            (Duration::from_hours(1), Duration::from_millis(20), Duration::from_mins(1));
        assert_eq!(answers.bounded_after(never, "GET /info", patience, after(1)).await, Ok(1));
        assert!(!answers.0.load(Ordering::Relaxed), "that is not long");
        let copy = answers.clone();
        assert_eq!(copy.bounded_after(slow, "GET /info", patience, after(60)).await, Ok(60));
        assert!(answers.0.load(Ordering::Relaxed));
        let end = Duration::from_millis(40);
        assert!(
            copy.bounded_after(slow, "GET /info", end, after(60_000)).await.is_err(),
            "patience has an end"
        );
    }
}
