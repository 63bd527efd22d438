//! What an operator says of a member: parked, active again, removed, or whose leases it counts.
//!
//! Each is one signed statement in the replicated system data. It is durable here when the operator is answered; the other members
//! learn of it as of any write.

use thiserror::Error;
use tombolo_crdt::ReplicaId;
use tombolo_net::{Member, MemberState, PeerState, Saying, Statement, StatementTerms};
use tombolo_storage::SystemWrite;
use tracing::info;

use super::{Mesh, invitations};
use crate::{clock, committer::Refusal, replica::Replica};

/// Why nothing was said.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// Nobody has that name.
    #[error("{member} is no member of the mesh")]
    NotFound { member: ReplicaId },
    /// It is a member no more, and will not be one again.
    #[error("{who} was removed from the mesh, for ever: a site that is to come back joins with an empty folder")]
    Removed { who: String },
    /// Nobody would be left.
    #[error("{who} is the only member")]
    Only { who: String },
    /// It counts its leases itself.
    #[error("{who} is active and counts its leases itself: park or remove it first")]
    CountsItself { who: String },
    /// It cannot count anybody's leases.
    #[error("{who} is not active, and counts no leases")]
    NotActive { who: String },
    /// The statement was not made durable.
    #[error(transparent)]
    Commit(#[from] Refusal),
}

/// Keeps no log for a member any more.
pub(crate) async fn park(replica: &Replica, member: ReplicaId) -> Result<(), StateError> {
    let known = present(replica, member)?;
    let member = known.replica();
    if known.place.state == MemberState::Parked {
        return Ok(());
    }
    let roster = replica.mesh.roster();
    if roster.active().all(|other| other.replica() == member) {
        return Err(StateError::Only { who: replica.mesh.call(member) });
    }
    say(replica, member, Saying::Parked { was_present: replica.mesh.is_present(member) }).await
}

/// Keeps the log for a member again.
pub(crate) async fn unpark(replica: &Replica, member: ReplicaId) -> Result<(), StateError> {
    let known = present(replica, member)?;
    match known.place.state {
        MemberState::Active => Ok(()),
        MemberState::Parked | MemberState::Removed => say(replica, known.replica(), Saying::Active).await,
    }
}

/// Takes a member out of the mesh.
pub(crate) async fn remove(replica: &Replica, member: ReplicaId) -> Result<(), StateError> {
    let roster = replica.mesh.roster();
    // To say it twice changes nothing.
    if roster.is_removed(member) {
        return Ok(());
    }
    let member = present(replica, member)?.replica();
    if roster.present().all(|other| other.replica() == member) {
        return Err(StateError::Only { who: replica.mesh.call(member) });
    }
    say(replica, member, Saying::Removed).await
}

/// Has `to` count the leases of `from`, which is not there to do so.
pub(crate) async fn lease_heir(replica: &Replica, from: ReplicaId, to: ReplicaId) -> Result<(), StateError> {
    let (mesh, roster) = (&replica.mesh, replica.mesh.roster());
    let known = roster.member(roster.heir(from)).ok_or(StateError::NotFound { member: from })?;
    let (from, to) = (known.replica(), roster.heir(to));
    if from != to {
        if known.place.state == MemberState::Active {
            return Err(StateError::CountsItself { who: mesh.call(from) });
        }
        let heir = roster.member(to).ok_or(StateError::NotFound { member: to })?;
        if heir.place.state != MemberState::Active {
            return Err(StateError::NotActive { who: mesh.call(to) });
        }
    }
    say(replica, from, Saying::LeaseHeir(to)).await
}

/// Whoever goes by this name now, if it is a member.
fn present(replica: &Replica, member: ReplicaId) -> Result<Member, StateError> {
    let roster = replica.mesh.roster();
    let member = roster.heir(member);
    let known = roster.member(member).ok_or(StateError::NotFound { member })?;
    if known.is_removed() { Err(StateError::Removed { who: replica.mesh.call(member) }) } else { Ok(known.clone()) }
}

/// Says it, and returns when that is durable and known everywhere in this server.
pub(super) async fn say(replica: &Replica, subject: ReplicaId, saying: Saying) -> Result<(), StateError> {
    invitations::write(replica, vec![replica.mesh.statement(subject, saying)]).await?;
    info!(member = %replica.mesh.call(subject), ?saying, "said of a member");
    Ok(())
}

impl Mesh {
    /// What we say of a member, signed, on its way into the data.
    pub(super) fn statement(&self, subject: ReplicaId, saying: Saying) -> SystemWrite {
        let terms = StatementTerms { mesh: self.id(), subject, saying, made_ms: clock::wall().0, maker: self.own() };
        let statement = Statement::sign(terms, &self.key);
        invitations::put(statement.key(), statement.encode())
    }

    /// Whether there is a connection to a member, or it is this replica.
    pub(super) fn is_present(&self, member: ReplicaId) -> bool {
        let connected =
            |view: tombolo_net::PeerView| view.replica == member && matches!(view.state, PeerState::Connected { .. });
        member == self.own() || self.peers().into_iter().any(connected)
    }
}
