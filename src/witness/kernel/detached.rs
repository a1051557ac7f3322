//! What somebody uses of a file system that is in no table: one that was unmounted while he was in it, or never mounted.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::clues::Clue;
use super::shown::Doubt;
use super::silent::ask;
use crate::host::proc::files::{Manner, Use};
use crate::host::proc::maps;
use crate::host::proc::mountinfo::Device;
use crate::host::proc::prints::{self, Extent, Made, Print};

/// What is used of it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) clues: Vec<Clue>,
    /// Why it may show other files too.
    pub(super) doubt: Option<Doubt>,
    /// Its top, as long as that is looked at.
    pub(super) top: Option<Arc<OwnedFd>>,
}

/// What a file system shows that somebody uses. Of a directory it is the first files of the whole file system, at most `most`. None when it
/// does not show files of others. `targets` are the directories that are looked for.
pub(super) fn look(seen: &Use, device: Device, most: usize, targets: &Arc<[Print]>) -> Option<Found> {
    let link = match seen.manner {
        Manner::WorkingDirectory => "cwd".to_owned(),
        Manner::RootDirectory => "root".to_owned(),
        Manner::Executable => "exe".to_owned(),
        Manner::OpenFile(number) => format!("fd/{number}"),
        // Threads have no `map_files` of their own.
        Manner::MappedFile => match maps::range(seen.task, seen.inode?) {
            Ok(range) => format!("../../map_files/{}", range?),
            Err(error) => {
                let doubt = Some(Doubt::Unseen(error.to_string()));
                return Some(Found { doubt, ..Found::default() });
            }
        },
        Manner::Socket | Manner::Watch | Manner::Registered | Manner::Served => return None,
    };
    let link = seen.task.path(&link).into_bytes();
    // A dead server of a network or FUSE file system that was unmounted is the ordinary case.
    let targets = Arc::clone(targets);
    match ask(device, move || look_at(&link, Extent { most, without: &targets }))? {
        Ok(found) => found,
        // It was closed, or its process has ended.
        Err(Errno::NOENT | Errno::SRCH) => Some(Found::default()),
        // Whoever serves it is gone.
        Err(Errno::NOTCONN | Errno::STALE | Errno::HOSTDOWN | Errno::CONNABORTED) => None,
        Err(error) => {
            let doubt = Some(Doubt::Unseen(format!("it cannot be looked at: {error}")));
            Some(Found { doubt, ..Found::default() })
        }
    }
}

fn look_at(link: &[u8], extent: Extent<'_>) -> rustix::io::Result<Option<Found>> {
    let file = prints::reached(link)?;
    match prints::made(&file)? {
        Made::Overlay => {
            let (listed, top) = prints::all_of(file, extent)?;
            let is_alone = listed.found.len() <= 1;
            let clue = |(_, print)| if is_alone { Clue::Copy(print) } else { Clue::Print(print) };
            let doubt = listed.left_out.map(|left_out| Doubt::of(left_out, &prints::path_of(&top)));
            let clues = listed.found.into_iter().map(clue).collect();
            Ok(Some(Found { clues, doubt, top: Some(Arc::new(top)) }))
        }
        Made::Erofs(image) => Ok(Some(Found { clues: vec![Clue::Image(image)], ..Found::default() })),
        Made::Other => Ok(None),
    }
}
