//! What users of the engine do. Drawn from the dice alone, never from what came of an operation: the same seed gives the same
//! sequence.

use super::dice::Dice;

/// Containers that may exist at a time.
pub const SLOTS: usize = 8;
/// Host mounts that may exist at a time.
pub const MOUNTS: usize = 2;
/// Volumes of services, each with a name of its own.
pub const SERVICES: usize = 5;
/// Names under which operators restore.
pub const BACKS: usize = 3;
/// Volumes that somebody makes and removes by hand.
pub const SCRATCHES: usize = 3;

/// A volume by its name, which may have been another volume's before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Of a service, as Compose names it.
    Service(usize),
    /// What an operator restored under another name.
    Back(usize),
    /// Made and removed by hand; whoever removes it wants it gone.
    Scratch(usize),
    /// Never referenced, labelled as of no worth, and deleted by sweeps as fast as they can.
    Disposable(u64),
}

impl Name {
    /// As the engine knows it.
    pub fn text(self) -> String {
        match self {
            Self::Service(number) => format!("shop_db{number}"),
            Self::Back(number) => format!("back{number}"),
            Self::Scratch(number) => format!("scratch{number}"),
            Self::Disposable(number) => format!("disposable{number}"),
        }
    }

    /// One that containers use.
    pub fn used(dice: &mut Dice) -> Self {
        if dice.percent(75) { Self::Service(dice.index(SERVICES)) } else { Self::Back(dice.index(BACKS)) }
    }

    /// One that somebody removes with `docker volume rm`.
    pub fn removed(dice: &mut Dice) -> Self {
        if dice.percent(40) {
            Self::Scratch(dice.index(SCRATCHES))
        } else {
            Self::Service(dice.index(SERVICES))
        }
    }
}

/// How a container comes to its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A named volume.
    Named(Name),
    /// An anonymous one, from the image's VOLUME line.
    Anonymous,
    /// Those of the container in this slot.
    VolumesFrom(usize),
    /// The path of a volume's data, which the engine counts as no use of the volume.
    BindOf(Name),
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Makes a container in a slot, in place of the one that is there.
    Create {
        slot: usize,
        kind: Kind,
        start: bool,
    },
    Start(usize),
    Stop(usize),
    /// With its anonymous volumes, or without.
    Remove {
        slot: usize,
        with_volumes: bool,
    },
    /// As Compose does it: removed and made anew on the same named volume.
    Redeploy {
        slot: usize,
        /// Milliseconds between the two.
        pause: u64,
    },
    /// Makes a container right after the data of its volume was taken away, if it is within a while.
    Ambush {
        slot: usize,
        name: Name,
    },
    /// Reads the file of a running container's volume in it.
    Exec(usize),
    CreateVolume(Name),
    /// Which the engine refuses when a container uses it.
    RemoveVolume(Name),
    /// Mounts a volume's data somewhere on the host.
    Mount {
        mount: usize,
        name: Name,
    },
    Unmount(usize),
    /// Killed, and started after so many milliseconds.
    KillEngine(u64),
    RestartEngine,
    /// Nothing for so many milliseconds.
    Rest(u64),
}

impl Operation {
    /// The next one.
    pub fn draw(dice: &mut Dice) -> Self {
        let slot = dice.index(SLOTS);
        match dice.below(100) {
            0..=29 => Self::Create { slot, kind: draw_kind(dice), start: dice.percent(60) },
            30..=34 => Self::Start(slot),
            35..=38 => Self::Stop(slot),
            39..=57 => Self::Remove { slot, with_volumes: dice.percent(40) },
            58..=63 => Self::Redeploy { slot, pause: dice.below(300) },
            64..=68 => Self::Exec(slot),
            69..=73 => Self::Ambush { slot, name: Name::Service(dice.index(SERVICES)) },
            74..=77 => Self::CreateVolume(Name::Scratch(dice.index(SCRATCHES))),
            78..=82 => Self::CreateVolume(Name::Disposable(dice.below(1_000_000))),
            83..=86 => Self::RemoveVolume(Name::removed(dice)),
            87..=89 => Self::Mount { mount: dice.index(MOUNTS), name: Name::used(dice) },
            90..=93 => Self::Unmount(dice.index(MOUNTS)),
            94 => Self::KillEngine(dice.below(800)),
            95 => Self::RestartEngine,
            _ => Self::Rest(dice.below(1200)),
        }
    }
}

fn draw_kind(dice: &mut Dice) -> Kind {
    match dice.below(10) {
        0..=4 => Kind::Named(Name::used(dice)),
        5 | 6 => Kind::Anonymous,
        7 => Kind::VolumesFrom(dice.index(SLOTS)),
        _ => Kind::BindOf(Name::used(dice)),
    }
}
