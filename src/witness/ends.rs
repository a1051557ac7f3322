//! Whether containers that held volumes were seen to end. Asked only when so many volumes lost their holders that it matters; see
//! `gc::orphans`. It frees no volume: what cannot be found out leaves the brake where it is.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use chrono::{DateTime, Utc};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::gc::orphans::SeenEnds;
use crate::host::directory;
use crate::host::engine::Engine;
use crate::host::volumes_dir::VolumesDir;

/// Which of these containers were seen to end between two times: by the engine's own memory of events, and by their directories.
pub async fn ask(
    engine: &Engine,
    root: Option<&VolumesDir>,
    containers: &BTreeSet<String>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> SeenEnds {
    if containers.is_empty() {
        return SeenEnds::default();
    }
    let told = match engine.removed_between(since, until).await {
        Ok(told) => told.into_iter().filter(|id| containers.contains(id)).collect(),
        Err(error) => {
            tracing::debug!(%error, "the engine does not tell which containers were removed");
            BTreeSet::new()
        }
    };
    let is_gone = |id: &&String| root.is_some_and(|root| is_directory_gone(root, id));
    SeenEnds { told, without_directory: containers.iter().filter(is_gone).cloned().collect() }
}

/// Whether a container has no directory, where containers have theirs.
fn is_directory_gone(root: &VolumesDir, id: &str) -> bool {
    // The engine itself follows a `containers` that is a link.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(containers) = rustix::fs::openat(root.root(), c"containers", flags, Mode::empty()) else {
        return false;
    };
    let Ok(name) = directory::c_name(id) else { return false };
    matches!(directory::facts_of_child(containers.as_fd(), &name), Err(Errno::NOENT))
}
