//! All is quiet: what must hold in the end is looked at.

use std::collections::BTreeMap;

use tombolo_storage::{KeyRange, RangeQuery};

use super::{LOOK_US, MESH, QUIET_WITHIN_US, Simulation, committing::check_content, sessions::join_all};
use crate::{
    MS, Time, Transaction,
    agenda::Happening,
    checker::{
        Claim, Violation,
        causality::{self, Level},
        convergence::{Content, Shown, check_equal},
    },
    site::Site,
};

impl Simulation<'_> {
    /// Whether all is quiet. Looks again later when it is not, but not for ever.
    pub(super) fn look(&mut self) -> Result<bool, Violation> {
        if self.is_quiet() {
            return Ok(true);
        }
        let since = self.calm_since.unwrap_or(Time(0));
        if self.now > since.after(QUIET_WITHIN_US) {
            return Err(Violation::of_mesh(Claim::Convergence, self.unrest()));
        }
        self.agenda.at(self.now.after(LOOK_US), Happening::Look);
        Ok(false)
    }

    fn is_quiet(&self) -> bool {
        let frontiers = || self.sites.iter().map(|site| site.log.model().frontier());
        let everything = join_all(frontiers());
        frontiers().all(|frontier| *frontier == everything)
            && self.sites.iter().all(is_idle)
            && self.clients.iter().all(|client| client.waiting.is_none() && client.half_read.is_none())
            && self.is_everything_read()
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
            let (queued, leases) = (life.queue.len(), site.log.model().leases());
            lines.push(format!("s{number} stands at {frontier:?}, peers {peers:?}, {queued} queued, {leases} leases"));
        }
        lines.join("\n  ")
    }

    /// Everything that must hold in the end.
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        let since = self.calm_since.unwrap_or(Time(0));
        self.counts.calm_ms = (self.now.0 - since.0) / MS;
        self.counts.records = self.records.len() as u64;
        self.note(format_args!("all is quiet"));
        let contents: Vec<Content> =
            (0..self.plan.sites).map(|site| self.content(site)).collect::<Result<_, Violation>>()?;
        check_equal(&contents)?;
        for (number, site) in self.sites.iter().enumerate() {
            let Some(life) = &site.life else { continue };
            check_content(number, &life.store, &site.log)?;
            site.promises.check(&self.records, site.log.model().frontier())?;
            for other in &contents {
                site.promises.check_acknowledged(&self.records, &other.frontier)?;
            }
        }
        self.watching.iter().try_for_each(|client| client.stream.check_complete(&self.sites[client.site].log))?;
        self.check_history()
    }

    /// Holds what clients did against causality. Writes whose answer was lost count when they happened.
    fn check_history(&mut self) -> Result<(), Violation> {
        for (session, asked) in std::mem::take(&mut self.doubtful) {
            let accesses = asked.doubtful(|value| self.records.element_of(value).is_some());
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
        let system = BTreeMap::new();
        debug_assert_eq!(store.identity().mesh, MESH);
        Ok(Content { frontier: standing.frontier, digest: standing.digest, keys, system })
    }
}

/// Whether a site has nothing more to do by itself.
fn is_idle(site: &Site) -> bool {
    let Some(life) = &site.life else { return false };
    life.queue.is_empty()
        && life.executed.is_empty()
        && life.under_way.is_none()
        && life.unsynced.is_empty()
        && site.log.model().leases() == 0
}
