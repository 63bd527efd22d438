//! Connections: who dials whom, who accepts, what arrives, and what a newer connection does to an older one.

use tombolo_crdt::ReplicaId;
use tombolo_net::{Fault, Input};

use super::Simulation;
use crate::{
    MS, S,
    agenda::Happening,
    checker::Violation,
    network::{ConnectionId, End, Parcel},
};

/// The pause after a first failed attempt.
const BACKOFF_MIN_US: u64 = 100 * MS;
/// The longest pause.
const BACKOFF_MAX_US: u64 = 3 * S;
/// How long the site that should be dialled waits before it dials itself.
const PATIENCE_US: u64 = 2 * S;

/// An attempt to make a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialling {
    /// In which life of who dialled.
    life: u64,
    /// Who has accepted.
    peer: Option<ReplicaId>,
}

impl Simulation<'_> {
    /// Decides when a site tries to reach a peer that it has no connection to.
    pub(super) fn plan_dial(&mut self, site: usize, peer: usize) {
        let jitter = self.random.between(0, 50 * MS);
        let Some(life) = &mut self.sites[site].life else { return };
        let dials = life.dials.entry(peer).or_default();
        dials.ticket += 1;
        let ticket = dials.ticket;
        let backoff = match dials.failures {
            0 => 0,
            failures => (BACKOFF_MIN_US << failures.min(10)).min(BACKOFF_MAX_US),
        };
        let patience = if site < peer { 0 } else { PATIENCE_US };
        self.agenda.at(self.now.after(backoff + patience + jitter), Happening::Dial { from: site, to: peer, ticket });
    }

    pub(super) fn dial(&mut self, from: usize, to: usize, ticket: u64) -> Result<(), Violation> {
        let Some(life) = &self.sites[from].life else { return Ok(()) };
        let is_wanted =
            !life.peers.contains_key(&to) && life.dials.get(&to).is_some_and(|dials| dials.ticket == ticket);
        if is_wanted {
            self.try_connection(from, to);
        }
        Ok(())
    }

    /// Tries to make a connection, whether or not there is one.
    pub(super) fn try_connection(&mut self, from: usize, to: usize) {
        let Some(life) = &self.sites[from].life else { return };
        let number = life.number;
        if self.bars(from, to) {
            return;
        }
        let is_reached = self.network.is_open(from, to) && self.sites[to].is_up();
        if !is_reached {
            return self.dial_failed(from, to);
        }
        let connection = self.network.connect(from, to);
        self.dialling.insert(connection, Dialling { life: number, peer: None });
        let at = self.now.after(self.network.packet_us(from, to));
        self.agenda.at(at, Happening::Accepted { connection });
    }

    fn dial_failed(&mut self, from: usize, to: usize) {
        if let Some(life) = &mut self.sites[from].life {
            life.dials.entry(to).or_default().failures += 1;
            if !life.peers.contains_key(&to) {
                self.plan_dial(from, to);
            }
        }
    }

    fn ends(&self, connection: ConnectionId) -> Option<(usize, usize)> {
        let dialler = self.network.site(connection, End::Dialler)?;
        Some((dialler, self.network.site(connection, End::Acceptor)?))
    }

    /// The dialled site hears of the connection.
    pub(super) fn accepted(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        let Some((from, to)) = self.ends(connection) else { return Ok(()) };
        let is_newest = |current: &ConnectionId| *current < connection;
        let accepts = self.sites[to].life.as_ref().is_some_and(|life| life.peers.get(&from).is_none_or(is_newest));
        let refuses = self.bars(to, from) && self.network.is_open(from, to) && self.network.is_open(to, from);
        if refuses {
            self.turned_out(from);
        }
        if refuses || !accepts || self.bars(to, from) || !self.network.is_open(from, to) {
            self.network.forget(connection);
            self.dialling.remove(&connection);
            self.dial_failed(from, to);
            return Ok(());
        }
        let at = self.now.after(self.network.packet_us(to, from));
        self.network.not_before(connection, End::Acceptor, at);
        self.agenda.at(at, Happening::Opened { connection });
        self.supersede(to, from)?;
        self.counts.connections += 1;
        let (acceptor, dialler) = (self.sites[to].replica, self.sites[from].replica);
        if let Some(dialling) = self.dialling.get_mut(&connection) {
            dialling.peer = Some(acceptor);
        }
        self.begin_session(to, (from, dialler), connection, End::Acceptor)
    }

    /// The dialling site hears that it was accepted, if it still wants to and the answer comes through.
    pub(super) fn opened(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        let Some((from, to)) = self.ends(connection) else { return Ok(()) };
        let Some(Dialling { life: number, peer: Some(peer) }) = self.dialling.remove(&connection) else {
            return Ok(());
        };
        let is_newest = |current: &ConnectionId| *current < connection;
        let life = self.sites[from].life.as_ref().filter(|life| life.number == number);
        let wants = life.is_some_and(|life| life.peers.get(&to).is_none_or(is_newest));
        if !wants || self.bars(from, to) || !self.network.is_open(to, from) {
            // The other end waits in vain for a hello.
            self.dial_failed(from, to);
            return Ok(());
        }
        self.supersede(from, to)?;
        self.begin_session(from, (to, peer), connection, End::Dialler)
    }

    /// A newer connection takes the place of the one in use.
    fn supersede(&mut self, site: usize, peer: usize) -> Result<(), Violation> {
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let Some(connection) = life.peers.get(&peer).copied() else { return Ok(()) };
        if let Some(endpoint) = life.endpoints.get_mut(&connection) {
            endpoint.session.close(Fault::Superseded);
        }
        self.drain_session(site, connection)
    }

    /// Something arrives at an end.
    pub(super) fn parcel(&mut self, connection: ConnectionId, at: End, turn: u64) -> Result<(), Violation> {
        let Some(parcel) = self.network.arrive(connection, at, turn) else { return Ok(()) };
        let Some(site) = self.network.site(connection, at) else { return Ok(()) };
        match parcel {
            Parcel::Frame(payload) => {
                self.note(format_args!("s{site} receives {} bytes in session {}", payload.len(), connection.0));
                self.feed(site, connection, Input::Frame(payload))
            }
            Parcel::End => {
                let is_there =
                    self.sites[site].life.as_ref().is_some_and(|life| life.endpoints.contains_key(&connection));
                if is_there {
                    self.note(format_args!("s{site} hears that session {} is over", connection.0));
                    self.end_session(site, connection)?;
                }
                self.network.forget(connection);
                Ok(())
            }
        }
    }
}
