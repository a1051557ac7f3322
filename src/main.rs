//! The binary: arguments, dispatch, exit code.

mod log;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use volgc::cli::{self, Cli, CliError, Environment, Exit};
use volgc::report::text::safe;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no failure; clap knows which is which.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return match error.print() {
                Ok(()) => ExitCode::from(exit.code()),
                Err(_) => ExitCode::from(Exit::Failed.code()),
            };
        }
    };
    // Commands say on stdout what they did; only the service has nothing but its log.
    let level = if matches!(cli.command, cli::Command::Run) { "info" } else { "warn" };
    log::start(cli.log_format, level);
    let exit = start(cli).unwrap_or_else(|error| {
        complain(&error);
        error.exit()
    });
    ExitCode::from(exit.code())
}

fn start(cli: Cli) -> Result<Exit, CliError> {
    volgc::host::walk::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(cli::run(cli, &Environment::read()));
    // A look at a dead network file system never comes back; the program ends all the same.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// The message, and what the system said, unless it is in the message already.
fn with_sources(error: &CliError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(" ({said})"));
        }
        source = cause.source();
    }
    text
}

fn complain(error: &CliError) {
    let text = if matches!(error, CliError::Config(_)) {
        // It spans lines on purpose, and has taken out by itself what plays tricks.
        error.to_string()
    } else {
        // Anything in it may be a stranger's: the engine's words, a name, a path.
        safe(&with_sources(error)).into_owned()
    };
    // Nothing is left to do when stderr is gone.
    drop(writeln!(std::io::stderr(), "volgc: {text}"));
}
