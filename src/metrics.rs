//! What the service shows of itself over HTTP: metrics and health. It only reads (I10): what a sweep saw is handed to it, it
//! opens the ledger for reading, and it measures volumes without opening a file of them.
//!
//! | file | what |
//! |------|------|
//! | `board.rs` | what is known at this moment |
//! | `health.rs` | whether the service lives, and whether it is ready |
//! | `measuring.rs` | sizes and sums, on a thread of its own |

mod board;
mod health;
mod measuring;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Listen, ScheduleSettings};
use crate::gc::ledger::ClockReading;
use crate::host::clock;
use crate::host::http::{ListenError, Page, Pages, Server};
use crate::report::metrics::{Figures, Form, Seen, Service, encode};
use crate::service::status::{Status, SweepTotals};
use crate::sweep::look::Look;
use board::Board;
use measuring::{Measuring, Work};

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Nobody can connect.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A clock or a thread.
    #[error("cannot serve metrics: {0}")]
    System(#[from] std::io::Error),
}

/// Listens and answers until it is dropped.
#[derive(Debug)]
pub struct Exporter {
    board: Arc<Board>,
    measuring: Measuring,
    server: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Exporter {
    /// Starts. What the service publishes of itself is read whenever somebody asks.
    pub fn start(
        listen: &Listen,
        schedule: &ScheduleSettings,
        state_dir: PathBuf,
        status: watch::Receiver<Status>,
    ) -> Result<Self, MetricsError> {
        let started = clock::read()?;
        let patience = health::look_patience(schedule, started.wall);
        let board = Arc::new(Board::default());
        let stop = CancellationToken::new();
        let server = Server::bind(listen)?;
        tracing::info!(address = server.address(), "serving /metrics, /healthz and /readyz");
        let measuring = Measuring::start(Arc::clone(&board), state_dir, stop.clone())?;
        let site = Arc::new(Site { board: Arc::clone(&board), status, started, patience });
        let server = Some(server.start(site, stop.clone())?);
        Ok(Self { board, measuring, server, stop })
    }

    /// To be told of every complete look, after what was decided on it was done. It waits for nobody.
    pub fn looked(&self, look: &Look) {
        let seen = Arc::new(Seen::new(look));
        match clock::read() {
            Ok(now) => self.board.change(|known| {
                known.seen = Some(Arc::clone(&seen));
                known.seen_at = Some(now.monotonic);
            }),
            Err(error) => tracing::warn!(%error, "the metrics are not up to date"),
        }
        self.measuring.measure(Work { root: look.observation.directory.clone(), seen });
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.server.take().is_some_and(|server| server.join().is_err()) {
            tracing::error!("the thread that serves metrics has panicked");
        }
    }
}

/// The pages.
#[derive(Debug)]
struct Site {
    board: Arc<Board>,
    status: watch::Receiver<Status>,
    started: ClockReading,
    /// How old the last look may be.
    patience: Duration,
}

impl Site {
    fn metrics(&self, form: Form) -> Page {
        let (known, status) = (self.board.known(), self.status.borrow().clone());
        let refusals: Vec<&'static str> = status.refusals.iter().map(|refused| refused.word).collect();
        let service = self.service(&status);
        let figures = Figures {
            seen: known.seen.as_deref(),
            measured: &known.measured,
            totals: known.totals.as_ref(),
            last_success_at: status.last_success_at.or(known.last_sweep_before),
            refusals: &refusals,
            service: Some(&service),
        };
        match encode(&figures, form) {
            Ok(text) => Page { status: StatusCode::OK, content_type: form.content_type(), text },
            Err(error) => {
                Page::plain(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}\n"))
            }
        }
    }

    fn service(&self, status: &Status) -> Service {
        let SweepTotals { done, steps_failed, refused, failed, stopped } = status.sweeps;
        Service {
            sweeps: vec![
                ("done", done),
                ("steps_failed", steps_failed),
                ("refused", refused),
                ("failed", failed),
                ("stopped", stopped),
            ],
            last_sweep: status.last_sweep.as_ref().map(|sweep| {
                // A clock that was set back makes it short, never negative.
                let took = (sweep.ended_at - sweep.started_at).to_std().unwrap_or(Duration::ZERO);
                (took.as_secs_f64(), sweep.ended_at)
            }),
            engine_up: status.engine_reachable,
            started_at: self.started.wall,
            next_sweep_at: status.next_sweep_at,
        }
    }
}

impl Pages for Site {
    fn page(&self, path: &str, accept: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(self.metrics(Form::accepted_by(accept))),
            "/healthz" => Some(answer(clock::read().map(|now| {
                let up = now.monotonic.saturating_sub(self.started.monotonic);
                health::lives(&self.status.borrow(), up, now.wall)
            }))),
            "/readyz" => Some(answer(
                clock::read()
                    .map(|now| health::is_ready(self.board.known().seen_at, now.monotonic, self.patience)),
            )),
            _ => None,
        }
    }
}

fn answer(verdict: std::io::Result<Result<String, String>>) -> Page {
    match verdict {
        Ok(Ok(good)) => Page::plain(StatusCode::OK, format!("{good}\n")),
        Ok(Err(bad)) => Page::plain(StatusCode::SERVICE_UNAVAILABLE, format!("{bad}\n")),
        Err(error) => Page::plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}
