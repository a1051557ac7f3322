//! The service's work: a look, a sweep, what the engine told, a new configuration.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::CliError;
use super::super::context::{Context, whoami};
use super::told;
use crate::config::{ScheduleSettings, Settings};
use crate::gc::ledger::ClockReading;
use crate::gc::news::News;
use crate::gc::plan::Order;
use crate::host::clock;
use crate::host::engine::follow::{Inbox, Mail, follow};
use crate::host::ledger::Ledger;
use crate::metrics::Exporter;
use crate::service::Work;
use crate::service::status::{LastLook, LastSweep, Status, Steps, SweepResult};
use crate::sweep::heed;
use crate::sweep::look::{Look, look};
use crate::sweep::recover::Recovered;
use crate::sweep::{SweepError, Sweeper, Swept, Watching};

/// How long what the engine tells is collected before it is heeded: a container that is started tells several things at once.
const COLLECT: Duration = Duration::from_millis(300);

/// The service's work.
pub(super) struct Passes<'a> {
    context: &'a Context<'a>,
    settings: RefCell<Rc<Settings>>,
    /// None when the configuration wants no metrics.
    exporter: Option<Exporter>,
    status: &'a watch::Sender<Status>,
    stop: &'a CancellationToken,
    inbox: Arc<Inbox>,
    follower: RefCell<JoinHandle<()>>,
    /// The docker root, by the last look.
    root: RefCell<Option<String>>,
    /// The engine's address that is followed, as it is configured.
    host: RefCell<Option<String>>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        settings: Settings,
        exporter: Option<Exporter>,
        status: &'a watch::Sender<Status>,
        stop: &'a CancellationToken,
    ) -> Result<Self, CliError> {
        let inbox = Arc::new(Inbox::default());
        inbox.teach(|tracker| tracker.let_pass(settings.policy.passing.clone()));
        // What happened while no service ran counts as far as the engine still knows it.
        let last = context.remembered()?.last_sweep;
        let follower = start_following(context, &settings, &inbox, last)?;
        let mode = settings.policy.mode.word();
        let now = clock::read()?.wall;
        status.send_modify(|status| {
            status.mode = mode;
            status.configured_at = Some(now);
        });
        Ok(Self {
            context,
            host: RefCell::new(settings.host.clone()),
            settings: RefCell::new(Rc::new(settings)),
            exporter,
            status,
            stop,
            inbox,
            follower: RefCell::new(follower),
            root: RefCell::default(),
        })
    }

    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    async fn look_once(&self, settings: &Settings) -> Result<Look, CliError> {
        let engine = self.context.engine_to_look(settings).await?;
        let now = clock::read()?;
        let remembered = self.context.remembered()?;
        let look = look(&engine, &remembered, settings, &Order::Scheduled, now).await;
        look.map_err(|error| CliError::Sweep(error.into()))
    }

    async fn sweep_once(&self, settings: &Settings) -> Result<Swept, CliError> {
        let engine = tokio::select! {
            engine = self.context.changing_engine(settings) => engine?,
            () = self.stop.cancelled() => return Err(SweepError::Stopped.into()),
        };
        let mut ledger = self.context.ledger_for_pass()?;
        let whoami = whoami("run");
        let mut sweeper = Sweeper {
            engine: &engine,
            settings,
            ledger: &mut ledger,
            whoami: &whoami,
            stop: self.stop,
            watching: Watching::Service(&self.inbox),
        };
        Ok(sweeper.sweep(&Order::Scheduled).await?)
    }

    /// After the engine was away: what a crash, or its own, left unfinished need not wait for the next sweep.
    async fn recover(&self) -> Result<(), CliError> {
        let settings = self.settings();
        let engine = self.context.changing_engine(&settings).await?;
        let mut ledger = self.context.ledger_for_pass()?;
        let whoami = whoami("run");
        let mut sweeper = Sweeper {
            engine: &engine,
            settings: &settings,
            ledger: &mut ledger,
            whoami: &whoami,
            stop: self.stop,
            watching: Watching::Service(&self.inbox),
        };
        let recovered = sweeper.recover().await?;
        for (manifest, result) in &recovered {
            match result {
                Ok(Recovered::Unresolved(why)) => tracing::warn!(
                    volume = manifest.name.as_str(),
                    entry = manifest.entry.as_str(),
                    "in doubt: {why}"
                ),
                Ok(
                    Recovered::Undone
                    | Recovered::Committed
                    | Recovered::Restored
                    | Recovered::Removed
                    | Recovered::StillInPlace,
                ) => tracing::info!(
                    event = "recovered",
                    volume = manifest.name.as_str(),
                    entry = manifest.entry.as_str(),
                    "what was unfinished is finished or undone"
                ),
                // Told where it happened.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// What a complete look shows is published, and who holds what is known from now on, until events say more.
    fn has_seen(&self, look: &Look) {
        *self.root.borrow_mut() = Some(look.observation.info.docker_root_dir.clone());
        self.inbox.teach(|tracker| tracker.learn(&look.observation.inventory));
        if let Some(exporter) = &self.exporter {
            exporter.looked(look);
        }
        let counts = told::counts(look);
        let refusals = told::refusals(look);
        self.status.send_modify(|status| {
            status.engine_reachable = Some(true);
            status.last_look = Some(LastLook { at: look.at.wall, counts });
            status.refusals = refusals;
        });
    }

    fn has_not_seen(&self, error: &CliError) {
        let is_reachable = told::has_answered(error);
        let refusal = told::refusal_of(error);
        self.status.send_modify(|status| {
            status.engine_reachable = Some(is_reachable);
            if let Some(refusal) = refusal {
                status.refusals = vec![refusal];
            }
        });
    }

    async fn take_up(&self, mail: Mail) -> Result<(), CliError> {
        let Mail { connected, mut news } = mail;
        if !news.is_empty() {
            let written = self.write_down(&mut news).await;
            if !matches!(written, Ok(true)) {
                // A use that is forgotten would be time that nobody used the volume.
                self.inbox.put_back(news);
            }
            written?;
        }
        if connected {
            self.status.send_modify(|status| status.engine_reachable = Some(true));
            self.recover().await?;
        }
        Ok(())
    }

    /// Whether it is written: without room it is kept by this ledger alone, which ends here.
    async fn write_down(&self, news: &mut News) -> Result<bool, CliError> {
        if !news.unknown.is_empty() {
            let engine = self.context.engine(&self.settings()).await?;
            let passing = &self.settings().policy.passing;
            if let Err(error) = heed::complete(&engine, &self.inbox, news, passing).await {
                tracing::debug!(%error, "cannot ask for the volumes of new containers");
            }
        }
        let mut ledger: Ledger = self.context.ledger()?;
        let root = self.root.borrow().clone();
        heed::heed(news, &mut ledger, root.as_deref()).map_err(|error| CliError::Sweep(error.into()))?;
        Ok(ledger.blocked().is_none())
    }
}

impl Work for Passes<'_> {
    async fn look(&self) -> Result<(), String> {
        let settings = self.settings();
        let looked = tokio::select! {
            looked = self.look_once(&settings) => looked,
            () = self.stop.cancelled() => Err(SweepError::Stopped.into()),
        };
        match looked {
            Ok(look) => {
                self.has_seen(&look);
                told::log_refusals(&look);
                let counts = told::counts(&look);
                tracing::info!(
                    event = "looked",
                    volumes = counts.volumes,
                    held = counts.held,
                    unreferenced = counts.unreferenced,
                    in_quarantine = counts.in_quarantine,
                    due = counts.due(),
                    "looked, and changed nothing"
                );
                Ok(())
            }
            Err(error) => {
                self.has_not_seen(&error);
                Err(told::sentence(&error))
            }
        }
    }

    async fn sweep(&self) {
        let settings = self.settings();
        let started_at = clock::read().map(|now| now.wall);
        // What was told before is known to the sweep, so that it decides on clocks that are right.
        self.heed_now().await;
        let swept = self.sweep_once(&settings).await;
        let (result, steps) = match &swept {
            Ok(swept) => {
                self.has_seen(&swept.look);
                told::log(swept);
                (told::result(swept), told::steps(swept))
            }
            Err(CliError::Sweep(SweepError::Stopped)) => {
                tracing::info!("stopped before the engine had answered");
                (SweepResult::Stopped, Steps::default())
            }
            // The service goes on: the engine may be restarting, a disk be full for a while.
            Err(error) => {
                self.has_not_seen(error);
                tracing::error!(%error, "the sweep did not take place");
                (told::result_of(error), Steps::default())
            }
        };
        let ended_at = clock::read().map(|now| now.wall);
        if let (Ok(started_at), Ok(ended_at)) = (started_at, ended_at) {
            let sweep = LastSweep { started_at, ended_at, result, steps };
            self.status.send_modify(|status| status.record_sweep(sweep));
        }
    }

    async fn heed(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(COLLECT) => {}
            () = self.stop.cancelled() => return false,
        }
        self.heed_now().await
    }

    async fn told(&self) {
        self.inbox.arrived().await;
    }

    fn check(&self) {
        self.inbox.check();
        let is_lost = self.inbox.lost().is_some();
        self.status.send_if_modified(|status| {
            let changes = is_lost && status.engine_reachable == Some(true);
            if changes {
                status.engine_reachable = Some(false);
            }
            changes
        });
    }

    fn reload(&self) -> Option<ScheduleSettings> {
        match self.read_again() {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                // All the mistakes, each with its line; a log line each.
                for line in error.to_string().lines().filter(|line| !line.trim().is_empty()) {
                    tracing::error!(event = "reload_refused", "{}", crate::report::text::safe(line));
                }
                tracing::error!(
                    event = "reload_refused",
                    "the new configuration is refused, and the one from before stays in force"
                );
                None
            }
        }
    }
}

impl Passes<'_> {
    async fn heed_now(&self) -> bool {
        let mail = self.inbox.take();
        let connected = mail.connected;
        let done = tokio::select! {
            done = self.take_up(mail) => done,
            () = self.stop.cancelled() => Ok(()),
        };
        // The next sweep sees everything again; only precision is lost.
        if let Err(error) = done {
            tracing::warn!("what the engine told was not taken up: {}", told::sentence(&error));
        }
        connected
    }

    fn read_again(&self) -> Result<ScheduleSettings, CliError> {
        let (settings, _) = self.context.settings()?;
        super::warn(&settings);
        let now = clock::read()?.wall;
        if settings.host != *self.host.borrow() {
            let follower = start_following(self.context, &settings, &self.inbox, None)?;
            self.follower.replace(follower).abort();
            self.inbox.forget();
            self.host.replace(settings.host.clone());
            self.root.replace(None);
        }
        if settings.metrics != self.settings().metrics {
            tracing::warn!("[metrics] is read at the start alone: restart the service for its new value");
        }
        self.inbox.teach(|tracker| tracker.let_pass(settings.policy.passing.clone()));
        let (schedule, mode) = (settings.schedule.clone(), settings.policy.mode.word());
        tracing::info!(event = "reloaded", mode, schedule = %schedule.schedule, "the new configuration is in force");
        self.settings.replace(Rc::new(settings));
        self.status.send_modify(|status| {
            status.mode = mode;
            status.configured_at = Some(now);
        });
        Ok(schedule)
    }
}

impl Drop for Passes<'_> {
    fn drop(&mut self) {
        self.follower.borrow().abort();
    }
}

fn start_following(
    context: &Context<'_>,
    settings: &Settings,
    inbox: &Arc<Inbox>,
    last: Option<ClockReading>,
) -> Result<JoinHandle<()>, CliError> {
    let (endpoint, inbox) = (context.endpoint(settings)?, Arc::clone(inbox));
    Ok(tokio::spawn(async move {
        if let Err(error) = follow(endpoint, &inbox, last).await {
            tracing::error!(%error, "the engine's events are not followed any more; sweeps go on without");
        }
    }))
}
