//! The service: sweeps on schedule, heeds what the engine tells, answers the service manager, and ends when it is told to.
//! Nothing here is about volumes.
//!
//! One job runs at a time: a look, a sweep, or the heeding of what the engine told. So no two of them race, and no sweep begins
//! while one runs; a time of the schedule that falls into a sweep is left out.
//!
//! | file | what |
//! |------|------|
//! | `status.rs` | what the service tells of itself |
//! | `start.rs` | until the first complete look |
//! | `heart.rs` | the watchdog and the rhythm |

mod heart;
mod start;
pub mod status;

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;

use chrono::{DateTime, Utc};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ScheduleSettings;
use crate::host::alarm::{Alarm, Woken};
use crate::host::fault::{self, Point};
use crate::host::systemd::ServiceManager;
use crate::host::{clock, directory, pulse};
use heart::Heart;
use start::{Next, Start};
use status::{Phase, Status};

/// What the service does, and knows nothing of.
pub trait Work {
    /// Looks once and changes nothing. The error is one sentence for people.
    fn look(&self) -> impl Future<Output = Result<(), String>>;
    /// One sweep. What came of it is published by whoever does it.
    fn sweep(&self) -> impl Future<Output = ()>;
    /// Takes up what the engine told; says whether it answers for the first time, or again.
    fn heed(&self) -> impl Future<Output = bool>;
    /// Waits until the engine has told something.
    fn told(&self) -> impl Future<Output = ()>;
    /// Has the connection to the engine looked at.
    fn check(&self);
    /// Reads the configuration again; none when it is refused and the old one stays.
    fn reload(&self) -> Option<ScheduleSettings>;
}

/// How a job ended.
enum Ended {
    Look(Result<(), String>),
    Sweep,
    Heed { connected: bool },
}

type Job<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

/// What woke the loop.
enum Happened {
    Ended(Ended),
    Stop,
    Reload,
    Alarm(Woken),
    Told,
    Beat,
    Start(Next),
}

/// Runs `work` by the schedule until `stop` is requested. The work itself looks at the same request between its steps.
pub async fn run<W: Work>(
    work: &W,
    schedule: ScheduleSettings,
    status: &watch::Sender<Status>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let hangup = signal(SignalKind::hangup())?;
    let manager = ServiceManager::from_environment();
    let heart = Heart::new(manager.watchdog());
    let mut service = Service {
        work,
        schedule,
        status,
        stop,
        hangup,
        manager,
        heart,
        alarm: Alarm::new()?,
        next: None,
        start: Start::new(),
        wants_look: true,
        is_stopping: false,
    };
    service.plan_next()?;
    service.run().await
}

struct Service<'a, W> {
    work: &'a W,
    schedule: ScheduleSettings,
    status: &'a watch::Sender<Status>,
    stop: &'a CancellationToken,
    hangup: Signal,
    manager: ServiceManager,
    heart: Heart,
    alarm: Alarm,
    next: Option<DateTime<Utc>>,
    start: Start,
    /// At the start and after a reload: so that what is told is of the configuration in force. Not a sweep.
    wants_look: bool,
    is_stopping: bool,
}

impl<'a, W: Work> Service<'a, W> {
    async fn run(&mut self) -> io::Result<()> {
        let mut job: Option<Job<'a>> = None;
        loop {
            if job.is_none() {
                if self.is_stopping {
                    return Ok(());
                }
                if std::mem::take(&mut self.wants_look) {
                    job = Some(self.begin_look());
                }
            }
            self.heart.rest(job.is_none());
            self.publish();
            fault::at(Point::ServiceLoop)?;
            let happened = self.wait(&mut job).await?;
            match happened {
                Happened::Ended(ended) => {
                    job = None;
                    self.ended(ended)?;
                }
                Happened::Stop => self.stopping(),
                Happened::Reload => self.reload()?,
                Happened::Alarm(woken) => {
                    if self.is_due(woken)? {
                        job = Some(self.begin_sweep());
                    }
                }
                Happened::Told => job = Some(self.begin_heed()),
                Happened::Beat => self.beat(),
                Happened::Start(Next::Retry) => self.wants_look = true,
                Happened::Start(Next::LongEnough) => self.ready(),
            }
        }
    }

    /// Waits for whatever comes next. What begins a job is waited for only while none runs.
    async fn wait(&mut self, job: &mut Option<Job<'a>>) -> io::Result<Happened> {
        let is_free = job.is_none() && !self.is_stopping;
        let running = async {
            match job {
                Some(job) => job.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = running => Ok(Happened::Ended(ended)),
            () = self.stop.cancelled(), if !self.is_stopping => Ok(Happened::Stop),
            Some(()) = self.hangup.recv() => Ok(Happened::Reload),
            () = self.heart.next() => Ok(Happened::Beat),
            woken = self.alarm.wait(), if is_free => Ok(Happened::Alarm(woken?)),
            next = self.start.next(is_free) => Ok(Happened::Start(next)),
            () = self.work.told(), if is_free => Ok(Happened::Told),
        }
    }

    fn begin_look(&mut self) -> Job<'a> {
        let phase = if self.start.is_over() { Phase::Looking } else { Phase::Starting };
        let work = self.work;
        self.begin(Some(phase), async move { Ended::Look(work.look().await) })
    }

    fn begin_sweep(&mut self) -> Job<'a> {
        let work = self.work;
        self.begin(Some(Phase::Sweeping), async move {
            work.sweep().await;
            Ended::Sweep
        })
    }

    fn begin_heed(&mut self) -> Job<'a> {
        let work = self.work;
        self.begin(None, async move { Ended::Heed { connected: work.heed().await } })
    }

    fn begin(&mut self, phase: Option<Phase>, job: impl Future<Output = Ended> + 'a) -> Job<'a> {
        if let Some(phase) = phase.filter(|_| !matches!(self.status.borrow().phase, Phase::Waiting(_))) {
            self.set_phase(phase);
        }
        self.heart.work_begins(&self.manager);
        Box::pin(pulse::watched(job))
    }

    fn ended(&mut self, ended: Ended) -> io::Result<()> {
        self.heart.work_ended(&self.manager);
        match ended {
            Ended::Look(Ok(())) => {
                self.start.over();
                self.set_phase(Phase::Idle);
                self.ready();
            }
            Ended::Look(Err(why)) => self.not_seen(&why),
            Ended::Sweep => {
                // A complete look is as good when a sweep made it.
                if self.status.borrow().last_look.is_some() {
                    self.start.over();
                    self.ready();
                }
                if self.start.is_over() {
                    self.set_phase(Phase::Idle);
                }
                self.plan_next()?;
            }
            Ended::Heed { connected } => {
                if connected && !self.start.is_over() {
                    self.wants_look = true;
                }
            }
        }
        Ok(())
    }

    /// There was no complete look. Before the first one it is tried again and again; later the schedule does that.
    fn not_seen(&mut self, why: &str) {
        if self.start.is_over() {
            tracing::warn!("the look did not take place: {why}");
            self.set_phase(Phase::Idle);
            return;
        }
        let wait = self.start.failed();
        tracing::warn!("waiting to look for the first time, again in {} s: {why}", wait.as_secs());
        self.set_phase(Phase::Waiting(format!("{why}; asking again every {} s", wait.as_secs())));
    }

    fn beat(&mut self) {
        self.heart.beat(&self.manager);
        self.work.check();
    }

    fn ready(&mut self) {
        if self.start.becomes_ready() {
            self.manager.ready();
        }
    }

    fn stopping(&mut self) {
        self.is_stopping = true;
        self.manager.stopping();
        self.set_phase(Phase::Stopping);
    }

    fn reload(&mut self) -> io::Result<()> {
        self.manager.reloading();
        if let Some(schedule) = self.work.reload() {
            self.schedule = schedule;
            self.plan_next()?;
            self.wants_look = true;
        }
        // Before the first look `READY=1` would say that the start is over.
        if self.start.is_ready() {
            self.manager.ready();
        }
        Ok(())
    }

    /// Whether the alarm means that a sweep is due.
    fn is_due(&mut self, woken: Woken) -> io::Result<bool> {
        let now = clock::read()?.wall;
        match woken {
            Woken::Due => Ok(true),
            // Set past the time: the sweep is not left out.
            Woken::ClockSet if self.next.is_some_and(|next| next <= now) => Ok(true),
            Woken::ClockSet => {
                tracing::info!("the clock was set");
                let before = self.next;
                self.plan_next()?;
                // An interval must not begin anew each time.
                if let (Some(before), Some(next)) = (before, self.next)
                    && before < next
                {
                    self.set_next(Some(before))?;
                }
                Ok(false)
            }
        }
    }

    fn plan_next(&mut self) -> io::Result<()> {
        let now = clock::read()?.wall;
        let next = next_sweep(&self.schedule, now, directory::random());
        if let Some(next) = next {
            tracing::info!(next_sweep = %next.to_rfc3339(), "sleeping");
        } else {
            tracing::error!("the schedule has no further time");
        }
        self.set_next(next)
    }

    fn set_next(&mut self, next: Option<DateTime<Utc>>) -> io::Result<()> {
        self.next = next;
        self.status.send_modify(|status| status.next_sweep_at = next);
        self.alarm.set(next)
    }

    fn set_phase(&self, phase: Phase) {
        if !self.is_stopping || phase == Phase::Stopping {
            self.status.send_modify(|status| status.phase = phase);
        }
    }

    /// Tells the service manager, when it has changed.
    fn publish(&mut self) {
        let line = self.status.borrow().line();
        self.manager.status(&line);
    }
}

/// The next time of the schedule, and a random part of the jitter after it, so that many hosts do not sweep at one instant.
fn next_sweep(schedule: &ScheduleSettings, now: DateTime<Utc>, random: u32) -> Option<DateTime<Utc>> {
    let part = f64::from(random) / f64::from(u32::MAX);
    Some(schedule.schedule.next_after(now)? + schedule.jitter.mul_f64(part))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::Schedule;

    #[test]
    fn jitter_delays_within_its_bound_and_never_advances() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let at = |jitter, random| {
            let schedule = Schedule::every(Duration::from_hours(1)).unwrap();
            let settings =
                ScheduleSettings { schedule, jitter: Duration::from_secs(jitter), text: String::new() };
            (next_sweep(&settings, now, random).unwrap() - now).to_std().unwrap()
        };
        let hour = Duration::from_hours(1);
        assert_eq!((at(600, 0), at(600, u32::MAX)), (hour, hour + Duration::from_mins(10)));
        assert_eq!(at(0, u32::MAX), hour, "none is configured");
        let random: Vec<Duration> = (0..100).map(|_| at(600, directory::random())).collect();
        assert!(
            random.iter().all(|span| (hour..=hour + Duration::from_mins(10)).contains(span)),
            "{random:?}"
        );
        // All on one side of the middle is what one of 2^99 tries gives.
        let middle = hour + Duration::from_mins(5);
        assert!(
            random.iter().any(|span| *span < middle) && random.iter().any(|span| *span > middle),
            "{random:?}"
        );
    }
}
