//! Fault points: one before every effect of quarantine, restore, delete and recovery, but those that `REASONS` in
//! `tests/effects.rs` names. Tests make the program fail, wait or die there; a release build has none.
//!
//! `VOLGC_FAULT=POINT[@N]=ACTION`, several separated by commas. `N` counts passes, from 1; without it every pass. Actions:
//! `kill` (SIGKILL to itself), `delay:MILLISECONDS`, `wait:FIFO` (until a test has opened that FIFO and closed it again), or an
//! error: `ENOSPC`, `EIO`, `EROFS`, `EXDEV`, `EBUSY`, `EACCES`.
//!
//! `VOLGC_FAULT`, and `VOLGC_SETTINGS` beside it, also take `SETTING=NUMBER`: a limit that is too large to be reached in a test; see [`Setting`].

use rustix::io::Errno;

/// A limit that tests may choose smaller, so that they come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// How long the engine may take for an answer to anything but a DELETE, in milliseconds.
    AnswerPatience,
    /// How long it may take before that is said, in milliseconds.
    SlowAnswer,
    /// How long it may take for the answer to a DELETE, in milliseconds.
    DeletePatience,
    /// How long the look at what one claim names may take, in milliseconds.
    LookPatience,
    /// How long recovery waits before it trusts what the engine says of a DELETE in doubt, in milliseconds.
    Settled,
    /// From which depth on directories are moved to the top before they are deleted.
    DeleteLevels,
    /// With 1 whoever answers counts as the engine itself, so that a program of a test can stand for one.
    EngineIsDirect,
    /// With 1 the kernel witness sees nothing, so that tests can show what the others see without it.
    KernelIsBlind,
}

impl Setting {
    /// Its name in `VOLGC_FAULT`.
    pub fn word(self) -> &'static str {
        match self {
            Self::AnswerPatience => "engine.answer_patience",
            Self::SlowAnswer => "engine.slow_answer",
            Self::DeletePatience => "engine.delete_patience",
            Self::LookPatience => "look.patience",
            Self::Settled => "recovery.settled",
            Self::DeleteLevels => "delete.levels",
            Self::EngineIsDirect => "engine.is_direct",
            Self::KernelIsBlind => "witness.kernel_is_blind",
        }
    }
}

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $word:literal,)*) => {
        /// Where a fault can be injected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point { $($(#[$doc])* $point,)* }

        impl Point {
            /// Every point, in the order of the file.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// Its name in `VOLGC_FAULT`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$point => $word,)* }
            }
        }
    };
}

points! {
    /// Before the quarantine directory is made.
    QuarantineMakeDirectory = "quarantine.make_directory",
    /// Before that directory gets its mode.
    QuarantineMode = "quarantine.mode",
    /// Before the docker root is synced, which names it.
    QuarantineSync = "quarantine.sync",
    /// Before the lock file is opened, and made where there is none.
    LockFile = "lock.file",
    /// Before the one who has the lock writes its name into the file.
    LockWrite = "lock.write",
    /// Before an entry's directory is made.
    EntryMakeDirectory = "entry.make_directory",
    /// Before that directory gets its mode.
    EntryMode = "entry.mode",
    /// Before a manifest's temporary file is made.
    ManifestMake = "manifest.make",
    /// Before a manifest is written into its temporary file.
    ManifestWrite = "manifest.write",
    /// Before the written manifest is synced.
    ManifestSync = "manifest.sync",
    /// Before the manifest takes its final name.
    ManifestRename = "manifest.rename",
    /// Before the directory that names the manifest is synced.
    ManifestSyncDirectory = "manifest.sync_directory",
    /// Before the quarantine directory is synced, which names that one.
    ManifestSyncQuarantine = "manifest.sync_quarantine",
    /// Before the temporary file of the note about the ledger is made.
    NoteMake = "note.make",
    /// Before that note is written into it.
    NoteWrite = "note.write",
    /// Before the written note is synced.
    NoteSync = "note.sync",
    /// Before the note takes its final name.
    NoteRename = "note.rename",
    /// Before the quarantine directory is synced, which names the note.
    NoteSyncDirectory = "note.sync_directory",
    /// Before a manifest without data is written over in place, when there is no room for another file.
    ManifestOverwrite = "manifest.overwrite",
    /// Before that is synced.
    ManifestOverwriteSync = "manifest.overwrite_sync",
    /// Before the link is made in the entry.
    LinkMake = "link.make",
    /// Before it is synced.
    LinkSync = "link.sync",
    /// Before `_data` is exchanged with it.
    ExchangeSwap = "exchange.swap",
    /// Before the time of the data's last change is set again, where the file system took the exchange for one.
    ExchangeTimes = "exchange.times",
    /// Before the exchange is synced.
    ExchangeSync = "exchange.sync",
    /// Before the evidence is asked for again, the link being in the place of the data.
    LookAgain = "exchange.look_again",
    /// Before the data is renamed to where the link does not lead.
    HideRename = "hide.rename",
    /// Before that is synced.
    HideSync = "hide.sync",
    /// Before the engine is asked to forget the volume.
    EngineDelete = "engine.delete",
    /// After the engine's answer, before it is written down.
    EngineDeleted = "engine.deleted",
    /// Before the engine is asked whether it knows a name.
    AskName = "engine.ask_name",
    /// Before the data is renamed to where the link leads.
    ShowRename = "show.rename",
    /// Before that is synced.
    ShowSync = "show.sync",
    /// Before `_data` is exchanged back.
    ExchangeBack = "exchange.back",
    /// Before the link of a volume that the engine has forgotten is removed.
    LinkTakeAway = "link.take_away",
    /// Before the directory and the link of a volume are made anew that the engine took for one.
    LinkLeadBack = "link.lead_back",
    /// Before the link is made in that directory.
    LinkLeadBackMake = "link.lead_back_make",
    /// Before both are synced.
    LinkLeadBackSync = "link.lead_back_sync",
    /// Before it is made durable that the names of forgotten volumes are gone.
    NamesSync = "exchange.names_sync",
    /// Before a link that is in no volume's place is removed.
    DropLink = "drop.link",
    /// Before the data is renamed back.
    PutBackRename = "put_back.rename",
    /// Before both directories of that rename are synced.
    PutBackSync = "put_back.sync",
    /// Before what an unfinished write of a manifest left is removed.
    DropTemporary = "drop.temporary",
    /// Before an entry's manifest is removed.
    DropUnlink = "drop.unlink",
    /// Before an entry's directory is removed.
    DropDirectory = "drop.directory",
    /// Before the removal of an entry's directory is synced.
    DropSync = "drop.sync",
    /// Before the volume's directory is made for a restore.
    RestoreMakeDirectory = "restore.make_directory",
    /// Before that directory gets its mode.
    RestoreDirectoryMode = "restore.directory_mode",
    /// Before the volumes directory is synced, which names that directory.
    RestoreSyncDirectory = "restore.sync_directory",
    /// Before the data is renamed into the volume's directory.
    RestoreRename = "restore.rename",
    /// Before both directories of that rename are synced.
    RestoreSync = "restore.sync",
    /// Before the volumes directory is synced, which names the volume's.
    RestoreSyncVolumes = "restore.sync_volumes",
    /// Before the data of a restore that failed is renamed into its entry again.
    RetakeRename = "retake.rename",
    /// Before both directories of that rename are synced.
    RetakeSync = "retake.sync",
    /// Before the engine is asked to make the volume.
    EngineCreate = "engine.create",
    /// After the engine's answer, before owner and mode are set.
    EngineCreated = "engine.created",
    /// Before the owner is set again.
    RestoreOwnership = "restore.ownership",
    /// Before the mode is set again.
    RestoreMode = "restore.mode",
    /// Before owner and mode are synced.
    RestoreSyncData = "restore.sync_data",
    /// Before an entry is renamed for deletion.
    DeleteRename = "delete.rename",
    /// Before an entry is marked for deletion, when there is no room for another name.
    DeleteMark = "delete.mark",
    /// Before that mark is synced.
    DeleteMarkSync = "delete.mark_sync",
    /// Before that rename is synced.
    DeleteSync = "delete.sync",
    /// Before its content is deleted.
    DeleteContents = "delete.contents",
    /// Before one of its files is unlinked.
    DeleteFile = "delete.file",
    /// Before one of its directories is removed.
    DeleteDirectory = "delete.directory",
    /// Before one that is too deep is moved to the top.
    DeleteHoist = "delete.hoist",
    /// Before the emptied data directory is removed.
    DeleteData = "delete.data",
    /// Before it is remembered that a name is unsafe.
    NameRemember = "names.remember",
    /// Before the time of that is set.
    NameRefresh = "names.refresh",
    /// Before the directory that names it is synced.
    NameSync = "names.sync",
    /// Before an empty volume directory that the engine no longer knows is removed.
    RemoveEmptyVolume = "recovery.remove_empty_volume",
    /// Before its removal is synced.
    SyncEmptyVolume = "recovery.sync_empty_volume",
    /// Before the engine is asked to remove a volume in place.
    EngineRemove = "engine.remove",
    /// After its answer to that, before it is written down.
    EngineRemoved = "engine.removed",
    /// Before the evidence is asked for again about a volume in place, its manifest saying that the engine may be asked.
    InPlaceAskAgain = "in_place.ask_again",
    /// Before the directory of an entry without manifest and data is removed.
    RemoveEmptyEntry = "recovery.remove_empty_entry",
    /// Before the state directory is made.
    LedgerMakeDirectory = "ledger.make_directory",
    /// Before the ledger's file is made.
    LedgerMakeFile = "ledger.make_file",
    /// Before what names a new state directory is synced.
    LedgerSyncDirectory = "ledger.sync_directory",
    /// Before the tables of a new ledger are made.
    LedgerMakeTables = "ledger.make_tables",
    /// Before the table is made that says which ledger it is.
    LedgerMakeLineage = "ledger.make_lineage",
    /// Before the records of some volumes are changed between two sweeps.
    LedgerAmend = "ledger.amend",
    /// Before it is remembered that the ledger is about to be noted.
    LedgerNote = "ledger.note",
    /// Before holds are bound to the copies of their volumes.
    LedgerBindHolds = "ledger.bind_holds",
    /// Before the ledger is written after a look.
    LedgerWrite = "ledger.write",
    /// Before lines are added to the history.
    LedgerRecord = "ledger.record",
    /// Before a volume is forgotten.
    LedgerForgetVolume = "ledger.forget_volume",
    /// Before the clock of an entry is started.
    LedgerStartEntry = "ledger.start_entry",
    /// Before an entry is forgotten.
    LedgerForgetEntry = "ledger.forget_entry",
    /// Before it is written down that an entry has ended.
    LedgerEndEntry = "ledger.end_entry",
    /// Before it is remembered what stands in the way of a step for good.
    LedgerRememberObstacle = "ledger.remember_obstacle",
    /// Before the brakes are told that what they saw is right.
    LedgerAcknowledge = "ledger.acknowledge",
    /// Before a hold is given.
    LedgerAddHold = "ledger.add_hold",
    /// Before holds on an entry are put on the volume that it is restored as.
    LedgerCarryHolds = "ledger.carry_over_holds",
    /// Before holds are released.
    LedgerRemoveHolds = "ledger.remove_holds",
    /// Before holds that are over are dropped.
    LedgerDropHolds = "ledger.drop_holds",
    /// Before any change of the ledger is committed.
    LedgerCommit = "ledger.commit",
    /// In the service's loop, before it waits for whatever comes next.
    ServiceLoop = "service.loop",
    /// On the thread that reads the volumes directory for a look.
    LookDirectories = "look.directories",
}

/// Passes a fault point.
#[cfg(not(feature = "fault-points"))]
pub fn at(_: Point) -> Result<(), Errno> {
    Ok(())
}

/// Passes a fault point: does what `VOLGC_FAULT` orders there.
#[cfg(feature = "fault-points")]
pub fn at(point: Point) -> Result<(), Errno> {
    armed::pass(point)
}

/// A limit, which is the usual one.
#[cfg(not(feature = "fault-points"))]
pub fn limit(_: Setting, usual: u64) -> u64 {
    usual
}

/// A limit: what `VOLGC_FAULT` sets it to, or the usual one.
#[cfg(feature = "fault-points")]
pub fn limit(setting: Setting, usual: u64) -> u64 {
    armed::number(setting.word()).unwrap_or(usual)
}

#[cfg(feature = "fault-points")]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::io::Errno;

    use super::Point;

    #[derive(Debug)]
    enum Action {
        Kill,
        Delay(u64),
        Wait(String),
        Fail(Errno),
        Set(u64),
    }

    type Orders = Vec<(String, Option<u32>, Action)>;

    fn orders() -> &'static Orders {
        static ORDERS: OnceLock<Orders> = OnceLock::new();
        ORDERS.get_or_init(|| {
            let texts = ["VOLGC_FAULT", "VOLGC_SETTINGS"].map(std::env::var);
            texts.into_iter().flatten().flat_map(|text| parse(&text)).collect()
        })
    }

    /// What a setting is set to, if it is.
    pub(super) fn number(setting: &str) -> Option<u64> {
        orders().iter().find_map(|(name, _, action)| match action {
            Action::Set(number) if name == setting => Some(*number),
            Action::Set(_) | Action::Kill | Action::Delay(_) | Action::Wait(_) | Action::Fail(_) => None,
        })
    }

    pub(super) fn pass(point: Point) -> Result<(), Errno> {
        static PASSES: Mutex<BTreeMap<Point, u32>> = Mutex::new(BTreeMap::new());
        if let Ok(path) = std::env::var("VOLGC_FAULT_TRACE") {
            trace(&path, point);
        }
        let pass = {
            let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passes.entry(point).or_insert(0);
            *count += 1;
            *count
        };
        for (name, only, action) in orders() {
            if name == point.word() && only.is_none_or(|only| only == pass) {
                obey(action)?;
            }
        }
        Ok(())
    }

    /// Appends the point's name to a file, so that a test can see which points a run passed.
    #[expect(clippy::disallowed_methods, reason = "for tests only")]
    fn trace(path: &str, point: Point) {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{}", point.word())) {
            tracing::warn!(%error, path, "cannot write the fault trace");
        }
    }

    fn obey(action: &Action) -> Result<(), Errno> {
        match action {
            Action::Kill => {
                let myself = rustix::process::getpid();
                rustix::process::kill_process(myself, rustix::process::Signal::KILL)
            }
            Action::Delay(milliseconds) => {
                std::thread::sleep(std::time::Duration::from_millis(*milliseconds));
                Ok(())
            }
            Action::Wait(fifo) => wait(fifo),
            Action::Fail(errno) => Err(*errno),
            // A number at a point that takes none.
            Action::Set(_) => obey(&Action::Kill),
        }
    }

    /// The open returns when the test has opened the other end, and the read when it has closed it. A test that dies closes it, too.
    #[expect(clippy::disallowed_methods, reason = "for tests only")]
    fn wait(fifo: &str) -> Result<(), Errno> {
        if let Err(error) = std::fs::read(fifo) {
            tracing::warn!(%error, fifo, "cannot wait at the fault point");
            return obey(&Action::Kill);
        }
        Ok(())
    }

    /// An order that is not understood would make a test pass by doing nothing, so it kills.
    fn parse(text: &str) -> Orders {
        text.split(',')
            .map(|order| {
                let (target, action) = order.split_once('=').unwrap_or((order, "kill"));
                #[expect(clippy::disallowed_methods, reason = "without a number it is obeyed at every pass")]
                let (name, only) =
                    target.split_once('@').map_or((target, None), |(name, n)| (name, n.parse().ok()));
                let action = match action {
                    "ENOSPC" => Action::Fail(Errno::NOSPC),
                    "EIO" => Action::Fail(Errno::IO),
                    "EROFS" => Action::Fail(Errno::ROFS),
                    "EXDEV" => Action::Fail(Errno::XDEV),
                    "EBUSY" => Action::Fail(Errno::BUSY),
                    "EACCES" => Action::Fail(Errno::ACCESS),
                    other => match other.split_once(':') {
                        Some(("delay", milliseconds)) => {
                            milliseconds.parse().map_or(Action::Kill, Action::Delay)
                        }
                        Some(("wait", fifo)) => Action::Wait(fifo.to_owned()),
                        Some(_) => Action::Kill,
                        None => other.parse().map_or(Action::Kill, Action::Set),
                    },
                };
                (name.to_owned(), only, action)
            })
            .collect()
    }
}
