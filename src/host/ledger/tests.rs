mod changes;
mod damage;
mod obstacles;
mod processes;
mod totals;
mod unwritable;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeZone as _;
use proptest::option;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::gc::history::Happening;
use crate::gc::ledger::{ClockReading, KnownEngine};
use crate::gc::lineage::Places;
use crate::gc::obstacles::Obstacles;
use crate::gc::reference::{Holder, HolderKind, LastHolder};
use crate::gc::volume::{DirectoryIdentity, VolumeIdentity};

const HOLDER_KINDS: [HolderKind; 7] = [
    HolderKind::Container,
    HolderKind::UnloadedContainer,
    HolderKind::Mount,
    HolderKind::Process,
    HolderKind::Service,
    HolderKind::UnknownSwarm,
    HolderKind::Hold,
];

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(directory: &TempDir) -> Ledger {
    Ledger::open(directory.path()).unwrap()
}

fn reader(directory: &TempDir) -> LedgerReader {
    LedgerReader::open(directory.path()).unwrap().unwrap()
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("ledger.db")
}

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

fn entry(text: &str) -> EntryId {
    EntryId::new(text).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
}

fn identity(inode: u64) -> VolumeIdentity {
    let born_at_ns = 1_700_000_000_123_456_789;
    VolumeIdentity::Directory(DirectoryIdentity { device: 64_769, inode, born_at_ns, has_birth_time: true })
}

fn clock(hours: u64) -> Clock {
    Clock { since: at(0), watched: Duration::from_secs(hours * 3600), sightings: 7 }
}

fn last_holder(text: &str) -> LastHolder {
    let holder = Holder {
        kind: HolderKind::Container,
        id: "4f5e".repeat(16),
        name: text.to_owned(),
        detail: "exited, postgres:17".to_owned(),
    };
    LastHolder { holder, seen_at: at(-7) }
}

fn record(inode: u64) -> VolumeRecord {
    VolumeRecord {
        identity: identity(inode),
        first_seen_at: at(-100),
        unreferenced: Some(clock(30)),
        last_holder: Some(last_holder("web")),
        suspected_since: None,
    }
}

fn hold_on(text: &str, inode: u64) -> Hold {
    Hold {
        target: HoldTarget::Volume { name: name(text), identity: identity(inode) },
        reason: "the accountant wants it".to_owned(),
        given_at: at(0),
        expires_at: None,
    }
}

fn line(text: &str, seconds: i64) -> HistoryLine {
    HistoryLine {
        at: at(seconds),
        happening: Happening::Quarantined,
        volume: Some(name(text)),
        entry: Some(entry("20270115-080000-0000000a")),
        detail: "unreferenced for 7 d".to_owned(),
        last_holder: Some(last_holder("web")),
        size_bytes: Some(4096),
    }
}

fn places(inode: u64) -> Places {
    let volumes = DirectoryIdentity { device: 1, inode, born_at_ns: 7, has_birth_time: true };
    let (quarantine, containers) =
        (Some(DirectoryIdentity { has_birth_time: false, ..volumes }), Some(volumes));
    Places { volumes, quarantine, containers }
}

/// Everything but which ledger it is.
fn plain(state: LedgerState) -> LedgerState {
    assert!(state.lineage.is_some(), "it was written");
    LedgerState { lineage: None, ..state }
}

fn state_of(volumes: &[&str]) -> LedgerState {
    LedgerState {
        engine: Some(KnownEngine { id: "ABCD:EFGH".to_owned(), root: "/var/lib/docker".to_owned() }),
        last_sweep: Some(ClockReading {
            wall: at(0),
            monotonic: Duration::new(12_345, 678_901_234),
            boot_id: "f0e1".to_owned(),
        }),
        last_containers: Some(12),
        volumes: volumes.iter().zip(1..).map(|(text, inode)| (name(text), record(inode))).collect(),
        entries: BTreeMap::from([(entry("20270115-080000-0000000a"), clock(5))]),
        holds: Vec::new(),
        places: Some(places(9)),
        ..LedgerState::default()
    }
}

/// Every file below a directory: name, contents, time of change.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for found in std::fs::read_dir(directory).unwrap() {
        let path = found.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let contents = if metadata.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        files.insert(path, (contents, metadata.modified().unwrap()));
    }
    files
}

/// The whole message, and that it names the file, says what to do, and does not repeat its source.
fn told(error: &LedgerError, file: &Path, remedy: &str) -> String {
    let text = error.to_string();
    // `LedgerFile` may put `./` before a relative directory; here it is absolute.
    assert!(text.contains(file.to_str().unwrap()), "{text}");
    assert!(text.contains(remedy), "{text}");
    assert!(!text.contains("  "), "{text}");
    if let Some(source) = error.source() {
        assert!(!text.contains(&source.to_string()), "{text}: {source}");
    }
    text
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,12}", Just("a\0b\n'\"\u{1b}[31m".to_owned())]
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    // The years 0 to 9999.
    (-62_167_219_200_i64..=253_402_300_799, 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Utc.timestamp_opt(seconds, nanos).unwrap())
}

fn any_name() -> impl Strategy<Value = VolumeName> {
    prop_oneof!["[^/\0]{1,8}", "[0-9a-f]{64}"]
        .prop_filter_map("a volume name", |text| VolumeName::new(text).ok())
}

fn any_entry() -> impl Strategy<Value = EntryId> {
    "[0-9a-z][0-9a-z-]{7,20}".prop_map(|text| EntryId::new(text).unwrap())
}

fn any_identity() -> impl Strategy<Value = VolumeIdentity> {
    let directory = (any::<u64>(), any::<u64>(), any::<i64>(), any::<bool>()).prop_map(
        |(device, inode, born_at_ns, has_birth_time)| {
            VolumeIdentity::Directory(DirectoryIdentity { device, inode, born_at_ns, has_birth_time })
        },
    );
    let other = (any_text(), any_text())
        .prop_map(|(driver, created_at)| VolumeIdentity::Record { driver, created_at });
    prop_oneof![directory, other]
}

fn any_clock() -> impl Strategy<Value = Clock> {
    (any_time(), 0..=i64::MAX.cast_unsigned(), any::<u32>()).prop_map(|(since, watched, sightings)| Clock {
        since,
        watched: Duration::from_millis(watched),
        sightings,
    })
}

fn any_last_holder() -> impl Strategy<Value = LastHolder> {
    (prop::sample::select(&HOLDER_KINDS), any_text(), any_text(), any_text(), any_time()).prop_map(
        |(kind, id, name, detail, seen_at)| LastHolder { holder: Holder { kind, id, name, detail }, seen_at },
    )
}

fn any_record() -> impl Strategy<Value = VolumeRecord> {
    (
        any_identity(),
        any_time(),
        option::of(any_clock()),
        option::of(any_last_holder()),
        option::of(any_time()),
    )
        .prop_map(|(identity, first_seen_at, unreferenced, last_holder, suspected_since)| VolumeRecord {
            identity,
            first_seen_at,
            unreferenced,
            last_holder,
            suspected_since,
        })
}

fn any_hold() -> impl Strategy<Value = Hold> {
    let target = prop_oneof![
        (any_name(), any_identity()).prop_map(|(name, identity)| HoldTarget::Volume { name, identity }),
        any_entry().prop_map(|entry| HoldTarget::Entry { entry })
    ];
    (target, any_text(), any_time(), option::of(any_time()))
        .prop_map(|(target, reason, given_at, expires_at)| Hold { target, reason, given_at, expires_at })
}

fn any_reading() -> impl Strategy<Value = ClockReading> {
    (any_time(), 0..=i64::MAX.cast_unsigned(), any_text()).prop_map(|(wall, nanos, boot_id)| ClockReading {
        wall,
        monotonic: Duration::from_nanos(nanos),
        boot_id,
    })
}

fn any_state() -> impl Strategy<Value = LedgerState> {
    let engine = (any_text(), any_text()).prop_map(|(id, root)| KnownEngine { id, root });
    (
        option::of(engine),
        option::of(any_reading()),
        option::of(0..=i64::MAX.cast_unsigned()),
        prop::collection::btree_map(any_name(), any_record(), 0..5),
        prop::collection::btree_map(any_entry(), any_clock(), 0..3),
        prop::collection::vec(any_hold(), 0..3),
        option::of(any::<u64>().prop_map(|inode| places(inode >> 1))),
        obstacles::any_obstacles(),
    )
        .prop_map(|(engine, last_sweep, last_containers, volumes, entries, holds, places, obstacles)| {
            LedgerState {
                engine,
                last_sweep,
                last_containers,
                volumes,
                entries,
                holds,
                places,
                obstacles,
                ..LedgerState::default()
            }
        })
}

fn any_line() -> impl Strategy<Value = HistoryLine> {
    (
        any_time(),
        prop::sample::select(&Happening::ALL),
        option::of(any_name()),
        option::of(any_entry()),
        any_text(),
        option::of(any_last_holder()),
        option::of(0..=i64::MAX.cast_unsigned()),
    )
        .prop_map(|(at, happening, volume, entry, detail, last_holder, size_bytes)| HistoryLine {
            at,
            happening,
            volume,
            entry,
            detail,
            last_holder,
            size_bytes,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(100), ..ProptestConfig::default() })]

    #[test]
    fn everything_that_is_written_is_read_back(
        first in any_state(), second in any_state(), lines in prop::collection::vec(any_line(), 0..4)
    ) {
        let directory = directory();
        let mut ledger = open(&directory);
        ledger.write(&first, &lines).unwrap();
        for hold in &second.holds {
            ledger.add_hold(hold).unwrap();
        }
        ledger.write(&second, &[]).unwrap();
        prop_assert_eq!(plain(ledger.read().unwrap()), second.clone());
        prop_assert_eq!(&ledger.holds().unwrap(), &second.holds);
        drop(ledger);
        prop_assert_eq!(plain(open(&directory).read().unwrap()), second.clone());
        let reader = reader(&directory);
        prop_assert_eq!(plain(reader.read().unwrap()), second);
        prop_assert_eq!(reader.history(&HistoryFilter::default()).unwrap(), lines);
    }
}
