//! Sites start and stop. What was promised before must be there after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tombolo_net::{Input, Stability};
use tombolo_site::{Credit, Hub, HubOptions, LeaseTable};
use tombolo_storage::{Founding, OpenOptions};

use super::{
    MESH, Simulation,
    committing::{check_content, durability, log_after},
    sessions,
};
use crate::{
    MS, Plant, S,
    agenda::Happening,
    checker::{Claim, Violation},
    site::Life,
    trouble::Stop,
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
        let wall = state.clocks.wall(self.now);
        let options =
            OpenOptions { founding, durability: durability(self.plant), ..OpenOptions::new(wall, state.entropy) };
        let opened = state.rows.open(&options);
        let (store, committer) =
            opened.map_err(|error| Violation::at(site, Claim::Service, format!("the store does not open: {error}")))?;
        let standing = store.standing();
        let log = log_after(&store, &standing.floor, 0).map_err(|text| Violation::at(site, Claim::Service, text))?;
        state.log.reopened(&mut self.records, &log, &standing.floor)?;
        state.promises.check(&self.records, &standing.frontier)?;
        state.revisions.current(standing.published.revision, "a reopened store")?;
        state.log.check_published(standing.published, &standing.frontier)?;
        check_content(site, &store, &state.log)?;
        state.log.check_system(&store.system(b""))?;
        self.digests.note(site, &standing.frontier, standing.digest)?;
        state.lives += 1;
        let mut leases = LeaseTable::new();
        let uptime = state.uptime(self.now);
        store.leases().into_iter().for_each(|(id, ttl_s)| leases.granted(id, ttl_s, uptime));
        let number = state.lives;
        state.life = Some(Life {
            number,
            is_poisoned: false,
            hub: Hub::new(standing.published.revision, hub),
            standing: std::sync::Arc::new(sessions::standing(&store)),
            // What was compacted before may have to wait for the peers still.
            compacted_at: (standing.published.compacted > 0).then(|| standing.frontier.clone()),
            store,
            committer,
            leases,
            stability: Stability::new(),
            queue: VecDeque::new(),
            executed: Vec::new(),
            under_way: VecDeque::new(),
            ready: Vec::new(),
            expiries: BTreeMap::new(),
            unsynced: Vec::new(),
            endpoints: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            replays: VecDeque::new(),
            foreign_watches: BTreeSet::new(),
        });
        self.note(format_args!("s{site} is open at {:?}, {:?}", standing.published, standing.frontier));
        self.tell_standing(site)?;
        self.schedule_leases(site);
        for peer in self.network.neighbours(site) {
            self.plan_dial(site, peer);
        }
        let at = self.soon(S);
        self.agenda.at(at, Happening::Housekeeping { site, life: number });
        self.wake_clients(site);
        self.wake_watching(site);
        Ok(())
    }

    /// Stops a site. Nobody is told.
    pub(super) fn stop(&mut self, site: usize, how: Stop) -> Result<(), Violation> {
        // What cannot be written cannot be closed either.
        let how = if how == Stop::Close && self.sites[site].has_failing_disk { Stop::Kill } else { how };
        if how == Stop::Close {
            self.say_goodbye(site)?;
        }
        let arrives = self.random.chance(50);
        let Some(mut life) = self.sites[site].life.take() else { return Ok(()) };
        self.note(format_args!("s{site} stops: {how:?}"));
        self.counts.stops += 1;
        for (mut group, _) in std::mem::take(&mut life.under_way) {
            if how == Stop::Close {
                group.persist();
                let published = life.committer.publish(group);
                published.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
            } else if arrives {
                // It reached the disk, and nobody was told any more.
                group.persist();
            }
        }
        let Life { store, committer, .. } = life;
        if how == Stop::Close {
            committer.close().map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
        } else {
            drop(committer);
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
            self.agenda.at(at, Happening::Trouble(crate::trouble::Trouble::Start { site }));
            Ok(())
        })
    }
}
