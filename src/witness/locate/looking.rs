//! The resolver at work: every text once, on a thread that may be lost to a dead file system.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::values::Relative;
use super::{Concerns, Doubt, Located, Map, concerns, locate, values};
use crate::host::resolve::{End, Server, Stand, Step, Terrain, follow, normalised};
use crate::host::view::View;
use crate::host::{fault, pulse};
use crate::witness::EvidenceError;
use crate::witness::index::VolumeIndex;

/// How long the look at one text may take: a dead network file system answers never.
const PATIENCE: Duration = Duration::from_secs(20);

/// What somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Text {
    /// A path. A relative one begins in the engine's working directory.
    Path(PathBuf),
    /// The value of an option: a path as a whole, or something with paths in it, or neither.
    Value(String),
    /// The same, of an option in which only absolute paths mean something.
    Absolute(String),
}

/// Where each text leads, as the engine would resolve it. Blocks nobody for longer than a text's patience, however many lead to the
/// same dead file system.
///
/// # Errors
///
/// None for what cannot be looked at: that is a [`Doubt`].
pub async fn locate_all(
    index: &Arc<VolumeIndex>,
    texts: BTreeSet<Text>,
) -> Result<BTreeMap<Text, Located>, EvidenceError> {
    let mut located = BTreeMap::new();
    let mut pending: Vec<Text> = texts.into_iter().rev().collect();
    while !pending.is_empty() {
        let progress = Arc::new(Progress::default());
        let (tell, mut answers) = mpsc::unbounded_channel();
        let work = Work { index: Arc::clone(index), texts: pending.clone(), progress: Arc::clone(&progress) };
        let thread = tokio::task::spawn_blocking(move || work.run(&tell));
        let hung = loop {
            match pulse::bounded(patience(), answers.recv()).await {
                Ok(Some(answer)) => {
                    if let Some(text) = pending.pop() {
                        located.insert(text, answer);
                    }
                }
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if !hung {
            thread.await.map_err(|error| EvidenceError::Nonsense(error.to_string()))?;
            break;
        }
        // The thread is left to itself. Nobody looks there again through this view, not for the steps of this sweep either.
        let (at, server) = progress.give_up(index.view());
        if let Some(text) = pending.pop() {
            let doubt = Doubt { at, why: Errno::TIMEDOUT, server, concerns: concerns(server) };
            let by_text = without_looking(index.map(), &text);
            located.insert(text, Located { doubts: vec![doubt], ..by_text });
        }
    }
    Ok(located)
}

/// The same for one text.
pub async fn locate_one(index: &Arc<VolumeIndex>, text: Text) -> Result<Located, EvidenceError> {
    let located = locate_all(index, BTreeSet::from([text])).await?;
    // Not to have looked is not to have found nothing (I2).
    let unasked = || EvidenceError::Nonsense("a path was not followed".to_owned());
    located.into_values().next().ok_or_else(unasked)
}

fn patience() -> Duration {
    Duration::from_millis(fault::limit(fault::Setting::LookPatience, PATIENCE.as_secs() * 1000))
}

/// Where the walk is.
#[derive(Debug, Default)]
struct Progress(Mutex<Option<(<View as Terrain>::Node, PathBuf)>>);

impl Progress {
    fn note(&self, from: &<View as Terrain>::Node, path: &Path) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(from), path.to_owned()));
    }

    /// Gives up on the step that was taken last. Returns it, and who serves the files there.
    fn give_up(&self, view: Option<&Arc<View>>) -> (PathBuf, Option<Server>) {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (last, view) {
            (Some((from, path)), Some(view)) => {
                let server = view.give_up_on(&from, &path);
                (path, server)
            }
            (None, _) | (_, None) => (PathBuf::from("/"), None),
        }
    }
}

/// What a thread does.
struct Work {
    index: Arc<VolumeIndex>,
    /// The last one is the first.
    texts: Vec<Text>,
    progress: Arc<Progress>,
}

impl Work {
    fn run(self, tell: &mpsc::UnboundedSender<Located>) {
        let Self { index, texts, progress } = self;
        let map = index.map();
        let working_directory = index.view().map(|view| view.working_directory());
        for text in texts.iter().rev() {
            let located = match (index.view(), &working_directory) {
                (Some(view), Some(working_directory)) => {
                    let terrain = Watched { view, progress: &progress };
                    resolve(map, &terrain, working_directory.as_deref().map_err(|error| *error), text)
                }
                (None, _) | (_, None) => without_looking(map, text),
            };
            if tell.send(located).is_err() {
                // Nobody waits any more.
                return;
            }
        }
    }
}

/// What can be known of a text by itself: for an engine elsewhere, and for what does not answer.
fn without_looking(map: &Map, text: &Text) -> Located {
    let paths = match text {
        Text::Path(path) => Ok(BTreeSet::from([path.clone()])),
        Text::Value(value) | Text::Absolute(value) => values::paths(value, Relative::Ignored, |_| false),
    };
    let Ok(paths) = paths else { return doubtful(Path::new("/"), Errno::TOOBIG) };
    let clean = paths.iter().map(|path| normalised(path));
    Located { whereabouts: clean.filter_map(|path| map.of_text(&path)).collect(), ..Located::default() }
}

/// Where a text leads in a terrain. Relative paths begin in the working directory.
/// Pure.
pub fn resolve<T: Terrain>(
    map: &Map,
    terrain: &T,
    working_directory: Result<&Path, Errno>,
    text: &Text,
) -> Located {
    let base = |path: &Path| working_directory.map(|directory| directory.join(path));
    let mut located = Located::default();
    let mut add = |path: &Path| match base(path) {
        Ok(path) => located.add(locate(map, terrain, &path)),
        // Whatever is relative to a directory that is gone is not there.
        Err(Errno::NOENT) => {}
        Err(why) => located.add(doubtful(path, why)),
    };
    match text {
        Text::Path(path) => add(path),
        Text::Value(value) | Text::Absolute(value) => {
            let relative = match text {
                Text::Value(_) => Relative::Counts,
                Text::Absolute(_) | Text::Path(_) => Relative::Ignored,
            };
            let is_there = |path: &Path| match base(path) {
                // What a volume's name is in counts without a look.
                Ok(path) => {
                    map.of_text(&normalised(&path)).is_some()
                        || !matches!(follow(terrain, &path).end, End::Nowhere(_))
                }
                Err(why) => why != Errno::NOENT,
            };
            match values::paths(value, relative, is_there) {
                Ok(paths) => paths.iter().for_each(|path| add(path)),
                Err(values::TooMany) => located.add(doubtful(Path::new("/"), Errno::TOOBIG)),
            }
        }
    }
    located
}

fn doubtful(at: &Path, why: Errno) -> Located {
    let doubt = Doubt { at: at.to_owned(), why, server: None, concerns: Concerns::Everything };
    Located { doubts: vec![doubt], ..Located::default() }
}

/// A view that says where it looks, and looks at nothing that did not answer before.
struct Watched<'a> {
    view: &'a View,
    progress: &'a Progress,
}

impl Terrain for Watched<'_> {
    type Node = <View as Terrain>::Node;

    fn root(&self) -> rustix::io::Result<Stand<Self::Node>> {
        self.view.root()
    }

    fn step(
        &self,
        from: &Self::Node,
        name: &OsStr,
        path: Option<&Path>,
    ) -> rustix::io::Result<Step<Self::Node>> {
        if let Some(path) = path {
            if self.view.is_given_up(from, path) {
                return Err(Errno::TIMEDOUT);
            }
            self.progress.note(from, path);
        }
        self.view.step(from, name, path)
    }

    fn server(&self, from: &Self::Node, path: Option<&Path>) -> Option<Server> {
        self.view.server(from, path)
    }

    fn parent(&self, of: &Self::Node) -> rustix::io::Result<Self::Node> {
        self.view.parent(of)
    }
}
