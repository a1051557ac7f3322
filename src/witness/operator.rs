//! Operators' holds.

use super::Scene;
use crate::gc::holds::HoldTarget;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};
use crate::gc::volume::VolumeIdentity;

/// Every volume that an active hold is on: that volume, not a later one of its name (I11).
pub fn ask(scene: Scene<'_>) -> Answer {
    let mut references = Vec::new();
    for hold in scene.holds.iter().filter(|hold| hold.is_active(scene.now)) {
        let HoldTarget::Volume { name, identity } = &hold.target else { continue };
        let is_this_one =
            match (identity, scene.index.observed().get(name).and_then(|seen| seen.directory.as_ref())) {
                (VolumeIdentity::Directory(held), Some(facts)) => held.is_same(&facts.identity),
                // Without a directory to compare, the hold is honoured (I2).
                (VolumeIdentity::Record { .. }, _) | (VolumeIdentity::Directory(_), None) => true,
            };
        if !is_this_one {
            continue;
        }
        let until = hold.expires_at.map_or_else(
            || "until released".to_owned(),
            |expires_at| format!("until {}", expires_at.format("%Y-%m-%d %H:%MZ")),
        );
        references.push(Reference {
            volume: name.clone(),
            witness: Witness::Operator,
            holder: Holder {
                kind: HolderKind::Hold,
                id: hold.given_at.to_rfc3339(),
                name: hold.reason.clone(),
                detail: until,
            },
        });
    }
    Answer::new(Witness::Operator, references)
}
