//! The exchange protocol: `volgc::gc::protocol::next` itself, explored with whatever an engine, its users, processes, a kill or a power
//! cut can do between any two of its effects.

mod disk;
mod mutation;
mod promises;
mod users;

use disk::{Disk, Slot, Undo};
pub use mutation::Mutation;
use stateright::Model;
use volgc::gc::protocol::{self, Do, Effect, Fact, Outcome, Phase, Record, Route, Standing};

/// How many changes a power cut takes back at most.
const MOST_UNSYNCED: usize = 3;

/// Why something was not done. What the protocol never looks at is one value here.
type Why = &'static str;

/// What there is to explore.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    pub name: &'static str,
    pub route: Route,
    pub power_fails: bool,
    /// What each effect may do instead: fail, with or without having been done.
    pub effects_fail: bool,
    /// Volumes that users make later.
    pub later: u8,
}

/// Who uses data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// A container that names the volume. The engine counts it.
    Created,
    /// The same, running on that data.
    Running(u8),
    /// A container that binds the path: on events and in the lists, but not counted.
    ByPath(u8),
    /// A process: in no list.
    Process(u8),
}

/// An order that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Its sender waits for the answer.
    pub awaited: bool,
    /// How many volumes users had made at the last look. What is made later under the name is the order's, as the engine's API has no way to say
    /// which volume of a name is meant: that is milliseconds, and the README names it.
    made: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub disk: Disk,
    /// What a power cut may take back, the latest last.
    pub unsynced: Vec<Undo>,
    power_fails: bool,
    /// The engine knows the name.
    pub knows: bool,
    pub user: Option<User>,
    pub order: Option<Order>,
    /// Something was heard of a container since the witnesses were asked again.
    pub heard: bool,
    looked: u8,
    /// What the program does next, and with what aim.
    pub program: Option<(Standing<Why>, Effect)>,
    /// How many volumes users have made.
    pub made: u8,
    pub wrong: Option<&'static str>,
    /// What has become of it: for what must be possible.
    pub told: Option<&'static str>,
}

/// The protocol in its world.
#[derive(Debug)]
pub struct Exchange {
    pub scope: Scope,
    pub mutation: Option<Mutation>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Begin,
    Recover,
    /// The effect is carried out.
    Step,
    /// It is not, or it is and says that it failed.
    Fail {
        done: bool,
    },
    Kill,
    PowerCut(usize),
    RestartEngine,
    CarryOut,
    LoseAnswer,
    Delete,
    User(users::Act),
}

impl State {
    fn first(scope: Scope) -> Self {
        Self {
            power_fails: scope.power_fails,
            disk: Disk::first(),
            unsynced: Vec::new(),
            knows: scope.route == Route::Listed,
            user: None,
            order: None,
            heard: false,
            looked: 0,
            program: None,
            made: 0,
            wrong: None,
            told: None,
        }
    }

    /// What the name leads to.
    pub fn led_to(&self) -> Option<u8> {
        match (self.disk.name, self.disk.linked) {
            (Slot::Data(data), _) | (Slot::Link, Slot::Data(data)) => Some(data),
            _ => None,
        }
    }

    /// Whether a witness sees somebody who uses the volume, or its data.
    fn is_held(&self) -> bool {
        self.user.is_some()
    }

    pub fn change(&mut self, undo: Undo, change: impl FnOnce(&mut Disk)) {
        let before = self.disk;
        change(&mut self.disk);
        if before != self.disk {
            self.unsynced.push(Undo { before, ..undo });
            // The disk has written the oldest by then.
            let most = if self.power_fails { MOST_UNSYNCED } else { 0 };
            let written = self.unsynced.len().saturating_sub(most);
            self.unsynced.drain(..written);
        }
    }

    /// The engine removes what has the name.
    pub fn forget(&mut self) {
        self.change(Undo::volume(), |disk| {
            if let Slot::Data(data) = disk.name {
                disk.end(data);
            }
            disk.name = Slot::Nothing;
        });
        self.knows = false;
    }

    fn sync(&mut self, is_synced: impl Fn(&Undo) -> bool) {
        self.unsynced.retain(|undo| !is_synced(undo));
    }
}

impl Exchange {
    fn record(&self, state: &State) -> Record {
        Record { route: self.scope.route, phase: state.disk.phase.unwrap_or(Phase::Linking) }
    }

    fn next(&self, state: &State, standing: &Standing<Why>, effect: Effect, fact: &Fact<Why>) -> Do<Why> {
        let record = self.record(state);
        let usual = protocol::next(record, standing.clone(), effect, fact.clone());
        match self.mutation {
            Some(mutation) => mutation.changes(standing, fact, effect, usual),
            None => usual,
        }
    }

    fn go(state: &mut State, what: Do<Why>) {
        state.program = match what {
            Do::Go(standing, effect) => Some((standing, effect)),
            Do::End(outcome) => {
                state.told = Some(match outcome {
                    Outcome::Quarantined => "quarantined",
                    Outcome::Left(_) => "left",
                    Outcome::Undone(_) => "undone",
                    Outcome::InDoubt(_) => "in doubt",
                    Outcome::Unfinished(_) => "unfinished",
                    Outcome::AtRest => "at rest",
                    Outcome::Damaged(_) => "damaged",
                });
                None
            }
        };
    }

    /// Carries the effect out, as it was done.
    fn carry_out(&self, state: &mut State, effect: Effect) -> Fact<Why> {
        let is_heard = state.heard && self.mutation != Some(Mutation::HearsNothing);
        let held = |state: &State| if state.is_held() { Fact::Objection("held") } else { Fact::Done };
        match effect {
            Effect::Look => {
                let is_listed = state.knows == (self.scope.route == Route::Listed);
                if is_listed && state.disk.name == Slot::Data(0) {
                    held(state)
                } else {
                    Fact::Objection("other")
                }
            }
            Effect::MakeEntry => {
                state.change(Undo::entry(), |disk| {
                    (disk.phase, disk.linked) = (Some(Phase::Linking), Slot::Link);
                });
                state.sync(|undo| undo.entry);
                Fact::Done
            }
            Effect::Exchange | Effect::ExchangeBack => {
                if matches!(state.disk.name, Slot::Nothing) {
                    return Fact::Failed("nothing there");
                }
                state.change(Undo::both(), |disk| std::mem::swap(&mut disk.name, &mut disk.linked));
                Fact::Done
            }
            Effect::CheckLink => {
                let is_it = (state.disk.name, state.disk.linked) == (Slot::Link, Slot::Data(0));
                if is_it { Fact::Done } else { Fact::Objection("another volume") }
            }
            Effect::ReadNames => Fact::Names(state.disk.names()),
            Effect::SyncLink => {
                state.sync(|undo| undo.entry);
                Fact::Done
            }
            Effect::LookAgain => {
                state.heard = false;
                let is_known = state.knows == (self.scope.route == Route::Listed);
                let is_recovery = matches!(state.program, Some((Standing::Recovering(_), _)));
                if is_known || is_recovery { held(state) } else { Fact::Objection("not listed as before") }
            }
            Effect::WriteForgetting => Self::write(state, Phase::Forgetting),
            Effect::WriteQuarantined => Self::write(state, Phase::Quarantined),
            Effect::Hide if is_heard && matches!(state.program, Some((Standing::Forward, _))) => Fact::Stale,
            Effect::Hide => Self::rename(state, |disk| (&mut disk.linked, &mut disk.kept)),
            Effect::Show => Self::rename(state, |disk| (&mut disk.kept, &mut disk.linked)),
            Effect::LastLook => {
                state.looked = state.made;
                // What is heard of the engine: containers, not processes.
                if is_heard || state.disk.name != Slot::Link { Fact::Objection("heard") } else { Fact::Done }
            }
            Effect::Order => unreachable!("sent, and answered by the engine"),
            Effect::AskName if state.knows => Fact::Objection("known"),
            Effect::SyncBack => {
                state.sync(|undo| undo.volume || undo.entry);
                Fact::Done
            }
            Effect::TakeLinkAway => {
                if state.disk.name != Slot::Link {
                    return Fact::Objection("not ours");
                }
                state.change(Undo::volume(), |disk| disk.name = Slot::Nothing);
                Fact::Done
            }
            Effect::LeadBack => {
                if state.disk.name != Slot::Nothing {
                    return Fact::Objection("taken");
                }
                state.change(Undo::volume(), |disk| disk.name = Slot::Link);
                state.sync(|undo| undo.volume);
                Fact::Done
            }
            Effect::SyncName => {
                state.sync(|undo| undo.volume);
                Fact::Done
            }
            Effect::AskName | Effect::Commit => Fact::Done,
            Effect::DropEntry => {
                if matches!(state.disk.linked, Slot::Data(_)) || matches!(state.disk.kept, Slot::Data(_)) {
                    return Fact::Failed("there is data");
                }
                (state.disk.phase, state.disk.linked) = (None, Slot::Nothing);
                // It is durable whatever else is.
                for undo in &mut state.unsynced {
                    undo.before.drop_entry();
                }
                Fact::Done
            }
        }
    }

    fn write(state: &mut State, phase: Phase) -> Fact<Why> {
        state.change(Undo::entry(), |disk| disk.phase = Some(phase));
        state.sync(|undo| undo.entry);
        Fact::Done
    }

    /// Within the entry, never over anything.
    fn rename(state: &mut State, names: impl Fn(&mut Disk) -> (&mut Slot, &mut Slot)) -> Fact<Why> {
        let mut after = state.disk;
        let (from, to) = names(&mut after);
        if *from == Slot::Nothing || *to != Slot::Nothing {
            return Fact::Failed("no room for it");
        }
        std::mem::swap(from, to);
        state.change(Undo::entry(), |disk| *disk = after);
        state.sync(|undo| undo.entry);
        Fact::Done
    }

    /// The engine has an order in hand.
    fn obey(state: &mut State, order: Order) -> Fact<Why> {
        if !state.knows {
            return Fact::Done;
        }
        let is_counted = matches!(state.user, Some(User::Created | User::Running(_)));
        let leads_out = state.disk.name == Slot::Link && state.led_to().is_some();
        if is_counted || leads_out {
            return Fact::Objection("refused");
        }
        if let Slot::Data(data) = state.disk.name
            && data <= order.made
        {
            state.wrong.get_or_insert("I5: an order of ours reached data");
        }
        state.forget();
        Fact::Done
    }
}

impl Model for Exchange {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        match &state.program {
            // It waits for the answer.
            Some((_, Effect::Order)) if state.order.is_some() => {
                actions.extend([Action::LoseAnswer, Action::Kill]);
            }
            Some(_) => {
                actions.extend([Action::Step, Action::Kill]);
                if self.scope.effects_fail {
                    actions.extend([Action::Fail { done: false }, Action::Fail { done: true }]);
                }
            }
            None if state.disk.phase.is_none() && state.disk.linked == Slot::Nothing => {
                actions.push(Action::Begin);
            }
            // Those who recover wait until no order can be on its way.
            None if state.disk.phase != Some(Phase::Forgetting)
                || state.order.is_none()
                || self.is_hasty() =>
            {
                actions.push(Action::Recover);
                let is_due = state.disk.phase == Some(Phase::Quarantined) && !state.is_held();
                if is_due && matches!(state.told, Some("at rest" | "quarantined")) {
                    actions.push(Action::Delete);
                }
            }
            None => {}
        }
        if state.order.is_some() {
            actions.push(Action::CarryOut);
        }
        if state.user.is_none() || state.order.is_some() {
            actions.push(Action::RestartEngine);
        }
        if self.scope.power_fails {
            actions.extend((0..=state.unsynced.len()).map(Action::PowerCut));
        }
        actions.extend(users::possible(self, state).into_iter().map(Action::User));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin => Self::go(&mut state, protocol::first()),
            Action::Recover => {
                state.told = None;
                Self::go(&mut state, protocol::recover("interrupted"));
            }
            Action::Step | Action::Fail { .. } => {
                let (standing, effect) = state.program.clone()?;
                let is_failed = matches!(action, Action::Fail { .. });
                if effect == Effect::Order && !is_failed {
                    state.order = Some(Order { awaited: true, made: state.looked });
                    return Some(state);
                }
                let mut fact = Fact::Failed("failed");
                if action == Action::Step
                    || action == (Action::Fail { done: true }) && effect != Effect::Order
                {
                    let shown = self.carry_out(&mut state, effect);
                    if !is_failed {
                        fact = shown;
                    }
                }
                let what = self.next(&state, &standing, effect, &fact);
                Self::go(&mut state, what);
            }
            Action::CarryOut => {
                let order = state.order.take()?;
                let fact = Self::obey(&mut state, order);
                if order.awaited
                    && let Some((standing, effect)) = state.program.clone()
                {
                    let what = self.next(&state, &standing, effect, &fact);
                    Self::go(&mut state, what);
                }
            }
            Action::LoseAnswer => {
                state.order = state.order.map(|order| Order { awaited: false, ..order });
                let (standing, effect) = state.program.clone()?;
                let what = self.next(&state, &standing, effect, &Fact::Silence("silence"));
                Self::go(&mut state, what);
            }
            Action::Kill => Self::kill(&mut state),
            Action::PowerCut(left) => {
                Self::kill(&mut state);
                // A container of a volume that is new goes with it, or may.
                let is_new = matches!(state.disk.name, Slot::Data(1..));
                state.user = state.user.filter(|user| *user == User::Created && !is_new);
                if let Some(undo) = state.unsynced.get(left) {
                    state.disk = undo.before.without_what_was_new(state.made);
                }
                state.unsynced.clear();
                Self::restart(&mut state);
            }
            Action::RestartEngine => {
                Self::restart(&mut state);
                if let (Some((standing, Effect::Order)), Some(_)) = (state.program.clone(), last.order) {
                    let what = self.next(&state, &standing, Effect::Order, &Fact::Silence("silence"));
                    Self::go(&mut state, what);
                }
            }
            Action::Delete => Self::delete(&mut state),
            Action::User(act) => users::act(&mut state, act),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        promises::all(self)
    }
}

impl Exchange {
    fn is_hasty(&self) -> bool {
        self.mutation == Some(Mutation::RecoversUnderAnOrder)
    }

    fn kill(state: &mut State) {
        state.program = None;
        state.order = state.order.map(|order| Order { awaited: false, ..order });
        state.told = None;
    }

    /// Orders end with it. It knows what is below the volumes directory.
    fn restart(state: &mut State) {
        state.order = None;
        state.knows = state.disk.name != Slot::Nothing;
    }

    /// The end of what was quarantined: nothing leads to it (I13).
    fn delete(state: &mut State) {
        if state.disk.name == Slot::Link {
            state.wrong.get_or_insert("I13: a name leads to what is deleted");
        }
        if let Slot::Data(data) = state.disk.kept {
            state.disk.end(data);
        }
        // A link that a power cut brings back now leads to what is gone.
        if state.unsynced.iter().any(|undo| undo.before.name == Slot::Link) {
            state.wrong.get_or_insert("I13: a name comes back to what is deleted");
        }
        state.disk.kept = Slot::Nothing;
        state.disk.phase = None;
        state.unsynced.clear();
        state.told = Some("deleted");
    }
}
