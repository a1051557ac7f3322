//! The clocks of the host, read here and nowhere else; everywhere else time is a value.

use std::io;
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::gc::ledger::ClockReading;

/// Where Linux tells one boot from the next (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Both clocks at once.
///
/// # Errors
///
/// When `/proc` is not mounted: without a boot identifier a suspended or stepped clock could not be told from a running one.
#[expect(clippy::disallowed_methods, reason = "the clocks are read here and nowhere else")]
pub fn read() -> io::Result<ClockReading> {
    let boot_id = std::fs::read_to_string(BOOT_ID).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {BOOT_ID}: {error}; is /proc mounted?"))
    })?;
    // CLOCK_MONOTONIC stands still while the host is suspended (clock_gettime(2)): nobody watched then (I8).
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(monotonic.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(monotonic.tv_nsec).unwrap_or(0);
    Ok(ClockReading {
        wall: Utc::now(),
        monotonic: Duration::new(seconds, nanoseconds),
        boot_id: boot_id.trim().to_owned(),
    })
}

/// A moment after which something is given up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now. A time too far off to be told never comes.
    #[expect(clippy::disallowed_methods, reason = "the clocks are read here and nowhere else")]
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now().checked_add(patience))
    }

    /// Whether it has come.
    #[expect(clippy::disallowed_methods, reason = "the clocks are read here and nowhere else")]
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
