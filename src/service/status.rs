//! What the service tells of itself, for whoever asks while it runs: systemd's status line, metrics, health.
//!
//! Counts and words alone: nobody who reads it has to know what a volume is. The service publishes it behind a
//! [`tokio::sync::watch`], each time whole, so that a reader never sees half of a change.

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// What the service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing was seen yet.
    #[default]
    Starting,
    /// Nothing was seen yet, and why: an engine that is not up, evidence that is not complete.
    Waiting(String),
    /// Asleep until the next sweep, or until the engine tells something.
    Idle,
    /// Looking, without a step that moves data: at the start, after a reload.
    Looking,
    /// A sweep.
    Sweeping,
    /// Finishing what a crash left unfinished.
    Recovering,
    /// Asked to end; the step in hand is finished.
    Stopping,
}

impl Phase {
    /// The stable word used in logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting(_) => "waiting",
            Self::Idle => "idle",
            Self::Looking => "looking",
            Self::Sweeping => "sweeping",
            Self::Recovering => "recovering",
            Self::Stopping => "stopping",
        }
    }
}

/// What a complete look counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Volumes that the engine lists.
    pub volumes: u64,
    /// Of these, those that something holds.
    pub held: u64,
    /// Of these, those that nothing holds.
    pub unreferenced: u64,
    /// Volumes that are due for quarantine, whether or not the mode permits it.
    pub due_for_quarantine: u64,
    /// Entries in quarantine, damaged and unfinished ones included.
    pub in_quarantine: u64,
    /// Entries that are due for deletion, whether or not the mode permits it.
    pub due_for_deletion: u64,
    /// Allocated bytes of the entries in quarantine whose size was measured when they were quarantined.
    pub bytes_in_quarantine: u64,
    /// Entries in quarantine whose size is not known.
    pub entries_without_size: u64,
    /// When the next entry becomes due for deletion, as far as watched time can tell; none when none does by itself.
    pub next_deletion_at: Option<DateTime<Utc>>,
}

impl Counts {
    /// What is due, of either kind.
    pub fn due(&self) -> u64 {
        self.due_for_quarantine + self.due_for_deletion
    }
}

/// The last look that was complete, of a sweep or by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLook {
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// What it counted.
    pub counts: Counts,
}

/// How a sweep ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepResult {
    /// Everything that was to be done was done.
    Done,
    /// Some steps failed, or their fate is not known.
    StepsFailed,
    /// A brake refused, or the evidence was not complete; [`Status::refusals`] says which.
    Refused,
    /// It did not take place: one sentence.
    Failed(String),
    /// The service was asked to end before everything was done.
    Stopped,
}

impl SweepResult {
    /// The stable word used in logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::StepsFailed => "steps_failed",
            Self::Refused => "refused",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What the steps of one sweep, or of all sweeps since the start, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps {
    /// Volumes that were quarantined.
    pub quarantined: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Bytes that the deletions freed.
    pub bytes_freed: u64,
    /// Volumes and entries that were left because something began to hold them.
    pub left: u64,
    /// Steps that failed, and those whose fate is not known.
    pub failed: u64,
    /// Unfinished moves and restores that were finished or undone.
    pub recovered: u64,
}

impl std::ops::AddAssign for Steps {
    fn add_assign(&mut self, other: Self) {
        self.quarantined += other.quarantined;
        self.deleted += other.deleted;
        self.bytes_freed += other.bytes_freed;
        self.left += other.left;
        self.failed += other.failed;
        self.recovered += other.recovered;
    }
}

/// The last sweep that was begun, however it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSweep {
    /// When it was begun.
    pub started_at: DateTime<Utc>,
    /// When it had ended.
    pub ended_at: DateTime<Utc>,
    /// How it ended.
    pub result: SweepResult,
    /// What it did.
    pub steps: Steps,
}

/// How many sweeps ended how, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepTotals {
    /// See [`SweepResult::Done`].
    pub done: u64,
    /// See [`SweepResult::StepsFailed`].
    pub steps_failed: u64,
    /// See [`SweepResult::Refused`].
    pub refused: u64,
    /// See [`SweepResult::Failed`].
    pub failed: u64,
    /// See [`SweepResult::Stopped`].
    pub stopped: u64,
}

impl SweepTotals {
    fn add(&mut self, result: &SweepResult) {
        let total = match result {
            SweepResult::Done => &mut self.done,
            SweepResult::StepsFailed => &mut self.steps_failed,
            SweepResult::Refused => &mut self.refused,
            SweepResult::Failed(_) => &mut self.failed,
            SweepResult::Stopped => &mut self.stopped,
        };
        *total += 1;
    }
}

/// Why a look or sweep refuses to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// A stable word of the brake; `incomplete_evidence` when a witness did not answer completely.
    pub word: &'static str,
    /// One sentence: what was seen, what was expected, what to do.
    pub text: String,
    /// What is refused.
    pub scope: Scope,
}

/// How far a refusal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// No step is taken.
    Everything,
    /// Some volumes are held back, and everything else goes on.
    SomeVolumes,
}

/// Everything the service tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// The mode in force, as it is written in the configuration.
    pub mode: &'static str,
    /// Whether the engine answered when it was asked last; none before.
    pub engine_reachable: Option<bool>,
    /// The last complete look; none before the first.
    pub last_look: Option<LastLook>,
    /// The last sweep; none before the first.
    pub last_sweep: Option<LastSweep>,
    /// When the last sweep ended that did all that was to be done.
    pub last_success_at: Option<DateTime<Utc>>,
    /// What holds now, by the last look or sweep that had an answer.
    pub refusals: Vec<Refused>,
    /// When the next sweep begins, jitter included; none when the schedule has no further time.
    pub next_sweep_at: Option<DateTime<Utc>>,
    /// What all sweeps did since the start.
    pub steps: Steps,
    /// How all sweeps ended since the start.
    pub sweeps: SweepTotals,
    /// When the configuration in force was read.
    pub configured_at: Option<DateTime<Utc>>,
}

impl Status {
    /// Takes down how a sweep ended.
    pub fn record_sweep(&mut self, sweep: LastSweep) {
        self.sweeps.add(&sweep.result);
        self.steps += sweep.steps;
        if sweep.result == SweepResult::Done {
            self.last_success_at = Some(sweep.ended_at);
        }
        self.last_sweep = Some(sweep);
    }

    /// The line that `systemctl status` shows.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        match &self.phase {
            Phase::Starting => parts.push("looking for the first time".to_owned()),
            Phase::Waiting(why) => parts.push(format!("waiting: {why}")),
            Phase::Idle => {}
            Phase::Looking => parts.push("looking".to_owned()),
            Phase::Sweeping => parts.push("sweeping".to_owned()),
            Phase::Recovering => parts.push("recovering".to_owned()),
            Phase::Stopping => parts.push("stopping after the step in hand".to_owned()),
        }
        if let Some(refused) = self.refusals.first() {
            parts.push(match refused.scope {
                Scope::Everything => format!("refuses to act ({})", refused.word),
                Scope::SomeVolumes => format!("holds some volumes back ({})", refused.word),
            });
        }
        if let Some(look) = &self.last_look {
            let counts = &look.counts;
            parts.push(format!(
                "{} held, {} unreferenced, {} in quarantine, {} due",
                counts.held,
                counts.unreferenced,
                counts.in_quarantine,
                counts.due()
            ));
        }
        if let Some(next) = self.next_sweep_at {
            parts.push(format!("next sweep {}", next.format("%Y-%m-%d %H:%M:%S UTC")));
        }
        // One line, whatever a sentence from outside holds: a newline would begin another variable (sd_notify(3)).
        parts.join("; ").replace(['\n', '\r'], " ")
    }
}

/// Where the service publishes, and whoever asks subscribes.
pub fn publisher() -> watch::Sender<Status> {
    watch::Sender::new(Status::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + i64::from(second), 0).unwrap()
    }

    fn sweep(result: SweepResult, quarantined: u64) -> LastSweep {
        let steps = Steps { quarantined, ..Steps::default() };
        LastSweep { started_at: at(0), ended_at: at(5), result, steps }
    }

    #[test]
    fn the_line_says_what_an_administrator_asks_for() {
        let counts = Counts {
            held: 4,
            unreferenced: 3,
            in_quarantine: 2,
            due_for_quarantine: 1,
            due_for_deletion: 1,
            ..Counts::default()
        };
        let status = Status {
            phase: Phase::Idle,
            last_look: Some(LastLook { at: at(0), counts }),
            next_sweep_at: Some(at(60)),
            ..Status::default()
        };
        assert_eq!(
            status.line(),
            "4 held, 3 unreferenced, 2 in quarantine, 2 due; next sweep 2023-11-14 22:14:20 UTC"
        );
        let waiting = Status { phase: Phase::Waiting("a\nREADY=1".to_owned()), ..Status::default() };
        assert_eq!(waiting.line(), "waiting: a READY=1");
    }

    #[test]
    fn only_a_sweep_that_did_everything_is_a_success() {
        let mut status = Status::default();
        status.record_sweep(sweep(SweepResult::StepsFailed, 1));
        assert_eq!(status.last_success_at, None);
        status.record_sweep(sweep(SweepResult::Done, 2));
        status.record_sweep(sweep(SweepResult::Failed("gone".to_owned()), 0));
        assert_eq!(status.last_success_at, Some(at(5)));
        assert_eq!(status.steps.quarantined, 3);
        assert_eq!((status.sweeps.done, status.sweeps.steps_failed, status.sweeps.failed), (1, 1, 1));
    }
}
