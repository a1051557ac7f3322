//! Mode, limits and class policies; what a section decides.

use std::time::Duration;

use super::duration::spell;
use super::keys;
use super::mistake::Place;
use super::passing;
use super::reader::{Given, Reader, Section, unknown_word};
use super::rules;
use crate::gc::policy::{Disposition, Limits, Mode, Policy};
use crate::gc::touched::Reads;

const DAY: Duration = Duration::from_hours(24);

/// What is in force where the file says nothing.
pub(super) fn built_in() -> Policy {
    Policy {
        mode: Mode::Observe,
        rules: Vec::new(),
        anonymous: Disposition::Collect { quarantine_after: 7 * DAY, delete_after: 14 * DAY },
        named: Disposition::Keep,
        limits: Limits {
            min_grace: DAY,
            min_sightings: 3,
            max_per_sweep: 20,
            max_share_per_sweep: 10,
            max_gap: 2 * DAY,
            sudden_orphans: 10,
            sudden_orphan_share: 50,
            reads: Reads::Count,
        },
        passing: Vec::new(),
    }
}

/// Reads all of it. What could not be read is as built in, and noted.
pub(super) fn read(reader: &mut Reader<'_>, top: &Section<'_>) -> Policy {
    let built_in = built_in();
    let mode = reader.text(top, "mode", "observe");
    let mode = reader.refine(mode, |word| self::mode(word)).or(built_in.mode);
    let (limits, floor) = limits(reader, top, built_in.limits);
    let mut graces = Graces { floor, built_in: Vec::new() };
    let classes = reader.section(top, "policy", &keys::POLICY);
    let mut class = |key, table, default| {
        let section = classes.as_ref().and_then(|classes| reader.section(classes, key, table));
        graces.of_class(reader, section.as_ref(), default)
    };
    let anonymous = class("anonymous", &keys::ANONYMOUS, built_in.anonymous);
    let named = class("named", &keys::NAMED, built_in.named);
    graces.judge_built_in(reader);
    let rules = rules::read(reader, top, &graces);
    let passing = passing::read(reader, top);
    Policy { mode, rules, anonymous, named, limits, passing }
}

fn mode(word: &str) -> Result<Mode, String> {
    let modes = [Mode::Observe, Mode::Quarantine, Mode::Enforce];
    let known = modes.into_iter().find(|mode| mode.word() == word);
    known.ok_or_else(|| unknown_word("a mode", word, &modes.map(Mode::word)))
}

/// The limits, and `min_grace` again with its place, as the graces are held against it.
fn limits(reader: &mut Reader<'_>, top: &Section<'_>, built_in: Limits) -> (Limits, Given<Duration>) {
    let Some(section) = reader.section(top, "limits", &keys::LIMITS) else {
        // A `limits` that is no table has been noted, and what it meant to say is not known.
        let floor = match reader.value(top, "limits") {
            Given::Absent => Given::Good(built_in.min_grace, top.place.clone()),
            Given::Broken | Given::Good(..) => Given::Broken,
        };
        return (built_in, floor);
    };
    let floor = match reader.duration(&section, "min_grace") {
        Given::Absent => Given::Good(built_in.min_grace, section.place.clone()),
        other @ (Given::Broken | Given::Good(..)) => other,
    };
    let max_per_sweep = reader.count(&section, "max_per_sweep", 0);
    let max_share_per_sweep = reader.percent(&section, "max_share_per_sweep");
    if let (Some((0, place)), Some((0, _))) = (max_per_sweep.good(), max_share_per_sweep.good()) {
        let message = "with `max_per_sweep = 0` and `max_share_per_sweep = \"0%\"` nothing is ever moved; raise \
                       one of them, or write `mode = \"observe\"` if that is meant";
        reader.wrong(place, message);
    }
    let max_gap = reader.duration(&section, "max_gap");
    let max_gap = reader.refine(max_gap, |max_gap| {
        if max_gap.is_zero() {
            let instead = "write the longest time between two sweeps that is still normal, such as `2d`";
            return Err(format!("with a `max_gap` of 0s no clock ever runs; {instead}"));
        }
        Ok(*max_gap)
    });
    let limits = Limits {
        min_grace: floor.clone().or(built_in.min_grace),
        min_sightings: reader.count(&section, "min_sightings", 1).or(built_in.min_sightings),
        max_per_sweep: max_per_sweep.or(built_in.max_per_sweep),
        max_share_per_sweep: max_share_per_sweep.or(built_in.max_share_per_sweep),
        max_gap: max_gap.or(built_in.max_gap),
        sudden_orphans: reader.count(&section, "sudden_orphans", 0).or(built_in.sudden_orphans),
        sudden_orphan_share: reader.percent(&section, "sudden_orphan_share").or(built_in.sudden_orphan_share),
        reads: match reader.boolean(&section, "reads_hold") {
            Given::Good(false, _) => Reads::Pass,
            Given::Good(true, _) => Reads::Count,
            Given::Absent | Given::Broken => built_in.reads,
        },
    };
    (limits, floor)
}

/// What a section decides.
pub(super) enum Said {
    /// Nothing at all.
    Nothing,
    /// Something that has been noted as a mistake.
    Mistaken,
    Keep,
    /// `keep = false` and nothing else.
    NotKeep(Place),
    /// One of the two is there, or both.
    Collect {
        quarantine_after: Given<Duration>,
        delete_after: Given<Duration>,
    },
}

/// Reads decisions and holds their graces against the floor.
pub(super) struct Graces {
    /// `limits.min_grace`, with its place.
    floor: Given<Duration>,
    /// The graces in force that no file names: which class, which key, how long.
    built_in: Vec<(&'static str, &'static str, Duration)>,
}

impl Graces {
    fn of_class(
        &mut self,
        reader: &mut Reader<'_>,
        section: Option<&Section<'_>>,
        default: Disposition,
    ) -> Disposition {
        let said = section.map_or(Said::Nothing, |section| self.said(reader, section));
        let title = section.map_or("[policy.anonymous]", |section| section.table.title);
        match (said, default) {
            (Said::Keep, _) => Disposition::Keep,
            (Said::Mistaken, _) | (Said::Nothing, Disposition::Keep) => default,
            (Said::NotKeep(place), Disposition::Keep) => {
                not_kept(reader, &place);
                default
            }
            (Said::Nothing | Said::NotKeep(_), Disposition::Collect { quarantine_after, delete_after }) => {
                self.built_in.push((title, "quarantine_after", quarantine_after));
                self.built_in.push((title, "delete_after", delete_after));
                default
            }
            (Said::Collect { quarantine_after, delete_after }, Disposition::Keep) => section
                .and_then(|section| both(reader, section, quarantine_after, delete_after))
                .unwrap_or(default),
            (
                Said::Collect { quarantine_after, delete_after },
                Disposition::Collect { quarantine_after: quarantine_default, delete_after: delete_default },
            ) => {
                if quarantine_after.is_absent() {
                    self.built_in.push((title, "quarantine_after", quarantine_default));
                }
                if delete_after.is_absent() {
                    self.built_in.push((title, "delete_after", delete_default));
                }
                Disposition::Collect {
                    quarantine_after: quarantine_after.or(quarantine_default),
                    delete_after: delete_after.or(delete_default),
                }
            }
        }
    }

    pub(super) fn said(&self, reader: &mut Reader<'_>, section: &Section<'_>) -> Said {
        let keep = reader.boolean(section, "keep");
        let quarantine_after = self.grace(reader, section, "quarantine_after");
        let delete_after = self.grace(reader, section, "delete_after");
        let others = [("quarantine_after", &quarantine_after), ("delete_after", &delete_after)];
        let other = others.into_iter().find(|(_, grace)| !grace.is_absent()).map(|(key, _)| key);
        match (keep, other) {
            (Given::Good(true, place), Some(other)) => {
                let message = format!("`keep = true` and `{other}` exclude one another; remove one of them");
                reader.wrong(&place, &message);
                Said::Mistaken
            }
            (Given::Good(true, _), None) => Said::Keep,
            (Given::Good(false, place), None) => Said::NotKeep(place),
            (Given::Broken, None) => Said::Mistaken,
            (Given::Absent, None) => Said::Nothing,
            (Given::Good(false, _) | Given::Broken | Given::Absent, Some(_)) => {
                Said::Collect { quarantine_after, delete_after }
            }
        }
    }

    fn grace(&self, reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str) -> Given<Duration> {
        let given = reader.duration(section, key);
        let floor = self.floor.good().map_or(Duration::ZERO, |(floor, _)| *floor);
        reader.refine(given, |grace| {
            if *grace < floor {
                let (grace, floor) = (spell(*grace), spell(floor));
                return Err(format!(
                    "`{key}` of {grace} is below limits.min_grace, which is {floor}; write {floor} or more, or \
                     lower limits.min_grace if {grace} is meant"
                ));
            }
            Ok(*grace)
        })
    }

    /// A floor that was raised above a grace which is not in the file is the mistake of the floor.
    fn judge_built_in(&self, reader: &mut Reader<'_>) {
        let Some((floor, place)) = self.floor.good() else { return };
        // Else the file may well have the grace.
        if !reader.is_whole() {
            return;
        }
        for (title, key, grace) in self.built_in.iter().filter(|(_, _, grace)| grace < floor) {
            let (grace, floor) = (spell(*grace), spell(*floor));
            let message = format!(
                "`min_grace` of {floor} is above the built-in `{key}` of {grace}; write `{key} = \"{floor}\"` or \
                 more in {title}, or lower `min_grace`"
            );
            reader.wrong(place, &message);
        }
    }
}

/// Notes that `keep = false` alone decides nothing where nothing is built in.
pub(super) fn not_kept(reader: &mut Reader<'_>, place: &Place) {
    let message =
        "`keep = false` does not say what happens instead; write `quarantine_after` and `delete_after`";
    reader.missing(place, message);
}

/// A decision that needs both graces.
pub(super) fn both(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    quarantine_after: Given<Duration>,
    delete_after: Given<Duration>,
) -> Option<Disposition> {
    let mut lacks = |present, absent, like| {
        let message =
            format!("`{present}` without `{absent}` in {}; write both, as in `{like}`", section.table.title);
        reader.missing(&section.place, &message);
        None
    };
    match (quarantine_after, delete_after) {
        (Given::Good(quarantine_after, _), Given::Good(delete_after, _)) => {
            Some(Disposition::Collect { quarantine_after, delete_after })
        }
        (Given::Absent, Given::Good(..) | Given::Broken) => {
            lacks("delete_after", "quarantine_after", "quarantine_after = \"7d\"")
        }
        (Given::Good(..) | Given::Broken, Given::Absent) => {
            lacks("quarantine_after", "delete_after", "delete_after = \"14d\"")
        }
        (Given::Absent | Given::Broken, Given::Absent | Given::Broken)
        | (Given::Good(..), Given::Broken)
        | (Given::Broken, Given::Good(..)) => None,
    }
}
