//! The signed heads that a store holds: of each author the newest, and in the log all those that prove a batch.
//!
//! A batch of records enters the log as a whole or not at all, in commits of its own, and every author in it has a head at its
//! last record. So the frontier of every author that came in by [`Committer::ingest_batch`](crate::Committer::ingest_batch) is a
//! signed head, at every moment and after every crash, and whatever part of the log a peer lacks can be proven to it.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{ReplicaId, SignedHead};

use crate::{
    OpenError, ReadError, Store,
    engine::{Change, Engine},
    folder::damaged,
    row::{
        Kind,
        heads::{self, HeadsRow},
    },
};

/// The newest head of each author, and the commit at which it came.
pub(crate) type NewestHeads = BTreeMap<ReplicaId, (u64, SignedHead)>;

/// Takes note of the heads of a batch.
pub(crate) fn note(newest: &mut NewestHeads, number: u64, heads: impl IntoIterator<Item = SignedHead>) {
    for head in heads {
        newest.insert(head.dot.replica, (number, head));
    }
}

/// What is found at opening: the newest heads, and which rows there are up to `swept`, where compaction has been.
pub(crate) fn recover(engine: &dyn Engine, last: u64, swept: u64) -> Result<(NewestHeads, BTreeSet<u64>), OpenError> {
    let (mut newest, mut lingering) = (NewestHeads::new(), BTreeSet::new());
    let snapshot = engine.snapshot();
    for row in snapshot.scan(&heads::key(0), &Kind::Heads.end()) {
        let (key, row) = row?;
        let number = Kind::Heads.number(&key).unwrap_or_default();
        let damage = || damaged(format!("the signatures of commit {number} are damaged"));
        let HeadsRow { heads, .. } = HeadsRow::decode(&row, number).filter(|_| number <= last).ok_or_else(damage)?;
        note(&mut newest, number, heads);
        if number <= swept {
            lingering.insert(number);
        }
    }
    Ok((newest, lingering))
}

/// Plans to drop what compaction, having swept `from..=last`, makes superfluous: there the newest head of each author is kept,
/// and no other. `lingering` are the rows that were kept so before.
pub(crate) fn sweep(
    engine: &dyn Engine,
    newest: &NewestHeads,
    lingering: &mut BTreeSet<u64>,
    from: u64,
    last: u64,
) -> Result<Vec<Change>, ReadError> {
    let snapshot = engine.snapshot();
    for row in snapshot.scan(&heads::key(from), &heads::key(last.saturating_add(1))) {
        lingering.extend(Kind::Heads.number(&row?.0));
    }
    let needed: BTreeSet<u64> = newest.values().map(|(number, _)| *number).collect();
    let dropped: Vec<u64> = lingering.difference(&needed).copied().collect();
    lingering.retain(|number| needed.contains(number));
    Ok(dropped.into_iter().map(|number| Change::Remove(heads::key(number))).collect())
}

impl Store {
    /// The newest signed head of each author that has one, ascending by author. This replica's own records have none: it signs
    /// when it offers them. O(authors).
    pub fn signed_heads(&self) -> Vec<SignedHead> {
        self.shared().state.read().heads.values().map(|(_, head)| *head).collect()
    }

    /// The newest signed head of an author.
    pub fn signed_head(&self, author: ReplicaId) -> Option<SignedHead> {
        self.shared().state.read().heads.get(&author).map(|(_, head)| *head)
    }
}
