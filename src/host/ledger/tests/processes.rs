//! What can only be seen from another process: a killed writer, a reader that writes nothing, a read-only file system.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

const ROLE: &str = "VOLGC_TEST_LEDGER_ROLE";
const STATE_DIR: &str = "VOLGC_TEST_LEDGER_DIR";
const DONE: &str = "the child is done";

/// Not a test of its own: what the other tests run in another process.
#[test]
#[expect(clippy::print_stdout, reason = "the parent waits for it")]
fn child() {
    let (Ok(role), Ok(state_dir)) = (std::env::var(ROLE), std::env::var(STATE_DIR)) else { return };
    let state_dir = Path::new(&state_dir);
    match role.as_str() {
        "read" => {
            let reader = LedgerReader::open(state_dir).unwrap().unwrap();
            assert_eq!(reader.read().unwrap().volumes.len(), 500);
            assert_eq!(reader.history(&HistoryFilter::default()).unwrap().len(), 1);
            println!("\n{DONE}");
        }
        "die" => {
            let mut ledger = Ledger::open(state_dir).unwrap();
            ledger.connection.execute_batch("PRAGMA cache_size = 2; PRAGMA cache_spill = 2").unwrap();
            let transaction = begin(&mut ledger.connection, &ledger.file).unwrap();
            let rows = Rows { connection: &transaction, file: &ledger.file };
            rows.replace_state(&many(700)).unwrap();
            println!("\n{DONE}");
            std::thread::sleep(Duration::from_mins(1));
        }
        "find it in use" => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
            let connection = Connection::open_with_flags(state_dir.join("ledger.db"), flags).unwrap();
            connection.busy_timeout(Duration::ZERO).unwrap();
            let error = connection.execute_batch("BEGIN IMMEDIATE").unwrap_err();
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
            println!("\n{DONE}");
        }
        "write on a read-only file system" => {
            let error = Ledger::open(state_dir).unwrap_err();
            assert!(matches!(error, LedgerError::NotWritable { .. }), "{error:?}");
            told(&error, &state_dir.join("ledger.db"), "not mounted read-only");
            let error = Ledger::open(&state_dir.join("new")).unwrap_err();
            assert!(matches!(error, LedgerError::Directory { .. }), "{error:?}");
            assert_eq!(
                plain(LedgerReader::open(state_dir).unwrap().unwrap().read().unwrap()),
                state_of(&["db"])
            );
            println!("\n{DONE}");
        }
        other => panic!("{other}"),
    }
}

/// Runs [`child`] under the words of `before`.
fn spawn(before: &[&str], role: &str, state_dir: &Path) -> std::io::Result<Child> {
    let this = std::env::current_exe().unwrap();
    let test = concat!(module_path!(), "::child").split_once("::").unwrap().1;
    let mut words: Vec<_> = before.iter().map(|word| (*word).into()).collect();
    words.push(this.into_os_string());
    Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .env(STATE_DIR, state_dir)
        .stdout(Stdio::piped())
        .spawn()
}

fn wait_until_done(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == DONE));
}

fn runs_to_its_end(before: &[&str], role: &str, directory: &TempDir) {
    let output = spawn(before, role, directory.path()).unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(DONE), "{text}");
}

fn many(volumes: u64) -> LedgerState {
    let volumes = (1..=volumes)
        .map(|inode| {
            let holder = last_holder(&format!("project-web-{inode}"));
            (name(&format!("{inode:064x}")), VolumeRecord { last_holder: Some(holder), ..record(inode) })
        })
        .collect();
    LedgerState { volumes, ..state_of(&[]) }
}

/// A ledger of 500 volumes whose writer was killed while it wrote 700 others.
fn interrupted() -> TempDir {
    let directory = directory();
    open(&directory).write(&many(500), &[line("db", 0)]).unwrap();
    let mut child = spawn(&[], "die", directory.path()).unwrap();
    wait_until_done(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    // The file itself is already half of the new state.
    let connection = peek(&directory);
    let volumes: rusqlite::Result<i64> =
        connection.query_row("SELECT count(*) FROM volumes", [], |row| row.get(0));
    assert_ne!(volumes.ok(), Some(500));
    assert_eq!(snapshot(directory.path()).len(), 2);
    directory
}

fn peek(directory: &TempDir) -> Connection {
    let address = format!("file://{}?immutable=1", file(directory).display());
    Connection::open_with_flags(address, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
        .unwrap()
}

#[test]
fn a_reader_leaves_a_half_written_ledger_to_the_writer() {
    let directory = interrupted();
    let before = snapshot(directory.path());
    let error = LedgerReader::open(directory.path()).and_then(|reader| reader.unwrap().read()).unwrap_err();
    assert!(matches!(error, LedgerError::Interrupted { .. }), "{error:?}");
    told(&error, &file(&directory), "the next `volgc sweep`");
    assert_eq!(before, snapshot(directory.path()));
    let mended = open(&directory).read().unwrap();
    assert_eq!(plain(mended.clone()), many(500));
    assert_eq!(reader(&directory).read().unwrap(), mended);
}

/// To open a database for writing is to roll its journal back, so a newer one is refused before that.
#[test]
fn a_half_written_newer_ledger_is_left_to_the_newer_volgc() {
    let directory = interrupted();
    let mut bytes = fs::read(file(&directory)).unwrap();
    bytes[60..64].copy_from_slice(&2_u32.to_be_bytes()); // user_version, https://sqlite.org/fileformat2.html
    fs::write(file(&directory), bytes).unwrap();
    let before = snapshot(directory.path());
    let error = Ledger::open(directory.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Newer { .. }), "{error:?}");
    assert_eq!(before, snapshot(directory.path()));
}

/// A process killed while it made its first tables: nothing was recorded yet, so nothing is lost.
#[test]
fn a_ledger_killed_at_birth_is_born_again() {
    let directory = interrupted();
    fs::write(file(&directory), "").unwrap();
    let before = snapshot(directory.path());
    assert!(LedgerReader::open(directory.path()).unwrap().is_none());
    assert_eq!(before, snapshot(directory.path()));
    assert_eq!(plain(open(&directory).read().unwrap()), LedgerState::default());
}

/// `fcntl(2)`: a process loses its locks on a file as soon as it closes any descriptor of that file.
#[test]
fn opening_it_again_does_not_drop_the_locks_of_this_process() {
    let directory = directory();
    let mut ledger = open(&directory);
    let transaction = begin(&mut ledger.connection, &ledger.file).unwrap();
    drop(reader(&directory));
    drop(open(&directory));
    runs_to_its_end(&[], "find it in use", &directory);
    commit(transaction, &ledger.file).unwrap();
}

/// I10, by the system calls themselves.
#[test]
#[ignore = "needs strace"]
fn a_reader_makes_and_changes_no_file() {
    let directory = directory();
    open(&directory).write(&many(500), &[line("db", 0)]).unwrap();
    let before = snapshot(directory.path());
    let log = tempfile::NamedTempFile::new().unwrap();
    let strace = ["strace", "-f", "-y", "-o", log.path().to_str().unwrap(), "-e", "trace=file,desc"];
    runs_to_its_end(&strace, "read", &directory);
    assert_eq!(before, snapshot(directory.path()));
    let log = fs::read_to_string(log.path()).unwrap();
    let about: Vec<_> =
        log.lines().filter(|line| line.contains(directory.path().to_str().unwrap())).collect();
    assert!(about.iter().any(|line| line.contains("ledger.db\", O_RDONLY")), "{log}");
    // What a reader may do: look, read, and take shared locks. None of it changes anything.
    let harmless = [
        "access(",
        "close(",
        "fcntl(",
        "fstat(",
        "lseek(",
        "lstat(",
        "newfstatat(",
        "openat(",
        "pread64(",
        "read(",
        "readlink(",
        "stat(",
        "statx(",
        "mmap(",
        "munmap(",
        "faccessat(",
        "faccessat2(",
        "execve(",
    ];
    for line in about {
        assert!(harmless.iter().any(|call| line.contains(call)), "{line}");
        for flag in ["O_RDWR", "O_WRONLY", "O_CREAT", "O_TRUNC", "F_WRLCK"] {
            assert!(!line.contains(flag) || line.contains("F_GETLK"), "{line}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_read_only_file_system_can_be_read_and_not_written() {
    let directory = directory();
    open(&directory).write(&state_of(&["db"]), &[]).unwrap();
    let mount = format!("mount --bind -o ro '{0}' '{0}'; exec \"$@\"", directory.path().display());
    let wrapper = ["unshare", "--mount", "sh", "-ec", &mount, "sh"];
    runs_to_its_end(&wrapper, "write on a read-only file system", &directory);
}

#[test]
fn ten_thousand_volumes() {
    let directory = directory();
    let mut ledger = open(&directory);
    let state = many(10_000);
    ledger.write(&state, &[]).unwrap();
    ledger.record(&[line("db", 0)]).unwrap();
    drop(open(&directory));
    check_pages(&ledger.connection, &ledger.file).unwrap();
    assert_eq!(plain(reader(&directory).read().unwrap()), state);
}
