//! All is quiet: what must hold in the end is looked at.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::VersionVector;
use tombolo_net::{Digests, Moment, Session};
use tombolo_storage::{KeyRange, RangeQuery, ReadError, Store, SystemEntry};

use super::{LOOK_US, QUIET_WITHIN_US, Simulation, observing::check_content, sessions::join_all};
use crate::{
    MS, Mark, Time, Transaction,
    agenda::Happening,
    checker::{
        Claim, Violation, atomicity,
        causality::{self, Level},
        convergence::{Content, Shown, check_equal},
        log::Log,
        resurrection::Removals,
    },
    site::{Members, Site},
    watching::Watching,
};

impl Simulation<'_> {
    /// Whether all is quiet. Looks again later when it is not, but not for ever.
    pub(super) fn look(&mut self) -> Result<bool, Violation> {
        if self.is_quiet() {
            return Ok(true);
        }
        let since = self.calm_since.unwrap_or(Time(0));
        if self.now > since.after(QUIET_WITHIN_US) {
            if let Some(diverged) = self.diverged.take() {
                return Err(diverged);
            }
            return Err(Violation::of_mesh(Claim::Convergence, self.unrest()));
        }
        self.agenda.at(self.now.after(LOOK_US), Happening::Look);
        Ok(false)
    }

    fn is_quiet(&self) -> bool {
        let remaining = || (0..self.plan.sites).filter(|site| self.remains(*site));
        let frontiers = || remaining().map(|site| self.sites[site].log.model().frontier());
        let everything = join_all(frontiers());
        frontiers().all(|frontier| *frontier == everything)
            && (0..self.plan.sites).all(|site| is_idle(&self.sites[site], self.remains(site)))
            && remaining().all(|site| self.is_settled(site))
            && self.clients.iter().all(|client| client.waiting.is_none() && client.half_read.is_none())
            && self.is_everything_read()
            && remaining().all(|site| self.is_at_one(site, &everything))
    }

    /// Whether a site has nothing more to say of anybody, and knows all streams of the removed to be complete.
    fn is_settled(&self, site: usize) -> bool {
        let members = self.sites[site].life.as_ref().map(|life| &life.members);
        let is_complete = |members: &Members| members.roster.open_removals().values().all(BTreeSet::is_empty);
        members.is_some_and(|members| members.words == 0 && is_complete(members)) && self.due(site).is_empty()
    }

    /// Whether a site is connected to all its neighbours, knows that they have everything, and has found their digests equal.
    fn is_at_one(&self, site: usize, everything: &VersionVector) -> bool {
        let state = &self.sites[site];
        let Some(life) = &state.life else { return false };
        let now = Moment(state.clocks.monotonic_ms(self.now));
        // Of a state that holds nothing any more there is no digest to compare. A member's is never so: it holds who the members are.
        let holds_nothing = life.store.digest() == 0;
        let session = |peer: usize| life.endpoints.get(life.peers.get(&peer)?).map(|endpoint| &endpoint.session);
        let is_at_one = |session: &Session| {
            let status = session.status(now);
            let all_there =
                status.frontier == *everything && status.peer_behind.records + status.own_behind.records == 0;
            status.is_established && all_there && (status.digests == Digests::Equal || holds_nothing)
        };
        let mut peers = self.network.neighbours(site).into_iter().filter(|peer| self.remains(*peer));
        peers.all(|peer| session(peer).is_some_and(is_at_one))
    }

    /// Why it is not quiet.
    fn unrest(&self) -> String {
        let mut lines = vec![format!("{} s after the troubles there is no rest:", QUIET_WITHIN_US / crate::S)];
        for (number, site) in self.sites.iter().enumerate() {
            let frontier = site.log.model().frontier();
            let Some(life) = &site.life else {
                lines.push(format!("s{number} is down at {frontier:?}"));
                continue;
            };
            let peers: Vec<_> = life.peers.keys().collect();
            let (queued, model) = (life.queue.len(), site.log.model());
            let leases = format!("{} leases with {} writes", model.leases(), model.leased());
            let catching_up = life.hub.stats().catching_up;
            lines.push(format!(
                "s{number} stands at {frontier:?}, peers {peers:?}, {queued} queued, {leases}, {catching_up} watches behind"
            ));
            let is_behind = |watching: &&Watching| watching.site == number && !watching.has_read();
            for watching in self.watching.iter().filter(is_behind) {
                let (range, seen) = (watching.stream.range(), watching.stream.seen());
                lines.push(format!("  a watch of {range:?} has not read everything, and got to {seen}"));
            }
            let now = Moment(site.clocks.monotonic_ms(self.now));
            for endpoint in life.endpoints.values() {
                lines.push(format!("  with s{}: {:?}", endpoint.peer, endpoint.session.status(now)));
            }
        }
        lines.join("\n  ")
    }

    /// Everything that must hold in the end.
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        let since = self.calm_since.unwrap_or(Time(0));
        self.counts.calm_ms = (self.now.0 - since.0) / MS;
        self.counts.records = self.records.len() as u64;
        self.note(format_args!("all is quiet"));
        if let Some(Violation { site, text, .. }) = self.diverged.take() {
            let text = format!("{text}; no session has said so");
            return Err(Violation { claim: Claim::Silence, site, text });
        }
        self.note_marks();
        let contents: Vec<Content> =
            (0..self.plan.sites).map(|site| self.content(site)).collect::<Result<_, Violation>>()?;
        let remaining = contents.into_iter().enumerate().filter(|(site, _)| self.remains(*site));
        let contents: Vec<Content> = remaining.map(|(_, content)| content).collect();
        check_equal(&contents)?;
        self.forget_beyond_the_end(&contents)?;
        self.removals.learn(&self.records);
        self.marks.add(Mark::Removed, self.removals.len() as u64);
        for (number, site) in self.sites.iter().enumerate() {
            let Some(life) = &site.life else { continue };
            let picture = check_content(number, &life.store, &site.log)?;
            atomicity::check(number, &self.records, &KeyRange::all(), &picture)?;
            check_removed(number, &life.store, &site.log, &self.removals)?;
            site.promises.check(&self.records, site.log.model().frontier())?;
            for other in &contents {
                site.promises.check_acknowledged(&self.records, &other.frontier)?;
            }
        }
        (0..self.plan.sites).try_for_each(|site| self.check_older_cut(site))?;
        self.watching.iter().try_for_each(|client| client.stream.check_complete(&self.sites[client.site].log))?;
        self.check_history()
    }

    /// What a removed site has beyond its end is there, and nowhere else.
    fn forget_beyond_the_end(&mut self, remaining: &[Content]) -> Result<(), Violation> {
        (0..self.plan.sites).try_for_each(|site| self.check_ends(site))?;
        let Some(removed) = self.removed else { return Ok(()) };
        let left = join_all(remaining.iter().map(|content| &content.frontier));
        let state = &mut self.sites[removed];
        let frontier = state.log.model().frontier();
        state.promises.check(&self.records, frontier)?;
        self.marks.add(Mark::BeyondEnd, u64::from(frontier.seq(state.replica) > left.seq(state.replica)));
        state.promises.forget_beyond(&self.records, &left);
        Ok(())
    }

    /// Takes note of what the checkers have met.
    fn note_marks(&mut self) {
        self.marks.add(Mark::HeldBack, self.network.held_back());
        self.marks.add(Mark::Moved, self.clients.iter().map(|client| client.guarantees.moves()).sum());
        let walls = || self.sites.iter().map(|site| site.clocks.ahead_ms);
        let apart = walls().max().unwrap_or(0).abs_diff(walls().min().unwrap_or(0));
        self.marks.add(Mark::YearsApart, u64::from(apart > YEAR_MS));
        for site in &self.sites {
            let met = site.log.model().met();
            self.marks.add(Mark::Conflict, met.conflicts);
            self.marks.add(Mark::SystemConflict, met.system_conflicts);
            self.marks.add(Mark::Uncovered, met.uncovered);
            self.marks.add(Mark::RangeRemoval, met.range_removals);
            self.marks.add(Mark::UnpublishedFound, site.log.found());
            self.marks.add(Mark::Orphan, site.log.orphans());
            let is_truncated = site.life.as_ref().is_some_and(|life| !life.standing.floor.is_empty());
            self.marks.add(Mark::Truncated, u64::from(is_truncated));
        }
    }

    /// Reads every key at some older cut, and holds that against the records in it.
    fn check_older_cut(&mut self, site: usize) -> Result<(), Violation> {
        let state = &self.sites[site];
        let Some(life) = &state.life else { return Ok(()) };
        let frontier = state.log.model().frontier();
        let cuts: Vec<VersionVector> = self.digests.frontiers().filter(|cut| frontier.includes(cut)).collect();
        if cuts.is_empty() {
            return Ok(());
        }
        let cut = &cuts[self.random.below(cuts.len())];
        let text = format!("the records of the cut {cut:?} do not follow");
        let model = state.log.at(&self.records, cut).ok_or_else(|| Violation::at(site, Claim::Merge, text))?;
        for key in state.log.model().keys() {
            let found = match life.store.read_at(key, cut) {
                Err(ReadError::Compacted { .. }) => return Ok(()),
                found => found.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?,
            };
            let mut found: Vec<_> =
                found.into_iter().map(|sibling| (sibling.element, sibling.hlc, sibling.value)).collect();
            found.sort_by_key(|(element, ..)| *element);
            if found != model.siblings(key) {
                let text = format!("at {cut:?} {key:?} is read as {found:?}, and should be {:?}", model.siblings(key));
                return Err(Violation::at(site, Claim::Merge, text));
            }
        }
        self.marks.hit(Mark::OlderCut);
        Ok(())
    }

    /// Holds what clients did against causality. Writes whose answer was lost count when they happened.
    fn check_history(&mut self) -> Result<(), Violation> {
        for (session, asked) in std::mem::take(&mut self.doubtful) {
            let accesses = asked.doubtful(|value| self.records.element_of(value).is_some());
            self.marks.hit(if accesses.is_empty() { Mark::LostAndUndone } else { Mark::LostAndDone });
            if !accesses.is_empty() {
                self.history.sessions[session].push(Transaction { accesses });
            }
        }
        let level = if self.plan.is_wild() { Level::Weak } else { Level::Convergent };
        causality::check(&self.history, level)
            .map_err(|anomaly| Violation::of_mesh(Claim::Causality, anomaly.to_string()))
    }

    /// What a site shows.
    fn content(&self, site: usize) -> Result<Content, Violation> {
        let broken = |error: &dyn std::fmt::Display| Violation::at(site, Claim::Service, error.to_string());
        let state = &self.sites[site];
        let store = &state.life.as_ref().ok_or_else(|| broken(&"the site is down"))?.store;
        let standing = store.standing();
        let pairs = store.range(&RangeQuery::all(KeyRange::all())).map_err(|error| broken(&error))?.pairs;
        let mut keys = BTreeMap::new();
        for key in state.log.model().keys() {
            let winner = pairs.iter().find(|pair| pair.key == key).map(|pair| (pair.value.clone(), pair.lease));
            let found = store.read_at(key, &standing.frontier).map_err(|error| broken(&error))?;
            let mut siblings: Vec<_> = found.into_iter().map(|sibling| (sibling.element, sibling.value)).collect();
            siblings.sort_by_key(|(element, _)| *element);
            let expected = state.log.model().siblings(key).into_iter().map(|(element, _, value)| (element, value));
            if !siblings.iter().cloned().eq(expected) {
                return Err(Violation::at(site, Claim::Merge, format!("{key:?} has the siblings {siblings:?}")));
            }
            keys.insert(key.clone(), Shown { winner, siblings });
        }
        let entries = store.system(b"");
        state.log.check_system(&entries)?;
        let values = |entry: SystemEntry| entry.siblings.into_iter().map(|sibling| sibling.value).collect();
        let system = entries.into_iter().map(|entry| (entry.key.clone(), values(entry))).collect();
        Ok(Content { frontier: standing.frontier, digest: standing.digest, keys, system })
    }
}

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Nothing that was removed is there again.
pub(super) fn check_removed(site: usize, store: &Store, log: &Log, removals: &Removals) -> Result<(), Violation> {
    let frontier = store.frontier();
    for key in log.model().keys() {
        let found = store.read_at(key, &frontier);
        let found = found.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
        found.into_iter().try_for_each(|sibling| removals.check(site, &frontier, sibling.element))?;
    }
    Ok(())
}

/// Whether a site has nothing more to do by itself.
fn is_idle(site: &Site, is_member: bool) -> bool {
    let Some(life) = &site.life else { return false };
    !site.is_rotten
        && !site.must_stop()
        && life.queue.is_empty()
        && life.joining.is_none()
        && life.executed.is_empty()
        && life.under_way.is_empty()
        && life.ready.is_empty()
        && life.unsynced.is_empty()
        // A lease ends everywhere, and nothing outlives its own, where anybody may still write.
        && (!is_member || site.log.model().leases() == 0 && site.log.model().leased() == 0)
}
