//! A node: this replica among its peers, over QUIC.
//!
//! It dials every member that has an address and every contact, lets in whoever proves to be one, runs a [`crate::Session`]
//! with each, and answers newcomers with tickets. It holds no data: what it ships and applies is the host's.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quinn::{AsyncUdpSocket, Endpoint};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tombolo_crdt::ReplicaId;

use self::{
    attempts::Attempts,
    bucket::Bucket,
    config::{NodeConfig, StartError},
    gate::Gate,
    pace::Rates,
    peer_error::PeerError,
    peers::{Peer, PeerView, Peers},
    quarantine::Quarantined,
    relay::Relay,
    sizes::Sizes,
    stream::Stream,
};

use crate::{Host, Moment, PublicKey, Report, Roster, Tree, TreePolicy, admission::check_links, handshake::Greeting};

mod acceptor;
pub(crate) mod ask;
mod attempts;
mod backoff;
mod bucket;
pub(crate) mod config;
mod connection;
pub(crate) mod dialer;
pub(crate) mod endpoint;
mod gate;
mod handshakes;
mod links;
mod outbox;
pub(crate) mod pace;
pub(crate) mod peer_error;
pub(crate) mod peers;
pub(crate) mod quarantine;
mod relay;
mod sizes;
pub(crate) mod stream;
mod supervisor;

/// A running node. Dropping it ends its connections without waiting; [`Node::stop`] says goodbye.
#[derive(Debug)]
pub struct Node {
    peers: Arc<Peers>,
    sizes: Arc<Sizes>,
    endpoint: Endpoint,
    /// Its end, too, stops everything.
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
    socket: Weak<dyn AsyncUdpSocket>,
}

impl Node {
    /// Listens, and begins to dial. To be called within a tokio runtime, which the node's tasks run on.
    pub fn start<H: Host>(config: NodeConfig, host: Arc<H>) -> Result<Self, StartError> {
        if let Some(admission) = config.chain.first() {
            let terms = admission.terms;
            if (terms.replica, terms.key) != (config.own, config.key.public()) {
                return Err(StartError::NotOurs { replica: terms.replica, key: terms.key });
            }
            check_links(config.mesh, &config.chain)?;
        }
        let (endpoint, socket) = endpoint::listen(config.listen, &config.key)?;
        let started = Instant::now();
        let peers = Arc::new(Peers::new(config.own, started, config.rates.per_peer));
        let is_limited = config.rates != Rates::default();
        let tree = Tree::new(config.own, host.wall_ms(), TreePolicy { is_limited, ..config.tree.clone() });
        let bucket = config.rates.overall.map(|rate| Arc::new(Mutex::new(Bucket::new(Moment(0), rate))));
        let (stop, stopping) = watch::channel(false);
        let sizes = Arc::new(Sizes::default());
        let shared = Shared {
            host,
            is_ipv4: config.listen.is_ipv4(),
            config,
            endpoint: endpoint.clone(),
            peers: peers.clone(),
            relay: Relay::new(),
            sizes: Arc::clone(&sizes),
            tree: Mutex::new(tree),
            bucket,
            attempts: Attempts::new(started),
            stop: stopping,
            serial: AtomicU64::new(0),
        };
        let supervisor = tokio::spawn(supervisor::supervise(Arc::new(shared)));
        Ok(Self { peers, sizes, endpoint, stop, supervisor, socket })
    }

    /// The address that is listened at: the configured one, with the port that the system chose if it was 0.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Every peer and how it stands with it, ascending by id.
    pub fn peers(&self) -> Vec<PeerView> {
        self.peers.views()
    }

    /// Whoever is not spoken with for what it sent, or was not a short time ago.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.peers.quarantine.list(self.peers.now())
    }

    /// Ends the connection to a peer that has given the host what nobody may give, and does not speak with it for a while: as after a session's fault
    /// that [convicts](crate::Fault::convicts). `None` when it is not connected.
    pub fn quarantine(&self, peer: ReplicaId, why: String) -> Option<Quarantined> {
        let found = self.peers.find(peer)?;
        let told = self.peers.quarantine.shut_out(found.key()?, peer, why, self.peers.now());
        found.expel();
        Some(told)
    }

    /// How many bytes a record has on the whole, of those that were sent and taken lately; nothing before there were any.
    pub fn mean_record_bytes(&self) -> Option<u64> {
        self.sizes.mean()
    }

    /// Says goodbye to every peer and closes the socket: the address is free afterwards. Takes a few seconds at most, whatever
    /// the peers do.
    pub async fn stop(self) {
        let Self { endpoint, stop, supervisor, socket, peers: _, sizes: _ } = self;
        stop.send_replace(true);
        drop(endpoint);
        // It ends in bounded time; if it has panicked there is nothing left to stop.
        let _ = supervisor.await;
        let closed = async {
            while socket.strong_count() > 0 {
                sleep(CLOSED_CHECK).await;
            }
        };
        // The transport closes it by itself, once the last packets of the last connection are through.
        let _ = timeout(CLOSED_MAX, closed).await;
    }
}

/// What all tasks of a node share.
pub(crate) struct Shared<H> {
    host: Arc<H>,
    config: NodeConfig,
    endpoint: Endpoint,
    is_ipv4: bool,
    peers: Arc<Peers>,
    relay: Relay,
    sizes: Arc<Sizes>,
    /// Which peers records are wanted of.
    tree: Mutex<Tree>,
    /// What all connections together may send.
    bucket: Option<pace::Shared>,
    attempts: Attempts,
    stop: watch::Receiver<bool>,
    /// The number of the last connection.
    serial: AtomicU64,
}

impl<H> Shared<H> {
    fn gate<'a>(&'a self, roster: &'a Roster) -> Gate<'a> {
        let NodeConfig { mesh, own, chain, contacts, .. } = &self.config;
        Gate { mesh: *mesh, own: *own, chain, contacts, roster }
    }

    /// Who we are, and what proves it.
    fn greeting(&self, roster: &Roster) -> Greeting {
        let NodeConfig { mesh, own, chain, .. } = &self.config;
        let listed = roster.chain_for(*own);
        Greeting { mesh: *mesh, replica: *own, chain: if listed.is_empty() { chain.clone() } else { listed } }
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A byte that other nodes do not draw at the same time.
    fn random(&self) -> u8 {
        let mut byte = [0];
        // Without randomness waits have no jitter, which harms nobody.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        byte[0]
    }
}

impl<H: Host> Shared<H> {
    fn connected(&self, peer: &Peer, stream: &Stream, dialed: bool) {
        let address = stream.connection.remote_address();
        self.host.report(Report::Connected { peer: peer.replica, address, dialed });
    }

    fn disconnected(&self, peer: &Peer, cause: &PeerError) {
        self.host.report(Report::Disconnected { peer: peer.replica, cause: cause.clone() });
    }

    /// Does not speak for a while with whoever holds this key, and was connected as `peer`, if this is such a fault.
    fn judge(&self, peer: &Peer, key: PublicKey, cause: &PeerError) {
        if let PeerError::Session(fault) = cause
            && fault.convicts(peer.replica)
        {
            let told = self.peers.quarantine.shut_out(key, peer.replica, fault.to_string(), self.peers.now());
            peer.expel();
            self.host.report(Report::Quarantined(told));
        }
    }
}

/// How long a handshake may take, from the first packet to the last greeting.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long the transport may take to let the socket go.
const CLOSED_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const CLOSED_CHECK: Duration = Duration::from_millis(2);
