//! Leases are counted where they were granted, and end by a request like any other.

use std::sync::Arc;

use tombolo_storage::{Commit, Delete, KeyRange, Request, WallTime};

use super::Simulation;
use crate::{
    Mark, Plant,
    agenda::Happening,
    checker::Violation,
    site::{Life, Work},
};

impl Simulation<'_> {
    /// Ends a lease that has run out.
    pub(super) fn expire(&mut self, site: usize, wall: WallTime, lease: i64) {
        let by_key = self.is_planted(Plant::LeaseExpiryByKey);
        let keys = self.sites[site].leased.get(&lease).cloned().unwrap_or_default();
        let published = self.sites[site].log.model().commits();
        let uptime = self.sites[site].uptime(self.now);
        // That would be a write.
        let is_removed = self.knows_own_removal(site);
        let Some(life) = &mut self.sites[site].life else { return };
        if is_removed {
            return life.leases.revoke_failed(lease, uptime);
        }
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

    pub(super) fn apply_leases(&mut self, site: usize, commits: &[Arc<Commit>]) {
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
}

/// Commits executed so far: those that were seen published, the group under way, and what is staged.
fn executed(life: &Life, published: u64) -> u64 {
    let under_way: usize = life.under_way.iter().map(|(group, _)| group.len()).sum();
    published + (under_way + life.committer.pending()) as u64
}
