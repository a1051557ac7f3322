//! I9: what is not a ledger of a known version is an error that names its file, and stays as it is.

use std::fs;

use super::*;

/// Both handles refuse the file with a message that says `what`, and leave it alone.
fn refused(directory: &TempDir, what: &str) -> Vec<LedgerError> {
    let before = snapshot(directory.path());
    let read = LedgerReader::open(directory.path()).and_then(|reader| reader.unwrap().read()).unwrap_err();
    let written = Ledger::open(directory.path()).and_then(|ledger| ledger.read()).unwrap_err();
    assert_eq!(before, snapshot(directory.path()), "{what}");
    for error in [&read, &written] {
        let path = file(directory);
        let remedy = format!("`mv {0} {0}.damaged`", path.display());
        let text = told(error, &path, &remedy);
        assert!(text.contains("Nothing was changed"), "{text}");
        assert!(text.contains(what), "{text}");
    }
    vec![read, written]
}

fn is_damaged(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Damaged { .. })
}

fn filled() -> TempDir {
    let directory = directory();
    let mut state = state_of(&["db", "www"]);
    state.volumes.get_mut(&name("www")).unwrap().identity =
        VolumeIdentity::Record { driver: "nfs".to_owned(), created_at: "2027".to_owned() };
    let mut ledger = open(&directory);
    ledger.write(&state, &[line("db", 0)]).unwrap();
    ledger.add_hold(&hold_on("db", 1)).unwrap();
    directory
}

fn sql(directory: &TempDir, statements: &str) {
    let connection = Connection::open(file(directory)).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    connection.execute_batch(statements).unwrap();
}

#[test]
fn an_empty_file_is_a_ledger_that_knows_nothing() {
    // One byte is what `echo >ledger.db` leaves; SQLite takes it for empty too (unixFileSize in os_unix.c).
    for contents in ["", "\n"] {
        let directory = directory();
        fs::write(file(&directory), contents).unwrap();
        assert!(LedgerReader::open(directory.path()).unwrap().is_none());
        assert_eq!(fs::read_to_string(file(&directory)).unwrap(), contents);
        assert_eq!(plain(open(&directory).read().unwrap()), LedgerState::default());
        open(&directory).write(&state_of(&["db"]), &[]).unwrap();
        assert_eq!(plain(reader(&directory).read().unwrap()), state_of(&["db"]));
    }
}

#[test]
fn a_database_without_tables_is_a_ledger_that_knows_nothing() {
    let directory = directory();
    sql(&directory, "CREATE TABLE t (x); DROP TABLE t");
    assert!(fs::metadata(file(&directory)).unwrap().len() > 0);
    assert!(LedgerReader::open(directory.path()).unwrap().is_none());
    assert_eq!(plain(open(&directory).read().unwrap()), LedgerState::default());
}

#[test]
fn text_is_not_a_ledger() {
    let directory = directory();
    fs::write(file(&directory), "not a ledger\n".repeat(1000)).unwrap();
    for error in refused(&directory, "it is no SQLite database") {
        assert!(matches!(error, LedgerError::NotALedger { .. }), "{error:?}");
    }
}

#[test]
fn the_database_of_another_program_is_not_a_ledger() {
    for pragmas in ["PRAGMA application_id = 7", "PRAGMA user_version = 1", "PRAGMA application_id = 0"] {
        let directory = directory();
        sql(&directory, &format!("{pragmas}; CREATE TABLE t (x)"));
        for error in refused(&directory, "another program") {
            assert!(matches!(error, LedgerError::NotALedger { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_newer_ledger_is_left_to_the_newer_volgc() {
    let directory = filled();
    sql(&directory, "PRAGMA user_version = 2; ALTER TABLE volumes RENAME TO things");
    for error in refused(&directory, "its version is 2, this volgc reads up to 1") {
        assert!(matches!(error, LedgerError::Newer { found: 2, known: 1, .. }), "{error:?}");
        told(&error, &file(&directory), "Install that volgc again");
    }
}

#[test]
fn a_version_that_never_was_is_damage() {
    for version in [0, -1] {
        let directory = filled();
        sql(&directory, &format!("PRAGMA user_version = {version}"));
        assert!(refused(&directory, "no volgc ever wrote").iter().all(is_damaged));
    }
}

#[test]
fn a_truncated_ledger_is_damaged() {
    let directory = filled();
    let whole = fs::read(file(&directory)).unwrap();
    for length in [31, 99, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(file(&directory), &whole[..length]).unwrap();
        assert!(refused(&directory, "is damaged").iter().all(is_damaged), "{length}");
    }
    for length in [2, 15] {
        fs::write(file(&directory), &whole[..length]).unwrap();
        for error in refused(&directory, "it is no SQLite database") {
            assert!(matches!(error, LedgerError::NotALedger { .. }), "{length}: {error:?}");
        }
    }
}

#[test]
fn an_overwritten_page_is_damage() {
    let directory = filled();
    let whole = fs::read(file(&directory)).unwrap();
    let connection = Connection::open(file(&directory)).unwrap();
    let root = |table: &str| -> usize {
        let query = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: u32 = connection.query_row(query, [table], |row| row.get(0)).unwrap();
        (page as usize - 1) * 4096
    };
    for table in ["meta", "volumes", "entries", "holds"] {
        let mut damaged = whole.clone();
        damaged[root(table)..][..4096].fill(0xa5);
        fs::write(file(&directory), damaged).unwrap();
        assert!(refused(&directory, "is damaged").iter().all(is_damaged), "{table}");
    }
}

/// The reader has no time to look at every page, but a sweep must not build on a file that is broken anywhere.
#[test]
fn the_writer_looks_at_pages_that_it_does_not_read() {
    let directory = filled();
    let mut ledger = open(&directory);
    ledger.record(&(0..500).map(|seconds| line("db", seconds)).collect::<Vec<_>>()).unwrap();
    drop(ledger);
    let mut bytes = fs::read(file(&directory)).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xa5);
    fs::write(file(&directory), bytes).unwrap();
    let before = snapshot(directory.path());
    reader(&directory).read().unwrap();
    assert!(is_damaged(&reader(&directory).history(&HistoryFilter::default()).unwrap_err()));
    let error = Ledger::open(directory.path()).unwrap_err();
    assert!(is_damaged(&error), "{error:?}");
    assert_eq!(before, snapshot(directory.path()));
}

#[test]
fn missing_tables_and_rows_are_damage() {
    for (statement, what) in [
        ("DROP TABLE holds", "its tables are not those of its version"),
        ("ALTER TABLE volumes DROP COLUMN suspected_since", "its tables are not those of its version"),
        ("DELETE FROM meta", "table meta is empty"),
    ] {
        let directory = filled();
        sql(&directory, statement);
        assert!(refused(&directory, what).iter().all(is_damaged), "{statement}");
    }
}

#[test]
fn a_value_that_means_nothing_is_damage_and_its_place_is_named() {
    for (statement, what) in [
        (
            "UPDATE volumes SET name = 'a/b' WHERE name = 'db'",
            r#"table volumes, row "a/b": name cannot be "a/b""#,
        ),
        (
            "UPDATE volumes SET first_seen_at = 'yesterday' WHERE name = 'db'",
            r#"table volumes, row "db": first_seen_at cannot be "yesterday""#,
        ),
        ("UPDATE volumes SET unreferenced_since = NULL", "unreferenced_since and its clock disagree"),
        ("UPDATE volumes SET watched_ms = NULL", "unreferenced_since and its clock disagree"),
        ("UPDATE volumes SET watched_ms = -1", "watched_ms cannot be -1"),
        ("UPDATE volumes SET sightings = 4294967296", "sightings cannot be 4294967296"),
        ("UPDATE volumes SET identity_kind = 'inode'", r#"identity_kind cannot be "inode""#),
        ("UPDATE volumes SET identity = '{}' WHERE name = 'db'", "identity cannot be read (missing field"),
        ("UPDATE volumes SET identity = '{}' WHERE name = 'www'", "identity cannot be read (missing field"),
        (
            "UPDATE volumes SET identity_kind = 'record' WHERE name = 'db'",
            "identity cannot be read (unknown field",
        ),
        ("UPDATE volumes SET last_holder_kind = 'ghost'", r#"last_holder_kind cannot be "ghost""#),
        ("UPDATE volumes SET last_holder_kind = NULL", "last_holder_kind is missing"),
        ("UPDATE volumes SET last_holder_id = NULL", "last_holder_id is missing"),
        ("UPDATE volumes SET last_holder_name = NULL", "last_holder_name is missing"),
        ("UPDATE volumes SET last_holder_detail = NULL", "last_holder_detail is missing"),
        ("UPDATE volumes SET last_holder_seen_at = NULL", "last_holder_seen_at is missing"),
        ("UPDATE volumes SET suspected_since = ''", r#"suspected_since cannot be """#),
        ("UPDATE entries SET entry = 'X'", r#"entry cannot be "X""#),
        (
            "UPDATE entries SET quarantined_since = '2027-01-01'",
            r#"quarantined_since cannot be "2027-01-01""#,
        ),
        ("UPDATE entries SET sightings = -1", "sightings cannot be -1"),
        ("UPDATE holds SET volume = NULL", "volume is to be given, or entry, and not both"),
        (
            "UPDATE holds SET entry = '20270115-080000-0000000a'",
            "volume is to be given, or entry, and not both",
        ),
        ("UPDATE holds SET expires_at = 'never'", r#"table holds, row 1: expires_at cannot be "never""#),
        ("UPDATE holds SET given_at = 'once'", r#"given_at cannot be "once""#),
        ("UPDATE meta SET engine_id = NULL", "engine_id and engine_root do not go together"),
        ("UPDATE meta SET last_sweep_boot_id = NULL", "last_sweep_at and the other clock do not go together"),
        ("UPDATE meta SET last_sweep_monotonic_ns = -5", "last_sweep_monotonic_ns cannot be -5"),
        ("UPDATE meta SET last_containers = -1", "last_containers cannot be -1"),
        // The texts in the file are not ours: nothing of them reaches a terminal raw.
        ("UPDATE volumes SET first_seen_at = char(27) || '[31m'", r"\u{1b}[31m"),
        ("UPDATE volumes SET name = CAST(x'ff' AS TEXT) WHERE name = 'db'", "name is not UTF-8"),
    ] {
        let directory = filled();
        sql(&directory, statement);
        let errors = read_errors(&directory);
        for error in &errors {
            assert!(is_damaged(error), "{statement}: {error:?}");
            let text = told(error, &file(&directory), "Move it away");
            assert!(text.contains(what), "{statement}: {text}");
        }
    }
}

/// Like [`refused`], for rows: `quick_check` may find a broken CHECK before they are read, so the handle is asked itself.
fn read_errors(directory: &TempDir) -> Vec<LedgerError> {
    let before = snapshot(directory.path());
    let error = reader(directory).read().unwrap_err();
    assert!(Ledger::open(directory.path()).and_then(|ledger| ledger.read()).is_err());
    assert_eq!(before, snapshot(directory.path()));
    vec![error]
}

#[test]
fn a_line_of_history_that_means_nothing_is_damage() {
    for (statement, what) in [
        (
            "UPDATE history SET happening = 'exploded'",
            r#"table history, row 1: happening cannot be "exploded""#,
        ),
        ("UPDATE history SET at = 'now'", r#"at cannot be "now""#),
        ("UPDATE history SET volume = ''", r#"volume cannot be """#),
        ("UPDATE history SET entry = ''", r#"entry cannot be """#),
        ("UPDATE history SET size_bytes = -1", "size_bytes cannot be -1"),
    ] {
        let directory = filled();
        sql(&directory, statement);
        let error = reader(&directory).history(&HistoryFilter::default()).unwrap_err();
        assert!(is_damaged(&error), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn write_ahead_mode_is_left_to_the_writer() {
    let directory = filled();
    let state = reader(&directory).read().unwrap();
    sql(&directory, "PRAGMA journal_mode = WAL");
    let before = snapshot(directory.path());
    let error = LedgerReader::open(directory.path()).unwrap_err();
    assert!(matches!(error, LedgerError::WriteAheadLog { .. }), "{error:?}");
    told(&error, &file(&directory), "the next `volgc sweep`");
    assert_eq!(before, snapshot(directory.path()));
    assert_eq!(open(&directory).read().unwrap(), state);
    assert_eq!(reader(&directory).read().unwrap(), state);
    assert_eq!(snapshot(directory.path()).len(), 1);
}

/// To open a database for writing is to fold in its write-ahead log, so a foreign one is refused before that.
#[test]
fn the_write_ahead_log_of_another_program_is_left_alone() {
    let (source, directory) = (directory(), directory());
    let connection = Connection::open(file(&source)).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x); PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1)")
        .unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(source.path().join(name), directory.path().join(name)).unwrap();
    }
    let before = snapshot(directory.path());
    assert!(matches!(Ledger::open(directory.path()).unwrap_err(), LedgerError::NotALedger { .. }));
    LedgerReader::open(directory.path()).unwrap_err();
    assert_eq!(before, snapshot(directory.path()));
}

#[test]
fn what_is_no_plain_file_or_directory_is_an_error() {
    let directory = directory();
    fs::create_dir(file(&directory)).unwrap();
    for error in
        [Ledger::open(directory.path()).unwrap_err(), LedgerReader::open(directory.path()).unwrap_err()]
    {
        assert!(matches!(error, LedgerError::Unopenable { .. }), "{error:?}");
        told(&error, &file(&directory), "Check that it is a plain file");
    }
    fs::remove_dir(file(&directory)).unwrap();
    fs::write(file(&directory), "x").unwrap();
    let below = file(&directory).join("state");
    let error = Ledger::open(&below).unwrap_err();
    assert!(matches!(error, LedgerError::Directory { .. }), "{error:?}");
    told(&error, &below, "--state-dir");
    let error = LedgerReader::open(&below).unwrap_err();
    assert!(matches!(error, LedgerError::Unopenable { .. }), "{error:?}");
}

#[test]
fn a_path_with_special_characters_is_opened_and_quoted() {
    let directory = directory();
    let odd = directory.path().join("file: 100%?mode=memory#a&b 'ü'");
    Ledger::open(&odd).unwrap().write(&state_of(&["db"]), &[]).unwrap();
    assert_eq!(snapshot(&odd).len(), 1);
    let reader = LedgerReader::open(&odd).unwrap().unwrap();
    assert_eq!(plain(reader.read().unwrap()), state_of(&["db"]));
    drop(reader);
    Connection::open(odd.join("ledger.db")).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(matches!(LedgerReader::open(&odd).unwrap_err(), LedgerError::WriteAheadLog { .. }));
    fs::write(odd.join("ledger.db"), "text").unwrap();
    let error = Ledger::open(&odd).unwrap_err();
    assert!(error.to_string().contains(r"a&b '\''ü'\''/ledger.db.damaged'`"), "{error}");
}

#[test]
fn a_relative_path_is_never_an_address() {
    assert_eq!(LedgerFile::of(Path::new("file:x")).path(), Path::new("./file:x/ledger.db"));
    assert_eq!(LedgerFile::of(Path::new("/var/lib/volgc")).path(), Path::new("/var/lib/volgc/ledger.db"));
}
