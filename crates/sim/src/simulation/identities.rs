//! Disks lose what they hold, and replicas the names that they must not write under any more.
//!
//! Who may have forgotten what it wrote goes on in its folder under another name; what it lost comes back from others as a foreign author's. A folder that
//! is a copy, of its own older state or of another site's, joins anew with nothing: all of it that counts comes from the mesh. The store
//! decides which, by what lies beside the rows; what the host does about it, and what can be expected after it, is here.

use std::collections::BTreeMap;

use tombolo_crdt::{Dot, ReplicaId, VersionVector};
use tombolo_storage::{Committer, Founding, IdentityLoss, OnLoss, OpenError, OpenOptions, Slot, Store};

use super::{MESH, Simulation, sessions::join_all};
use crate::{
    Mark,
    checker::{Claim, Violation, log::Log},
    disk::Habit,
    rows::Rows,
    trouble::{Loss, Stop},
};

/// The first of the slots that sites get which join anew.
const SLOTS_AFTER: u16 = 64;

impl Simulation<'_> {
    /// Keeps a copy of a site's disk.
    pub(super) fn keep_copy(&mut self, site: usize) {
        let state = &mut self.sites[site];
        state.kept = if state.is_up() && !state.has_met_rot() {
            state.rows.copy().map(|disk| (disk, state.log.clone()))
        } else {
            None
        };
    }

    /// A site's machine stops, and its disk has lost what it held.
    pub(super) fn lose(&mut self, site: usize, how: Loss) -> Result<(), Violation> {
        let kept = self.sites[site].kept.take();
        let clone = match how {
            Loss::Clone { of } if of != site && self.sites[of].is_up() && !self.sites[of].is_rotten => {
                self.sites[of].rows.copy()
            }
            _ => None,
        };
        let Some((copy, log)) = kept.filter(|_| self.sites[site].is_up()) else { return Ok(()) };
        self.stop(site, Stop::Crash)?;
        let state = &mut self.sites[site];
        match how {
            Loss::Suffix => {
                state.rows.lose_since(&copy);
                state.log = log;
            }
            Loss::Backup => state.rows.replace(&copy),
            Loss::Clone { .. } => state.rows.replace(clone.as_ref().unwrap_or(&copy)),
        }
        (state.has_lost, state.is_rotten) = (true, false);
        self.note(format_args!("s{site} has lost what its disk held: {how:?}"));
        Ok(())
    }

    /// Opens a site's rows, whoever it has to be from now on.
    pub(super) fn open_rows(&mut self, site: usize, options: &OpenOptions) -> Result<(Store, Committer), OpenError> {
        match self.sites[site].rows.open(options) {
            Err(OpenError::NeedsNewIdentity { cause: IdentityLoss::Copied }) => {
                let founding = self.join_anew(site).map_err(|what| OpenError::Damaged { what })?;
                self.sites[site].rows.open(&OpenOptions { founding, ..options.clone() })
            }
            // Nobody else can have it: an operator says so.
            Err(OpenError::NeedsNewIdentity { cause: IdentityLoss::LostSuffix { .. } }) => {
                self.sites[site].rows.open(&OpenOptions { on_loss: OnLoss::Succeed, ..options.clone() })
            }
            opened => opened,
        }
    }

    /// Whoever lies in a copied folder is somebody else, or may be: the site joins with an empty one, and with a ticket.
    fn join_anew(&mut self, site: usize) -> Result<Founding, String> {
        let unnamed = || "nobody can be named so".to_owned();
        let nth = self.sites.iter().map(|site| site.names.len()).sum::<usize>() as u16;
        let entropy = self.random.entropy();
        let replica = (site as u64 + 1) << 48 | u64::from(nth) << 32 | self.random.word() >> 32;
        let replica = ReplicaId::new(replica).ok_or_else(unnamed)?;
        let slot = Slot::new(SLOTS_AFTER + nth).ok_or_else(unnamed)?;
        let signer = self.keys.admit(replica, slot.number(), &entropy).ok_or_else(unnamed)?;
        self.roster = self.keys.roster();
        let state = &mut self.sites[site];
        state.rows = Rows::new(self.plan.engine, Habit::Sound, true).map_err(|error| error.to_string())?;
        // An operator names it the heir of what was there before.
        self.bequeathed.extend(state.names.iter().map(|name| (*name, site)));
        state.names.push(replica);
        state.kept = None;
        (state.replica, state.slot, state.entropy, state.signer) = (replica, slot, entropy, signer);
        state.log = Log::new(site, replica, slot);
        self.marks.hit(Mark::JoinedAnew);
        self.note(format_args!("s{site} joins anew, as {replica}"));
        self.tell_heirs();
        Ok(Founding::Join { mesh: MESH, replica, slot })
    }

    /// Says to every store who counts the leases of those who are not there any more.
    pub(super) fn tell_heirs(&mut self) {
        for site in 0..self.sites.len() {
            self.tell_heirs_to(site);
        }
    }

    fn tell_heirs_to(&self, site: usize) {
        if let Some(life) = &self.sites[site].life {
            life.store.set_lease_homes(self.lease_homes());
        }
    }

    pub(super) fn lease_homes(&self) -> BTreeMap<ReplicaId, ReplicaId> {
        self.bequeathed.iter().map(|(name, site)| (*name, self.sites[*site].replica)).collect()
    }

    /// The store has another name than the site had: everybody learns of it.
    pub(super) fn adopt_name(&mut self, site: usize, store: &Store) -> Result<(), Violation> {
        let own = store.identity().replica;
        if self.sites[site].replica == own {
            return Ok(());
        }
        let wall_ms = self.sites[site].clocks.wall_ms(self.now);
        let lost = store.predecessors().iter().rev().map_while(|before| {
            let is_news = before.replica != self.sites[site].replica;
            is_news.then_some(before.replica)
        });
        let mut names: Vec<ReplicaId> = lost.collect();
        names.reverse();
        names.push(own);
        for name in names {
            let state = &mut self.sites[site];
            let signer = self.keys.succeed(state.replica, name, wall_ms);
            let nobody = || Violation::at(site, Claim::Identity, format!("{name} goes on where nobody was"));
            state.signer = signer.ok_or_else(nobody)?;
            state.replica = name;
            state.names.push(name);
            // Who takes a name has made sure of everything before.
            state.kept = None;
        }
        self.roster = self.keys.roster();
        let state = &mut self.sites[site];
        state.log.renamed(own, store.published().revision);
        let cause = store.predecessors().last().map_or("", |before| &before.cause);
        let mark = if cause == "failed-sync" { Mark::RenamedAfterFailure } else { Mark::RenamedAfterLoss };
        self.marks.hit(mark);
        self.note(format_args!("s{site} goes on as {own}: {cause}"));
        self.tell_heirs();
        Ok(())
    }

    /// What can be expected after a disk has lost what it held: everything that anybody else has.
    pub(super) fn forget_lost(&mut self, site: usize, frontier: &VersionVector) {
        if !std::mem::take(&mut self.sites[site].has_lost) {
            return;
        }
        let mut left = join_all(
            self.sites
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != site)
                .map(|(_, state)| state.log.model().frontier()),
        );
        left.join(frontier);
        self.sites[site].promises.set_back(frontier, &left);
        for state in &mut self.sites {
            let lost = state.promises.forget_beyond(&self.records, &left);
            self.marks.add(Mark::LostForGood, lost as u64);
        }
        for client in 0..self.clients.len() {
            let (is_here, knows) = (self.clients[client].site == site, self.clients[client].guarantees.knows());
            let roams = self.clients[client].roams;
            if (is_here && !roams) || !left.includes(&knows) {
                self.clients[client].session = self.new_session();
                self.clients[client].guarantees.begin_anew();
            }
            let token = &mut self.clients[client].token;
            let known = token.iter().map(|dot| Dot::new(dot.replica, dot.seq.min(left.seq(dot.replica))));
            *token = known.filter(|dot| dot.seq > 0).collect();
        }
    }
}
