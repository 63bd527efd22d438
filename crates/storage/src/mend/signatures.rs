//! Rows of signed heads that have rotted: joined with later ones, or written again with what the author or a peer gives.
//!
//! Such a row says how far each author had signed, so that what it covered can be proven to whoever lacks it. Nothing in it is unique: a later head
//! of an author proves all of its records before, so that a stretch of the log which is told as one and ends where everybody in it has signed
//! is as good as the batches that it was made of. And the newest head of an author is held by others, and by the author, who signs again. What can be
//! neither joined nor given stays rotten: it is offered to nobody, and named.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead};

use crate::{
    CommitError, Committer, ReadError, Store, WallTime,
    engine::{Change, Persist, Snapshot},
    folder::Owner,
    heads::NewestHeads,
    row::{
        Kind,
        commit::{CommitRow, Layer, Part},
        heads::{self as row, HeadsRow},
    },
    rows::NumberedRows,
    store::{Floor, State},
};

/// Commits of a stretch that is told as one, at most.
const STRETCH_COMMITS_MAX: u64 = 2_048;
/// Milliseconds between two attempts with nothing but what is here, at first.
const WAIT_MS: u64 = 1_000;
/// The most between two of them.
const WAIT_MS_MAX: u64 = 64_000;
/// Commits before a rotten row among which its batch begins: no batch is larger.
const BATCH_COMMITS_MAX: u64 = 1 << 16;
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
        let rotten = self.shared.rotten_signatures();
        if rotten.is_empty() { Ok(0) } else { Ok(self.mend_these(&rotten, given)?.0) }
    }

    /// The same, and which heads are lacking.
    fn mend_these(
        &mut self,
        rotten: &BTreeSet<u64>,
        given: &[SignedHead],
    ) -> Result<(u64, BTreeSet<Dot>), CommitError> {
        self.check_health()?;
        let store = Store::from_shared(self.shared.clone());
        let Plan { changes, newest, removed, settled, wanted } = Plan::make(&store, rotten, given)?;
        if settled.is_empty() {
            return Ok((0, wanted));
        }
        if !changes.is_empty() {
            self.write(changes, Persist::Disk)?;
        }
        let swept = self.compaction.swept();
        self.compaction.linger(&removed, newest.values().map(|(number, _)| *number).filter(|number| *number <= swept));
        self.shared.state.write().heads.extend(newest);
        self.shared.forget_signatures(&settled);
        Ok((settled.len() as u64, wanted))
    }

    /// Mends them with what is here alone, when something may have changed since it was tried: it reads much, and writers wait.
    pub(crate) fn join_signatures(&mut self) -> Result<(), CommitError> {
        let rotten = self.shared.rotten_signatures();
        if rotten.is_empty() {
            self.tried_signatures = Tried::default();
            return Ok(());
        }
        let rows = self.shared.known_rotten();
        let is_same = self.tried_signatures.rotten == rotten && self.tried_signatures.rows == rows;
        let commit = {
            let state = self.shared.state.read();
            if is_same && !self.tried_signatures.is_due(self.wall, &state) {
                return Ok(());
            }
            state.published.commit
        };
        let (_, lacking) = self.mend_these(&rotten, &[])?;
        let wait_ms = if is_same { (self.tried_signatures.wait_ms * 2).min(WAIT_MS_MAX) } else { WAIT_MS };
        let rotten = self.shared.rotten_signatures();
        self.tried_signatures = Tried { rotten, rows, commit, lacking, at: self.wall.0, wait_ms };
        Ok(())
    }
}

/// The last attempt at mending signatures with what is here.
#[derive(Default)]
pub(crate) struct Tried {
    /// What was rotten after it.
    rotten: BTreeSet<u64>,
    /// The commit rows that were.
    rows: BTreeSet<u64>,
    /// The last commit.
    commit: u64,
    /// The heads that it lacked.
    lacking: BTreeSet<Dot>,
    /// When it was, in milliseconds.
    at: u64,
    /// How long to wait for the next one.
    wait_ms: u64,
}

impl Tried {
    /// Whether it is time for another one, or an author that was lacking has signed anew, near enough to be joined.
    fn is_due(&self, wall: WallTime, state: &State) -> bool {
        let limit = self.rotten.last().map_or(0, |last| last.saturating_add(STRETCH_COMMITS_MAX));
        let is_new = |dot: &Dot| {
            state.heads.get(&dot.replica).is_some_and(|(number, _)| *number > self.commit && *number <= limit)
        };
        wall.0.abs_diff(self.at) >= self.wait_ms || self.lacking.iter().any(is_new)
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
    /// Where the streams of others end.
    ends: BTreeMap<ReplicaId, (Dot, Chain)>,
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
            ends: {
                let ends = state.frontier.iter().filter_map(|dot| Some((dot, state.streams.get(&dot.replica)?.chain)));
                ends.map(|(dot, chain)| (dot.replica, (dot, chain))).collect()
            },
        };
        drop(state);
        let mut plan = Self::default();
        let (rotten, sound): (BTreeSet<u64>, BTreeSet<u64>) =
            rotten.iter().partition(|number| moment.is_rotten(**number));
        plan.settled.extend(sound);
        // What is joined from a transfer has signatures for what is in no log here: they stand for themselves, as those of what was compacted do.
        let (alone, told): (BTreeSet<u64>, BTreeSet<u64>) =
            rotten.iter().partition(|number| **number <= moment.floor.commit || moment.is_received(**number));
        for number in told {
            if plan.settled.contains(&number) {
                continue;
            }
            match plan.stretch(&moment, number, &rotten) {
                // A commit row has to be mended first.
                Err(ReadError::Rot { .. }) => {}
                outcome => outcome?,
            }
        }
        plan.alone(&moment, &alone);
        Ok(plan)
    }

    /// Mends the row of a batch that peers may lack.
    fn stretch(&mut self, moment: &Moment<'_>, number: u64, rotten: &BTreeSet<u64>) -> Result<(), ReadError> {
        let Some(first) = moment.first_of(number)? else {
            // Where nothing came from a peer nobody else signs: there was no such row, and the engine cannot say so, or none is needed.
            self.removed.insert(number);
            self.settled.insert(number);
            self.changes.push(Change::Remove(row::key(number)));
            return Ok(());
        };
        let mut ends = BTreeMap::new();
        let mut within = BTreeSet::from([number]);
        let mut bytes = moment.take_ends(&mut ends, first, number)?;
        let (mut heads, mut end, mut lacking) = (moment.heads.clone(), number, moment.lacking(&ends, &moment.heads));
        let limit = moment.dense_up_to(number).min(first.saturating_add(STRETCH_COMMITS_MAX));
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

    /// Mends rows that are kept for the newest heads in them and for nothing else.
    fn alone(&mut self, moment: &Moment<'_>, rotten: &BTreeSet<u64>) {
        let Some(&kept) = rotten.last() else { return };
        let ends = moment.unsigned();
        let lacking = moment.lacking(&ends, &moment.heads);
        if !lacking.is_empty() {
            self.wanted.extend(lacking);
            return;
        }
        let heads: Vec<SignedHead> = ends.values().filter_map(|(dot, _)| moment.heads.get(dot)).copied().collect();
        self.settled.extend(rotten);
        self.removed.extend(rotten);
        self.changes.extend(
            rotten
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

    /// Whether a commit is of a transfer that was joined.
    fn is_received(&self, commit: u64) -> bool {
        self.floor.received.iter().any(|(first, last)| (*first..=*last).contains(&commit))
    }

    /// The last commit after this one before anything is missing, or came by a transfer: before that are the only gaps.
    fn dense_up_to(&self, commit: u64) -> u64 {
        let next = self.floor.received.iter().map(|(first, _)| first - 1).filter(|before| *before >= commit);
        next.min().map_or(self.last, |before| before.min(self.last))
    }

    /// The first commit that came from a peer of those for which this row was: earlier ones have a row of their own. `None` if none did. Between two
    /// of them our own may lie, and the last may be what we wrote under an earlier name.
    fn first_of(&self, number: u64) -> Result<Option<u64>, ReadError> {
        if self.floor.gaps.past(number) != number {
            return Ok(None);
        }
        for row in self.commits(self.row_before(number)? + 1, number) {
            let (at, _, row) = row?;
            if row.parts.iter().any(|part| self.is_signed_for(part)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The last row there is before this one, sound or not, or where a batch that ends with it cannot reach back to.
    fn row_before(&self, number: u64) -> Result<u64, ReadError> {
        let received = self.floor.received.iter().map(|(_, last)| *last).filter(|last| *last < number);
        let mut before =
            received.max().unwrap_or(0).max(self.floor.commit).max(number.saturating_sub(BATCH_COMMITS_MAX));
        for row in NumberedRows::of(Kind::Heads, &*self.snapshot, before + 1, number - 1) {
            let (at, stored) = row?;
            // Where the disk cannot be read there may have been none.
            before = if stored.is_some() { at } else { before };
        }
        Ok(before)
    }

    /// The commits of a stretch without gaps, with the bytes of their rows.
    fn commits(&self, first: u64, last: u64) -> impl Iterator<Item = Result<(u64, usize, CommitRow), ReadError>> + '_ {
        let mut rows = NumberedRows::commits(&*self.snapshot, first, last).readable();
        (first..=last).map(move |commit| match rows.next() {
            Some(Ok((number, stored))) if number == commit => {
                Ok((number, stored.len(), CommitRow::decode(&stored, number)?))
            }
            Some(Err(why)) => Err(why),
            _ => Err(ReadError::Rot { commit }),
        })
    }

    /// Whether somebody else signs for a record.
    fn is_signed_for(&self, part: &Part) -> bool {
        part.layer == Layer::Mesh && part.indices.is_none() && !self.is_ours(part.dot().replica)
    }

    /// Notes the last record of each author in a stretch. Returns the bytes of its rows.
    fn take_ends(
        &self,
        ends: &mut BTreeMap<ReplicaId, (Dot, Chain)>,
        first: u64,
        last: u64,
    ) -> Result<usize, ReadError> {
        let mut bytes = 0;
        for row in self.commits(first, last) {
            let (_, length, row) = row?;
            bytes += length;
            for part in row.parts.iter().filter(|part| self.is_signed_for(part)) {
                ends.insert(part.dot().replica, (part.dot(), part.record.header.chain));
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
    fn unsigned(&self) -> BTreeMap<ReplicaId, (Dot, Chain)> {
        let mut sound = BTreeSet::new();
        let rows = NumberedRows::of(Kind::Heads, &*self.snapshot, 0, self.last);
        for (number, stored) in rows.filter_map(Result::ok) {
            let read = stored.and_then(|stored| HeadsRow::decode(&stored, number));
            sound.extend(read.into_iter().flat_map(|read| read.heads).map(|head| head.dot));
        }
        let ends = self.ends.iter().filter(|(author, (dot, _))| !self.is_ours(**author) && !sound.contains(dot));
        ends.map(|(author, end)| (*author, *end)).collect()
    }

    /// Whether no newer head of an author is known.
    fn is_newest(&self, author: ReplicaId, head: &SignedHead) -> bool {
        let mut known = self.heads.keys().filter(|dot| dot.replica == author);
        known.all(|dot| dot.seq <= head.dot.seq)
    }
}
