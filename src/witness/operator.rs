//! Operators' holds.

use super::Scene;
use crate::gc::holds::HoldTarget;
use crate::gc::inventory::Answer;
use crate::gc::reference::{Holder, HolderKind, Reference, Witness};

/// Every volume that an active hold is on. Whether it is still the one that the hold was given to, is decided before: see
/// [`HoldTarget`].
pub fn ask(scene: Scene<'_>) -> Answer {
    let mut references = Vec::new();
    for hold in scene.holds.iter().filter(|hold| hold.is_active(scene.now)) {
        let HoldTarget::Volume { name, .. } = &hold.target else { continue };
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
