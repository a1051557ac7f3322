//! The configuration: TOML text into [`Settings`], or into every mistake it has.
//!
//! Nothing is guessed and nothing ignored: in a file that says what may be deleted, a key that is silently skipped is
//! worse than a program that does not start. So unknown keys are mistakes, and so is a pattern that could never match.
//!
//! Pure but for the time zone `local`, which the system is asked for (see [`Zone::parse`]). The file is read elsewhere.
//!
//! | file | what |
//! |------|------|
//! | `keys.rs` | every key there is |
//! | `reader.rs` | typed reading of the TOML tree; collects the mistakes |
//! | `mistake.rs` | where a mistake is, and how it is shown |
//! | `syntax.rs` | the errors of the TOML parser, and what they leave of the tree |
//! | `policy.rs` | mode, limits and classes |
//! | `metrics.rs` | where metrics and health are served |
//! | `rules.rs` | rules and their conditions |
//! | `passing.rs` | containers that only pass by |
//! | `warnings.rs` | what is allowed and probably not meant |
//! | `duration.rs` | `7d`, `1d12h` |

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeTable;

use crate::gc::policy::Policy;
use crate::schedule::{Schedule, Zone};

pub mod duration;
mod keys;
mod metrics;
mod mistake;
mod passing;
mod policy;
mod reader;
mod rules;
mod syntax;
#[cfg(test)]
mod tests;
mod warnings;

pub use metrics::Listen;
pub use mistake::{ConfigErrors, Mistake};

use reader::{Given, Reader, Section};

/// Off the full hour, when everything else on the host runs.
const DEFAULT_CRON: &str = "17 * * * *";
const DEFAULT_ZONE: &str = "local";

/// What is in force: the file's values, and the built-in ones where it is silent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The engine's address, such as `unix:///var/run/docker.sock`; none to go by `DOCKER_HOST` and the default socket.
    pub host: Option<String>,
    /// When the service sweeps.
    pub schedule: ScheduleSettings,
    /// What becomes of volumes.
    pub policy: Policy,
    /// Names of directories below `<docker root>/containers` whose containers the engine did not load and the operator
    /// declared irrelevant.
    pub acknowledged_containers: BTreeSet<String>,
    /// Where the service serves metrics and health; none for nowhere.
    pub metrics: Option<Listen>,
}

/// When the service sweeps.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// The times.
    pub schedule: Schedule,
    /// The most by which a sweep is put off at random, in whole seconds. Zero for none.
    pub jitter: Duration,
    /// The schedule as it was written: the crontab line, or `every 1h`.
    pub text: String,
}

impl Default for Settings {
    /// What is in force without a file.
    fn default() -> Self {
        let schedule = ScheduleSettings {
            schedule: default_schedule(default_zone()),
            jitter: Duration::ZERO,
            text: DEFAULT_CRON.to_owned(),
        };
        let policy = policy::built_in();
        Self { host: None, schedule, policy, acknowledged_containers: BTreeSet::new(), metrics: None }
    }
}

impl Settings {
    /// What is allowed and probably not meant, each a sentence or two for the administrator.
    pub fn warnings(&self) -> Vec<String> {
        warnings::of(self)
    }
}

/// Reads a configuration. `file` is its name for the messages alone.
pub fn parse(text: &str, file: &str) -> Result<Settings, ConfigErrors> {
    let (tree, syntax_errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, &syntax_errors);
    let top = reader.open(&keys::TOP, 0..0, tree.get_ref());
    let host = host(&mut reader, &top);
    let schedule = schedule(&mut reader, &top);
    let policy = policy::read(&mut reader, &top);
    let acknowledged_containers = acknowledged_containers(&mut reader, &top);
    let metrics = metrics::read(&mut reader, &top);
    let mistakes = reader.into_mistakes();
    match schedule {
        Some(schedule) if mistakes.is_empty() => {
            Ok(Settings { host, schedule, policy, acknowledged_containers, metrics })
        }
        Some(_) | None => Err(ConfigErrors { file: file.to_owned(), mistakes }),
    }
}

fn host(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<String> {
    let section = reader.section(top, "docker", &keys::DOCKER)?;
    let host = reader.text(&section, "host", "unix:///var/run/docker.sock");
    let host = reader.refine(host, |host| match host.split_once("://") {
        Some(("unix", path)) if !path.starts_with('/') => Err(format!(
            "`{host}` has no absolute path; write three slashes, as in `unix:///var/run/docker.sock`"
        )),
        Some((scheme, address)) if !scheme.is_empty() && !address.is_empty() => Ok(host.clone()),
        Some(_) | None => {
            let like = "as in `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`";
            Err(format!("`{host}` is not an engine's address; write it with its scheme, {like}"))
        }
    });
    match host {
        Given::Good(host, _) => Some(host),
        Given::Absent | Given::Broken => None,
    }
}

/// None when the mistakes leave no schedule.
fn schedule(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<ScheduleSettings> {
    let Some(section) = reader.section(top, "schedule", &keys::SCHEDULE) else {
        return Some(Settings::default().schedule);
    };
    let zone = reader.text(&section, "timezone", DEFAULT_ZONE);
    let zone = reader.refine(zone, |zone| Zone::parse(zone).map_err(|error| error.to_string()));
    let jitter = reader.duration(&section, "jitter").or(Duration::ZERO);
    let interval = reader.duration(&section, "interval");
    let cron = reader.text(&section, "cron", DEFAULT_CRON);
    if let Some((_, place)) = interval.good().filter(|_| !cron.is_absent()) {
        reader.wrong(place, "`interval` and `cron` exclude one another; remove one of them");
    }
    let every = reader.refine(interval, |interval| match Schedule::every(*interval) {
        Ok(every) => Ok((every, format!("every {}", duration::spell(*interval)))),
        Err(error) => Err(error.to_string()),
    });
    // A broken zone has been noted; the line is read all the same, for its own mistakes.
    let zone = zone.or_else(default_zone);
    let cron = reader.refine(cron, |line| match Schedule::parse(line, zone.clone()) {
        Ok(schedule) => Ok((schedule, line.clone())),
        Err(error) => Err(error.to_string()),
    });
    let (schedule, text) = match (every, cron) {
        (Given::Good(found, _), Given::Absent) | (_, Given::Good(found, _)) => found,
        (Given::Absent, Given::Absent) => (default_schedule(zone), DEFAULT_CRON.to_owned()),
        (_, Given::Broken) | (Given::Broken, Given::Absent) => return None,
    };
    Some(ScheduleSettings { schedule, jitter, text })
}

fn acknowledged_containers(reader: &mut Reader<'_>, top: &Section<'_>) -> BTreeSet<String> {
    let Some(section) = reader.section(top, "containers_on_disk", &keys::CONTAINERS_ON_DISK) else {
        return BTreeSet::new();
    };
    let mut names = BTreeSet::new();
    for (name, place) in reader.list(&section, "acknowledged", "0123456789ab...") {
        let is_plain =
            !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= 255;
        if is_plain {
            names.insert(name);
        } else {
            let instead = "write its last part alone, as `ls <docker root>/containers` shows it";
            reader.wrong(&place, &format!("`{name}` is not the name of a directory; {instead}"));
        }
    }
    names
}

fn default_zone() -> Zone {
    // Never an error: a host whose zone is not known runs by UTC, and the zone has a note of it.
    Zone::parse(DEFAULT_ZONE).unwrap_or(Zone::Utc)
}

#[expect(clippy::expect_used, reason = "a constant, which nearly every test of this module reads")]
fn default_schedule(zone: Zone) -> Schedule {
    Schedule::parse(DEFAULT_CRON, zone).expect("the built-in schedule is valid")
}
