//! What could not be deleted, and what to do about it.

use std::fmt;

use rustix::io::Errno;

use super::Deleted;

/// Failures told one by one; the rest is a number.
pub(super) const TOLD: usize = 8;

/// Why a directory is not empty now.
#[derive(Debug, thiserror::Error)]
pub enum UnlinkError {
    /// It could not be opened or listed.
    #[error("the directory to empty cannot be read: {0}")]
    Unreadable(#[source] Errno),
    /// All else was deleted.
    #[error("{count} not deleted: {}{}", Listed(first), if *count > first.len() as u64 { "; ..." } else { "" })]
    Left {
        /// What was deleted nevertheless.
        deleted: Deleted,
        /// How many entries could not be deleted.
        count: u64,
        /// The first few of them.
        first: Vec<Failure>,
    },
}

/// One entry that could not be deleted. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {cause}")]
pub struct Failure {
    /// Where it is, below the directory that was to be emptied.
    pub path: String,
    /// Why it is still there.
    pub cause: Cause,
}

/// Why an entry could not be deleted, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It, or the directory it is in, has the attribute `i` or `a`.
    #[error("is protected: clear the attribute with `chattr -{attribute}` on `{holder}`, then delete again")]
    Protected {
        /// `i` (immutable) or `a` (append-only).
        attribute: char,
        /// What has the attribute.
        holder: String,
    },
    /// Nothing beyond it was touched.
    #[error("is a mount point or another file system: unmount it, then delete again")]
    Mount,
    /// It was moved, or new entries appeared in it, each time.
    #[error("changed while it was deleted: something still uses it")]
    InUse,
    /// It lies too deep to be walked to, and could not be moved up.
    #[error("lies too deep and cannot be moved up: {0}")]
    TooDeep(Errno),
    /// The file system's answer.
    #[error("{0}")]
    Failed(Errno),
}

struct Listed<'a>(&'a [Failure]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, failure) in self.0.iter().enumerate() {
            write!(formatter, "{}{failure}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The failures of a walk: all counted, a few kept.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u64,
    pub(super) first: Vec<Failure>,
}

impl Failures {
    pub(super) fn add(&mut self, failure: impl FnOnce() -> Failure) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(failure());
        }
    }

    pub(super) fn take(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.truncate(TOLD);
    }
}
