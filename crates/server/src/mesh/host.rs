//! What the protocol with peers asks of this server: where it stands, records out of its log, and a place for theirs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_crdt::{ReplicaId, SignedHead, VersionVector};
use tombolo_net::{
    Admission, Equivocation, Event, Host, IngestRefusal, IngestReport, JoinRefusal, JoinRequest, LoadFailure, Loaded,
    Member, PeerError, PeerRefusal, ProvenBatch, PublicKey, Refusal, Report, Roster, Standing,
};
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Arrival, ArrivalBudget, Arrivals, ArrivalsError, IngestError};
use tracing::{debug, info, warn};

use super::{disputes, errands, invitations, repair, transfers};
use crate::{
    clock,
    committer::{self, Ingested},
    replica::Replica,
};

/// The replica as its peers' sessions drive it.
pub(super) struct PeerHost {
    replica: Arc<Replica>,
    /// Of strangers.
    knocks: Seldom,
}

impl PeerHost {
    pub(super) fn new(replica: Arc<Replica>) -> Self {
        Self { replica, knocks: Seldom::default() }
    }
}

impl Host for PeerHost {
    fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.replica.mesh.standing.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.replica.mesh.roster.subscribe()
    }

    async fn load(&self, seen: VersionVector, from: u64, commits: usize, bytes: usize) -> Result<Loaded, LoadFailure> {
        let Arrivals { records, heads, next } =
            self.replica.reads.arrivals(seen, from, ArrivalBudget { commits, bytes }).await.map_err(
                |why| match why {
                    ArrivalsError::BelowFloor { floor } => LoadFailure::BelowFloor { floor },
                    ArrivalsError::Read(why) => LoadFailure::Unreadable { cause: why.to_string() },
                },
            )?;
        let records: Vec<_> = records.into_iter().map(|Arrival { dot, bytes }| (dot, bytes)).collect();
        let mesh = &self.replica.mesh;
        mesh.can_be_known(next.saturating_sub(1)).await;
        let heads = mesh.signer.complete(&mesh.roster(), &records, heads).map_err(|dot| LoadFailure::Unreadable {
            cause: format!("record {dot} came here without its author's signature, and cannot be passed on"),
        })?;
        Ok(Loaded { records, heads, next })
    }

    async fn ingest(&self, peer: ReplicaId, batch: ProvenBatch) -> IngestReport {
        let heads = batch.heads().to_vec();
        let Ingested { passed, refusal } = self.replica.queue.ingest(peer, batch).await;
        IngestReport { passed, refused: refusal.map(|why| self.refused(why, &heads)) }
    }

    async fn redeem(&self, request: JoinRequest) -> Result<Admission, JoinRefusal> {
        invitations::redeem(&self.replica, request).await
    }

    async fn answer(&self, _: ReplicaId, question: Bytes) -> Bytes {
        errands::answer(&self.replica, question).await
    }

    async fn page(&self, peer: ReplicaId, pull: Bytes) -> Bytes {
        if repair::is_repair(&pull) {
            return repair::answer(&self.replica, pull).await;
        }
        transfers::page(&self.replica, peer, pull).await
    }

    fn event(&self, peer: ReplicaId, event: Event) {
        let mesh = &self.replica.mesh;
        let now = self.replica.uptime.now();
        let raise = |kind, text| mesh.alarms.lock().raise(kind, peer, text, now);
        match event {
            Event::Established { .. } => {
                info!(peer = %mesh.call(peer), "connected to a peer");
                let mut alarms = mesh.alarms.lock();
                for kind in ENDED_BY_A_HELLO {
                    alarms.lower(kind, peer);
                }
            }
            Event::NeedsState { .. } => {
                info!(peer = %mesh.call(peer), "a peer lacks records that are no longer kept: it needs our state");
            }
            Event::LacksState { floor } => mesh.transfers.lacks(peer, floor),
            Event::Skew(ms) => {
                let (by, way) = (ms.unsigned_abs() / 1_000, if ms < 0 { "behind" } else { "ahead of" });
                let text = format!("its clock is {by}s {way} ours: of concurrent writes the later clock's win");
                raise(MeshAlarmKind::Skew, text);
            }
            Event::Corrupt { own, peer: theirs, .. } => {
                let text = format!(
                    "both have applied the same records and hold different data (digest {own:032x} here, {theirs:032x} there): \
                     {}",
                    transfers::examining::UNDECIDED
                );
                raise(MeshAlarmKind::Corrupt, text);
                transfers::examining::begin(&self.replica, peer);
            }
            Event::Upgrade { dot, kind } => {
                let text = format!(
                    "record {dot} has an operation of kind {kind}, which this version does not know: upgrade this server"
                );
                raise(MeshAlarmKind::Upgrade, text);
            }
            Event::RevisionsExhausted => warn!(%peer, "no records are taken: this replica has no revisions left"),
            Event::Unreadable { cause } => warn!(%peer, %cause, "the log cannot be read for a peer; it is tried again"),
            Event::Rows(rows) => mesh.learn(peer, &rows),
        }
    }

    fn report(&self, report: Report) {
        let mesh = &self.replica.mesh;
        match report {
            Report::Connected { peer, address, dialed } => {
                mesh.away.forget(peer);
                mesh.welcome_back(peer);
                debug!(peer = %mesh.call(peer), %address, dialed, "connected");
            }
            Report::Disconnected { peer, cause } => {
                if let PeerError::Session(fault) = &cause {
                    // A newer connection is there: nothing has changed.
                    if fault.code() == SUPERSEDED {
                        return debug!(peer = %mesh.call(peer), "a connection was superseded");
                    }
                    disputes::dispute(&self.replica, peer, fault);
                }
                mesh.silence_begins(peer);
                mesh.away.gone(peer, &mesh.standing.borrow().frontier);
                info!(peer = %mesh.call(peer), %cause, "disconnected from a peer");
            }
            Report::Quarantined(told) => mesh.quarantined(&told, self.replica.uptime.now()),
            // A newcomer says where it is once it is connected.
            Report::Unreachable { peer, cause: PeerError::NoAddress } => {
                debug!(peer = %mesh.call(peer), "a peer has not announced an address");
            }
            Report::Unreachable { peer, cause: PeerError::RefusedUs(Refusal::Peer(PeerRefusal::Removed)) } => {
                mesh.turned_out(peer, self.replica.uptime.now());
            }
            Report::Unreachable { peer, cause: PeerError::RefusedUs(Refusal::Peer(PeerRefusal::Succeeded)) } => {
                let text = "it knows somebody else in our place: this folder is a copy, or was set back; no writes are taken: \
                            start it with --join and a new ticket";
                mesh.alarms.lock().raise(
                    MeshAlarmKind::SecondSuccessor,
                    peer,
                    text.to_owned(),
                    self.replica.uptime.now(),
                );
                mesh.disown();
            }
            Report::Unreachable { peer, cause } => warn!(peer = %mesh.call(peer), %cause, "a peer cannot be reached"),
            Report::TurnedAway { address, key, refusal } => {
                if refusal == Refusal::Peer(PeerRefusal::Succeeded) {
                    self.second_in_place(&key);
                }
                // Whoever reaches the port can knock as often as it likes.
                if let Some(unsaid) = self.knocks.say(self.replica.uptime.now()) {
                    warn!(%address, %key, %refusal, unsaid, "somebody was turned away");
                }
            }
        }
    }

    fn wall_ms(&self) -> u64 {
        clock::wall().0
    }
}

impl PeerHost {
    /// Raises the alarm when whoever was turned away holds a member's key, and is not that member. A stranger can claim what it likes.
    fn second_in_place(&self, key: &PublicKey) {
        let mesh = &self.replica.mesh;
        if let Some(member) = mesh.roster().by_key(key).map(Member::replica) {
            let text = format!(
                "somebody else has its key and says to be in its place, which is {member}'s: its folder was copied; \
                 start the copy with --join and a ticket"
            );
            mesh.alarms.lock().raise(MeshAlarmKind::SecondSuccessor, member, text, self.replica.uptime.now());
        }
    }

    /// A refusal in the protocol's words, with the evidence when it is an author who is to blame.
    fn refused(&self, refusal: committer::IngestRefusal, heads: &[SignedHead]) -> IngestRefusal {
        if let committer::IngestRefusal::Record(IngestError::BrokenChain { dot }) = refusal {
            let evidence = Equivocation::of(dot, self.replica.store.signed_head(dot.replica), heads);
            return evidence.map_or(IngestRefusal::BrokenChain, |found| IngestRefusal::Equivocated(Box::new(found)));
        }
        refused(refusal)
    }
}

/// [`Fault::Superseded`]'s code.
const SUPERSEDED: u16 = 21;

/// Keeps what strangers can cause from filling the log.
#[derive(Default)]
struct Seldom(Mutex<(Option<Duration>, u64)>);

impl Seldom {
    /// Whether it may be said now, and how often it was left unsaid before.
    fn say(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, unsaid) = *state;
        if last.is_some_and(|last| now.saturating_sub(last) < SELDOM) {
            state.1 += 1;
            return None;
        }
        *state = (Some(now), 0);
        Some(unsaid)
    }
}

/// How often a stranger is worth a line.
const SELDOM: Duration = Duration::from_secs(10);

/// What a new session has looked at again: whoever gets as far as that is well, or the alarm comes back.
const ENDED_BY_A_HELLO: [MeshAlarmKind; 4] =
    [MeshAlarmKind::Forked, MeshAlarmKind::AheadOfUs, MeshAlarmKind::Upgrade, MeshAlarmKind::NeedsState];

/// A refusal in the protocol's words.
fn refused(refusal: committer::IngestRefusal) -> IngestRefusal {
    let why = match refusal {
        committer::IngestRefusal::Record(why) => why,
        committer::IngestRefusal::ShutOut => return IngestRefusal::FromRemoved,
        committer::IngestRefusal::NotDurable => return IngestRefusal::Poisoned,
        committer::IngestRefusal::QueueFull | committer::IngestRefusal::Stopped => return IngestRefusal::Busy,
    };
    match why {
        IngestError::Gap { expected, .. } => IngestRefusal::Gap { expected },
        IngestError::MissingContext { missing, .. } => IngestRefusal::MissingContext { missing },
        IngestError::OwnDot { .. } => IngestRefusal::OwnDot,
        IngestError::BrokenChain { .. } => IngestRefusal::BrokenChain,
        IngestError::Frozen { last, .. } => IngestRefusal::Frozen { last },
        IngestError::Unsigned { .. } => IngestRefusal::Unsigned,
        IngestError::UnknownOperation { kind, .. } => IngestRefusal::UnknownOperation { kind },
        IngestError::ContradictsContext(fault) => IngestRefusal::ContradictsContext(fault),
        IngestError::Malformed(why) => IngestRefusal::Malformed(why),
        IngestError::RevisionsExhausted => IngestRefusal::RevisionsExhausted,
        IngestError::NoSpace => IngestRefusal::NoSpace,
        // The committer counts a record that is here already as taken; should one come, it is asked for again and then is.
        IngestError::Duplicate { .. } | IngestError::Joining => IngestRefusal::Busy,
        IngestError::Poisoned { .. } | IngestError::Read(_) => IngestRefusal::Poisoned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_seldom_counts_what_was_left_unsaid() {
        let seldom = Seldom::default();
        assert_eq!(seldom.say(Duration::ZERO), Some(0));
        assert_eq!(seldom.say(Duration::from_secs(1)), None);
        assert_eq!(seldom.say(Duration::from_secs(9)), None);
        assert_eq!(seldom.say(SELDOM), Some(2));
        assert_eq!(seldom.say(SELDOM * 2), Some(0));
    }

    #[test]
    fn the_code_of_a_superseded_session_is_that_of_its_fault() {
        assert_eq!(tombolo_net::Fault::Superseded.code(), SUPERSEDED);
    }
}
