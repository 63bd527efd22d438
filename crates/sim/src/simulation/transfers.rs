//! Transfers of state: a site that lacks what is in no peer's log any more pulls pages, stages them and joins them.
//!
//! Whom it asks and when it asks again is the host's part. What comes after the last page is in `joining`.

use bytes::Bytes;
use tombolo_crdt::VersionVector;
use tombolo_net::{AskFailure, Input, Moment};
use tombolo_storage::{Provider, ReadError, Receiver, Refusal, StagedPage, TransferError, TransferFault};

use super::{READ_US, Simulation};
use crate::{
    MS, Mark, Plant, Time,
    agenda::Happening,
    checker::{Claim, Violation},
    network::ConnectionId,
    site::{Taking, Work},
};

/// Pulls on their way at a time.
const PULLS: usize = 3;

/// A token has the number of the pull in its last bits, and when its provider was asked first in the others.
const PULL_BITS: u32 = 16;
const PULLS_MASK: u64 = (1 << PULL_BITS) - 1;

/// How long a site waits before it asks somebody again, at most.
const PAUSE_US: u64 = 500 * MS;

impl Simulation<'_> {
    /// A session says that we lack what is no longer in the peer's log. That must be so.
    pub(super) fn lacks_state(&mut self, site: usize, peer: usize, floor: &VersionVector) -> Result<(), Violation> {
        // A session knows what it was told, which may have been some time ago.
        if self.sites[site].life.as_ref().is_some_and(|life| life.standing.frontier.includes(floor)) {
            let text = format!("s{peer} is said to have forgotten what is lacked here, but {floor:?} is here");
            return Err(Violation::at(site, Claim::Protocol, text));
        }
        self.marks.hit(Mark::LacksState);
        if !self.is_planted(Plant::EarlyTruncation) {
            self.transfer_soon(site);
        }
        Ok(())
    }

    pub(super) fn transfer_soon(&mut self, site: usize) {
        let at = self.soon(PAUSE_US);
        if let Some(life) = &self.sites[site].life {
            self.agenda.at(at, Happening::TransferDue { site, life: life.number });
        }
    }

    /// Begins a transfer, or goes on with it at some peer, if one is needed still.
    pub(super) fn transfer_due(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let (now, now_us) = (Moment(self.sites[site].clocks.monotonic_ms(self.now)), self.now);
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        if life.taking.as_ref().is_some_and(|taking| taking.from.is_some() || taking.is_joining) {
            return Ok(());
        }
        let frontier = life.store.frontier();
        let lacks = |connection: &&ConnectionId| {
            life.endpoints.get(connection).is_some_and(|endpoint| endpoint.session.status(now).own_needs_state)
        };
        let providers: Vec<ConnectionId> = life.peers.values().filter(lacks).copied().collect();
        let is_led_beyond = |taking: &Taking| taking.receiver.vector().is_some_and(|to| frontier.includes(to));
        if life.taking.as_ref().is_some_and(is_led_beyond) {
            // What it would bring has come by another way.
            return self.give_up(site);
        }
        if providers.is_empty() {
            return Ok(());
        }
        let from = self.random.pick(&providers);
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        if life.taking.is_none() {
            match Receiver::resume(&life.store) {
                Ok(receiver) => {
                    let resumes = receiver.progress().elements > 0;
                    life.taking = Some(Taking { receiver, from: None, since: Time(0), is_joining: false });
                    self.marks.hit(if resumes { Mark::TransferResumed } else { Mark::TransferBegun });
                }
                Err(error) => return self.cannot_take(site, &error),
            }
        }
        let Some(taking) = self.taking(site) else { return Ok(()) };
        (taking.from, taking.since) = (Some(from), now_us);
        self.note(format_args!("s{site} takes a transfer in session {}", from.0));
        self.pull(site)
    }

    fn taking(&mut self, site: usize) -> Option<&mut Taking> {
        self.sites[site].life.as_mut()?.taking.as_mut()
    }

    /// Asks for what is to be asked next; joins when all is there.
    fn pull(&mut self, site: usize) -> Result<(), Violation> {
        let Some(taking) = self.taking(site) else { return Ok(()) };
        let Some(from) = taking.from.filter(|_| !taking.is_joining) else { return Ok(()) };
        let pulls = taking.receiver.next_pulls(PULLS);
        if pulls.is_empty() {
            let complete = match taking.receiver.complete() {
                Ok(complete) => complete,
                Err(fault) => return self.interrupted(site, from, &fault),
            };
            if let Some(transfer) = complete {
                taking.is_joining = true;
                self.note(format_args!("s{site} has all of the transfer"));
                if let Some(life) = &mut self.sites[site].life
                    && let Some(from) = life.endpoints.get(&from).map(|provider| provider.replica)
                {
                    life.queue.push_back(Work::Join { from, transfer: Box::new(transfer) });
                }
                return self.work(site);
            }
        }
        let since = taking.since;
        for pull in pulls {
            self.feed(site, from, Input::Pull { token: since.0 << PULL_BITS | pull.id, body: pull.body })?;
        }
        Ok(())
    }

    /// A peer pulls a page.
    pub(super) fn pull_asked(&mut self, site: usize, connection: ConnectionId, id: u64, body: Bytes) {
        let at = self.soon(READ_US);
        self.agenda.at(at, Happening::Page { site, connection, id, body });
    }

    /// The page that a peer has pulled has been read.
    pub(super) fn page(
        &mut self,
        site: usize,
        connection: ConnectionId,
        id: u64,
        body: Bytes,
    ) -> Result<(), Violation> {
        let uptime = self.sites[site].uptime(self.now);
        let has_met_rot = self.sites[site].has_met_rot();
        let Some(life) = &self.sites[site].life else { return Ok(()) };
        if !life.has_told_everything() {
            self.pull_asked(site, connection, id, body);
            return Ok(());
        }
        let state = &self.sites[site];
        let sign = |dot, chain| state.signer.sign(&self.roster, dot, chain);
        let page = match life.provider.answer(uptime, body, sign) {
            Ok(page) => page,
            Err(TransferFault::Read(ReadError::Rot { .. })) if has_met_rot => {
                self.marks.hit(Mark::RotNamed);
                Provider::refusal(Refusal::Damaged)
            }
            Err(fault) => return Err(broken(site, &fault)),
        };
        self.note(format_args!("s{site} hands on {} bytes of a transfer", page.len()));
        self.feed(site, connection, Input::Page { id, body: page })
    }

    /// What came of a pull.
    pub(super) fn pulled(
        &mut self,
        site: usize,
        connection: ConnectionId,
        token: u64,
        page: Result<Bytes, AskFailure>,
    ) -> Result<(), Violation> {
        let is_asked = |taking: &&mut Taking| taking.from == Some(connection) && token >> PULL_BITS == taking.since.0;
        let Some(taking) = self.taking(site).filter(is_asked) else { return Ok(()) };
        let taken = match page {
            Ok(page) if !page.is_empty() => taking.receiver.take(token & PULLS_MASK, page),
            _ => return self.cut_transfer(site, connection),
        };
        match taken {
            Ok(pages) => {
                if !pages.is_empty()
                    && let Some(life) = &mut self.sites[site].life
                {
                    life.queue.push_back(Work::Stage { pages });
                    self.work(site)?;
                }
                self.pull(site)
            }
            Err(fault) => self.interrupted(site, connection, &fault),
        }
    }

    /// A page was not taken, or what has come is not whole: only a provider's right and damage here are reasons.
    fn interrupted(&mut self, site: usize, connection: ConnectionId, fault: &TransferFault) -> Result<(), Violation> {
        match fault {
            TransferFault::Refused(why) => {
                self.note(format_args!("s{site} is refused a page: {why}"));
                self.cut_transfer(site, connection)
            }
            TransferFault::Read(error) => self.cannot_take(site, error),
            fault => Err(broken(site, fault)),
        }
    }

    /// The provider is gone, or gives nothing: another one is asked, or it again.
    pub(super) fn cut_transfer(&mut self, site: usize, connection: ConnectionId) -> Result<(), Violation> {
        let Some(taking) = self.taking(site).filter(|taking| taking.from == Some(connection)) else { return Ok(()) };
        if taking.is_joining {
            return Ok(());
        }
        taking.receiver.cut();
        taking.from = None;
        self.marks.hit(Mark::ProviderLost);
        self.transfer_soon(site);
        Ok(())
    }

    /// Rows of our own could not be read for a transfer.
    pub(super) fn cannot_take(&mut self, site: usize, error: &ReadError) -> Result<(), Violation> {
        if !self.sites[site].may_refuse() {
            return Err(Violation::at(site, Claim::Service, format!("a transfer cannot be taken: {error}")));
        }
        if let Some(life) = &mut self.sites[site].life {
            life.taking = None;
        }
        self.transfer_soon(site);
        Ok(())
    }

    fn give_up(&mut self, site: usize) -> Result<(), Violation> {
        self.marks.hit(Mark::TransferGivenUp);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        life.taking = None;
        if let Err(error) = life.committer.drop_transfer() {
            return self.cannot_take(site, &error);
        }
        self.transfer_soon(site);
        Ok(())
    }

    /// Keeps pages that have come.
    pub(super) fn stage(&mut self, site: usize, pages: Vec<StagedPage>) -> Result<(), Violation> {
        let wall = self.sites[site].wall(self.now);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        match life.committer.stage(wall, pages) {
            Ok(()) => Ok(()),
            Err(TransferError::Commit(error)) => self.cannot_write(site, &error),
            Err(error) => Err(Violation::at(site, Claim::Service, format!("a page is not kept: {error}"))),
        }
    }
}

pub(super) fn broken(site: usize, fault: &impl std::fmt::Display) -> Violation {
    Violation::at(site, Claim::Protocol, format!("a transfer between sound sites failed: {fault}"))
}
