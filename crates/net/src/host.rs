//! What a node asks of the program it runs in: the store, the membership, and somebody to tell.

use std::{future::Future, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;
use tombolo_crdt::{ReplicaId, VersionVector};

use crate::{
    Admission, Event, IngestReport, JoinRefusal, JoinRequest, LoadFailure, Loaded, PeerError, ProvenBatch, PublicKey,
    Quarantined, Refusal, Roster, Standing,
};

/// The program around a node. Implementors may write the asynchronous methods as `async fn`.
///
/// The futures run beside the connection's reading and are dropped when the connection ends: what they have begun must be
/// whole or nothing.
pub trait Host: Send + Sync + 'static {
    /// Where this replica stands: the newest durable moment.
    fn standing(&self) -> watch::Receiver<Arc<Standing>>;

    /// Who belongs to the mesh.
    fn roster(&self) -> watch::Receiver<Arc<Roster>>;

    /// Reads the log from commit `from` on, without the records that `seen` covers. Looks at no more than `commits` commits,
    /// and returns no more than `bytes` bytes of records, unless a single one has more, or records that were ingested together have. Those are
    /// never told in part. [`Signer`](crate::Signer) signs what is this replica's own.
    fn load(
        &self,
        seen: VersionVector,
        from: u64,
        commits: usize,
        bytes: usize,
    ) -> impl Future<Output = Result<Loaded, LoadFailure>> + Send;

    /// Applies records that `peer` has sent, in order, all or none, and answers when they are durable, and [`Host::standing`] says so. The
    /// heads are kept with them: they are what the records are offered with to others.
    ///
    /// Who sends matters for one thing: once this replica has said that it takes nothing more from a removed member
    /// ([`Saying::Closed`](crate::Saying::Closed)), nothing of it that is under way may be taken.
    fn ingest(&self, peer: ReplicaId, batch: ProvenBatch) -> impl Future<Output = IngestReport> + Send;

    /// Redeems a ticket of this replica: checks it, and writes the admission. The request's key is proven, nothing else is. Is
    /// asked no more often than a rack of newcomers would. Runs to its end even if the newcomer has gone.
    fn redeem(&self, request: JoinRequest) -> impl Future<Output = Result<Admission, JoinRefusal>> + Send;

    /// Answers a question of a peer: at most [`ASK_BODY_BYTES_MAX`](crate::ASK_BODY_BYTES_MAX), empty when there is no answer.
    /// Up to [`Limits::asks_max`](crate::Limits::asks_max) run at a time for one peer; the peer waits for as long as it likes,
    /// but its questions are bounded, so each should end in bounded time.
    fn answer(&self, peer: ReplicaId, question: Bytes) -> impl Future<Output = Bytes> + Send {
        let _ = (peer, question);
        async { Bytes::new() }
    }

    /// Answers a pull of a peer with a page of this replica's state: about a mebibyte, at most
    /// [`PAGE_BODY_BYTES_MAX`](crate::PAGE_BODY_BYTES_MAX), empty when there is none. Up to
    /// [`Limits::pulls_max`](crate::Limits::pulls_max) run at a time for one peer.
    fn page(&self, peer: ReplicaId, pull: Bytes) -> impl Future<Output = Bytes> + Send {
        let _ = (peer, pull);
        async { Bytes::new() }
    }

    /// Takes note of what a session found out. Must not block.
    fn event(&self, peer: ReplicaId, event: Event);

    /// Takes note of what became of a connection. Must not block.
    fn report(&self, report: Report) {
        let _ = report;
    }

    /// Milliseconds since the Unix epoch, by the wall clock.
    fn wall_ms(&self) -> u64;
}

/// What became of a connection.
#[derive(Clone, Debug)]
pub enum Report {
    /// A peer is connected and has proven who it is.
    Connected {
        /// The peer.
        peer: ReplicaId,
        /// Its address.
        address: SocketAddr,
        /// Whether we dialed.
        dialed: bool,
    },
    /// A connection to a peer ended. Another one may be there.
    Disconnected {
        /// The peer.
        peer: ReplicaId,
        /// Why.
        cause: PeerError,
    },
    /// A peer could not be reached. It is dialed again and again; only changes of the reason are reported.
    Unreachable {
        /// The peer.
        peer: ReplicaId,
        /// Why.
        cause: PeerError,
    },
    /// A peer has sent what nobody may send. Its connection has ended, and it is not spoken with for a while.
    Quarantined(Quarantined),
    /// Somebody who connected was not let in, or was not admitted.
    TurnedAway {
        /// From where.
        address: SocketAddr,
        /// The key it has proven to hold.
        key: PublicKey,
        /// Why.
        refusal: Refusal,
    },
}
