//! The log. It goes to stderr, so that stdout holds data only; or to the journal, when stderr is the journal's.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use volgc::cli::LogFormat;

/// Before the names of fields in the journal: `VOLGC_EVENT`, `VOLGC_VOLUME`, `VOLGC_ENTRY`.
const FIELD_PREFIX: &str = "VOLGC";

/// Starts it. bollard's debug level writes whole answers, so it stays at warnings.
pub(crate) fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_env("VOLGC_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},bollard=warn,hyper=warn")));
    tracing_subscriber::registry().with(layer(format)).with(filter).init();
}

fn layer(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let stderr = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Json => stderr().json().boxed(),
        LogFormat::Auto if is_stderr_the_journal() => to_journal(),
        LogFormat::Journald => stderr().event_format(Prefixed::new()).boxed(),
        LogFormat::Auto | LogFormat::Text => stderr().with_ansi(wants_colour()).boxed(),
    }
}

/// With fields of their own where the journal's socket can be reached; else on stderr, which it reads as well. Never both.
fn to_journal() -> Box<dyn Layer<Registry> + Send + Sync> {
    match tracing_journald::layer() {
        Ok(journal) => journal
            .with_field_prefix(Some(FIELD_PREFIX.to_owned()))
            .with_syslog_identifier("volgc".to_owned())
            .with_priority_mappings(priorities())
            .boxed(),
        Err(_) => layer(LogFormat::Journald),
    }
}

fn priorities() -> tracing_journald::PriorityMappings {
    use tracing_journald::Priority;
    tracing_journald::PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// `JOURNAL_STREAM` names device and inode of the journal's socket (`systemd.exec(5)`). A child whose stderr goes elsewhere
/// inherits the variable, but not the socket.
fn is_stderr_the_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.as_bytes() == format!("{}:{}", stat.st_dev, stat.st_ino).as_bytes()
}

/// On a terminal, unless `NO_COLOR` says otherwise (no-color.org).
fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}

/// Lines as the journal reads them from stderr: a priority before each (`sd-daemon(3)`), no time, no level, no colour.
struct Prefixed(Format<Full, ()>);

impl Prefixed {
    fn new() -> Self {
        Self(Format::default().without_time().with_ansi(false).with_level(false).with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        for line in text.lines().filter(|line| !line.is_empty()) {
            writeln!(writer, "<{priority}>{line}")?;
        }
        Ok(())
    }
}

/// `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
