//! What follows from where the members stand, without being asked: doors are shut, streams end, lost members are parked, and a parked
//! one that is back says so.
//!
//! A removal is carried out in this order, on which the end of the removed one's stream rests: first nothing is taken from it any
//! more, then that is said in a record of our own. So whatever we ever took from it comes before that record, and whoever has that
//! record has it all ([`tombolo_net::Roster::frozen`]).

use std::{
    sync::Arc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tombolo_crdt::ReplicaId;
use tombolo_net::{Member, MemberState, PeerState, Saying};
use tombolo_proto::v1::MeshAlarmKind;
use tracing::{debug, info, warn};

use super::{Mesh, states};
use crate::replica::Replica;

/// Time between two looks when nothing changes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing may be heard of a member that holds back more than half of the log's budget before it is parked, where the
/// operator's time is longer.
const PRESSED_AFTER: Duration = Duration::from_secs(3_600);

impl Mesh {
    /// Takes up what the roster says by now: before anybody is told of the commit that changed it.
    pub(crate) fn take_up(replica: &Replica) {
        let (mesh, roster) = (&replica.mesh, replica.mesh.roster());
        let own = mesh.own();
        let removed = roster.members().filter(|member| member.is_removed()).map(Member::replica);
        replica.queue.shut_out(removed.filter(|removed| *removed != own));
        replica.store.freeze(roster.frozen().into_iter().filter(|frozen| *frozen != own));
        if roster.moved_leases() != *mesh.told_homes.lock() {
            mesh.move_leases(&replica.store);
            replica.leases.settle(&replica.store.leases());
        }
        mesh.note_own_removal(replica.uptime.now());
    }

    /// Tells the store who counts whose leases.
    pub(super) fn move_leases(&self, store: &tombolo_storage::Store) {
        let homes = self.roster().moved_leases();
        store.set_lease_homes(homes.clone());
        *self.told_homes.lock() = homes;
    }

    /// A peer will not have us, because we were removed.
    pub(super) fn turned_out(&self, peer: ReplicaId, now: Duration) {
        self.turned_out_by.lock().insert(peer);
        self.note_own_removal(now);
    }

    /// A peer has us after all.
    pub(super) fn welcome_back(&self, peer: ReplicaId) {
        self.words.heard(peer);
        if self.turned_out_by.lock().remove(&peer) {
            self.alarms.lock().lower(MeshAlarmKind::Removed, peer);
            self.is_removed.store(self.knows_own_removal(), Ordering::Relaxed);
        }
    }

    /// A peer that was there has gone.
    pub(super) fn silence_begins(&self, peer: ReplicaId) {
        self.words.heard(peer);
    }

    fn knows_own_removal(&self) -> bool {
        self.roster().is_removed(self.own()) || !self.turned_out_by.lock().is_empty()
    }

    fn note_own_removal(&self, now: Duration) {
        if !self.knows_own_removal() {
            return;
        }
        self.is_removed.store(true, Ordering::Relaxed);
        let text = "this site was removed from the mesh, and takes no writes: what it has beyond the others is got out of its \
                    folder with `tombolo mesh export`";
        let by = self.turned_out_by.lock().first().copied();
        let said = self.roster().member(self.own()).and_then(|own| own.place.said).map(|said| said.maker);
        let by = by.or(said).unwrap_or(self.own());
        self.alarms.lock().raise(MeshAlarmKind::Removed, by, text.to_owned(), now);
    }

    /// Whether this replica was removed, as far as it knows.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Takes note of whether this replica is parked.
    pub(super) fn note_parking(&self) {
        let roster = self.roster();
        let is_parked = roster.member(self.own()).is_some_and(|own| own.place.state == MemberState::Parked);
        let mut since = self.parked_since.lock();
        *since = if is_parked { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Does what is due, for ever. `park_after`: how long nothing may be heard of a member that holds back the log.
    pub(crate) async fn keep_states(replica: Arc<Replica>, park_after: Option<Duration>) {
        let mut roster = replica.mesh.roster.subscribe();
        loop {
            let changed = tokio::time::timeout(INTERVAL, roster.changed()).await;
            debug!(changed = changed.is_ok(), "looking at the members");
            if replica.mesh.is_removed() || replica.store.is_importing() {
                continue;
            }
            for (member, saying) in due(&replica, park_after) {
                match saying {
                    Saying::Parked { .. } => warn!(member = %replica.mesh.call(member), "parking a site that is lost"),
                    Saying::Active => info!("this site is back, and active again"),
                    _ => {}
                }
                if let Err(why) = states::say(&replica, member, saying).await {
                    warn!(%why, "a statement about a member was not made; it is tried again");
                    tokio::time::sleep(INTERVAL).await;
                }
            }
        }
    }
}

/// What is to be said now.
fn due(replica: &Replica, park_after: Option<Duration>) -> Vec<(ReplicaId, Saying)> {
    let (mesh, roster) = (&replica.mesh, replica.mesh.roster());
    let own = mesh.own();
    let open = roster.open_removals().into_iter().filter(|(_, open)| open.contains(&own));
    let closing: Vec<_> = open.map(|(removed, _)| (removed, Saying::Closed)).collect();
    if !closing.is_empty() {
        // The door is shut before that is said: see the head of this file.
        replica.queue.shut_out(closing.iter().map(|(removed, _)| *removed));
    }
    let back = roster.member(own).filter(|member| is_back(mesh, member)).map(|_| (own, Saying::Active));
    let lost = park_after.into_iter().flat_map(|after| {
        let lost = roster.active().filter(move |member| is_lost(replica, member, after)).map(Member::replica);
        lost.collect::<Vec<_>>()
    });
    let lost = lost.map(|member| (member, Saying::Parked { was_present: false }));
    closing.into_iter().chain(back).chain(lost).collect()
}

/// Whether this replica is parked, and has all that a peer has. One that was parked while it was there has gone and come again.
///
/// That peer may be parked as well: of sites that have parked each other while they were apart nobody would be active first.
fn is_back(mesh: &Mesh, own: &Member) -> bool {
    let Some(Saying::Parked { was_present }) = own.place.said.map(|said| said.saying) else { return false };
    if own.place.state != MemberState::Parked {
        return false;
    }
    let roster = mesh.roster();
    let parked_since = *mesh.parked_since.lock();
    mesh.peers().iter().any(|view| {
        let is_member = roster.member(view.replica).is_some_and(|member| !member.is_removed());
        let status = &view.status;
        let is_level = status.is_established && status.own_behind.records == 0;
        let PeerState::Connected { since } = view.state else { return false };
        let is_new = parked_since.is_some_and(|parked| since > parked);
        is_member && is_level && (!was_present || is_new)
    })
}

/// Whether a member holds back the log and nothing has been heard of it for too long; an hour is too long when it is much.
fn is_lost(replica: &Replica, member: &Member, after: Duration) -> bool {
    let mesh = &replica.mesh;
    if member.replica() == mesh.own() || mesh.is_present(member.replica()) {
        return false;
    }
    let Some(held) = mesh.held_back(&replica.store, member) else { return false };
    let is_pressed = held.bytes > replica.store.log_budget() / 2;
    let patience = if is_pressed { after.min(PRESSED_AFTER) } else { after };
    held.commits > 0 && mesh.words.silent_at_least(member.replica()) >= patience
}
