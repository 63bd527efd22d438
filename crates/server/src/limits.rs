//! Bounds, each with its reason. What a bound protects is memory and time that one client could take from all others.

use std::time::Duration;

/// Connections at a time. Further ones wait in the system's backlog until one ends.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;

/// Connections at a time to the listeners for metrics and health. They are counted apart, so that clients cannot keep probes out.
pub(crate) const PROBES_MAX: usize = 64;

/// Silence from a new connection before it is dropped: it holds one of the places above.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS handshake, from the first byte on. It takes milliseconds, and who cannot end one has proved nothing.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at a time that have not got through: no first byte, or an unfinished handshake. One more displaces the oldest of them, so that
/// whoever opens connections and leaves them so can neither take all places nor keep others from theirs.
pub(crate) const ARRIVALS_MAX: usize = 256;

/// How often the files of certificates are looked at when nobody connects, for the sake of those who are connected.
pub(crate) const CERTIFICATE_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The fields of one request's head. etcd's own metadata is a few hundred bytes.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Streams a client may have reset while the server still works on them: the "rapid reset" attack opens and resets without end.
pub(crate) const PENDING_RESETS_MAX: usize = 64;

/// Streams that the server has reset for errors of the client, after which the connection is closed.
pub(crate) const ERROR_RESETS_MAX: usize = 1_024;

/// Bytes that one stream, and one connection, may have under way to a server that has not read them.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// See [`STREAM_WINDOW_BYTES`].
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// What a message may have beyond the largest request before it is not even decoded. As in etcd.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;

/// Requests that wait for the committer. As in etcd, the next one is told that there are too many.
pub(crate) const QUEUE_REQUESTS_MAX: usize = 5_000;
/// Bytes of the requests that wait for the committer.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Requests made durable together. A client's wait is at most two groups, so groups stay small; at this size a sync costs nothing per request.
pub(crate) const GROUP_REQUESTS_MAX: usize = 1_024;
/// Bytes of the requests made durable together, as far as one request does not exceed it.
pub(crate) const GROUP_BYTES_MAX: usize = 4 << 20;

/// Groups that are durable and not yet announced. The committer waits when the runtime is that far behind.
pub(crate) const GROUPS_UNANNOUNCED_MAX: usize = 4;

/// The longest that the committer sleeps before it looks after the store's housekeeping.
pub(crate) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);

/// Large reads at a time. Each may hold tens of megabytes.
pub(crate) const LARGE_READS_MAX: usize = 4;
/// Stretches of history read at a time for watchers that catch up.
pub(crate) const REPLAYS_MAX: usize = 2;

/// Reads of everything at a time, as for a hash: each keeps one thread busy for as long as it takes.
pub(crate) const WHOLES_MAX: usize = 1;

/// Stretches of the log read at a time for peers that catch up.
pub(crate) const LOADS_MAX: usize = 2;
/// Commits that are read for a peer without leaving the runtime.
pub(crate) const SMALL_LOADS_MAX: u64 = 16;

/// Previous values that are looked up at once without leaving the runtime.
pub(crate) const SMALL_LOOKUPS_MAX: usize = 8;

/// Answers that may wait in a watch stream before it reads no further requests.
pub(crate) const WATCH_BACKLOG_MAX: usize = 1_000;

/// Watch ids of one stream. They are remembered until the client cancels them, also when the server has ended the watcher.
pub(crate) const WATCH_IDS_MAX: usize = 100_000;

/// Calls that wait for a lock or to be elected. Each holds a task, a watch and a key, and none ends by itself.
pub(crate) const WAITING_CALLS_MAX: usize = 10_000;

/// How long open connections may take to end after the signal to stop.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the JSON of one request may have beyond its values in base64: names, quotes and brackets of as many operations as a transaction may have.
pub(crate) const JSON_OVERHEAD_BYTES: usize = 512 << 10;

/// Bytes of a snapshot in one message, as etcd's.
pub(crate) const SNAPSHOT_PIECE_BYTES: usize = 32 << 10;
/// Pieces of a snapshot that wait for a client that does not take them; nothing is read from the disk meanwhile.
pub(crate) const SNAPSHOT_PIECES_WAITING_MAX: usize = 8;

/// One message of an import: a transaction of another store, as large as a record may be, or a stretch of small ones.
pub(crate) const IMPORT_MESSAGE_BYTES_MAX: usize = 10 << 20;
