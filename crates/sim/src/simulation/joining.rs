//! Everything of a transfer has come: it is joined, in one step or prepared beside writers.
//!
//! In half of the seeds a join is prepared, as the server does with much: clients are served meanwhile, and what it cannot be prepared beside waits. That
//! nothing else is on its way to the disk when it begins and when it ends is the host's part.

use tombolo_crdt::ReplicaId;
use tombolo_net::HeadFault;
use tombolo_storage::{CollectedTransfer, CommitError, CompleteTransfer, PublishedTransfer, TransferError};

use super::{MESH, Simulation, transfers::broken};
use crate::{
    MS, Mark, Plant,
    agenda::Happening,
    checker::{Claim, Violation},
    disk::Arranged,
    site::{Joining, Work},
    trouble::Stop,
};

/// How long one step of a preparation takes, at most.
const STEP_US: u64 = 300 * MS;

impl Simulation<'_> {
    /// Whether a join can begin or end now: nothing else is on its way.
    pub(super) fn is_free(&self, site: usize) -> bool {
        let life = self.sites[site].life.as_ref();
        life.is_some_and(|life| life.under_way.is_empty() && life.committer.pending() == 0 && life.executed.is_empty())
    }

    /// Joins a transfer with the state of the moment, or begins to.
    pub(super) fn join(&mut self, site: usize, from: ReplicaId, transfer: CollectedTransfer) -> Result<(), Violation> {
        if self.is_shut_out(site, from) {
            return self.leave_transfer(site, Ok(()));
        }
        let roster = &self.roster;
        let proven =
            transfer.prove(|transfer| roster.judge_heads(MESH.0, transfer.heads(), || Ok::<_, HeadFault>(Vec::new())));
        let transfer = proven.map_err(|fault| broken(site, &fault))?;
        // What is wrong in the middle of a join is seen only by who stops there.
        let planted = match self.plant.filter(|_| !self.is_calm()) {
            Some(Plant::HalfJoinVisible) => Some(Arranged { calls: 3, is_after: false, how: Stop::Kill }),
            _ => None,
        };
        let stops = planted.or(self.sites[site].stops_joining);
        if stops.is_some() {
            self.sites[site].rows.arrange(stops);
        }
        if self.plan.joins_beside {
            return self.begin_join(site, from, transfer);
        }
        let wall = self.sites[site].wall(self.now);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let joined = life.committer.publish_transfer(wall, transfer);
        self.end_join(site, joined)
    }

    /// Begins to prepare a join. Clients write on.
    fn begin_join(&mut self, site: usize, from: ReplicaId, transfer: CompleteTransfer) -> Result<(), Violation> {
        let wall = self.sites[site].wall(self.now);
        let began = self.sites[site].log.model().commits();
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        match life.committer.prepare_transfer(wall, transfer) {
            Ok((commits, _)) if !commits.is_empty() => {
                let text = format!("a join began with {} commits of nobody", commits.len());
                Err(Violation::at(site, Claim::Service, text))
            }
            Ok((_, Some(preparation))) => {
                life.joining = Some(Joining { from, preparation, began, is_prepared: false, held: Vec::new() });
                self.note(format_args!("s{site} prepares a join"));
                self.join_goes_on(site);
                Ok(())
            }
            Ok((_, None)) => {
                life.taking = None;
                self.release_stop(site);
                self.transfer_soon(site);
                Ok(())
            }
            Err(error) => self.end_join(site, Err(error)),
        }
    }

    fn join_goes_on(&mut self, site: usize) {
        let at = self.soon(STEP_US);
        if let Some(life) = &self.sites[site].life {
            self.agenda.at(at, Happening::Prepare { site, life: life.number });
        }
    }

    /// The next step of a preparation: it is run, and then published.
    pub(super) fn prepare(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let Some(joining) = &mut life.joining else { return Ok(()) };
        if joining.is_prepared {
            life.queue.push_front(Work::Publish);
            return self.work(site);
        }
        joining.preparation.run();
        joining.is_prepared = true;
        self.join_goes_on(site);
        Ok(())
    }

    /// Publishes what was prepared. What has waited for it is taken next.
    pub(super) fn publish_join(&mut self, site: usize) -> Result<(), Violation> {
        let wall = self.sites[site].wall(self.now);
        let commits = self.sites[site].log.model().commits();
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let Some(Joining { from, preparation, held, began, .. }) = life.joining.take() else { return Ok(()) };
        for work in held.into_iter().rev() {
            life.queue.push_front(work);
        }
        if life.members.shut_out.contains(&from) {
            let left = life.committer.abandon_transfer(preparation);
            self.release_stop(site);
            return self.leave_transfer(site, left);
        }
        let joined = life.committer.publish_prepared(wall, preparation);
        if joined.is_ok() && commits > began {
            self.marks.hit(Mark::WrittenBesideJoin);
        }
        self.end_join(site, joined)
    }

    fn is_shut_out(&self, site: usize, from: ReplicaId) -> bool {
        self.sites[site].life.as_ref().is_some_and(|life| life.members.shut_out.contains(&from))
    }

    /// Nothing comes from whoever was removed meanwhile: somebody else is asked.
    fn leave_transfer(&mut self, site: usize, left: Result<(), CommitError>) -> Result<(), Violation> {
        if let Some(life) = &mut self.sites[site].life {
            life.taking = None;
        }
        self.note(format_args!("s{site} joins nothing that comes from a removed site"));
        self.transfer_soon(site);
        left.or_else(|error| self.cannot_write(site, &error))
    }

    /// A stop that was arranged for a join and has not come does not come any more.
    fn release_stop(&mut self, site: usize) {
        let state = &mut self.sites[site];
        if state.rows.has_stopped() {
            state.stops_joining = None;
            self.marks.hit(Mark::StoppedJoining);
        } else if state.stops_joining.is_some() || self.plant == Some(Plant::HalfJoinVisible) {
            state.rows.arrange(None);
        }
    }

    fn end_join(&mut self, site: usize, joined: Result<PublishedTransfer, TransferError>) -> Result<(), Violation> {
        if let Some(life) = &mut self.sites[site].life {
            life.taking = None;
        }
        self.release_stop(site);
        let joined = match joined {
            Ok(joined) => joined,
            Err(TransferError::Commit(error @ CommitError::Poisoned { .. })) => return self.cannot_write(site, &error),
            Err(TransferError::Read(error) | TransferError::Commit(CommitError::Read(error))) => {
                return self.cannot_take(site, &error);
            }
            Err(error) => {
                return Err(Violation::at(site, Claim::Service, format!("a transfer is not joined: {error}")));
            }
        };
        self.note(format_args!(
            "s{site} joins a transfer: {} came, {} went, {:?}",
            joined.added, joined.removed, joined.frontier
        ));
        let frontier = self.sites[site].log.model().frontier();
        let (was_empty, brings) = (frontier.is_empty(), !frontier.includes(&joined.frontier));
        self.sites[site].joined_at = Some(self.now);
        if brings {
            self.marks.hit(if was_empty { Mark::CheckpointJoined } else { Mark::DeltaJoined });
        }
        self.observe_join(site, &joined)?;
        self.transfer_soon(site);
        Ok(())
    }
}
