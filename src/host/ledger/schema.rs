//! The tables, and how a file is recognised as a ledger that this program may use (I9).

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::error::{LedgerError, LedgerFile, extended_code};

/// `PRAGMA application_id` of a ledger: "vlgc".
pub(super) const APPLICATION_ID: i64 = 0x766c_6763;

/// `PRAGMA user_version`: the version of the tables that this program writes, and the newest it reads.
pub(super) const VERSION: i64 = 1;

/// Times are RFC 3339 in UTC with nine decimals, so that their order as text is their order in time.
pub(super) const TABLES: &str = "
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    generation INTEGER NOT NULL, -- counts changes of meta, volumes and entries
    engine_id TEXT,
    engine_root TEXT,
    last_sweep_at TEXT,
    last_sweep_monotonic_ns INTEGER, -- CLOCK_MONOTONIC
    last_sweep_boot_id TEXT,
    last_containers INTEGER, -- how many the engine listed
    CHECK ((engine_id IS NULL) = (engine_root IS NULL)),
    CHECK ((last_sweep_at IS NULL) = (last_sweep_monotonic_ns IS NULL)),
    CHECK ((last_sweep_at IS NULL) = (last_sweep_boot_id IS NULL))
) STRICT;

CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    identity_kind TEXT NOT NULL CHECK (identity_kind IN ('directory', 'record')),
    identity TEXT NOT NULL, -- JSON: which volume of that name
    first_seen_at TEXT NOT NULL,
    unreferenced_since TEXT, -- NULL while something holds it
    watched_ms INTEGER, -- of the time since then, what volgc watched; this decides
    sightings INTEGER, -- in how many sweeps it was seen unreferenced
    last_holder_kind TEXT,
    last_holder_id TEXT,
    last_holder_name TEXT,
    last_holder_detail TEXT,
    last_holder_seen_at TEXT,
    suspected_since TEXT, -- held by the sudden-orphan brake
    CHECK ((unreferenced_since IS NULL) = (watched_ms IS NULL)),
    CHECK ((unreferenced_since IS NULL) = (sightings IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    entry TEXT PRIMARY KEY,
    quarantined_since TEXT NOT NULL,
    watched_ms INTEGER NOT NULL,
    sightings INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    id INTEGER PRIMARY KEY,
    volume TEXT, -- with its identity, or an entry
    identity_kind TEXT CHECK (identity_kind IN ('directory', 'record')),
    identity TEXT,
    entry TEXT,
    reason TEXT NOT NULL,
    given_at TEXT NOT NULL,
    expires_at TEXT, -- NULL: until released
    CHECK ((volume IS NULL) <> (entry IS NULL)),
    CHECK ((volume IS NULL) = (identity IS NULL)),
    CHECK ((volume IS NULL) = (identity_kind IS NULL))
) STRICT;

CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    happening TEXT NOT NULL,
    volume TEXT,
    entry TEXT,
    detail TEXT NOT NULL,
    last_holder_kind TEXT,
    last_holder_id TEXT,
    last_holder_name TEXT,
    last_holder_detail TEXT,
    last_holder_seen_at TEXT,
    size_bytes INTEGER
) STRICT;

INSERT INTO meta (only_row, generation) VALUES (1, 0);
";

/// What a file says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    application_id: i64,
    version: i64,
    objects: i64,
}

/// Whether there is a ledger in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// A database without tables: what `SQLite` makes of an empty file. Counts as a lost ledger, which can only delay (I9).
    Nothing,
    /// A ledger of this version.
    Ledger,
}

/// Recognises the ledger, or says why it is none. Reads only.
pub(super) fn recognise(connection: &Connection, file: &LedgerFile) -> Result<Contents, LedgerError> {
    let failed = |error| file.failed(error);
    // One transaction: another process may make the tables at this moment.
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let contents = recognise_inside(&transaction, file)?;
    refuse_truncated(&transaction, file)?;
    Ok(contents)
}

/// Like [`recognise`], inside a transaction that was begun before.
pub(super) fn recognise_inside(
    transaction: &Transaction<'_>,
    file: &LedgerFile,
) -> Result<Contents, LedgerError> {
    let header = read_header(transaction).map_err(|error| file.failed(error))?;
    judge(header, file)
}

/// Refuses a file that ends before its last page does: `SQLite` itself would read zeros there. Nobody else writes to the file
/// during a transaction that has read from it.
fn refuse_truncated(transaction: &Transaction<'_>, file: &LedgerFile) -> Result<(), LedgerError> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let failed = |error| file.failed(error);
    let wanted = pragma("page_count").map_err(failed)?.saturating_mul(pragma("page_size").map_err(failed)?);
    let size =
        rustix::fs::stat(file.path()).map_err(|errno| file.unopenable(std::io::Error::from(errno)))?.st_size;
    if size < wanted { Err(file.damaged(format!("it has {size} bytes of {wanted}"))) } else { Ok(()) }
}

fn judge(header: Header, file: &LedgerFile) -> Result<Contents, LedgerError> {
    match header {
        Header { application_id: 0, version: 0, objects: 0 } => Ok(Contents::Nothing),
        Header { application_id: APPLICATION_ID, version: VERSION, .. } => Ok(Contents::Ledger),
        Header { application_id: APPLICATION_ID, version, .. } if version > VERSION => {
            Err(LedgerError::Newer { file: file.path().to_owned(), found: version, known: VERSION })
        }
        Header { application_id: APPLICATION_ID, version, .. } => {
            Err(file.damaged(format!("its version is {version}, which no volgc ever wrote")))
        }
        Header { application_id, .. } => Err(file.not_a_ledger(format!(
            "it is the database of another program (application_id {application_id}, not {APPLICATION_ID})"
        ))),
    }
}

/// To be called inside a transaction, so that all of it is of one instant.
fn read_header(transaction: &Transaction<'_>) -> rusqlite::Result<Header> {
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get(0));
    Ok(Header {
        application_id: pragma("application_id")?,
        version: pragma("user_version")?,
        objects: transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
    })
}

/// Refuses a file that is plainly not ours, or newer, before anything is opened for writing: opening a database to write rolls
/// back its journal and folds in its write-ahead log. What cannot be read this way is left to [`recognise`].
pub(super) fn refuse_foreign(file: &LedgerFile) -> Result<(), LedgerError> {
    // `immutable`: takes no lock, looks at no journal.
    let header = peek(file, "immutable=1").and_then(|connection| {
        connection.unchecked_transaction().and_then(|transaction| read_header(&transaction))
    });
    header.map_or(Ok(()), |header| judge(header, file).map(drop))
}

/// Whether the file is in write-ahead mode, in which even a read-only connection makes files beside it.
pub(super) fn uses_write_ahead_log(file: &LedgerFile) -> Result<bool, LedgerError> {
    // `nolock`: `SQLite` refuses write-ahead mode without locks, before it makes any file.
    let connection = peek(file, "nolock=1").map_err(|error| file.unopenable(error))?;
    let answer = connection.unchecked_transaction().and_then(|transaction| read_header(&transaction));
    let code = answer.err().and_then(|error| extended_code(&error));
    Ok(code.is_some_and(|code| code & 0xff == rusqlite::ffi::SQLITE_CANTOPEN))
}

/// A read-only connection with a parameter of `SQLite`'s own. The header is never read through a descriptor of ours: to close it
/// would drop the locks that another connection of this process has on the file (`fcntl(2)`).
fn peek(file: &LedgerFile, parameter: &str) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(address(file.path(), parameter), flags)
}

fn address(path: &Path, parameter: &str) -> String {
    let scheme = if path.is_absolute() { "file://" } else { "file:" };
    let mut address = scheme.to_owned();
    for byte in path.as_os_str().as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~');
        let written = if plain { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
        address += &written;
    }
    address + "?mode=ro&" + parameter
}
