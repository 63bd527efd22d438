//! What a session allows, itself and its peer.

/// The operations that this version can interpret: the highest kind of a record's operations.
pub const OPERATION_KIND_MAX: u64 = 7;

/// The longest body of a question, and of an answer: what a request of a client needs, and no place for data.
pub const ASK_BODY_BYTES_MAX: usize = 4 << 10;

/// The longest body of a pull: a vector of every replica there ever was, and some.
pub const PULL_BODY_BYTES_MAX: usize = 512 << 10;

/// The longest body of a page. Providers aim at a mebibyte; something larger that cannot be cut goes alone.
pub const PAGE_BODY_BYTES_MAX: usize = tombolo_crdt::RECORD_BYTES_MAX;

/// Bounds and intervals of a session. The defaults are what a mesh runs with; tests and simulations shorten them.
///
/// Sizes bound what one peer can make this replica hold: a window of records, one frame, and vectors of
/// `vector_entries_max` replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame of records. A record of the greatest size fits, with its envelope.
    pub frame_bytes_max: usize,
    /// The largest frame of any other kind, so that no vector costs more than this before it has been counted.
    pub control_bytes_max: usize,
    /// The most replicas that a vector may name. A mesh keeps an entry for every replica there ever was.
    pub vector_entries_max: usize,
    /// Bytes of records in one frame, one load and one ingest; a record larger than that goes alone. Small, so that
    /// a heartbeat never waits long behind records.
    pub batch_bytes: usize,
    /// Records in one ingest: a bound on how long a store is kept by one peer.
    pub batch_records: usize,
    /// Commits looked at by one load, wanted or not.
    pub load_commits: usize,
    /// Bytes of records that may be under way unacknowledged: the product of a fast link's rate and its round trip, and
    /// what a receiver may have to hold. A single record may exceed it, and nothing else: records that the author's site signed together, or that rot has
    /// joined, which may be 1 MiB, go out as one.
    pub window_bytes: u64,
    /// Questions that one side may have unanswered.
    pub asks_max: usize,
    /// Pages of a transfer that one side may have pulled and not got: with the size of a page, what a link carries in a round trip.
    pub pulls_max: usize,
    /// Bytes of stability rows in one heartbeat; a single row may exceed it.
    pub rows_bytes: usize,
    /// Recent standings remembered, to compare digests with a peer that is a moment behind.
    pub standings_remembered: usize,
    /// How long an advance may wait to be told together with later ones.
    pub have_delay_ms: u64,
    /// The same for a peer of which we want no records: nothing that is told late makes it send too much.
    pub lazy_have_delay_ms: u64,
    /// The time between heartbeats.
    pub heartbeat_ms: u64,
    /// How long a peer may say nothing.
    pub silence_ms: u64,
    /// How long a peer may take to say hello.
    pub hello_ms: u64,
    /// How long a peer that is not busy may take to apply the oldest record under way, once it has arrived.
    pub stall_ms: u64,
    /// The slowest link that is supported, in bytes a second: the oldest record under way has as much longer as it takes there.
    pub rate_min: u64,
    /// How long to wait before a load that failed, or an ingest that found no space, is tried again.
    pub retry_ms: u64,
    /// How long to wait before an ingest that found the store busy is tried again.
    pub busy_ms: u64,
    /// How far clocks may differ without a word.
    pub skew_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: tombolo_crdt::RECORD_BYTES_MAX + 64,
            control_bytes_max: 1 << 20,
            vector_entries_max: 1 << 14,
            batch_bytes: 256 << 10,
            batch_records: 1024,
            load_commits: 4096,
            window_bytes: 4 << 20,
            asks_max: 256,
            pulls_max: 4,
            rows_bytes: 4 << 10,
            standings_remembered: 128,
            have_delay_ms: 10,
            lazy_have_delay_ms: 200,
            heartbeat_ms: 1_000,
            silence_ms: 5_000,
            hello_ms: 5_000,
            stall_ms: 30_000,
            rate_min: 16 << 10,
            retry_ms: 1_000,
            busy_ms: 50,
            skew_ms: 10_000,
        }
    }
}
