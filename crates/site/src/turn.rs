//! One place in a line, in the order in which etcd's clients stand: by the revision that created a key under `<name>/`.
//!
//! A lock's waiters and an election's candidates each hold the key `<name>/<lease in hexadecimal>` on their lease, and whoever has the
//! oldest key has the turn. A [`Turn`] waits for the departure of the one directly ahead and then looks again, so that a departure
//! wakes one waiter and not all. Clients that keep the same keys themselves and callers of a server's own service thus exclude one another.
//!
//! It is an order among the keys of one replica: another site may, until it hears of this one, give the turn to somebody else.

use bytes::Bytes;
use tombolo_storage::{
    Comparison, Delete, Guard, KeyRange, KeyValue, Op, OpAnswer, Operand, Order, Put, RangeAnswer, RangeQuery,
    SortTarget, Transaction, TxnAnswer,
};

use crate::WatchSpec;

/// A place in a line, waited in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    line: KeyRange,
    place: Place,
}

/// A place in a line: a key, and the revision that created it. Whoever comes later on the same lease holds another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The key.
    pub key: Bytes,
    /// The revision that created it.
    pub created: i64,
}

/// What entering a line found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The place.
    pub turn: Turn,
    /// The pair that held this place already, for the same lease.
    pub earlier: Option<KeyValue>,
    /// Whether nobody is ahead.
    pub is_first: bool,
}

impl Turn {
    /// The key with which a lease stands in the line of `name`. The number has a sign, as Go writes it.
    pub fn key_of(name: &[u8], lease: i64) -> Bytes {
        let sign = if lease < 0 { "-" } else { "" };
        [name, format!("/{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat().into()
    }

    /// The transaction that enters the line of `name`, unless the lease stands there already, and reads who is first.
    pub fn enter(name: &[u8], lease: i64, value: Bytes) -> Transaction {
        let key = Self::key_of(name, lease);
        let first = Op::Range(first_of(line_of(name)));
        let put = Put { key: key.clone(), value: Some(value), lease: Some(lease), previous: false };
        let read = RangeQuery::all(KeyRange::single(key.clone()));
        Transaction {
            guards: vec![created_at(key, 0)],
            then: vec![Op::Put(put), first.clone()],
            otherwise: vec![Op::Range(read), first],
        }
    }

    /// The place that the answer to [`enter`](Self::enter) speaks of; `revision` is that of the answer. `None` for the answer to another question.
    pub fn entered(name: &[u8], lease: i64, answer: TxnAnswer, revision: i64) -> Option<Entry> {
        let [own, OpAnswer::Range(first)] = <[OpAnswer; 2]>::try_from(answer.results).ok()? else { return None };
        let earlier = match own {
            OpAnswer::Put(_) => None,
            OpAnswer::Range(read) => Some(read.pairs.into_iter().next()?),
            _ => return None,
        };
        let created = earlier.as_ref().map_or(revision, |pair| pair.create_revision);
        let is_first = first.pairs.first().is_none_or(|pair| pair.create_revision == created);
        let turn = Self { line: line_of(name), place: Place { key: Self::key_of(name, lease), created } };
        Some(Entry { turn, earlier, is_first })
    }

    /// The place that is waited in.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Asks who is directly ahead.
    pub fn ahead(&self) -> RangeQuery {
        RangeQuery {
            order: Order::By { target: SortTarget::CreateRevision, descending: true },
            limit: 1,
            // 0 would mean no bound, and nothing was ever created at 1.
            max_create_revision: (self.place.created - 1).max(1),
            keys_only: true,
            ..RangeQuery::all(self.line.clone())
        }
    }

    /// What to watch until the pair that was found directly ahead is gone. The first event of this watch is its departure.
    pub fn departure(ahead: &KeyValue, answer: &RangeAnswer) -> WatchSpec {
        let start = answer.revision.get().saturating_add(1);
        WatchSpec { without_puts: true, ..WatchSpec::new(KeyRange::single(ahead.key.clone()), start) }
    }

    /// The transaction that leaves the line, unless its turn has come: it does nothing when the one ahead is gone.
    pub fn leave(&self, ahead: &KeyValue) -> Transaction {
        let guards = vec![self.place.is_held(), created_at(ahead.key.clone(), ahead.create_revision)];
        Transaction { guards, then: vec![self.place.removal()], otherwise: Vec::new() }
    }
}

impl Place {
    /// The transaction that gives the place up, whether or not its turn has come. It does nothing when the place is not held any more.
    pub fn give_up(&self) -> Transaction {
        Transaction { guards: vec![self.is_held()], then: vec![self.removal()], otherwise: Vec::new() }
    }

    /// The transaction that changes what the place's holder proclaims. It does nothing when the place is not held any more.
    pub fn proclaim(&self, lease: i64, value: Bytes) -> Transaction {
        let put = Put { key: self.key.clone(), value: Some(value), lease: Some(lease), previous: false };
        Transaction { guards: vec![self.is_held()], then: vec![Op::Put(put)], otherwise: Vec::new() }
    }

    fn is_held(&self) -> Guard {
        created_at(self.key.clone(), self.created)
    }

    fn removal(&self) -> Op {
        Op::Delete(Delete { range: KeyRange::single(self.key.clone()), previous: false })
    }
}

/// The keys of a line. They end with the prefix, which ends with a slash.
pub(crate) fn line_of(name: &[u8]) -> KeyRange {
    let (start, end) = ([name, b"/"].concat(), [name, b"0"].concat());
    KeyRange::before(start.into(), end.into())
}

/// Asks who is first in a line.
pub(crate) fn first_of(line: KeyRange) -> RangeQuery {
    let order = Order::By { target: SortTarget::CreateRevision, descending: false };
    RangeQuery { order, limit: 1, ..RangeQuery::all(line) }
}

fn created_at(key: Bytes, revision: i64) -> Guard {
    Guard { range: KeyRange::single(key), operand: Operand::CreateRevision(revision), comparison: Comparison::Equal }
}
