//! One site: its rows, its clocks, the process that runs on them, and what was seen of it from outside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::{Batch, IngestReport, Roster, Session, Signer, Stability, Standing, Statement};
use tombolo_site::{Hub, HubOptions, LeaseTable, Load, WatcherId};
use tombolo_storage::{
    Answer, CollectedTransfer, Committer, Group, Preparation, Provider, Receiver, Request, RequestError, Slot,
    StagedPage, Store, WallTime,
};

use crate::{
    Time,
    checker::{durability::Promises, log::Log, revisions::Revisions},
    disk::{Arranged, Disk},
    network::{ConnectionId, End},
    rows::Rows,
    simulation::standing,
    time::Clocks,
};

/// A site, running or not.
pub(crate) struct Site {
    /// Who writes here now, and all names that were written under here.
    pub(crate) replica: ReplicaId,
    pub(crate) names: Vec<ReplicaId>,
    pub(crate) slot: Slot,
    /// What the store is founded with.
    pub(crate) entropy: [u8; 32],
    /// Signs what it offers.
    pub(crate) signer: Signer,
    pub(crate) clocks: Clocks,
    pub(crate) rows: Rows,
    /// What a sync takes beyond what it takes everywhere.
    pub(crate) slower_us: u64,
    /// Writes to the disk fail, until the site is started again.
    pub(crate) has_failing_disk: bool,
    /// It takes no records.
    pub(crate) is_busy: bool,
    /// It cannot read its log for peers.
    pub(crate) is_unreadable: bool,
    /// Its machine stops in the next sweep.
    pub(crate) stops_sweeping: Option<Arranged>,
    /// Its machine stops when it joins the next transfer.
    pub(crate) stops_joining: Option<Arranged>,
    /// Rows have been damaged since they were last made whole.
    pub(crate) is_rotten: bool,
    /// A copy of its disk, and what was seen of it by then.
    pub(crate) kept: Option<(Disk, Log)>,
    /// Its disk has lost what it had since it was opened last.
    pub(crate) has_lost: bool,
    /// How many processes there have been.
    pub(crate) lives: u64,
    pub(crate) life: Option<Life>,
    pub(crate) log: Log,
    pub(crate) promises: Promises,
    pub(crate) revisions: Revisions,
    /// When it took a transfer the last time.
    pub(crate) joined_at: Option<Time>,
    /// When keys were removed; only a planted bug remembers it.
    pub(crate) buried: BTreeMap<Bytes, u64>,
    /// Keys that were put under a lease, whatever has happened to them since.
    pub(crate) leased: BTreeMap<i64, Vec<Bytes>>,
}

/// A process, from opening the store to its end.
pub(crate) struct Life {
    pub(crate) number: u64,
    /// The store takes no more writes.
    pub(crate) is_poisoned: bool,
    /// Rows have been damaged since the store was opened.
    pub(crate) has_met_rot: bool,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) hub: Hub,
    pub(crate) leases: LeaseTable,
    pub(crate) stability: Stability,
    /// Where the store stands, as sessions were told last.
    pub(crate) standing: Arc<Standing>,
    /// What the committer has not looked at.
    pub(crate) queue: VecDeque<Work>,
    /// What was executed and is not on its way to the disk.
    pub(crate) executed: Vec<Waiting>,
    /// What is on its way, oldest first.
    pub(crate) under_way: VecDeque<(Group, Vec<Waiting>)>,
    /// Answers for which no disk is waited.
    pub(crate) ready: Vec<Waiting>,
    /// Which commits end a lease that has run out.
    pub(crate) expiries: BTreeMap<u64, i64>,
    /// Answers that wait for a later sync; only a planted bug makes them wait.
    pub(crate) unsynced: Vec<Waiting>,
    pub(crate) endpoints: BTreeMap<ConnectionId, Endpoint>,
    /// The connection in use with each peer.
    pub(crate) peers: BTreeMap<usize, ConnectionId>,
    pub(crate) dials: BTreeMap<usize, Dials>,
    /// Histories to be read for the hub.
    pub(crate) replays: VecDeque<Load>,
    /// Watches that must be refused.
    pub(crate) foreign_watches: BTreeSet<WatcherId>,
    /// What peers are answered by who pull from here.
    pub(crate) provider: Provider,
    /// The transfer that is being taken.
    pub(crate) taking: Option<Taking>,
    /// The join that is being prepared.
    pub(crate) joining: Option<Joining>,
    pub(crate) members: Members,
    /// Where the store stood when it was compacted last: what peers must have before the log may be truncated.
    pub(crate) compacted_at: Option<VersionVector>,
}

/// Where the members stand by what the store holds, and what the process does about it.
#[derive(Default)]
pub(crate) struct Members {
    /// Empty as long as nobody's place changes in the whole run.
    pub(crate) roster: Roster,
    /// From whom nothing is taken any more.
    pub(crate) shut_out: BTreeSet<ReplicaId>,
    /// A peer will not have this site, because it was removed.
    pub(crate) is_turned_out: bool,
    /// Since when this process has known that the site is parked.
    pub(crate) parked_since: Option<Time>,
    /// Statements on their way to the disk.
    pub(crate) words: usize,
    /// Who counts whose leases, as the store was told.
    pub(crate) homes: BTreeMap<ReplicaId, ReplicaId>,
}

/// A transfer that is being taken.
pub(crate) struct Taking {
    pub(crate) receiver: Receiver,
    /// The connection to its provider, while there is one.
    pub(crate) from: Option<ConnectionId>,
    /// When that one was asked first: what it was asked before, and answers yet, is of no use.
    pub(crate) since: Time,
    /// Everything has come, and the committer has been told.
    pub(crate) is_joining: bool,
}

/// A join that is being prepared beside writers.
pub(crate) struct Joining {
    pub(crate) from: ReplicaId,
    pub(crate) preparation: Preparation,
    /// The last commit when it began.
    pub(crate) began: u64,
    pub(crate) is_prepared: bool,
    /// What cannot be done beside it.
    pub(crate) held: Vec<Work>,
}

/// One end of a connection.
pub(crate) struct Endpoint {
    pub(crate) peer: usize,
    /// Under which name the peer is known in this session, and since when it is there.
    pub(crate) replica: ReplicaId,
    pub(crate) since: Time,
    pub(crate) end: End,
    pub(crate) session: Session,
    /// Counts the deadlines asked for: only the last one comes.
    pub(crate) ticket: u64,
    pub(crate) load: Option<LoadRequest>,
}

/// A stretch of the log that a session wants.
pub(crate) struct LoadRequest {
    pub(crate) seen: VersionVector,
    pub(crate) from: u64,
    pub(crate) commits: usize,
    pub(crate) bytes: usize,
}

/// The attempts to reach a peer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Dials {
    /// Counts what was decided: only the last decision comes.
    pub(crate) ticket: u64,
    pub(crate) failures: u32,
}

/// Something for the committer.
#[derive(Debug)]
pub(crate) enum Work {
    /// A client's request.
    Client { client: usize, request: Request },
    /// A lease has run out.
    Expiry { lease: i64 },
    /// A session's records.
    Ingest { connection: ConnectionId, from: ReplicaId, batch: Batch },
    /// Pages of a transfer are to be kept.
    Stage { pages: Vec<StagedPage> },
    /// A transfer is to be joined.
    Join { from: ReplicaId, transfer: Box<CollectedTransfer> },
    /// A join that was prepared is to be published.
    Publish,
    /// Something is to be said of a member.
    Word { statement: Box<Statement> },
}

/// Somebody who is answered when the group is on disk.
pub(crate) enum Waiting {
    /// A client.
    Client { client: usize, result: Result<Answer, RequestError> },
    /// A session.
    Session { connection: ConnectionId, report: IngestReport },
    /// Whoever said something of a member.
    Word,
}

impl Life {
    /// What runs around a store that has just been opened.
    pub(crate) fn begin(
        number: u64,
        (store, committer): (Store, Committer),
        hub: HubOptions,
        uptime: Duration,
    ) -> Self {
        let found = store.standing();
        let mut leases = LeaseTable::new();
        store.leases().into_iter().for_each(|(id, ttl_s)| leases.granted(id, ttl_s, uptime));
        Self {
            number,
            is_poisoned: false,
            has_met_rot: false,
            hub: Hub::new(found.published.revision, hub),
            standing: Arc::new(standing(&store)),
            provider: Provider::new(&store),
            taking: None,
            joining: None,
            members: Members::default(),
            // What was compacted before may have to wait for the peers still.
            compacted_at: (found.published.compacted > 0).then_some(found.frontier),
            store,
            committer,
            leases,
            stability: Stability::new(),
            queue: VecDeque::new(),
            executed: Vec::new(),
            under_way: VecDeque::new(),
            ready: Vec::new(),
            expiries: BTreeMap::new(),
            unsynced: Vec::new(),
            endpoints: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            replays: VecDeque::new(),
            foreign_watches: BTreeSet::new(),
        }
    }

    /// Whether sessions were told of all that readers see.
    pub(crate) fn has_told_everything(&self) -> bool {
        self.standing.commit >= self.store.published().commit
    }
}

impl Site {
    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Whether its store may refuse to write: the disk fails, or stopped in the middle of something, or has had damaged rows
    /// since the store was opened.
    pub(crate) fn may_refuse(&self) -> bool {
        self.has_failing_disk || self.rows.has_stopped() || self.has_met_rot()
    }

    /// Whether rows are damaged, or have been since the store was opened.
    pub(crate) fn has_met_rot(&self) -> bool {
        self.is_rotten || self.life.as_ref().is_some_and(|life| life.has_met_rot)
    }

    /// Whether its process cannot go on writing, and has to be stopped by somebody.
    pub(crate) fn must_stop(&self) -> bool {
        self.has_failing_disk || self.life.as_ref().is_some_and(|life| life.is_poisoned)
    }

    /// The process of this number, if it is still running.
    pub(crate) fn life(&mut self, number: u64) -> Option<&mut Life> {
        self.life.as_mut().filter(|life| life.number == number)
    }

    /// What the clock on the wall shows whenever a store is told: no stamp of the site is to be much above it.
    pub(crate) fn wall(&mut self, now: Time) -> WallTime {
        let wall = self.clocks.wall(now);
        self.log.note_wall(wall);
        wall
    }

    /// The running clock as hub and leases take it.
    pub(crate) fn uptime(&self, now: Time) -> Duration {
        Duration::from_millis(self.clocks.monotonic_ms(now))
    }
}
