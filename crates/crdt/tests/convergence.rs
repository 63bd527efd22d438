//! Convergence through records: whatever happened, in whatever order it arrives, the same state comes of it.
//!
//! All histories of up to four writes are tried in all orders of delivery, and longer random ones in random orders. What
//! the state must be is worked out beside it, from the records alone.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod history;
    pub(crate) mod model;
    pub(crate) mod replica;
}

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use support::{
    history::History,
    model::{Entry, State, context_with},
    replica::{Intent, Receipt, Replica},
};
use tombolo_crdt::{Element, RangeRemove, VersionVector};

#[test]
fn two_replicas_converge_after_every_history_of_four_writes() {
    let intents = [put("a"), blind_put("a"), remove("a"), remove_everything()];
    assert_eq!(check_every_history(2, 4, &intents), 13_222);
}

#[test]
fn three_replicas_converge_after_every_history_of_three_writes() {
    let intents = [put("a"), blind_put("a"), remove("a"), remove_everything(), put("b")];
    assert_eq!(check_every_history(3, 3, &intents), 8_304);
}

#[test]
fn three_replicas_converge_after_every_history_of_four_writes_to_one_key() {
    assert_eq!(check_every_history(3, 4, &[put("a"), remove("a")]), 4_257);
}

#[test]
fn leases_converge_after_every_history_of_four_writes() {
    let intents = [Intent::Grant { id: 7 }, Intent::EndLease, Intent::Put { key: "a".into(), leased: true }];
    assert_eq!(check_every_history(2, 4, &intents), 3_150);
}

#[test]
fn system_data_converges_after_every_history_of_four_writes() {
    let intents = [system_put("a"), system_remove("a"), put("a"), remove_everything()];
    assert_eq!(check_every_history(2, 4, &intents), 11_436);
}

proptest! {
    #[test]
    fn random_histories_converge_in_any_causal_order_with_duplicates(
        replicas in 3_u64..=4,
        steps in vec(any_step(), 1..40),
        picks in vec(any::<Index>(), 300),
    ) {
        let history = played(replicas, &steps);
        let mut observer = Observer::default();
        // Any record at any time: early ones are refused, known ones change nothing, the others are applied.
        for pick in picks.iter().filter(|_| !history.entries.is_empty()) {
            observer.try_entry(pick.get(&history.entries));
        }
        history.entries.iter().for_each(|entry| observer.try_entry(entry));
        check_observer(&history, &observer);
        check_merges(&history, &observer.replica.state);
        check_no_resurrection(&history, &observer.replica.state);
    }
}

/// Checks all histories of up to `operations` writes in all orders, and returns how many there were.
fn check_every_history(replicas: u64, operations: usize, intents: &[Intent]) -> usize {
    let mut histories = 0;
    History::new(replicas).for_each_extension(operations, intents, &mut |history| {
        histories += 1;
        check_every_order(history, &Observer::default());
        let end = at_end(history).replica.state;
        check_merges(history, &end);
        check_no_resurrection(history, &end);
    });
    histories
}

fn check_every_order(history: &History, observer: &Observer) {
    let mut complete = true;
    for entry in &history.entries {
        let mut next = observer.clone();
        if next.receive(entry) == Receipt::Applied {
            complete = false;
            check_every_order(history, &next);
        }
    }
    if complete {
        check_observer(history, observer);
    }
}

fn check_observer(history: &History, observer: &Observer) {
    assert_eq!(observer.replica.frontier, history.end());
    assert_eq!(living(&observer.replica.state), history.living(), "{:#?}", history.entries);
    assert_eq!(observer.joined, observer.replica.state);
}

/// Who has received everything, in the order in which it was written.
fn at_end(history: &History) -> Observer {
    let mut observer = Observer::default();
    history.entries.iter().for_each(|entry| observer.try_entry(entry));
    observer
}

/// The writers' own states, each of a part of the history, joined in every order.
fn check_merges(history: &History, end: &State) {
    let replicas = history.replicas.len();
    for first in 0..replicas {
        for step in [1, replicas - 1] {
            let (mut state, mut context) = (State::default(), VersionVector::new());
            for replica in (0..replicas).map(|at| &history.replicas[(first + at * step) % replicas]) {
                state.join(&context, &replica.state, &replica.frontier);
                context.join(&replica.frontier);
            }
            assert_eq!(context, history.end());
            assert_eq!(state, *end);
        }
    }
}

/// Whatever any replica held at any time brings nothing back.
fn check_no_resurrection(history: &History, end: &State) {
    let context = history.end();
    for entry in &history.entries {
        let mut state = end.clone();
        state.join(&context, &entry.after, &context_with(entry));
        assert_eq!(state, *end);
        state.join_delta(&context, entry);
        assert_eq!(state, *end);
    }
}

/// Somebody who only receives, and does it in two ways: by applying operations and by joining deltas.
#[derive(Clone, Debug)]
struct Observer {
    replica: Replica,
    joined: State,
}

impl Default for Observer {
    fn default() -> Self {
        Self { replica: Replica::new(99), joined: State::default() }
    }
}

impl Observer {
    fn receive(&mut self, entry: &Entry) -> Receipt {
        let before = self.replica.frontier.clone();
        let receipt = self.replica.receive(&entry.record);
        if receipt == Receipt::Applied {
            self.joined.join_delta(&before, entry);
            assert_eq!(self.joined, self.replica.state, "joining the delta of {:#?}", entry.record);
        }
        receipt
    }

    fn try_entry(&mut self, entry: &Entry) {
        let before = self.replica.state.clone();
        if self.receive(entry) != Receipt::Applied {
            assert_eq!(self.replica.state, before);
        }
    }
}

fn living(state: &State) -> BTreeSet<Element> {
    let mut living = BTreeSet::new();
    state.for_each_element(&mut |element| assert!(living.insert(element), "{element} is there twice"));
    living
}

#[derive(Clone, Debug)]
enum Step {
    Write { author: Index, intents: Vec<Intent>, wall_ms: u64 },
    Sync { from: Index, to: Index },
}

fn played(replicas: u64, steps: &[Step]) -> History {
    let mut history = History::new(replicas);
    for step in steps {
        match step {
            Step::Write { author, intents, wall_ms } => {
                history.write(author.index(replicas as usize), intents, *wall_ms);
            }
            Step::Sync { from, to } => {
                let frontier = history.replicas[from.index(replicas as usize)].frontier.clone();
                history.deliver(to.index(replicas as usize), &frontier);
            }
        }
    }
    history
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<Index>(), vec(any_intent(), 1..4), 0_u64..10)
            .prop_map(|(author, intents, wall_ms)| Step::Write { author, intents, wall_ms }),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Step::Sync { from, to }),
    ]
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let key = || prop::sample::select(vec!["a", "b", "c"]).prop_map(Bytes::from);
    prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|(key, leased)| Intent::Put { key, leased }),
        2 => key().prop_map(|key| Intent::BlindPut { key }),
        2 => key().prop_map(|key| Intent::Remove { key }),
        1 => Just(remove_everything()),
        1 => Just(Intent::RangeRemove(RangeRemove { start: "a".into(), end: Some("c".into()) })),
        1 => (1_i64..3).prop_map(|id| Intent::Grant { id }),
        1 => Just(Intent::EndLease),
        2 => key().prop_map(|key| Intent::SystemPut { key }),
        1 => key().prop_map(|key| Intent::SystemRemove { key }),
    ]
}

fn put(key: &'static str) -> Intent {
    Intent::Put { key: key.into(), leased: false }
}

fn blind_put(key: &'static str) -> Intent {
    Intent::BlindPut { key: key.into() }
}

fn remove(key: &'static str) -> Intent {
    Intent::Remove { key: key.into() }
}

fn system_put(key: &'static str) -> Intent {
    Intent::SystemPut { key: key.into() }
}

fn system_remove(key: &'static str) -> Intent {
    Intent::SystemRemove { key: key.into() }
}

fn remove_everything() -> Intent {
    Intent::RangeRemove(RangeRemove { start: Bytes::new(), end: None })
}
