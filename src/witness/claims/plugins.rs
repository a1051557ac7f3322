//! Managed plugins (`docker plugin`): host paths in their settings. A plugin that is disabled keeps them, and needs them again when
//! it is enabled.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Claim, Target};
use crate::gc::reference::{Holder, HolderKind};
use crate::host::directory;
use crate::host::engine::wire::{Plugin, PluginOnDisk};
use crate::host::volumes_dir::VolumesDir;
use crate::witness::locate::Text;

/// A `config.json` of a plugin larger than this is none that an engine wrote.
const LARGEST: usize = 16 << 20;

/// Every path in the settings of a plugin.
pub fn claims(plugins: &[Plugin]) -> Vec<Claim> {
    plugins.iter().flat_map(of_plugin).collect()
}

fn of_plugin(plugin: &Plugin) -> Vec<Claim> {
    let settings = &plugin.settings;
    let mounts =
        settings.mounts.iter().flatten().filter_map(|mount| Some(("mounts", mount.source.as_deref()?)));
    let devices =
        settings.devices.iter().flatten().filter_map(|device| Some(("device", device.path.as_deref()?)));
    let words = [&settings.env, &settings.args].into_iter().flatten().flatten();
    let words = words.map(|word| ("setting", word.as_str()));
    let is_path = |(_, text): &(&str, &str)| text.contains('/');
    let claim = |(what, text): (&str, &str)| {
        let state = if plugin.enabled { "enabled" } else { "disabled" };
        let holder = Holder {
            kind: HolderKind::Plugin,
            id: plugin.id.clone(),
            name: plugin.name.clone(),
            detail: format!("{state}, {what} {text}"),
        };
        Claim::new(Target::Text(Text::Absolute(text.to_owned())), holder)
    };
    mounts.chain(devices).chain(words).filter(is_path).map(claim).collect()
}

/// What is claimed when nobody knows the settings.
pub fn unknown(why: &str) -> Claim {
    let holder = Holder {
        kind: HolderKind::Plugin,
        id: "unknown".to_owned(),
        name: "unknown".to_owned(),
        detail: "the settings of plugins are not known".to_owned(),
    };
    Claim::new(Target::Anything(why.to_owned()), holder)
}

/// The plugins as the engine keeps them on disk, for an engine that does not answer for them: `<root>/plugins/<ID>/config.json` (1.13
/// to 29). Blocks on the file system.
///
/// # Errors
///
/// What cannot be read or understood.
pub fn on_disk(root: &VolumesDir) -> Result<Vec<Plugin>, String> {
    let path = root.root_path().join("plugins");
    let broken = |name: &str, why: String| format!("{}/{name} {why}", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let plugins = match rustix::fs::openat(root.root(), c"plugins", flags, Mode::empty()) {
        Ok(plugins) => plugins,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be opened ({error})", path.display())),
    };
    let names = directory::list(plugins.as_fd())
        .map_err(|error| format!("{} cannot be listed ({error})", path.display()))?;
    let mut found = Vec::new();
    for (name, kind) in names {
        let shown = directory::shown(&name);
        if kind == FileType::RegularFile || matches!(shown.as_str(), "storage" | "tmp") {
            continue;
        }
        match read_one(plugins.as_fd(), &name) {
            Ok(Some(text)) => {
                let plugin: PluginOnDisk = serde_json::from_slice(&text).map_err(|error| {
                    broken(&shown, format!("has a config.json that is not understood ({error})"))
                })?;
                found.push(plugin.plugin);
            }
            Ok(None) => {}
            Err(error) => return Err(broken(&shown, format!("cannot be read ({error})"))),
        }
    }
    Ok(found)
}

/// The file of one plugin; none when it is gone, or no plugin's directory.
fn read_one(plugins: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<Option<Vec<u8>>> {
    let read = directory::open_child(plugins, name)
        .and_then(|plugin| directory::read_file(plugin.as_fd(), c"config.json", LARGEST));
    match read {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}
