//! Ways to the parsers of this witness for those who test them with any bytes. Not part of the program.

use std::collections::BTreeSet;
use std::path::Path;

use super::claims::Told;
use super::files::Contents;
use super::raw::Needles;
use super::{Known, Places};
use crate::gc::volume::VolumeName;

/// Which of these volumes the container holds whose directory has these files, or why that cannot be told. Host paths lead
/// nowhere here.
pub fn held(files: &[(&str, &[u8])], volumes: &[VolumeName]) -> Result<BTreeSet<VolumeName>, String> {
    let contents = files
        .iter()
        .map(|(file, bytes)| Contents { file: (*file).to_owned(), bytes: bytes.to_vec() })
        .collect();
    let told = [Told::new("0123456789ab".to_owned(), contents)];
    let known = Known {
        everything: BTreeSet::new(),
        needles: Needles::new(volumes.iter().cloned()),
        places: Places::new(),
        anonymous: volumes.iter().filter(|name| name.is_generated()).cloned().collect(),
        listed: &[],
        driver: Some("overlay2"),
    };
    let answer = known.answer(&told, Path::new("/var/lib/docker"))?;
    Ok(answer.references.into_iter().map(|reference| reference.volume).collect())
}
