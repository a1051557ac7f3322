//! What mounts are made of: the layers of overlays, the file of an EROFS, the branches of a FUSE pool. All of it is text that whoever
//! mounted it wrote, so it is followed as that one would follow it: in every namespace in which the mount is, and in our own.

use std::collections::{BTreeMap, BTreeSet};

use super::places::{Place, Places, join};
use super::ways::{Lead, Ways, names};
use super::words::text;
use crate::host::proc::mountinfo::{Device, MountLine};
use crate::host::proc::namespaces::{self, Namespace};
use crate::host::proc::task::Task;

/// Where the service manager puts a file system together in a namespace that is gone when it is done (systemd-sysext).
const STAGING: &[u8] = b"/run/systemd/";

/// Where the root is while the machine starts; what was mounted then is told with this in front.
const EARLY_ROOTS: [&[u8]; 4] = [b"/sysroot", b"/new_root", b"/newroot", b"/root"];

/// What these lead to depends on who asks.
const OF_THE_READER: [&[u8]; 3] = [b"/proc/self/", b"/proc/thread-self/", b"/dev/fd/"];

/// One file system that is made of others, wherever it is mounted.
#[derive(Debug)]
pub(super) struct Backed<'a, 'm, K> {
    /// Where it was seen.
    pub(super) seen: Vec<(&'m Namespace, &'m MountLine)>,
    /// The targets that it is certain to be made of.
    pub(super) certain: BTreeSet<&'a K>,
    /// Those that its text names in a namespace of the host alone, while it leads to something else where it is mounted: whoever has made
    /// up a root of his own can have any text.
    pub(super) elsewhere: BTreeSet<&'a K>,
    /// What it is made of and cannot be found: it may be any target.
    pub(super) unknown: Option<String>,
    /// Where what it is made of leads now, one for each text: in each namespace where it leads anywhere, as a path without links.
    pub(super) layers: Vec<Vec<(&'m Namespace, Vec<u8>)>>,
    /// The same of layers of which nothing is seen by its own name.
    pub(super) data: Vec<Vec<(&'m Namespace, Vec<u8>)>>,
    /// Whether that can be taken for the truth.
    pub(super) proof: Proof,
    /// Whether a volume may be one of its layers, for all that their names tell.
    pub(super) is_open: bool,
    /// What it is made of that lies above every target.
    pub(super) above: Option<Vec<u8>>,
}

/// What proves that a text leads today to what it led to when it was mounted. A link in it may have been changed since, a mount taken
/// away, a directory renamed, a process have ended; and of a layer that was given as a descriptor the kernel tells no path at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its names: all of it is in the store of an engine, under some that are given once.
    Names,
    /// What is seen in it.
    Content,
}

impl<K> Backed<'_, '_, K> {
    /// A container may have ended since the tables were read, and its layers with it.
    pub(super) fn is_still_there(&self) -> bool {
        self.seen.iter().any(|(namespace, mount)| {
            let Some(task) = namespace.task else { return true };
            // What cannot be read is not known to be gone (I2). Nobody shows the whole table of some.
            if namespace.window.is_none() {
                let is_in = |task: &Task| task.namespace().map_or(true, |id| id == Some(namespace.id));
                return namespace.tasks.iter().any(is_in);
            }
            namespaces::read_table(&task.path("mountinfo"))
                .map_or(true, |mounts| mounts.is_some_and(|mounts| mounts.contains(mount)))
        })
    }
}

/// The namespaces in which administrators and engines mount things: our own, and that of the first process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'h, 'm> {
    pub(super) namespaces: &'h [&'m Namespace],
    /// Whether paths are followed in them, beside where a mount is seen.
    pub(super) is_followed: bool,
}

/// Every such file system in these namespaces.
pub(super) fn find<'a, 'm, K: Ord>(
    places: &'a Places<'a, K>,
    ways: &Ways<'m>,
    namespaces: &'m [Namespace],
    host: Host<'_, 'm>,
) -> Vec<Backed<'a, 'm, K>> {
    type Made<'m> = (Device, &'m [Vec<u8>], &'m [Vec<u8>], &'m [Vec<u8>]);
    // A mount is copied into every namespace made after it, and is of the same file system in all of them.
    let mut groups: BTreeMap<Made<'m>, Vec<(&Namespace, &MountLine)>> = BTreeMap::new();
    for namespace in namespaces {
        let is_made_of_something = |mount: &&MountLine| {
            !mount.layers.is_empty() || !mount.uppers.is_empty() || !mount.mentions.is_empty()
        };
        for mount in namespace.mounts.iter().filter(is_made_of_something) {
            let made = (mount.device, &mount.layers[..], &mount.uppers[..], &mount.mentions[..]);
            groups.entry(made).or_default().push((namespace, mount));
        }
    }
    let judge = |((_, layers, uppers, mentions), seen): (Made<'m>, Vec<_>)| {
        let backed = Backed {
            seen,
            certain: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            unknown: None,
            layers: Vec::new(),
            data: Vec::new(),
            proof: Proof::Names,
            is_open: false,
            above: None,
        };
        let mut look = Look { places, ways, host, backed };
        look.layers(layers, uppers);
        look.mentions(mentions);
        look.backed
    };
    groups.into_iter().map(judge).collect()
}

struct Look<'a, 'm, 'w, K> {
    places: &'a Places<'a, K>,
    ways: &'w Ways<'m>,
    host: Host<'w, 'm>,
    backed: Backed<'a, 'm, K>,
}

impl<'a, 'm, K: Ord> Look<'a, 'm, '_, K> {
    fn layers(&mut self, layers: &[Vec<u8>], uppers: &[Vec<u8>]) {
        let is_absolute = |layer: &&Vec<u8>| layer.starts_with(b"/");
        let absolute: Vec<&Vec<u8>> = layers.iter().chain(uppers).filter(is_absolute).collect();
        let relative: Vec<&Vec<u8>> =
            layers.iter().chain(uppers).filter(|layer| !is_absolute(layer)).collect();
        // What it works in shows nothing of itself, so nothing could prove it.
        let is_work = |layer: &Vec<u8>| uppers.iter().skip(1).any(|work| work == layer);
        for layer in &absolute {
            let ways = self.follow(layer);
            if !is_work(layer) {
                self.layer(layer, layer, ways);
            }
        }
        if relative.is_empty() {
            return;
        }
        // Where nothing shows a namespace whole, any directory seems to have them.
        let store = absolute.iter().find_map(|layer| store_of(layer));
        if let Some(ways) = self.base_of(&relative, &absolute) {
            for (layer, (place, way)) in relative.iter().zip(ways) {
                self.claim(&place, true);
                if !is_work(layer) {
                    let beside = store.map(|store| join(store, layer));
                    let whole = beside.unwrap_or_else(|| place.path.clone());
                    self.layer(layer, &whole, way.into_iter().collect());
                }
            }
        } else {
            let layer = relative.first().map_or_else(String::new, |layer| text(layer));
            self.backed.is_open = true;
            self.backed.unknown.get_or_insert_with(|| {
                format!("its layer {layer} is relative to a directory that the kernel does not tell")
            });
        }
    }

    /// `whole` is as much of its path as is known.
    fn layer(&mut self, layer: &[u8], whole: &[u8], ways: Vec<(&'m Namespace, Vec<u8>)>) {
        if ways.is_empty() || !ways.iter().all(|(_, path)| is_in_store(path)) {
            self.backed.proof = Proof::Content;
            let is_of_engine = |path: &[u8]| is_in_store(path) || is_short(path);
            let is_led = !ways.is_empty() && ways.iter().all(|(_, path)| is_of_engine(path));
            let is_settled = is_led || (is_of_engine(whole) && (ways.is_empty() || !layer.starts_with(b"/")));
            self.backed.is_open |= !is_settled && !self.is_explained(layer);
        }
        let is_data =
            self.backed.seen.first().is_some_and(|(_, mount)| mount.data.iter().any(|data| data == layer));
        let layers = if is_data { &mut self.backed.data } else { &mut self.backed.layers };
        layers.push(ways);
    }

    fn mentions(&mut self, mentions: &[Vec<u8>]) {
        for mention in mentions {
            if mention.starts_with(b"/") {
                self.follow(mention);
            } else {
                // The branches of a pool, without what they begin with in common.
                let parts: Vec<Vec<u8>> = names(mention).collect();
                self.backed.certain.extend(self.places.named(&parts));
            }
        }
    }

    /// Follows an absolute path in every way there is, and returns where it leads to what is there.
    fn follow(&mut self, path: &[u8]) -> Vec<(&'m Namespace, Vec<u8>)> {
        // A descriptor of whoever mounted it: what is seen in the mount tells.
        if OF_THE_READER.iter().any(|start| path.starts_with(start)) {
            return Vec::new();
        }
        let (mut ways, mut leads_where_it_is, mut is_unknown) = (Vec::new(), false, true);
        for namespace in self.namespaces() {
            let is_seen = self.backed.seen.iter().any(|(seen, _)| seen.id == namespace.id);
            match self.ways.lead(namespace, b"/", path) {
                Lead::To { place, path } => {
                    self.claim(&place, is_seen || !leads_where_it_is);
                    leads_where_it_is |= is_seen;
                    ways.push((namespace, path));
                }
                // What was removed from a volume while it is a layer.
                Lead::Missing { place, rest, .. } => {
                    let gone = Place { path: join(&place.path, &rest), ..place };
                    let key = self.places.holding(gone.device, &gone.path);
                    self.claims(is_seen || !leads_where_it_is).extend(key);
                }
                Lead::Foreign => {}
                Lead::Unknown => continue,
            }
            is_unknown = false;
        }
        if is_unknown && !self.is_explained(path) {
            self.backed.unknown.get_or_insert_with(|| {
                format!("its layer {} cannot be followed in any namespace where it is mounted", text(path))
            });
        }
        ways
    }

    fn namespaces(&self) -> Vec<&'m Namespace> {
        let mut ids = BTreeSet::new();
        let seen = self.backed.seen.iter().map(|(namespace, _)| *namespace);
        let host = self.host.namespaces.iter().copied().filter(|_| self.host.is_followed);
        seen.chain(host).filter(|namespace| ids.insert(namespace.id)).collect()
    }

    fn claims(&mut self, is_certain: bool) -> &mut BTreeSet<&'a K> {
        if is_certain { &mut self.backed.certain } else { &mut self.backed.elsewhere }
    }

    fn claim(&mut self, place: &Place, is_certain: bool) {
        let key = self.places.holding(place.device, &place.path);
        self.claims(is_certain).extend(key);
        if self.places.is_above(place) {
            self.backed.above.get_or_insert_with(|| place.path.clone());
        }
    }

    /// Whether a layer that does not lead to one is one that no volume can be: of the file system that the machine started with, or of
    /// one that the service manager put together.
    fn is_explained(&self, layer: &[u8]) -> bool {
        let is_of_the_start = |(namespace, mount): &(&Namespace, &MountLine)| {
            mount.point == b"/" && self.host.namespaces.iter().any(|base| base.id == namespace.id)
        };
        if layer.starts_with(STAGING) || self.backed.seen.iter().any(is_of_the_start) {
            return true;
        }
        let exists = |path: &[u8]| {
            let leads = |namespace| matches!(self.ways.lead(namespace, b"/", path), Lead::To { .. });
            self.host.namespaces.iter().any(|namespace| leads(namespace))
        };
        let early = EARLY_ROOTS.iter().filter_map(|root| layer.strip_prefix(*root));
        early.filter(|rest| rest.starts_with(b"/")).any(exists)
    }

    /// Where relative layers lie. An engine that has many goes to the directory above them before it mounts, and an administrator is
    /// often beside the mount point: so the directories above it, and above absolute layers, are tried. All of them must be there, or
    /// have names that programs make up: those of a container that was removed since. It is a guess, which what is seen has to prove.
    fn base_of(&self, relative: &[&Vec<u8>], absolute: &[&Vec<u8>]) -> Option<Vec<(Place, Way<'m>)>> {
        if relative.iter().any(|layer| names(layer).all(|name| name == b"..")) {
            return None;
        }
        for &(namespace, mount) in &self.backed.seen {
            let near = above(&mount.point).take(2);
            let bases = near.chain(absolute.iter().flat_map(|layer| above(layer)));
            // Everything is in the root directory: that would prove nothing.
            for base in bases.filter(|base| base.len() > 1) {
                let lead = |layer: &&Vec<u8>| match self.ways.lead(namespace, base, layer) {
                    Lead::To { place, path } => Some((place, Some((namespace, path)))),
                    Lead::Missing { place, rest, .. }
                        if names(&rest).next().is_some_and(|name| is_made_up(&name)) =>
                    {
                        let path = join(&place.path, &rest);
                        Some((Place { path, ..place }, None))
                    }
                    Lead::Missing { .. } | Lead::Foreign | Lead::Unknown => None,
                };
                if let Some(found) = relative.iter().map(lead).collect::<Option<Vec<_>>>() {
                    return Some(found);
                }
            }
        }
        None
    }
}

/// A path of a namespace to what is there.
type Way<'m> = Option<(&'m Namespace, Vec<u8>)>;

/// The directories above a path.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    super::places::upwards(path).skip(1)
}

/// Whether a path is that of a layer in the store of an engine: `overlay2/ID/diff`, or `snapshots/NUMBER/fs` of containerd. No volume is
/// in one.
fn is_in_store(path: &[u8]) -> bool {
    let parts: Vec<Vec<u8>> = names(path).collect();
    let is_layer = |[store, name, content]: &[Vec<u8>; 3]| match (store.as_slice(), content.as_slice()) {
        (b"overlay2" | b"overlay", b"diff") => is_id(name),
        (b"snapshots", b"fs") => is_number(name),
        _ => false,
    };
    parts.array_windows().any(is_layer) && parts.iter().all(|name| name != b"volumes")
}

/// The store of an engine that a path leads into.
fn store_of(path: &[u8]) -> Option<&[u8]> {
    super::places::upwards(path).find(|above| is_in_store(above)).and_then(|layer| above(layer).nth(1))
}

/// Whether a path is the short name of a layer, `overlay2/l/ID`.
fn is_short(path: &[u8]) -> bool {
    let parts: Vec<Vec<u8>> = names(path).collect();
    let is_link = |[store, links, name]: &[Vec<u8>; 3]| {
        matches!(store.as_slice(), b"overlay2" | b"overlay") && links == b"l" && is_id(name)
    };
    parts.array_windows().any(is_link) && parts.iter().all(|name| name != b"volumes")
}

/// Whether a name is one that programs make up: a number, or the ID of a layer or snapshot.
fn is_made_up(name: &[u8]) -> bool {
    is_id(name) || is_number(name)
}

fn is_id(name: &[u8]) -> bool {
    name.len() >= 20 && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_number(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "backing_tests.rs"]
mod tests;
