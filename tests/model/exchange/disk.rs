//! The disk: the two names of one volume's data, and what a power cut may take back.

use volgc::gc::protocol::{EntryShows, NameShows, Names, Phase};

/// Data 0 is the volume's at the beginning, which the manifest names.
pub(super) const FOLLOWED: usize = 3;

/// What one name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Nothing,
    Link,
    Data(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disk {
    /// `<volumes>/NAME/_data`.
    pub(super) name: Slot,
    /// In the entry, where the link leads.
    pub(super) linked: Slot,
    /// In the entry, where it does not.
    pub(super) kept: Slot,
    /// What the manifest says; none where there is none.
    pub(super) phase: Option<Phase>,
    /// Data that came to its end, as users or the grace period would have it.
    ended: [bool; FOLLOWED],
}

/// What was changed and is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Undo {
    pub(super) before: Disk,
    /// In the volume's directory, or the one that names it.
    pub(super) volume: bool,
    /// In the entry.
    pub(super) entry: bool,
}

impl Undo {
    pub(super) fn volume() -> Self {
        Self { before: Disk::first(), volume: true, entry: false }
    }

    pub(super) fn entry() -> Self {
        Self { before: Disk::first(), volume: false, entry: true }
    }

    pub(super) fn both() -> Self {
        Self { before: Disk::first(), volume: true, entry: true }
    }
}

impl Disk {
    pub(super) fn first() -> Self {
        Self {
            name: Slot::Data(0),
            linked: Slot::Nothing,
            kept: Slot::Nothing,
            phase: None,
            ended: [false; FOLLOWED],
        }
    }

    pub(super) fn names(&self) -> Names {
        let name = match self.name {
            Slot::Nothing => NameShows::Nothing,
            Slot::Link => NameShows::Link,
            Slot::Data(0) => NameShows::Data,
            Slot::Data(_) => NameShows::Other,
        };
        let entry = match (self.linked, self.kept) {
            (Slot::Nothing, Slot::Nothing) => EntryShows::Nothing,
            (Slot::Link, Slot::Nothing) => EntryShows::Link,
            (Slot::Data(0), Slot::Nothing) => EntryShows::Linked,
            (Slot::Data(_), Slot::Nothing) => EntryShows::Caught,
            (Slot::Nothing, Slot::Data(0)) => EntryShows::Kept,
            _ => EntryShows::Other,
        };
        Names { name, entry }
    }

    pub(super) fn end(&mut self, data: u8) {
        if let Some(ended) = self.ended.get_mut(usize::from(data)) {
            *ended = true;
        }
    }

    pub(super) fn has_ended(&self, data: u8) -> bool {
        self.ended.get(usize::from(data)).copied().unwrap_or(true)
    }

    /// Whatever else it has stays, without a manifest.
    pub(super) fn drop_entry(&mut self) {
        self.phase = None;
        if self.linked == Slot::Link {
            self.linked = Slot::Nothing;
        }
    }

    /// In how many places it is.
    pub(super) fn places(&self, data: u8) -> usize {
        [self.name, self.linked, self.kept].iter().filter(|slot| **slot == Slot::Data(data)).count()
    }

    /// What users had just made may be gone with the power, like anything that nobody has synced.
    pub(super) fn without_what_was_new(mut self, made: u8) -> Self {
        for data in 1..=made {
            if self.places(data) == 0 {
                self.end(data);
            }
        }
        self
    }
}
