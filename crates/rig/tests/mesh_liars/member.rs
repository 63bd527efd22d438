//! A member of a mesh that is no server: it came in by a ticket, and speaks with the others over QUIC as any member does. What it has is in a real store,
//! whose log it says it has forgotten, so that a site that lacks it has to take its state; and what it gives of that is as a test wants it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_crdt::{Chain, Dot, Hlc, Operation, Record, RecordHeader, ReplicaId, SignedHead, VersionVector};
use tombolo_net::{
    Admission, Announcement, Candidate, Contact, Event, Host, IngestReport, JoinRefusal, JoinRequest, KeyPair, Limits,
    LoadFailure, Loaded, Node, NodeConfig, ProvenBatch, Rates, Roster, RosterEntry, Signer, Standing, SystemKey,
    Ticket, TreePolicy, sign_head,
};
use tombolo_storage::{
    ArrivalBudget, Committer, Founding, MeshId, OpenOptions, Provider, Put, Request, Slot, Store, WallTime,
    engine::memory::MemoryEngine,
};

/// The second byte of a pull for elements, and of a page with them.
pub(super) const ELEMENTS: u8 = 3;

/// What becomes of a page on its way.
pub(super) type Bend = Box<dyn Fn(Bytes) -> Bytes + Send + Sync>;
/// Pairs of keys and values.
pub(super) type Pairs = [(String, String)];
/// Records of one author, with its head.
pub(super) type Stream = (Vec<Bytes>, SignedHead);

/// A name, the key that it came in with, and what admits it.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) replica: ReplicaId,
    pub(super) key: KeyPair,
    chain: Vec<Admission>,
    pub(super) ticket: Ticket,
}

/// The member, connected until it is dropped.
pub(super) struct Member {
    pub(super) name: Arc<Name>,
    state: Arc<State>,
    node: Node,
}

struct State {
    store: Store,
    committer: Mutex<Committer>,
    provider: Provider,
    signer: Signer,
    began: Instant,
    /// What its log has forgotten.
    floor: VersionVector,
    standing: watch::Sender<Arc<Standing>>,
    roster: watch::Sender<Arc<Roster>>,
    bend: Mutex<Bend>,
    /// The kinds of the pulls that came.
    pulled: Mutex<Vec<u8>>,
}

/// Comes in with a ticket. Nobody hears of it again until it is [a member](Name::appear).
pub(super) async fn come_in(ticket: &str) -> Result<Name> {
    let ticket: Ticket = ticket.parse()?;
    let (seed, key) = KeyPair::generate()?;
    let replica = seed.first_chunk().and_then(|bits| ReplicaId::new(u64::from_be_bytes(*bits))).context("a name")?;
    let candidate = Candidate { replica, announcement: Announcement::default() };
    let welcome = tombolo_net::join(&ticket, &key, candidate).await?;
    let chain = std::iter::once(welcome.admission).chain(welcome.issuer_chain).collect();
    Ok(Name { replica, key, chain, ticket })
}

impl Name {
    /// Goes on as a member that has written this and has these records of others, a log that holds none of them, and pages that are bent like this.
    pub(super) fn appear(self, own: &Pairs, others: Vec<Stream>, bend: Bend) -> Result<Member> {
        let slot = Slot::new(self.chain.first().context("an admission")?.terms.slots.first).context("a slot")?;
        let founding = Founding::Join { mesh: MeshId(self.ticket.mesh), replica: self.replica, slot };
        let options = OpenOptions { founding, ..OpenOptions::new(wall(), [9; 32]) };
        let (store, mut committer) = Store::open_on(Box::new(Arc::new(MemoryEngine::new())), &options)?;
        for (key, value) in own {
            let (key, value) = (key.clone().into(), Some(value.clone().into()));
            committer.execute(wall(), Request::Put(Put { key, value, lease: Some(0), previous: false }))?;
        }
        committer.commit()?;
        for (records, head) in others {
            committer.ingest_batch(wall(), records, vec![head]).map_err(|refused| refused.why)?;
            committer.commit()?;
        }
        self.start(store, committer, bend)
    }

    fn start(self, store: Store, committer: Committer, bend: Bend) -> Result<Member> {
        let name = Arc::new(self);
        let known = name.chain.iter().map(|admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            author: admission.terms.issuer,
            seq: 0,
            value: admission.encode().into(),
        });
        let roster = Arc::new(Roster::new(name.ticket.mesh, known));
        let floor = store.frontier();
        let state = Arc::new(State {
            provider: Provider::new(&store),
            signer: Signer::new(name.ticket.mesh, name.replica, name.key.clone()),
            began: Instant::now(),
            standing: watch::Sender::new(Arc::new(standing(&store, &floor))),
            roster: watch::Sender::new(roster),
            bend: Mutex::new(bend),
            pulled: Mutex::default(),
            committer: Mutex::new(committer),
            store,
            floor,
        });
        let Ticket { mesh, issuer, issuer_key, addresses, .. } = name.ticket.clone();
        let config = NodeConfig {
            listen: "127.0.0.1:0".parse()?,
            key: name.key.clone(),
            mesh,
            own: name.replica,
            chain: name.chain.clone(),
            contacts: vec![Contact { replica: issuer, key: issuer_key, addresses }],
            limits: Limits::default(),
            tree: TreePolicy::default(),
            rates: Rates::default(),
        };
        let node = Node::start(config, Arc::clone(&state))?;
        Ok(Member { name, state, node })
    }
}

impl Member {
    /// What becomes from now on of the pages that it gives.
    pub(super) fn bend(&self, bend: Bend) {
        *self.state.bend.lock() = bend;
    }

    /// How many pulls of this kind have come.
    pub(super) fn pulled(&self, kind: u8) -> usize {
        self.state.pulled.lock().iter().filter(|pulled| **pulled == kind).count()
    }

    /// Everything it has written, as another member would hand it on.
    pub(super) fn records(&self) -> Result<Stream> {
        let budget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
        let arrivals = self.state.store.arrivals(&VersionVector::new(), 0, budget)?;
        let own = arrivals.records.into_iter().filter(|record| record.dot.replica == self.name.replica);
        let (dots, records): (Vec<Dot>, Vec<Bytes>) = own.map(|record| (record.dot, record.bytes)).unzip();
        let (dot, chain) = (*dots.last().context("a record")?, self.state.store.standing().chains[&self.name.replica]);
        Ok((records, sign_head(self.name.ticket.mesh, dot, chain, self.name.replica, &self.name.key)))
    }

    pub(super) fn frontier(&self) -> VersionVector {
        self.state.store.frontier()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.node.peers().iter().any(|view| view.status.is_established)
    }
}

impl Host for State {
    fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    async fn load(&self, seen: VersionVector, from: u64, commits: usize, bytes: usize) -> Result<Loaded, LoadFailure> {
        if !seen.includes(&self.floor) {
            return Err(LoadFailure::BelowFloor { floor: self.floor.clone() });
        }
        let unreadable = |cause: String| LoadFailure::Unreadable { cause };
        let found = self.store.arrivals(&seen, from, ArrivalBudget { commits, bytes });
        let found = found.map_err(|why| unreadable(why.to_string()))?;
        let records: Vec<_> = found.records.into_iter().map(|record| (record.dot, record.bytes)).collect();
        let heads = self.signer.complete(&self.roster.borrow(), &records, found.heads);
        Ok(Loaded { records, heads: heads.map_err(|dot| unreadable(dot.to_string()))?, next: found.next })
    }

    async fn ingest(&self, _: ReplicaId, batch: ProvenBatch) -> IngestReport {
        let (records, heads) = batch.into_parts();
        let passed = records.len();
        {
            let committer = &mut *self.committer.lock();
            let taken = committer.ingest_batch(wall(), records, heads).is_ok() && committer.commit().is_ok();
            assert!(taken, "a sound site's records are taken");
        }
        self.standing.send_replace(Arc::new(standing(&self.store, &self.floor)));
        IngestReport { passed, refused: None }
    }

    async fn redeem(&self, _: JoinRequest) -> Result<Admission, JoinRefusal> {
        Err(JoinRefusal::Unavailable)
    }

    async fn page(&self, _: ReplicaId, pull: Bytes) -> Bytes {
        self.pulled.lock().extend(pull.get(1));
        let sign = |dot: Dot, chain: Chain| self.signer.sign(&self.roster.borrow(), dot, chain);
        let page = self.provider.answer(self.began.elapsed(), pull, sign);
        page.map_or_else(|_| Bytes::new(), |page| (self.bend.lock())(page))
    }

    fn event(&self, _: ReplicaId, _: Event) {}

    fn wall_ms(&self) -> u64 {
        wall().0
    }
}

/// Where a store stands, with a log that reaches back to `floor` and no further.
fn standing(store: &Store, floor: &VersionVector) -> Standing {
    let tombolo_storage::Standing { published, frontier, chains, digest, .. } = store.standing();
    Standing { commit: published.commit, frontier, chains, digest, floor: floor.clone() }
}

/// A stream of records under any name, signed at its end by any hand.
pub(super) fn write(mesh: u128, replica: ReplicaId, pairs: &Pairs, key: &KeyPair) -> Stream {
    let mut chain = Chain::BEGINNING;
    let records = (1..).zip(pairs).map(|(seq, (name, value))| {
        let (name, value) = (name.clone().into(), value.clone().into());
        let header = RecordHeader {
            dot: Dot::new(replica, seq),
            hlc: Hlc::from_millis(wall().0),
            context_delta: VersionVector::new(),
            chain: Chain::BEGINNING,
        };
        let put = Operation::Put { key: name, value, lease: None, supersedes: Vec::new() };
        let bytes;
        (bytes, chain) = Record { header, operations: vec![put] }.encode(&chain);
        bytes
    });
    let records: Vec<Bytes> = records.collect();
    let last = Dot::new(replica, records.len() as u64);
    (records, sign_head(mesh, last, chain, replica, key))
}

fn wall() -> WallTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
