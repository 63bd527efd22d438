//! Planning a request on the head state: what it answers, and the operations that carry it out.
//!
//! Planning reads and never writes. Everything that can be refused is refused here; what comes out can be committed. A
//! transaction's own writes are visible to its later reads through a small overlay.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Element, Hlc, Operation, RangeRemove, mutation::Mutation};

use crate::{
    Comparison, Delete, DeleteAnswer, Guard, KeyRange, KeyValue, Op, OpAnswer, Operand, Put, PutAnswer, RangeAnswer,
    RangeEnd, RangeQuery, ReadError, RequestError, Revision, Transaction, TxnAnswer,
    head::Head,
    index::{Index, KeyEntry, Visible, own_key},
    query::{self, Candidate},
    row::commit::Layer,
    view::{Rows, read_pair, read_value},
};

mod enter;
mod lease;
mod system;

/// The key that kube-apiserver keeps its compaction clock in. It speaks of one replica's revisions and stays there.
const COMPACT_REV_KEY: &[u8] = b"compact_rev_key";

/// Keys up to which a range removal names its elements. Above, naming the range is shorter and the effect here the same.
pub(crate) const NAMED_REMOVALS_MAX: usize = 64;

/// Which layer a key belongs to. The author decides at commit; receivers never judge again.
pub(crate) fn layer_of(key: &[u8]) -> Layer {
    if key == COMPACT_REV_KEY { Layer::Private } else { Layer::Mesh }
}

/// The operations that a request comes to, by layer.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) mesh: Vec<Operation>,
    pub(crate) private: Vec<Operation>,
    /// The newest stamp among what is superseded.
    pub(crate) floor: Hlc,
}

impl Draft {
    pub(crate) fn is_empty(&self) -> bool {
        self.mesh.is_empty() && self.private.is_empty()
    }

    pub(crate) fn push(&mut self, layer: Layer, operation: Operation) {
        let operations = match layer {
            Layer::Mesh => &mut self.mesh,
            Layer::Private => &mut self.private,
        };
        if operations.is_empty() {
            // Nearly every request comes to one operation, and operations are large.
            operations.reserve_exact(1);
        }
        operations.push(operation);
    }
}

/// The plan of one request.
pub(crate) struct Plan<'a, R: ?Sized> {
    pub(crate) head: &'a Head,
    pub(crate) index: &'a Index,
    rows: &'a R,
    pub(crate) draft: Draft,
    /// What this transaction wrote: a pair, or its absence.
    overlay: BTreeMap<Bytes, Option<KeyValue>>,
    /// Whether later steps may read what this one writes.
    in_transaction: bool,
}

impl<'a, R: Rows + ?Sized> Plan<'a, R> {
    pub(crate) fn new(head: &'a Head, index: &'a Index, rows: &'a R) -> Self {
        Self { head, index, rows, draft: Draft::default(), overlay: BTreeMap::new(), in_transaction: false }
    }

    /// The revision after the request, which its writes share.
    fn next_revision(&self) -> Revision {
        self.head.revision.next().unwrap_or(self.head.revision)
    }

    /// The revision as the request's steps see it: raised by its first write.
    pub(crate) fn revision(&self) -> Revision {
        if self.overlay.is_empty() { self.head.revision } else { self.next_revision() }
    }

    pub(crate) fn transaction(&mut self, transaction: Transaction) -> Result<TxnAnswer, RequestError> {
        self.in_transaction = true;
        let branch = self.choose(transaction)?;
        self.check(&branch)?;
        self.run(branch)
    }

    /// Judges every guard, those of nested transactions on the chosen path too, on the state before the first write.
    fn choose(&self, transaction: Transaction) -> Result<Branch, RequestError> {
        let mut succeeded = true;
        for guard in &transaction.guards {
            succeeded = succeeded && self.holds(guard)?;
        }
        let ops = if succeeded { transaction.then } else { transaction.otherwise };
        let steps = ops.into_iter().map(|op| match op {
            Op::Range(query) => Ok(Step::Range(query)),
            Op::Put(put) => Ok(Step::Put(put)),
            Op::Delete(delete) => Ok(Step::Delete(delete)),
            Op::Txn(transaction) => Ok(Step::Branch(self.choose(transaction)?)),
        });
        Ok(Branch { succeeded, steps: steps.collect::<Result<_, RequestError>>()? })
    }

    /// Refuses what cannot be carried out before anything of it is: for its puts first, then for its reads, as etcd does.
    fn check(&self, branch: &Branch) -> Result<(), RequestError> {
        self.check_puts(branch)?;
        self.check_ranges(branch)
    }

    fn check_puts(&self, branch: &Branch) -> Result<(), RequestError> {
        for step in &branch.steps {
            match step {
                Step::Put(put) => self.check_put(put)?,
                Step::Branch(branch) => self.check_puts(branch)?,
                Step::Range(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    fn check_ranges(&self, branch: &Branch) -> Result<(), RequestError> {
        for step in &branch.steps {
            match step {
                Step::Range(query) => self.read_revision(query.revision).map(drop)?,
                Step::Branch(branch) => self.check_ranges(branch)?,
                Step::Put(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn check_put(&self, put: &Put) -> Result<(), RequestError> {
        if put.value.is_none() || put.lease.is_none() {
            self.index.get(&put.key).and_then(|e| e.visible(i64::MAX)).ok_or(RequestError::KeyNotFound)?;
        }
        match put.lease {
            Some(id) if id != 0 => self.lease(id).map(drop),
            _ => Ok(()),
        }
    }

    fn run(&mut self, branch: Branch) -> Result<TxnAnswer, RequestError> {
        let mut results = Vec::with_capacity(branch.steps.len());
        for step in branch.steps {
            results.push(match step {
                Step::Range(query) => OpAnswer::Range(self.range(&query)?),
                Step::Put(put) => OpAnswer::Put(self.put(put)?),
                Step::Delete(delete) => OpAnswer::Delete(self.delete(&delete)?),
                Step::Branch(branch) => OpAnswer::Txn(self.run(branch)?),
            });
        }
        Ok(TxnAnswer { succeeded: branch.succeeded, results })
    }

    pub(crate) fn put(&mut self, put: Put) -> Result<PutAnswer, RequestError> {
        let entry = self.index.get(&put.key);
        let visible = entry.and_then(|entry| entry.visible(i64::MAX));
        let previous = match visible {
            Some(visible) if put.previous || put.value.is_none() => {
                Some(read_pair(self.rows, put.key.clone(), visible)?)
            }
            _ => None,
        };
        let kept = || previous.clone().ok_or(RequestError::KeyNotFound);
        let value = put.value.map_or_else(|| kept().map(|pair| pair.value), Ok)?;
        let lease = match put.lease {
            None => self.kept_lease(entry, visible)?,
            Some(0) => None,
            Some(id) => Some(self.lease(id)?),
        };
        let supersedes = self.supersede(entry);
        let pair = || KeyValue {
            key: put.key.clone(),
            value: value.clone(),
            create_revision: visible.map_or(self.next_revision().get(), |v| v.shown.create_revision),
            mod_revision: self.next_revision().get(),
            version: visible.map_or(1, |visible| visible.shown.version + 1),
            lease: lease.map_or(0, |lease| lease.id),
        };
        if self.in_transaction {
            self.overlay.insert(put.key.clone(), Some(pair()));
        }
        self.draft.push(layer_of(&put.key), Operation::Put { key: put.key, value, lease, supersedes });
        Ok(PutAnswer { previous: previous.filter(|_| put.previous) })
    }

    pub(crate) fn delete(&mut self, delete: &Delete) -> Result<DeleteAnswer, RequestError> {
        let found: Vec<(Bytes, Visible, &KeyEntry)> = self.deletable(&delete.range);
        let deleted = found.len() as i64;
        let mut previous = Vec::new();
        if delete.previous {
            for (key, visible, _) in &found {
                previous.push(read_pair(self.rows, key.clone(), *visible)?);
            }
        }
        let by_range = found.len() > NAMED_REMOVALS_MAX;
        for (key, _, entry) in found {
            let elements = self.supersede(Some(entry));
            let layer = layer_of(&key);
            if self.in_transaction {
                self.overlay.insert(key.clone(), None);
            }
            if !(by_range && layer == Layer::Mesh) {
                self.draft.push(layer, Operation::Remove { key, elements });
            }
        }
        if by_range {
            self.draft.push(Layer::Mesh, Operation::RangeRemove(as_removal(&delete.range)));
        }
        Ok(DeleteAnswer { deleted, previous })
    }

    /// The keys of a range that exist. What this transaction wrote is not among them: etcd refuses to write and delete one key
    /// in one transaction, and a key that it deleted is gone.
    fn deletable(&self, range: &KeyRange) -> Vec<(Bytes, Visible, &'a KeyEntry)> {
        let index = self.index;
        let pairs = index.visible(range, i64::MAX).filter(|(key, _)| !self.overlay.contains_key(*key));
        pairs.filter_map(|(key, visible)| Some((own_key(key), visible, index.get(key)?))).collect()
    }

    /// The siblings that a write replaces, all of them; notes the newest stamp among them.
    pub(crate) fn supersede(&mut self, entry: Option<&KeyEntry>) -> Vec<Element> {
        let Some(entry) = entry else { return Vec::new() };
        let mut elements = Vec::with_capacity(entry.register.siblings().len());
        for (element, sibling) in entry.register.siblings() {
            self.draft.floor = self.draft.floor.max(sibling.hlc);
            elements.push(element);
        }
        if Mutation::SiblingsLeft.is_on() {
            elements.retain(|element| entry.register.winner().is_some_and(|(winner, _)| winner == *element));
        }
        elements
    }

    /// Outside transactions every number below 0 means "now". Inside, etcd holds it against the compacted revision first.
    fn read_revision(&self, asked: i64) -> Result<i64, ReadError> {
        if asked < 0 && asked < self.head.compacted {
            return Err(ReadError::Compacted { oldest: self.head.compacted.max(1) });
        }
        query::read_revision(asked, self.head.revision, self.head.compacted, &self.head.numbers)
    }

    fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, RequestError> {
        let revision = self.read_revision(query.revision)?;
        let current = self.revision();
        // A read at a past revision does not see this transaction's writes; one at the current revision does.
        let fresh = if query.revision <= 0 { self.overlay_in(&query.range) } else { Vec::new() };
        let stored = self.index.visible(&query.range, revision);
        let stored = stored.map(|(key, visible)| Found::Stored(own_key(key), visible));
        let answer = if fresh.is_empty() {
            query::answer(query, current, stored, |found| self.fetch(found))
        } else {
            let mut merged: BTreeMap<Bytes, Found> = stored.map(|found| (found.bytes().clone(), found)).collect();
            for (key, written) in fresh {
                match written {
                    Some(pair) => merged.insert(key, Found::Fresh(pair)),
                    None => merged.remove(&key),
                };
            }
            query::answer(query, current, merged.into_values(), |found| self.fetch(found))
        };
        Ok(answer?)
    }

    fn overlay_in(&self, range: &KeyRange) -> Vec<(Bytes, Option<KeyValue>)> {
        let inside = self.overlay.iter().filter(|(key, _)| range.contains(key));
        inside.map(|(key, written)| (key.clone(), written.clone())).collect()
    }

    fn fetch(&self, found: Found) -> Result<KeyValue, ReadError> {
        match found {
            Found::Stored(key, visible) => read_pair(self.rows, key, visible),
            Found::Fresh(pair) => Ok(pair),
        }
    }

    /// Whether a guard holds for every key of its range; a range without keys stands for one key that does not exist.
    fn holds(&self, guard: &Guard) -> Result<bool, RequestError> {
        let mut any = false;
        for (key, visible) in self.index.visible(&guard.range, i64::MAX) {
            any = true;
            if !self.holds_for(guard, Some((key, visible)))? {
                return Ok(false);
            }
        }
        Ok(any || self.holds_for(guard, None)?)
    }

    fn holds_for(&self, guard: &Guard, found: Option<(&[u8], Visible)>) -> Result<bool, RequestError> {
        let numbers = &self.head.numbers;
        let ordering = match &guard.operand {
            Operand::Version(operand) => found.map_or(0, |(_, v)| v.shown.version).cmp(operand),
            Operand::CreateRevision(operand) | Operand::ModRevision(operand) if numbers.is_foreign(*operand) => {
                return Ok(false);
            }
            Operand::CreateRevision(operand) => found.map_or(0, |(_, v)| v.shown.create_revision).cmp(operand),
            Operand::ModRevision(operand) => found.map_or(0, |(_, v)| v.mod_revision).cmp(operand),
            Operand::Lease(operand) => match found {
                Some((key, visible)) => read_pair(self.rows, own_key(key), visible)?.lease.cmp(operand),
                None => 0.cmp(operand),
            },
            // What does not exist has no value, not even an empty one.
            Operand::Value(operand) => match found {
                Some((_, visible)) => read_value(self.rows, visible.shown.at)?.value.cmp(operand),
                None => return Ok(false),
            },
        };
        Ok(match guard.comparison {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::Less => ordering.is_lt(),
        })
    }
}

/// A transaction with its branches chosen.
struct Branch {
    succeeded: bool,
    steps: Vec<Step>,
}

enum Step {
    Range(RangeQuery),
    Put(Put),
    Delete(Delete),
    Branch(Branch),
}

/// A pair found by a read inside a transaction.
enum Found {
    Stored(Bytes, Visible),
    Fresh(KeyValue),
}

impl Found {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Stored(key, _) => key,
            Self::Fresh(pair) => &pair.key,
        }
    }
}

impl Candidate for Found {
    fn key(&self) -> &[u8] {
        self.bytes()
    }

    fn create_revision(&self) -> i64 {
        match self {
            Self::Stored(_, visible) => visible.shown.create_revision,
            Self::Fresh(pair) => pair.create_revision,
        }
    }

    fn mod_revision(&self) -> i64 {
        match self {
            Self::Stored(_, visible) => visible.mod_revision,
            Self::Fresh(pair) => pair.mod_revision,
        }
    }

    fn version(&self) -> i64 {
        match self {
            Self::Stored(_, visible) => visible.shown.version,
            Self::Fresh(pair) => pair.version,
        }
    }
}

fn as_removal(range: &KeyRange) -> RangeRemove {
    let start = range.start().clone();
    let end = match range.end() {
        RangeEnd::Before(end) => Some(end.clone()),
        RangeEnd::Unbounded => None,
        RangeEnd::Single => Some([start.as_ref(), &[0]].concat().into()),
    };
    RangeRemove { start, end }
}
