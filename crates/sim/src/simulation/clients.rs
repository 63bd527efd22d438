//! Clients take their steps: they read what is published, or hand the committer a request and wait.

use tombolo_storage::{Answer, KeyRange, RangeAnswer, RangeQuery, ReadError, Request, RequestError, Revision, Slot};

use super::{READ_US, Simulation};
use crate::{
    Access, Mark, Plant, Transaction,
    agenda::Happening,
    checker::{Claim, Violation, atomicity},
    client::{self, Action, Client, Surroundings},
    site::Work,
};

impl Simulation<'_> {
    pub(super) fn add_clients(&mut self) {
        for site in 0..self.plan.sites {
            for _ in 0..self.plan.clients {
                self.add_client(site, false);
            }
        }
        (0..self.plan.roamers).for_each(|nth| self.add_client(nth % self.plan.sites, true));
    }

    fn add_client(&mut self, site: usize, roams: bool) {
        let session = self.new_session();
        self.clients.push(Client::new(site, session, self.plan.operations, roams));
        self.schedule_client(self.clients.len() - 1);
    }

    /// Takes a client that roams to some site that has what it has seen. It comes again when it finds none.
    fn roam(&mut self, client: usize) -> bool {
        if !self.clients[client].roams {
            return true;
        }
        let site = self.random.below(self.plan.sites);
        let ignores = self.is_planted(Plant::TokenIgnored);
        let Some(life) = &self.sites[site].life else { return false };
        let covers = life.store.frontier().includes(&self.clients[client].token);
        if !covers {
            self.marks.hit(Mark::TokenAwaited);
        }
        let goes = covers || ignores;
        if goes && self.clients[client].site != site {
            self.note(format_args!("c{client} goes to s{site}"));
            let client = &mut self.clients[client];
            // The numbers of one site mean nothing at another.
            (client.site, client.revision) = (site, 0);
        }
        goes
    }

    pub(super) fn new_session(&mut self) -> usize {
        self.history.sessions.push(Vec::new());
        self.history.sessions.len() - 1
    }

    fn schedule_client(&mut self, client: usize) {
        let next = self.soon(self.plan.think_us);
        self.agenda.at(next, Happening::Client { client });
    }

    /// A client takes its next step. One whose site is down, or that waits, is woken later.
    pub(super) fn step_client(&mut self, client: usize) -> Result<(), Violation> {
        let is_busy = self.clients[client].waiting.is_some();
        if self.clients[client].roams && !is_busy && !self.is_calm() && !self.roam(client) {
            self.schedule_client(client);
            return Ok(());
        }
        let site = self.clients[client].site;
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
        let next = match self.clients[client].retries.take() {
            Some(asked) => Action::Write(asked),
            None => self.clients[client].next(&mut around, &mut self.random),
        };
        match next {
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
            Action::Write(asked) if self.is_refused(site, &asked.request) => {
                self.note(format_args!("c{client}@s{site} is refused {:?}: the site was removed", asked.request));
                self.marks.hit(Mark::WriteRefused);
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

    /// A removed site takes no writes, once it knows; what is there is read, and compacted.
    fn is_refused(&self, site: usize, request: &Request) -> bool {
        self.knows_own_removal(site) && !matches!(request, Request::Compact { .. })
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
        let Some(answer) = self.read(client, KeyRange::single(client::register(register)))? else { return Ok(()) };
        let value = answer.pairs.first().map_or(0, |pair| client::number(&pair.value));
        self.note(format_args!("c{client} reads r{register}={value} at {}", answer.revision));
        self.saw(client, &[Access::Read { key: register, value }])?;
        self.did(client, vec![Access::Read { key: register, value }]);
        self.schedule_client(client);
        Ok(())
    }

    /// Reads all registers, at one moment.
    fn read_registers(&mut self, client: usize, first: Option<Vec<Access>>) -> Result<(), Violation> {
        let Some(answer) = self.read(client, client::registers())? else { return Ok(()) };
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
        let picture = reads.iter().filter_map(|access| match *access {
            Access::Read { key, value } if value != 0 => Some((client::register(key), client::value(value))),
            _ => None,
        });
        let site = self.clients[client].site;
        atomicity::check(site, &self.records, &client::registers(), &picture.collect())?;
        self.saw(client, &reads)?;
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
        let nth = self.random.below((published.revision.get() - oldest + 1) as usize);
        // Between what a replica gave out under one name and under the next one no number is anybody's.
        let past = if self.plan.troubles.identities {
            state.log.revision_from(oldest, nth).unwrap_or(published.revision.get())
        } else {
            oldest + nth as i64
        };
        let asks_foreign = self.random.chance(50) && self.plant != Some(Plant::NumericCompare);
        let foreign = foreign.filter(|_| asks_foreign);
        let query = RangeQuery { revision: foreign.unwrap_or(past), ..RangeQuery::all(KeyRange::all()) };
        match (store.range(&query), foreign) {
            (Ok(answer), None) => {
                state.log.check_past(past, &answer.pairs)?;
                self.marks.hit(Mark::PastRead);
            }
            (Err(ReadError::Compacted { .. }), Some(_)) => self.marks.hit(Mark::ForeignRead),
            (Err(ReadError::Rot { commit }), _) if state.has_met_rot() => {
                self.rot_named(client, commit);
                return Ok(());
            }
            (answer, _) => {
                let text = format!("a read at {} with {published:?} was answered {answer:?}", query.revision);
                return Err(Violation::at(site, Claim::Revisions, text));
            }
        }
        self.note(format_args!("c{client}@s{site} reads at {}", query.revision));
        self.schedule_client(client);
        Ok(())
    }

    /// Reads a range. `None` when that met a damaged row, and said so: the client goes on to something else.
    fn read(&mut self, client: usize, range: KeyRange) -> Result<Option<RangeAnswer>, Violation> {
        let site = self.clients[client].site;
        let store = &self.sites[site].life.as_ref().ok_or_else(|| down(site))?.store;
        let mut query = RangeQuery::all(range);
        let current = store.published().revision.get();
        let oldest = store.published().compacted.max(self.sites[site].slot.beginning().get());
        if self.is_planted(Plant::StaleRead) && current > oldest {
            query.revision = current - 1;
        }
        let answer = match store.range(&query) {
            Err(ReadError::Rot { commit }) if self.sites[site].has_met_rot() => {
                self.rot_named(client, commit);
                return Ok(None);
            }
            answer => answer.map_err(|error| Violation::at(site, Claim::Service, error.to_string()))?,
        };
        self.sites[site].revisions.current(answer.revision, "a read")?;
        self.clients[client].revision = answer.revision.get();
        self.counts.answers += 1;
        Ok(Some(answer))
    }

    /// A read was answered that a row is damaged.
    fn rot_named(&mut self, client: usize, commit: u64) {
        self.marks.hit(Mark::RotNamed);
        self.note(format_args!("c{client} is told that the row of commit {commit} is damaged"));
        self.schedule_client(client);
    }

    /// Holds what a client read or wrote against what it knew before, and gives it what it takes along from here.
    fn saw(&mut self, client: usize, accesses: &[Access]) -> Result<(), Violation> {
        let site = self.clients[client].site;
        let Simulation { sites, records, clients, .. } = self;
        let (state, client) = (&sites[site], &mut clients[client]);
        let named = |value: u64| (value != 0).then(|| client::value(value));
        let reads = accesses.iter().filter_map(|access| match access {
            Access::Read { key, value } => Some((client::register(*key), named(*value))),
            Access::Write { .. } => None,
        });
        let reads: Vec<_> = reads.collect();
        let writes = accesses.iter().filter_map(|access| match access {
            Access::Write { key, value } => Some((client::register(*key), client::value(*value))),
            Access::Read { .. } => None,
        });
        let writes: Vec<_> = writes.collect();
        client.guarantees.read(site, records, state.log.model().frontier(), &reads)?;
        client.guarantees.wrote(site, records, &writes)?;
        if let Some(life) = &state.life {
            client.token.join(&life.store.frontier());
        }
        Ok(())
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
                self.saw(client, &learned.accesses)?;
                self.did(client, learned.accesses);
            }
            Err(error) => {
                self.note(format_args!("c{client}@s{site} is refused: {error}"));
                let state = &self.sites[site];
                match error {
                    RequestError::Poisoned { .. } if state.may_refuse() => {}
                    RequestError::Read(ReadError::Rot { .. }) if state.has_met_rot() => self.marks.hit(Mark::RotNamed),
                    error => check_refusal(site, &error)?,
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
                let retries = self.plant == Some(Plant::BlindRetry) && matches!(asked.request, Request::Put(_));
                self.clients[client].retries = retries.then(|| asked.clone());
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
