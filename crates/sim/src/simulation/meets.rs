//! Digests at meets: two sites that go on at different records agree on what both have applied, at whatever moment they are compared.
//!
//! Sessions compare sites that stand at one frontier. In a busy mesh that is seldom so; what both hold is compared here all the same, as servers do it
//! from time to time, with each other and with whatever was seen at that frontier before.

use super::Simulation;
use crate::{
    Mark, Plant,
    checker::{Claim, Violation},
};

/// A site is compared with another one at each of so many of its commits.
const EVERY: u64 = 8;

impl Simulation<'_> {
    /// Compares what both a site and another one have applied, once in a while. Nothing is drawn for it: a run is the same with it and without.
    pub(super) fn meet(&mut self, site: usize) -> Result<(), Violation> {
        // Other planted bugs are for other checkers to find.
        if self.plant.is_some_and(|plant| plant != Plant::DigestDrifts) {
            return Ok(());
        }
        let Some(life) = &self.sites[site].life else { return Ok(()) };
        let commit = life.store.published().commit;
        let Some(turn) = commit.is_multiple_of(EVERY).then_some(commit / EVERY) else { return Ok(()) };
        let step = 1 + turn % (self.sites.len() as u64 - 1).max(1);
        let other = (site + usize::try_from(step).unwrap_or(1)) % self.sites.len();
        let Some(others) = self.sites[other].life.as_ref().filter(|_| other != site) else { return Ok(()) };
        let cut = life.store.frontier().meet(&others.store.frontier());
        // A row that cannot be read is named elsewhere.
        let told = [(site, life.store.digest_at(&cut)), (other, others.store.digest_at(&cut))];
        let told: Vec<_> = told.into_iter().filter_map(|(at, found)| Some((at, found.ok()??))).collect();
        if cut.is_empty() {
            return Ok(());
        }
        self.marks.add(Mark::Met, u64::from(told.len() == 2));
        told.into_iter().try_for_each(|(at, digest)| self.digests.note(at, &cut, digest)).map_err(|violation| {
            let text = format!("at the meet of s{site} and s{other}: {}", violation.text);
            Violation { claim: Claim::Convergence, text, ..violation }
        })
    }
}
