//! Sessions are fed and drained, and get what they ask for: the log, the committer, deadlines, and word of every advance.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Hlc, Record, RecordHeader, ReplicaId, VersionVector};
use tombolo_net::{
    Batch, Event, Fault, IngestReport, Input, LoadFailure, Loaded, Moment, Output, Session, Settings, Standing,
};
use tombolo_storage::{ArrivalBudget, Arrivals, ArrivalsError, Store};

use super::{MESH, READ_US, Simulation};
use crate::{
    Mark, Plant,
    agenda::Happening,
    checker::{Claim, Violation, protocol},
    network::{ConnectionId, End, Parcel},
    site::{Endpoint, LoadRequest, Site, Work},
};

impl Simulation<'_> {
    /// Begins a session at one end of a connection.
    pub(super) fn begin_session(
        &mut self,
        site: usize,
        (peer, peer_replica): (usize, ReplicaId),
        connection: ConnectionId,
        end: End,
    ) -> Result<(), Violation> {
        let limits = self.limits.clone();
        let state = &mut self.sites[site];
        let (now, wall_ms) = (Moment(state.clocks.monotonic_ms(self.now)), state.clocks.wall_ms(self.now));
        let own = state.replica;
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let settings = Settings { mesh: MESH.0, own, peer: peer_replica, limits };
        let session = Session::new(settings, Arc::clone(&life.standing), now, wall_ms);
        life.endpoints.insert(
            connection,
            Endpoint { peer, replica: peer_replica, since: self.now, end, session, ticket: 0, load: None },
        );
        life.peers.insert(peer, connection);
        life.dials.entry(peer).or_default().failures = 0;
        self.note(format_args!("s{site} begins session {} with s{peer}", connection.0));
        self.drain_session(site, connection)
    }

    /// Tells a session something, and does what it answers.
    pub(super) fn feed(&mut self, site: usize, connection: ConnectionId, input: Input) -> Result<(), Violation> {
        let now = Moment(self.sites[site].clocks.monotonic_ms(self.now));
        let endpoint = self.sites[site].life.as_mut().and_then(|life| life.endpoints.get_mut(&connection));
        let Some(endpoint) = endpoint else { return Ok(()) };
        endpoint.session.handle(now, input);
        self.drain_session(site, connection)
    }

    /// Who a session is with.
    pub(super) fn peer_of(&self, site: usize, connection: ConnectionId) -> Option<usize> {
        let life = self.sites[site].life.as_ref()?;
        life.endpoints.get(&connection).map(|endpoint| endpoint.peer)
    }

    pub(super) fn drain_session(&mut self, site: usize, connection: ConnectionId) -> Result<(), Violation> {
        loop {
            let endpoint = self.sites[site].life.as_mut().and_then(|life| life.endpoints.get_mut(&connection));
            let Some(endpoint) = endpoint else { return Ok(()) };
            let (peer, end) = (endpoint.peer, endpoint.end);
            let Some(output) = endpoint.session.poll() else { break };
            match output {
                Output::Send(payload) => self.send(connection, end, Parcel::Frame(payload)),
                Output::Load { seen, from, commits, bytes } => {
                    endpoint.load = Some(LoadRequest { seen, from, commits, bytes });
                    let at = self.soon(READ_US);
                    self.agenda.at(at, Happening::Load { site, connection });
                }
                Output::Ingest(batch) => self.queue_ingest(site, connection, batch)?,
                Output::Deadline(moment) => {
                    endpoint.ticket += 1;
                    let ticket = endpoint.ticket;
                    let at = self.sites[site].clocks.when_monotonic(moment.0, self.now);
                    self.agenda.at(at, Happening::Deadline { site, connection, ticket });
                }
                // Simulated sites ask each other nothing, pull nothing, and are too few for links that only announce.
                Output::Asked { .. } | Output::Answered { .. } | Output::Linked(_) => {}
                Output::PullAsked { id, body } => self.pull_asked(site, connection, id, body),
                Output::Pulled { token, page } => self.pulled(site, connection, token, page)?,
                Output::Event(event) => self.session_event(site, connection, peer, event)?,
                Output::Close(fault) => {
                    self.note(format_args!("s{site} ends session {} with s{peer}: {fault}", connection.0));
                    self.end_session(site, connection)?;
                    self.marks.hit_fault(&fault);
                    let is_own_trouble = self.sites[site].may_refuse() && fault == Fault::LocalTrouble;
                    let was_removed = fault == Fault::NotAMember && self.bars(site, peer);
                    return if is_own_trouble || was_removed {
                        Ok(())
                    } else {
                        protocol::check_fault(site, peer, &fault)
                    };
                }
            }
        }
        // Whatever the session handed to the committer is looked at once it has nothing more to say.
        self.work(site)
    }

    fn queue_ingest(&mut self, site: usize, connection: ConnectionId, batch: Batch) -> Result<(), Violation> {
        let count = batch.records.len();
        self.note(format_args!("s{site} takes {count} records from session {}", connection.0));
        self.check_offered(site, connection, &batch.records)?;
        if self.is_planted(Plant::FrontierAhead) {
            self.tell_ahead(site, connection, &batch.records)?;
        }
        let drops = self.is_planted(Plant::DroppedWhenBusy);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        if drops && !life.under_way.is_empty() {
            return self.feed(site, connection, Input::Ingested(IngestReport { passed: count, refused: None }));
        }
        let Some(from) = life.endpoints.get(&connection).map(|endpoint| endpoint.replica) else { return Ok(()) };
        life.queue.push_back(Work::Ingest { connection, from, batch });
        Ok(())
    }

    /// Nothing is offered that the peer's sessions were not told is durable there.
    fn check_offered(&self, site: usize, connection: ConnectionId, records: &[Bytes]) -> Result<(), Violation> {
        let Some(peer) = self.peer_of(site, connection) else { return Ok(()) };
        for header in records.iter().filter_map(|record| RecordHeader::decode(record.clone()).ok()) {
            if !self.sites[peer].promises.has_told(header.dot) {
                let text = format!("{} was offered to s{site} before it was told to be durable", header.dot);
                return Err(Violation::at(peer, Claim::Durability, text));
            }
        }
        Ok(())
    }

    /// A planted bug tells a session of records that are only about to be applied.
    fn tell_ahead(&mut self, site: usize, connection: ConnectionId, records: &[Bytes]) -> Result<(), Violation> {
        let wall_ms = self.sites[site].clocks.wall_ms(self.now);
        let Some(life) = &self.sites[site].life else { return Ok(()) };
        let mut ahead = Standing::clone(&life.standing);
        for header in records.iter().filter_map(|record| RecordHeader::decode(record.clone()).ok()) {
            ahead.frontier.raise(header.dot.replica, header.dot.seq);
            ahead.chains.insert(header.dot.replica, header.chain);
        }
        let published = life.store.frontier();
        let told = self.sites[site].promises.told(&ahead.frontier, &published);
        self.feed(site, connection, Input::Advanced { standing: Arc::new(ahead), wall_ms })?;
        told
    }

    fn session_event(
        &mut self,
        site: usize,
        connection: ConnectionId,
        peer: usize,
        event: Event,
    ) -> Result<(), Violation> {
        self.note(format_args!("s{site} hears from session {} with s{peer}: {event:?}", connection.0));
        match event {
            Event::LacksState { ref floor } if self.may_lack(site, peer) => self.lacks_state(site, peer, floor)?,
            Event::NeedsState { .. } if self.may_lack(peer, site) => {}
            Event::Unreadable { .. } if self.sites[site].is_unreadable => self.marks.hit(Mark::Unreadable),
            Event::Unreadable { .. } if self.sites[site].has_met_rot() => self.marks.hit(Mark::RotNamed),
            _ => protocol::check_event(site, peer, &event)?,
        }
        match event {
            Event::Rows(rows) => {
                let Some(life) = &mut self.sites[site].life else { return Ok(()) };
                let news: Vec<_> = rows.into_iter().filter(|row| life.stability.learn(row)).collect();
                let others: Vec<_> = life.endpoints.keys().copied().filter(|other| *other != connection).collect();
                if !news.is_empty() {
                    for other in others {
                        self.feed(site, other, Input::Rows(news.clone()))?;
                    }
                    self.check_stability(site)?;
                }
                Ok(())
            }
            Event::Established { .. } => {
                let rows = self.sites[site].life.as_ref().map(|life| life.stability.rows().collect());
                match rows {
                    Some(rows) => self.feed(site, connection, Input::Rows(rows)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// What counts as stable at a site must be applied at every site, and nobody may still send what does not know of it.
    fn check_stability(&mut self, site: usize) -> Result<(), Violation> {
        let members = self.active_at(site);
        let at_once = self.is_planted(Plant::HeartbeatsCountAtOnce);
        let from_acks = self.is_planted(Plant::StabilityFromAcks);
        let now = Moment(self.sites[site].clocks.monotonic_ms(self.now));
        let own = self.sites[site].replica;
        let frontier = self.sites[site].log.model().frontier().clone();
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let counted = if at_once {
            // As if everything heard of had been applied here, too.
            let mut heard = frontier.clone();
            life.stability.rows().for_each(|row| heard.join(&row.frontier));
            heard
        } else {
            frontier.clone()
        };
        let stable = if from_acks {
            let acks = life.endpoints.values().map(|endpoint| endpoint.session.status(now).frontier);
            acks.fold(frontier, |least, ack| minimum(&least, &ack))
        } else {
            life.stability.stable(&members, own, &counted)
        };
        if !stable.is_empty() {
            self.marks.hit(Mark::Stable);
        }
        self.sites[site].log.note_stable(&members, &stable)?;
        // Nobody has heard yet of what a disk has lost that nobody has opened since.
        let counts = |state: &Site| !state.has_lost && members.contains(&state.replica);
        for (other, state) in self.sites.iter().enumerate().filter(|(_, state)| counts(state)) {
            if let Some(dot) = stable.iter().find(|dot| !state.log.model().frontier().covers(*dot)) {
                let text = format!("{dot} counts as stable, and s{other} has not applied it");
                return Err(Violation::at(site, Claim::Stability, text));
            }
        }
        Ok(())
    }

    pub(super) fn deadline(&mut self, site: usize, connection: ConnectionId, ticket: u64) -> Result<(), Violation> {
        let endpoint = self.sites[site].life.as_ref().and_then(|life| life.endpoints.get(&connection));
        match endpoint {
            Some(endpoint) if endpoint.ticket == ticket => self.feed(site, connection, Input::Deadline),
            _ => Ok(()),
        }
    }

    /// Reads the log for a session.
    pub(super) fn load(&mut self, site: usize, connection: ConnectionId) -> Result<(), Violation> {
        let hides_floor = self.is_planted(Plant::RestForWhole);
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let request = life.endpoints.get_mut(&connection).and_then(|endpoint| endpoint.load.take());
        let Some(mut request) = request else { return Ok(()) };
        if !life.has_told_everything() {
            // Nothing is handed over that a session may hear of before it is told.
            life.endpoints.entry(connection).and_modify(|endpoint| endpoint.load = Some(request));
            let at = self.soon(READ_US);
            self.agenda.at(at, Happening::Load { site, connection });
            return Ok(());
        }
        if hides_floor {
            request.seen.join(&life.store.standing().floor);
        }
        let forgets = self.plant == Some(Plant::ForgottenRecord);
        let state = &self.sites[site];
        let Some(life) = &state.life else { return Ok(()) };
        let mut answer = read_log(&life.store, &request, |mut arrivals: Arrivals| {
            if forgets && let Some(last) = arrivals.records.last().map(|last| last.dot.replica) {
                arrivals.records.retain(|arrival| arrival.dot.replica != last);
            }
            let records: Vec<(Dot, Bytes)> =
                arrivals.records.into_iter().map(|arrival| (arrival.dot, arrival.bytes)).collect();
            let heads = state.signer.complete(&self.roster, &records, arrivals.heads)?;
            Ok(Loaded { records, heads, next: arrivals.next })
        });
        if self.sites[site].is_unreadable {
            answer = Err(LoadFailure::Unreadable { cause: "a trouble of this simulation".to_owned() });
        }
        let own = self.sites[site].replica;
        if let Ok(loaded) = &mut answer {
            match self.plant {
                Some(Plant::NewestFirst) => loaded.records.reverse(),
                Some(Plant::GateOff) => loaded.records.sort_by_key(|(dot, _)| *dot),
                Some(Plant::StampOrder) => loaded.records.sort_by_key(|(_, record)| stamp(record)),
                Some(Plant::FilteredRelay) => {
                    loaded
                        .records
                        .iter_mut()
                        .filter(|(dot, _)| dot.replica != own)
                        .for_each(|(_, record)| filter(record));
                }
                _ => {}
            }
            let (first, count) = (loaded.records.first().map(|(dot, _)| *dot), loaded.records.len());
            self.note(format_args!("s{site} offers {count} records in session {}, first {first:?}", connection.0));
        }
        self.feed(site, connection, Input::Loaded(answer))
    }

    /// What was shown a while ago is told to sessions.
    pub(super) fn told(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        if self.sites[site].life(number).is_some() { self.tell_standing(site) } else { Ok(()) }
    }

    /// Tells all sessions where the store stands now.
    pub(super) fn tell_standing(&mut self, site: usize) -> Result<(), Violation> {
        let wall_ms = self.sites[site].clocks.wall_ms(self.now);
        // A planted bug tells what every replica could tell that has not looked. A digest of nothing would be compared with nothing.
        let passes = self.is_planted(Plant::DigestsPass);
        let told = |digest| if passes { 1 } else { digest };
        let hides_floor = self.is_planted(Plant::RestForWhole);
        let state = &mut self.sites[site];
        let Some(life) = &mut state.life else { return Ok(()) };
        let found = standing(&life.store);
        let floor = if hides_floor { VersionVector::new() } else { found.floor };
        life.standing = Arc::new(Standing { digest: told(found.digest), floor, ..found });
        state.promises.told(&life.standing.frontier, state.log.model().frontier())?;
        let connections: Vec<_> = life.endpoints.keys().copied().collect();
        let standing = Arc::clone(&life.standing);
        for connection in connections {
            self.feed(site, connection, Input::Advanced { standing: Arc::clone(&standing), wall_ms })?;
        }
        Ok(())
    }

    fn send(&mut self, connection: ConnectionId, from: End, parcel: Parcel) {
        if let Some(arrival) = self.network.send(self.now, connection, from, parcel) {
            let happening = Happening::Parcel { connection, at: arrival.at, turn: arrival.turn };
            self.agenda.at(arrival.time, happening);
        }
    }

    /// Forgets an end, and lets the other end know as far as the network carries it.
    pub(super) fn end_session(&mut self, site: usize, connection: ConnectionId) -> Result<(), Violation> {
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let Some(endpoint) = life.endpoints.remove(&connection) else { return Ok(()) };
        if life.peers.get(&endpoint.peer) == Some(&connection) {
            life.peers.remove(&endpoint.peer);
        }
        self.send(connection, endpoint.end, Parcel::End);
        self.plan_dial(site, endpoint.peer);
        self.cut_transfer(site, connection)
    }
}

/// The stamp of a record.
fn stamp(record: &Bytes) -> Hlc {
    RecordHeader::decode(record.clone()).map_or(Hlc::default(), |header| header.hlc)
}

/// Leaves the last of several operations out, as who does not know its kind would.
fn filter(record: &mut Bytes) {
    if let Ok(mut read) = Record::decode(record.clone())
        && read.operations.len() > 1
    {
        read.operations.pop();
        *record = read.encode(&Chain::BEGINNING).0;
    }
}

/// Where a store stands, as sessions take it.
pub(crate) fn standing(store: &Store) -> Standing {
    let tombolo_storage::Standing { published, frontier, chains, digest, floor } = store.standing();
    Standing { commit: published.commit, frontier, chains, digest, floor }
}

fn read_log(
    store: &Store,
    request: &LoadRequest,
    sign: impl FnOnce(Arrivals) -> Result<Loaded, Dot>,
) -> Result<Loaded, LoadFailure> {
    let budget = ArrivalBudget { commits: request.commits, bytes: request.bytes };
    match store.arrivals(&request.seen, request.from, budget) {
        Ok(arrivals) => sign(arrivals).map_err(|dot| LoadFailure::Unreadable { cause: format!("{dot} is not signed") }),
        Err(ArrivalsError::BelowFloor { floor }) => Err(LoadFailure::BelowFloor { floor }),
        Err(ArrivalsError::Read(error)) => Err(LoadFailure::Unreadable { cause: error.to_string() }),
    }
}

/// What both of two vectors cover.
fn minimum(left: &VersionVector, right: &VersionVector) -> VersionVector {
    left.iter()
        .map(|dot| Dot::new(dot.replica, dot.seq.min(right.seq(dot.replica))))
        .filter(|dot| dot.seq > 0)
        .collect()
}

/// The least that all of some vectors cover.
pub(super) fn join_all<'a>(vectors: impl Iterator<Item = &'a VersionVector>) -> VersionVector {
    let mut all = VersionVector::new();
    vectors.for_each(|vector| all.join(vector));
    all
}
