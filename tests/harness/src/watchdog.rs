//! Ends a test process in which one test hangs: the test runner itself would wait for ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Much longer than any test takes on a loaded machine.
const LIMIT: Duration = Duration::from_mins(15);

static RUNNING: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

fn running() -> MutexGuard<'static, BTreeMap<u64, (String, Instant)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends with the test that is watched.
#[derive(Debug)]
pub(crate) struct Watch(u64);

/// Watches the test of this thread.
pub(crate) fn watch() -> Watch {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(Duration::from_secs(5));
                for (name, since) in running().values() {
                    if since.elapsed() > LIMIT {
                        eprintln!("{name} runs for more than {} minutes: given up", LIMIT.as_secs() / 60);
                        std::process::abort();
                    }
                }
            }
        });
    });
    let mut running = running();
    let number = running.last_key_value().map_or(0, |(last, _)| last + 1);
    running.insert(number, (thread::current().name().unwrap_or("a test").to_owned(), Instant::now()));
    Watch(number)
}

impl Drop for Watch {
    fn drop(&mut self) {
        running().remove(&self.0);
    }
}
