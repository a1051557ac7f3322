//! Whose turn it is: the steps of an approved plan, one after the other. A limit counts what is done. So a step that is left gives its
//! turn to the next in line of its kind: else the oldest that nobody can take would keep all others waiting for ever.

use std::collections::VecDeque;

use super::verdict::Step;
use super::volume::VolumeName;

/// The steps that are due, and those that only the limit puts off.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    steps: VecDeque<Step>,
    in_line: VecDeque<Step>,
}

impl Turns {
    /// Steps in the order in which they are taken, and those in line behind them, the next one first.
    pub(super) fn new(steps: Vec<Step>, in_line: Vec<Step>) -> Self {
        Self { steps: steps.into(), in_line: in_line.into() }
    }

    /// The volumes that come next and go with the one before them, at most so many.
    pub fn next_volumes(&mut self, most: usize, goes_with: impl Fn(&VolumeName) -> bool) -> Vec<VolumeName> {
        let mut volumes = Vec::new();
        while volumes.len() < most
            && let Some(Step::Quarantine(name)) = self.steps.front()
            && goes_with(name)
        {
            volumes.push(name.clone());
            self.steps.pop_front();
        }
        volumes
    }

    /// A step was left: it used up nothing, and the next in line of its kind has its turn at once.
    pub fn pass_on(&mut self, left: &Step) {
        let kind = std::mem::discriminant(left);
        let next = self.in_line.iter().position(|waiting| std::mem::discriminant(waiting) == kind);
        if let Some(next) = next.and_then(|next| self.in_line.remove(next)) {
            self.steps.push_front(next);
        }
    }
}

impl Iterator for Turns {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::entry::EntryId;

    fn volume(text: &str) -> Step {
        Step::Quarantine(VolumeName::new(text).unwrap())
    }

    fn entry(text: &str) -> Step {
        Step::Delete(EntryId::new(text).unwrap())
    }

    #[test]
    fn a_step_that_is_left_gives_its_turn_to_the_next_of_its_kind() {
        let in_line = vec![volume("c"), entry("entry-02"), volume("d")];
        let mut turns = Turns::new(vec![volume("a"), volume("b"), entry("entry-01")], in_line);
        let mut taken = Vec::new();
        while let Some(step) = turns.next() {
            // Only what comes last of each kind can be taken.
            if step != volume("d") && step != entry("entry-02") {
                turns.pass_on(&step);
            }
            taken.push(step);
        }
        let all = [volume("a"), volume("c"), volume("d"), volume("b"), entry("entry-01"), entry("entry-02")];
        assert_eq!(taken, all);
    }

    #[test]
    fn nobody_in_line_has_a_turn_when_all_is_done() {
        let mut turns = Turns::new(vec![volume("a")], vec![volume("b")]);
        assert_eq!((turns.next(), turns.next()), (Some(volume("a")), None));
    }
}
