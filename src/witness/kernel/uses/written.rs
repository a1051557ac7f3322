//! Paths that a program wrote: of sockets, of what a FUSE server serves, of files registered with a ring. They are followed as that
//! program would follow them.

use super::scan::Scan;
use crate::host::proc::files::{FilePath, Manner, Use};
use crate::host::proc::namespaces::Namespace;
use crate::host::proc::task::{self, Task};
use crate::host::proc::{ProcError, links};
use crate::witness::kernel::clues::Clue;
use crate::witness::kernel::views::is_deleted;
use crate::witness::kernel::ways::{Lead, names};

/// From where a task sees paths.
#[derive(Debug, Clone)]
pub(super) struct Standing<'a> {
    namespace: &'a Namespace,
    root: Vec<u8>,
    here: Vec<u8>,
}

impl<'a, K: Ord + Clone> Scan<'a, K> {
    pub(super) fn written(&mut self, seen: &Use) -> Result<(), ProcError> {
        let FilePath::Told(path) = &seen.path else {
            let keys = self.reach_of(seen.task.process)?;
            self.hold(keys, seen);
            return Ok(());
        };
        match seen.manner {
            Manner::Socket => self.socket(seen, path),
            Manner::Served => self.served(seen, path),
            Manner::Registered
            | Manner::WorkingDirectory
            | Manner::RootDirectory
            | Manner::Executable
            | Manner::OpenFile(_)
            | Manner::MappedFile
            | Manner::Watch => self.registered(seen, path),
        }
    }

    /// A socket lies where its process bound it: in the directory that its path leads to there. Where that does not lead to a socket any
    /// more, because it was renamed or the path was relative to another directory, its name tells.
    fn socket(&mut self, seen: &Use, path: &[u8]) -> Result<(), ProcError> {
        let mut parts: Vec<Vec<u8>> = names(path).collect();
        let Some(name) = parts.pop() else { return Ok(()) };
        if !self.sockets.insert((seen.task, path.to_vec())) {
            return Ok(());
        }
        let start: &[u8] = if path.starts_with(b"/") { b"/" } else { b"" };
        let directory = [start, parts.join(&b'/').as_slice()].concat();
        let lead = self.lead(seen, &directory)?;
        if let Some(Lead::To { place, path }) = &lead {
            let held = self.places.holding(place.device, &place.path).cloned();
            if held.is_some() {
                self.hold(held, seen);
                return Ok(());
            }
            let whole = [path.as_slice(), b"/", name.as_slice()].concat();
            if self.facts(seen, &whole)?.is_some_and(|facts| facts.is_socket) {
                return Ok(());
            }
        }
        if lead != Some(Lead::Foreign) {
            self.suspect([Clue::Socket(name)], seen);
        }
        Ok(())
    }

    /// What the command line of a FUSE server names it may open at any moment, if its user is let.
    fn served(&mut self, seen: &Use, word: &[u8]) -> Result<(), ProcError> {
        let parts = word.split(|byte| matches!(byte, b':' | b',' | b'=')).filter(|part| *part != word);
        for text in std::iter::once(word).chain(parts).filter(|text| !text.is_empty()) {
            let plain = before_pattern(text);
            if let Some(Lead::To { place, .. } | Lead::Missing { place, .. }) = self.lead(seen, plain)? {
                let mut keys: Vec<K> =
                    self.places.holding(place.device, &place.path).into_iter().cloned().collect();
                if plain.len() < text.len() {
                    keys.extend(self.places.below(&place).into_iter().cloned());
                }
                self.served.extend(keys.into_iter().map(|key| (key, seen.clone())));
            }
            if !text.starts_with(b"/") {
                let parts: Vec<Vec<u8>> = names(text).collect();
                let keys = self.places.named(&parts).into_iter().cloned();
                self.served.extend(keys.map(|key| (key, seen.clone())));
            }
        }
        Ok(())
    }

    /// The kernel tells the path of a registered file, and neither its mount nor its inode. Before Linux 6.10 its name alone.
    fn registered(&mut self, seen: &Use, path: &[u8]) -> Result<(), ProcError> {
        let keys: Vec<K> = self.views.holding(path, None).into_iter().cloned().collect();
        if is_deleted(path) {
            self.hold(keys, seen);
            return Ok(());
        }
        // What a container has at this path in its own root is another file.
        let own = if path.starts_with(b"/") { self.facts(seen, path)? } else { None };
        if own.is_none_or(|facts| self.files.include(facts.device)) {
            // Through a mount that is there the path begins at its mount point, and through one that was detached at its root.
            self.hold(keys, seen);
            self.suspect([Clue::Plain(path.to_vec())], seen);
        }
        Ok(())
    }

    /// What is at a path of the namespace of a process.
    fn facts(&mut self, seen: &Use, path: &[u8]) -> Result<Option<links::Facts>, ProcError> {
        let window = self.task(seen.task)?.and_then(|standing| standing.namespace.window);
        Ok(window.and_then(|window| links::facts(window, path)))
    }

    /// Where a path leads that a process wrote.
    fn lead(&mut self, seen: &Use, path: &[u8]) -> Result<Option<Lead>, ProcError> {
        let Some(Standing { namespace, root, here }) = self.task(seen.task)? else { return Ok(None) };
        let base = if path.starts_with(b"/") { &root } else { &here };
        // An absolute path begins at the root directory of the process, which need not be that of its namespace.
        let below = path.strip_prefix(b"/").unwrap_or(path);
        Ok(Some(self.ways.lead(namespace, base, if base == b"/" { path } else { below })))
    }

    /// The namespace of a task, its root directory and its working directory; none when it has ended.
    fn task(&mut self, task: Task) -> Result<Option<Standing<'a>>, ProcError> {
        if let Some(known) = self.tasks.get(&task) {
            return Ok(known.clone());
        }
        let (id, root, here) = (task.namespace()?, task.root()?, task::working_directory(task)?);
        let namespace = self.namespaces.iter().find(|known| Some(known.id) == id);
        let found = match (namespace, root, here) {
            (Some(namespace), Some(root), Some(here)) => Some(Standing { namespace, root, here }),
            (None, _, _) | (_, None, _) | (_, _, None) => None,
        };
        self.tasks.insert(task, found.clone());
        Ok(found)
    }
}

/// The part of a path before the first name with a pattern in it, which a FUSE server may expand itself.
#[expect(
    clippy::disallowed_methods,
    reason = "a pattern without a directory before it begins where the process is"
)]
fn before_pattern(path: &[u8]) -> &[u8] {
    let Some(first) = path.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{')) else {
        return path;
    };
    let slash = path.get(..first).and_then(|before| before.iter().rposition(|byte| *byte == b'/'));
    slash.and_then(|slash| path.get(..=slash)).unwrap_or_default()
}
