//! The join: what a transfer brings becomes state, beside what is there by now.
//!
//! Its rows are remainders, one for each record, written as they are made; readers see none of it before the base row that ends them. A staged element that
//! the frontier covers was here before, or was removed: it is left out. What goes is taken from the registers first, so that what a
//! key shows in the end is known when its row is made; only keys that lose something, or get more than one element, wait for the closing rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use smallvec::SmallVec;
use tombolo_crdt::{Element, Hlc, LeaseRef, Operation, VersionVector, mutation::Mutation};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Event, KeyValue, ReadError, Revision,
    digest::{grant_payload, payload, system_payload},
    engine::Change,
    event::LeaseChange,
    head::{Ended, Head},
    index::{Gone, Grant, Held, Index, KeyEntry, Shown, Touch, View, next_view, own_key, visible},
    row::{
        Tally,
        commit::{self, Apart, Cleared, CommitRow, Effect, Location, Part},
    },
    system::SystemValue,
    view::{Rows, Stored, read_value},
};

/// Changed keys up to which a publication is told as events.
pub(crate) const EVENTS_MAX: u64 = 1000;
/// Bytes of them.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// Keys of one closing row.
const CLOSING_KEYS: usize = 512;

/// Stands for the first closing row before its number is known.
const NOT_YET: u64 = u64::MAX;

/// What holds an element that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Key(Bytes),
    Lease(LeaseRef),
    System(Bytes),
}

impl Holder {
    /// What holds the element that an operation adds.
    pub(crate) fn of(element: Element, operation: &Operation) -> Option<Self> {
        match operation {
            Operation::Put { key, .. } => Some(Self::Key(own_key(key))),
            Operation::LeaseGrant { id, .. } => Some(Self::Lease(LeaseRef { home: element.dot.replica, id: *id })),
            Operation::SystemPut { key, .. } => Some(Self::System(own_key(key))),
            _ => None,
        }
    }
}

/// A join under way.
pub(crate) struct Join {
    /// What was applied before.
    before: VersionVector,
    /// Elements that come although they were applied before: by a repair, in the place of what is here of them or although nothing is.
    mended: HashSet<Element>,
    /// Keys, by hash, of which more than one element may come.
    crowded: HashSet<u64>,
    /// The last commit so far.
    pub(crate) number: u64,
    /// The last commit before.
    pub(crate) last_before: u64,
    /// The revision before, and the one that changes have.
    revisions: (Revision, Revision),
    /// Keys that are looked at when everything has come, with what they lose.
    deferred: BTreeMap<Bytes, Vec<Element>>,
    /// What goes that is not under a key, and leases that have lost elements. All of this is done at the end, as is what comes of the
    /// system's data: a join that is prepared beside the running state has neither there.
    gone_apart: Vec<(Element, Holder)>,
    detached: Vec<(LeaseRef, Bytes, Element)>,
    system_come: Vec<(Bytes, Element, Hlc, SystemValue)>,
    apart: Apart,
    /// Changes of keys so far.
    pub(crate) changed: u64,
    /// What is told of them; `None` when it is too much.
    events: Option<Vec<Event>>,
    event_bytes: usize,
    pub(crate) leases: Vec<LeaseChange>,
    pub(crate) system: BTreeSet<Bytes>,
    pub(crate) newest: Hlc,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) tally: Tally,
    rows: Vec<Change>,
    pub(crate) row_bytes: usize,
}

impl Join {
    pub(crate) fn new(head: &Head, next: Revision, crowded: HashSet<u64>) -> Self {
        Self {
            before: head.mesh.frontier().clone(),
            mended: HashSet::new(),
            crowded,
            number: head.commit,
            last_before: head.commit,
            revisions: (head.revision, next),
            deferred: BTreeMap::new(),
            gone_apart: Vec::new(),
            detached: Vec::new(),
            system_come: Vec::new(),
            apart: Apart::default(),
            changed: 0,
            events: Some(Vec::new()),
            event_bytes: 0,
            leases: Vec::new(),
            system: BTreeSet::new(),
            newest: Hlc::default(),
            added: 0,
            removed: 0,
            tally: Tally::default(),
            rows: Vec::new(),
            row_bytes: 0,
        }
    }

    /// The same, of more than can be told.
    pub(crate) fn untold(head: &Head, next: Revision, crowded: HashSet<u64>) -> Self {
        Self { events: None, ..Self::new(head, next, crowded) }
    }

    /// The same, that brings these elements in any case.
    pub(crate) fn mending(self, mended: HashSet<Element>) -> Self {
        Self { mended, ..self }
    }

    /// The revision after what has been done so far.
    pub(crate) fn revision(&self) -> Revision {
        if self.changed == 0 || Mutation::JoinTakesNoRevision.is_on() { self.revisions.0 } else { self.revisions.1 }
    }

    /// What watchers are told; `None` when it is too much to be told.
    pub(crate) fn take_events(&mut self) -> Option<Vec<Event>> {
        self.events.take()
    }

    /// Takes an element out of what holds it. Nothing of it is on disk before the closing rows.
    pub(crate) fn remove(&mut self, head: &mut Head, index: &mut Index, element: Element, holder: &Holder) {
        match holder {
            Holder::Key(key) => self.remove_put(head, index, element, key),
            Holder::Lease(_) | Holder::System(_) => self.gone_apart.push((element, holder.clone())),
        }
    }

    /// Does what was left for the end, in the state that is to hold all of it.
    pub(crate) fn settle_apart(&mut self, head: &mut Head, index: &mut Index) {
        for (lease, key, element) in std::mem::take(&mut self.detached) {
            index.detach(lease, &key, element);
        }
        for (element, holder) in std::mem::take(&mut self.gone_apart) {
            match holder {
                Holder::Lease(lease) => self.remove_grant(head, index, element, lease),
                Holder::System(key) => self.remove_system(head, element, &key),
                Holder::Key(_) => {}
            }
        }
        for (key, element, hlc, value) in std::mem::take(&mut self.system_come) {
            let by = value.commit;
            let replaced = head.system.update(key.clone(), |register| {
                let replaced = register.remove(element);
                register.add(element, hlc, value);
                replaced
            });
            if let Some(SystemValue { commit, value }) = replaced.map(|sibling| sibling.value) {
                head.digest.remove(element, &key, system_payload(&value));
                head.ended.push(Ended { added: commit, by });
            }
        }
    }

    /// The rows made since this was last asked.
    pub(crate) fn take_rows(&mut self) -> Vec<Change> {
        self.row_bytes = 0;
        std::mem::take(&mut self.rows)
    }

    /// Makes the closing rows show a key as it is in the end, whatever rows before them say of it.
    pub(crate) fn look_again_at(&mut self, key: Bytes) {
        self.deferred.entry(key).or_default();
    }

    fn remove_put(&mut self, head: &mut Head, index: &mut Index, element: Element, key: &Bytes) {
        let Some((entry, departed)) = index.entry_and_departed_if_present(key) else { return };
        let Some(sibling) = entry.register.remove(element) else { return };
        let share = head.digest.remove(element, key, sibling.value.payload);
        let (by, added) = (self.last_before + 1, sibling.value.commit);
        departed.note(Gone { by, added, element, share, is_system: false });
        if let Some(lease) = sibling.value.lease {
            self.detached.push((lease, own_key(key), element));
        }
        self.deferred.entry(own_key(key)).or_default().push(element);
        self.removed += 1;
    }

    fn remove_grant(&mut self, head: &mut Head, index: &mut Index, element: Element, lease: LeaseRef) {
        let ended = index.end(lease, &[element]);
        for &(element, grant) in &ended {
            let share = head.digest.remove(element, &lease.id.to_be_bytes(), grant_payload(grant.ttl_s));
            let (by, added) = (self.last_before + 1, grant.commit);
            index.departed.note(Gone { by, added, element, share, is_system: false });
            head.ended.push(Ended { added: grant.commit, by: NOT_YET });
            match self.apart.leases.iter_mut().find(|(known, _)| *known == lease) {
                Some((_, elements)) => elements.push(element),
                None => self.apart.leases.push((lease, vec![element])),
            }
            self.removed += 1;
        }
        let left = index.lease(lease);
        if left.is_some_and(|left| left.grants.is_empty()) && head.is_home(lease.home) {
            head.orphaned.insert(lease);
        }
        if !ended.is_empty() && left.is_none_or(|left| left.grants.is_empty()) && head.is_home(lease.home) {
            self.leases.push(LeaseChange::Ended { id: lease.id });
        }
    }

    fn remove_system(&mut self, head: &mut Head, element: Element, key: &Bytes) {
        let Some(gone) = head.system.update(key.clone(), |register| register.remove(element)) else { return };
        let SystemValue { commit, value } = gone.value;
        head.digest.remove(element, key, system_payload(&value));
        head.ended.push(Ended { added: commit, by: NOT_YET });
        match self.apart.system.iter_mut().find(|cleared| cleared.key == *key) {
            Some(cleared) => cleared.elements.push(element),
            None => self.apart.system.push(Cleared { key: own_key(key), elements: vec![element] }),
        }
        self.system.insert(own_key(key));
        self.removed += 1;
    }

    /// Adds what a staged record brings that was not here before, and makes its row.
    pub(crate) fn add(&mut self, head: &mut Head, index: &mut Index, part: Part, counts: impl Fn(Element) -> bool) {
        let was_here = |element: Element| self.before.covers_element(element) && !Mutation::StagedBlindly.is_on();
        let is_new = |element: Element| (!was_here(element) || self.mended.contains(&element)) && counts(element);
        let dot = part.dot();
        let wanted = part.numbered().filter(|(at, _)| is_new(dot.element(*at))).count();
        let part = match wanted {
            0 => return,
            all if all == part.record.operations.len() => part,
            _ => part.remainder(is_new),
        };
        self.number += 1;
        self.newest = self.newest.max(part.record.header.hlc);
        let mut effects = SmallVec::new();
        for (at, operation) in part.numbered() {
            self.added += 1;
            let element = dot.element(at);
            match operation {
                Operation::Put { key, value, lease, .. } => {
                    let held = Held { commit: self.number, lease: *lease, payload: payload(value, *lease) };
                    let view = self.add_put(head, index, key, (element, part.record.header.hlc, held));
                    effects.extend(
                        self.tell(key, view, |_| Ok(Stored { value: value.clone(), lease: *lease })).ok().flatten(),
                    );
                }
                Operation::LeaseGrant { id, ttl_s } => self.add_grant(head, index, element, *id, *ttl_s),
                Operation::SystemPut { key, value, .. } => {
                    let (key, value) = (own_key(key), own_key(value));
                    head.digest.add(element, &key, system_payload(&value));
                    let (hlc, value) = (part.record.header.hlc, SystemValue { commit: self.number, value });
                    self.system_come.push((key.clone(), element, hlc, value));
                    self.system.insert(key);
                }
                // A fragment holds nothing else.
                _ => {}
            }
        }
        self.write(vec![part], Vec::new(), effects, Apart::default());
    }

    fn add_put(&mut self, head: &mut Head, index: &mut Index, key: &Bytes, put: (Element, Hlc, Held)) -> View {
        let (element, hlc, held) = put;
        if self.mended.contains(&element) {
            self.replace_put(head, index, element, key);
        }
        let entry = index.entry(key);
        entry.register.add(element, hlc, held);
        head.digest.add(element, key, held.payload);
        let waits = self.crowded.contains(&xxh3_64(key)) || self.deferred.contains_key(key);
        let view = if waits { View::Unchanged } else { entry.next_view(self.revisions.1.get()) };
        if waits {
            self.deferred.entry(own_key(key)).or_default();
        }
        touch(&mut entry.touches, self.number, self.revisions.1, view);
        if let Some(lease) = held.lease
            && !index.attach(lease, key, element)
            && head.is_home(lease.home)
        {
            head.orphaned.insert(lease);
        }
        view
    }

    /// Takes out what is here of an element that comes in its place. No row says so: who replays the rows finds the later one.
    fn replace_put(&mut self, head: &mut Head, index: &mut Index, element: Element, key: &Bytes) {
        let Some((entry, departed)) = index.entry_and_departed_if_present(key) else { return };
        let Some(sibling) = entry.register.remove(element) else { return };
        let share = head.digest.remove(element, key, sibling.value.payload);
        departed.note(Gone { by: self.last_before + 1, added: sibling.value.commit, element, share, is_system: false });
        if let Some(lease) = sibling.value.lease {
            index.detach(lease, key, element);
        }
    }

    fn add_grant(&mut self, head: &mut Head, index: &mut Index, element: Element, id: i64, ttl_s: u64) {
        let lease = LeaseRef { home: element.dot.replica, id };
        for (replaced, grant) in self.mended.get(&element).map(|known| index.end(lease, &[*known])).unwrap_or_default()
        {
            let share = head.digest.remove(replaced, &id.to_be_bytes(), grant_payload(grant.ttl_s));
            index.departed.note(Gone {
                by: self.last_before + 1,
                added: grant.commit,
                element: replaced,
                share,
                is_system: false,
            });
            head.ended.push(Ended { added: grant.commit, by: self.number });
        }
        head.digest.add(element, &id.to_be_bytes(), grant_payload(ttl_s));
        index.grant(lease, element, Grant { commit: self.number, ttl_s });
        if head.is_home(lease.home) {
            self.leases.push(LeaseChange::Granted { id, ttl_s: i64::try_from(ttl_s).unwrap_or(i64::MAX) });
        }
    }

    /// Whether keys wait for closing rows.
    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Makes the rows that end it: what goes, and what the keys that waited show. There is at least one.
    pub(crate) fn close(
        &mut self,
        head: &mut Head,
        index: &mut Index,
        rows: &(impl Rows + ?Sized),
    ) -> Result<(), ReadError> {
        head.ended.iter_mut().filter(|ended| ended.by == NOT_YET).for_each(|ended| ended.by = self.number + 1);
        let mut apart = std::mem::take(&mut self.apart);
        sort(&mut apart);
        let mut deferred = std::mem::take(&mut self.deferred).into_iter().peekable();
        loop {
            self.number += 1;
            let (mut cleared, mut effects) = (Vec::new(), SmallVec::new());
            for (key, mut elements) in deferred.by_ref().take(CLOSING_KEYS) {
                let entry = index.entry(&key);
                let view = closing_view(entry, self.last_before, self.revisions.1.get());
                if view != View::Unchanged || !elements.is_empty() {
                    touch(&mut entry.touches, self.number, self.revisions.1, view);
                }
                effects.extend(self.tell(&key, view, |at| read_value(rows, at))?);
                elements.sort_unstable();
                if !elements.is_empty() {
                    cleared.push(Cleared { key, elements });
                }
            }
            self.write(Vec::new(), cleared, effects, std::mem::take(&mut apart));
            if deferred.peek().is_none() {
                return Ok(());
            }
        }
    }

    /// Makes one more row, at which nothing changes: the revision that history begins at when not everything can be told.
    pub(crate) fn begin_history(&mut self, revision: Revision) {
        self.revisions = (revision, revision);
        self.number += 1;
        self.write(Vec::new(), Vec::new(), SmallVec::new(), Apart::default());
    }

    /// The effect of a view, and its event as long as events are told.
    fn tell(
        &mut self,
        key: &Bytes,
        view: View,
        stored: impl FnOnce(Location) -> Result<Stored, ReadError>,
    ) -> Result<Option<Effect>, ReadError> {
        let key = own_key(key);
        let (effect, at) = match view {
            View::Unchanged => return Ok(None),
            View::Gone => (Effect::Gone { key: key.clone() }, None),
            View::Shown(Shown { at, create_revision, version }) => {
                (Effect::Show { key: key.clone(), at, create_revision, version }, Some((at, create_revision, version)))
            }
        };
        self.changed += 1;
        if self.changed > EVENTS_MAX || self.event_bytes > EVENT_BYTES_MAX {
            self.events = None;
        }
        let Some(events) = &mut self.events else { return Ok(Some(effect)) };
        events.push(match at {
            None => Event::Delete { key, revision: self.revisions.1 },
            Some((at, create_revision, version)) => {
                // A copy: a slice would keep the whole page.
                let Stored { value, lease } = stored(at)?;
                let (value, lease) = (own_key(&value), lease.map_or(0, |lease| lease.id));
                self.event_bytes += key.len() + value.len();
                let mod_revision = self.revisions.1.get();
                Event::Put(KeyValue { key, value, create_revision, mod_revision, version, lease })
            }
        });
        Ok(Some(effect))
    }

    fn write(&mut self, parts: Vec<Part>, cleared: Vec<Cleared>, effects: SmallVec<[Effect; 1]>, apart: Apart) {
        let first = self.changed - effects.len() as u64;
        let ordinal = |at: usize| u32::try_from(first + at as u64).unwrap_or(u32::MAX);
        let ordinals = (0..effects.len()).map(ordinal).collect();
        let row = CommitRow { revision: self.revision(), parts, cleared, effects, ordinals, apart: apart.some() };
        let row = row.with_plain_ordinals_left_out().encode(self.number);
        self.tally.add(Tally::of(&row));
        self.row_bytes += row.len();
        self.rows.push(Change::Put(commit::key(self.number), row));
    }
}

/// What clients are to see of a key from the join on, of which the rows from commit `last_before + 1` on are. Rows of it that were made before something
/// else came to the key may say otherwise: then it is said again.
fn closing_view(entry: &KeyEntry, last_before: u64, next: i64) -> View {
    let of_join = entry.touches.partition_point(|touch| touch.commit <= last_before);
    let (before, made) = entry.touches.split_at(of_join);
    let view = next_view(&entry.register, before, next);
    let is_contradicted = made.iter().any(|touch| touch.revision != 0);
    if view != View::Unchanged || !is_contradicted {
        return view;
    }
    visible(before, i64::MAX).map_or(View::Gone, |visible| View::Shown(visible.shown))
}

/// Takes note of what a commit did to a key. A record may change a key twice: it is one change.
fn touch(touches: &mut SmallVec<[Touch; 1]>, commit: u64, revision: Revision, view: View) {
    if touches.last().is_some_and(|touch| touch.commit == commit) {
        touches.pop();
    }
    let revision = if view == View::Unchanged { 0 } else { revision.get() };
    touches.push(Touch { commit, revision, view });
}

fn sort(apart: &mut Apart) {
    apart.leases.iter_mut().for_each(|(_, elements)| elements.sort_unstable());
    apart.system.iter_mut().for_each(|cleared| cleared.elements.sort_unstable());
    apart.leases.sort_unstable_by_key(|(lease, _)| *lease);
    apart.system.sort_unstable_by(|a, b| a.key.cmp(&b.key));
}
