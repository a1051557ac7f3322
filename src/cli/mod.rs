//! The command line: one file a command, each parses, calls and prints. Scripts depend on it.

mod acknowledge;
mod check;
mod context;
mod delete;
mod exit;
mod explain;
mod history;
mod hold;
mod list;
mod metrics;
mod output;
mod quarantine;
mod report;
mod restore;
mod run;
mod sizes;
mod sweep;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use context::Environment;
pub use exit::{CliError, Exit};

/// Finds Docker volumes that nothing holds, quarantines them, and deletes them when their grace period is over.
#[derive(Debug, Parser)]
#[command(
    name = "volgc",
    version,
    about,
    after_help = "Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 some steps failed; 4 refused (evidence incomplete, \
                  a brake, another engine). With --detailed-exit-code, 10 when something would be done."
)]
pub struct Cli {
    /// Configuration file [default: `$VOLGC_CONFIG`, else /etc/volgc/config.toml, else built-in defaults]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Directory of the ledger
    #[arg(long, value_name = "DIR", global = true, default_value = "/var/lib/volgc")]
    pub state_dir: PathBuf,
    /// Form of the log, which goes to stderr
    #[arg(long, value_name = "FORM", global = true, default_value = "auto")]
    pub log_format: LogFormat,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// journald when stderr goes there, else text
    Auto,
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
    /// Lines with a syslog priority, without time and colour
    Journald,
}

/// The form of what goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is there, what would happen and why; change nothing
    Report(report::Arguments),
    /// Tell the whole story of one volume, or of one entry of the quarantine
    Explain(explain::Arguments),
    /// Make one real pass in the configured mode
    Sweep(sweep::Arguments),
    /// Run as a service, sweeping on schedule
    Run,
    /// Quarantine volumes now; all checks hold, only the clock is skipped
    Quarantine(quarantine::Arguments),
    /// Show what is in quarantine
    List(list::Arguments),
    /// Bring a volume back from quarantine
    Restore(restore::Arguments),
    /// Delete entries from quarantine now, for good
    Delete(delete::Arguments),
    /// Keep a volume or an entry, whatever the policy says
    Hold(hold::HoldArguments),
    /// End the holds on a volume or an entry
    Release(hold::ReleaseArguments),
    /// Show the holds
    Holds(hold::HoldsArguments),
    /// Show what was done, and why
    History(history::Arguments),
    /// Show what is in force, when the next sweeps are, and what is missing
    Check,
    /// Tell the brakes that what they saw is right
    ///
    /// Releases the brakes that hold because of another engine or docker root, a docker root that was copied or whose directories were
    /// replaced, a ledger that may lack holds, a list of containers that is suddenly empty, and many volumes that lost their last holder at
    /// once. The next sweep accepts all of these as they are then. Of a docker root that was copied, holds and entries in quarantine are bound
    /// to the new directories. Look at `volgc report` first: it says which brakes hold, and why.
    Acknowledge,
}

/// Runs a command.
pub async fn run(cli: Cli, environment: &Environment) -> Result<Exit, CliError> {
    let context = context::Context::new(&cli, environment);
    match cli.command {
        Command::Report(arguments) => report::run(&context, &arguments).await,
        Command::Explain(arguments) => explain::run(&context, &arguments).await,
        Command::Sweep(arguments) => sweep::run(&context, &arguments).await,
        Command::Run => run::run(&context).await,
        Command::Quarantine(arguments) => quarantine::run(&context, &arguments).await,
        Command::List(arguments) => list::run(&context, &arguments).await,
        Command::Restore(arguments) => restore::run(&context, &arguments).await,
        Command::Delete(arguments) => delete::run(&context, &arguments).await,
        Command::Hold(arguments) => hold::hold(&context, &arguments).await,
        Command::Release(arguments) => hold::release(&context, &arguments).await,
        Command::Holds(arguments) => hold::holds(&context, &arguments),
        Command::History(arguments) => history::run(&context, &arguments),
        Command::Check => check::run(&context).await,
        Command::Acknowledge => acknowledge::run(&context).await,
    }
}
