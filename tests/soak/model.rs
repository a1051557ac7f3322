//! What must be there: pure, told by the storm what was done, and asked what may be gone.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Identity;
use super::operation::{Name, SLOTS};

/// What may have become of a volume's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Somebody could want it: it has to be whole, in one place.
    Kept,
    /// Somebody ordered its end, in these words: it is whole, or gone.
    MayBeGone(String),
}

/// The data of one volume, whatever its name is by now.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The first line of its file `id`; no other volume has it.
    pub token: String,
    /// Every file of it. The first line is the directory itself.
    pub listing: Vec<String>,
    /// What may have become of it.
    pub fate: Fate,
    /// Whether owner and mode of the directory itself are known too: it was filled while something held it.
    pub is_strict: bool,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its ID.
    pub id: String,
    /// The volumes that the engine lists for it, and what is in each, as far as it was seen yet.
    pub volumes: BTreeMap<String, Option<Identity>>,
    /// Which of them it would take along when it is removed with its volumes.
    pub anonymous: Vec<String>,
    /// What it reads when it binds the path of a volume's data.
    pub bound: Option<Identity>,
    /// The volume whose path it binds, whether or not there was data in it.
    pub binds: Option<Name>,
    /// The named volume it was made for, to make it anew.
    pub named: Option<Name>,
}

/// Everything that the storm has to find again.
#[derive(Debug, Default)]
pub struct Model {
    /// All data that was ever made, by identity.
    pub kept: BTreeMap<Identity, Kept>,
    /// The containers by slot.
    pub containers: [Option<Container>; SLOTS],
    made: u64,
}

impl Model {
    /// A token that no volume has yet.
    pub fn token(&mut self, name: &str) -> String {
        self.made += 1;
        format!("{}-{name}", self.made)
    }

    /// The end of this data was ordered.
    pub fn may_go(&mut self, identity: &Identity, why: &str) {
        if let Some(kept) = self.kept.get_mut(identity)
            && kept.fate == Fate::Kept
        {
            kept.fate = Fate::MayBeGone(why.to_owned());
        }
    }

    /// Whether any container uses a volume of this name.
    pub fn is_used(&self, name: &str) -> bool {
        self.containers.iter().flatten().any(|container| container.volumes.contains_key(name))
    }

    /// A container is removed with its anonymous volumes: those that no other one uses may go.
    pub fn removed_with_volumes(&mut self, container: &Container) {
        for name in &container.anonymous {
            if !self.is_used(name)
                && let Some(Some(identity)) = container.volumes.get(name)
            {
                self.may_go(identity, "removed with its container");
            }
        }
    }

    /// The engine removed the volume of this name for a user: what was somewhere before, and is nowhere any more, went with it. What
    /// volgc had set aside by then must be there still. Says how many may be gone by that.
    pub fn removed_by_hand(
        &mut self,
        name: Name,
        before: &BTreeSet<Identity>,
        after: &BTreeSet<Identity>,
    ) -> usize {
        // Operators restore under this name only what had it.
        let had_the_name = format!("-{}", name.text());
        let gone: Vec<Identity> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.fate == Fate::Kept && kept.token.ends_with(&had_the_name))
            .map(|(identity, _)| *identity)
            .filter(|identity| before.contains(identity) && !after.contains(identity))
            .collect();
        for identity in &gone {
            self.may_go(identity, "removed by hand, with its volume");
        }
        gone.len()
    }

    /// How many must be there.
    pub fn count(&self) -> usize {
        self.kept.values().filter(|kept| kept.fate == Fate::Kept).count()
    }
}
