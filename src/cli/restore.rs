//! `volgc restore`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::context::{Context, whoami};
use super::{CliError, Exit, explain, output};
use crate::gc::brakes::Doubt;
use crate::gc::entry::{Entry, EntryId, Manifest};
use crate::gc::labels::carried;
use crate::gc::plan::Order;
use crate::gc::volume::{ANONYMOUS_LABEL, VolumeName};
use crate::host::clock;
use crate::report::text::{minute, safe};
use crate::sweep::look::{Look, look};
use crate::sweep::replace::{Replace, Restored};
use crate::sweep::{Sweeper, Watching};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The entry, as `volgc list` shows it, or the name of the volume it was
    #[arg(value_name = "ENTRY|VOLUME")]
    what: String,
    /// Restore under this name
    #[arg(long = "as", value_name = "NAME")]
    target: Option<String>,
    /// Quarantine the volume that has the name now, if nothing holds it, and take its place
    #[arg(long)]
    replace: bool,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, CliError> {
    let (settings, _) = context.settings()?;
    let target = arguments.target.as_deref().map(explain::volume_name).transpose()?;
    let engine = context.changing_engine(&settings).await?;
    let mut ledger = context.ledger()?;
    let nothing = Order::Delete(std::collections::BTreeSet::new());
    let now = clock::read()?;
    let seen = look(engine.reading(), &ledger.read()?, &settings, &nothing, now).await?;
    // First of all: where the quarantine cannot be seen, nothing can be said to be missing from it.
    if seen.refusals.iter().any(|refusal| refusal.doubt == Doubt::Engine) {
        return Err(refused(&seen));
    }
    let entry = find(&seen, &arguments.what)?;
    let stop = CancellationToken::new();
    let whoami = whoami("restore");
    let mut sweeper = Sweeper {
        engine: &engine,
        settings: &settings,
        ledger: &mut ledger,
        whoami: &whoami,
        stop: &stop,
        watching: Watching::Nobody,
    };
    let replace = if arguments.replace { Replace::Quarantine } else { Replace::Refuse };
    match sweeper.restore(&entry, target, replace).await? {
        Restored::Done { manifest, name, replaced } => {
            let mut text = format!("restored volume {name} from entry {}\n", manifest.entry);
            let left_out = carried(&manifest.labels, &manifest.name, &name).left_out;
            if !left_out.is_empty() {
                text.push_str(&format!(
                    "without labels by which a tool would find it as {}, and delete it: {}\n",
                    safe(manifest.name.as_str()),
                    safe(&left_out.join(", "))
                ));
            }
            if name == manifest.name && manifest.labels.contains_key(ANONYMOUS_LABEL) {
                text.push_str("it is anonymous, as it was: `docker volume prune` deletes it while no container uses it\n");
            }
            if let Some(replaced) = replaced {
                text.push_str(&format!(
                    "the volume that had the name is in quarantine as entry {replaced}\n"
                ));
            }
            output::print(&text)?;
            Ok(Exit::Done)
        }
        Restored::Released(manifest) => {
            output::print(&format!(
                "released volume {} from entry {}; it never left Docker\n",
                manifest.name, manifest.entry
            ))?;
            Ok(Exit::Done)
        }
        Restored::Refused(look) => Err(refused(&look)),
    }
}

fn refused(look: &Look) -> CliError {
    let why: Vec<&str> = look.refusals.iter().map(|refusal| refusal.text.as_str()).collect();
    CliError::Refused(why.join("; "))
}

/// Whether a volume has that name now.
#[expect(clippy::disallowed_methods, reason = "what is no volume's name is the name of none")]
fn is_volume(look: &Look, what: &str) -> bool {
    VolumeName::new(what).is_ok_and(|name| look.observation.inventory.volume(&name).is_some())
}

/// The entry of that name, else the only entry that was a volume of that name.
fn find(look: &Look, what: &str) -> Result<EntryId, CliError> {
    let known: Vec<&Manifest> = look
        .quarantine
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(manifest) => Some(&**manifest),
            Entry::Deleting(_) | Entry::Damaged { .. } => None,
        })
        .collect();
    if let Some(manifest) = known.iter().find(|manifest| manifest.entry.as_str() == what) {
        return Ok(manifest.entry.clone());
    }
    let named: Vec<&&Manifest> = known.iter().filter(|manifest| manifest.name.as_str() == what).collect();
    match named.as_slice() {
        [only] => Ok(only.entry.clone()),
        [] if is_volume(look, what) => Err(CliError::NotFound(format!(
            "volume {0} is there, and nothing in quarantine was a volume {0}: there is nothing to restore. `volgc history --volume {0}` \
             tells whether it was restored already; to bring back an entry that had another name, name the entry, as `volgc list` shows \
             it: `volgc restore ENTRY --as NAME`, or `--as {0} --replace` in place of this volume",
            safe(what)
        ))),
        [] => Err(CliError::NotFound(format!(
            "there is no entry {0} in quarantine, and none that was a volume {0}; `volgc list` shows what there is",
            safe(what)
        ))),
        several => {
            let choices: Vec<String> = several
                .iter()
                .map(|manifest| {
                    format!("{} (quarantined {})", manifest.entry, minute(manifest.quarantined_at))
                })
                .collect();
            Err(CliError::Usage(format!(
                "several entries were a volume {}: name one of {}",
                safe(what),
                choices.join(", ")
            )))
        }
    }
}
