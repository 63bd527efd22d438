//! The head state: where the committer stands, published or not, and the merge that moves it.
//!
//! [`Head::merge`] is the one place where operations become state. Local and remote records, fresh ones and those read back
//! at recovery, all pass through it.

use bytes::Bytes;
use tombolo_crdt::{Clock, Dot, Element, LeaseRef, Operation, RangeRemove, VersionVector};

use crate::{
    KeyRange, Revision, Slot,
    digest::{self, Digest},
    event::LeaseChange,
    index::{Grant, Held, Index, Shown, Touch, View, own_key},
    log::Log,
    row::commit::{Cleared, CommitRow, Effect, Layer, Part},
};

/// Where the committer stands.
pub(crate) struct Head {
    /// The last commit.
    pub(crate) commit: u64,
    /// The revision after it.
    pub(crate) revision: Revision,
    /// The share of the revision space in which this replica counts.
    pub(crate) slot: Slot,
    /// The oldest readable revision, -1 while there was no compaction.
    pub(crate) compacted: i64,
    pub(crate) mesh: Log,
    pub(crate) private: Log,
    pub(crate) clock: Clock,
    pub(crate) digest: Digest,
    /// Grants that ended, while their rows are kept.
    pub(crate) ended_grants: Vec<EndedGrant>,
}

/// A grant that no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedGrant {
    /// The commit that granted.
    pub(crate) grant: u64,
    /// The commit that ended it.
    pub(crate) by: u64,
}

impl Head {
    pub(crate) fn log(&self, layer: Layer) -> &Log {
        match layer {
            Layer::Mesh => &self.mesh,
            Layer::Private => &self.private,
        }
    }

    pub(crate) fn log_mut(&mut self, layer: Layer) -> &mut Log {
        match layer {
            Layer::Mesh => &mut self.mesh,
            Layer::Private => &mut self.private,
        }
    }

    /// Applies records that passed the gate as commit `self.commit + 1`, and returns its row and what changed among leases.
    ///
    /// The revision is taken when something that etcd clients see changed. Cannot fail: what could was checked before.
    pub(crate) fn merge(&mut self, index: &mut Index, parts: Vec<Part>) -> (CommitRow, Vec<LeaseChange>) {
        let number = self.commit + 1;
        let mut row = CommitRow { revision: self.revision, parts, cleared: Vec::new(), effects: Vec::new() };
        let mut changed = Vec::new();
        let mut leases = Vec::new();
        for part in &row.parts {
            let context = covers_ranges(part).then(|| self.log(part.layer).context(&part.record.header));
            for (element_index, operation) in part.numbered() {
                let step = Step { number, part, element: part.dot().element(element_index) };
                self.apply(index, &step, operation, context.as_ref(), &mut row.cleared, &mut changed, &mut leases);
            }
        }
        self.reveal(index, &mut row, changed);
        for part in &row.parts {
            self.log_mut(part.layer).advance(&part.record.header);
        }
        self.commit = number;
        self.revision = row.revision;
        (row, leases)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the merge touches all of its state")]
    fn apply(
        &mut self,
        index: &mut Index,
        step: &Step<'_>,
        operation: &Operation,
        context: Option<&VersionVector>,
        cleared: &mut Vec<Cleared>,
        changed: &mut Vec<Bytes>,
        leases: &mut Vec<LeaseChange>,
    ) {
        match operation {
            Operation::Put { key, value, lease, supersedes } => {
                changed.push(key.clone());
                self.remove(index, step.part.layer, key, supersedes);
                let held = Held { commit: step.number, payload: digest::payload(value, *lease), lease: *lease };
                self.add(index, step, key, held);
            }
            Operation::Remove { key, elements } => {
                changed.push(key.clone());
                self.remove(index, step.part.layer, key, elements);
            }
            Operation::RangeRemove(range) => {
                let context = context.expect("the caller made the context of a record with range removals");
                for found in covered(index, range, context) {
                    changed.push(found.key.clone());
                    self.remove(index, step.part.layer, &found.key, &found.elements);
                    cleared.push(found);
                }
            }
            Operation::LeaseGrant { id, ttl_s } => leases.extend(self.grant(index, step, *id, *ttl_s)),
            Operation::LeaseEnd { lease, elements } => leases.extend(self.end(index, step.number, *lease, elements)),
            Operation::Unknown { .. } => unreachable!("the gate refuses records that cannot be interpreted"),
        }
    }

    fn add(&mut self, index: &mut Index, step: &Step<'_>, key: &[u8], held: Held) {
        if step.part.layer == Layer::Mesh {
            self.digest.add(step.element, key, held.payload);
        }
        if let Some(lease) = held.lease {
            index.attach(lease, key, step.element);
        }
        index.entry(key).register.add(step.element, step.part.record.header.hlc, held);
    }

    fn remove(&mut self, index: &mut Index, layer: Layer, key: &[u8], elements: &[Element]) {
        for &element in elements {
            let Some(entry) = index.entry_if_present(key) else { return };
            let Some(sibling) = entry.register.remove(element) else { continue };
            if layer == Layer::Mesh {
                self.digest.remove(element, key, sibling.value.payload);
            }
            if let Some(lease) = sibling.value.lease {
                index.detach(lease, key, element);
            }
        }
    }

    fn grant(&mut self, index: &mut Index, step: &Step<'_>, id: i64, ttl_s: u64) -> Option<LeaseChange> {
        let lease = LeaseRef { home: step.element.dot.replica, id };
        self.digest.add(step.element, &id.to_be_bytes(), digest::grant_payload(ttl_s));
        index.lease_entry(lease).grants.push((step.element, Grant { commit: step.number, ttl_s }));
        let ttl_s = i64::try_from(ttl_s).unwrap_or(i64::MAX);
        (lease.home == self.mesh.own()).then_some(LeaseChange::Granted { id, ttl_s })
    }

    fn end(&mut self, index: &mut Index, by: u64, lease: LeaseRef, elements: &[Element]) -> Option<LeaseChange> {
        let entry = index.lease_entry(lease);
        let (ended, left) = entry.grants.drain(..).partition(|(element, _)| elements.contains(element));
        entry.grants = left;
        let ended: Vec<(Element, Grant)> = ended;
        for (element, grant) in &ended {
            self.digest.remove(*element, &lease.id.to_be_bytes(), digest::grant_payload(grant.ttl_s));
            self.ended_grants.push(EndedGrant { grant: grant.commit, by });
        }
        let is_over = entry.grants.is_empty() && !ended.is_empty();
        index.forget_lease_if_empty(lease);
        (is_over && lease.home == self.mesh.own()).then_some(LeaseChange::Ended { id: lease.id })
    }

    /// Turns changes of registers into effects: what etcd clients see differently now. The first takes the next revision.
    fn reveal(&self, index: &mut Index, row: &mut CommitRow, changed: Vec<Bytes>) {
        let number = self.commit + 1;
        let next = self.revision.next().expect("the caller made sure that there is a revision left");
        for key in changed {
            let entry = index.entry(&key);
            // A record may change a key twice, when a lease holds two siblings of it: it is one change for clients.
            if entry.touches.last().is_some_and(|touch| touch.commit == number) {
                entry.touches.pop();
                row.effects.retain(|effect| *effect.key() != key);
            }
            let view = entry.next_view(next.get());
            let revision = if view == View::Unchanged { 0 } else { next.get() };
            entry.touches.push(Touch { commit: number, revision, view });
            row.effects.extend(effect(key, view));
        }
        if !row.effects.is_empty() {
            row.revision = next;
        }
    }

    /// Applies a row read back at recovery. Its effects are taken as they are: the state they were made from may be gone.
    pub(crate) fn replay(&mut self, index: &mut Index, number: u64, row: &CommitRow) {
        let mut touched = Vec::new();
        for part in &row.parts {
            for (element_index, operation) in part.numbered() {
                let step = Step { number, part, element: part.dot().element(element_index) };
                // What a range removal removed is in the row, by name.
                if !matches!(operation, Operation::RangeRemove(_)) {
                    self.apply(index, &step, operation, None, &mut Vec::new(), &mut touched, &mut Vec::new());
                }
            }
        }
        for Cleared { key, elements } in &row.cleared {
            self.remove(index, Layer::Mesh, key, elements);
            touched.push(key.clone());
        }
        touch(index, number, row, touched);
    }
}

/// Writes down what a row read back did at each key: its effects, and what it touched without one.
fn touch(index: &mut Index, number: u64, row: &CommitRow, touched: Vec<Bytes>) {
    for effect in &row.effects {
        let view = match *effect {
            Effect::Show { at, create_revision, version, .. } => View::Shown(Shown { at, create_revision, version }),
            Effect::Gone { .. } => View::Gone,
        };
        index.entry(effect.key()).touches.push(Touch { commit: number, revision: row.revision.get(), view });
    }
    for key in touched {
        let entry = index.entry(&key);
        if entry.touches.last().is_none_or(|touch| touch.commit != number) {
            entry.touches.push(Touch { commit: number, revision: 0, view: View::Unchanged });
        }
    }
}

/// One operation on its way into the state.
struct Step<'a> {
    number: u64,
    part: &'a Part,
    /// The first element that the operation adds, if it adds any.
    element: Element,
}

fn covers_ranges(part: &Part) -> bool {
    part.record.operations.iter().any(|operation| matches!(operation, Operation::RangeRemove(_)))
}

/// What a range removal removes: the elements in the range that its author had seen.
fn covered(index: &Index, RangeRemove { start, end }: &RangeRemove, context: &VersionVector) -> Vec<Cleared> {
    let range = match end {
        Some(end) => KeyRange::before(start.clone(), end.clone()),
        None => KeyRange::from_key(start.clone()),
    };
    let seen = |dot: Dot| context.covers(dot);
    let entries = index.range(&range).map(|(key, entry)| {
        let elements = entry.register.siblings().map(|(element, _)| element).filter(|e| seen(e.dot)).collect();
        Cleared { key: own_key(key), elements }
    });
    entries.filter(|found: &Cleared| !found.elements.is_empty()).collect()
}

fn effect(key: Bytes, view: View) -> Option<Effect> {
    match view {
        View::Shown(Shown { at, create_revision, version }) => Some(Effect::Show { key, at, create_revision, version }),
        View::Gone => Some(Effect::Gone { key }),
        View::Unchanged => None,
    }
}
