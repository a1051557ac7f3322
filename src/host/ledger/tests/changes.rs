//! What a change changes, and what it leaves alone.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_missing_ledger_knows_nothing() {
    let directory = directory();
    let below = directory.path().join("state");
    assert!(LedgerReader::open(&below).unwrap().is_none());
    assert!(!below.exists());
    let ledger = Ledger::open(&below).unwrap();
    assert_eq!(plain(ledger.read().unwrap()), LedgerState::default());
    assert_eq!(ledger.history(&HistoryFilter::default()).unwrap(), []);
    assert_eq!(plain(LedgerReader::open(&below).unwrap().unwrap().read().unwrap()), LedgerState::default());
}

#[test]
fn only_its_owner_may_read_it() {
    let directory = directory();
    let below = directory.path().join("a/state");
    let ledger = Ledger::open(&below).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&below), 0o700);
    assert_eq!(mode(ledger.file()), 0o600);
}

#[test]
fn it_is_durable_and_has_no_write_ahead_log() {
    let directory = directory();
    let ledger = open(&directory);
    let pragma = |name| -> String {
        let value: rusqlite::types::Value =
            ledger.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        format!("{value:?}")
    };
    assert_eq!(pragma("journal_mode"), "Text(\"delete\")");
    assert_eq!(pragma("synchronous"), "Integer(3)");
    assert_eq!(pragma("busy_timeout"), "Integer(10000)");
    assert_eq!(pragma("temp_store"), "Integer(2)");
    assert_eq!(pragma("application_id"), "Integer(1986815843)");
    assert_eq!(pragma("user_version"), "Integer(1)");
}

#[test]
fn volumes_and_entries_that_vanished_are_forgotten() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db", "www"]), &[]).unwrap();
    let mut fewer = state_of(&["db"]);
    fewer.entries.clear();
    ledger.write(&fewer, &[]).unwrap();
    assert_eq!(plain(ledger.read().unwrap()), fewer);
}

#[test]
fn a_hold_given_while_a_sweep_runs_outlives_it() {
    let directory = directory();
    let mut sweep = open(&directory);
    let before = sweep.read().unwrap();
    open(&directory).add_hold(&hold_on("db", 1)).unwrap();
    assert_eq!(sweep.holds().unwrap(), [hold_on("db", 1)]);
    sweep.write(&before, &[]).unwrap();
    sweep.write(&LedgerState { holds: vec![hold_on("www", 2)], ..before }, &[]).unwrap();
    assert_eq!(sweep.read().unwrap().holds, [hold_on("db", 1)]);
}

#[test]
fn a_sweep_that_another_overtook_records_nothing() {
    let directory = directory();
    let (mut one, mut other) = (open(&directory), open(&directory));
    one.read().unwrap();
    other.read().unwrap();
    other.write(&state_of(&["other"]), &[line("other", 0)]).unwrap();
    let error = one.write(&state_of(&["one"]), &[line("one", 0)]).unwrap_err();
    assert!(matches!(error, LedgerError::ChangedMeanwhile { .. }), "{error:?}");
    told(&error, &file(&directory), "have only one `volgc run`");
    assert_eq!(one.history(&HistoryFilter::default()).unwrap(), [line("other", 0)]);
    // After it has read what the other wrote, it may write.
    assert_eq!(plain(one.read().unwrap()), state_of(&["other"]));
    one.write(&state_of(&["one"]), &[]).unwrap();
    assert_eq!(plain(other.read().unwrap()), state_of(&["one"]));
}

#[test]
fn every_change_that_a_sweep_would_undo_stops_it() {
    type Work = fn(&mut Ledger);
    let works: [Work; 5] = [
        |other| other.set_volume_record(&name("db"), &record(9)).unwrap(),
        |other| other.forget_volume(&name("db")).unwrap(),
        |other| other.start_entry(&entry("20270115-080000-0000000b"), &clock(0)).unwrap(),
        |other| other.forget_entry(&entry("20270115-080000-0000000a")).unwrap(),
        |other| assert_eq!(other.acknowledge_all().unwrap(), 0),
    ];
    for (number, work) in works.iter().enumerate() {
        let directory = directory();
        let mut sweep = open(&directory);
        sweep.write(&state_of(&["db"]), &[]).unwrap();
        work(&mut open(&directory));
        // A change of its own does not hide that of the other.
        sweep.set_volume_record(&name("db"), &record(1)).unwrap();
        let error = sweep.write(&state_of(&["db"]), &[]).unwrap_err();
        assert!(matches!(error, LedgerError::ChangedMeanwhile { .. }), "{number}: {error:?}");
    }
}

#[test]
fn its_own_changes_holds_and_history_do_not_stop_a_sweep() {
    let directory = directory();
    let (mut sweep, mut other) = (open(&directory), open(&directory));
    sweep.read().unwrap();
    other.add_hold(&hold_on("db", 1)).unwrap();
    other.record(&[line("db", 0)]).unwrap();
    assert_eq!(other.remove_holds(&hold_on("db", 1).target).unwrap(), 1);
    assert_eq!(other.drop_holds(|_| false).unwrap(), 0);
    sweep.set_volume_record(&name("db"), &record(1)).unwrap();
    sweep.forget_volume(&name("www")).unwrap();
    sweep.start_entry(&entry("20270115-080000-0000000b"), &clock(0)).unwrap();
    sweep.forget_entry(&entry("20270115-080000-0000000b")).unwrap();
    sweep.acknowledge_all().unwrap();
    sweep.write(&state_of(&["db"]), &[]).unwrap();
    sweep.write(&state_of(&["db"]), &[]).unwrap();
    assert_eq!(plain(other.read().unwrap()), state_of(&["db"]));
}

#[test]
fn single_volumes_and_entries_come_and_go() {
    let directory = directory();
    let mut ledger = open(&directory);
    let (a, b) = (entry("20270115-080000-0000000a"), entry("20270115-080000-0000000b"));
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    ledger.set_volume_record(&name("db"), &record(9)).unwrap();
    ledger.set_volume_record(&name("www"), &record(2)).unwrap();
    ledger.start_entry(&b, &clock(1)).unwrap();
    ledger.start_entry(&a, &clock(2)).unwrap();
    let mut wanted = state_of(&["db", "www"]);
    wanted.volumes.insert(name("db"), record(9));
    wanted.entries = BTreeMap::from([(a.clone(), clock(2)), (b.clone(), clock(1))]);
    assert_eq!(plain(ledger.read().unwrap()), wanted);
    ledger.forget_volume(&name("db")).unwrap();
    ledger.forget_entry(&a).unwrap();
    wanted.volumes.remove(&name("db"));
    wanted.entries.remove(&a);
    assert_eq!(plain(ledger.read().unwrap()), wanted);
}

#[test]
fn a_hold_is_released_by_what_it_is_on_and_by_nothing_else() {
    let directory = directory();
    let mut ledger = open(&directory);
    let on_entry = |text| Hold { target: HoldTarget::Entry { entry: entry(text) }, ..hold_on("x", 1) };
    let holds = [
        hold_on("db", 1),
        hold_on("db", 1),
        hold_on("db", 2),
        hold_on("www", 1),
        on_entry("20270115-080000-0000000a"),
        on_entry("20270115-080000-0000000b"),
    ];
    for hold in &holds {
        ledger.add_hold(hold).unwrap();
    }
    // The same directory after a restart of the host that numbered its devices anew.
    let VolumeIdentity::Directory(directory) = identity(1) else { unreachable!() };
    let renumbered = VolumeIdentity::Directory(DirectoryIdentity { device: 3, ..directory });
    let target = HoldTarget::Volume { name: name("db"), identity: renumbered };
    assert_eq!(ledger.remove_holds(&target).unwrap(), 2);
    assert_eq!(ledger.remove_holds(&target).unwrap(), 0);
    assert_eq!(ledger.remove_holds(&holds[5].target).unwrap(), 1);
    assert_eq!(ledger.holds().unwrap(), holds[2..5]);
}

#[test]
fn holds_end_at_the_instant_of_their_expiry() {
    let directory = directory();
    let mut ledger = open(&directory);
    let until = |seconds| Hold { expires_at: Some(at(seconds)), ..hold_on("db", 1) };
    for hold in [until(9), until(10), until(11), hold_on("db", 1)] {
        ledger.add_hold(&hold).unwrap();
    }
    assert_eq!(ledger.drop_holds(|hold| !hold.is_active(at(10))).unwrap(), 2);
    assert_eq!(ledger.holds().unwrap(), [until(11), hold_on("db", 1)]);
}

#[test]
fn an_acknowledgement_lets_every_volume_go() {
    let directory = directory();
    let mut ledger = open(&directory);
    let mut state = state_of(&["a1", "b2", "c3"]);
    for suspect in ["a1", "c3"] {
        state.volumes.get_mut(&name(suspect)).unwrap().suspected_since = Some(at(1));
    }
    ledger.write(&state, &[]).unwrap();
    assert_eq!(ledger.acknowledge_all().unwrap(), 2);
    let acknowledged = LedgerState {
        engine: None,
        last_containers: None,
        places: None,
        acknowledged: true,
        ..state_of(&["a1", "b2", "c3"])
    };
    assert_ne!(state.engine, None, "the test writes an engine");
    assert_eq!(plain(ledger.read().unwrap()), acknowledged);
}

#[test]
fn the_history_is_told_in_the_order_of_events() {
    let directory = directory();
    let mut ledger = open(&directory);
    // The wall clock was set back between the second and the third.
    ledger.record(&[line("db", 10), line("www", 20)]).unwrap();
    ledger.write(&state_of(&[]), &[line("db", 5)]).unwrap();
    ledger.record(&[HistoryLine { volume: None, ..line("db", 30) }]).unwrap();
    let seconds = |since: Option<i64>, volume: Option<&str>| -> Vec<i64> {
        let filter = HistoryFilter { since: since.map(at), volume: volume.map(name) };
        let lines = ledger.history(&filter).unwrap();
        assert_eq!(reader(&directory).history(&filter).unwrap(), lines);
        lines.iter().map(|line| (line.at - at(0)).num_seconds()).collect()
    };
    assert_eq!(seconds(None, None), [10, 20, 5, 30]);
    assert_eq!(seconds(Some(10), None), [10, 20, 30]);
    assert_eq!(seconds(None, Some("db")), [10, 5]);
    assert_eq!(seconds(Some(11), Some("www")), [20]);
    assert_eq!(seconds(Some(31), None), [0; 0]);
}

#[test]
fn what_would_not_read_back_is_not_written() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    let far = Utc.with_ymd_and_hms(10_000, 1, 1, 0, 0, 0).unwrap();
    let mut jumped = state_of(&["db", "www"]);
    jumped.volumes.get_mut(&name("www")).unwrap().first_seen_at = far;
    let huge = HistoryLine { size_bytes: Some(u64::MAX), ..line("db", 0) };
    let endless = Clock { watched: Duration::MAX, ..clock(0) };
    for error in [
        ledger.write(&jumped, &[line("db", 0)]).unwrap_err(),
        ledger.record(&[line("db", 0), huge]).unwrap_err(),
        ledger.start_entry(&entry("20270115-080000-0000000b"), &endless).unwrap_err(),
    ] {
        assert!(matches!(error, LedgerError::Unrecordable { .. }), "{error:?}");
        told(&error, &file(&directory), "check the clock");
    }
    assert_eq!(plain(ledger.read().unwrap()), state_of(&["db"]));
    assert_eq!(ledger.history(&HistoryFilter::default()).unwrap(), []);
    // And the handle is still good.
    ledger.write(&state_of(&["www"]), &[]).unwrap();
}

#[test]
fn fractions_of_a_millisecond_only_delay() {
    let directory = directory();
    let mut ledger = open(&directory);
    let watched = Duration::from_nanos(1_999_999);
    ledger.start_entry(&entry("20270115-080000-0000000b"), &Clock { watched, ..clock(0) }).unwrap();
    let read = ledger.read().unwrap().entries.into_values().next().unwrap();
    assert_eq!(read.watched, Duration::from_millis(1));
}

#[test]
fn a_reader_sees_the_state_before_an_unfinished_change() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    let early = reader(&directory);
    let transaction = begin(&mut ledger.connection, &ledger.file).unwrap();
    transaction.execute("DELETE FROM volumes", []).unwrap();
    assert_eq!(plain(early.read().unwrap()), state_of(&["db"]));
    assert_eq!(plain(reader(&directory).read().unwrap()), state_of(&["db"]));
    commit(transaction, &ledger.file).unwrap();
    assert_eq!(plain(early.read().unwrap()), state_of(&[]));
}

#[test]
fn writers_wait_for_each_other() {
    let directory = directory();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut ledger = open(&directory);
                for seconds in 0..25 {
                    ledger.record(&[line("db", seconds)]).unwrap();
                    assert!(!reader(&directory).history(&HistoryFilter::default()).unwrap().is_empty());
                }
            });
        }
    });
    assert_eq!(open(&directory).history(&HistoryFilter::default()).unwrap().len(), 100);
}

/// Each finds nothing, or the whole ledger that another has just made.
#[test]
fn many_may_make_the_ledger_at_once() {
    for _ in 0..20 {
        let directory = directory();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    LedgerReader::open(directory.path()).unwrap();
                    let ledger = open(&directory);
                    assert_eq!(plain(ledger.read().unwrap()), LedgerState::default());
                    assert_eq!(plain(reader(&directory).read().unwrap()), LedgerState::default());
                });
            }
        });
    }
}

#[test]
fn a_ledger_that_stays_in_use_is_an_error() {
    let directory = directory();
    let (mut one, mut other) = (open(&directory), open(&directory));
    other.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    let transaction = begin(&mut one.connection, &one.file).unwrap();
    let error = other.record(&[line("db", 0)]).unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error:?}");
    told(&error, &file(&directory), "fuser -v");
    drop(transaction);
    other.record(&[line("db", 0)]).unwrap();
}

#[test]
fn a_full_disk_changes_nothing() {
    let directory = directory();
    let mut ledger = open(&directory);
    ledger.write(&state_of(&["db"]), &[]).unwrap();
    let pages: i64 = ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let lines: Vec<_> = (0..1000).map(|seconds| line("db", seconds)).collect();
    let error = ledger.write(&state_of(&["www"]), &lines).unwrap_err();
    assert!(matches!(error, LedgerError::Full { .. }), "{error:?}");
    told(&error, &file(&directory), "Make room");
    assert_eq!(plain(reader(&directory).read().unwrap()), state_of(&["db"]));
    ledger.write(&state_of(&["www"]), &[]).unwrap();
}
