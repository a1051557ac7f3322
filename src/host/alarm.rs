//! An alarm at a time of the wall clock that notices when that clock is set.

use std::future::pending;
use std::io;

use chrono::{DateTime, Utc};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Why the alarm woke somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The time came. Also after a suspend that it fell into: the wall clock goes on meanwhile.
    Due,
    /// Somebody set the clock, so that the time may be another by now.
    ClockSet,
}

/// One time of the wall clock. Until then nobody is woken: a sleep by the monotonic clock would have to be cut into pieces to
/// look whether the wall clock was set or the host was suspended (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`).
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    is_set: bool,
}

impl Alarm {
    /// One that is not set. Needs the runtime.
    #[expect(
        deprecated,
        reason = "tokio warns of types that may exchange their descriptor; `OwnedFd` owns one for life"
    )]
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { timer: AsyncFd::new(timer)?, is_set: false })
    }

    /// Sets it; a time that is over is due at once. With none it never wakes anybody.
    pub fn set(&mut self, at: Option<DateTime<Utc>>) -> io::Result<()> {
        self.is_set = at.is_some();
        // A value of zero would disarm it.
        let seconds = at.map_or(0, |at| at.timestamp().max(1));
        let nanoseconds = at.map_or(0, |at| i64::from(at.timestamp_subsec_nanos().min(999_999_999)));
        let value = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(self.timer.get_ref(), flags, &value) {
            // It is set all the same when the clock was set since it was asked last (Linux, fs/timerfd.c).
            Ok(_) | Err(Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for it.
    pub async fn wait(&self) -> io::Result<Woken> {
        if !self.is_set {
            return pending().await;
        }
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0_u8; 8];
            match rustix::io::read(self.timer.get_ref(), &mut expirations) {
                Ok(_) => return Ok(Woken::Due),
                Err(Errno::CANCELED) => return Ok(Woken::ClockSet),
                Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::clock;

    #[tokio::test]
    async fn it_wakes_at_its_time_and_at_once_when_that_is_over() {
        let mut alarm = Alarm::new().unwrap();
        let now = || clock::read().unwrap().wall;
        let at = now() + Duration::from_millis(150);
        alarm.set(Some(at)).unwrap();
        assert_eq!(alarm.wait().await.unwrap(), Woken::Due);
        assert!(now() >= at);
        for past in [now() - Duration::from_hours(1), DateTime::UNIX_EPOCH] {
            alarm.set(Some(past)).unwrap();
            assert_eq!(alarm.wait().await.unwrap(), Woken::Due);
        }
    }

    #[tokio::test]
    async fn one_that_is_not_set_wakes_nobody() {
        let mut alarm = Alarm::new().unwrap();
        for at in [None, Some(clock::read().unwrap().wall + Duration::from_hours(1))] {
            alarm.set(at).unwrap();
            tokio::time::timeout(Duration::from_millis(50), alarm.wait()).await.unwrap_err();
        }
    }
}
