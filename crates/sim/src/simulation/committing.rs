//! The committer's turn: requests and records are executed, go to the disk as a group, and are shown and answered.

use tombolo_crdt::VersionVector;
use tombolo_net::{IngestRefusal, IngestReport, Input};
use tombolo_storage::{CommitError, Durability, Outcome, ReadError, WallTime};

use super::{READ_US, Simulation};
use crate::{
    MS, Mark, Plant,
    agenda::Happening,
    checker::{Claim, Violation},
    site::{Waiting, Work},
};

/// Groups on their way to the disk at a time.
const GROUPS_MAX: usize = 4;

/// A little more than the time for which compacted history is kept.
const HURRY_MS: u64 = 31_000;

impl Simulation<'_> {
    /// Executes what waits, and sends the group on its way if none is.
    pub(super) fn work(&mut self, site: usize) -> Result<(), Violation> {
        let Some(life) = &self.sites[site].life else { return Ok(()) };
        let most = if self.plan.overlaps { GROUPS_MAX } else { 1 };
        if life.under_way.len() >= most {
            return Ok(());
        }
        while let Some(work) = self.sites[site].life.as_mut().and_then(|life| life.queue.pop_front()) {
            if matches!(work, Work::Join { .. } | Work::Publish) && !self.is_free(site) {
                // Everything before it goes first; it is looked at again when that is shown.
                if let Some(life) = &mut self.sites[site].life {
                    life.queue.push_front(work);
                }
                break;
            }
            // Beside a join that is being prepared only clients are served.
            match self.sites[site].life.as_mut().and_then(|life| life.joining.as_mut()) {
                Some(joining) if matches!(work, Work::Ingest { .. } | Work::Stage { .. }) => joining.held.push(work),
                _ => self.execute(site, work)?,
            }
        }
        self.seal(site)
    }

    fn seal(&mut self, site: usize) -> Result<(), Violation> {
        let slow = self.sites[site].slower_us;
        let at = self.soon(self.plan.disk_us).after(slow);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let (number, waiting) = (life.number, std::mem::take(&mut life.executed));
        match life.committer.seal() {
            Err(error) => {
                self.cannot_write(site, &error)?;
                self.refuse_all(site, waiting)
            }
            Ok(Some(group)) => {
                life.under_way.push_back((group, waiting));
                self.agenda.at(at, Happening::Persisted { site, life: number });
                self.answer_early(site)
            }
            Ok(None) if waiting.is_empty() => Ok(()),
            Ok(None) => {
                // Nothing was staged. What was read for these answers may be on its way to the disk all the same.
                match life.under_way.back_mut() {
                    Some((_, behind)) => behind.extend(waiting),
                    None => {
                        life.ready.extend(waiting);
                        let at = self.soon(100);
                        self.agenda.at(at, Happening::Ready { site, life: number });
                    }
                }
                Ok(())
            }
        }
    }

    /// The store takes no more writes. That is right when its disk fails; the site is stopped then, sooner or later.
    pub(super) fn cannot_write(&mut self, site: usize, error: &CommitError) -> Result<(), Violation> {
        let is_rot = matches!(error, CommitError::Read(ReadError::Rot { .. }));
        if is_rot && self.sites[site].has_met_rot() {
            // Housekeeping leaves the row where it is, and goes on later.
            self.marks.hit(Mark::RotNamed);
            return Ok(());
        }
        if !self.sites[site].may_refuse() || is_rot {
            return Err(Violation::at(site, Claim::Service, format!("a group was refused: {error}")));
        }
        let Some(life) = self.sites[site].life.as_mut().filter(|life| !life.is_poisoned) else { return Ok(()) };
        life.is_poisoned = true;
        self.marks.hit(Mark::Poisoned);
        self.note(format_args!("s{site} takes no more writes: {error}"));
        self.stop_soon(site);
        Ok(())
    }

    /// What was executed on a store that cannot write is not answered: nobody knows what is on disk.
    fn refuse_all(&mut self, site: usize, waiting: Vec<Waiting>) -> Result<(), Violation> {
        let known = |waiting: &Waiting| match waiting {
            Waiting::Client { result, .. } => result.is_err(),
            Waiting::Session { .. } => true,
            Waiting::Word => false,
        };
        let refused = |waiting| match waiting {
            Waiting::Session { connection, .. } => {
                let report = IngestReport { passed: 0, refused: Some(IngestRefusal::Poisoned) };
                Waiting::Session { connection, report }
            }
            client => client,
        };
        self.answer_all(site, waiting.into_iter().filter(known).map(refused).collect())
    }

    /// A planted bug answers clients before their group is on disk.
    fn answer_early(&mut self, site: usize) -> Result<(), Violation> {
        if !self.is_planted(Plant::AckBeforeDurable) {
            return Ok(());
        }
        let Some((_, waiting)) = self.sites[site].life.as_mut().and_then(|life| life.under_way.back_mut()) else {
            return Ok(());
        };
        let (clients, others) =
            std::mem::take(waiting).into_iter().partition(|waiting| matches!(waiting, Waiting::Client { .. }));
        *waiting = others;
        self.answer_all(site, clients)
    }

    fn execute(&mut self, site: usize, work: Work) -> Result<(), Violation> {
        let wall = self.sites[site].wall(self.now);
        match work {
            Work::Client { client, request } => {
                let Some(life) = &mut self.sites[site].life else { return Ok(()) };
                let result = life.committer.execute(wall, request);
                life.executed.push(Waiting::Client { client, result });
            }
            Work::Expiry { lease } => self.expire(site, wall, lease),
            Work::Ingest { connection, from, batch } => {
                self.ingest(site, wall, (connection, from), batch);
            }
            Work::Stage { pages } => return self.stage(site, pages),
            Work::Join { from, transfer } => return self.join(site, from, *transfer),
            Work::Publish => return self.publish_join(site),
            Work::Word { statement } => return self.word(site, wall, &statement),
        }
        Ok(())
    }

    /// The group that was under way is on disk.
    pub(super) fn persisted(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let Some((group, _)) = life.under_way.front_mut() else { return Ok(()) };
        // A sync covers whatever was written before it, so that several groups may have arrived.
        group.persist();
        while self.publish(site, number)? {}
        self.work(site)
    }

    /// Shows the oldest group under way, if it has arrived.
    fn publish(&mut self, site: usize, number: u64) -> Result<bool, Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(false) };
        let arrived = life.under_way.pop_front_if(|(group, _)| group.is_settled());
        let Some((group, waiting)) = arrived else { return Ok(false) };
        let commits = match life.committer.publish(group) {
            Ok(commits) => commits,
            // Nobody is answered: nobody knows what is on disk.
            Err(error) => return self.cannot_write(site, &error).map(|()| false),
        };
        let arrivals = self.observe(site, &commits)?;
        if self.may_move_members(commits.iter().map(|commit| &**commit)) {
            self.take_up(site)?;
        }
        self.meet(site)?;
        self.note_compaction(site, &waiting);
        self.tell_watchers(site, &commits, Some(&arrivals))?;
        self.apply_leases(site, &commits);
        if self.plan.telling_us == 0 {
            self.tell_standing(site)?;
        } else {
            let at = self.soon(self.plan.telling_us);
            self.agenda.at(at, Happening::Told { site, life: number });
        }
        if self.is_planted(Plant::OfferBeforeDurable) {
            let at = self.soon(50 * MS);
            if let Some(life) = self.sites[site].life(number) {
                life.unsynced.extend(waiting);
            }
            self.agenda.at(at, Happening::Synced { site, life: number });
        } else {
            self.answer_all(site, waiting)?;
        }
        Ok(true)
    }

    /// What needed no disk is answered.
    pub(super) fn ready(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let waiting = std::mem::take(&mut life.ready);
        self.answer_all(site, waiting)
    }

    /// A planted bug lets clients alone wait for the sync; here it comes.
    pub(super) fn synced(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let waiting = std::mem::take(&mut life.unsynced);
        self.sites[site].rows.sync();
        self.answer_all(site, waiting)
    }

    /// The log may be truncated up to here once peers have it, too.
    fn note_compaction(&mut self, site: usize, waiting: &[Waiting]) {
        let frontier = self.sites[site].log.model().frontier().clone();
        if waiting.iter().any(is_compaction)
            && let Some(life) = &mut self.sites[site].life
        {
            life.compacted_at = Some(frontier);
        }
    }

    pub(super) fn answer_all(&mut self, site: usize, waiting: Vec<Waiting>) -> Result<(), Violation> {
        for waiting in waiting {
            match waiting {
                Waiting::Client { client, result } => self.answer(client, result)?,
                Waiting::Session { connection, report } => self.feed(site, connection, Input::Ingested(report))?,
                Waiting::Word => self.sites[site].life.iter_mut().for_each(|life| life.members.words -= 1),
            }
        }
        Ok(())
    }

    /// Compacted history goes, once no peer needs the log below any more.
    pub(super) fn keep_house(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let early = self.plan.troubles.truncations;
        // Then the store itself sees to it that nobody who is active needs what goes.
        let holds = self.hold_log(site);
        let wall = self.sites[site].wall(self.now);
        let frontiers: Vec<_> = self.sites.iter().map(|site| site.log.model().frontier().clone()).collect();
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let may_go = |needed: &VersionVector| frontiers.iter().all(|frontier| frontier.includes(needed));
        let may_sweep = match self.plan.moves_members() {
            true => early || holds,
            false => early || life.compacted_at.as_ref().is_none_or(may_go),
        };
        if may_sweep {
            // Nobody here reads for as long as history is kept for readers.
            let wall = if early || holds { WallTime(wall.0 + HURRY_MS) } else { wall };
            self.sweep(site, wall)?;
            self.tell_standing(site)?;
        }
        let at = self.soon(2_000 * MS).after(READ_US);
        self.agenda.at(at, Happening::Housekeeping { site, life: number });
        Ok(())
    }

    /// Drops what is due, in as many batches as it takes.
    fn sweep(&mut self, site: usize, wall: WallTime) -> Result<(), Violation> {
        let state = &mut self.sites[site];
        let stops = state.stops_sweeping;
        if stops.is_some() {
            state.rows.arrange(stops);
        }
        let Some(life) = &mut state.life else { return Ok(()) };
        let kept = loop {
            match life.committer.maintain(wall) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if state.rows.has_stopped() {
            state.stops_sweeping = None;
            self.marks.hit(Mark::StoppedSweeping);
        } else if stops.is_some() {
            state.rows.arrange(None);
        }
        kept.or_else(|error| self.cannot_write(site, &error))
    }
}

/// What a store of this simulation is opened with.
pub(super) fn durability(plant: Option<Plant>) -> Durability {
    if plant == Some(Plant::OfferBeforeDurable) { Durability::Os } else { Durability::Fsync }
}

/// Whether the request was a compaction that was carried out.
fn is_compaction(waiting: &Waiting) -> bool {
    matches!(waiting, Waiting::Client { result: Ok(answer), .. } if answer.outcome == Outcome::Compacted)
}
