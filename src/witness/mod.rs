//! Who holds a volume: the witnesses, one file each. Every one answers completely, or it fails (I2); the union of the answers
//! decides.
//!
//! Order matters: directories first, references second, so that what appears in between is held, not missed.

pub mod binds;
pub mod claims;
pub mod closely;
pub mod containers_on_disk;
mod directories;
pub mod ends;
pub mod engine;
pub mod in_place;
pub mod index;
pub mod kernel;
pub mod locate;
pub mod observe;
mod odd;
pub mod operator;
pub mod options;
pub mod root;
mod stalled;
pub mod swarm;
mod unlisted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::gc::holds::Hold;
use crate::gc::inventory::Answer;
use crate::gc::reference::Witness;
use crate::gc::spoken::spoken;
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::{Container, Info, Plugin};
use crate::host::engine::{Asked, Engine, EngineError};
use crate::host::pulse;
use index::VolumeIndex;

/// What every witness is given.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The engine, for reading.
    pub engine: &'a Engine,
    /// `GET /info`, taken together with the containers.
    pub info: &'a Info,
    /// Every container the engine lists.
    pub containers: &'a [Container],
    /// The volumes, by name and by the identity of their directories.
    pub index: &'a Arc<VolumeIndex>,
    /// Operators' holds.
    pub holds: &'a [Hold],
    /// Container directories that an operator declared irrelevant.
    pub acknowledged: &'a BTreeSet<String>,
    /// The time, as a value.
    pub now: chrono::DateTime<chrono::Utc>,
}

/// Why the evidence is not complete. Each is a refusal: nothing is moved (I2).
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The engine did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine does not list its volumes, and something is mounted on some.
    #[error(
        "{source} Something is mounted on the data of {mounted}, and up to Docker 20.10 the engine hangs with a mount whose server is gone: \
         unmount it (`umount --lazy`)"
    )]
    Stalled {
        /// What the engine did not answer.
        source: EngineError,
        /// The volumes.
        mounted: String,
    },
    /// The container list and the count in `/info` differ.
    #[error(
        "the engine lists {listed} containers but counts {counted} (GET /info), {tries} times in a row; \
         its view is not complete, or containers come and go too fast: try again"
    )]
    CountsDiffer {
        /// In `GET /containers/json?all=1`.
        listed: usize,
        /// In `GET /info`.
        counted: u64,
        /// How often both were asked.
        tries: u32,
    },
    /// An answer that contradicts itself.
    #[error("the engine's answer makes no sense: {0}")]
    Nonsense(String),
    /// A witness could not answer.
    #[error("the {} witness cannot answer: {why}", spoken(.witness.word()))]
    Silent {
        /// Which.
        witness: Witness,
        /// What it could not see, and what to do.
        why: String,
    },
    /// The volumes directory could not be read.
    #[error(transparent)]
    Volumes(#[from] crate::host::volumes_dir::VolumesDirError),
    /// The quarantine could not be read.
    #[error(transparent)]
    Quarantine(#[from] crate::host::quarantine::QuarantineError),
    /// The answers do not make an inventory.
    #[error(transparent)]
    Incomplete(#[from] crate::gc::inventory::IncompleteInventory),
    /// The disk did not answer.
    #[error("the files below the docker root were not read within {} s; does its file system still answer?", .0.as_secs())]
    Slow(Duration),
    /// A clock could not be read.
    #[error("{0}")]
    Clock(String),
}

/// What the witnesses say together.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// One answer of each.
    pub answers: Vec<Answer>,
    /// Volumes with a mount on or below their data, in any mount namespace: they cannot be moved.
    pub mounted: BTreeMap<VolumeName, String>,
}

/// Asks every other witness once. The kernel looks in directories and not at the scene, so that it may be asked while the scene is
/// being set.
pub async fn ask_others(
    scene: Scene<'_>,
    kernel: kernel::KernelAnswer,
    plugins: Asked<Vec<Plugin>>,
) -> Result<Evidence, EvidenceError> {
    let kernel = kernel.with_names(scene.containers);
    let answers = vec![
        engine::ask(scene)?,
        binds::ask(scene, plugins).await?,
        containers_on_disk::ask(scene).await?,
        kernel.answer,
        swarm::ask(scene).await?,
        operator::ask(scene),
    ];
    Ok(Evidence { answers, mounted: kernel.mounted })
}

/// How long work on a thread of its own may take: reading the files of tens of thousands of containers from a slow disk takes minutes.
const PATIENCE: Duration = Duration::from_mins(5);

/// Long work goes on a thread of its own, so that the engine is heard meanwhile.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, EvidenceError> {
    match pulse::bounded(PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.map_err(|error| EvidenceError::Nonsense(error.to_string()))?,
        Err(_) => Err(EvidenceError::Slow(PATIENCE)),
    }
}
