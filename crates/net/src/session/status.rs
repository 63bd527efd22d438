//! What a session says of itself.

use tombolo_crdt::VersionVector;

/// How it stands with a peer, both ways. Counts are as of what was last heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// Whether the peer has said hello.
    pub is_established: bool,
    /// What the peer has applied, as far as it has said.
    pub frontier: VersionVector,
    /// The highest kind of operation that the peer can interpret.
    pub kinds: u64,
    /// What we have and the peer lacks.
    pub peer_behind: Behind,
    /// What the peer has and we lack.
    pub own_behind: Behind,
    /// Whether both digests were equal when both had last applied the same records.
    pub digests: Digests,
    /// How far the peer's clock is ahead of ours, in milliseconds, when last heard.
    pub skew_ms: i64,
    /// Whether the peer takes records.
    pub peer_readiness: Readiness,
    /// Whether we take records from the peer.
    pub own_readiness: Readiness,
    /// Whether the peer lacks records that are no longer in our log.
    pub needs_state: bool,
}

/// How far one side is behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Records missing.
    pub records: u64,
    /// Bytes of records that are under way: sent, and not yet known to be applied.
    pub bytes: u64,
    /// How long ago the first of the missing ones was there.
    pub ms: u64,
}

/// The outcome of comparing digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digests {
    /// There was nothing to compare yet: the two sides were never seen to have applied the same records.
    #[default]
    Unknown,
    /// Equal when last compared.
    Equal,
    /// Different when last compared.
    Different,
}

/// Whether a replica takes records from its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    #[default]
    Ready,
    /// Not now: its disk is full, or its store has too much to do.
    Busy,
    /// No more on this connection: it met a record that it cannot apply.
    Stopped,
}
