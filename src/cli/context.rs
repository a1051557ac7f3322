//! What every command starts from: the configuration, the engine, the ledger.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Cli, CliError};
use crate::config::{self, Settings};
use crate::gc::ledger::LedgerState;
use crate::host::engine::endpoint::{Endpoint, EngineEnvironment};
use crate::host::engine::{ChangingEngine, Engine};
use crate::host::ledger::{Ledger, LedgerReader};

/// Looked for when no other file is named.
const DEFAULT_CONFIG: &str = "/etc/volgc/config.toml";

/// What is taken from the environment, once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `VOLGC_CONFIG`.
    pub config: Option<PathBuf>,
    /// Docker's own variables.
    pub engine: EngineEnvironment,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            config: path("VOLGC_CONFIG"),
            engine: EngineEnvironment {
                host: text("DOCKER_HOST"),
                tls_verify: text("DOCKER_TLS_VERIFY"),
                certificates: path("DOCKER_CERT_PATH"),
            },
        }
    }
}

/// What a command starts from.
#[derive(Debug)]
pub(super) struct Context<'a> {
    config: Option<PathBuf>,
    pub(super) state_dir: PathBuf,
    environment: &'a Environment,
}

impl<'a> Context<'a> {
    pub(super) fn new(cli: &Cli, environment: &'a Environment) -> Self {
        Self {
            config: cli.config.clone().or_else(|| environment.config.clone()),
            state_dir: cli.state_dir.clone(),
            environment,
        }
    }

    /// The configuration, and the file it is from. Only the default file may be missing.
    #[expect(clippy::disallowed_methods, reason = "reads the configuration file")]
    pub(super) fn settings(&self) -> Result<(Settings, Option<PathBuf>), CliError> {
        let file = self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        let shown = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Ok((config::parse(&text, &shown)?, Some(file.to_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound && self.config.is_none() => {
                Ok((Settings::default(), None))
            }
            Err(error) => Err(CliError::ConfigFile { file: shown, why: error.to_string() }),
        }
    }

    /// The engine, for reading.
    pub(super) async fn engine(&self, settings: &Settings) -> Result<Engine, CliError> {
        Ok(Engine::connect(self.endpoint(settings)?).await?)
    }

    /// The engine, for a look at once.
    pub(super) async fn engine_to_look(&self, settings: &Settings) -> Result<Engine, CliError> {
        Ok(Engine::connect_to_look(self.endpoint(settings)?).await?)
    }

    /// The engine, for changing something.
    pub(super) async fn changing_engine(&self, settings: &Settings) -> Result<ChangingEngine, CliError> {
        Ok(ChangingEngine::new(self.engine(settings).await?)?)
    }

    /// Where the engine listens.
    pub(super) fn endpoint(&self, settings: &Settings) -> Result<Endpoint, CliError> {
        Ok(Endpoint::choose(settings.host.as_deref(), &self.environment.engine)?)
    }

    /// The ledger, for reading; none before the first sweep.
    pub(super) fn ledger_reader(&self) -> Result<Option<LedgerReader>, CliError> {
        Ok(LedgerReader::open(&self.state_dir)?)
    }

    /// What the ledger says, for reading commands: nothing before the first sweep (I9).
    pub(super) fn remembered(&self) -> Result<LedgerState, CliError> {
        match self.ledger_reader()? {
            Some(reader) => Ok(reader.read()?),
            None => Ok(LedgerState::default()),
        }
    }

    /// The ledger, for a pass: one that cannot be written stops no deletion (I15).
    pub(super) fn ledger_for_pass(&self) -> Result<Ledger, CliError> {
        Ok(Ledger::open_for_pass(&self.state_dir)?)
    }

    /// The ledger, for changing it.
    pub(super) fn ledger(&self) -> Result<Ledger, CliError> {
        Ok(Ledger::open(&self.state_dir)?)
    }
}

/// Who works, for the lock file.
pub(super) fn whoami(command: &str) -> String {
    format!("volgc {command} (process {})", std::process::id())
}
