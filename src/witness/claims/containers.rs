//! What the engine's container list claims: the source of every mount. A volume's too: the engine goes by the path.

use super::{Claim, Target};
use crate::gc::volume::VolumeName;
use crate::host::engine::wire::{Container, Mount};
use crate::witness::engine::holder;
use crate::witness::index::VolumeIndex;
use crate::witness::locate::Text;

/// Every path that a container mounts.
pub fn claims(index: &VolumeIndex, containers: &[Container]) -> Vec<Claim> {
    let mounts =
        containers.iter().flat_map(|container| container.mounts.iter().map(move |mount| (container, mount)));
    mounts.filter_map(|(container, mount)| claim(index, container, mount)).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is no volume's name is none, and the path counts")]
fn claim(index: &VolumeIndex, container: &Container, mount: &Mount) -> Option<Claim> {
    let source = mount.source.clone().filter(|source| source.starts_with('/'));
    let Some(name) = mount.name.as_deref().and_then(|name| VolumeName::new(name).ok()) else {
        let source = source?;
        let holder = holder(container, &format!("bind of {source}"));
        return Some(Claim::new(Target::Text(Text::Path(source.into())), holder));
    };
    // Of a volume without a name of its own the list has no source (20.10 to 29).
    let source = match source {
        Some(source) => source,
        None if mount.kind.as_deref() == Some("image") => return None,
        None => index.data_of(&name).display().to_string(),
    };
    // The engine witness has it by its name, and there is no other way to go from there.
    if index.is_its_own_data(&name, &source) {
        return None;
    }
    let holder = holder(container, &format!("volume {name} at {source}"));
    Some(Claim::new(Target::Text(Text::Path(source.into())), holder).beside(name))
}
