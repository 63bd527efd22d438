//! What operators do: they park sites and remove one, and name who counts the leases of that.
//!
//! They ask some site's server, which checks what it knows and signs a statement. One that is down, or does not know enough yet,
//! is asked again; a removal is never given up.

use tombolo_net::{MemberState, Saying};

use super::Simulation;
use crate::{
    MS, Mark, S, Time,
    agenda::Happening,
    checker::Violation,
    plan::Removal,
    trouble::{self, Trouble},
};

/// How long an operator waits before asking again.
const AGAIN_US: u64 = S;

impl Simulation<'_> {
    /// Plans who is removed. Most were out of reach by then.
    pub(super) fn plan_removal(&mut self) {
        let Some(Removal { at_us, site, by }) = self.plan.removal else { return };
        if self.random.chance(70) {
            let begins = Time(at_us.saturating_sub(self.random.between(MS, 3 * S)));
            let ends = Time(at_us).after(self.random.between(MS, 6 * S));
            trouble::cut_off(site, &self.plan.links(), begins, ends, &mut self.agenda);
        }
        self.agenda.at(Time(at_us), Happening::Trouble(Trouble::Remove { by, site }));
    }

    /// No log is kept for a site any more.
    pub(super) fn park(&mut self, by: usize, site: usize) -> Result<(), Violation> {
        let subject = self.sites[site].replica;
        let Some(life) = self.sites[by].life.as_ref().filter(|_| !self.knows_own_removal(by)) else { return Ok(()) };
        let roster = &life.members.roster;
        let is_active = roster.member(subject).is_some_and(|member| member.place.state == MemberState::Active);
        if !is_active || roster.active().all(|other| other.replica() == subject) {
            return Ok(());
        }
        let was_present = by == site || life.peers.contains_key(&site);
        self.marks.hit(Mark::Parked);
        self.say(by, subject, Saying::Parked { was_present })
    }

    /// A site is no member any more, for ever.
    pub(super) fn remove(&mut self, by: usize, site: usize) -> Result<(), Violation> {
        let subject = self.sites[site].replica;
        let life = self.sites[by].life.as_ref();
        if life.is_some_and(|life| life.members.roster.is_removed(subject)) {
            let at = self.soon(2 * S);
            self.agenda.at(at, Happening::Trouble(Trouble::Bequeath { by, site }));
            return Ok(());
        }
        let is_free = life.is_some_and(|life| life.members.words == 0);
        self.again(Trouble::Remove { by, site });
        if is_free { self.say(by, subject, Saying::Removed) } else { Ok(()) }
    }

    /// Some active site counts the removed one's leases from now on.
    pub(super) fn bequeath(&mut self, by: usize, site: usize) -> Result<(), Violation> {
        let subject = self.sites[site].replica;
        let life = self.sites[by].life.as_ref();
        if life.is_some_and(|life| life.members.roster.lease_home(subject) != subject) {
            return Ok(());
        }
        self.again(Trouble::Bequeath { by, site });
        let Some(life) = self.sites[by].life.as_ref().filter(|life| life.members.words == 0) else { return Ok(()) };
        let active: Vec<_> = life.members.roster.active().map(|member| member.replica()).collect();
        if active.is_empty() || !life.members.roster.is_removed(subject) {
            return Ok(());
        }
        let heir = self.random.pick(&active);
        self.say(by, subject, Saying::LeaseHeir(heir))
    }

    fn again(&mut self, command: Trouble) {
        let at = self.soon(AGAIN_US);
        self.agenda.at(at, Happening::Trouble(command));
    }
}
