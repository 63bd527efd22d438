//! The reading side of a store, and what both sides share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tombolo_crdt::{Dot, ReplicaId, VersionVector};

use crate::{
    Committer, Durability, KeyValue, OpenError, OpenOptions, Papers, Predecessor, RangeAnswer, RangeQuery, ReadError,
    Revision, Slot,
    disk::Reached,
    engine::{Engine, EngineError, fjall::FjallEngine},
    folder::{Folder, FolderLock, Owner},
    heads::NewestHeads,
    health::HealthState,
    index::{Index, Visible, own_key},
    lease_homes::LeaseHomes,
    log::Stream,
    log_held::Held,
    milestones::Milestones,
    outbox::Outbox,
    query::{self, Candidate},
    recover,
    rot::Rot,
    row::base::Gaps,
    succession,
    system::PublishedSystem,
    view::{Rows, read_pair},
};

/// Names a mesh for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeshId(pub u128);

/// Who a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The mesh it belongs to.
    pub mesh: MeshId,
    /// The replica it is.
    pub replica: ReplicaId,
    /// The share of the revision space in which it counts.
    pub slot: Slot,
}

/// What readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The last visible commit.
    pub commit: u64,
    /// The revision after it.
    pub revision: Revision,
    /// The revision of the last compaction, -1 when there was none.
    pub compacted: i64,
}

/// How large a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the engine on disk.
    pub disk_bytes: u64,
    /// Bytes of the rows in use.
    pub in_use_bytes: u64,
    /// Bytes that may be in use; `None` when there is no quota.
    pub quota_bytes: Option<u64>,
    /// Keys that exist or are remembered.
    pub keys: u64,
}

/// The reading side of a store: a cheap clone of shared state, for any thread.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the reading side and the writing side share.
pub(crate) struct Shared {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) state: RwLock<State>,
    pub(crate) owner: Owner,
    pub(crate) durability: Durability,
    /// What is held against the rows in use.
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) health: HealthState,
    pub(crate) outbox: Outbox,
    pub(crate) reached: Reached,
    /// Whether an import is under way: known here from before its beginning is durable until its end is.
    pub(crate) is_importing: AtomicBool,
    /// What all who replicate with this store have applied, when there is anybody: see [`Store::hold_log`].
    pub(crate) applied_by_peers: Mutex<Option<VersionVector>>,
    /// Staged rows below this ordinal are of no use any more.
    pub(crate) staged_from: AtomicU64,
    /// What of the rows is known to be rotten.
    pub(crate) rot: Rot,
    /// Bytes of the log that are held for them at most.
    pub(crate) log_budget_bytes: u64,
    /// Authors whose streams are complete: see [`Store::freeze`].
    pub(crate) frozen: Mutex<BTreeSet<ReplicaId>>,
    pub(crate) lease_homes: LeaseHomes,
    /// Held for as long as anyone reads or writes: the engine is open until then.
    pub(crate) _lock: FolderLock,
}

/// What changes with each commit. The index may be ahead of the rest: readers bound themselves by `published`.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) published: Published,
    pub(crate) frontier: VersionVector,
    /// Where each author's stream stands at its last record in it.
    pub(crate) streams: BTreeMap<ReplicaId, Stream>,
    /// The newest signed head of each author.
    pub(crate) heads: NewestHeads,
    pub(crate) digest: u128,
    pub(crate) system: PublishedSystem,
    pub(crate) row_bytes: u64,
    /// What the hashes of all commit rows add up to.
    pub(crate) row_hashes: u128,
    /// Bytes of rows that compaction has taken since the store was opened.
    pub(crate) freed_bytes: u64,
    /// The ordinal of the newest base that is published; 0 when there is none.
    pub(crate) base_ordinal: u64,
    /// What compaction has still to look at.
    pub(crate) held: Held,
    /// The last commit of the oldest readable revision: rows up to there may be missing.
    pub(crate) horizon: u64,
    /// The commit at which the compacted revision began to hold.
    pub(crate) compacted_first: u64,
    /// No cut below this one can be read: it is where everything stood at the last compaction whose rows have begun to go.
    pub(crate) cuts_from: VersionVector,
    /// The log is complete from here on.
    pub(crate) floor: Floor,
    /// What was applied after some of its commits.
    pub(crate) milestones: Milestones,
}

impl State {
    /// Takes note of the last record that is now published of an author.
    pub(crate) fn advance(&mut self, last: Dot, stream: Stream) {
        self.frontier.raise(last.replica, last.seq);
        self.streams.insert(last.replica, stream);
    }

    /// Takes note of what is published by now, once in a while.
    pub(crate) fn pass_milestone(&mut self) {
        self.milestones.note(self.published.commit, &self.frontier, self.row_bytes + self.freed_bytes);
    }

    /// About how many bytes the rows of these commits took when they were written.
    pub(crate) fn log_bytes(&self, commits: std::ops::RangeInclusive<u64>) -> u64 {
        let now = (self.published.commit, self.row_bytes + self.freed_bytes);
        let written = |commit| self.milestones.written(commit, now);
        if commits.is_empty() { 0 } else { written(*commits.end()).saturating_sub(written(commits.start() - 1)) }
    }
}

/// Where the log begins: rows up to this commit may be missing or reduced, and hold the records up to this vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) commit: u64,
    pub(crate) vector: VersionVector,
    /// Above it the log is dense but for these.
    pub(crate) gaps: Gaps,
    /// Stretches of commits above it that were joined from transfers.
    pub(crate) received: Vec<(u64, u64)>,
}

/// Pairs above which a read holds a snapshot of the engine while it fetches them. Compaction leaves rows alone for so long
/// that a short read is never overtaken by it; a long one could be.
const SNAPSHOT_ABOVE: usize = 256;

impl Store {
    /// Opens the store in a data folder, or makes a new one in an empty or absent place.
    ///
    /// # Errors
    ///
    /// A folder that is in use, damaged, from a newer version, or whose identity must not be used again, is left as it is.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<(Self, Committer), OpenError> {
        let mut folder = Folder::open(path, options)?;
        if folder.starts_over() {
            succession::start_over(folder, options)?;
            folder = Folder::open(path, options)?;
        }
        let engine = FjallEngine::open(&folder.engine())?;
        folder.seal_if_empty(&engine)?;
        recover::open(Box::new(engine), Some(folder), None, options)
    }

    /// The mesh that what a folder holds comes from, when it is another than its own: it was restored from a backup, or is a copy that went
    /// its own way.
    ///
    /// # Errors
    ///
    /// The manifest is damaged, or of a newer version.
    pub fn origin(path: &Path) -> Result<Option<MeshId>, OpenError> {
        Folder::origin(path)
    }

    /// Who a folder belongs to; `None` when it is absent, or no store was ever completed in it. Nothing is opened, written or
    /// locked: a folder in use answers too, and one that [`open`](Self::open) would refuse may.
    ///
    /// # Errors
    ///
    /// Something else lies in the folder, or the manifest is damaged, missing from a store, or of a newer version.
    pub fn peek(path: &Path) -> Result<Option<Identity>, OpenError> {
        Folder::peek(path)
    }

    /// Whether a folder's manifest is not the file that it was written as: then the folder is a copy. Nothing is opened, written or locked. A
    /// folder without a manifest is none.
    ///
    /// # Errors
    ///
    /// The manifest is damaged, or of a newer version.
    pub fn is_copy(path: &Path) -> Result<bool, OpenError> {
        Folder::is_copy(path)
    }

    /// Opens a store on an engine that is not in a folder: for tests and simulation. It has no fence, and its identity comes
    /// from the options every time.
    ///
    /// # Errors
    ///
    /// Rows that are missing or do not carry their own hash.
    pub fn open_on(engine: Box<dyn Engine>, options: &OpenOptions) -> Result<(Self, Committer), OpenError> {
        recover::open(engine, None, Some(Owner::found(options)), options)
    }

    /// Opens a store on an engine that is not in a folder, with papers that say what a folder would: for simulation.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        engine: Box<dyn Engine>,
        papers: &Papers,
        options: &OpenOptions,
    ) -> Result<(Self, Committer), OpenError> {
        let folder = Folder::of(papers, options)?;
        folder.seal_if_empty(&*engine)?;
        recover::open(engine, Some(folder), None, options)
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads a range. May read the disk. O(keys in the range) plus a row for each pair returned.
    ///
    /// # Errors
    ///
    /// A revision that is compacted or has not happened; a damaged row.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        self.shared.noting(self.read_range(query))
    }

    fn read_range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        let state = self.shared.state.read();
        let Published { revision: current, compacted, .. } = state.published;
        let revision = query::read_revision(query.revision, current, compacted, &self.shared.owner.numbers)?;
        let seen = state.index.visible(&query.range, revision).map(|(key, visible)| Pair { key, visible });
        let selection =
            query::select(query, seen, |seen: Seen<'_>| Found { key: own_key(seen.key), visible: seen.visible });
        let snapshot = (selection.kept.len() > SNAPSHOT_ABOVE).then(|| self.shared.engine.snapshot());
        // Fetching may read the disk: the committer must not wait for that.
        drop(state);
        match snapshot {
            Some(snapshot) => query::finish(query, current, selection, |found| self.fetch(&*snapshot, found)),
            None => query::finish(query, current, selection, |found| self.fetch(&*self.shared.engine, found)),
        }
    }

    fn fetch(&self, rows: &(impl Rows + ?Sized), found: Found) -> Result<KeyValue, ReadError> {
        read_pair(rows, found.key, found.visible)
    }

    /// The pair as it was just before `revision`; `None` when the key did not exist then, or when that is compacted.
    ///
    /// # Errors
    ///
    /// A damaged row.
    pub fn previous(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>, ReadError> {
        let visible = {
            let state = self.shared.state.read();
            if revision.get() <= state.published.compacted {
                return Ok(None);
            }
            state.index.get(key).and_then(|entry| entry.visible(revision.get() - 1))
        };
        self.shared.noting(visible.map(|visible| read_pair(&*self.shared.engine, own_key(key), visible)).transpose())
    }

    /// What readers see now.
    pub fn published(&self) -> Published {
        self.shared.state.read().published
    }

    /// Who this store is.
    pub fn identity(&self) -> Identity {
        self.shared.owner.identity
    }

    /// Who this store was in its mesh before, the oldest first: replicas under whose names nobody writes any more.
    pub fn predecessors(&self) -> &[Predecessor] {
        self.shared.owner.numbers.lineage.predecessors()
    }

    /// The version vector of everything applied and visible here.
    pub fn frontier(&self) -> VersionVector {
        self.shared.state.read().frontier.clone()
    }

    /// The leases whose home is this replica, with their seconds to live.
    pub fn leases(&self) -> Vec<(i64, i64)> {
        let state = self.shared.state.read();
        let own = state.index.leases().filter(|(lease, _)| self.is_home(lease.home));
        own.map(|(lease, ttl_s)| (lease.id, i64::try_from(ttl_s).unwrap_or(i64::MAX))).collect()
    }

    /// The keys attached to the lease of this number, ascending; none when there is no such lease, or none can be told from others.
    /// O(attached keys).
    pub fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let state = self.shared.state.read();
        let lease = state.index.lease_named(id, |home| self.is_home(home));
        lease.map_or_else(|_| Vec::new(), |lease| state.index.keys_of(lease))
    }

    /// The replica at which the lease of this number counts down: this one, if it granted one, or else the only one that did.
    /// `None` when there is no such lease, or none can be told from others.
    pub fn lease_home(&self, id: i64) -> Option<ReplicaId> {
        let state = self.shared.state.read();
        let lease = state.index.lease_named(id, |home| self.is_home(home)).ok()?;
        let own = self.shared.owner.identity.replica;
        Some(if self.is_home(lease.home) { own } else { self.shared.lease_homes.home(lease.home) })
    }

    fn is_home(&self, home: ReplicaId) -> bool {
        let owner = &self.shared.owner;
        self.shared.lease_homes.is_home(owner.identity.replica, home, &owner.numbers.lineage)
    }

    /// The digest of the replicated state: equal at replicas that have applied the same records.
    pub fn digest(&self) -> u128 {
        self.shared.state.read().digest
    }

    /// Takes no more records of these authors than are here: nobody has others that count. Own records are not concerned, and
    /// what was frozen once stays so.
    pub fn freeze(&self, authors: impl IntoIterator<Item = ReplicaId>) {
        self.shared.frozen.lock().extend(authors);
    }

    /// How large the store is.
    pub fn sizes(&self) -> Sizes {
        let (in_use_bytes, keys) = {
            let state = self.shared.state.read();
            (state.row_bytes, state.index.len() as u64)
        };
        let Shared { engine, quota_bytes, .. } = &*self.shared;
        Sizes { disk_bytes: engine.disk_bytes(), in_use_bytes, quota_bytes: *quota_bytes, keys }
    }

    /// Gives back disk that is not in use. It may take minutes: on a thread that may take its time. Reads and writes go on.
    ///
    /// # Errors
    ///
    /// The engine's. Nothing is lost by one.
    pub fn defragment(&self) -> Result<(), EngineError> {
        self.shared.engine.defragment()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// A pair of the index whose value has not been fetched, while the index is looked at and after.
struct Pair<K> {
    key: K,
    visible: Visible,
}

type Seen<'a> = Pair<&'a [u8]>;
type Found = Pair<Bytes>;

impl<K: AsRef<[u8]>> Candidate for Pair<K> {
    fn key(&self) -> &[u8] {
        self.key.as_ref()
    }

    fn create_revision(&self) -> i64 {
        self.visible.shown.create_revision
    }

    fn mod_revision(&self) -> i64 {
        self.visible.mod_revision
    }

    fn version(&self) -> i64 {
        self.visible.shown.version
    }
}
