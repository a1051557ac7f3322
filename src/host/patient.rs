//! Looks that may never end. A dead network or FUSE file system answers no system call, and nothing interrupts one from here; so each look
//! has a thread, which is left behind when it takes too long. The program ends all the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How long one look at a directory may take. A disk that spins up, or a host that swaps, takes seconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a look is checked on.
const TICK: Duration = Duration::from_millis(100);

/// More threads only wait for each other.
const MOST_WORKERS: usize = 16;

/// Looks once; none when there is no answer in time, or the look failed.
#[expect(
    clippy::disallowed_methods,
    reason = "what does not answer in time is no answer, which each caller has to say what it means"
)]
pub fn one<R: Send + 'static>(patience: Duration, look: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    let (tell, told) = mpsc::channel();
    let looking = thread::Builder::new().name("volgc-look".to_owned()).spawn(move || {
        // Nobody listens any more when it took too long.
        drop(tell.send(look()));
    });
    match looking {
        Ok(_) => told.recv_timeout(patience).ok(),
        Err(error) => {
            tracing::warn!(%error, "no thread for a look");
            None
        }
    }
}

/// Looks at each, several at once; none for what does not answer in time. The others are looked at all the same.
pub fn each<T, R>(
    patience: Duration,
    items: Vec<T>,
    look: impl Fn(&T) -> R + Send + Sync + 'static,
) -> Vec<(T, Option<R>)>
where
    T: Clone + Send + Sync + 'static,
    R: Clone + Send + Sync + 'static,
{
    let answers = std::iter::repeat_with(OnceLock::new).take(items.len()).collect();
    let round = Arc::new(Round { items, answers, next: AtomicUsize::new(0), look: Box::new(look) });
    watch(&round, patience);
    match Arc::try_unwrap(round) {
        Ok(round) => round
            .items
            .into_iter()
            .zip(round.answers)
            .map(|(item, answer)| (item, answer.into_inner()))
            .collect(),
        // A thread that was left behind has it too, or one that has just ended.
        Err(round) => {
            let answers = round.answers.iter().map(|answer| answer.get().cloned());
            round.items.iter().cloned().zip(answers).collect()
        }
    }
}

struct Round<T, R> {
    items: Vec<T>,
    answers: Vec<OnceLock<R>>,
    next: AtomicUsize,
    look: Box<dyn Fn(&T) -> R + Send + Sync>,
}

/// What is known of one thread.
struct Worker {
    /// How many looks it has begun.
    begun: Arc<AtomicUsize>,
    is_left_behind: Arc<AtomicBool>,
    seen: usize,
    waited: Duration,
}

/// Waits until every look has ended or taken too long. In the place of a thread that is left behind comes another one.
fn watch<T, R>(round: &Arc<Round<T, R>>, patience: Duration)
where
    T: Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let (tell, ended) = mpsc::channel();
    let count = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_WORKERS);
    let mut workers: Vec<Worker> =
        (0..count.min(round.items.len())).filter_map(|_| start(round, &tell)).collect();
    let mut running = workers.len();
    while running > 0 {
        match ended.recv_timeout(TICK) {
            Ok(()) => running -= 1,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                for worker in &mut workers {
                    let begun = worker.begun.load(Ordering::Acquire);
                    worker.waited = if begun == worker.seen { worker.waited + TICK } else { Duration::ZERO };
                    worker.seen = begun;
                }
                let (slow, others): (Vec<_>, Vec<_>) =
                    workers.into_iter().partition(|worker| worker.waited >= patience);
                workers = others;
                for worker in slow {
                    // One that has ended has nothing to leave; it is counted out by its word.
                    if !worker.is_left_behind.swap(true, Ordering::AcqRel) {
                        running -= 1;
                        if let Some(other) = start(round, &tell) {
                            workers.push(other);
                            running += 1;
                        }
                    }
                }
            }
        }
    }
}

fn start<T, R>(round: &Arc<Round<T, R>>, tell: &Sender<()>) -> Option<Worker>
where
    T: Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    let worker =
        Worker { begun: Arc::default(), is_left_behind: Arc::default(), seen: 0, waited: Duration::ZERO };
    let (round, tell) = (Arc::clone(round), tell.clone());
    let (begun, is_left_behind) = (Arc::clone(&worker.begun), Arc::clone(&worker.is_left_behind));
    let looking = thread::Builder::new().name("volgc-look".to_owned()).spawn(move || {
        loop {
            let at = round.next.fetch_add(1, Ordering::Relaxed);
            begun.fetch_add(1, Ordering::AcqRel);
            let (Some(item), Some(answer)) = (round.items.get(at), round.answers.get(at)) else { break };
            // Whoever is set first counts: nobody else looks at this one.
            drop(answer.set((round.look)(item)));
            if is_left_behind.load(Ordering::Acquire) {
                return;
            }
        }
        drop(round);
        if !is_left_behind.swap(true, Ordering::AcqRel) {
            // Nobody listens any more when the others had ended.
            let _sent = tell.send(());
        }
    });
    match looking {
        Ok(_) => Some(worker),
        Err(error) => {
            tracing::warn!(%error, "no thread for a look");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    fn never() {
        loop {
            thread::park();
        }
    }

    #[test]
    fn what_never_answers_stops_nothing_else() {
        let hangs = |number: &usize| number.is_multiple_of(10);
        let told = each(SHORT, (0..100).collect(), move |number| {
            if hangs(number) {
                never();
            }
            number * 2
        });
        assert_eq!(told.len(), 100);
        for (number, answer) in told {
            assert_eq!(answer, (!hangs(&number)).then_some(number * 2), "{number}");
        }
    }

    #[test]
    fn many_looks_that_are_slow_together_are_all_waited_for() {
        let told = each(SHORT, (0..200).collect::<Vec<usize>>(), |number| {
            thread::sleep(Duration::from_millis(20));
            *number
        });
        assert!(told.iter().all(|(number, answer)| *answer == Some(*number)));
        assert_eq!(each(SHORT, Vec::<u8>::new(), |number| *number), []);
    }

    #[test]
    fn one_look_is_given_up_in_time() {
        assert_eq!(one(SHORT, || 7), Some(7));
        assert_eq!(one(SHORT, never), None);
    }
}
