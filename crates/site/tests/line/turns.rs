//! Turns: one holder at a time, first come first served, and nobody waits for a departure that has been.

use bytes::Bytes;
use tombolo_site::{Entry, Turn, WatcherId};
use tombolo_storage::{KeyRange, KeyValue, RangeQuery, Request};

use crate::site::{Random, Site};

const NAME: &[u8] = b"door";

/// Somebody who wants the turn again and again.
#[derive(Default)]
enum Caller {
    #[default]
    Away,
    Waiting {
        turn: Turn,
        ahead: KeyValue,
        watcher: WatcherId,
    },
    Holding(Turn),
}

struct Line {
    site: Site,
    callers: Vec<Caller>,
    /// The creations of those whose turn came, in that order.
    served: Vec<i64>,
}

impl Line {
    fn new(callers: usize) -> Self {
        let mut line = Self { site: Site::new(), callers: Vec::new(), served: Vec::new() };
        for caller in 0..callers {
            line.grant(caller);
            line.callers.push(Caller::Away);
        }
        line
    }

    fn grant(&mut self, caller: usize) {
        self.site.commit(Request::LeaseGrant { id: lease(caller), ttl_s: 60 });
    }

    fn enter(&mut self, caller: usize) -> Entry {
        let (answer, revision) = self.site.txn(Turn::enter(NAME, lease(caller), Bytes::new()));
        let entry = Turn::entered(NAME, lease(caller), answer, revision).unwrap();
        if entry.is_first {
            self.hold(caller, entry.turn.clone())
        } else {
            self.look(caller, entry.turn.clone())
        }
        entry
    }

    fn look(&mut self, caller: usize, turn: Turn) {
        let answer = self.site.read(&turn.ahead());
        match answer.pairs.first() {
            None => self.hold(caller, turn),
            Some(ahead) => {
                let watcher = self.site.watch(Turn::departure(ahead, &answer));
                self.callers[caller] = Caller::Waiting { turn, ahead: ahead.clone(), watcher };
            }
        }
    }

    /// A turn that comes to somebody whose key is gone is none.
    fn hold(&mut self, caller: usize, turn: Turn) {
        if self.site.read(&RangeQuery::all(KeyRange::single(turn.place().key.clone()))).count == 0 {
            self.callers[caller] = Caller::Away;
            return;
        }
        self.served.push(turn.place().created);
        self.callers[caller] = Caller::Holding(turn);
    }

    /// Lets a waiter hear what happened, if something did.
    fn wake(&mut self, caller: usize) -> bool {
        let Caller::Waiting { watcher, .. } = &self.callers[caller] else { return false };
        if self.site.heard(*watcher).is_empty() {
            return false;
        }
        let Caller::Waiting { turn, .. } = std::mem::take(&mut self.callers[caller]) else { return false };
        self.look(caller, turn);
        true
    }

    fn leave(&mut self, caller: usize) {
        match std::mem::take(&mut self.callers[caller]) {
            Caller::Away => {}
            Caller::Waiting { turn, ahead, watcher } => {
                let (answer, _) = self.site.txn(turn.leave(&ahead));
                if !answer.succeeded {
                    // Its turn may have come: it learns of the departure first.
                    self.callers[caller] = Caller::Waiting { turn, ahead, watcher };
                }
            }
            Caller::Holding(turn) => drop(self.site.txn(turn.place().give_up())),
        }
    }

    /// The lease ends and with it the place, whether or not its holder knows.
    fn expire(&mut self, caller: usize) {
        self.site.commit(Request::LeaseRevoke { id: lease(caller) });
        self.grant(caller);
        if matches!(self.callers[caller], Caller::Holding(_)) {
            self.callers[caller] = Caller::Away;
        }
    }

    fn check(&self) {
        let holders = self.callers.iter().filter(|caller| matches!(caller, Caller::Holding(_))).count();
        assert!(holders <= 1, "{holders} hold at once");
        assert!(self.served.is_sorted(), "somebody was overtaken: {:?}", self.served);
    }
}

fn lease(caller: usize) -> i64 {
    caller as i64 + 0xa0
}

#[test]
fn one_holds_at_a_time_in_the_order_of_coming_and_nobody_waits_for_ever() {
    for seed in 0..24 {
        let mut random = Random(seed);
        let mut line = Line::new(6);
        for _ in 0..150 {
            let caller = random.below(6);
            match (random.below(8), &line.callers[caller]) {
                (0..=2, Caller::Away) => drop(line.enter(caller)),
                (3..=4, _) => drop(line.wake(caller)),
                (5, Caller::Waiting { .. }) | (5..=6, Caller::Holding(_)) => line.leave(caller),
                (7, _) if random.below(4) == 0 => line.expire(caller),
                _ => {}
            }
            line.check();
        }
        // Whoever holds goes, whoever is woken looks: in the end nobody is left.
        for _ in 0..100 {
            for caller in 0..6 {
                if matches!(line.callers[caller], Caller::Holding(_)) {
                    line.leave(caller);
                }
                line.wake(caller);
                line.check();
            }
        }
        assert!(
            line.callers.iter().all(|caller| matches!(caller, Caller::Away)),
            "seed {seed}: somebody waits for ever"
        );
        assert!(!line.served.is_empty(), "seed {seed} tried nothing");
    }
}

#[test]
fn who_stands_in_line_keeps_the_place_and_enters_no_second_time() {
    let mut line = Line::new(2);
    assert!(line.enter(0).is_first);
    let waiting = line.enter(1);
    assert!(!waiting.is_first && waiting.earlier.is_none());
    assert_eq!(waiting.turn.place().key, "door/a1");
    let again = line.enter(1);
    assert_eq!((again.turn, again.is_first), (waiting.turn.clone(), false));
    assert_eq!(again.earlier.map(|pair| pair.create_revision), Some(waiting.turn.place().created));
    assert!(line.enter(0).is_first, "the holder holds it still");
}

#[test]
fn a_waiter_whose_turn_has_come_does_not_leave_unseen() {
    let mut line = Line::new(2);
    line.enter(0);
    line.enter(1);
    line.leave(0);
    line.leave(1);
    assert!(matches!(line.callers[1], Caller::Waiting { .. }), "it left what was its own by then");
    assert!(line.wake(1));
    assert!(matches!(line.callers[1], Caller::Holding(_)));
}

#[test]
fn a_departure_wakes_the_next_one_alone() {
    let mut line = Line::new(4);
    (0..4).for_each(|caller| drop(line.enter(caller)));
    line.leave(0);
    assert_eq!([1, 2, 3].map(|caller| line.wake(caller)), [true, false, false]);
    // One in the middle leaves: whoever is behind looks again, and the holder stays.
    line.leave(2);
    assert!(line.wake(3) && matches!(line.callers[3], Caller::Waiting { .. }));
    line.leave(1);
    assert!(line.wake(3) && matches!(line.callers[3], Caller::Holding(_)));
}

#[test]
fn lines_are_told_apart_by_the_whole_name() {
    let mut line = Line::new(1);
    let (answer, revision) = line.site.txn(Turn::enter(b"door2", 0xa0, Bytes::new()));
    assert!(Turn::entered(b"door2", 0xa0, answer, revision).unwrap().is_first);
    assert!(line.enter(0).is_first);
    assert_eq!(Turn::key_of(b"", -1), "/-1");
}
