//! The committer's turn: requests and records are executed, go to the disk as a group, and are shown and answered.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crdt::{Dot, Operation, Record, RecordHeader};
use tombolo_net::{Batch, IngestRefusal, IngestReport, Input};
use tombolo_storage::{
    Arrival, ArrivalBudget, Commit, CommitError, Delete, Durability, IngestError, KeyRange, Outcome, PublishedTransfer,
    Put, RangeQuery, ReadError, RefusedBatch, Request, Store, WallTime,
};

use super::{MESH, READ_US, Simulation, ending::check_removed};
use crate::{
    MS, Mark, Plant,
    agenda::Happening,
    checker::{
        Claim, Violation,
        atomicity::{self, Picture},
    },
    network::ConnectionId,
    site::{Life, Waiting, Work},
};

/// Groups on their way to the disk at a time.
const GROUPS_MAX: usize = 4;

/// A little more than the time for which compacted history is kept.
const HURRY_MS: u64 = 31_000;

/// Everything that is left of the log.
const EVERYTHING: usize = usize::MAX;

impl Simulation<'_> {
    /// Executes what waits, and sends the group on its way if none is.
    pub(super) fn work(&mut self, site: usize) -> Result<(), Violation> {
        let Some(life) = &self.sites[site].life else { return Ok(()) };
        let most = if self.plan.overlaps { GROUPS_MAX } else { 1 };
        if life.under_way.len() >= most {
            return Ok(());
        }
        while let Some(work) = self.sites[site].life.as_mut().and_then(|life| life.queue.pop_front()) {
            if matches!(work, Work::Join { .. }) && !self.is_free(site) {
                // Everything before it goes first; it is looked at again when that is shown.
                if let Some(life) = &mut self.sites[site].life {
                    life.queue.push_front(work);
                }
                break;
            }
            self.execute(site, work)?;
        }
        self.seal(site)
    }

    fn seal(&mut self, site: usize) -> Result<(), Violation> {
        let slow = self.sites[site].slower_us;
        let at = self.soon(self.plan.disk_us).after(slow);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let (number, waiting) = (life.number, std::mem::take(&mut life.executed));
        match life.committer.seal() {
            Err(error) => {
                self.cannot_write(site, &error)?;
                self.refuse_all(site, waiting)
            }
            Ok(Some(group)) => {
                life.under_way.push_back((group, waiting));
                self.agenda.at(at, Happening::Persisted { site, life: number });
                self.answer_early(site)
            }
            Ok(None) if waiting.is_empty() => Ok(()),
            Ok(None) => {
                // Nothing was staged. What was read for these answers may be on its way to the disk all the same.
                match life.under_way.back_mut() {
                    Some((_, behind)) => behind.extend(waiting),
                    None => {
                        life.ready.extend(waiting);
                        let at = self.soon(100);
                        self.agenda.at(at, Happening::Ready { site, life: number });
                    }
                }
                Ok(())
            }
        }
    }

    /// The store takes no more writes. That is right when its disk fails; the site is stopped then, sooner or later.
    pub(super) fn cannot_write(&mut self, site: usize, error: &CommitError) -> Result<(), Violation> {
        let is_rot = matches!(error, CommitError::Read(ReadError::Rot { .. }));
        if is_rot && self.sites[site].has_met_rot() {
            // Housekeeping leaves the row where it is, and goes on later.
            self.marks.hit(Mark::RotNamed);
            return Ok(());
        }
        if !self.sites[site].may_refuse() || is_rot {
            return Err(Violation::at(site, Claim::Service, format!("a group was refused: {error}")));
        }
        let Some(life) = self.sites[site].life.as_mut().filter(|life| !life.is_poisoned) else { return Ok(()) };
        life.is_poisoned = true;
        self.marks.hit(Mark::Poisoned);
        self.note(format_args!("s{site} takes no more writes: {error}"));
        self.stop_soon(site);
        Ok(())
    }

    /// What was executed on a store that cannot write is not answered: nobody knows what is on disk.
    fn refuse_all(&mut self, site: usize, waiting: Vec<Waiting>) -> Result<(), Violation> {
        let known = |waiting: &Waiting| match waiting {
            Waiting::Client { result, .. } => result.is_err(),
            Waiting::Session { .. } => true,
        };
        let refused = |waiting| match waiting {
            Waiting::Session { connection, .. } => {
                let report = IngestReport { passed: 0, refused: Some(IngestRefusal::Poisoned) };
                Waiting::Session { connection, report }
            }
            client => client,
        };
        self.answer_all(site, waiting.into_iter().filter(known).map(refused).collect())
    }

    /// A planted bug answers clients before their group is on disk.
    fn answer_early(&mut self, site: usize) -> Result<(), Violation> {
        if !self.is_planted(Plant::AckBeforeDurable) {
            return Ok(());
        }
        let Some((_, waiting)) = self.sites[site].life.as_mut().and_then(|life| life.under_way.back_mut()) else {
            return Ok(());
        };
        let (clients, others) =
            std::mem::take(waiting).into_iter().partition(|waiting| matches!(waiting, Waiting::Client { .. }));
        *waiting = others;
        self.answer_all(site, clients)
    }

    fn execute(&mut self, site: usize, work: Work) -> Result<(), Violation> {
        let wall = self.sites[site].wall(self.now);
        match work {
            Work::Client { client, request } => {
                let Some(life) = &mut self.sites[site].life else { return Ok(()) };
                let result = life.committer.execute(wall, request);
                life.executed.push(Waiting::Client { client, result });
            }
            Work::Expiry { lease } => self.expire(site, wall, lease),
            Work::Ingest { connection, batch } => {
                self.ingest(site, wall, connection, batch);
            }
            Work::Stage { pages } => return self.stage(site, pages),
            Work::Join { transfer } => return self.join(site, *transfer),
        }
        Ok(())
    }

    /// Ends a lease that has run out.
    fn expire(&mut self, site: usize, wall: WallTime, lease: i64) {
        let by_key = self.is_planted(Plant::LeaseExpiryByKey);
        let keys = self.sites[site].leased.get(&lease).cloned().unwrap_or_default();
        let published = self.sites[site].log.model().commits();
        let uptime = self.sites[site].uptime(self.now);
        let Some(life) = &mut self.sites[site].life else { return };
        let before = executed(life, published);
        if by_key {
            for key in keys {
                let delete = Delete { range: KeyRange::single(key), previous: false };
                drop(life.committer.execute(wall, Request::Delete(delete)));
            }
        }
        // A client may have ended it meanwhile.
        let ended = life.committer.execute(wall, Request::LeaseRevoke { id: lease }).is_ok();
        if !ended {
            life.leases.revoke_failed(lease, uptime);
        }
        let after = executed(life, published);
        life.expiries.extend((before + 1..=after).map(|commit| (commit, lease)));
        if ended {
            self.marks.hit(Mark::LeaseExpired);
        }
        self.note(format_args!("s{site} ends lease {lease}: {ended}"));
    }

    fn ingest(&mut self, site: usize, wall: WallTime, connection: ConnectionId, batch: Batch) {
        let author = |record: &Bytes| RecordHeader::decode(record.clone()).map(|header| header.dot.replica);
        let peer = self.peer_of(site, connection).map(|peer| self.sites[peer].replica);
        if batch.records.iter().any(|record| author(record).ok() != peer) {
            self.marks.hit(Mark::Forwarded);
        }
        let report = if self.sites[site].is_busy {
            self.marks.hit(Mark::Busy);
            let refusal = self.random.clone().pick(&[0, 1]);
            let refusal = if refusal == 0 { IngestRefusal::Busy } else { IngestRefusal::NoSpace };
            IngestReport { passed: 0, refused: Some(refusal) }
        } else {
            self.take(site, wall, batch)
        };
        if let Some(life) = &mut self.sites[site].life {
            life.executed.push(Waiting::Session { connection, report });
        }
    }

    /// Applies a batch of a peer.
    fn take(&mut self, site: usize, wall: WallTime, mut batch: Batch) -> IngestReport {
        let taken = IngestReport { passed: batch.records.len(), refused: None };
        let (by_clock, by_time) =
            (self.is_planted(Plant::ClockBeforeCausality), self.is_planted(Plant::TombstoneByTime));
        if by_clock || by_time {
            batch.records.retain(|record| {
                let is_stale = by_clock && self.is_older_than_shown(site, record);
                let is_buried = by_time && self.buries(site, record);
                !is_stale && !is_buried
            });
            let is_there = |dot| batch.records.iter().any(|record| is_record(record, dot));
            batch.heads.retain(|head| is_there(head.dot));
        }
        let reauthors = self.is_planted(Plant::Reauthored);
        let proven = batch.prove(MESH.0, &self.roster);
        let Some(life) = &mut self.sites[site].life else { return taken };
        let (records, heads) = match proven {
            Ok(proven) => proven.into_parts(),
            Err(report) => return report,
        };
        if reauthors {
            for request in records.into_iter().flat_map(rewritten) {
                drop(life.committer.execute(wall, request));
            }
            return taken;
        }
        match life.committer.ingest_batch(wall, records, heads) {
            Ok(_) => taken,
            Err(RefusedBatch { at, why }) => IngestReport { passed: at, refused: Some(refusal(why)) },
        }
    }

    /// Whether a record puts a key that is remembered as removed in the same millisecond or later; remembers what it removes.
    fn buries(&mut self, site: usize, record: &Bytes) -> bool {
        let Ok(record) = Record::decode(record.clone()) else { return false };
        let at = record.header.hlc.millis();
        let buried = &mut self.sites[site].buried;
        let is_buried = record.operations.iter().any(|operation| match operation {
            Operation::Put { key, .. } => buried.get(key).is_some_and(|removed| *removed >= at),
            _ => false,
        });
        for operation in &record.operations {
            if let Operation::Remove { key, .. } = operation {
                buried.insert(key.clone(), at);
            }
        }
        is_buried
    }

    /// Whether a record puts only keys whose shown value has a greater stamp.
    fn is_older_than_shown(&self, site: usize, record: &Bytes) -> bool {
        let Ok(record) = Record::decode(record.clone()) else { return false };
        let model = self.sites[site].log.model();
        let mut puts = record.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, .. } => {
                Some(model.siblings(key).into_iter().any(|(_, hlc, _)| hlc > record.header.hlc))
            }
            _ => None,
        });
        puts.next().is_some_and(|first| first && puts.all(|older| older))
    }

    /// The group that was under way is on disk.
    pub(super) fn persisted(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let Some((group, _)) = life.under_way.front_mut() else { return Ok(()) };
        // A sync covers whatever was written before it, so that several groups may have arrived.
        group.persist();
        while self.publish(site, number)? {}
        self.work(site)
    }

    /// Shows the oldest group under way, if it has arrived.
    fn publish(&mut self, site: usize, number: u64) -> Result<bool, Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(false) };
        let arrived = life.under_way.pop_front_if(|(group, _)| group.is_settled());
        let Some((group, waiting)) = arrived else { return Ok(false) };
        let commits = match life.committer.publish(group) {
            Ok(commits) => commits,
            // Nobody is answered: nobody knows what is on disk.
            Err(error) => return self.cannot_write(site, &error).map(|()| false),
        };
        let arrivals = self.observe(site, &commits)?;
        self.meet(site)?;
        self.note_compaction(site, &waiting);
        self.tell_watchers(site, &commits, Some(&arrivals))?;
        self.apply_leases(site, &commits);
        if self.plan.telling_us == 0 {
            self.tell_standing(site)?;
        } else {
            let at = self.soon(self.plan.telling_us);
            self.agenda.at(at, Happening::Told { site, life: number });
        }
        if self.is_planted(Plant::OfferBeforeDurable) {
            let at = self.soon(50 * MS);
            if let Some(life) = self.sites[site].life(number) {
                life.unsynced.extend(waiting);
            }
            self.agenda.at(at, Happening::Synced { site, life: number });
        } else {
            self.answer_all(site, waiting)?;
        }
        Ok(true)
    }

    /// What needed no disk is answered.
    pub(super) fn ready(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let waiting = std::mem::take(&mut life.ready);
        self.answer_all(site, waiting)
    }

    /// A planted bug lets clients alone wait for the sync; here it comes.
    pub(super) fn synced(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let waiting = std::mem::take(&mut life.unsynced);
        self.sites[site].rows.sync();
        self.answer_all(site, waiting)
    }

    /// Looks at what the site has published, and holds it against the records.
    fn observe(&mut self, site: usize, commits: &[Arc<Commit>]) -> Result<Vec<Arrival>, Violation> {
        let probes = self.random.chance(6);
        let Simulation { sites, records, digests, diverged, .. } = self;
        let Some(state) = sites.get_mut(site) else { return Ok(Vec::new()) };
        let Some(life) = &state.life else { return Ok(Vec::new()) };
        let own = state.replica;
        let arrivals = log_after(&life.store, state.log.model().frontier(), state.log.model().commits() + 1)
            .map_err(|text| Violation::at(site, Claim::Service, text))?;
        state.log.published(records, &arrivals, commits, &life.expiries)?;
        let standing = life.store.standing();
        state.log.check_published(standing.published, &standing.frontier)?;
        if let Err(violation) = digests.note(site, &standing.frontier, standing.digest) {
            diverged.get_or_insert(violation);
        }
        if probes && !state.has_met_rot() {
            let picture = check_content(site, &life.store, &state.log)?;
            atomicity::check(site, records, &KeyRange::all(), &picture)?;
            state.log.check_system(&life.store.system(b""))?;
        }
        for (commit, arrival) in commits.iter().zip(&arrivals) {
            let is_remote = arrival.dot.replica != own;
            if is_remote && commit.events.is_empty() {
                self.marks.hit(Mark::Loser);
            }
            if is_remote && commit.events.len() > 1 {
                self.marks.hit(Mark::RemoteTransaction);
            }
            let number = commit.number;
            self.note(format_args!("s{site} publishes commit {number} at {}: {:?}", commit.revision, commit.events));
        }
        Ok(arrivals)
    }

    /// Looks at what a site shows after it has joined a transfer, and holds it against the records.
    pub(super) fn observe_join(&mut self, site: usize, joined: &PublishedTransfer) -> Result<(), Violation> {
        let commits = &joined.commits;
        let Simulation { sites, records, digests, diverged, removals, .. } = self;
        let Some(state) = sites.get_mut(site) else { return Ok(()) };
        let Some(life) = &state.life else { return Ok(()) };
        let standing = life.store.standing();
        // What outlives its lease by the transfer is removed in the same step, by records of the site's own.
        let before = state.log.model().frontier().seq(state.replica);
        let others = standing.frontier.iter().filter(|dot| dot.replica != state.replica);
        let others = others.chain((before > 0).then(|| Dot::new(state.replica, before))).collect();
        let own = log_after(&life.store, &others, state.log.model().commits() + 1)
            .map_err(|text| Violation::at(site, Claim::Service, text))?;
        state.log.joined(records, &standing.frontier, &own, commits)?;
        state.log.check_published(standing.published, &standing.frontier)?;
        if let Err(violation) = digests.note(site, &standing.frontier, standing.digest) {
            diverged.get_or_insert(violation);
        }
        if !state.has_met_rot() {
            let picture = check_content(site, &life.store, &state.log)?;
            atomicity::check(site, records, &KeyRange::all(), &picture)?;
            state.log.check_system(&life.store.system(b""))?;
            removals.learn(records);
            check_removed(site, &life.store, &state.log, removals)?;
        }
        self.tell_watchers(site, commits, None)?;
        self.apply_leases(site, commits);
        self.tell_standing(site)
    }

    /// The log may be truncated up to here once peers have it, too.
    fn note_compaction(&mut self, site: usize, waiting: &[Waiting]) {
        let frontier = self.sites[site].log.model().frontier().clone();
        if waiting.iter().any(is_compaction)
            && let Some(life) = &mut self.sites[site].life
        {
            life.compacted_at = Some(frontier);
        }
    }

    fn apply_leases(&mut self, site: usize, commits: &[Arc<Commit>]) {
        let uptime = self.sites[site].uptime(self.now);
        if let Some(life) = &mut self.sites[site].life {
            life.leases.apply(commits, uptime);
        }
        self.schedule_leases(site);
    }

    pub(super) fn schedule_leases(&mut self, site: usize) {
        let state = &self.sites[site];
        let Some(life) = &state.life else { return };
        if let Some(deadline) = life.leases.next_deadline() {
            let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            let at = state.clocks.when_monotonic(ms + 1, self.now);
            self.agenda.at(at, Happening::LeasesDue { site, life: life.number });
        }
    }

    pub(super) fn leases_due(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let uptime = self.sites[site].uptime(self.now);
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let due = life.leases.due(uptime);
        life.queue.extend(due.into_iter().map(|lease| Work::Expiry { lease }));
        self.schedule_leases(site);
        self.work(site)
    }

    pub(super) fn answer_all(&mut self, site: usize, waiting: Vec<Waiting>) -> Result<(), Violation> {
        for waiting in waiting {
            match waiting {
                Waiting::Client { client, result } => self.answer(client, result)?,
                Waiting::Session { connection, report } => self.feed(site, connection, Input::Ingested(report))?,
            }
        }
        Ok(())
    }

    /// Compacted history goes, once no peer needs the log below any more.
    pub(super) fn keep_house(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let early = self.plan.troubles.truncations;
        let wall = self.sites[site].wall(self.now);
        let frontiers: Vec<_> = self.sites.iter().map(|site| site.log.model().frontier().clone()).collect();
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let may_go = |needed: &tombolo_crdt::VersionVector| frontiers.iter().all(|frontier| frontier.includes(needed));
        if early || life.compacted_at.as_ref().is_none_or(may_go) {
            // Nobody here reads for as long as history is kept for readers.
            let wall = if early { WallTime(wall.0 + HURRY_MS) } else { wall };
            self.sweep(site, wall)?;
            self.tell_standing(site)?;
        }
        let at = self.soon(2_000 * MS).after(READ_US);
        self.agenda.at(at, Happening::Housekeeping { site, life: number });
        Ok(())
    }
}

impl Simulation<'_> {
    /// Drops what is due, in as many batches as it takes.
    fn sweep(&mut self, site: usize, wall: WallTime) -> Result<(), Violation> {
        let state = &mut self.sites[site];
        let stops = state.stops_sweeping;
        if stops.is_some() {
            state.rows.arrange(stops);
        }
        let Some(life) = &mut state.life else { return Ok(()) };
        let kept = loop {
            match life.committer.maintain(wall) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if state.rows.has_stopped() {
            state.stops_sweeping = None;
            self.marks.hit(Mark::StoppedSweeping);
        } else if stops.is_some() {
            state.rows.arrange(None);
        }
        kept.or_else(|error| self.cannot_write(site, &error))
    }
}

/// Commits executed so far: those that were seen published, the group under way, and what is staged.
fn executed(life: &Life, published: u64) -> u64 {
    let under_way: usize = life.under_way.iter().map(|(group, _)| group.len()).sum();
    published + (under_way + life.committer.pending()) as u64
}

/// The log of a store from a commit on, but for what is known.
pub(super) fn log_after(store: &Store, known: &tombolo_crdt::VersionVector, from: u64) -> Result<Vec<Arrival>, String> {
    let budget = ArrivalBudget { commits: EVERYTHING, bytes: EVERYTHING };
    store.arrivals(known, from, budget).map(|arrivals| arrivals.records).map_err(|error| error.to_string())
}

/// Reads everything, and holds it against the model.
pub(super) fn check_content(site: usize, store: &Store, log: &crate::checker::log::Log) -> Result<Picture, Violation> {
    let answer = store.range(&RangeQuery::all(KeyRange::all()));
    let answer = answer.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
    log.check_content(&answer.pairs)?;
    Ok(answer.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

/// What a store of this simulation is opened with.
pub(super) fn durability(plant: Option<Plant>) -> Durability {
    if plant == Some(Plant::OfferBeforeDurable) { Durability::Os } else { Durability::Fsync }
}

/// Whether the record has this name.
fn is_record(record: &Bytes, dot: Dot) -> bool {
    RecordHeader::decode(record.clone()).is_ok_and(|header| header.dot == dot)
}

/// What a record does, as requests of one's own.
fn rewritten(record: Bytes) -> Vec<Request> {
    let operations = Record::decode(record).map(|record| record.operations).unwrap_or_default();
    let requests = operations.into_iter().filter_map(|operation| match operation {
        Operation::Put { key, value, .. } => {
            Some(Request::Put(Put { key, value: Some(value), lease: Some(0), previous: false }))
        }
        Operation::Remove { key, .. } => {
            Some(Request::Delete(Delete { range: KeyRange::single(key), previous: false }))
        }
        _ => None,
    });
    requests.collect()
}

fn refusal(error: IngestError) -> IngestRefusal {
    match error {
        IngestError::Gap { expected, .. } => IngestRefusal::Gap { expected },
        IngestError::MissingContext { missing, .. } => IngestRefusal::MissingContext { missing },
        IngestError::OwnDot { .. } => IngestRefusal::OwnDot,
        IngestError::BrokenChain { .. } => IngestRefusal::BrokenChain,
        IngestError::Frozen { last, .. } => IngestRefusal::Frozen { last },
        IngestError::Unsigned { .. } => IngestRefusal::Unsigned,
        IngestError::Malformed(cause) => IngestRefusal::Malformed(cause),
        IngestError::ContradictsContext(cause) => IngestRefusal::ContradictsContext(cause),
        IngestError::UnknownOperation { kind, .. } => IngestRefusal::UnknownOperation { kind },
        IngestError::NoSpace => IngestRefusal::NoSpace,
        IngestError::RevisionsExhausted => IngestRefusal::RevisionsExhausted,
        IngestError::Duplicate { .. } | IngestError::Joining => IngestRefusal::Busy,
        IngestError::Poisoned { .. } | IngestError::Read(_) => IngestRefusal::Poisoned,
    }
}

/// Whether the request was a compaction that was carried out.
fn is_compaction(waiting: &Waiting) -> bool {
    matches!(waiting, Waiting::Client { result: Ok(answer), .. } if answer.outcome == Outcome::Compacted)
}
