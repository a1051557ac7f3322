//! Lookups in a map by names that come in their order, as those of another map do. A search for each of tens of thousands of names
//! takes longer than all else that is done with them.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

use super::volume::VolumeName;

/// A map, read from its beginning to its end.
#[derive(Debug)]
pub struct InOrder<'a, V> {
    map: &'a BTreeMap<VolumeName, V>,
    rest: Peekable<Range<'a, VolumeName, V>>,
    passed: Option<&'a VolumeName>,
}

impl<'a, V> InOrder<'a, V> {
    /// Begins at the first name.
    pub fn new(map: &'a BTreeMap<VolumeName, V>) -> Self {
        Self { map, rest: map.range::<VolumeName, _>(..).peekable(), passed: None }
    }

    /// What the map has under a name. It is quick when the name is none before the one that was asked for last, and right always.
    pub fn get(&mut self, name: &VolumeName) -> Option<&'a V> {
        if self.passed.is_some_and(|passed| name <= passed) {
            return self.map.get(name);
        }
        while let Some((before, _)) = self.rest.next_if(|(key, _)| *key < name) {
            self.passed = Some(before);
        }
        self.rest.peek().filter(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_search_finds(
            held in prop::collection::btree_set("[a-d]{1,2}", 0..12),
            asked in prop::collection::vec("[a-d]{1,2}", 0..24),
        ) {
            let name = |text: &String| VolumeName::new(text).unwrap();
            let map: BTreeMap<VolumeName, usize> = held.iter().map(name).zip(0..).collect();
            let mut in_order = InOrder::new(&map);
            for name in asked.iter().map(name) {
                prop_assert_eq!(in_order.get(&name), map.get(&name));
            }
        }
    }
}
