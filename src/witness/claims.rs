//! Claims on paths: who wrote down which path. What they lead to is for the resolver ([`super::locate`]).
//!
//! Each collector is complete or says of whom it does not know the claims: then that one may hold any volume, and it is named (I2, I14).

pub mod cdi;
pub mod containers;
pub mod host_config;
pub mod plugins;
pub mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::locate::{Concerns, Doubt, Located, Text, Whereabouts};
use crate::gc::entry::EntryId;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeName;
use crate::host::resolve::Server;

/// Something that somebody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What.
    pub target: Target,
    /// Who.
    pub holder: Holder,
    /// The volume that it has anyway, by its name: what leads there is no claim of its own.
    pub own: Option<VolumeName>,
    /// What to say when nothing is there.
    pub missing: Missing,
}

/// What is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// What this leads to.
    Text(Text),
    /// Nobody knows: any volume. With the reason and what to do, after the holder's name.
    Anything(String),
}

/// Whether it is worth a word when a claim leads to nothing that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It happens.
    Silent,
    /// The volume cannot be mounted without it.
    Told,
}

impl Claim {
    /// A claim that needs no word when nothing is there.
    pub fn new(target: Target, holder: Holder) -> Self {
        Self { target, holder, own: None, missing: Missing::Silent }
    }

    /// The same of somebody who has this volume anyway.
    #[must_use]
    pub fn beside(self, own: VolumeName) -> Self {
        Self { own: Some(own), ..self }
    }
}

/// What a claim that nobody can follow holds.
#[derive(Debug, Clone, Default)]
pub struct Everything {
    /// Every volume.
    pub volumes: BTreeSet<VolumeName>,
    /// Every entry of the quarantine.
    pub entries: Vec<EntryId>,
}

/// The texts that have to be followed.
pub fn texts<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> BTreeSet<Text> {
    let text = |claim: &Claim| match &claim.target {
        Target::Text(text) => Some(text.clone()),
        Target::Anything(_) => None,
    };
    claims.into_iter().filter_map(text).collect()
}

/// Whether any claim may be on everything, so that it has to be known what there is.
pub fn need_everything<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    located: &BTreeMap<Text, Located>,
) -> bool {
    claims.into_iter().any(|claim| match &claim.target {
        Target::Text(text) => located.get(text).is_none_or(Located::may_be_anywhere),
        Target::Anything(_) => true,
    })
}

/// What the claims hold. Pure: a claim more can only hold more.
pub fn judge<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    located: &BTreeMap<Text, Located>,
    everything: &Everything,
) -> Answer {
    let mut answer = Answer::new(Witness::BindSources, Vec::new());
    for claim in claims {
        match &claim.target {
            Target::Anything(why) => {
                answer.alerts.push(format!(
                    "{}: {why}; until then it may hold any volume, so all are kept",
                    who(&claim.holder)
                ));
                hold_everything(&mut answer, claim, why, everything);
            }
            Target::Text(text) => match located.get(text) {
                Some(found) => judge_text(&mut answer, claim, found, text, everything),
                // Not to have looked is not to have found nothing (I2).
                None => hold_everything(&mut answer, claim, "its path was not followed", everything),
            },
        }
    }
    for told in [&mut answer.notes, &mut answer.alerts] {
        told.sort();
        told.dedup();
    }
    answer
}

fn judge_text(answer: &mut Answer, claim: &Claim, found: &Located, text: &Text, everything: &Everything) {
    let who = who(&claim.holder);
    for whereabouts in &found.whereabouts {
        match whereabouts {
            Whereabouts::Inside(volume) if claim.own.as_ref() == Some(volume) => {}
            Whereabouts::Inside(volume) => answer.references.push(Reference {
                volume: volume.clone(),
                witness: Witness::BindSources,
                holder: claim.holder.clone(),
            }),
            Whereabouts::Above => answer.notes.push(lies_above(&claim.holder.name, &shown(text))),
            Whereabouts::Quarantined(entry) => {
                answer.entry_holders.push((entry.clone(), claim.holder.clone()));
            }
        }
    }
    for doubt in &found.doubts {
        let why = describe(doubt);
        match doubt.concerns {
            Concerns::Nothing => answer.notes.push(format!(
                "{who} uses {}: {why}. What a FUSE server has is no volume's directory, so this holds none",
                shown(text)
            )),
            Concerns::Everything => {
                answer.alerts.push(format!(
                    "{who} uses {}: {why}, so it may lead into any volume, and all are kept. Mend the path, or remove what \
                     uses it",
                    shown(text)
                ));
                hold_everything(answer, claim, &format!("{}: {why}", shown(text)), everything);
            }
        }
    }
    if claim.missing == Missing::Told && !found.exists && found.doubts.is_empty() {
        answer.notes.push(format!(
            "the driver options of volume {} name {}, which does not exist: no container can start with it",
            claim.holder.name,
            shown(text)
        ));
    }
}

/// What is said of who binds a path that lies above every volume, as most backups do.
pub fn lies_above(who: &str, path: &dyn fmt::Display) -> String {
    format!(
        "{who} binds {path}, which lies above every volume: no reference to any one of them. If it needs one, give that a hold \
         (`volgc hold`). If it is a backup, leave the quarantine out of it (`volgc` in the docker root): what it reads there stays"
    )
}

fn hold_everything(answer: &mut Answer, claim: &Claim, why: &str, everything: &Everything) {
    let detail = format!("{}; it may lead into any volume: {why}", claim.holder.detail);
    let holder = Holder { detail, ..claim.holder.clone() };
    let others = everything.volumes.iter().filter(|volume| claim.own.as_ref() != Some(*volume));
    answer.references.extend(others.map(|volume| Reference {
        volume: volume.clone(),
        witness: Witness::BindSources,
        holder: holder.clone(),
    }));
    answer.entry_holders.extend(everything.entries.iter().map(|entry| (entry.clone(), holder.clone())));
}

/// What went wrong at which path, in a sentence.
pub fn describe(doubt: &Doubt) -> String {
    let at = doubt.at.display();
    let what = if doubt.why == rustix::io::Errno::TIMEDOUT {
        format!("{at} does not answer")
    } else {
        format!("{at} cannot be looked at ({})", doubt.why)
    };
    match doubt.server {
        Some(Server::Process) => format!("{what}, on a FUSE mount"),
        Some(Server::Network) => format!("{what}, on a network file system"),
        None => what,
    }
}

fn who(holder: &Holder) -> String {
    let kind = match holder.kind {
        HolderKind::Container => "container",
        HolderKind::UnloadedContainer => "container (not loaded by the engine)",
        HolderKind::Volume => "volume",
        HolderKind::Plugin => "plugin",
        HolderKind::Mount => "mount",
        HolderKind::Process => "process",
        HolderKind::Service => "service",
        HolderKind::UnknownSwarm => "swarm",
        HolderKind::Hold => "hold",
    };
    format!("{kind} {}", holder.name)
}

fn shown(text: &Text) -> String {
    match text {
        Text::Path(path) => path.display().to_string(),
        Text::Value(value) | Text::Absolute(value) => value.clone(),
    }
}
