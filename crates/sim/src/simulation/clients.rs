//! Clients take their steps: they read what is published, or hand the committer a request and wait.

use tombolo_storage::{Answer, KeyRange, RangeAnswer, RangeQuery, ReadError, Request, RequestError, Revision, Slot};

use super::{READ_US, Simulation};
use crate::{
    Access, Mark, Plant, Transaction,
    agenda::Happening,
    checker::{Claim, Violation},
    client::{self, Action, Client, Surroundings},
    site::Work,
};

impl Simulation<'_> {
    pub(super) fn add_clients(&mut self) {
        for site in 0..self.plan.sites {
            for _ in 0..self.plan.clients {
                let session = self.new_session();
                let (waiting, half_read, lease) = (None, None, None);
                let left = self.plan.operations;
                self.clients.push(Client { site, session, left, waiting, half_read, revision: 0, lease });
                self.schedule_client(self.clients.len() - 1);
            }
        }
    }

    fn new_session(&mut self) -> usize {
        self.history.sessions.push(Vec::new());
        self.history.sessions.len() - 1
    }

    fn schedule_client(&mut self, client: usize) {
        let next = self.soon(self.plan.think_us);
        self.agenda.at(next, Happening::Client { client });
    }

    /// A client takes its next step. One whose site is down, or that waits, is woken later.
    pub(super) fn step_client(&mut self, client: usize) -> Result<(), Violation> {
        let site = self.clients[client].site;
        let is_busy = self.clients[client].waiting.is_some();
        if is_busy || !self.sites[site].is_up() || (self.is_calm() && self.clients[client].half_read.is_none()) {
            return Ok(());
        }
        if let Some(first) = self.clients[client].half_read.take() {
            return self.read_registers(client, Some(first));
        }
        if self.clients[client].left == 0 {
            return Ok(());
        }
        self.clients[client].left -= 1;
        let foreign = self.foreign_revision(site);
        let leases: Vec<i64> = self.clients.iter().filter_map(|client| client.lease).collect();
        let lease = (!leases.is_empty()).then(|| self.random.pick(&leases));
        let mut around = Surroundings { plan: self.plan, values: &mut self.values, foreign, lease };
        match self.clients[client].next(&mut around, &mut self.random) {
            Action::ReadAll => self.read_registers(client, None),
            Action::Read(register) => self.read_one(client, register),
            Action::ReadPast => self.read_past(client, foreign),
            Action::Renew(lease) => {
                let uptime = self.sites[site].uptime(self.now);
                let renewed = self.sites[site].life.as_mut().and_then(|life| life.leases.renew(lease, uptime));
                self.note(format_args!("c{client}@s{site} renews lease {lease}: {renewed:?}"));
                self.schedule_client(client);
                Ok(())
            }
            Action::Write(asked) => {
                self.note(format_args!("c{client}@s{site} asks {:?}", asked.request));
                self.remember_lease(site, &asked.request);
                let request = asked.request.clone();
                self.clients[client].waiting = Some(asked);
                if let Some(life) = &mut self.sites[site].life {
                    life.queue.push_back(Work::Client { client, request });
                }
                self.work(site)
            }
        }
    }

    /// A revision that clients of another site were told.
    pub(super) fn foreign_revision(&mut self, site: usize) -> Option<i64> {
        let own = self.sites[site].slot;
        // What is foreign is decided here, and not asked of the store.
        let is_foreign = |told: &i64| Revision::new(*told).is_some_and(|told| told.slot() != own && told.get() > 1);
        let told: Vec<i64> = self.clients.iter().map(|other| other.revision).filter(is_foreign).collect();
        let foreign = (!told.is_empty()).then(|| self.random.pick(&told))?;
        // A planted bug keeps the ordinal and takes the slot for our own.
        let own = own.beginning().get();
        let ordinal = foreign & (Slot::new(1).map_or(1, |slot| slot.beginning().get()) - 2);
        Some(if self.is_planted(Plant::NumericCompare) { (own - 1) | ordinal } else { foreign })
    }

    fn remember_lease(&mut self, site: usize, request: &Request) {
        if let Request::Put(put) = request
            && let Some(lease) = put.lease.filter(|lease| *lease != 0)
        {
            self.sites[site].leased.entry(lease).or_default().push(put.key.clone());
        }
    }

    fn read_one(&mut self, client: usize, register: u32) -> Result<(), Violation> {
        let answer = self.read(client, KeyRange::single(client::register(register)))?;
        let value = answer.pairs.first().map_or(0, |pair| client::number(&pair.value));
        self.note(format_args!("c{client} reads r{register}={value} at {}", answer.revision));
        self.did(client, vec![Access::Read { key: register, value }]);
        self.schedule_client(client);
        Ok(())
    }

    /// Reads all registers, at one moment.
    fn read_registers(&mut self, client: usize, first: Option<Vec<Access>>) -> Result<(), Violation> {
        let answer = self.read(client, client::registers())?;
        let mut reads = client::reads(self.plan, &answer.pairs);
        let half = reads.len() / 2;
        match first {
            Some(first) => reads.splice(..half, first).for_each(drop),
            None if self.is_planted(Plant::FracturedRead) && half > 0 => {
                reads.truncate(half);
                self.clients[client].half_read = Some(reads);
                self.schedule_client(client);
                return Ok(());
            }
            None => {}
        }
        self.note(format_args!("c{client} reads {reads:?} at {}", answer.revision));
        self.did(client, reads);
        self.schedule_client(client);
        Ok(())
    }

    /// Reads everything at a revision of the past, or of another site.
    fn read_past(&mut self, client: usize, foreign: Option<i64>) -> Result<(), Violation> {
        let site = self.clients[client].site;
        let state = &self.sites[site];
        let store = &state.life.as_ref().ok_or_else(|| down(site))?.store;
        let published = store.published();
        let oldest = published.compacted.max(state.slot.beginning().get());
        let past = oldest + self.random.below((published.revision.get() - oldest + 1) as usize) as i64;
        let asks_foreign = self.random.chance(50) && self.plant != Some(Plant::NumericCompare);
        let foreign = foreign.filter(|_| asks_foreign);
        let query = RangeQuery { revision: foreign.unwrap_or(past), ..RangeQuery::all(KeyRange::all()) };
        match (store.range(&query), foreign) {
            (Ok(answer), None) => {
                state.log.check_past(past, &answer.pairs)?;
                self.marks.hit(Mark::PastRead);
            }
            (Err(ReadError::Compacted { .. }), Some(_)) => self.marks.hit(Mark::ForeignRead),
            (answer, _) => {
                let text = format!("a read at {} with {published:?} was answered {answer:?}", query.revision);
                return Err(Violation::at(site, Claim::Revisions, text));
            }
        }
        self.note(format_args!("c{client}@s{site} reads at {}", query.revision));
        self.schedule_client(client);
        Ok(())
    }

    fn read(&mut self, client: usize, range: KeyRange) -> Result<RangeAnswer, Violation> {
        let site = self.clients[client].site;
        let store = &self.sites[site].life.as_ref().ok_or_else(|| down(site))?.store;
        let mut query = RangeQuery::all(range);
        let current = store.published().revision.get();
        let oldest = store.published().compacted.max(self.sites[site].slot.beginning().get());
        if self.is_planted(Plant::StaleRead) && current > oldest {
            query.revision = current - 1;
        }
        let answer = store.range(&query).map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?;
        self.sites[site].revisions.current(answer.revision, "a read")?;
        self.clients[client].revision = answer.revision.get();
        self.counts.answers += 1;
        Ok(answer)
    }

    /// Puts a transaction into the history.
    fn did(&mut self, client: usize, accesses: Vec<Access>) {
        if !accesses.is_empty() {
            let session = self.clients[client].session;
            self.history.sessions[session].push(Transaction { accesses });
        }
        if self.is_planted(Plant::MovingClient) {
            self.clients[client].site = (self.clients[client].site + 1) % self.plan.sites;
        }
    }

    /// A client is answered.
    pub(super) fn answer(&mut self, client: usize, result: Result<Answer, RequestError>) -> Result<(), Violation> {
        let Some(asked) = self.clients[client].waiting.take() else { return Ok(()) };
        let site = self.clients[client].site;
        self.clients[client].note_lease(&asked.request, result.is_ok());
        self.counts.answers += 1;
        match result {
            Ok(answer) => {
                self.note(format_args!("c{client}@s{site} is answered {answer:?}"));
                if asked.must_fail() {
                    self.marks.hit(Mark::ForeignGuard);
                }
                let learned = asked.learn(&answer).ok_or_else(|| {
                    let text = format!("a guard on a foreign revision held: {:?}", asked.request);
                    Violation::at(site, Claim::Revisions, text)
                })?;
                self.sites[site].revisions.told(answer.revision);
                self.clients[client].revision = answer.revision.get();
                learned.acknowledged.into_iter().for_each(|value| self.sites[site].promises.acknowledged(value));
                self.did(client, learned.accesses);
            }
            Err(error) => {
                self.note(format_args!("c{client}@s{site} is refused: {error}"));
                let is_poisoned = matches!(error, RequestError::Poisoned { .. });
                if !(is_poisoned && self.sites[site].has_failing_disk) {
                    check_refusal(site, &error)?;
                }
            }
        }
        self.schedule_client(client);
        Ok(())
    }

    /// The site's process is gone: whoever waited for it does not know whether the write happened.
    pub(super) fn abandon_clients(&mut self, site: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].site != site {
                continue;
            }
            if let Some(asked) = self.clients[client].waiting.take() {
                let lost = self.clients[client].session;
                self.doubtful.push((lost, asked));
                self.clients[client].session = self.new_session();
            }
            self.clients[client].lease = None;
        }
    }

    /// The site is there again.
    pub(super) fn wake_clients(&mut self, site: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].site == site {
                let at = self.soon(READ_US);
                self.agenda.at(at, Happening::Client { client });
            }
        }
    }
}

fn down(site: usize) -> Violation {
    Violation::at(site, Claim::Service, "a client is at a site that is down")
}

/// A client's own mistakes are refused; a sound store refuses nothing else.
fn check_refusal(site: usize, error: &RequestError) -> Result<(), Violation> {
    match error {
        RequestError::LeaseNotFound { .. } | RequestError::KeyNotFound => Ok(()),
        RequestError::Read(ReadError::Compacted { .. } | ReadError::FutureRevision { .. }) => Ok(()),
        error => Err(Violation::at(site, Claim::Service, format!("a request was refused: {error}"))),
    }
}
