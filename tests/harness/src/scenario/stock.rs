//! Entries that one command quarantines for many cases.

use std::cell::{Cell, RefCell};

use super::{Behind, Host, prepare};
use crate::treasure::{Place, Treasure};

/// The most that is made at once: every command that runs meanwhile looks at all of their volumes.
const MOST: usize = 24;

/// Entries in stock, parked.
#[derive(Debug, Default)]
pub(super) struct Stock {
    moved: RefCell<Vec<(Treasure, String)>>,
    in_place: RefCell<Vec<InPlace>>,
    /// How many cases are still to come.
    wanted: Cell<usize>,
}

/// A volume in quarantine in place: its name, what is behind it, its entry.
#[derive(Debug)]
pub(super) struct InPlace {
    pub(super) name: String,
    pub(super) behind: Behind,
    pub(super) entry: String,
}

impl Stock {
    pub(super) fn clear(&self) {
        self.moved.borrow_mut().clear();
        self.in_place.borrow_mut().clear();
    }

    fn lot(&self) -> usize {
        let lot = self.wanted.get().clamp(1, MOST);
        self.wanted.set(self.wanted.get().saturating_sub(lot));
        lot
    }
}

impl Host<'_> {
    /// Says how many cases of one scenario come next.
    pub fn expect(&self, cases: usize) {
        self.stock.wanted.set(cases);
    }

    /// A volume in quarantine, and its entry.
    pub(super) fn quarantined(&self) -> (Treasure, String) {
        if self.stock.moved.borrow().is_empty() {
            self.stock_up_moved();
        }
        let taken = self.stock.moved.borrow_mut().pop();
        let (treasure, entry) = taken.unwrap_or_else(|| unreachable!("stocked up"));
        self.unpark(std::slice::from_ref(&entry));
        (treasure, entry)
    }

    fn stock_up_moved(&self) {
        let treasures: Vec<Treasure> =
            (0..self.stock.lot()).map(|_| Treasure::make(self.engine, &self.new_name())).collect();
        let names = treasures.iter().map(|treasure| treasure.name.as_str());
        self.volgc.ok(&["quarantine"].into_iter().chain(names).collect::<Vec<_>>());
        for treasure in treasures {
            match treasure.assert_whole(self.engine, "prepared") {
                Place::Entry(entry, _) => self.stock.moved.borrow_mut().push((treasure, entry)),
                place @ (Place::Volume(_) | Place::Deleting(_)) => {
                    panic!("volume {} was not quarantined, it is in {place:?}", treasure.name)
                }
            }
        }
        self.park();
    }

    /// A volume in quarantine in place.
    pub(super) fn marked(&self) -> InPlace {
        if self.stock.in_place.borrow().is_empty() {
            self.stock_up_in_place();
        }
        let taken = self.stock.in_place.borrow_mut().pop();
        let taken = taken.unwrap_or_else(|| unreachable!("stocked up"));
        self.unpark(std::slice::from_ref(&taken.entry));
        taken
    }

    fn stock_up_in_place(&self) {
        let made: Vec<(String, Behind)> =
            (0..self.stock.lot()).map(|_| prepare::bound_volume(self)).collect();
        let rules: String = made.iter().map(|(name, _)| prepare::in_place_rule(name)).collect();
        self.configure(&rules);
        let names = made.iter().map(|(name, _)| name.as_str());
        self.volgc.ok(&["quarantine"].into_iter().chain(names).collect::<Vec<_>>());
        self.configure("");
        let entries = self.volgc.entries();
        for (name, behind) in made {
            let entry = entries.iter().find(|entry| entry["name"] == name.as_str());
            let entry = entry.and_then(|entry| entry["entry"].as_str());
            let entry =
                entry.unwrap_or_else(|| panic!("volume {name} was not quarantined: {entries:#?}")).to_owned();
            self.stock.in_place.borrow_mut().push(InPlace { name, behind, entry });
        }
        self.park();
    }
}
