//! Is there an order of everything clients did to a key that explains every answer they got? (Linearizability.)
//!
//! Each key is checked alone. The search is that of Wing and Gong with the memory of Lowe: a configuration is the set
//! of operations that have been put in order and the state they leave, and none is visited twice. Three things keep it
//! small:
//!
//! * An answer that changes nothing (a read, a refusal) is put in order as soon as it may be and fits: that loses none.
//! * Etags told for a key increase, so writes that were told theirs have one order only.
//! * A write of unknown fate gets its etag when it is put in order: one of those that clients knew of though no write
//!   was told it, or one that nobody ever mentions.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

/// What a client asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// To be made; it must not be there.
    Create,
    /// To be overwritten, if it has this etag.
    Update { etag: u64 },
    /// To be removed, if it has this etag.
    Delete { etag: u64 },
    /// Its etag.
    Read,
}

/// What a client was told. Etags are revision numbers: whole, above 0, and increasing with every write to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// Done. The new etag; for a delete its revision, or 0 when that was not told.
    Written(u64),
    /// Not created: it is there.
    Exists,
    /// Not updated or deleted: it is not there.
    Missing,
    /// Not updated or deleted: it has another etag.
    Mismatch,
    /// Not done: somebody else was quicker. It is there, where it was to be created; else it is gone or has another etag.
    Changed,
    /// The etag read, or none when it is not there.
    Saw(Option<u64>),
    /// An error. A write may have happened or not, at any time after it was asked.
    Unknown,
}

/// One call of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who; for the account only.
    pub client: usize,
    /// Of what. A key is not there before its first operation.
    pub key: u32,
    pub asked: Asked,
    pub told: Told,
    /// When the call was made, in nanoseconds on a clock that all clients share.
    pub began: u64,
    /// When the answer came, likewise; not read when that is `Unknown`.
    pub ended: u64,
}

/// How much a check that passed had to explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub keys: usize,
    pub operations: usize,
    /// Operations whose fate is unknown.
    pub unknown: usize,
}

/// Checks all keys.
///
/// The error is an account of the shortest history of a key that has no order: of the keys without one the one with the
/// fewest operations, cut where its first answer comes that no order explains.
pub fn check(history: &[Operation]) -> Result<Summary, String> {
    let mut keys: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    let mut unknown = 0;
    for operation in history {
        if operation.told == Told::Unknown {
            unknown += 1;
        } else if operation.ended < operation.began {
            return Err(format!("an operation ends before it begins: {operation:?}"));
        }
        keys.entry(operation.key).or_default().push(operation);
    }
    let broken: Vec<_> =
        keys.values().filter(|operations| Key::until(operations, u64::MAX).search().is_err()).collect();
    match broken.iter().min_by_key(|operations| operations.len()) {
        None => Ok(Summary { keys: keys.len(), operations: history.len(), unknown }),
        Some(smallest) => Err(format!("{} of {} keys have no order\n{}", broken.len(), keys.len(), account(smallest))),
    }
}

/// What a key is between two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Absent,
    /// There, with this etag.
    Etag(u64),
    /// There, with an etag that no operation mentions.
    Unseen,
}

impl State {
    /// Whether an answer that changes nothing is right in this state. Never for writes.
    fn explains(self, asked: Asked, told: Told) -> bool {
        match (asked, told) {
            (Asked::Read, Told::Saw(None)) => self == State::Absent,
            (Asked::Read, Told::Saw(Some(etag))) => self == State::Etag(etag),
            (Asked::Create, Told::Exists) => self != State::Absent,
            (Asked::Update { .. } | Asked::Delete { .. }, Told::Missing) => self == State::Absent,
            (Asked::Update { etag } | Asked::Delete { etag }, Told::Mismatch) => {
                self != State::Absent && self != State::Etag(etag)
            }
            (Asked::Create, Told::Changed) => self != State::Absent,
            (Asked::Update { etag } | Asked::Delete { etag }, Told::Changed) => self != State::Etag(etag),
            _ => false,
        }
    }

    /// Whether a write that is asked in this state happens.
    fn allows(self, asked: Asked) -> bool {
        match asked {
            Asked::Create => self == State::Absent,
            Asked::Update { etag } | Asked::Delete { etag } => self == State::Etag(etag),
            Asked::Read => false,
        }
    }
}

/// The operations of one key, made ready for the search.
struct Key<'a> {
    /// Those with an answer, by their start. An operation is known by its place here; those of `open` come after.
    known: Vec<&'a Operation>,
    /// Writes without an answer, by their start.
    open: Vec<&'a Operation>,
    /// Etag and place of the writes that were told an etag, by etag.
    told: Vec<(u64, usize)>,
    /// Places of the deletes that were done but not told their revision.
    untold: Vec<usize>,
    /// Etags that clients knew of though no write was told them, so that a write without an answer must have made them.
    orphans: Vec<u64>,
}

/// How far an attempt at an order has come.
#[derive(Clone)]
struct Configuration {
    /// A bit for each operation: whether it has its place in the order.
    done: Vec<u64>,
    /// All known operations before this one are done.
    first: usize,
    /// How many known operations are done.
    answers: usize,
    /// How many of `told` are done.
    told: usize,
    state: State,
    /// The revision of the last write, or the least it can be.
    last: u64,
    /// The last step that led here.
    step: Option<usize>,
}

/// The steps of all attempts: the step before each, and the operation it puts in order.
type Steps = Vec<(Option<usize>, usize)>;

/// The longest attempt at an order that does not exist.
struct Stuck {
    /// Places of the operations in order.
    order: Vec<usize>,
    state: State,
    last: u64,
    /// Places of the known operations that could come next in time; no answer of theirs fits.
    next: Vec<usize>,
}

impl<'a> Key<'a> {
    /// What was known at a time: later operations are left out, later answers are unknown.
    fn until(operations: &[&'a Operation], horizon: u64) -> Self {
        let mut begun: Vec<_> = operations.iter().copied().filter(|operation| operation.began <= horizon).collect();
        begun.sort_by_key(|operation| operation.began);
        let (known, open): (Vec<&Operation>, Vec<&Operation>) =
            begun.into_iter().partition(|operation| operation.told != Told::Unknown && operation.ended <= horizon);
        let open: Vec<_> = open.into_iter().filter(|operation| operation.asked != Asked::Read).collect();

        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for (place, operation) in known.iter().enumerate() {
            match (operation.asked, operation.told) {
                (Asked::Delete { .. }, Told::Written(0)) => untold.push(place),
                (Asked::Create | Asked::Update { .. } | Asked::Delete { .. }, Told::Written(etag)) => {
                    told.push((etag, place));
                }
                _ => (),
            }
        }
        told.sort_unstable();

        // An etag in a refused request needs no write: any other etag in its stead is refused as well.
        let mut orphans: Vec<u64> = known.iter().filter_map(|operation| proven(operation)).collect();
        orphans.extend(open.iter().filter_map(|operation| carried(operation.asked)));
        orphans.sort_unstable();
        orphans.dedup();
        orphans.retain(|etag| told.binary_search_by_key(etag, |(told, _)| *told).is_err());
        Self { known, open, told, untold, orphans }
    }

    /// An operation by its place.
    fn at(&self, place: usize) -> &'a Operation {
        self.known.get(place).unwrap_or_else(|| &self.open[place - self.known.len()])
    }

    /// Looks for an order of all known operations, with any of the open ones between them.
    fn search(&self) -> Result<(), Stuck> {
        let words = (self.known.len() + self.open.len()).div_ceil(64);
        let mut stack = vec![Configuration {
            done: vec![0; words],
            first: 0,
            answers: 0,
            told: 0,
            state: State::Absent,
            last: 0,
            step: None,
        }];
        let mut steps = Steps::new();
        let mut visited = HashSet::new();
        let mut best: Option<Configuration> = None;
        while let Some(mut configuration) = stack.pop() {
            let bound = self.settle(&mut configuration, &mut steps);
            if configuration.answers == self.known.len() {
                return Ok(());
            }
            if !visited.insert((configuration.done.clone(), configuration.state, configuration.last)) {
                continue;
            }
            self.branch(&configuration, bound, &mut steps, &mut stack);
            if best.as_ref().is_none_or(|best| best.answers < configuration.answers) {
                best = Some(configuration);
            }
        }
        let best = best.expect("the first configuration was visited");
        let bound = self.bound(&best);
        let next = (best.first..self.known.len())
            .take_while(|place| self.known[*place].began <= bound)
            .filter(|place| !best.is_done(*place))
            .collect();
        let mut order = Vec::new();
        let mut step = best.step;
        while let Some((before, place)) = step.map(|step| steps[step]) {
            order.push(place);
            step = before;
        }
        order.reverse();
        Err(Stuck { order, state: best.state, last: best.last, next })
    }

    /// The first end of a known operation that is not done: what began later than that must come after it.
    fn bound(&self, configuration: &Configuration) -> u64 {
        let mut bound = u64::MAX;
        for place in configuration.first..self.known.len() {
            let operation = self.known[place];
            if operation.began > bound {
                break;
            }
            if !configuration.is_done(place) {
                bound = bound.min(operation.ended);
            }
        }
        bound
    }

    /// Puts all answers in order that change nothing, may come next, and fit. Returns the bound then.
    fn settle(&self, configuration: &mut Configuration, steps: &mut Steps) -> u64 {
        loop {
            while configuration.first < self.known.len() && configuration.is_done(configuration.first) {
                configuration.first += 1;
            }
            let bound = self.bound(configuration);
            let before = configuration.answers;
            for place in configuration.first..self.known.len() {
                let operation = self.known[place];
                if operation.began > bound {
                    break;
                }
                if !configuration.is_done(place) && configuration.state.explains(operation.asked, operation.told) {
                    configuration.put(place, steps);
                    configuration.answers += 1;
                }
            }
            if configuration.answers == before {
                return bound;
            }
        }
    }

    /// Adds what can be reached by one write. The likeliest goes last, since that is where the search goes on.
    fn branch(&self, from: &Configuration, bound: u64, steps: &mut Steps, stack: &mut Vec<Configuration>) {
        let mut reach = |place: usize, state: State, last: u64, answers: usize, told: usize| {
            let told = from.told + told;
            // The next write that was told its etag would be out of order.
            if self.told.get(told).is_some_and(|(etag, _)| *etag <= last) {
                return;
            }
            let mut to = Configuration { state, last, told, answers: from.answers + answers, ..from.clone() };
            to.put(place, steps);
            stack.push(to);
        };

        let mut tried = Vec::new();
        for (place, operation) in (self.known.len()..).zip(&self.open) {
            // Of several that ask the same, the first begun can stand for any.
            if operation.began > bound || from.is_done(place) || tried.contains(&operation.asked) {
                continue;
            }
            tried.push(operation.asked);
            if !from.state.allows(operation.asked) {
                continue;
            }
            if let Asked::Delete { .. } = operation.asked {
                reach(place, State::Absent, from.last + 1, 0, 0);
                continue;
            }
            reach(place, State::Unseen, from.last + 1, 0, 0);
            for etag in self.orphans.iter().copied().filter(|etag| *etag > from.last) {
                reach(place, State::Etag(etag), etag, 0, 0);
            }
        }
        for place in self.untold.iter().copied() {
            let operation = self.known[place];
            if operation.began <= bound && !from.is_done(place) && from.state.allows(operation.asked) {
                reach(place, State::Absent, from.last + 1, 1, 0);
            }
        }
        if let Some((etag, place)) = self.told.get(from.told).copied() {
            let operation = self.known[place];
            if operation.began <= bound && etag > from.last && from.state.allows(operation.asked) {
                let deletes = matches!(operation.asked, Asked::Delete { .. });
                reach(place, if deletes { State::Absent } else { State::Etag(etag) }, etag, 1, 1);
            }
        }
    }
}

impl Configuration {
    fn is_done(&self, place: usize) -> bool {
        self.done[place / 64] & (1 << (place % 64)) != 0
    }

    fn put(&mut self, place: usize, steps: &mut Steps) {
        self.done[place / 64] |= 1 << (place % 64);
        steps.push((self.step, place));
        self.step = Some(steps.len() - 1);
    }
}

/// The etag that an answer proves the key had.
fn proven(operation: &Operation) -> Option<u64> {
    match operation.told {
        Told::Saw(seen) => seen,
        Told::Written(_) => carried(operation.asked),
        _ => None,
    }
}

/// The etag that a request carries.
fn carried(asked: Asked) -> Option<u64> {
    match asked {
        Asked::Update { etag } | Asked::Delete { etag } => Some(etag),
        Asked::Create | Asked::Read => None,
    }
}

/// Tells of a key without an order where it first goes wrong, and how far an order can come.
fn account(operations: &[&Operation]) -> String {
    // What has no order up to a time has none later. So the first answer that leaves none can be found by halving.
    let mut ends: Vec<u64> = operations
        .iter()
        .filter(|operation| operation.told != Told::Unknown)
        .map(|operation| operation.ended)
        .collect();
    ends.sort_unstable();
    let sound = ends.partition_point(|end| Key::until(operations, *end).search().is_ok());
    let horizon = ends.get(sound).copied().unwrap_or(u64::MAX);
    let key = Key::until(operations, horizon);
    let Err(stuck) = key.search() else {
        return "the key has an order after all: the checker is at fault".into();
    };

    let all: Vec<_> = (0..key.known.len() + key.open.len()).map(|place| (key.at(place), place)).collect();
    let start = all.iter().map(|(operation, _)| operation.began).min().unwrap_or(0);
    let micros = |time: u64| (time - start) as f64 / 1e3;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "key {}: of its {} operations, those begun until {:.1} us have no order; they are, by their start:",
        operations[0].key,
        operations.len(),
        micros(horizon),
    );
    let _ = writeln!(text, "{:>6} {:>6} {:>12} {:>12}  asked, told", "order", "client", "began us", "ended us");
    let mut by_start = all;
    by_start.sort_by_key(|(operation, place)| (operation.began, *place));
    for (operation, place) in by_start {
        let order = match stuck.order.iter().position(|put| *put == place) {
            Some(position) => (position + 1).to_string(),
            None => "-".into(),
        };
        let ended = match operation.told {
            Told::Unknown => "?".into(),
            _ => format!("{:.1}", micros(operation.ended)),
        };
        let note = match operation.told {
            Told::Unknown => "",
            _ if operation.ended > horizon => " (later, so either way here)",
            _ if operation.ended == horizon => " (the answer too many)",
            _ => "",
        };
        let (client, began) = (operation.client, micros(operation.began));
        let (asked, told) = (operation.asked, operation.told);
        let _ = writeln!(text, "{order:>6} {client:>6} {began:>12.1} {ended:>12}  {asked:?}, {told:?}{note}");
    }
    let state = match stuck.state {
        State::Absent => "not there".into(),
        State::Etag(etag) => format!("at etag {etag}"),
        State::Unseen => "at an etag that nobody was told".into(),
    };
    let answers = stuck.order.iter().filter(|place| **place < key.known.len()).count();
    let _ = writeln!(
        text,
        "The longest order (first column) explains {answers} of {} answers and leaves the key {state}, \
         its last revision no less than {}. None of these can come next:",
        key.known.len(),
        stuck.last,
    );
    for place in stuck.next {
        let Operation { client, asked, told, .. } = key.at(place);
        let _ = writeln!(text, "  client {client}: {asked:?}, {told:?}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Numbers that look random and are the same in every run (splitmix64).
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// Below a limit.
        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }

        fn percent(&mut self, chance: u64) -> bool {
            self.below(100) < chance
        }

        fn pick<T: Copy>(&mut self, of: &[T]) -> T {
            of[usize::try_from(self.below(of.len() as u64)).unwrap()]
        }
    }

    /// One operation of key 1.
    fn call(client: usize, began: u64, ended: u64, asked: Asked, told: Told) -> Operation {
        Operation { client, key: 1, asked, told, began, ended }
    }

    /// Operations one after the other: operation `n` runs from `20 n` to `20 n + 10` nanoseconds.
    fn in_turn(calls: &[(Asked, Told)]) -> Vec<Operation> {
        (0..).zip(calls).map(|(n, (asked, told))| call(0, 20 * n, 20 * n + 10, *asked, *told)).collect()
    }

    #[track_caller]
    fn sound(history: &[Operation]) {
        if let Err(account) = check(history) {
            panic!("{account}");
        }
    }

    #[track_caller]
    fn broken(history: &[Operation]) -> String {
        check(history).expect_err("a history without an order passed")
    }

    const CREATE: Asked = Asked::Create;
    const READ: Asked = Asked::Read;

    fn update(etag: u64) -> Asked {
        Asked::Update { etag }
    }

    fn delete(etag: u64) -> Asked {
        Asked::Delete { etag }
    }

    #[test]
    fn nothing_is_sound() {
        assert_eq!(check(&[]), Ok(Summary::default()));
    }

    #[test]
    fn a_life_in_turn_is_sound() {
        let history = in_turn(&[
            (READ, Told::Saw(None)),
            (update(9), Told::Missing),
            (delete(9), Told::Missing),
            (CREATE, Told::Written(3)),
            (CREATE, Told::Exists),
            (READ, Told::Saw(Some(3))),
            (update(3), Told::Written(7)),
            (update(3), Told::Mismatch),
            (delete(3), Told::Mismatch),
            (delete(7), Told::Written(8)),
            (CREATE, Told::Written(9)),
            (delete(9), Told::Written(0)),
            (CREATE, Told::Written(12)),
        ]);
        sound(&history);
        assert_eq!(check(&history), Ok(Summary { keys: 1, operations: 13, unknown: 0 }));
    }

    #[test]
    fn every_operation_of_a_life_matters() {
        let life = [
            (CREATE, Told::Written(3)),
            (update(3), Told::Written(7)),
            (delete(7), Told::Written(8)),
            (CREATE, Told::Written(9)),
            (READ, Told::Saw(Some(9))),
        ];
        sound(&in_turn(&life));
        for left_out in 0..life.len() - 1 {
            let mut rest = life.to_vec();
            rest.remove(left_out);
            broken(&in_turn(&rest));
        }
    }

    #[test]
    fn concurrent_operations_take_either_order() {
        for seen in [None, Some(5)] {
            sound(&[call(0, 0, 100, CREATE, Told::Written(5)), call(1, 50, 150, READ, Told::Saw(seen))]);
        }
        // Both ends included: what ends when another begins is concurrent with it.
        sound(&[call(0, 0, 100, CREATE, Told::Written(5)), call(1, 100, 150, READ, Told::Saw(None))]);
        broken(&[call(0, 0, 99, CREATE, Told::Written(5)), call(1, 100, 150, READ, Told::Saw(None))]);
    }

    #[test]
    fn readers_agree_on_the_order() {
        let reads = |first, second| {
            vec![
                call(0, 0, 1000, CREATE, Told::Written(5)),
                call(1, 100, 200, READ, Told::Saw(first)),
                call(2, 300, 400, READ, Told::Saw(second)),
            ]
        };
        sound(&reads(None, Some(5)));
        broken(&reads(Some(5), None));
    }

    #[test]
    fn a_lost_update_is_refused() {
        broken(&[
            call(0, 0, 10, CREATE, Told::Written(1)),
            call(0, 20, 90, update(1), Told::Written(2)),
            call(1, 30, 80, update(1), Told::Written(3)),
        ]);
    }

    #[test]
    fn a_stale_exists_is_refused() {
        broken(&in_turn(&[(CREATE, Told::Written(1)), (delete(1), Told::Written(2)), (CREATE, Told::Exists)]));
        broken(&in_turn(&[(CREATE, Told::Written(1)), (delete(1), Told::Written(0)), (CREATE, Told::Exists)]));
        // While the delete runs, either is right.
        sound(&[
            call(0, 0, 10, CREATE, Told::Written(1)),
            call(0, 20, 60, delete(1), Told::Written(2)),
            call(1, 30, 40, CREATE, Told::Exists),
        ]);
    }

    #[test]
    fn two_creations_are_refused() {
        broken(&[call(0, 0, 50, CREATE, Told::Written(1)), call(1, 0, 50, CREATE, Told::Written(2))]);
        let between = call(2, 0, 50, delete(1), Told::Unknown);
        sound(&[call(0, 0, 50, CREATE, Told::Written(1)), call(1, 0, 50, CREATE, Told::Written(3)), between]);
        // The delete between them has no revision left.
        broken(&[call(0, 0, 50, CREATE, Told::Written(1)), call(1, 0, 50, CREATE, Told::Written(2)), between]);
    }

    #[test]
    fn an_update_with_an_old_etag_is_refused() {
        broken(&in_turn(&[
            (CREATE, Told::Written(1)),
            (update(1), Told::Written(2)),
            (update(2), Told::Written(3)),
            (update(2), Told::Written(4)),
        ]));
    }

    #[test]
    fn a_stale_read_is_refused() {
        broken(&in_turn(&[(CREATE, Told::Written(1)), (update(1), Told::Written(2)), (READ, Told::Saw(Some(1)))]));
        broken(&in_turn(&[(CREATE, Told::Written(1)), (READ, Told::Saw(None))]));
    }

    #[test]
    fn a_read_ahead_of_its_write_is_refused() {
        broken(&in_turn(&[(READ, Told::Saw(Some(1))), (CREATE, Told::Written(1))]));
    }

    #[test]
    fn etags_that_do_not_increase_are_refused() {
        broken(&in_turn(&[(CREATE, Told::Written(5)), (update(5), Told::Written(4))]));
        broken(&in_turn(&[(CREATE, Told::Written(5)), (update(5), Told::Written(5))]));
        broken(&in_turn(&[(CREATE, Told::Written(5)), (delete(5), Told::Written(4))]));
        broken(&in_turn(&[(CREATE, Told::Written(5)), (delete(5), Told::Written(6)), (CREATE, Told::Written(6))]));
    }

    #[test]
    fn answers_to_other_questions_are_refused() {
        broken(&in_turn(&[(CREATE, Told::Missing)]));
        broken(&in_turn(&[(CREATE, Told::Written(0))]));
        broken(&in_turn(&[(READ, Told::Written(1))]));
        broken(&in_turn(&[(CREATE, Told::Written(1)), (update(1), Told::Exists)]));
        broken(&[call(0, 10, 5, READ, Told::Saw(None))]);
    }

    #[test]
    fn a_write_of_unknown_fate_may_have_happened_or_not() {
        for seen in [None, Some(5)] {
            sound(&in_turn(&[(CREATE, Told::Unknown), (READ, Told::Saw(seen))]));
        }
        // Even long after it was asked, but once only.
        sound(&in_turn(&[(CREATE, Told::Unknown), (READ, Told::Saw(None)), (READ, Told::Saw(Some(5)))]));
        broken(&in_turn(&[(CREATE, Told::Unknown), (READ, Told::Saw(Some(5))), (READ, Told::Saw(None))]));
        broken(&in_turn(&[(CREATE, Told::Unknown), (READ, Told::Saw(Some(5))), (READ, Told::Saw(Some(6)))]));
        // Not before it was asked.
        broken(&in_turn(&[(READ, Told::Saw(Some(5))), (CREATE, Told::Unknown)]));
        // Not against its condition.
        broken(&in_turn(&[(CREATE, Told::Written(5)), (update(4), Told::Unknown), (READ, Told::Saw(Some(6)))]));
    }

    #[test]
    fn an_unknown_etag_is_what_its_first_use_says() {
        let start = [(CREATE, Told::Written(2)), (update(2), Told::Unknown)];
        let with = |rest: &[(Asked, Told)]| in_turn(&[&start, rest].concat());
        sound(&with(&[(update(5), Told::Written(6)), (READ, Told::Saw(Some(6)))]));
        sound(&with(&[(delete(5), Told::Written(6)), (READ, Told::Saw(None))]));
        sound(&with(&[(update(2), Told::Mismatch), (READ, Told::Saw(Some(5))), (update(5), Told::Written(6))]));
        // It is not another in the end.
        broken(&with(&[(READ, Told::Saw(Some(5))), (update(6), Told::Written(7))]));
        // Nor one that was said to be wrong before.
        broken(&with(&[(update(2), Told::Mismatch), (update(5), Told::Mismatch), (READ, Told::Saw(Some(5)))]));
        // Nor one that another write was told.
        broken(&with(&[(READ, Told::Saw(Some(5))), (update(5), Told::Written(5))]));
        // Nor one below the write before it, or above that after it.
        broken(&with(&[(READ, Told::Saw(Some(1)))]));
        broken(&with(&[(update(7), Told::Written(6))]));
        // What it overwrote is gone.
        broken(&with(&[(READ, Told::Saw(Some(5))), (update(2), Told::Written(6))]));
    }

    #[test]
    fn unknown_writes_follow_each_other() {
        sound(&in_turn(&[
            (CREATE, Told::Unknown),
            (update(5), Told::Unknown),
            (delete(7), Told::Unknown),
            (CREATE, Told::Unknown),
            (READ, Told::Saw(Some(9))),
        ]));
        broken(&in_turn(&[
            (CREATE, Told::Unknown),
            (READ, Told::Saw(Some(5))),
            (update(5), Told::Unknown),
            (READ, Told::Saw(Some(4))),
        ]));
    }

    #[test]
    fn keys_are_alone() {
        let mut history = in_turn(&[(CREATE, Told::Written(1)), (READ, Told::Saw(Some(1)))]);
        history.extend(
            in_turn(&[(READ, Told::Saw(None)), (READ, Told::Unknown)])
                .iter()
                .map(|operation| Operation { key: 2, ..*operation }),
        );
        assert_eq!(check(&history), Ok(Summary { keys: 2, operations: 4, unknown: 1 }));
    }

    #[test]
    fn the_account_ends_with_the_answer_too_many() {
        let mut history = in_turn(&[
            (CREATE, Told::Written(1)),
            (update(1), Told::Written(2)),
            (READ, Told::Saw(Some(1))),
            (update(2), Told::Written(3)),
            (READ, Told::Saw(Some(3))),
        ]);
        history.push(call(7, 45, 500, delete(3), Told::Written(4)));
        let account = broken(&history);
        let lines: Vec<_> = account.lines().collect();
        assert_eq!(lines[0], "1 of 1 keys have no order");
        assert!(
            lines[1].starts_with("key 1: of its 6 operations, those begun until 0.1 us have no order"),
            "{account}"
        );
        let rows: Vec<_> =
            lines[3..7].iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            rows,
            [
                "1 0 0.0 0.0 Create, Written(1)",
                "2 0 0.0 0.0 Update { etag: 1 }, Written(2)",
                "- 0 0.0 0.1 Read, Saw(Some(1)) (the answer too many)",
                "- 7 0.0 0.5 Delete { etag: 3 }, Written(4) (later, so either way here)",
            ],
            "{account}"
        );
        assert!(account.contains("explains 2 of 3 answers and leaves the key at etag 2"), "{account}");
        assert_eq!(*lines.last().unwrap(), "  client 0: Read, Saw(Some(1))", "{account}");
    }

    /// What a made-up history is like.
    #[derive(Clone, Copy)]
    struct Shape {
        clients: usize,
        keys: u32,
        /// All clients' together.
        operations: usize,
        /// Percent of the writes that are told nothing.
        unknown: u64,
    }

    /// The history of an atomic store. Each operation takes effect at one moment between its start and its end, or, if
    /// its answer was lost, at any later time or never.
    fn atomic(dice: &mut Dice, shape: Shape) -> Vec<Operation> {
        enum Event {
            Ask(usize),
            Effect { operation: Operation, lost: bool },
        }
        let mut queue: BTreeMap<(u64, usize), Event> = BTreeMap::new();
        let mut ticket = 0;
        let mut enqueue = |queue: &mut BTreeMap<_, _>, time: u64, event| {
            ticket += 1;
            queue.insert((time, ticket), event);
        };
        for client in 0..shape.clients {
            enqueue(&mut queue, dice.below(1000), Event::Ask(client));
        }
        let mut keys: BTreeMap<u32, u64> = BTreeMap::new();
        // Etags that clients learned, latest last.
        let mut learned: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let (mut revision, mut asks) = (1, 0);
        let mut history = Vec::new();
        while let Some(((now, _), event)) = queue.pop_first() {
            match event {
                Event::Ask(_) if asks == shape.operations => (),
                Event::Ask(client) => {
                    asks += 1;
                    let key = u32::try_from(dice.below(shape.keys.into())).unwrap();
                    let known = learned.get(&key).map_or(&[][..], Vec::as_slice);
                    let recent = &known[known.len().saturating_sub(3)..];
                    let asked = match dice.below(10) {
                        0..2 => Asked::Create,
                        2..6 if !recent.is_empty() => Asked::Update { etag: dice.pick(recent) },
                        6..8 if !recent.is_empty() => Asked::Delete { etag: dice.pick(recent) },
                        _ => Asked::Read,
                    };
                    let lost = asked != Asked::Read && dice.percent(shape.unknown);
                    let effect = now + 1 + dice.below(if lost { 30_000 } else { 1000 });
                    let ended = if lost { now + 1000 } else { effect + 1 + dice.below(1000) };
                    let told = Told::Unknown;
                    let operation = Operation { client, key, asked, told, began: now, ended };
                    if lost {
                        history.push(operation);
                    }
                    if !lost || dice.percent(60) {
                        enqueue(&mut queue, effect, Event::Effect { operation, lost });
                    }
                    enqueue(&mut queue, ended + dice.below(500), Event::Ask(client));
                }
                Event::Effect { operation, lost } => {
                    revision += 1 + dice.below(3);
                    let state = keys.get(&operation.key).copied();
                    let told = match (operation.asked, state) {
                        (Asked::Read, state) => Told::Saw(state),
                        (Asked::Create, Some(_)) => Told::Exists,
                        (Asked::Update { .. } | Asked::Delete { .. }, None) => Told::Missing,
                        (Asked::Update { etag } | Asked::Delete { etag }, Some(state)) if etag != state => {
                            Told::Mismatch
                        }
                        (Asked::Create | Asked::Update { .. }, _) => {
                            keys.insert(operation.key, revision);
                            Told::Written(revision)
                        }
                        (Asked::Delete { .. }, Some(_)) => {
                            keys.remove(&operation.key);
                            Told::Written(if dice.percent(50) { revision } else { 0 })
                        }
                    };
                    // One whose answer was lost is in the history already.
                    if !lost {
                        history.push(Operation { told, ..operation });
                        let learn = match (operation.asked, told) {
                            (Asked::Create | Asked::Update { .. }, Told::Written(etag))
                            | (_, Told::Saw(Some(etag))) => etag,
                            _ => continue,
                        };
                        learned.entry(operation.key).or_default().push(learn);
                    }
                }
            }
        }
        history
    }

    const SHAPES: [Shape; 5] = [
        Shape { clients: 1, keys: 1, operations: 50, unknown: 0 },
        Shape { clients: 3, keys: 1, operations: 60, unknown: 10 },
        Shape { clients: 8, keys: 1, operations: 200, unknown: 8 },
        Shape { clients: 16, keys: 3, operations: 300, unknown: 0 },
        Shape { clients: 16, keys: 1, operations: 200, unknown: 15 },
    ];

    #[test]
    fn histories_of_an_atomic_store_are_sound() {
        let (mut written, mut unknown) = (0, 0);
        for seed in 0..400 {
            for shape in SHAPES {
                let history = atomic(&mut Dice(seed), shape);
                assert_eq!(history.len(), shape.operations);
                if let Err(account) = check(&history) {
                    panic!("seed {seed}: {account}");
                }
                written += history.iter().filter(|operation| matches!(operation.told, Told::Written(_))).count();
                unknown += history.iter().filter(|operation| operation.told == Told::Unknown).count();
            }
        }
        // The histories are worth checking.
        assert!(written > 50_000 && unknown > 5_000, "{written} {unknown}");
    }

    /// Gives one operation another answer. None when there is no other that makes sense.
    fn corrupt(dice: &mut Dice, history: &[Operation]) -> Option<Vec<Operation>> {
        let mut history = history.to_vec();
        let at = usize::try_from(dice.below(history.len() as u64)).unwrap();
        let Operation { key, asked, told, .. } = history[at];
        let etags: Vec<u64> = history
            .iter()
            .filter(|operation| operation.key == key)
            .filter_map(|operation| match (operation.asked, operation.told) {
                (Asked::Create | Asked::Update { .. }, Told::Written(etag)) => Some(etag),
                _ => None,
            })
            .collect();
        let answers: Vec<Told> = match asked {
            Asked::Read => etags.iter().map(|etag| Told::Saw(Some(*etag))).chain([Told::Saw(None)]).collect(),
            Asked::Create => vec![Told::Exists, Told::Written(etags.iter().max().unwrap_or(&0) + 1)],
            Asked::Update { etag } => vec![Told::Missing, Told::Mismatch, Told::Written(etag + 1)],
            Asked::Delete { .. } => vec![Told::Missing, Told::Mismatch, Told::Written(0)],
        };
        let same = |other: Told| match (told, other) {
            (Told::Written(_), Told::Written(_)) => true,
            _ => told == other,
        };
        let others: Vec<_> = answers.into_iter().filter(|other| !same(*other)).collect();
        if told == Told::Unknown || others.is_empty() {
            return None;
        }
        history[at].told = dice.pick(&others);
        Some(history)
    }

    #[test]
    fn most_wrong_answers_are_refused() {
        for (shape, least) in SHAPES.into_iter().zip([99, 75, 75, 75, 70]) {
            let (mut tried, mut refused) = (0, 0);
            for seed in 0..100 {
                let mut dice = Dice(1000 + seed);
                let history = atomic(&mut dice, shape);
                for _ in 0..10 {
                    let Some(history) = corrupt(&mut dice, &history) else { continue };
                    tried += 1;
                    refused += usize::from(check(&history).is_err());
                }
            }
            println!("{} clients: {refused} of {tried} refused", shape.clients);
            assert!(tried > 500 && refused * 100 >= tried * least, "{} clients: {refused} of {tried}", shape.clients);
        }
    }

    /// The same question, answered by trying every order of every choice.
    fn has_order_by_force(left: &[Operation], etag: Option<u64>, last: u64, mentioned: &HashSet<u64>) -> bool {
        if left.iter().all(|operation| operation.told == Told::Unknown) {
            return true;
        }
        (0..left.len()).any(|at| {
            let Operation { asked, told, began, .. } = left[at];
            let is_next = left.iter().all(|other| other.told == Told::Unknown || other.ended >= began);
            let mut rest = left.to_vec();
            rest.remove(at);
            let happens = match asked {
                Asked::Create => etag.is_none(),
                Asked::Update { etag: asked } | Asked::Delete { etag: asked } => etag == Some(asked),
                Asked::Read => false,
            };
            let unmentioned = (last + 1..).find(|etag| !mentioned.contains(etag)).unwrap();
            let revisions: Vec<u64> = match told {
                _ if !happens => vec![],
                Told::Unknown => mentioned.iter().copied().chain([last + 1, unmentioned]).collect(),
                Told::Written(0) if matches!(asked, Asked::Delete { .. }) => vec![last + 1],
                Told::Written(revision) => vec![revision],
                _ => vec![],
            };
            let refused = match told {
                Told::Saw(saw) => asked == Asked::Read && saw == etag,
                Told::Exists => asked == Asked::Create && etag.is_some(),
                Told::Missing => matches!(asked, Asked::Update { .. } | Asked::Delete { .. }) && etag.is_none(),
                Told::Mismatch => match asked {
                    Asked::Update { etag: asked } | Asked::Delete { etag: asked } => {
                        etag.is_some_and(|etag| etag != asked)
                    }
                    _ => false,
                },
                Told::Changed => match asked {
                    Asked::Update { etag: asked } | Asked::Delete { etag: asked } => etag != Some(asked),
                    Asked::Create => etag.is_some(),
                    Asked::Read => false,
                },
                Told::Unknown | Told::Written(_) => false,
            };
            is_next
                && (refused && has_order_by_force(&rest, etag, last, mentioned)
                    || revisions.iter().filter(|revision| **revision > last).any(|revision| {
                        let etag = if matches!(asked, Asked::Delete { .. }) { None } else { Some(*revision) };
                        has_order_by_force(&rest, etag, *revision, mentioned)
                    }))
        })
    }

    #[test]
    fn trying_every_order_says_the_same() {
        let mut dice = Dice(7);
        let mut verdicts = [0, 0];
        for _ in 0..60_000 {
            // Etags far apart, so that there is always one between that nobody mentions.
            let etags = [100, 200, 300];
            let mut fresh = vec![100, 200, 300];
            let length = 2 + dice.below(5);
            let mut history = Vec::new();
            for client in 0..length {
                let asked = match dice.below(8) {
                    0..3 => Asked::Create,
                    3..5 => Asked::Update { etag: dice.pick(&etags) },
                    5 => Asked::Delete { etag: dice.pick(&etags) },
                    _ => Asked::Read,
                };
                let mut write = |dice: &mut Dice| match dice.below(3) {
                    _ if fresh.is_empty() => 400 + client,
                    0 => fresh.remove(usize::try_from(dice.below(fresh.len() as u64)).unwrap()),
                    _ => fresh.remove(0),
                };
                let told = match asked {
                    Asked::Read => Told::Saw(if dice.percent(30) { None } else { Some(dice.pick(&etags)) }),
                    _ if dice.percent(30) => Told::Unknown,
                    Asked::Create if dice.percent(30) => Told::Exists,
                    Asked::Create => Told::Written(write(&mut dice)),
                    _ if dice.percent(20) => Told::Missing,
                    _ if dice.percent(20) => Told::Mismatch,
                    _ if dice.percent(20) => Told::Changed,
                    Asked::Delete { .. } if dice.percent(50) => Told::Written(0),
                    _ => Told::Written(write(&mut dice)),
                };
                let began = client * 10 + dice.below(30);
                let client = usize::try_from(client).unwrap();
                history.push(call(client, began, began + dice.below(60), asked, told));
            }
            let mentioned: HashSet<u64> = history
                .iter()
                .flat_map(|operation| [carried(operation.asked), proven(operation), written(operation)])
                .flatten()
                .collect();
            let by_force = has_order_by_force(&history, None, 0, &mentioned);
            assert_eq!(check(&history).is_ok(), by_force, "{history:#?}\n{:?}", check(&history));
            verdicts[usize::from(by_force)] += 1;
        }
        println!("{verdicts:?} without and with an order");
        assert!(verdicts.iter().all(|count| *count > 5_000), "{verdicts:?}");
    }

    fn written(operation: &Operation) -> Option<u64> {
        match operation.told {
            Told::Written(etag) => Some(etag),
            _ => None,
        }
    }

    #[test]
    fn long_histories_are_quick() {
        let many_keys = Shape { clients: 32, keys: 50, operations: 10_000, unknown: 8 };
        let long = Shape { clients: 8, keys: 1, operations: 3_000, unknown: 5 };
        let mostly_lost = Shape { clients: 16, keys: 1, operations: 500, unknown: 60 };
        for shape in [many_keys, long, mostly_lost] {
            let mut dice = Dice(1);
            let history = atomic(&mut dice, shape);
            let wrong: Vec<_> = (0..10).filter_map(|_| corrupt(&mut dice, &history)).collect();
            let before = Instant::now();
            sound(&history);
            let took = before.elapsed();
            let refused = wrong.iter().filter(|history| check(history).is_err()).count();
            println!(
                "{} operations of {} keys: {took:?}; {refused} of {} corrupted: {:?}",
                shape.operations,
                shape.keys,
                wrong.len(),
                before.elapsed() - took
            );
            assert!(before.elapsed() < Duration::from_secs(60));
        }
    }

    #[test]
    fn hard_histories_are_quick() {
        // Eight creations, updates and deletes each without an answer, with an etag each that those may have made; and an
        // end that nothing explains, so that all there is to try is tried.
        let mut history = Vec::new();
        for n in 0..8 {
            history.push(call(0, 0, 0, CREATE, Told::Unknown));
            history.push(call(1, 0, 0, update(10 + n), Told::Unknown));
            history.push(call(2, 0, 0, delete(20 + n), Told::Unknown));
        }
        history.push(call(3, 100, 110, READ, Told::Saw(None)));
        history.push(call(3, 120, 130, READ, Told::Saw(Some(25))));
        history.push(call(3, 140, 150, READ, Told::Exists));
        let before = Instant::now();
        broken(&history);
        // A key that a hundred clients race to create, and that is deleted each time.
        let mut history: Vec<_> = (0..100).map(|n| call(n, 0, 1000, CREATE, Told::Written(2 * n as u64 + 2))).collect();
        history.extend((0..100).map(|n| call(n, 0, 1000, delete(2 * n as u64 + 2), Told::Written(0))));
        sound(&history);
        history.push(call(0, 1100, 1200, READ, Told::Saw(Some(2))));
        broken(&history);
        println!("{:?}", before.elapsed());
        assert!(before.elapsed() < Duration::from_secs(60));
    }
}
