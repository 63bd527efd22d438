//! The merge: where operations become state.
//!
//! Local and remote records, fresh ones and those read back at recovery, all change registers, leases and the digest here,
//! and here alone. What etcd clients see of a key is derived from its register for a fresh record, and taken from the row
//! for one that is replayed.

use std::collections::HashMap;

use bytes::Bytes;
use smallvec::SmallVec;
use tombolo_crdt::{Element, Hlc, LeaseRef, Operation, RangeRemove, VersionVector, mutation::Mutation};

use crate::{
    KeyRange, Revision, digest,
    event::LeaseChange,
    head::{Ended, Head},
    index::{Gone, Grant, Held, Index, Shown, Touch, View, own_key},
    row::commit::{Apart, Cleared, CommitRow, Effect, Layer, Part},
    system::SystemValue,
};

/// A commit on its way into the state.
pub(crate) struct Merge<'a> {
    head: &'a mut Head,
    index: &'a mut Index,
    number: u64,
    /// The revision that a change of what clients see has.
    revision: Revision,
    effects: Effects<'a>,
    cleared: Vec<Cleared>,
    leases: Vec<LeaseChange>,
    system: Vec<Bytes>,
}

/// What came of a merge.
pub(crate) struct Merged {
    /// What range removals removed.
    pub(crate) cleared: Vec<Cleared>,
    /// What clients see differently.
    pub(crate) effects: SmallVec<[Effect; 1]>,
    /// What changed among leases.
    pub(crate) leases: Vec<LeaseChange>,
    /// The keys of the system's data that changed.
    pub(crate) system: Vec<Bytes>,
}

/// Where the effects of a commit come from.
enum Effects<'a> {
    /// From the state, as it changes.
    Fresh(Changes),
    /// From the commit's row, by key.
    Stored(HashMap<&'a [u8], View>),
    /// From the row of a commit with one effect, as nearly all have.
    StoredOne(Option<(&'a [u8], View)>),
}

/// What clients see differently of keys, in the order of each one's last change.
#[derive(Default)]
struct Changes {
    effects: SmallVec<[Effect; 1]>,
    /// Keys that the commit has changed again, with the number of effects there were then. What is shown of such a key is known when the commit is
    /// merged: to look for the winner each time would take the square of what one record can put under one key.
    again: Vec<(usize, Bytes)>,
}

/// What an operation does to one key.
struct Write<'a> {
    layer: Layer,
    key: &'a Bytes,
    removes: &'a [Element],
    adds: Option<(Element, Hlc, Held)>,
}

impl<'a> Merge<'a> {
    /// A merge of new records, as commit `number`.
    pub(crate) fn fresh(head: &'a mut Head, index: &'a mut Index, number: u64, revision: Revision) -> Self {
        Self::new(head, index, number, revision, Effects::Fresh(Changes::default()))
    }

    /// A merge of records that were merged before.
    pub(crate) fn replay(head: &'a mut Head, index: &'a mut Index, number: u64, row: &'a CommitRow) -> Self {
        let mut effects = row.effects.iter().map(|effect| (effect.key().as_ref(), view(effect)));
        let effects = match row.effects.len() {
            0 | 1 => Effects::StoredOne(effects.next()),
            _ => Effects::Stored(effects.collect()),
        };
        Self::new(head, index, number, row.revision, effects)
    }

    fn new(head: &'a mut Head, index: &'a mut Index, number: u64, revision: Revision, effects: Effects<'a>) -> Self {
        let (cleared, leases, system) = Default::default();
        Self { head, index, number, revision, effects, cleared, leases, system }
    }

    /// Applies one layer's record.
    pub(crate) fn part(&mut self, part: &Part) {
        for (index, operation) in part.numbered() {
            self.operation(part, part.dot().element(index), operation);
        }
    }

    /// Removes again what range removals removed. Replays need the names: the contexts of then may be gone.
    pub(crate) fn cleared(&mut self, cleared: &[Cleared]) {
        for Cleared { key, elements } in cleared {
            self.write(Write { layer: Layer::Mesh, key, removes: elements, adds: None });
        }
    }

    /// Removes what a transfer removed that is not under a key.
    pub(crate) fn apart(&mut self, apart: &Apart) {
        for (lease, elements) in &apart.leases {
            self.end(*lease, elements);
        }
        for Cleared { key, elements } in &apart.system {
            self.system(key, elements, None);
        }
    }

    /// Applies the effects that are all a remainder has left of a key: the operations behind them are gone.
    pub(crate) fn left_over(&mut self, effects: &[Effect]) {
        for effect in effects {
            let touches = &mut self.index.entry(effect.key()).touches;
            if touches.last().is_none_or(|touch| touch.commit != self.number) {
                let (commit, revision) = (self.number, self.revision.get());
                touches.push(Touch { commit, revision, view: view(effect) });
            }
        }
    }

    /// What came of it all.
    pub(crate) fn finish(self) -> Merged {
        let Self { index, revision, cleared, leases, system, .. } = self;
        let effects = match self.effects {
            Effects::Fresh(Changes { effects, again }) if again.is_empty() => effects,
            Effects::Fresh(changes) => changes.settle(index, revision),
            Effects::Stored(_) | Effects::StoredOne(_) => SmallVec::new(),
        };
        Merged { cleared, effects, leases, system }
    }

    /// `element` is the first that the operation adds, if it adds any.
    fn operation(&mut self, part: &Part, element: Element, operation: &Operation) {
        let layer = part.layer;
        match operation {
            Operation::Put { key, value, lease, supersedes } => {
                let held = Held { commit: self.number, payload: digest::payload(value, *lease), lease: *lease };
                let adds = Some((element, part.record.header.hlc, held));
                self.write(Write { layer, key, removes: supersedes, adds });
            }
            Operation::Remove { key, elements } => self.write(Write { layer, key, removes: elements, adds: None }),
            Operation::RangeRemove(range) => self.range_removal(part, range),
            Operation::LeaseGrant { id, ttl_s } => self.grant(element, *id, *ttl_s),
            Operation::LeaseEnd { lease, elements } => self.end(*lease, elements),
            Operation::SystemPut { key, value, supersedes } => {
                let value = SystemValue { commit: self.number, value: Bytes::copy_from_slice(value) };
                self.system(key, supersedes, Some((element, part.record.header.hlc, value)));
            }
            Operation::SystemRemove { key, elements } => self.system(key, elements, None),
            Operation::Unknown { .. } => unreachable!("the gate refuses records that cannot be interpreted"),
        }
    }

    /// A replay is told what went, by name; a cut that lacks some commits is not, and looks at the range again.
    fn range_removal(&mut self, part: &Part, range: &RangeRemove) {
        let Some(context) = &part.context else { return };
        let range = KeyRange::from(range);
        if matches!(self.effects, Effects::Fresh(_)) {
            let found = covered(self.index, &range, context);
            self.cleared(&found);
            self.cleared.extend(found);
        }
        self.index.note_range_removal(self.number, range);
    }

    /// Changes one key's register, and with it the digest, the leases and what clients see. One search of the index.
    fn write(&mut self, write: Write<'_>) {
        let Write { layer, key, removes, adds } = write;
        let own = self.head.mesh.own();
        let (entry, departed) = self.index.entry_and_departed(key);
        // The private layer has no digest: nobody compares it.
        let mut digest = (layer == Layer::Mesh).then_some(&mut self.head.digest);
        let mut detached = Vec::new();
        let shown = if removes.is_empty() { None } else { shown_before(&entry.touches, self.number) };
        for (element, sibling) in entry.register.remove_all(removes) {
            let added = sibling.value.commit;
            let is_left = Mutation::DigestDrifts.is_on() && element.dot.replica == own;
            if let Some(sum) = digest.as_deref_mut().filter(|_| !is_left) {
                let share = sum.remove(element, key, sibling.value.payload);
                departed.note(Gone { by: self.number, added, element, share, is_system: false });
            }
            detached.extend(sibling.value.lease.map(|lease| (lease, element)));
            if self.head.since_base.counts(added, self.number) && shown != Some(element) {
                self.head.since_base.note_write(key, element, added);
            }
        }
        if let Some((element, hlc, held)) = adds {
            if self.effects.are_stored()
                && let Some(replaced) = entry.register.remove(element)
            {
                digest.as_deref_mut().map(|sum| sum.remove(element, key, replaced.value.payload));
                detached.extend(replaced.value.lease.map(|lease| (lease, element)));
            }
            digest.into_iter().for_each(|sum| sum.add(element, key, held.payload));
            entry.register.add(element, hlc, held);
        }
        // A record may change a key twice, as when a lease holds two siblings of it: it is one change for clients.
        match entry.touches.last_mut().filter(|touch| touch.commit == self.number) {
            Some(touch) => self.effects.look_again(key, touch),
            None => {
                let view = self.effects.view(key, || entry.next_view(self.revision.get()));
                entry.touches.push(touch(self.number, self.revision, view));
            }
        }
        for (lease, element) in detached {
            self.index.detach(lease, key, element);
        }
        if let Some((element, lease)) = adds.and_then(|(element, _, held)| Some((element, held.lease?))) {
            let exists = self.index.attach(lease, key, element);
            self.note_orphans(lease, exists);
        }
    }

    /// Changes a register of the system's data, and with it the digest.
    fn system(&mut self, key: &Bytes, removes: &[Element], adds: Option<(Element, Hlc, SystemValue)>) {
        let key = own_key(key);
        let Head { system, digest, ended, since_base, .. } = &mut *self.head;
        let (number, is_replay) = (self.number, self.effects.are_stored());
        let has_changed = system.update(key.clone(), |register| {
            let mut has_changed = adds.is_some();
            for &element in removes {
                let Some(SystemValue { commit, value }) = register.remove(element).map(|sibling| sibling.value) else {
                    continue;
                };
                has_changed = true;
                let share = digest.remove(element, &key, digest::system_payload(&value));
                self.index.departed.note(Gone { by: number, added: commit, element, share, is_system: true });
                ended.push(Ended { added: commit, by: number });
                if since_base.counts(commit, number) {
                    since_base.note_apart(element, commit);
                }
            }
            if let Some((element, hlc, value)) = adds {
                if let Some(replaced) = is_replay.then(|| register.remove(element)).flatten() {
                    digest.remove(element, &key, digest::system_payload(&replaced.value.value));
                    ended.push(Ended { added: replaced.value.commit, by: number });
                }
                digest.add(element, &key, digest::system_payload(&value.value));
                register.add(element, hlc, value);
            }
            has_changed
        });
        if has_changed && !self.system.contains(&key) {
            self.system.push(key);
        }
    }

    /// Takes note of a lease of ours that has elements attached, unless it exists: nobody else will remove them.
    fn note_orphans(&mut self, lease: LeaseRef, exists: bool) {
        if !exists && self.head.is_home(lease.home) {
            self.head.orphaned.insert(lease);
        }
    }

    fn grant(&mut self, element: Element, id: i64, ttl_s: u64) {
        let lease = LeaseRef { home: element.dot.replica, id };
        let is_known = |(known, _): &(Element, Grant)| *known == element;
        let holds = self.index.lease(lease).is_some_and(|entry| entry.grants.iter().any(is_known));
        if holds && self.effects.are_stored() {
            self.end(lease, &[element]);
        }
        self.head.digest.add(element, &id.to_be_bytes(), digest::grant_payload(ttl_s));
        self.index.grant(lease, element, Grant { commit: self.number, ttl_s });
        if self.head.is_home(lease.home) {
            let ttl_s = i64::try_from(ttl_s).unwrap_or(i64::MAX);
            self.leases.push(LeaseChange::Granted { id, ttl_s });
        }
    }

    fn end(&mut self, lease: LeaseRef, elements: &[Element]) {
        let ended = self.index.end(lease, elements);
        for &(element, grant) in &ended {
            let payload = digest::grant_payload(grant.ttl_s);
            let share = self.head.digest.remove(element, &lease.id.to_be_bytes(), payload);
            let (by, added) = (self.number, grant.commit);
            self.index.departed.note(Gone { by, added, element, share, is_system: false });
            self.head.ended.push(Ended { added: grant.commit, by: self.number });
            if self.head.since_base.counts(grant.commit, self.number) {
                self.head.since_base.note_apart(element, grant.commit);
            }
        }
        // What is left of it now is what is attached to it.
        let left = self.index.lease(lease);
        let is_over = !ended.is_empty() && left.is_none_or(|left| left.grants.is_empty());
        let exists = left.is_none_or(|left| !left.grants.is_empty());
        self.note_orphans(lease, exists);
        if is_over && self.head.is_home(lease.home) {
            self.leases.push(LeaseChange::Ended { id: lease.id });
        }
    }
}

impl Effects<'_> {
    /// Whether this is a replay. Its rows may add an element that an earlier row has added: a repair has brought it anew, and it counts as in the later row.
    fn are_stored(&self) -> bool {
        !matches!(self, Self::Fresh(_))
    }

    /// What clients see of a key from this commit on.
    fn view(&mut self, key: &Bytes, derive: impl FnOnce() -> View) -> View {
        match self {
            Self::Fresh(changes) => {
                let view = derive();
                changes.effects.extend(effect(key, view));
                view
            }
            Self::Stored(views) => views.get(key.as_ref()).copied().unwrap_or(View::Unchanged),
            Self::StoredOne(Some((stored, view))) if *stored == key.as_ref() => *view,
            Self::StoredOne(_) => View::Unchanged,
        }
    }

    /// Takes note that an operation changes a key which an earlier one of the same commit has changed. A row says how that ended.
    fn look_again(&mut self, key: &Bytes, known: &mut Touch) {
        if let Self::Fresh(Changes { effects, again }) = self {
            (known.revision, known.view) = (0, View::Unchanged);
            again.push((effects.len(), key.clone()));
        }
    }
}

impl Changes {
    /// The effects, with those of keys that were changed more than once where they were changed last.
    fn settle(self, index: &mut Index, revision: Revision) -> SmallVec<[Effect; 1]> {
        let Self { effects, again } = self;
        let last: HashMap<&Bytes, usize> = again.iter().enumerate().map(|(at, (_, key))| (key, at)).collect();
        let mut settled = SmallVec::new();
        let mut effects = effects.into_iter().enumerate().peekable();
        for (_, (before, key)) in again.iter().enumerate().filter(|(at, (_, key))| last.get(key) == Some(at)) {
            let earlier = std::iter::from_fn(|| effects.next_if(|(place, _)| place < before));
            settled.extend(earlier.map(|(_, effect)| effect).filter(|effect| !last.contains_key(effect.key())));
            let entry = index.entry(key);
            let view = entry.next_view(revision.get());
            if let Some(known) = entry.touches.last_mut() {
                *known = touch(known.commit, revision, view);
            }
            settled.extend(effect(key, view));
        }
        settled.extend(effects.map(|(_, effect)| effect).filter(|effect| !last.contains_key(effect.key())));
        settled
    }
}

/// What a commit did to a key.
fn touch(commit: u64, revision: Revision, view: View) -> Touch {
    Touch { commit, revision: if view == View::Unchanged { 0 } else { revision.get() }, view }
}

/// The element that clients were shown until commit `number`.
fn shown_before(touches: &[Touch], number: u64) -> Option<Element> {
    match touches.iter().rev().find(|touch| touch.revision != 0 && touch.commit < number)?.view {
        View::Shown(shown) => Some(shown.at.element),
        View::Gone | View::Unchanged => None,
    }
}

/// What a range removal removes: the elements in the range that its author had seen.
fn covered(index: &Index, range: &KeyRange, context: &VersionVector) -> Vec<Cleared> {
    let covers = |element| context.covers_element(element) || Mutation::RangeRemovesUnseen.is_on();
    let entries = index.range(range).map(|(key, entry)| {
        let elements = entry.register.siblings().map(|(element, _)| element);
        Cleared { key: own_key(key), elements: elements.filter(|element| covers(*element)).collect() }
    });
    entries.filter(|found: &Cleared| !found.elements.is_empty()).collect()
}

fn effect(key: &Bytes, view: View) -> Option<Effect> {
    let key = key.clone();
    match view {
        View::Shown(Shown { at, create_revision, version }) => Some(Effect::Show { key, at, create_revision, version }),
        View::Gone => Some(Effect::Gone { key }),
        View::Unchanged => None,
    }
}

fn view(effect: &Effect) -> View {
    match *effect {
        Effect::Show { at, create_revision, version, .. } => View::Shown(Shown { at, create_revision, version }),
        Effect::Gone { .. } => View::Gone,
    }
}
