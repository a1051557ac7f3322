//! Which of many moves has its turn.
//!
//! All that come to the same effect are carried out together, so that one round of questions serves all of them. Only one is dangling at a
//! time: whoever starts a container then is refused, and that shall be for milliseconds.

use super::Effect;

/// A move that is not ended, as far as it matters whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What it comes to.
    pub effect: Effect,
    /// Whether the volume's link leads nowhere, while the engine knows the volume.
    pub is_dangling: bool,
}

/// The moves whose effects are carried out next, by their index; none when all are ended.
pub fn turn(moves: &[Option<Waiting>]) -> Vec<usize> {
    let waiting = || moves.iter().enumerate().filter_map(|(at, waiting)| Some((at, (*waiting)?)));
    if let Some((dangling, _)) = waiting().find(|(_, waiting)| waiting.is_dangling) {
        return vec![dangling];
    }
    let alone = |effect: Effect| effect == Effect::Hide;
    let Some(first) = waiting().map(|(_, waiting)| waiting.effect).min() else { return Vec::new() };
    let all = waiting().filter(|(_, waiting)| waiting.effect == first).map(|(at, _)| at);
    if alone(first) { all.take(1).collect() } else { all.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn_of(moves: &[(Effect, bool)]) -> Vec<usize> {
        let moves: Vec<_> = moves
            .iter()
            .map(|(effect, is_dangling)| Some(Waiting { effect: *effect, is_dangling: *is_dangling }))
            .collect();
        turn(&moves)
    }

    #[test]
    fn those_that_are_behind_come_first_and_together() {
        assert_eq!(
            turn_of(&[(Effect::Hide, false), (Effect::SyncLink, false), (Effect::SyncLink, false)]),
            [1, 2]
        );
        assert_eq!(turn(&[None, None]), Vec::<usize>::new());
    }

    #[test]
    fn one_dangles_at_a_time_and_nothing_else_happens_meanwhile() {
        assert_eq!(turn_of(&[(Effect::Hide, false), (Effect::Hide, false)]), [0]);
        assert_eq!(turn_of(&[(Effect::Look, false), (Effect::Order, true)]), [1]);
        // What is forgotten waits for the others, so that they are made durable together.
        assert_eq!(turn_of(&[(Effect::SyncName, false), (Effect::Hide, false)]), [1]);
    }
}
