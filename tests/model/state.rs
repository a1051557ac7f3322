//! What is modelled: the disk, the engine, the users' container, and volgc's process with what it has still to do.

use crate::program::Op;

/// Two names: the volume's own, and the one of `restore --as`.
pub const DB: usize = 0;
/// See [`DB`].
pub const AS: usize = 1;
/// Entries of the quarantine at one time.
pub const ENTRIES: usize = 2;
/// DELETEs on their way at one time.
pub const DELETES: usize = 2;

/// Whose data it is. Each is one `_data` directory, told apart by its identity as in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// What was in the volume at the beginning.
    Original,
    /// What a user put into a volume made later; counted.
    Later(u8),
    /// Empty: the engine made it because volgc asked for a volume whose data was not there.
    Hollow,
}

impl Data {
    /// Its place in lists of ghosts. Hollow data is nobody's, and has none.
    pub fn index(self) -> Option<usize> {
        match self {
            Self::Original => Some(0),
            Self::Later(number) => Some(1 + usize::from(number)),
            Self::Hollow => None,
        }
    }
}

/// `<volumes>/<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VolumeDirectory {
    /// Device, inode and birth time.
    pub identity: u8,
    /// `_data`.
    pub data: Option<Data>,
}

/// The state in a manifest (`EntryState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    Moving,
    InDoubt {
        asked_directly: bool,
        /// An hour has passed since.
        old: bool,
    },
    Quarantined,
    Restoring {
        to: usize,
    },
}

/// `manifest.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Manifest {
    pub mark: Mark,
    /// Identity of the volume's directory.
    pub directory: u8,
    /// Identity of `_data`.
    pub data: Data,
    /// `name_unsafe_until` has not passed.
    pub name_unsafe: bool,
    /// Renamed into place before its content was synced: a power cut leaves it empty.
    pub unsynced: bool,
}

/// One directory of the quarantine. Every entry was a volume `DB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    pub manifest: Option<Manifest>,
    /// `manifest.json.new` is there and synced. Followed only where power may fail.
    pub temporary_synced: bool,
    pub data: Option<Data>,
    /// Renamed to `deleting-...`.
    pub deleting: bool,
    /// Its grace period is over.
    pub due: bool,
}

/// Where data is durable while it is visible elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Volume { name: usize, identity: u8 },
    Entry(usize),
}

/// What a power cut may bring back; nothing where everything visible is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Unsynced {
    /// The manifest as it was before.
    pub manifests: [Option<Option<Manifest>>; ENTRIES],
    /// The data that was renamed, and from where. One at a time: volgc syncs each rename before the next.
    pub renamed: Option<(Data, Place)>,
}

/// The only container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Container {
    pub wants: Wants,
    pub phase: Phase,
    /// A ghost: what was in the volume when it was made or started, unless a user removed the volume since,
    /// or the engine dropped it.
    pub found: Option<Data>,
}

/// How it names the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wants {
    /// `-v db:/x`; the engine may count the reference, or have lost it (`--volumes-from`, a restart without the volume).
    Name { counted: bool },
    /// `-v <volumes>/db/_data:/x`: the engine counts nothing.
    Path,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its creation has begun: the engine counts it, and no list shows it.
    Creating,
    Created,
    Running(Data),
}

/// A DELETE that volgc sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delete {
    /// To the engine itself; else by a proxy, which may deliver it up to an hour after its sender is gone.
    pub direct: bool,
    /// Its sender waits for the answer.
    pub awaited: bool,
    pub answer: Option<Answer>,
    /// What was in the volume when its sender looked last.
    pub seen: Option<Data>,
}

/// The engine's answer (`DeleteAnswer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    Forgotten,
    Refused,
    Unknown,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Engine {
    /// Which names it knows as volumes.
    pub knows: [bool; 2],
    pub container: Option<Container>,
    /// Sorted: their order means nothing.
    pub deletes: Vec<Delete>,
}

/// The disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disk {
    pub volumes: [Option<VolumeDirectory>; 2],
    pub entries: [Option<Entry>; ENTRIES],
    pub unsynced: Unsynced,
}

/// volgc's process. Without anything to do it does not run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Program {
    /// What is to be done, the next thing last.
    pub todo: Vec<Op>,
    /// Its socket is the engine's own.
    pub direct: bool,
    /// The volume that it looked at, to be written into a manifest.
    pub subject: Option<(u8, Data)>,
    /// What was in the volume at the last look before a DELETE.
    pub seen: Option<Data>,
}

/// How data came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// By a user's own `docker volume rm` of a volume that the engine listed.
    RemovedByUser,
    /// By volgc, after its grace period.
    Deleted,
    /// By a DELETE for a volume of that name, sent before this data was there. Docker's API has no way to say which volume of a name
    /// is meant. Never data that volgc has moved (I5), and never what it could have seen.
    UnderItsPredecessorsDelete,
}

/// What must never happen, noted where it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A DELETE hit data that volgc had moved and put back.
    DeleteHitWhatWasPutBack,
    /// A DELETE hit data that was there when volgc looked last.
    DeleteHitWhatWasSeen,
    /// Data was renamed over other data.
    Overwritten,
    /// Data was deleted that was not due, or that something held.
    DeletedTooEarly,
    /// A container was started on the empty volume of a restore.
    StartedOnHollow,
    /// A power cut lost data.
    LostWithPower,
}

/// Data that is followed: the original and two made later.
pub const FOLLOWED: usize = 3;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub disk: Disk,
    pub engine: Engine,
    pub program: Program,
    /// How many data of users were made later.
    pub made: u8,
    /// Remembered of an entry that is gone: the name `DB` is not safe yet.
    pub name_unsafe: bool,
    /// Ghosts, for the properties only.
    pub fates: [Option<Fate>; FOLLOWED],
    /// Which data volgc ever moved.
    pub moved: [bool; FOLLOWED],
    pub wrong: Option<Wrong>,
}

impl State {
    /// One volume with data that nothing holds.
    pub fn first() -> Self {
        Self {
            disk: Disk {
                volumes: [Some(VolumeDirectory { identity: 0, data: Some(Data::Original) }), None],
                entries: [None; ENTRIES],
                unsynced: Unsynced::default(),
            },
            engine: Engine { knows: [true, false], container: None, deletes: Vec::new() },
            program: Program::default(),
            made: 0,
            name_unsafe: false,
            fates: [None; FOLLOWED],
            moved: [true, false, false],
            wrong: None,
        }
    }

    /// Whether volgc runs.
    pub fn runs(&self) -> bool {
        !self.program.todo.is_empty()
    }

    /// `_data` of a name.
    pub fn data_of(&self, name: usize) -> Option<Data> {
        self.disk.volumes[name].and_then(|volume| volume.data)
    }

    /// The manifest of an entry that is not being deleted.
    pub fn manifest(&self, entry: usize) -> Option<Manifest> {
        self.disk.entries[entry].filter(|entry| !entry.deleting).and_then(|entry| entry.manifest)
    }

    /// An identity that nothing has and no manifest names: birth time makes every directory another one.
    pub fn new_identity(&self) -> u8 {
        let directories = self.disk.volumes.iter().flatten().map(|volume| volume.identity);
        let named = self.disk.entries.iter().flatten().filter_map(|entry| entry.manifest);
        let named = named.chain(self.disk.unsynced.manifests.iter().flatten().flatten().copied());
        let used: Vec<u8> = directories
            .chain(named.map(|manifest| manifest.directory))
            .chain(self.program.subject.map(|(identity, _)| identity))
            .collect();
        (0..=u8::MAX).find(|identity| !used.contains(identity)).expect("few directories")
    }

    /// The entry that data is in.
    pub fn entry_with(&self, data: Data) -> Option<usize> {
        self.disk.entries.iter().position(|entry| entry.is_some_and(|entry| entry.data == Some(data)))
    }

    /// What the witnesses answer about the name: a container that any list shows, or a mount of its data.
    pub fn is_held(&self, name: usize) -> bool {
        self.engine.container.is_some_and(|container| match container.phase {
            Phase::Creating => false,
            Phase::Created => name == DB,
            Phase::Running(data) => name == DB || self.data_of(name) == Some(data),
        })
    }

    /// Whether a container runs on what is in an entry.
    pub fn is_entry_used(&self, entry: usize) -> bool {
        let data = self.disk.entries[entry].and_then(|entry| entry.data);
        self.engine.container.is_some_and(|container| match container.phase {
            Phase::Creating | Phase::Created => false,
            Phase::Running(running) => Some(running) == data,
        })
    }

    /// Whether the engine counts a reference to the name.
    pub fn is_counted(&self, name: usize) -> bool {
        let counted = |container: Container| container.wants == Wants::Name { counted: true };
        name == DB && self.engine.container.is_some_and(counted)
    }

    /// Whether volgc has a DELETE in hand that it may have written down, but not sent.
    pub fn has_doubt_in_hand(&self) -> bool {
        self.program
            .todo
            .iter()
            .any(|op| matches!(op, Op::EngineDelete(..) | Op::Await(..) | Op::EngineDeleted(..)))
    }

    /// Notes the end of data.
    pub fn ends(&mut self, data: Data, fate: Fate) {
        if let Some(index) = data.index() {
            self.fates[index] = Some(fate);
        }
    }

    /// Notes what must not be; the first such thing is kept.
    pub fn is_wrong(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// A DELETE arrives, leaves, or is answered.
    pub fn change_deletes(&mut self, change: impl FnOnce(&mut Vec<Delete>)) {
        change(&mut self.engine.deletes);
        // An answer that nobody waits for is nothing.
        self.engine.deletes.retain(|delete| delete.awaited || delete.answer.is_none());
        self.engine.deletes.sort_unstable();
    }
}
