//! Where the members stand, by what each site's store holds, and what its host does about it without being asked.
//!
//! Rosters, statements and what they come to are the product's. What the server does with them is done here as it does it: doors
//! are shut before anybody is told of the commit that removes somebody; a removal is closed by a record of the site's own after that;
//! a parked site that is back says so; the log is kept for whoever is active.

use std::collections::BTreeSet;

use tombolo_crdt::ReplicaId;
use tombolo_net::{Fault, MemberState, Moment, Roster, RosterEntry, Saying, Statement, StatementTerms, SystemKey};
use tombolo_storage::{Commit, Request, Store, SystemEntry, SystemSibling, SystemWrite, WallTime};

use super::{MESH, Simulation};
use crate::{
    Mark, Plant, S,
    agenda::Happening,
    checker::{Claim, Violation},
    network::ConnectionId,
    site::{Endpoint, Waiting, Work},
};

/// The time between two looks at what is due.
const UPKEEP_US: u64 = S;

impl Simulation<'_> {
    /// Whether commits may have changed where members stand.
    pub(super) fn may_move_members<'c>(&self, mut commits: impl Iterator<Item = &'c Commit>) -> bool {
        let concerns = |key: &bytes::Bytes| key.starts_with(SystemKey::MEMBER_PREFIX.as_bytes());
        self.plan.moves_members() && commits.any(|commit| commit.system.iter().any(concerns))
    }

    /// Takes up where the members stand by now: before anybody is told of what has changed it.
    pub(super) fn take_up(&mut self, site: usize) -> Result<(), Violation> {
        let own = self.sites[site].replica;
        let keeps_taking = self.keeps_taking(site);
        let Some(life) = self.sites[site].life.as_ref().filter(|_| self.plan.moves_members()) else { return Ok(()) };
        let roster = self.roster_of(&life.store);
        self.note_places(&roster);
        let now = self.now;
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        if !keeps_taking {
            let removed = roster.members().filter(|member| member.is_removed()).map(|member| member.replica());
            life.members.shut_out.extend(removed.filter(|removed| *removed != own));
            life.store.freeze(roster.frozen().into_iter().filter(|frozen| *frozen != own));
        }
        let is_parked = roster.member(own).is_some_and(|own| own.place.state == MemberState::Parked);
        life.members.parked_since = if is_parked { life.members.parked_since.or(Some(now)) } else { None };
        life.members.roster = roster;
        self.move_leases(site);
        self.check_ends(site)?;
        self.leave_removed(site)
    }

    /// Where the members stand by what a store holds.
    fn roster_of(&self, store: &Store) -> Roster {
        let entry = |key: &bytes::Bytes, sibling: SystemSibling| {
            let SystemSibling { element, value, .. } = sibling;
            RosterEntry { key: key.clone(), author: element.dot.replica, seq: element.dot.seq, value }
        };
        let found = store.system(SystemKey::MEMBER_PREFIX.as_bytes()).into_iter();
        self.keys.roster_with(
            found.flat_map(|SystemEntry { key, siblings }| {
                siblings.into_iter().map(move |sibling| entry(&key, sibling))
            }),
        )
    }

    /// Takes note of who is parked or removed now, as far as anybody knows.
    fn note_places(&mut self, roster: &Roster) {
        for (number, site) in self.sites.iter().enumerate() {
            match roster.member(site.replica).map(|member| member.place.state) {
                Some(MemberState::Parked) => drop(self.parked.entry(number).or_insert(self.now)),
                Some(MemberState::Removed) if self.removed.is_none() => {
                    self.removed = Some(number);
                    self.marks.hit(Mark::RemovedSite);
                }
                _ => {}
            }
        }
    }

    /// Tells the store who counts whose leases, when that has changed.
    fn move_leases(&mut self, site: usize) {
        if self.plan.removal.is_none() {
            return;
        }
        let uptime = self.sites[site].uptime(self.now);
        let own = self.sites[site].replica;
        let Some(life) = &mut self.sites[site].life else { return };
        let homes = life.members.roster.moved_leases();
        if homes == life.members.homes {
            return;
        }
        life.store.set_lease_homes(homes.clone());
        let before = life.store.leases().len();
        life.leases.settle(&life.store.leases(), uptime);
        if before > 0 && homes.values().any(|home| *home == own) {
            self.marks.hit(Mark::LeasesInherited);
        }
        life.members.homes = homes;
        self.schedule_leases(site);
    }

    /// The streams that are complete here end where they end everywhere, and nobody who remains has more.
    pub(super) fn check_ends(&mut self, site: usize) -> Result<(), Violation> {
        let state = &self.sites[site];
        let Some(life) = state.life.as_ref().filter(|_| self.remains(site)) else { return Ok(()) };
        for removed in life.members.roster.frozen().into_iter().filter(|removed| *removed != state.replica) {
            self.ends.complete(site, removed, state.log.model().frontier())?;
        }
        let mut remaining = self.sites.iter().enumerate().filter(|(other, _)| self.remains(*other));
        remaining.try_for_each(|(other, state)| self.ends.check(other, state.log.model().frontier()))
    }

    /// Ends all sessions with those who are no members any more.
    fn leave_removed(&mut self, site: usize) -> Result<(), Violation> {
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let shut_out = &life.members.shut_out;
        let is_barred = |(_, endpoint): &(&ConnectionId, &Endpoint)| shut_out.contains(&endpoint.replica);
        let barred: Vec<_> = life.endpoints.iter().filter(is_barred).map(|(connection, _)| *connection).collect();
        for connection in barred {
            let endpoint = self.sites[site].life.as_mut().and_then(|life| life.endpoints.get_mut(&connection));
            if let Some(endpoint) = endpoint {
                endpoint.session.close(Fault::NotAMember);
            }
            self.drain_session(site, connection)?;
        }
        Ok(())
    }

    /// Whether a site has nothing to do with another one, which it knows to be removed.
    pub(super) fn bars(&self, site: usize, peer: usize) -> bool {
        let shut_out = self.sites[site].life.as_ref().map(|life| &life.members.shut_out);
        shut_out.is_some_and(|shut_out| shut_out.contains(&self.sites[peer].replica))
    }

    /// Whether a site was not removed, as far as anybody has learned.
    pub(super) fn remains(&self, site: usize) -> bool {
        self.removed != Some(site)
    }

    /// Whether a site knows that it was removed itself.
    pub(super) fn knows_own_removal(&self, site: usize) -> bool {
        let state = &self.sites[site];
        let members = state.life.as_ref().map(|life| &life.members);
        members.is_some_and(|members| members.is_turned_out || members.roster.is_removed(state.replica))
    }

    /// A peer will not have a site, because it was removed.
    pub(super) fn turned_out(&mut self, site: usize) {
        if let Some(life) = &mut self.sites[site].life {
            life.members.is_turned_out = true;
            self.marks.hit(Mark::TurnedOut);
            self.note(format_args!("s{site} hears that it was removed"));
        }
    }

    /// Whether a site may lack what is in a peer's log no more: when logs are cut whatever anybody lacks, when it was parked at some time, or when
    /// the peer has taken a transfer, since when its log begins there.
    pub(super) fn may_lack(&self, site: usize, peer: usize) -> bool {
        self.plan.may_lack_state() || self.parked.contains_key(&site) || self.sites[peer].joined_at.is_some()
    }

    /// A planted bug has one site go on taking records from whoever was removed.
    pub(super) fn keeps_taking(&self, site: usize) -> bool {
        let removal = self.plan.removal.filter(|_| self.is_planted(Plant::TakenBeyondTheEnd));
        removal.is_some_and(|removal| self.network.neighbours(removal.site).into_iter().min() == Some(site))
    }

    pub(super) fn upkeep_soon(&mut self, site: usize) {
        if self.plan.moves_members() {
            let at = self.soon(UPKEEP_US);
            if let Some(life) = &self.sites[site].life {
                self.agenda.at(at, Happening::Upkeep { site, life: life.number });
            }
        }
    }

    /// Says what is due, once what was said before is on disk.
    pub(super) fn keep_states(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let is_idle = life.members.words == 0;
        for (subject, saying) in self.due(site).into_iter().filter(|_| is_idle) {
            match saying {
                // The door is shut before that is said.
                Saying::Closed if !self.keeps_taking(site) => {
                    if let Some(life) = &mut self.sites[site].life {
                        life.members.shut_out.insert(subject);
                    }
                }
                Saying::Active => {
                    let parked = self.parked.get(&site);
                    let has_taken = self.sites[site].joined_at.as_ref() > parked;
                    self.marks.hit(if has_taken { Mark::ReturnedByTransfer } else { Mark::ReturnedByLog });
                }
                _ => {}
            }
            self.say(site, subject, saying)?;
        }
        self.upkeep_soon(site);
        Ok(())
    }

    /// What a site is to say now.
    pub(super) fn due(&self, site: usize) -> Vec<(ReplicaId, Saying)> {
        let state = &self.sites[site];
        let Some(life) = state.life.as_ref().filter(|_| !self.knows_own_removal(site)) else { return Vec::new() };
        let open = life.members.roster.open_removals().into_iter();
        let closing =
            open.filter(|(_, open)| open.contains(&state.replica)).map(|(removed, _)| (removed, Saying::Closed));
        closing.chain(self.is_back(site).then_some((state.replica, Saying::Active))).collect()
    }

    /// Whether a site is parked and has all that a peer has. One that was parked while it was there has gone and come again.
    fn is_back(&self, site: usize) -> bool {
        let state = &self.sites[site];
        let Some(life) = &state.life else { return false };
        let (now, roster) = (Moment(state.clocks.monotonic_ms(self.now)), &life.members.roster);
        let Some(place) = roster.member(state.replica).map(|own| &own.place) else { return false };
        let Some(Saying::Parked { was_present }) = place.said.map(|said| said.saying) else { return false };
        place.state == MemberState::Parked
            && life.peers.values().filter_map(|connection| life.endpoints.get(connection)).any(|endpoint| {
                let peer = roster.member(endpoint.replica);
                let is_member = peer.is_some_and(|peer| !peer.is_removed());
                let status = endpoint.session.status(now);
                let is_level = status.is_established && status.own_behind.records == 0;
                let is_new = life.members.parked_since.is_some_and(|parked| endpoint.since > parked);
                is_member && is_level && (!was_present || is_new)
            })
    }

    /// Says something of a member, on the way that all writes go.
    pub(super) fn say(&mut self, site: usize, subject: ReplicaId, saying: Saying) -> Result<(), Violation> {
        let maker = self.sites[site].replica;
        // Nothing is decided by the moment; that no two statements have the same keeps values apart.
        let terms = StatementTerms { mesh: MESH.0, subject, saying, made_ms: self.now.0, maker };
        let statement = self.keys.say(terms);
        let statement = statement.ok_or_else(|| Violation::at(site, Claim::Identity, "it has no key to sign with"))?;
        self.note(format_args!("s{site} says of {subject}: {saying:?}"));
        if let Some(life) = &mut self.sites[site].life {
            life.members.words += 1;
            life.queue.push_back(Work::Word { statement: Box::new(statement) });
        }
        self.work(site)
    }

    /// Executes what is said.
    pub(super) fn word(&mut self, site: usize, wall: WallTime, statement: &Statement) -> Result<(), Violation> {
        let put = SystemWrite::Put { key: statement.key().to_string().into(), value: statement.encode().into() };
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let executed = life.committer.execute(wall, Request::System(vec![put]));
        life.executed.push(Waiting::Word);
        match executed {
            Err(error) if !self.sites[site].may_refuse() => {
                Err(Violation::at(site, Claim::Service, format!("a statement was refused: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Has the store keep what an active member may lack, where nobody has made it drop that. Answers whether it can be left to the store then
    /// what it drops.
    pub(super) fn hold_log(&mut self, site: usize) -> bool {
        if !self.plan.moves_members() || self.plan.troubles.truncations {
            return false;
        }
        let (own, members) = (self.sites[site].replica, self.active_at(site));
        let Some(life) = &mut self.sites[site].life else { return false };
        let frontier = life.store.frontier();
        let is_alone = members.iter().all(|member| *member == own);
        let applied = (!is_alone).then(|| life.stability.stable(&members, own, &frontier));
        life.store.hold_log(applied);
        true
    }

    /// For whom a site keeps its log. Of those who are nobody any more, since their disks were lost, no operator leaves that to be done.
    pub(super) fn active_at(&self, site: usize) -> BTreeSet<ReplicaId> {
        let names = self.sites.iter().map(|site| site.replica).collect();
        match self.sites[site].life.as_ref().filter(|_| self.plan.moves_members()) {
            None => names,
            Some(life) => {
                let active = life.members.roster.active().map(|member| member.replica());
                active.filter(|replica| names.contains(replica)).collect()
            }
        }
    }
}
