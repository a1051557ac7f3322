//! The search for volume names in bytes that are not understood.

use std::collections::{BTreeSet, HashMap};

use crate::gc::volume::VolumeName;

/// Volume names to be found in bytes, each also as JSON writes it.
///
/// A tree by the bytes of the names: the time is that of the bytes, whatever the number of volumes is and however alike their
/// names are. A name counts wherever it stands, also inside a longer word: with damaged bytes around it nothing tells where a
/// word ends, and a short name that is held too often is the safe mistake (I2).
#[derive(Debug, Default)]
pub(super) struct Needles {
    /// From a node by a byte to the next node; the root is 0.
    next: HashMap<(usize, u8), usize>,
    /// The names that end at a node.
    ends: HashMap<usize, Vec<VolumeName>>,
}

impl Needles {
    pub(super) fn new(names: impl IntoIterator<Item = VolumeName>) -> Self {
        let mut needles = Self::default();
        for name in names {
            let escaped = as_go_writes_it(name.as_str());
            if escaped != name.as_str() {
                needles.insert(escaped.as_bytes(), &name);
            }
            needles.insert(name.as_str().as_bytes(), &name);
        }
        needles
    }

    fn insert(&mut self, needle: &[u8], name: &VolumeName) {
        let mut node = 0;
        for byte in needle {
            let new = self.next.len() + 1;
            node = *self.next.entry((node, *byte)).or_insert(new);
        }
        self.ends.entry(node).or_default().push(name.clone());
    }

    /// Every volume whose name occurs in the bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> BTreeSet<&VolumeName> {
        let mut found = BTreeSet::new();
        for start in 0..bytes.len() {
            let mut node = 0;
            for byte in bytes.iter().skip(start) {
                let Some(next) = self.next.get(&(node, *byte)) else { break };
                node = *next;
                found.extend(self.ends.get(&node).into_iter().flatten());
            }
        }
        found
    }
}

/// A name inside a JSON string of Go's `encoding/json`, which escapes more than JSON asks for.
fn as_go_writes_it(name: &str) -> String {
    let escaped = |letter: char| match letter {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
            format!("\\u{:04x}", u32::from(letter))
        }
        other => other.to_string(),
    };
    name.chars().map(escaped).collect()
}
