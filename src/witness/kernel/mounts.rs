//! Mounts that show a target, cover a part of it, or are made of it, in every mount namespace; and exports of NFS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::backing::{self, Backed, Host};
use super::places::{Concern, Places};
use super::reach::{self, Fence};
use super::ways::{Here, Lead, Ways};
use super::{EvidenceError, Mounts, refuse, silent, words};
use crate::gc::reference::{Holder, HolderKind};
use crate::host::exports;
use crate::host::proc::mountinfo::MountLine;
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::task::Task;
use crate::host::proc::{ProcError, task, view};

/// How many targets the mounts of one namespace may keep before it is named aloud, unless it is a container's: the engine names those.
const A_FEW: usize = 5;

/// Asks the kernel once.
pub(super) fn ask<K: Ord + Clone>(
    places: &Places<'_, K>,
    fences: &[Fence],
) -> Result<Mounts<K>, EvidenceError> {
    let namespaces = namespaces::all().map_err(refuse)?;
    let host = host_namespaces().map_err(refuse)?;
    let bases: Vec<&Namespace> = namespaces.iter().filter(|namespace| host.contains(&namespace.id)).collect();
    let ways = Ways::new(places.devices().clone(), Box::new(Here));
    let mut found = Finding::new(places, fences);
    found.shown(&namespaces);
    let hosts = Host { namespaces: &bases, is_followed: true };
    for backed in backing::find(places, &ways, &namespaces, hosts) {
        found.backed(&backed);
    }
    found.exported(&ways, &bases)?;
    found.name_those_with_many();
    Ok(found.mounts)
}

/// The namespaces of this process and of the first one.
pub(super) fn host_namespaces() -> Result<BTreeSet<u64>, ProcError> {
    let own = task::own()?;
    let own = Task { process: own, thread: own };
    let first = Task { process: 1, thread: 1 };
    let mut ids = BTreeSet::new();
    for task in [own, first] {
        match task.namespace() {
            Ok(id) => ids.extend(id),
            // The first process of a sandbox may be closed to everybody in it.
            Err(ProcError::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

struct Finding<'p, 'a, 'm, K> {
    places: &'p Places<'a, K>,
    fences: &'p [Fence],
    mounts: Mounts<K>,
    /// What the mounts of each namespace keep.
    kept: BTreeMap<u64, (&'m Namespace, BTreeSet<K>)>,
}

impl<'p, 'a, 'm, K: Ord + Clone> Finding<'p, 'a, 'm, K> {
    fn new(places: &'p Places<'a, K>, fences: &'p [Fence]) -> Self {
        let (holders, mounted, notes, alerts) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        let mounts = Mounts { holders, mounted, notes, alerts };
        Self { places, fences, mounts, kept: BTreeMap::new() }
    }

    /// What shows a target or covers it, and namespaces that may hide something that does.
    fn shown(&mut self, namespaces: &'m [Namespace]) {
        // A mount is copied into every namespace made after it: the same mount point, told once.
        let mut shown: BTreeMap<(&K, &[u8]), Vec<&Namespace>> = BTreeMap::new();
        for namespace in namespaces {
            let (concerns, lost) = self.places.concerns(&namespace.mounts);
            for (mount, concern) in concerns {
                match concern {
                    Concern::Shows(key) => shown.entry((key, &mount.point)).or_default().push(namespace),
                    Concern::Covers(key) => {
                        let told =
                            || format!("{} in {}", words::text(&mount.point), words::namespace(namespace));
                        self.mounts.mounted.entry(key.clone()).or_insert_with(told);
                    }
                }
            }
            let lost = lost.map(|mount| format!("mount {mount} is mounted on one that is not listed there"));
            if let Some(why) = namespace.hidden.clone().or(lost) {
                self.hidden(namespace, &why);
            }
        }
        for ((key, _), namespaces) in &shown {
            self.keep(namespaces, &[(*key).clone()]);
        }
        let holders = shown.into_iter().filter_map(|((key, point), namespaces)| {
            Some((key.clone(), words::mount_holder(point, &namespaces, None)?))
        });
        self.mounts.holders.extend(holders);
    }

    /// I14: what cannot be seen in a namespace may be of each target that can be reached in there.
    fn hidden(&mut self, namespace: &Namespace, why: &str) {
        let held = reach::of(self.places, &[namespace], self.fences);
        if held.is_empty() {
            return;
        }
        let holder = words::hidden_holder(namespace, why);
        self.mounts.alerts.push(format!(
            "{} keeps {}: some of its mounts cannot be seen: {why}",
            words::namespace(namespace),
            count(held.len())
        ));
        self.mounts.holders.extend(held.into_iter().map(|key| (key.clone(), holder.clone())));
    }

    fn keep(&mut self, namespaces: &[&'m Namespace], keys: &[K]) {
        for namespace in namespaces {
            let (_, kept) = self.kept.entry(namespace.id).or_insert_with(|| (namespace, BTreeSet::new()));
            kept.extend(keys.iter().cloned());
        }
    }

    /// I14: who keeps more than a few volumes, and is no container. A namespace that got all of its mounts with those of another one is
    /// told with that one.
    fn name_those_with_many(&mut self) {
        let mut told = BTreeSet::new();
        for (namespace, keys) in self.kept.values().filter(|(_, keys)| keys.len() > A_FEW) {
            let is_container = namespace.task.is_some_and(|task| task::container(task.process).is_some());
            if !is_container && told.insert(keys) {
                self.mounts.alerts.push(format!(
                    "the mounts in {} keep {}; `volgc explain VOLUME` names them",
                    words::namespace(namespace),
                    count(keys.len())
                ));
            }
        }
    }

    /// A file system that is made of a target, or may be.
    fn backed(&mut self, backed: &Backed<'_, 'm, K>) {
        let Some((_, mount)) = backed.seen.first() else { return };
        let namespaces: Vec<&'m Namespace> = backed.seen.iter().map(|(namespace, _)| *namespace).collect();
        if backed.certain.is_empty() && backed.elsewhere.is_empty() && backed.unknown.is_none() {
            self.note_above(backed, mount, &namespaces);
            return;
        }
        let reached = reach::of(self.places, &namespaces, self.fences);
        let elsewhere = || backed.elsewhere.iter().filter(|key| reached.contains(*key));
        let certain = || backed.certain.iter().chain(elsewhere()).copied();
        self.keep(&namespaces, &certain().cloned().collect::<Vec<_>>());
        self.hold(certain(), mount, &namespaces, None);
        let Some(unknown) = backed.unknown.as_deref().filter(|_| backed.is_still_there()) else { return };
        if !reached.is_empty() {
            let way = "unmount it, or mount it again with paths that exist";
            self.mounts.alerts.push(format!(
                "the {} at {} in {} keeps {}, since any of them may be in it: {unknown}; {way}",
                words::text(&mount.kind),
                words::text(&mount.point),
                namespaces.first().map_or_else(String::new, |namespace| words::namespace(namespace)),
                count(reached.len())
            ));
            self.hold(reached.into_iter(), mount, &namespaces, Some(unknown));
        }
    }

    fn hold<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k K>,
        mount: &MountLine,
        namespaces: &[&Namespace],
        why: Option<&str>,
    ) where
        K: 'k,
    {
        let Some(holder) = words::mount_holder(&mount.point, namespaces, why) else { return };
        self.mounts.holders.extend(keys.map(|key| (key.clone(), holder.clone())));
    }

    fn note_above(&mut self, backed: &Backed<'_, '_, K>, mount: &MountLine, namespaces: &[&Namespace]) {
        let (Some(above), Some(namespace)) = (&backed.above, namespaces.first()) else { return };
        self.mounts.notes.push(format!(
            "the {} at {} in {} is made of {}, which lies above every volume: no reference to any one of them. Who reads a volume \
             through it is not seen; mount the volume that is needed by itself, or give it a hold",
            words::text(&mount.kind),
            words::text(&mount.point),
            words::namespace(namespace),
            words::text(above)
        ));
    }

    fn exported(&mut self, ways: &Ways<'m>, bases: &[&'m Namespace]) -> Result<(), EvidenceError> {
        let host = format!("/proc/{}/root", view::host_process().map_err(refuse)?);
        let exported = exports::exported(Path::new(&host)).map_err(|(file, errno)| {
            silent(format!("{file} cannot be read ({errno}); it tells what NFS exports"))
        })?;
        for (path, file) in exported {
            for namespace in bases {
                let (Lead::To { place, .. } | Lead::Missing { place, .. }) =
                    ways.lead(namespace, b"/", &path)
                else {
                    continue;
                };
                if let Some(key) = self.places.holding(place.device, &place.path) {
                    let shown = words::text(&path);
                    let holder = Holder {
                        kind: HolderKind::Mount,
                        id: shown.clone(),
                        detail: format!("NFS exports {shown}, as {file} says"),
                        name: shown,
                    };
                    if !self.mounts.holders.iter().any(|(held, known)| held == key && *known == holder) {
                        self.mounts.holders.push((key.clone(), holder));
                    }
                } else if self.places.is_above(&place) {
                    let shown = words::text(&path);
                    let note = format!(
                        "NFS exports {shown}, which lies above every volume: no reference to any one of them"
                    );
                    if !self.mounts.notes.contains(&note) {
                        self.mounts.notes.push(note);
                    }
                }
            }
        }
        Ok(())
    }
}

fn count(volumes: usize) -> String {
    if volumes == 1 { "1 volume or entry".to_owned() } else { format!("{volumes} volumes and entries") }
}
