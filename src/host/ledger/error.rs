//! What can be wrong with the ledger, and what an administrator does about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

/// Why the ledger cannot be used. Each names its file and the way out; none has changed the file (I9).
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The state directory is missing and cannot be made, or cannot be used.
    #[error(
        "the state directory {} cannot be made or used. Run as root, or name another directory with `--state-dir`",
        .directory.display()
    )]
    Directory {
        /// The state directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be made, looked at or opened.
    #[error(
        "the ledger {} cannot be opened. Check that it is a plain file, and run as root or as its owner",
        .file.display()
    )]
    Unopenable {
        /// The ledger.
        file: PathBuf,
        /// What the system or `SQLite` said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is something else.
    #[error("{} is not a ledger of volgc: {found}. {}", .file.display(), MoveAway(.file))]
    NotALedger {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        found: String,
        /// What `SQLite` said, if it said anything.
        source: Option<rusqlite::Error>,
    },
    /// The file was a ledger once.
    #[error("the ledger {} is damaged: {detail}. {}", .file.display(), MoveAway(.file))]
    Damaged {
        /// The ledger.
        file: PathBuf,
        /// Where and how.
        detail: String,
        /// What `SQLite` said, if it said anything.
        source: Option<rusqlite::Error>,
    },
    /// A newer volgc wrote it.
    #[error(
        "the ledger {} was written by a newer volgc: its version is {found}, this volgc reads up to {known}. \
         Nothing was changed. Install that volgc again. To stay with this one: {}",
        .file.display(), MoveAway(.file)
    )]
    Newer {
        /// The ledger.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A process died in the middle of a commit, and this one must not write.
    #[error(
        "the ledger {} was left half written by a process that was killed. \
         Reading commands never write: the next `volgc sweep`, or start of the service, mends it",
        .file.display()
    )]
    Interrupted {
        /// The ledger.
        file: PathBuf,
    },
    /// Somebody switched the journal mode, and reading would make files.
    #[error(
        "the ledger {} was switched to write-ahead logging, in which reading makes files. \
         Reading commands never write: the next `volgc sweep`, or start of the service, switches it back",
        .file.display()
    )]
    WriteAheadLog {
        /// The ledger.
        file: PathBuf,
    },
    /// Another process kept it for longer than the time allowed.
    #[error(
        "the ledger {0} is in use by another process. See which with `fuser -v {1}`, and try again",
        .file.display(), Quoted(.file)
    )]
    Busy {
        /// The ledger.
        file: PathBuf,
        /// What `SQLite` said.
        source: Option<rusqlite::Error>,
    },
    /// The file, its directory or its file system does not allow writing.
    #[error(
        "the ledger {} cannot be written{}. Check that its file system has inodes left (`df -i`) and is not mounted \
         read-only, and that its directory may be written by this user (a service also needs it among its \
         `ReadWritePaths` or as `StateDirectory`)",
        .file.display(),
        .cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"))
    )]
    NotWritable {
        /// The ledger.
        file: PathBuf,
        /// What the system or `SQLite` said.
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No space left for it.
    #[error("the ledger {} cannot be written: its disk or quota is full. Make room and try again", .file.display())]
    Full {
        /// The ledger.
        file: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// Another sweep or command wrote between this sweep's read and its write.
    #[error(
        "the ledger {} was changed by another process while this sweep ran, so what the sweep saw was not recorded. \
         The next sweep starts from what the other wrote; have only one `volgc run` for each state directory",
        .file.display()
    )]
    ChangedMeanwhile {
        /// The ledger.
        file: PathBuf,
    },
    /// A value has no place in a column. Nothing was written.
    #[error("the ledger {} cannot hold {what}. Nothing was recorded; check the clock of this host", .file.display())]
    Unrecordable {
        /// The ledger.
        file: PathBuf,
        /// Which value.
        what: String,
    },
    /// A system call for it failed.
    #[error("the ledger {} cannot be written: {source}. Nothing was recorded", .file.display())]
    System {
        /// The ledger.
        file: PathBuf,
        /// The system's words.
        source: rustix::io::Errno,
    },
    /// Anything else, among it errors of the disk.
    #[error(
        "the ledger {} could not be read or written. If the kernel log (`dmesg`) shows errors of that disk, mend it first",
        .file.display()
    )]
    Failed {
        /// The ledger.
        file: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
}

impl LedgerError {
    /// What happened, with what the system or `SQLite` said of it.
    pub fn told(&self) -> String {
        let mut told = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            told.push_str(&format!(" ({error})"));
            source = error.source();
        }
        told
    }
}

/// Where the ledger is; makes errors that name it.
#[derive(Debug, Clone)]
pub(super) struct LedgerFile(PathBuf);

impl LedgerFile {
    /// The ledger of a state directory.
    pub(super) fn of(state_dir: &Path) -> Self {
        // `SQLite` takes a name that starts with `file:` for an address; one that starts with `./` or `/` is a path.
        Self(Path::new(".").join(state_dir).join("ledger.db"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn directory(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("."))
    }

    pub(super) fn damaged(&self, detail: impl Into<String>) -> LedgerError {
        LedgerError::Damaged { file: self.0.clone(), detail: detail.into(), source: None }
    }

    pub(super) fn not_a_ledger(&self, found: impl Into<String>) -> LedgerError {
        LedgerError::NotALedger { file: self.0.clone(), found: found.into(), source: None }
    }

    pub(super) fn unrecordable(&self, what: impl Into<String>) -> LedgerError {
        LedgerError::Unrecordable { file: self.0.clone(), what: what.into() }
    }

    pub(super) fn unopenable(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LedgerError {
        LedgerError::Unopenable { file: self.0.clone(), source: source.into() }
    }

    pub(super) fn not_writable(&self, source: io::Error) -> LedgerError {
        LedgerError::NotWritable { file: self.0.clone(), cause: Some(source.into()) }
    }

    /// What an answer of `SQLite` means for an administrator.
    pub(super) fn failed(&self, source: rusqlite::Error) -> LedgerError {
        let file = self.0.clone();
        let code = extended_code(&source).unwrap_or(ffi::SQLITE_INTERNAL);
        if code == ffi::SQLITE_READONLY_ROLLBACK {
            return LedgerError::Interrupted { file };
        }
        // The low byte is the kind of error, the rest its circumstances.
        match code & 0xff {
            ffi::SQLITE_NOTADB => LedgerError::NotALedger {
                file,
                found: "it is no SQLite database".to_owned(),
                source: Some(source),
            },
            ffi::SQLITE_CORRUPT => LedgerError::Damaged {
                file,
                detail: "its pages contradict each other".to_owned(),
                source: Some(source),
            },
            // Our statements are fixed, so a statement that does not compile has met other tables than ours.
            ffi::SQLITE_ERROR => LedgerError::Damaged {
                file,
                detail: "its tables are not those of its version".to_owned(),
                source: Some(source),
            },
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => LedgerError::Busy { file, source: Some(source) },
            ffi::SQLITE_FULL => LedgerError::Full { file, source },
            // CANTOPEN after the file itself was opened is a journal that cannot be made.
            ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => {
                LedgerError::NotWritable { file, cause: Some(source.into()) }
            }
            _ => LedgerError::Failed { file, source },
        }
    }
}

/// The code of an error that came from `SQLite` itself (<https://sqlite.org/rescode.html>).
pub(super) fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    if let rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } = error {
        Some(error.extended_code)
    } else {
        None
    }
}

/// The way out that loses no volume.
struct MoveAway<'a>(&'a Path);

impl fmt::Display for MoveAway<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut aside = self.0.as_os_str().to_owned();
        aside.push(".damaged");
        write!(
            out,
            "Nothing was changed. Move it away with `mv {} {}`: all clocks then start anew, so volumes only stay longer; \
             holds must be given again",
            Quoted(self.0),
            Quoted(Path::new(&aside))
        )
    }
}

/// A path that can be pasted into a shell.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '@');
        if text.chars().all(plain) {
            out.write_str(&text)
        } else {
            write!(out, "'{}'", text.replace('\'', r"'\''"))
        }
    }
}
