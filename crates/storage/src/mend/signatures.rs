//! Rows of signed heads that have rotted: joined with later ones, or written again with what the author or a peer gives.
//!
//! Such a row says how far each author had signed, so that what it covered can be proven to whoever lacks it. Nothing in it is unique: a later head
//! of an author proves all of its records before, so that a stretch of the log which is told as one and ends where everybody in it has signed
//! is as good as the batches that it was made of. And the newest head of an author is held by others, and by the author, who signs again. What can be
//! neither joined nor given stays rotten: it is offered to nobody, and named.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead};

use crate::{
    CommitError, Committer, ReadError, Store,
    engine::{Change, Persist, Snapshot},
    folder::Owner,
    heads::NewestHeads,
    row::{
        Kind,
        commit::{self, CommitRow, Layer},
        heads::{self as row, HeadsRow},
    },
    rows::NumberedRows,
    store::{Floor, State},
};

/// Commits of a stretch that is told as one, at most.
const STRETCH_COMMITS_MAX: u64 = 2_048;
/// Bytes of its rows. Who is told it can acknowledge nothing before its end: it has to fit into a session's window.
const STRETCH_BYTES_MAX: usize = 1 << 20;

impl Store {
    /// The records whose authors' heads at them are needed to mend rotten rows of signatures, ascending: whoever has such a head, or is the author, can
    /// give it. None where there is no such row, or all can be mended with what is here.
    ///
    /// # Errors
    ///
    /// A damaged commit row, which has to be mended first.
    pub fn wanted_heads(&self) -> Result<Vec<Dot>, ReadError> {
        let rotten = self.rotten_signatures();
        if rotten.is_empty() {
            return Ok(Vec::new());
        }
        let plan = Plan::make(self, &rotten.into_iter().collect(), &[])?;
        Ok(plan.wanted.into_iter().collect())
    }
}

impl Committer {
    /// Mends rotten rows of signatures with what is here and what was given. Whether the signatures are their authors' is for the caller to judge;
    /// a head of another record than is here is passed over. Returns how many rows were rotten and are not any more.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn mend_signatures(&mut self, given: &[SignedHead]) -> Result<u64, CommitError> {
        let rotten: BTreeSet<u64> = self.shared.rotten_signatures();
        if rotten.is_empty() {
            return Ok(0);
        }
        self.check_health()?;
        let store = Store::from_shared(self.shared.clone());
        let Plan { changes, newest, removed, settled, .. } = Plan::make(&store, &rotten, given)?;
        if settled.is_empty() {
            return Ok(0);
        }
        if !changes.is_empty() {
            self.write(changes, Persist::Disk)?;
        }
        let swept = self.compaction.swept();
        self.compaction.linger(&removed, newest.values().map(|(number, _)| *number).filter(|number| *number <= swept));
        self.shared.state.write().heads.extend(newest);
        self.shared.forget_signatures(&settled);
        Ok(settled.len() as u64)
    }

    /// The same with what is here alone, when something has changed since it was tried.
    pub(crate) fn join_signatures(&mut self) -> Result<(), CommitError> {
        let rotten = self.shared.rotten_signatures();
        let now = (self.shared.state.read().published.commit, rotten);
        if now == self.tried_signatures {
            return Ok(());
        }
        self.tried_signatures = now;
        match self.mend_signatures(&[]) {
            // A commit row has to be mended first.
            Err(CommitError::Read(ReadError::Rot { .. })) | Ok(_) => Ok(()),
            Err(why) => Err(why),
        }
    }
}

/// What is to be done about rotten rows of signatures.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// Heads that are in another row than before.
    newest: NewestHeads,
    /// Rows that go.
    removed: BTreeSet<u64>,
    /// The rotten rows that are none any more.
    settled: BTreeSet<u64>,
    /// The heads that are lacking.
    wanted: BTreeSet<Dot>,
}

/// One moment of a store.
struct Moment<'a> {
    snapshot: Box<dyn Snapshot>,
    owner: &'a Owner,
    last: u64,
    floor: Floor,
    /// The heads that are known, by what they sign: of several of an author any may be needed.
    heads: BTreeMap<Dot, SignedHead>,
}

impl Plan {
    fn make(store: &Store, rotten: &BTreeSet<u64>, given: &[SignedHead]) -> Result<Self, ReadError> {
        let shared = store.shared();
        let state = shared.state.read();
        let moment = Moment {
            snapshot: shared.engine.snapshot(),
            owner: &shared.owner,
            last: state.published.commit,
            floor: state.floor.clone(),
            heads: {
                let given = given.iter().filter(|head| state.frontier.covers(head.dot));
                state.heads.values().map(|(_, head)| head).chain(given).map(|head| (head.dot, *head)).collect()
            },
        };
        let mut plan = Self::default();
        let (rotten, sound): (BTreeSet<u64>, BTreeSet<u64>) =
            rotten.iter().partition(|number| moment.is_rotten(**number));
        plan.settled.extend(sound);
        let (below, above): (BTreeSet<u64>, BTreeSet<u64>) =
            rotten.iter().partition(|number| **number <= moment.floor.commit);
        let ends = if below.is_empty() { BTreeMap::new() } else { moment.unsigned(&state) };
        drop(state);
        for number in above {
            if !plan.settled.contains(&number) && !plan.removed.contains(&number) {
                plan.stretch(&moment, number, &rotten)?;
            }
        }
        plan.lingering(&moment, &below, &ends);
        Ok(plan)
    }

    /// Mends the row of a batch that peers may lack.
    fn stretch(&mut self, moment: &Moment<'_>, number: u64, rotten: &BTreeSet<u64>) -> Result<(), ReadError> {
        let Some(first) = moment.first_of(number)? else {
            // Where nothing came from a peer there was no such row: the engine cannot say so.
            self.removed.insert(number);
            self.settled.insert(number);
            self.changes.push(Change::Remove(row::key(number)));
            return Ok(());
        };
        let mut ends = BTreeMap::new();
        let mut within = BTreeSet::from([number]);
        let mut bytes = moment.take_ends(&mut ends, first, number)?;
        let (mut heads, mut end, mut lacking) = (moment.heads.clone(), number, moment.lacking(&ends, &moment.heads));
        let limit = moment.last.min(first.saturating_add(STRETCH_COMMITS_MAX));
        let mut next = NumberedRows::of(Kind::Heads, &*moment.snapshot, number + 1, limit);
        let wanted = lacking.clone();
        while !lacking.is_empty() {
            let Some(found) = next.next().filter(|_| bytes <= STRETCH_BYTES_MAX) else {
                self.wanted.extend(wanted);
                return Ok(());
            };
            let (at, stored) = found?;
            bytes += moment.take_ends(&mut ends, end + 1, at)?;
            let read = stored.and_then(|stored| HeadsRow::decode(&stored, at));
            heads.extend(read.into_iter().flat_map(|read| read.heads).map(|head| (head.dot, head)));
            within.insert(at);
            (end, lacking) = (at, moment.lacking(&ends, &heads));
        }
        let signed: Vec<SignedHead> = ends.values().filter_map(|(dot, _)| heads.get(dot)).copied().collect();
        self.newest.extend(signed.iter().map(|head| (head.dot.replica, (end, *head))));
        self.newest.retain(|author, (_, head)| moment.is_newest(*author, head));
        within.remove(&end);
        self.settled.extend(within.iter().filter(|number| rotten.contains(number)).copied().chain([number]));
        self.settled.extend(rotten.contains(&end).then_some(end));
        self.changes.extend(within.iter().map(|number| Change::Remove(row::key(*number))));
        self.changes.push(Change::Put(row::key(end), HeadsRow { first, heads: signed }.encode(end)));
        self.removed.extend(within);
        Ok(())
    }

    /// Mends rows below the log's floor, which are kept for the newest heads in them: `ends` are the records at which a head is needed that no sound
    /// row has.
    fn lingering(&mut self, moment: &Moment<'_>, below: &BTreeSet<u64>, ends: &BTreeMap<ReplicaId, (Dot, Chain)>) {
        let Some(&kept) = below.last() else { return };
        let lacking = moment.lacking(ends, &moment.heads);
        if !lacking.is_empty() {
            self.wanted.extend(lacking);
            return;
        }
        let heads: Vec<SignedHead> = ends.values().filter_map(|(dot, _)| moment.heads.get(dot)).copied().collect();
        self.settled.extend(below);
        self.removed.extend(below);
        self.changes.extend(
            below
                .iter()
                .filter(|number| **number != kept || heads.is_empty())
                .map(|number| Change::Remove(row::key(*number))),
        );
        if !heads.is_empty() {
            self.newest.extend(heads.iter().map(|head| (head.dot.replica, (kept, *head))));
            self.changes.push(Change::Put(row::key(kept), HeadsRow { first: kept, heads }.encode(kept)));
        }
    }
}

impl Moment<'_> {
    /// Whether nobody else signs for an author: it is this replica, was, or is of a mesh that was left behind.
    fn is_ours(&self, author: ReplicaId) -> bool {
        author == self.owner.identity.replica || self.owner.numbers.lineage.inherits_from(author)
    }

    fn is_rotten(&self, number: u64) -> bool {
        match self.snapshot.get(&row::key(number)) {
            Ok(stored) => stored.is_some_and(|stored| HeadsRow::decode(&stored, number).is_none()),
            Err(why) => why.is_damage(),
        }
    }

    /// The first commit of the batch that ends with this one, or of a longer stretch of what came from peers; `None` if this one did not.
    fn first_of(&self, number: u64) -> Result<Option<u64>, ReadError> {
        let before = self.sound_before(number)?;
        let mut first = None;
        for at in (before + 1..=number).rev() {
            if !self.came_from_peers(at)? {
                break;
            }
            first = Some(at);
        }
        Ok(first)
    }

    /// The number of the last sound row before this one, or where the log begins.
    fn sound_before(&self, number: u64) -> Result<u64, ReadError> {
        let mut below = number;
        loop {
            match self.snapshot.last(&row::key(self.floor.commit + 1), &row::key(below)) {
                Ok(Some((key, stored))) => {
                    below = Kind::Heads.number(&key).unwrap_or_default();
                    if HeadsRow::decode(&stored, below).is_some() {
                        return Ok(below);
                    }
                }
                // Where that cannot be told the stretch ends with our own commits.
                Ok(None) => return Ok(self.floor.commit),
                Err(why) if why.is_damage() => return Ok(self.floor.commit),
                Err(why) => return Err(why.into()),
            }
        }
    }

    fn came_from_peers(&self, commit: u64) -> Result<bool, ReadError> {
        let Some(row) = self.row(commit)? else { return Ok(false) };
        let mut parts = row.parts.iter().filter(|part| part.layer == Layer::Mesh && part.indices.is_none());
        Ok(parts.any(|part| !self.is_ours(part.dot().replica)))
    }

    fn row(&self, commit: u64) -> Result<Option<CommitRow>, ReadError> {
        let stored = self.snapshot.get(&commit::key(commit)).map_err(|why| ReadError::at(commit, why))?;
        stored.map(|stored| CommitRow::decode(&stored, commit)).transpose()
    }

    /// Notes the last record of each author in a stretch. Returns the bytes of its rows.
    fn take_ends(
        &self,
        ends: &mut BTreeMap<ReplicaId, (Dot, Chain)>,
        first: u64,
        last: u64,
    ) -> Result<usize, ReadError> {
        let mut bytes = 0;
        for row in NumberedRows::commits(&*self.snapshot, first, last).readable() {
            let (number, stored) = row?;
            bytes += stored.len();
            for part in CommitRow::decode(&stored, number)?.parts {
                if part.layer == Layer::Mesh && part.indices.is_none() && !self.is_ours(part.dot().replica) {
                    ends.insert(part.dot().replica, (part.dot(), part.record.header.chain));
                }
            }
        }
        Ok(bytes)
    }

    /// The ends at which there is no head.
    fn lacking(&self, ends: &BTreeMap<ReplicaId, (Dot, Chain)>, heads: &BTreeMap<Dot, SignedHead>) -> BTreeSet<Dot> {
        let is_signed = |(dot, chain): &(Dot, Chain)| heads.get(dot).is_some_and(|head| head.chain == *chain);
        ends.values().filter(|end| !is_signed(end)).map(|(dot, _)| *dot).collect()
    }

    /// The authors whose newest head lies in no sound row, and where their streams end.
    fn unsigned(&self, state: &State) -> BTreeMap<ReplicaId, (Dot, Chain)> {
        let mut sound = BTreeSet::new();
        let rows = NumberedRows::of(Kind::Heads, &*self.snapshot, 0, self.last);
        for (number, stored) in rows.filter_map(Result::ok) {
            let read = stored.and_then(|stored| HeadsRow::decode(&stored, number));
            sound.extend(read.into_iter().flat_map(|read| read.heads).map(|head| head.dot));
        }
        let ends = state.frontier.iter().filter(|dot| !self.is_ours(dot.replica) && !sound.contains(dot));
        ends.filter_map(|dot| Some((dot.replica, (dot, state.streams.get(&dot.replica)?.chain)))).collect()
    }

    /// Whether no newer head of an author is known.
    fn is_newest(&self, author: ReplicaId, head: &SignedHead) -> bool {
        let mut known = self.heads.keys().filter(|dot| dot.replica == author);
        known.all(|dot| dot.seq <= head.dot.seq)
    }
}
