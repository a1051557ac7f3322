//! Whether the ledger and the docker root are those that belong together.
//!
//! The ledger may have been restored from a backup, or be a new one: then its clocks tell of another time, and holds may be missing.
//! So each sweep leaves a note in the quarantine directory, which its ledger remembers and no earlier copy of it does. The docker root may have
//! been copied to another disk, or be hidden by one that was mounted over it: then each directory is another one under its old
//! name. So the ledger remembers which directories they were.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ledger::{ClockReading, LedgerState};
use super::volume::DirectoryIdentity;

/// How many notes a ledger remembers. More than one, because two programs may note at once, and a note may fail to be written.
const REMEMBERED_NOTES: usize = 16;

/// Which ledger it is, and which of its notes it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Made up when the ledger was made.
    pub ledger: String,
    /// The marks of the last notes, each made up, the newest last. An earlier copy of the ledger does not have the newest, whatever
    /// was written into it since.
    pub marks: Vec<String>,
}

impl Lineage {
    /// The same with one more mark, and with the one that is on disk still, which the new one may not replace.
    #[must_use]
    pub fn marked(&self, mark: &str, on_disk: Option<&str>) -> Self {
        let newest = self.marks.iter().rev().take(REMEMBERED_NOTES - 2).rev();
        let is_old = |kept: &&String| Some(kept.as_str()) != on_disk;
        let known = on_disk.filter(|mark| self.marks.iter().any(|one| one == mark));
        let marks = known.map(str::to_owned).into_iter().chain(newest.filter(is_old).cloned());
        Self { ledger: self.ledger.clone(), marks: marks.chain([mark.to_owned()]).collect() }
    }
}

/// What is noted in the quarantine directory of the ledger that was used with it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// That ledger.
    pub ledger: String,
    /// Made up for this note, and remembered by the ledger before it was written.
    pub mark: String,
    /// How many holds it had.
    pub holds: u64,
    /// When it was noted.
    pub at: ClockReading,
    /// The directories that were there then: others are a copy, whichever ledger and engine it is found with. An earlier volgc noted
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Places>,
}

/// What a look finds of such a note.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Noted {
    /// None: no sweep noted anything yet, or there is no quarantine.
    #[default]
    Nothing,
    /// This.
    Known(Note),
    /// Something that cannot be read, naming the file.
    Unreadable(String),
}

/// The directories that the ledger is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// `<docker root>/volumes`.
    pub volumes: DirectoryIdentity,
    /// The quarantine directory; none when there is none.
    pub quarantine: Option<DirectoryIdentity>,
    /// `<docker root>/containers`. None where there is none, as of Podman, and in what an earlier volgc remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<DirectoryIdentity>,
}

/// One of these directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `<docker root>/volumes`.
    Volumes,
    /// `<docker root>/volgc`.
    Quarantine,
    /// `<docker root>/containers`.
    Containers,
}

impl Place {
    /// Its name in the docker root.
    pub fn name(self) -> &'static str {
        match self {
            Self::Volumes => "volumes",
            Self::Quarantine => "volgc",
            Self::Containers => "containers",
        }
    }
}

/// How a ledger relates to the one that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is that one, as it was or later; or nothing is known against it.
    Same,
    /// It is that one as it was before, as after it was restored from a backup.
    Older,
    /// It is another one, or a new one.
    Other,
    /// What was noted cannot be read.
    Unknown,
}

impl Noted {
    /// How the ledger that was read stands. `at` was read before the ledger was: what was noted later tells nothing of it.
    pub fn standing(&self, ledger: &LedgerState, at: &ClockReading) -> Standing {
        let note = match self {
            Self::Nothing => return Standing::Same,
            Self::Unreadable(_) => return Standing::Unknown,
            Self::Known(note) => note,
        };
        if note.at.boot_id == at.boot_id && note.at.monotonic >= at.monotonic {
            return Standing::Same;
        }
        match &ledger.lineage {
            Some(ours) if ours.ledger != note.ledger => Standing::Other,
            Some(ours) if !ours.marks.contains(&note.mark) => Standing::Older,
            Some(_) => Standing::Same,
            None => Standing::Other,
        }
    }

    /// What is said of a ledger whose clocks start anew: two that take turns would collect nothing, in silence.
    pub fn told(&self, standing: Standing) -> Option<String> {
        let when = match self {
            Self::Known(note) => format!(" at {}", note.at.wall.format("%Y-%m-%d %H:%MZ")),
            Self::Nothing | Self::Unreadable(_) => String::new(),
        };
        let which = match standing {
            Standing::Same => return None,
            Standing::Older => format!("an older copy of the one that was used here last{when}"),
            Standing::Other => format!("not the one that was used here last{when}"),
            Standing::Unknown => {
                "perhaps not the one that was used here last, as its note cannot be read".to_owned()
            }
        };
        Some(format!(
            "the ledger is {which}, so every clock starts anew. If two volgc work on this docker root, stop one of them, or give \
             both the same --state-dir: with two ledgers nothing ever becomes due"
        ))
    }

    /// The directories that were there when it was noted.
    pub fn places(&self) -> Option<&Places> {
        match self {
            Self::Known(note) => note.places.as_ref(),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }

    /// Whether the directories are a copy of those that were there when it was noted.
    pub fn is_of_others(&self, now: &Places) -> bool {
        self.places().is_some_and(|noted| !now.others_than(noted).is_empty())
    }

    /// Whether holds may be missing from a ledger that is not the one that was noted.
    pub fn may_miss_holds(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Known(note) => note.holds > 0,
            Self::Unreadable(_) => true,
        }
    }

    /// When it was noted, for people.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Known(note) => Some(note.at.wall),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

impl LedgerState {
    /// The same without anything that was watched, for a ledger that is not the one that was used last (I9). Its holds stay.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            last_sweep: None,
            volumes: std::collections::BTreeMap::new(),
            entries: std::collections::BTreeMap::new(),
            ..self.clone()
        }
    }
}

impl Places {
    /// The directories that are others now than those that are remembered. A quarantine directory that was not there, or is not there
    /// any more, is no other one: somebody may have deleted it. Containers whose directory is gone are missed, so that is another
    /// one (I2); one that nobody remembers yet is taken on.
    pub fn others_than(&self, remembered: &Self) -> Vec<Place> {
        let is_other = |before: &Option<DirectoryIdentity>, now: &Option<DirectoryIdentity>| {
            before.as_ref().zip(now.as_ref()).is_some_and(|(before, now)| !now.is_same_place(before))
        };
        let is_gone = remembered.containers.is_some() && self.containers.is_none();
        let others = [
            (Place::Volumes, !self.volumes.is_same_place(&remembered.volumes)),
            (Place::Quarantine, is_other(&remembered.quarantine, &self.quarantine)),
            (Place::Containers, is_gone || is_other(&remembered.containers, &self.containers)),
        ];
        others.into_iter().filter(|(_, is_other)| *is_other).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, boot_id: &str) -> ClockReading {
        ClockReading {
            wall: DateTime::UNIX_EPOCH,
            monotonic: Duration::from_secs(seconds),
            boot_id: boot_id.to_owned(),
        }
    }

    fn ledger(id: &str, marks: &[&str]) -> LedgerState {
        let marks = marks.iter().map(|mark| (*mark).to_owned()).collect();
        let lineage = Some(Lineage { ledger: id.to_owned(), marks });
        LedgerState { lineage, ..LedgerState::default() }
    }

    fn noted(id: &str, mark: &str) -> Noted {
        Noted::Known(Note {
            ledger: id.to_owned(),
            mark: mark.to_owned(),
            holds: 1,
            at: at(100, "b"),
            places: None,
        })
    }

    #[test]
    fn a_ledger_is_the_one_that_was_noted_or_a_later_one_of_it() {
        let now = at(200, "b");
        let noted = noted("a", "m2");
        let cases: [(&[&str], Standing); 4] = [
            (&["m1", "m2"], Standing::Same),
            (&["m2", "m3"], Standing::Same),
            (&["m1"], Standing::Older),
            (&[], Standing::Older),
        ];
        for (marks, expected) in cases {
            assert_eq!(noted.standing(&ledger("a", marks), &now), expected, "{marks:?}");
        }
        // It went its own way since.
        assert_eq!(noted.standing(&ledger("a", &["m1", "n2", "n3"]), &now), Standing::Older);
        assert_eq!(noted.standing(&ledger("b", &["m2"]), &now), Standing::Other);
        assert_eq!(noted.standing(&LedgerState::default(), &now), Standing::Other, "it was lost");
        assert_eq!(Noted::Nothing.standing(&ledger("a", &[]), &now), Standing::Same);
        assert_eq!(Noted::Unreadable(String::new()).standing(&ledger("a", &[]), &now), Standing::Unknown);
    }

    #[test]
    fn a_ledger_remembers_its_last_notes_and_the_one_that_is_on_disk() {
        let mut lineage = Lineage { ledger: "a".to_owned(), marks: Vec::new() };
        for number in 0..100 {
            // None of them can be written, since the first one.
            lineage = lineage.marked(&number.to_string(), (number > 0).then_some("0"));
            assert!(lineage.marks.contains(&"0".to_owned()) && lineage.marks.contains(&number.to_string()));
            assert!(lineage.marks.len() <= REMEMBERED_NOTES, "{:?}", lineage.marks);
        }
        assert!(lineage.marks.contains(&"90".to_owned()));
        // What another ledger noted is not ours.
        assert!(!lineage.marked("100", Some("x")).marks.contains(&"x".to_owned()));
    }

    #[test]
    fn what_was_noted_after_the_ledger_was_read_says_nothing_of_it() {
        let noted = noted("a", "m2");
        let before = ledger("a", &["m1"]);
        assert_eq!(noted.standing(&before, &at(100, "b")), Standing::Same, "another sweep just ended");
        assert_eq!(noted.standing(&before, &at(101, "b")), Standing::Older);
        assert_eq!(noted.standing(&before, &at(1, "c")), Standing::Older, "the host was restarted");
    }

    #[test]
    fn a_directory_that_was_copied_is_another_place_and_one_that_was_filled_is_not() {
        let one = DirectoryIdentity { device: 1, inode: 2, born_at_ns: 3, has_birth_time: true };
        let places = |volumes, quarantine| Places { volumes, quarantine, containers: None };
        let before = places(one, Some(one));
        let same: [Place; 0] = [];
        let others = |now: Places| now.others_than(&before);
        assert_eq!(others(places(DirectoryIdentity { device: 9, ..one }, Some(one))), same);
        assert_eq!(others(places(DirectoryIdentity { inode: 9, ..one }, Some(one))), [Place::Volumes]);
        assert_eq!(others(places(DirectoryIdentity { born_at_ns: 9, ..one }, Some(one))), [Place::Volumes]);
        assert_eq!(others(places(one, Some(DirectoryIdentity { inode: 9, ..one }))), [Place::Quarantine]);
        assert_eq!(others(places(one, None)), same);
        assert_eq!(before.others_than(&places(one, None)), same);
        // Without birth times that is the time of the last change.
        let plain = DirectoryIdentity { has_birth_time: false, ..one };
        let changed = DirectoryIdentity { born_at_ns: 9, ..plain };
        assert_eq!(places(changed, None).others_than(&places(plain, None)), same);
        let other = places(DirectoryIdentity { inode: 9, ..plain }, None);
        assert_eq!(other.others_than(&places(plain, None)), [Place::Volumes]);
    }

    #[test]
    fn a_directory_of_containers_that_was_replaced_or_is_gone_is_another_one_and_one_nobody_knew_is_not() {
        let one = DirectoryIdentity { device: 1, inode: 2, born_at_ns: 3, has_birth_time: true };
        let places = |containers| Places { volumes: one, quarantine: Some(one), containers };
        let (before, same): (Places, [Place; 0]) = (places(Some(one)), []);
        let replaced = places(Some(DirectoryIdentity { inode: 9, ..one }));
        assert_eq!(replaced.others_than(&before), [Place::Containers]);
        assert_eq!(places(None).others_than(&before), [Place::Containers]);
        assert_eq!(before.others_than(&before), same);
        assert_eq!(before.others_than(&places(None)), same, "of an earlier volgc");
        // A disk has another number after the next boot.
        assert_eq!(places(Some(DirectoryIdentity { device: 9, ..one })).others_than(&before), same);
        let elsewhere = DirectoryIdentity { inode: 9, ..one };
        let copied = Places { volumes: elsewhere, quarantine: Some(elsewhere), containers: Some(elsewhere) };
        assert_eq!(copied.others_than(&before), [Place::Volumes, Place::Quarantine, Place::Containers]);
    }

    #[test]
    fn what_an_earlier_volgc_remembered_is_read_and_what_is_remembered_now_is_read_as_it_was() {
        let one = DirectoryIdentity { device: 1, inode: 2, born_at_ns: 3, has_birth_time: true };
        let now = Places { volumes: one, quarantine: None, containers: Some(one) };
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Places>(&text).unwrap(), now);
        let old = Places { containers: None, ..now };
        let text = serde_json::to_string(&old).unwrap();
        assert!(!text.contains("containers"), "an earlier volgc reads it, too: {text}");
        assert_eq!(serde_json::from_str::<Places>(&text).unwrap(), old);
    }
}
