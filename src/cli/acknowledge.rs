//! `volgc acknowledge`.

use super::context::{Context, whoami};
use super::{CliError, Exit, output};
use crate::gc::brakes::Refusal;
use crate::gc::history::{Happening, HistoryLine};
use crate::gc::ledger::{KnownEngine, LedgerState, VolumeRecord};
use crate::gc::plan::Order;
use crate::gc::spoken::spoken;
use crate::host::clock;
use crate::host::engine::Engine;
use crate::report::text::{counted, safe};
use crate::sweep::lineage::{self, Bound};
use crate::sweep::look::{Look, look};

pub(super) async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let engine = context.engine(&settings).await?;
    let known = answering(&engine).await?;
    let mut ledger = context.ledger()?;
    let remembered = ledger.read()?;
    let seen = look(&engine, &remembered, &settings, &Order::Scheduled, clock::read()?).await;
    let bound = lineage::bind_anew(&mut ledger, &known, &whoami("acknowledge")).await?;
    let released = ledger.acknowledge_all()?;
    ledger.record(&[HistoryLine {
        at: clock::read()?.wall,
        happening: Happening::Acknowledged,
        volume: None,
        entry: None,
        detail: format!(
            "{} released from the sudden-orphan brake, {} and {} bound to a copied docker root",
            counted(released, "volume", "volumes"),
            counted(bound.holds, "hold", "holds"),
            counted(bound.entries, "entry", "entries")
        ),
        last_holder: None,
        size_bytes: None,
    }])?;
    let brakes = match &seen {
        Ok(look) => Brakes::Known { refusals: &look.refusals, late: late_suspects(look, &remembered) },
        Err(error) => Brakes::Unknown(error.to_string()),
    };
    output::print(&acknowledged(&brakes, released, &bound))?;
    output::print(&told(&bound))?;
    Ok(if bound.left.is_empty() { Exit::Done } else { Exit::StepsFailed })
}

/// The brakes that held when the acknowledgement was given.
enum Brakes<'a> {
    Known {
        refusals: &'a [Refusal],
        /// How many volumes lost their last holder since the last sweep, so that the next one holds them back.
        late: usize,
    },
    /// The evidence is not complete, and why.
    Unknown(String),
}

/// What the sudden-orphan brake does not hold yet, and would from the next sweep on.
fn late_suspects(look: &Look, remembered: &LedgerState) -> usize {
    let is_suspected = |record: &VolumeRecord| record.suspected_since.is_some();
    let suspected = look.ledger.volumes.iter().filter(|(_, record)| is_suspected(record));
    suspected.filter(|(name, _)| !remembered.volumes.get(*name).is_some_and(is_suspected)).count()
}

/// What was acknowledged, and what holds on.
fn acknowledged(brakes: &Brakes<'_>, released: usize, bound: &Bound) -> String {
    const ACCEPTS: &str =
        "the next sweep accepts the engine, its directories and its list of containers as they are then";
    let volumes = format!("{} released from the sudden-orphan brake", counted(released, "volume", "volumes"));
    let (refusals, late) = match brakes {
        Brakes::Known { refusals, late } => (*refusals, *late),
        Brakes::Unknown(why) => {
            return format!(
                "acknowledged: {volumes}; {ACCEPTS}. Which brakes hold is not known, because the evidence is not complete: {}\n",
                safe(why)
            );
        }
    };
    let mut what: Vec<String> =
        refusals.iter().filter_map(Refusal::acknowledged).map(str::to_owned).collect();
    if released > 0 {
        what.push(volumes);
    }
    let mut text = if what.is_empty() && *bound == Bound::default() {
        format!("nothing to acknowledge: no brake holds that an acknowledgement releases; {ACCEPTS}\n")
    } else if what.is_empty() {
        format!("acknowledged: {ACCEPTS}\n")
    } else {
        format!("acknowledged: {}; {ACCEPTS}\n", what.join(", "))
    };
    if late > 0 {
        text.push_str(&format!(
            "the next sweep holds {} back that lost the last holder since the sweep before; to release them, run `volgc acknowledge` \
             after it\n",
            counted(late, "volume", "volumes")
        ));
    }
    for refusal in refusals.iter().filter(|refusal| refusal.acknowledged().is_none()) {
        text.push_str(&format!("still refused ({}): {}\n", spoken(refusal.word), safe(&refusal.text)));
    }
    text
}

/// The engine that answers. Without one nobody knows which docker root is meant, so nothing is acknowledged: a brake that was released
/// then would let the next sweep take whatever it finds for right.
async fn answering(engine: &Engine) -> Result<KnownEngine, CliError> {
    let info = engine.info().await?;
    Ok(KnownEngine { id: info.id, root: info.docker_root_dir })
}

/// What was bound to a docker root that was copied; nothing for one that was not.
fn told(bound: &Bound) -> String {
    let mut text = String::new();
    if bound.holds + bound.entries > 0 {
        text.push_str(&format!(
            "the docker root was copied: {} and {} in quarantine are bound to the new directories\n",
            counted(bound.holds, "hold", "holds"),
            counted(bound.entries, "entry", "entries")
        ));
    }
    for left in &bound.left {
        text.push_str(&format!("not bound: {}\n", safe(left)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::brakes::Doubt;

    fn refusal(word: &'static str) -> Refusal {
        Refusal { word, doubt: Doubt::Engine, text: format!("the text of {word}") }
    }

    fn said(words: &[&'static str], late: usize, released: usize) -> String {
        let refusals: Vec<Refusal> = words.iter().map(|word| refusal(word)).collect();
        acknowledged(&Brakes::Known { refusals: &refusals, late }, released, &Bound::default())
    }

    #[test]
    fn what_no_brake_held_was_not_acknowledged() {
        assert!(said(&[], 0, 0).starts_with("nothing to acknowledge: no brake holds"));
        let told = said(&["podman"], 0, 0);
        assert!(
            told.starts_with("nothing to acknowledge")
                && told.contains("still refused (podman): the text of")
        );
        assert!(said(&[], 3, 0).contains("the next sweep holds 3 volumes back"));
        let bound = Bound { holds: 1, ..Bound::default() };
        let told = acknowledged(&Brakes::Known { refusals: &[], late: 0 }, 0, &bound);
        assert!(told.starts_with("acknowledged: "), "{told}");
    }

    #[test]
    fn every_brake_that_was_released_is_named() {
        let told = said(&["root_copied", "empty_container_list"], 0, 2);
        assert!(told.starts_with(
            "acknowledged: the directories of the docker root, the empty list of containers, 2 volumes released from the sudden-orphan brake; "
        ), "{told}");
        let told = acknowledged(&Brakes::Unknown("why".to_owned()), 0, &Bound::default());
        assert!(told.contains("Which brakes hold is not known") && told.contains("why"), "{told}");
    }
}
