//! What a site applies and shows is what the records say: every commit is held against a model of the replica.
//!
//! The model judges the gate (each author's records dense, causes first), merging, revisions and the events of each commit. After a
//! restart the log must begin as it was seen before.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use bytes::Bytes;
use tombolo_crdt::{DRIFT_MAX_MS, Dot, Element, Hlc, Operation, Record, ReplicaId, VersionVector};
use tombolo_storage::{Arrival, Commit, Event, KeyRange, KeyValue, Published, Revision, Slot, SystemEntry, WallTime};

use super::{Claim, Violation, records::Records};
use crate::{Expected, Model};

/// The log of one site, as it was seen from outside.
#[derive(Clone)]
pub struct Log {
    site: usize,
    own: ReplicaId,
    /// Where it begins to count under this name, and the revisions that it gave out under names that it had before, as far as they are certain.
    begins: Revision,
    counted: Vec<(Revision, Revision)>,
    model: Model,
    dots: Vec<Dot>,
    /// What clients of the site saw change, by revision.
    events: BTreeMap<i64, Vec<Event>>,
    found: u64,
    /// Removals of what had arrived after its lease had ended.
    orphans: u64,
    /// What the site was told is stable.
    stable: VersionVector,
    /// Of whom that was said.
    stable_for: BTreeSet<ReplicaId>,
    /// At which revisions joins changed keys that were prepared beside writers.
    joins: BTreeSet<i64>,
    /// The latest time that its wall clock has shown, when anybody has looked.
    wall_ms: Option<u64>,
    /// The greatest stamp that it wrote under names that it had before.
    inherited: Hlc,
}

impl Log {
    /// The empty log of a site that writes under this name and counts in a slot.
    pub fn new(site: usize, own: ReplicaId, slot: Slot) -> Self {
        Self {
            site,
            own,
            begins: slot.beginning(),
            counted: Vec::new(),
            model: Model::new(slot),
            dots: Vec::new(),
            events: BTreeMap::new(),
            found: 0,
            orphans: 0,
            stable: VersionVector::new(),
            stable_for: BTreeSet::new(),
            joins: BTreeSet::new(),
            wall_ms: None,
            inherited: Hlc::default(),
        }
    }

    /// The site's wall clock shows this.
    pub fn note_wall(&mut self, wall: WallTime) {
        self.wall_ms = self.wall_ms.max(Some(wall.0));
    }

    /// The site has published commits; `arrivals` are their records. `expiries` says which were made to end a lease that
    /// had run out, and which lease.
    ///
    /// # Errors
    ///
    /// What does not follow from the records.
    pub fn published(
        &mut self,
        records: &mut Records,
        arrivals: &[Arrival],
        commits: &[Arc<Commit>],
        expiries: &BTreeMap<u64, i64>,
    ) -> Result<(), Violation> {
        if arrivals.len() != commits.len() {
            let text = format!("{} commits were published with {} records", commits.len(), arrivals.len());
            return Err(self.violation(Claim::Merge, text));
        }
        for (arrival, commit) in arrivals.iter().zip(commits) {
            let record = records.note(self.site, &arrival.bytes)?;
            if let Some(lease) = expiries.get(&commit.number) {
                self.check_expiry(&record, *lease)?;
            }
            let expected = self.apply(&record)?;
            self.check_commit(commit, &expected)?;
        }
        Ok(())
    }

    /// The site has joined a transfer of state and shows all records up to `frontier`; `commits` is what it told of. `own` are records that
    /// it wrote in the same step: they remove what outlived its lease, before the transfer or by it. One that was prepared beside writers is told to nobody:
    /// history `begins` after it.
    ///
    /// # Errors
    ///
    /// What does not follow from the records.
    pub fn joined(
        &mut self,
        records: &mut Records,
        frontier: &VersionVector,
        own: &[Arrival],
        commits: &[Arc<Commit>],
        begins: Option<Revision>,
    ) -> Result<(), Violation> {
        let brought: VersionVector = frontier.iter().filter(|dot| dot.replica != self.own).collect();
        let earlier = self.written_before(&brought, records, own)?;
        let (before, after) = own.split_at(earlier);
        let (first, rest) = commits.split_at(earlier.min(commits.len()));
        self.published(records, before, first, &BTreeMap::new())?;
        let rest = match rest.split_first() {
            Some((transfer, rest)) if commits.len() > own.len() => {
                let mut expected = Expected { number: transfer.number, ..self.join(records, &brought, begins)? };
                self.model.renumber(transfer.number);
                if begins.is_some() {
                    expected.events.clear();
                }
                self.check_commit(transfer, &expected)?;
                rest
            }
            _ => rest,
        };
        self.published(records, after, rest, &BTreeMap::new())
    }

    /// How many of the site's records were written before it had joined what is above a frontier: those that do not know of it.
    fn written_before(
        &self,
        frontier: &VersionVector,
        records: &mut Records,
        arrivals: &[Arrival],
    ) -> Result<usize, Violation> {
        arrivals.iter().try_for_each(|arrival| records.note(self.site, &arrival.bytes).map(drop))?;
        let knows = |context: &VersionVector| context.includes(frontier);
        let later = arrivals.iter().position(|arrival| records.context(arrival.dot).is_some_and(knows));
        Ok(later.unwrap_or(arrivals.len()))
    }

    /// Applies all records up to a frontier as one commit, causes first.
    fn join(
        &mut self,
        records: &Records,
        frontier: &VersionVector,
        begins: Option<Revision>,
    ) -> Result<Expected, Violation> {
        let missing = records.between(self.model.frontier(), frontier);
        if let Some(dot) = missing.iter().map(|record| record.header.dot).find(|dot| dot.replica == self.own) {
            let text = format!("a transfer brought {dot}, which is the site's own");
            return Err(self.violation(Claim::Identity, text));
        }
        let expected = self.model.join(&missing, begins).map_err(|text| self.violation(Claim::Merge, text))?;
        self.dots.extend(missing.iter().map(|record| record.header.dot));
        self.joins.extend(begins.map(|begins| begins.get() - 1));
        if !expected.events.is_empty() {
            let revision = begins.map_or(expected.revision.get(), |begins| begins.get() - 1);
            self.events.insert(revision, expected.events.clone());
        }
        Ok(expected)
    }

    /// The site was opened again; `arrivals` is its log from `floor` on. A join that nobody was shown may have been prepared, so that history
    /// `begins` after it.
    ///
    /// # Errors
    ///
    /// It does not begin with what was published before.
    pub fn reopened(
        &mut self,
        records: &mut Records,
        arrivals: &[Arrival],
        floor: &VersionVector,
        begins: Option<Revision>,
    ) -> Result<bool, Violation> {
        let was_joined = !self.model.frontier().includes(floor);
        let known: Vec<Dot> = self.dots.iter().filter(|dot| !floor.covers(**dot)).copied().collect();
        for (nth, dot) in known.iter().enumerate() {
            if arrivals.get(nth).map(|arrival| arrival.dot) != Some(*dot) {
                let found = arrivals.get(nth).map_or_else(|| "nothing".to_owned(), |arrival| arrival.dot.to_string());
                let text = format!("{dot} was applied before the restart; now {found} is in its place");
                return Err(self.violation(Claim::Durability, text));
            }
        }
        let (seen, found) = arrivals.split_at(known.len());
        seen.iter().try_for_each(|arrival| records.note(self.site, &arrival.bytes).map(drop))?;
        // What was on disk and not yet published is shown now, and so is a transfer that was joined and that nobody was shown any more.
        let earlier = if was_joined { self.written_before(floor, records, found)? } else { found.len() };
        let (before, after) = found.split_at(earlier);
        self.find(records, before)?;
        if was_joined {
            self.join(records, floor, begins)?;
        }
        self.find(records, after)?;
        Ok(was_joined)
    }

    /// Applies what a restart has found.
    fn find(&mut self, records: &mut Records, arrivals: &[Arrival]) -> Result<(), Violation> {
        self.found += arrivals.len() as u64;
        arrivals.iter().try_for_each(|arrival| {
            let record = records.note(self.site, &arrival.bytes)?;
            self.apply(&record).map(drop)
        })
    }

    /// The commit that a restart finds last: a transfer takes as many numbers as it needs.
    pub fn renumber(&mut self, number: u64) {
        self.model.renumber(number);
    }

    /// Holds what readers are shown against the model.
    ///
    /// # Errors
    ///
    /// A difference.
    pub fn check_published(&self, published: Published, frontier: &VersionVector) -> Result<(), Violation> {
        let expected = (self.model.commits(), self.model.revision());
        if (published.commit, published.revision) != expected {
            let text = format!("published is {published:?}, the records make it {expected:?}");
            return Err(self.violation(Claim::Merge, text));
        }
        if frontier != self.model.frontier() {
            let text = format!("the frontier is {frontier:?}, the records make it {:?}", self.model.frontier());
            return Err(self.violation(Claim::Merge, text));
        }
        Ok(())
    }

    /// Holds a read of everything against the model.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn check_content(&self, pairs: &[KeyValue]) -> Result<(), Violation> {
        let expected: Vec<&KeyValue> = self.model.pairs().collect();
        let differs = pairs.iter().zip(&expected).find(|(pair, expected)| !self.is_shown(pair, expected));
        match differs {
            Some((pair, expected)) => {
                Err(self.violation(Claim::Merge, format!("{pair:?} is read where the records make it {expected:?}")))
            }
            None if pairs.len() != expected.len() => {
                let text = format!("{} pairs are read where the records make it {}", pairs.len(), expected.len());
                Err(self.violation(Claim::Merge, text))
            }
            None => Ok(()),
        }
    }

    /// Whether a pair is what the records make it. A key that was written while a join was prepared, of which that had made another row
    /// already, is shown as it is once more, at the join's revision.
    fn is_shown(&self, pair: &KeyValue, expected: &KeyValue) -> bool {
        let is_said_again = pair.mod_revision > expected.mod_revision && self.joins.contains(&pair.mod_revision);
        let mod_revision = if is_said_again { pair.mod_revision } else { expected.mod_revision };
        *pair == KeyValue { mod_revision, ..expected.clone() }
    }

    /// Holds a read of everything at a revision of the past against what was told of since.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn check_past(&self, revision: i64, pairs: &[KeyValue]) -> Result<(), Violation> {
        let mut shown: BTreeMap<&[u8], &KeyValue> = BTreeMap::new();
        for event in self.events.range(..=revision).flat_map(|(_, events)| events) {
            match event {
                Event::Put(pair) => shown.insert(&pair.key, pair),
                Event::Delete { key, .. } => shown.remove(key.as_ref()),
            };
        }
        if shown.len() == pairs.len()
            && pairs.iter().zip(shown.into_values()).all(|(pair, own)| self.is_shown(pair, own))
        {
            return Ok(());
        }
        Err(self.violation(Claim::Merge, format!("at revision {revision} is read {pairs:?}")))
    }

    /// Holds the system's data against the model.
    ///
    /// # Errors
    ///
    /// A difference.
    pub fn check_system(&self, system: &[SystemEntry]) -> Result<(), Violation> {
        let values = |entry: &SystemEntry| entry.siblings.iter().map(|sibling| sibling.value.clone()).collect();
        let found: BTreeMap<Bytes, Vec<Bytes>> =
            system.iter().map(|entry| (entry.key.clone(), values(entry))).collect();
        let expected = self.model.system();
        if found != expected {
            let text = format!("the system's data are {found:?}, the records make them {expected:?}");
            return Err(self.violation(Claim::Merge, text));
        }
        Ok(())
    }

    /// What the records in a cut make of the site's keys: a model of a replica that has applied these alone.
    pub fn at(&self, records: &Records, cut: &VersionVector) -> Option<Model> {
        let mut model = Model::new(Slot::FIRST);
        for dot in self.dots.iter().filter(|dot| cut.covers(**dot)) {
            model.apply(&records.get(*dot)?).ok()?;
        }
        Some(model)
    }

    /// Commits that were found at a restart and had not been shown before.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Removals of what had arrived after its lease had ended.
    pub fn orphans(&self) -> u64 {
        self.orphans
    }

    /// The first revision above `seen` with events in a range, and those events, ascending by key.
    pub fn next_match(&self, seen: i64, range: &KeyRange) -> Option<(i64, Vec<Event>)> {
        self.events.range((Excluded(seen), Unbounded)).find_map(|(revision, events)| {
            let matching: Vec<Event> = events.iter().filter(|event| range.contains(event.key())).cloned().collect();
            (!matching.is_empty()).then_some((*revision, matching))
        })
    }

    /// The site goes on under another name, and counts on from this revision.
    pub fn renamed(&mut self, own: ReplicaId, begins: Revision) {
        self.inherited = self.inherited.max(self.model.last_stamp_of(self.own));
        self.counted.push((self.begins, self.model.revision()));
        (self.own, self.begins) = (own, begins);
        self.model.count_from(begins);
    }

    /// Whether a revision is one that the site has given out, or will.
    pub fn counts(&self, number: i64) -> bool {
        let before = |(first, last): &(Revision, Revision)| (first.get()..=last.get()).contains(&number);
        let is_own = |revision: Revision| revision.slot() == self.begins.slot() && revision >= self.begins;
        self.counted.iter().any(before) || Revision::new(number).is_some_and(is_own)
    }

    /// A revision at which something changed, not below `oldest`, if there is one; `nth` of them says which.
    pub fn revision_from(&self, oldest: i64, nth: usize) -> Option<i64> {
        let all: Vec<i64> = self.events.range(oldest..).map(|(revision, _)| *revision).collect();
        (!all.is_empty()).then(|| all[nth % all.len()])
    }

    /// The site counts this as stable for these members: none of their later records are written without it. Who takes a new name may have lost
    /// something and writes without it until it comes back; nothing is stable then before it is heard of under that name.
    ///
    /// # Errors
    ///
    /// The site itself has not applied it.
    pub fn note_stable(&mut self, members: &BTreeSet<ReplicaId>, stable: &VersionVector) -> Result<(), Violation> {
        if *members != self.stable_for {
            (self.stable, self.stable_for) = (VersionVector::new(), members.clone());
        }
        let frontier = self.model.frontier();
        if let Some(missed) = stable.iter().find(|dot| !frontier.covers(*dot)) {
            let text = format!("{missed} counts as stable, and is not applied at {frontier:?}");
            return Err(self.violation(Claim::Stability, text));
        }
        self.stable.join(stable);
        Ok(())
    }

    /// The model of the site.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn apply(&mut self, record: &Record) -> Result<Expected, Violation> {
        self.check_intent(record)?;
        self.check_clock(record)?;
        let expected = self.model.apply(record).map_err(|text| self.violation(Claim::Merge, text))?;
        let dot = record.header.dot;
        self.dots.push(dot);
        let known = self.model.known_to(dot.replica);
        let is_bound = self.stable_for.contains(&dot.replica);
        if let Some(missed) = self.stable.iter().find(|stable| is_bound && !known.covers(*stable)) {
            let text = format!("{missed} counted as stable, and {dot}, which came later, was written without it");
            return Err(self.violation(Claim::Stability, text));
        }
        if !expected.events.is_empty() {
            self.events.insert(expected.revision.get(), expected.events.clone());
        }
        Ok(expected)
    }

    fn check_commit(&self, commit: &Commit, expected: &Expected) -> Result<(), Violation> {
        if (commit.number, commit.revision) != (expected.number, expected.revision) {
            let text = format!(
                "commit {} at revision {} should be {} at {}",
                commit.number, commit.revision, expected.number, expected.revision
            );
            return Err(self.violation(Claim::Revisions, text));
        }
        let mut events = commit.events.clone();
        events.sort_by(|left, right| left.key().cmp(right.key()));
        if events != expected.events {
            let text =
                format!("commit {} tells of {events:?}; its record makes it {:?}", commit.number, expected.events);
            return Err(self.violation(Claim::Merge, text));
        }
        let mut system = commit.system.clone();
        system.sort_unstable();
        if system != expected.system {
            let text = format!("commit {} changes the system's {system:?}, not {:?}", commit.number, expected.system);
            return Err(self.violation(Claim::Merge, text));
        }
        Ok(())
    }

    /// A client's write replaces every sibling that its replica holds, seen by the client or not; so does a removal, unless it is a
    /// lease's, which takes what is attached to leases.
    fn check_intent(&mut self, record: &Record) -> Result<(), Violation> {
        let dot = record.header.dot;
        for operation in record.operations.iter().filter(|_| dot.replica == self.own) {
            let (key, named, held, is_removal) = match operation {
                Operation::Put { key, supersedes, .. } => (key, supersedes, self.model.elements(key), false),
                Operation::Remove { key, elements } => (key, elements, self.model.elements(key), true),
                Operation::SystemPut { key, supersedes, .. } => {
                    (key, supersedes, self.model.system_elements(key), false)
                }
                Operation::SystemRemove { key, elements } => (key, elements, self.model.system_elements(key), false),
                _ => continue,
            };
            let is_leased = |element: &Element| self.model.lease_of(key, *element).is_some_and(|lease| lease != 0);
            if *named != held && !(is_removal && named.iter().all(is_leased)) {
                let text = format!("{dot} replaces {named:?} of {key:?}, and the site held {held:?}");
                return Err(self.violation(Claim::Merge, text));
            }
            let lease_of = |element: &Element| self.model.lease_of(key, *element);
            let is_orphan =
                |element: &Element| lease_of(element).is_some_and(|id| id != 0 && !self.model.holds_lease(id));
            self.orphans += u64::from(is_removal && named.iter().all(is_orphan));
        }
        Ok(())
    }

    /// A stamp is at most a minute ahead of the clock on the wall, whatever stamps others sent: unless it must be, to be above
    /// those of what it replaces and of what the site wrote before, under whatever name.
    fn check_clock(&self, record: &Record) -> Result<(), Violation> {
        let (dot, stamp) = (record.header.dot, record.header.hlc);
        let Some(wall_ms) = self.wall_ms else { return Ok(()) };
        let least = self.model.least_stamp(record).max(self.inherited);
        let bound = wall_ms.saturating_add(DRIFT_MAX_MS).max(least.millis()) + 1;
        if dot.replica != self.own || stamp.millis() <= bound {
            return Ok(());
        }
        let text = format!("{dot} has the stamp {stamp:?}, and nothing asks for more than {bound} ms");
        Err(self.violation(Claim::Clocks, text))
    }

    /// An expiry removes what is attached to its lease, and nothing else.
    fn check_expiry(&self, record: &Record, lease: i64) -> Result<(), Violation> {
        for operation in &record.operations {
            match operation {
                Operation::LeaseEnd { .. } => {}
                Operation::Remove { key, elements } => {
                    let mut leases = elements.iter().map(|element| self.model.lease_of(key, *element));
                    if let Some(found) = leases.find(|found| *found != Some(lease)) {
                        let text = format!("the end of lease {lease} took {key:?}, written under {found:?}");
                        return Err(self.violation(Claim::Leases, text));
                    }
                }
                other => {
                    let text = format!("the end of lease {lease} did {other:?}");
                    return Err(self.violation(Claim::Leases, text));
                }
            }
        }
        Ok(())
    }

    fn violation(&self, claim: Claim, text: impl Into<String>) -> Violation {
        Violation::at(self.site, claim, text)
    }
}

#[cfg(test)]
mod tests;
