//! The data itself as a witness: times that the kernel wrote into its inodes tell of users that no list knows.
//!
//! A write stamps the change time (`ctime`), which no program can set. The modification time is whatever somebody made it, as
//! `tar` and `touch` do, so it proves nothing by itself. A read stamps the access time of a file, except where the file system is
//! mounted `noatime`; with `relatime` it does so once a day, and at the first read after a write.
//!
//! Access times of directories and symbolic links do not count: whoever lists names moves them, and that is no use of the data.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How far the kernel's clock for such stamps may be behind the one that a program reads: one tick (`CONFIG_HZ` is 100 at least).
const TICK: Duration = Duration::from_millis(10);

const NANOSECONDS: i64 = 1_000_000_000;

/// A time in an inode, in nanoseconds since 1970. What lies too far off is the farthest that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(i64);

impl Stamp {
    /// As `statx(2)` tells it.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self(seconds.saturating_mul(NANOSECONDS).saturating_add(i64::from(nanoseconds)))
    }

    /// For people.
    pub fn time(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }

    /// The last instant that the kernel may have written down like this. File systems cut off what they have no room for: whole
    /// seconds remain where inodes are small (ext3, and ext4 with `-I 128`).
    fn latest(self) -> i64 {
        let fraction = self.0.rem_euclid(NANOSECONDS);
        let mut unit = 1;
        while unit < NANOSECONDS && fraction % (unit * 10) == 0 {
            unit *= 10;
        }
        self.0.saturating_add(unit - 1)
    }
}

/// The times of one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `mtime`.
    pub modified: Stamp,
    /// `ctime`.
    pub changed: Stamp,
    /// `atime`.
    pub read: Stamp,
}

/// What an inode is, as far as its times mean something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The data directory itself, which this program renames and gives owner and mode.
    Top,
    /// A directory or a symbolic link.
    Passage,
    /// Anything else.
    File,
}

/// How something was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Its content, its name, its owner or its mode was changed.
    Changed,
    /// It was read.
    Read,
}

impl Manner {
    /// The verb for people.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Read => "read",
        }
    }
}

/// Whether a read is a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// It is.
    Count,
    /// It is not: a backup may read everything.
    Pass,
}

/// What counts as a use: everything from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    from: i64,
    reads: Reads,
}

impl Since {
    /// From this instant on, as this program reads the clock.
    pub fn new(at: DateTime<Utc>, reads: Reads) -> Self {
        let at = at.timestamp_nanos_opt().unwrap_or(if at.timestamp() < 0 { i64::MIN } else { i64::MAX });
        let tick = i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX);
        Self { from: at.saturating_sub(tick), reads }
    }

    /// The latest use that the times of an inode tell of. When it cannot be told whether a stamp is older, it is not.
    pub fn latest_use(&self, kind: Kind, times: &Times) -> Option<(Manner, Stamp)> {
        // Our own rename and chmod of the top change its `ctime` alone; a name that is made or removed in it changes both.
        let changed = match kind {
            Kind::Top => times.changed.min(times.modified),
            Kind::Passage | Kind::File => times.changed,
        };
        let read = match (kind, self.reads) {
            (Kind::File, Reads::Count) => Some((Manner::Read, times.read)),
            (Kind::File, Reads::Pass) | (Kind::Top | Kind::Passage, _) => None,
        };
        [Some((Manner::Changed, changed)), read]
            .into_iter()
            .flatten()
            .filter(|(_, stamp)| stamp.latest() >= self.from)
            .max_by_key(|(_, stamp)| *stamp)
    }
}

/// A use that was found in the data of a volume or an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// What was used last: its path below the data directory, fit to be shown; empty for that directory itself.
    pub path: String,
    /// How.
    pub manner: Manner,
    /// When.
    pub at: DateTime<Utc>,
    /// How many other files and directories were used.
    pub others: u64,
}

impl Touched {
    /// What was used and when.
    pub fn sentence(&self) -> String {
        let what = if self.path.is_empty() { "its top directory" } else { &self.path };
        let more = match self.others {
            0 => String::new(),
            1 => " (and one other)".to_owned(),
            count => format!(" (and {count} others)"),
        };
        format!("{what} was {} at {}{more}", self.manner.verb(), self.at.format("%Y-%m-%d %H:%M:%SZ"))
    }
}

/// What a walk through the data found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing was used.
    AtRest,
    /// Something was.
    Touched(Touched),
    /// Not everything could be looked at, and why: then it may have been used (I2).
    Unknown(String),
    /// The walk was stopped.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Kind = Kind::File;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn stamp(text: &str) -> Stamp {
        let at = at(text);
        Stamp::new(at.timestamp(), at.timestamp_subsec_nanos())
    }

    fn times(modified: &str, changed: &str, read: &str) -> Times {
        Times { modified: stamp(modified), changed: stamp(changed), read: stamp(read) }
    }

    const OLD: &str = "2026-01-01T10:00:00.123456789Z";
    const THEN: &str = "2026-01-02T10:00:00.500000001Z";
    const NEW: &str = "2026-01-03T10:00:00.123456789Z";

    fn found(kind: Kind, times: &Times, reads: Reads) -> Option<Manner> {
        Since::new(at(THEN), reads).latest_use(kind, times).map(|(manner, _)| manner)
    }

    #[test]
    fn a_later_change_is_a_use_of_anything_and_a_later_read_one_of_a_file() {
        for kind in [Kind::Top, Kind::Passage, FILE] {
            assert_eq!(found(kind, &times(OLD, OLD, OLD), Reads::Count), None);
            assert_eq!(found(kind, &times(NEW, NEW, OLD), Reads::Count), Some(Manner::Changed));
            assert_eq!(found(kind, &times(NEW, NEW, OLD), Reads::Pass), Some(Manner::Changed));
        }
        assert_eq!(found(FILE, &times(OLD, OLD, NEW), Reads::Count), Some(Manner::Read));
        assert_eq!(found(FILE, &times(OLD, OLD, NEW), Reads::Pass), None);
        for listed in [Kind::Top, Kind::Passage] {
            assert_eq!(found(listed, &times(OLD, OLD, NEW), Reads::Count), None);
        }
    }

    #[test]
    fn what_this_program_does_to_the_top_is_no_use() {
        assert_eq!(found(Kind::Top, &times(OLD, NEW, OLD), Reads::Count), None, "renamed");
        assert_eq!(found(Kind::Passage, &times(OLD, NEW, OLD), Reads::Count), Some(Manner::Changed));
    }

    /// `tar` and `touch` set any modification time, also one to come.
    #[test]
    fn a_modification_time_proves_nothing_by_itself() {
        for kind in [Kind::Top, Kind::Passage, FILE] {
            assert_eq!(found(kind, &times("2099-01-01T00:00:00Z", OLD, OLD), Reads::Count), None);
        }
        assert_eq!(found(FILE, &times(OLD, NEW, OLD), Reads::Count), Some(Manner::Changed), "set back");
    }

    #[test]
    fn the_tick_of_the_use_itself_is_a_use() {
        let one = |changed: &str| found(FILE, &times(OLD, changed, OLD), Reads::Count).is_some();
        // One tick earlier the kernel's clock may stand when a program reads the later time.
        assert!(one("2026-01-02T10:00:00.490000001Z"));
        assert!(!one("2026-01-02T10:00:00.489999999Z"));
    }

    #[test]
    fn a_file_system_of_whole_seconds_hides_no_use() {
        let one = |changed: &str| found(FILE, &times(OLD, changed, OLD), Reads::Count).is_some();
        assert!(one("2026-01-02T10:00:00Z"), "half a second before, or half a second after");
        assert!(!one("2026-01-02T09:59:59Z"));
        // Of milliseconds, as 0.489 for anything until 0.489999999.
        assert!(!one("2026-01-02T10:00:00.489Z"));
        assert!(one("2026-01-02T10:00:00.490Z"));
    }

    #[test]
    fn times_that_cannot_be_are_uses() {
        let far = Stamp::new(i64::MAX, 0);
        let past = Stamp::new(i64::MIN, 0);
        let since = Since::new(at(THEN), Reads::Count);
        let times = |changed, read| Times { modified: past, changed, read };
        assert!(since.latest_use(FILE, &times(far, past)).is_some());
        assert!(since.latest_use(FILE, &times(past, far)).is_some());
        assert!(since.latest_use(FILE, &times(past, past)).is_none());
        assert!(far.time() > at(NEW) && past.time() < at(OLD));
    }

    #[test]
    fn the_latest_of_two_uses_is_told() {
        let both = times(OLD, "2026-01-03T10:00:00Z", "2026-01-04T10:00:00Z");
        let (manner, seen) = Since::new(at(THEN), Reads::Count).latest_use(FILE, &both).unwrap();
        assert_eq!((manner, seen.time()), (Manner::Read, at("2026-01-04T10:00:00Z")));
    }

    #[test]
    fn a_finding_says_what_when_and_how_much_more() {
        let touched = |path: &str, others| Touched {
            path: path.to_owned(),
            manner: Manner::Read,
            at: at("2026-01-04T10:00:00.5Z"),
            others,
        };
        assert_eq!(touched("base/1", 0).sentence(), "base/1 was read at 2026-01-04 10:00:00Z");
        assert_eq!(
            touched("", 2).sentence(),
            "its top directory was read at 2026-01-04 10:00:00Z (and 2 others)"
        );
    }
}
