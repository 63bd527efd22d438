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
    rows::NumberedRows,
};

/// The newest head of each author, and the commit at which it came.
pub(crate) type NewestHeads = BTreeMap<ReplicaId, (u64, SignedHead)>;

/// Takes note of the heads of a batch. Where rows have rotted, a later one may have an older head.
pub(crate) fn note(newest: &mut NewestHeads, number: u64, heads: impl IntoIterator<Item = SignedHead>) {
    for head in heads {
        let known = newest.get(&head.dot.replica);
        if known.is_none_or(|(_, known)| known.dot.seq <= head.dot.seq) {
            newest.insert(head.dot.replica, (number, head));
        }
    }
}

/// What is found at opening.
#[derive(Default)]
pub(crate) struct FoundHeads {
    pub(crate) newest: NewestHeads,
    /// The rows that there are up to where compaction has been.
    pub(crate) lingering: BTreeSet<u64>,
    /// Those that cannot be read. They are mended while the store runs: no value hangs on them.
    pub(crate) rotten: BTreeSet<u64>,
}

/// Reads the heads up to commit `last`; compaction has been up to `swept`.
pub(crate) fn recover(engine: &dyn Engine, last: u64, swept: u64) -> Result<FoundHeads, OpenError> {
    let mut found = FoundHeads::default();
    let snapshot = engine.snapshot();
    for row in NumberedRows::of(Kind::Heads, &*snapshot, 0, last) {
        let (number, row) = row?;
        match row.and_then(|row| HeadsRow::decode(&row, number)) {
            Some(HeadsRow { heads, .. }) => note(&mut found.newest, number, heads),
            None => drop(found.rotten.insert(number)),
        }
        if number <= swept {
            found.lingering.insert(number);
        }
    }
    match snapshot.last(&heads::key(last.saturating_add(1)), &Kind::Heads.end()) {
        Ok(Some((key, _))) => {
            let number = Kind::Heads.number(&key).unwrap_or_default();
            Err(damaged(format!("there are signatures of commit {number}, which is not there")))
        }
        Err(why) if !why.is_damage() => Err(why.into()),
        _ => Ok(found),
    }
}

/// Plans to drop what compaction, having swept `from..=last`, makes superfluous: there the newest head of each author is kept,
/// and no other. `lingering` are the rows that were kept so before. What is rotten stays until it is mended: it may have been needed.
pub(crate) fn sweep(
    engine: &dyn Engine,
    newest: &NewestHeads,
    rotten: &BTreeSet<u64>,
    lingering: &mut BTreeSet<u64>,
    from: u64,
    last: u64,
) -> Result<Vec<Change>, ReadError> {
    let snapshot = engine.snapshot();
    for row in NumberedRows::of(Kind::Heads, &*snapshot, from, last) {
        lingering.insert(row?.0);
    }
    let needed: BTreeSet<u64> = newest.values().map(|(number, _)| *number).chain(rotten.iter().copied()).collect();
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
