//! A kill, an error or an engine in trouble at every step: data is whole and in one place (I4, I5).

mod authorization;
mod delete_in_doubt;
mod engine_in_trouble;
mod errors;
mod killed;
mod restore_given_up;
mod who_answers;

use std::collections::BTreeSet;

/// The first point of each group of effects that belong together, as the engine sees no difference within one.
pub(super) fn first_of_each_group(passes: &[(String, u32)]) -> Vec<String> {
    let mut groups = BTreeSet::new();
    let is_first = |point: &&String| {
        // Each moment around an answer of the engine counts.
        let is_own = point.starts_with("engine.") || *point == "exchange.look_again";
        is_own || groups.insert(point.split('.').next().unwrap_or(point).to_owned())
    };
    passes.iter().map(|(point, _)| point).filter(is_first).cloned().collect()
}
