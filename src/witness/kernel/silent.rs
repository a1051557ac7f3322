//! Looks at file systems that may never answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::host::clock::Deadline;
use crate::host::patient;
use crate::host::proc::mountinfo::Device;

/// How long the first file system may take that does not answer: a FUSE server may be behind it. Each one after it has less time, so that
/// all of them together take no more than twice as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long one that did not answer is left alone. Its device number is another one's some day, which must not be taken for it (I2).
const PAUSE: Duration = Duration::from_mins(10);

static SILENT: Mutex<Silent> = Mutex::new(Silent(BTreeMap::new()));

/// File systems that did not answer, and until when each is left alone.
struct Silent(BTreeMap<Device, Deadline>);

impl Silent {
    fn has(&mut self, device: Device) -> bool {
        self.0.retain(|_, until| !until.has_passed());
        self.0.contains_key(&device)
    }
}

/// Looks at a file system; none when it does not answer.
pub(super) fn ask<T: Send + 'static>(device: Device, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let silent = || SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    if silent().has(device) {
        return None;
    }
    let count = u32::try_from(silent().0.len()).unwrap_or(u32::MAX).saturating_add(1);
    let answer = patient::one(PATIENCE / count.saturating_mul(count), look);
    if answer.is_none() {
        tracing::warn!(
            "the file system {}:{} does not answer: find it by that number (`findmnt -o MAJ:MIN,TARGET`), and look for a FUSE server that hangs",
            device.major,
            device.minor
        );
        silent().0.insert(device, Deadline::after(PAUSE));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_did_not_answer_is_left_alone_for_a_while_and_no_other_one_is() {
        let device = |minor| Device { major: 0, minor };
        let mut silent = Silent(BTreeMap::from([
            (device(1), Deadline::after(PAUSE)),
            (device(2), Deadline::after(Duration::ZERO)),
        ]));
        assert!(silent.has(device(1)));
        assert!(!silent.has(device(2)) && !silent.has(device(3)));
        assert_eq!(silent.0.len(), 1, "what is over is not counted");
    }
}
