//! What systemd is told of the service, and how often it wants to hear (`sd_notify(3)`, `sd_watchdog_enabled(3)`). Without
//! systemd nothing is told to anybody.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
    last_line: String,
}

impl ServiceManager {
    /// What the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        // A watchdog of no time at all is none.
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self { watchdog, last_line: String::new() }
    }

    /// After how long without [`Self::feed`] the service is killed; none when nobody watches.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// `READY=1`: started, or done with a reload.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// `STATUS=`: the line that `systemctl status` shows. Told when it differs from the one before.
    pub fn status(&mut self, line: &str) {
        if self.last_line != line {
            line.clone_into(&mut self.last_line);
            tell(&[NotifyState::Status(line)]);
        }
    }

    /// `WATCHDOG=1`.
    pub fn feed(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// `RELOADING=1`, with the time that systemd needs to tell an old `READY=1` from the one that ends the reload.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => {
                tracing::warn!(%error, "cannot read the clock, so systemd is not told of the reload");
            }
        }
    }

    /// `STOPPING=1`.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// A manager that does not listen is no reason to end.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
