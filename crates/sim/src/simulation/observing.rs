//! What a site shows after a group, or a join, is held against the records.

use std::sync::Arc;

use tombolo_crdt::{Dot, VersionVector};
use tombolo_storage::{Arrival, ArrivalBudget, Commit, KeyRange, PublishedTransfer, RangeQuery, Revision, Store};

use super::{Simulation, ending::check_removed};
use crate::{
    Mark,
    checker::{
        Claim, Violation,
        atomicity::{self, Picture},
        log::Log,
    },
};

/// Everything that is left of the log.
const EVERYTHING: usize = usize::MAX;

impl Simulation<'_> {
    /// Looks at what the site has published, and holds it against the records.
    pub(super) fn observe(&mut self, site: usize, commits: &[Arc<Commit>]) -> Result<Vec<Arrival>, Violation> {
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
            if is_remote && self.sites[site].names.contains(&arrival.dot.replica) {
                self.marks.hit(Mark::CameBack);
            }
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
        let Simulation { plan, sites, records, digests, diverged, removals, .. } = self;
        let Some(state) = sites.get_mut(site) else { return Ok(()) };
        let Some(life) = &state.life else { return Ok(()) };
        let standing = life.store.standing();
        // What outlives its lease by the transfer is removed in the same step, by records of the site's own.
        let before = state.log.model().frontier().seq(state.replica);
        let others = standing.frontier.iter().filter(|dot| dot.replica != state.replica);
        let others = others.chain((before > 0).then(|| Dot::new(state.replica, before))).collect();
        let own = log_after(&life.store, &others, state.log.model().commits() + 1)
            .map_err(|text| Violation::at(site, Claim::Service, text))?;
        let begins = Revision::new(standing.published.compacted).filter(|_| plan.joins_beside);
        state.log.joined(records, &standing.frontier, &own, commits, begins)?;
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
        self.take_up(site)?;
        self.tell_watchers(site, commits, None)?;
        self.apply_leases(site, commits);
        self.tell_standing(site)
    }
}

/// The log of a store from a commit on, but for what is known.
pub(super) fn log_after(store: &Store, known: &VersionVector, from: u64) -> Result<Vec<Arrival>, String> {
    let budget = ArrivalBudget { commits: EVERYTHING, bytes: EVERYTHING };
    let arrivals = store.arrivals(known, from, budget).map_err(|error| error.to_string())?;
    let is_all = arrivals.next > store.published().commit;
    is_all
        .then_some(arrivals.records)
        .ok_or_else(|| format!("the log is told up to commit {} alone", arrivals.next - 1))
}

/// Reads everything, and holds it against the model.
pub(super) fn check_content(site: usize, store: &Store, log: &Log) -> Result<Picture, Violation> {
    let answer = store.range(&RangeQuery::all(KeyRange::all()));
    let answer = answer.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
    log.check_content(&answer.pairs)?;
    Ok(answer.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}
