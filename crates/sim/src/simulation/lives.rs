//! Sites start and stop. What was promised before must be there after.

use tombolo_net::Input;
use tombolo_site::{Credit, HubOptions};
use tombolo_storage::{Founding, OnLoss, OpenError, OpenOptions, Revision, Store};

use super::{
    MESH, Simulation,
    committing::durability,
    ending::check_removed,
    observing::{check_content, log_after},
};
use crate::{
    MS, Mark, Plant, S,
    agenda::Happening,
    checker::{Claim, Violation},
    site::Life,
    trouble::{Stop, Trouble},
};

impl Simulation<'_> {
    /// Opens a site's store, and begins everything around it.
    pub(super) fn start(&mut self, site: usize) -> Result<(), Violation> {
        if self.sites[site].is_up() {
            return Ok(());
        }
        let credit = Credit { events: self.random.pick(&[2, 8, 1024]), bytes: 256 << 10 };
        let hub = HubOptions { credit, ..HubOptions::default() };
        let (mesh, state) = (MESH, &mut self.sites[site]);
        let founding = Founding::Join { mesh, replica: state.replica, slot: state.slot };
        let (wall, on_loss) = (state.wall(self.now), OnLoss::SucceedAmongOthers);
        let durability = durability(self.plant);
        let options = OpenOptions { founding, durability, on_loss, ..OpenOptions::new(wall, state.entropy) };
        let (store, committer) = match self.open_rows(site, &options) {
            Ok(opened) => opened,
            Err(error) => return self.not_opened(site, &error),
        };
        if !store.rotten_signatures().is_empty() {
            // Nobody here asks for those again, and without them not all of the log is told.
            drop((store, committer));
            return self.wait_for_signatures(site);
        }
        self.check_opened(site, &store)?;
        store.set_lease_homes(self.lease_homes());
        let state = &mut self.sites[site];
        let standing = store.standing();
        state.lives += 1;
        let (number, uptime) = (state.lives, state.uptime(self.now));
        let life = Life::begin(number, (store, committer), hub, uptime);
        state.life = Some(Life { has_met_rot: state.is_rotten, ..life });
        self.note(format_args!("s{site} is open at {:?}, {:?}", standing.published, standing.frontier));
        self.take_up(site)?;
        self.tell_standing(site)?;
        self.schedule_leases(site);
        for peer in self.network.neighbours(site) {
            self.plan_dial(site, peer);
        }
        let at = self.soon(S);
        self.agenda.at(at, Happening::Housekeeping { site, life: number });
        self.upkeep_soon(site);
        self.wake_clients(site);
        self.wake_watching(site);
        Ok(())
    }

    /// What was promised before must be there, as far as the disk has not lost it.
    fn check_opened(&mut self, site: usize, store: &Store) -> Result<(), Violation> {
        let state = &mut self.sites[site];
        let standing = store.standing();
        let log = log_after(store, &standing.floor, 0).map_err(|text| Violation::at(site, Claim::Service, text))?;
        let begins = Revision::new(standing.published.compacted).filter(|_| self.plan.joins_beside);
        if state.log.reopened(&mut self.records, &log, &standing.floor, begins)? {
            self.marks.hit(Mark::JoinFound);
            state.log.renumber(standing.published.commit);
            state.joined_at = Some(self.now);
        }
        self.adopt_name(site, store)?;
        self.forget_lost(site, &standing.frontier);
        let state = &mut self.sites[site];
        state.promises.check(&self.records, &standing.frontier)?;
        state.revisions.current(standing.published.revision, "a reopened store")?;
        state.log.check_published(standing.published, &standing.frontier)?;
        if !state.is_rotten {
            check_content(site, store, &state.log)?;
            state.log.check_system(&store.system(b""))?;
            self.removals.learn(&self.records);
            check_removed(site, store, &state.log, &self.removals)?;
        }
        if let Err(violation) = self.digests.note(site, &standing.frontier, standing.digest) {
            self.diverged.get_or_insert(violation);
        }
        Ok(())
    }

    /// A store whose signatures are rotten is left until its rows are whole again.
    fn wait_for_signatures(&mut self, site: usize) -> Result<(), Violation> {
        if !self.sites[site].is_rotten {
            return Err(Violation::at(site, Claim::Service, "signatures are said to be rotten".to_owned()));
        }
        self.note(format_args!("s{site} is not opened: its signatures are rotten"));
        self.marks.hit(Mark::RotRefused);
        self.sites[site].rows.stopped(Stop::Kill);
        Ok(())
    }

    /// A store is not opened while its machine stops again, or a row of it is damaged.
    fn not_opened(&mut self, site: usize, error: &OpenError) -> Result<(), Violation> {
        let is_named = self.sites[site].is_rotten
            && matches!(error, OpenError::Damaged { .. } | OpenError::Rotten { .. } | OpenError::RottenBase { .. });
        let has_stopped = self.sites[site].rows.has_stopped();
        if !is_named && !has_stopped {
            return Err(Violation::at(site, Claim::Service, format!("the store does not open: {error}")));
        }
        self.note(format_args!("s{site} is not opened: {error}"));
        self.marks.hit(if has_stopped { Mark::StoppedOpening } else { Mark::RotRefused });
        self.sites[site].rows.stopped(Stop::Kill);
        if has_stopped {
            let at = self.soon(S);
            self.agenda.at(at, Happening::Trouble(Trouble::Start { site }));
        }
        Ok(())
    }

    /// Stops a site. Nobody is told.
    pub(super) fn stop(&mut self, site: usize, how: Stop) -> Result<(), Violation> {
        // What cannot be written cannot be closed either.
        let how = if how == Stop::Close && self.sites[site].may_refuse() { Stop::Kill } else { how };
        if how == Stop::Close {
            self.say_goodbye(site)?;
        }
        let arrives = self.random.chance(50);
        let Some(mut life) = self.sites[site].life.take() else { return Ok(()) };
        self.note(format_args!("s{site} stops: {how:?}"));
        self.counts.stops += 1;
        let under_way = std::mem::take(&mut life.under_way);
        let Life { store, mut committer, .. } = life;
        if how == Stop::Close {
            let closed = under_way.into_iter().try_for_each(|(mut group, _)| {
                group.persist();
                committer.publish(group).map(drop)
            });
            let closed = closed.and_then(|()| committer.close());
            // The machine may stop while the store is being closed.
            let closed = closed.or_else(|error| if self.sites[site].rows.has_stopped() { Ok(()) } else { Err(error) });
            closed.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
        } else if arrives {
            // What was under way reached the disk, and nobody was told any more.
            under_way.into_iter().for_each(|(mut group, _)| group.persist());
        }
        drop(store);
        self.sites[site].rows.stopped(how);
        self.sites[site].has_failing_disk = false;
        self.spoil_rows(site, how);
        self.abandon_clients(site);
        self.abandon_watching(site);
        Ok(())
    }

    fn say_goodbye(&mut self, site: usize) -> Result<(), Violation> {
        let connections: Vec<_> =
            self.sites[site].life.iter().flat_map(|life| life.endpoints.keys().copied()).collect();
        connections.into_iter().try_for_each(|connection| self.feed(site, connection, Input::Stop))
    }

    /// What planted bugs do to rows at rest.
    fn spoil_rows(&mut self, site: usize, how: Stop) {
        match self.plant {
            Some(Plant::LostSuffix) if how == Stop::Crash => {
                let lost = self.sites[site].rows.lose_suffix(2);
                self.note(format_args!("s{site} has lost {lost} rows"));
            }
            Some(Plant::RestoredBackup) => {
                let restored = self.sites[site].rows.restore();
                self.note(format_args!("s{site} has its backup back: {restored}"));
            }
            _ => {}
        }
    }

    /// A clean end of what was planned for a calm mesh: everybody is up.
    pub(super) fn start_all(&mut self) -> Result<(), Violation> {
        (0..self.plan.sites).try_for_each(|site| {
            let at = self.soon(200 * MS);
            self.agenda.at(at, Happening::Trouble(Trouble::Start { site }));
            Ok(())
        })
    }
}
