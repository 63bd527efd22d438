//! Troubles happen, and end.

use super::{LOOK_US, Simulation};
use crate::{
    MS, Mark, Plant, S,
    agenda::Happening,
    checker::Violation,
    disk::Damage,
    trouble::{Stop, Trouble},
};

impl Simulation<'_> {
    pub(super) fn trouble(&mut self, trouble: Trouble) -> Result<(), Violation> {
        // What was decided on during the troubles does not happen after them.
        if self.is_calm() && self.breaks(trouble) {
            return Ok(());
        }
        self.note(format_args!("{trouble:?}"));
        match trouble {
            Trouble::Cut { from, to } => self.network.cut(from, to),
            Trouble::Heal { from, to } => self.heal(from, to),
            Trouble::Stop { site, how } => return self.stop(site, how),
            Trouble::Start { site } => return self.start(site),
            Trouble::SetClock { site, ahead_ms } => self.sites[site].clocks.ahead_ms = ahead_ms,
            Trouble::Redial { from, to } => self.try_connection(from, to),
            Trouble::DiskFails { site, only_sync } => {
                self.sites[site].has_failing_disk |= self.sites[site].is_up() && self.sites[site].rows.fail(only_sync);
            }
            Trouble::Busy { site, is_busy } => self.sites[site].is_busy = is_busy,
            Trouble::Unreadable { site, is_unreadable } => self.sites[site].is_unreadable = is_unreadable,
            Trouble::StopAt { site, at } => self.sites[site].rows.arrange(Some(at)),
            Trouble::StopSweeping { site, at } => self.sites[site].stops_sweeping = Some(at),
            Trouble::StopJoining { site, at } => self.sites[site].stops_joining = Some(at),
            Trouble::Keep { site } => self.keep_copy(site),
            Trouble::Lose { site, how } => return self.lose(site, how),
            Trouble::Park { by, site } => return self.park(by, site),
            Trouble::Remove { by, site } => return self.remove(by, site),
            Trouble::Bequeath { by, site } => return self.bequeath(by, site),
            Trouble::Rot { site, damage } => self.rot(site, damage),
            Trouble::Restore { site } => return self.restore(site),
            Trouble::Disk { site, slower_us } => {
                self.sites[site].slower_us = slower_us;
                if self.is_planted(Plant::RestoredBackup) && self.sites[site].is_up() {
                    self.sites[site].rows.back_up();
                }
            }
        }
        Ok(())
    }

    /// Whether something goes wrong, and not right again. A site that cannot write must stop, also when all is calm.
    fn breaks(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Stop { site, .. } => !self.sites[site].must_stop(),
            Trouble::Cut { .. }
            | Trouble::Disk { slower_us: 1.., .. }
            | Trouble::StopAt { .. }
            | Trouble::StopSweeping { .. }
            | Trouble::StopJoining { .. }
            | Trouble::Rot { .. }
            | Trouble::Keep { .. }
            | Trouble::Lose { .. }
            | Trouble::DiskFails { .. }
            | Trouble::Park { .. }
            | Trouble::Busy { is_busy: true, .. }
            | Trouble::Unreadable { is_unreadable: true, .. } => true,
            _ => false,
        }
    }

    fn heal(&mut self, from: usize, to: usize) {
        for arrival in self.network.heal(self.now, from, to) {
            let happening = Happening::Parcel { connection: arrival.connection, at: arrival.at, turn: arrival.turn };
            self.agenda.at(arrival.time, happening);
        }
    }

    /// A site that cannot write is stopped by its operator, and started again.
    pub(super) fn stop_soon(&mut self, site: usize) {
        let how = self.random.pick(&[Stop::Kill, Stop::Crash]);
        let stops = self.soon(S);
        let starts = stops.after(self.random.between(MS, S));
        self.agenda.at(stops, Happening::Trouble(Trouble::Stop { site, how }));
        self.agenda.at(starts, Happening::Trouble(Trouble::Start { site }));
    }

    fn rot(&mut self, site: usize, damage: Damage) {
        let Some(key) = self.sites[site].rows.damage(&mut self.random, damage) else { return };
        self.sites[site].is_rotten = true;
        if let Some(life) = &mut self.sites[site].life {
            life.has_met_rot = true;
        }
        self.marks.hit(Mark::Rotten);
        self.note(format_args!("s{site} has the row {key:?} {damage:?}"));
    }

    /// Makes damaged rows whole. A store that had met one may have latched, and is opened again.
    fn restore(&mut self, site: usize) -> Result<(), Violation> {
        if !self.sites[site].is_rotten {
            return Ok(());
        }
        if !self.sites[site].rows.heal() {
            let at = self.soon(S);
            self.agenda.at(at, Happening::Trouble(Trouble::Restore { site }));
            return Ok(());
        }
        self.sites[site].is_rotten = false;
        if self.sites[site].life.as_ref().is_some_and(|life| life.is_poisoned) || !self.sites[site].is_up() {
            self.stop_soon(site);
        }
        Ok(())
    }

    /// Machines that have stopped at a call of the engine are down from here on, until somebody starts them.
    pub(super) fn notice_stops(&mut self) -> Result<(), Violation> {
        let Some(site) = (0..self.plan.sites).find(|site| self.sites[*site].rows.has_stopped()) else { return Ok(()) };
        self.marks.hit(Mark::StoppedInside);
        if self.sites[site].life.as_ref().is_some_and(|life| life.joining.is_some()) {
            self.sites[site].stops_joining = None;
            self.marks.hit(Mark::StoppedJoining);
        }
        let starts = self.soon(2 * S);
        self.agenda.at(starts, Happening::Trouble(Trouble::Start { site }));
        self.stop(site, Stop::Kill)
    }

    /// From here on nothing goes wrong any more, and clients ask for nothing more.
    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.note(format_args!("the troubles are over"));
        self.calm_since = Some(self.now);
        for (a, b) in self.plan.links() {
            self.heal(a, b);
            self.heal(b, a);
        }
        for site in &mut self.sites {
            (site.slower_us, site.is_busy, site.is_unreadable) = (0, false, false);
            (site.stops_sweeping, site.stops_joining) = (None, None);
            site.rows.arrange(None);
        }
        (0..self.plan.sites).try_for_each(|site| self.restore(site))?;
        let failing: Vec<usize> = (0..self.plan.sites).filter(|site| self.sites[*site].must_stop()).collect();
        failing.into_iter().for_each(|site| self.stop_soon(site));
        self.start_all()?;
        self.agenda.at(self.now.after(LOOK_US), Happening::Look);
        Ok(())
    }
}
