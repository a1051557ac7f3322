//! Exit codes, and which error leads to which.

use crate::config::ConfigErrors;
use crate::host::engine::EngineError;
use crate::host::engine::endpoint::EndpointError;
use crate::host::ledger::LedgerError;
use crate::host::quarantine::QuarantineError;
use crate::metrics::MetricsError;
use crate::sweep::SweepError;
use crate::sweep::look::LookError;
use crate::sweep::mover::StepError;
use crate::witness::EvidenceError;

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Some steps failed.
    StepsFailed,
    /// Refused: evidence incomplete, a brake, another engine.
    Refused,
    /// With `--detailed-exit-code`: something would be done.
    WouldChange,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::StepsFailed => 3,
            Self::Refused => 4,
            Self::WouldChange => 10,
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Mistakes in the configuration, all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration file cannot be read.
    #[error("cannot read the configuration {file}: {why}")]
    ConfigFile {
        /// The file.
        file: String,
        /// The system's words.
        why: String,
    },
    /// The engine's address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The evidence or the quarantine.
    #[error(transparent)]
    Look(#[from] LookError),
    /// A sweep.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The file of `report --textfile` cannot be written.
    #[error("cannot write {file}: {why}; the file that is there is as it was")]
    Textfile {
        /// The file.
        file: String,
        /// The system's words.
        why: String,
    },
    /// A system call.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A wish that cannot be granted; the sentence says what to do.
    #[error("{0}")]
    Usage(String),
    /// Refused; the sentence says what to do.
    #[error("{0}")]
    Refused(String),
    /// Not found.
    #[error("{0}")]
    NotFound(String),
}

impl CliError {
    /// The exit code it leads to. An engine that cannot be reached is a failure; one whose answers are incomplete is a refusal.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::ConfigFile { .. } | Self::Endpoint(_) | Self::Usage(_) => Exit::Usage,
            Self::Engine(error) => of_engine(error),
            Self::Ledger(_)
            | Self::Metrics(_)
            | Self::Textfile { .. }
            | Self::System(_)
            | Self::NotFound(_) => Exit::Failed,
            Self::Refused(_) => Exit::Refused,
            Self::Look(error) => of_look(error),
            Self::Sweep(error) => match error {
                SweepError::Look(error) => of_look(error),
                SweepError::Quarantine(error) => of_quarantine(error),
                SweepError::Violations(_) => Exit::Refused,
                SweepError::Ledger(_) | SweepError::Lock(_) | SweepError::Clock(_) | SweepError::Stopped => {
                    Exit::Failed
                }
                SweepError::Step(error) => of_step(error),
            },
        }
    }
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::Unreachable { .. } => Exit::Failed,
        EngineError::Broken { .. }
        | EngineError::Timeout { .. }
        | EngineError::Status { .. }
        | EngineError::Shape { .. }
        | EngineError::TooOld { .. } => Exit::Refused,
    }
}

fn of_look(error: &LookError) -> Exit {
    match error {
        LookError::Evidence(EvidenceError::Engine(error)) => of_engine(error),
        LookError::Evidence(EvidenceError::Quarantine(error)) | LookError::Quarantine(error) => {
            of_quarantine(error)
        }
        LookError::Evidence(_) => Exit::Refused,
    }
}

fn of_quarantine(error: &QuarantineError) -> Exit {
    match error {
        QuarantineError::NewerManifest { .. } | QuarantineError::DamagedManifest { .. } => Exit::Refused,
        QuarantineError::Io { .. }
        | QuarantineError::NotRenamed { .. }
        | QuarantineError::Exists { .. }
        | QuarantineError::NotEmpty { .. }
        | QuarantineError::Mounted { .. }
        | QuarantineError::Covers(_)
        | QuarantineError::Covered { .. }
        | QuarantineError::NotTheSame { .. } => Exit::Failed,
    }
}

fn of_step(error: &StepError) -> Exit {
    match error {
        StepError::Refused(_) | StepError::Evidence(_) => Exit::Refused,
        StepError::Quarantine(error) => match error {
            QuarantineError::Exists { .. } => Exit::Refused,
            QuarantineError::Io { .. }
            | QuarantineError::NotRenamed { .. }
            | QuarantineError::NewerManifest { .. }
            | QuarantineError::DamagedManifest { .. }
            | QuarantineError::NotEmpty { .. }
            | QuarantineError::Mounted { .. }
            | QuarantineError::Covers(_)
            | QuarantineError::Covered { .. }
            | QuarantineError::NotTheSame { .. } => of_quarantine(error),
        },
        StepError::Swap { source, .. } => of_step(source),
        StepError::Shared(error) => of_step(error),
        StepError::Engine(_)
        | StepError::Ledger(_)
        | StepError::Deletion(_)
        | StepError::System(_)
        | StepError::Fault { .. } => Exit::Failed,
    }
}
