//! A site over real connections: a host, and a node on 127.0.0.1.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_crdt::ReplicaId;
use tombolo_net::{
    Admission, AdmissionTerms, Contact, Host, Invitation, KeyPair, Limits, Node, NodeConfig, PeerState, PeerView,
    Rates, Secret, SlotRange, Standing, Ticket, TicketId, TreePolicy,
};

use super::{
    host::{ToyHost, WALL_MS},
    toy_store::id,
};

pub(crate) const MESH: u128 = 0x1234;

/// A replica with its host; its node runs between [`Site::start`] and [`Site::stop`].
pub(crate) struct Site {
    pub(crate) id: ReplicaId,
    pub(crate) key: KeyPair,
    pub(crate) host: Arc<ToyHost>,
    /// Our admission and those above it.
    pub(crate) chain: Vec<Admission>,
    pub(crate) node: Option<Node>,
    /// Where it listened last.
    pub(crate) listen: SocketAddr,
    /// What its node sends at most.
    pub(crate) rates: Rates,
}

impl Site {
    /// The first replica of the mesh, admitted by itself.
    pub(crate) fn founder(number: u64) -> Self {
        let site = Self::new(number, vec![Admission::founder(MESH, id(number), &key(number))]);
        site.host.write_admission(&site.chain[0]);
        site
    }

    /// A replica that `issuer` has admitted and written down.
    pub(crate) fn admitted_by(issuer: &Self, number: u64) -> Self {
        let site = Self::stranger(issuer, number);
        issuer.host.write_admission(&site.chain[0]);
        site
    }

    /// A replica that `issuer` has admitted and nobody has written down: only its chain proves it.
    pub(crate) fn stranger(issuer: &Self, number: u64) -> Self {
        let terms = AdmissionTerms {
            mesh: MESH,
            replica: id(number),
            key: key(number).public(),
            slots: share(issuer, number),
            ticket: TicketId(number),
            issuer: issuer.id,
        };
        let chain = [&[Admission::sign(terms, &issuer.key)], &issuer.chain[..]].concat();
        Self::new(number, chain)
    }

    /// A replica with that number, and what proves it.
    pub(crate) fn new(number: u64, chain: Vec<Admission>) -> Self {
        let host = Arc::new(ToyHost::bringing(number, key(number), &chain));
        Self {
            id: id(number),
            key: key(number),
            host,
            chain,
            node: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            rates: Rates::default(),
        }
    }

    pub(crate) fn config(&self, contacts: Vec<Contact>) -> NodeConfig {
        NodeConfig {
            listen: self.listen,
            key: self.key.clone(),
            mesh: MESH,
            own: self.id,
            chain: self.chain.clone(),
            contacts,
            limits: Limits::default(),
            tree: TreePolicy::default(),
            rates: self.rates,
        }
    }

    /// Starts the node, at the address it had before if it had one.
    pub(crate) fn start(&mut self, contacts: Vec<Contact>) -> SocketAddr {
        let node = Node::start(self.config(contacts), self.host.clone()).unwrap();
        self.listen = node.local_addr().unwrap();
        self.node = Some(node);
        self.listen
    }

    pub(crate) async fn stop(&mut self) {
        self.node.take().unwrap().stop().await;
    }

    /// This site as a contact that is reached at `address`.
    pub(crate) fn contact_at(&self, address: SocketAddr) -> Contact {
        Contact { replica: self.id, key: self.key.public(), addresses: vec![address.to_string()] }
    }

    pub(crate) fn contact(&self) -> Contact {
        self.contact_at(self.listen)
    }

    pub(crate) fn find_peer(&self, peer: &Self) -> Option<PeerView> {
        let views = self.node.as_ref()?.peers();
        views.into_iter().find(|view| view.replica == peer.id)
    }

    pub(crate) fn peer(&self, peer: &Self) -> PeerView {
        self.find_peer(peer).unwrap()
    }

    pub(crate) fn is_connected_to(&self, peer: &Self) -> bool {
        self.find_peer(peer)
            .is_some_and(|view| matches!(view.state, PeerState::Connected { .. }) && view.status.is_established)
    }

    /// A ticket that is good until [`Ticket::expires_ms`].
    pub(crate) fn invite(&self, number: u64) -> Ticket {
        let (id, secret) = (TicketId(number), Secret([number as u8; 16]));
        let expires_ms = WALL_MS + 1_000;
        let invitation = Invitation { secret_hash: secret.hash(id), slots: share(self, number), expires_ms };
        self.host.invitations.lock().insert(id, invitation);
        Ticket {
            mesh: MESH,
            issuer: self.id,
            issuer_key: self.key.public(),
            id,
            secret,
            expires_ms,
            addresses: vec![self.listen.to_string()],
        }
    }
}

/// The key pair of the replica with that number.
pub(crate) fn key(number: u64) -> KeyPair {
    KeyPair::from_seed(&[number as u8; 32]).unwrap()
}

/// Waits until it is so; fails after a while, saying what was waited for.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until all have applied the same.
pub(crate) async fn until_converged(sites: &[&Site]) {
    let standing = |site: &Site| site.host.standing().borrow().clone();
    let same = |left: &Standing, right: &Standing| (&left.frontier, left.digest) == (&right.frontier, right.digest);
    until("all have applied the same", || sites.iter().all(|site| same(&standing(site), &standing(sites[0])))).await;
}

/// Slots of the issuer's, other ones for every number below sixty-four.
fn share(issuer: &Site, number: u64) -> SlotRange {
    let slots = issuer.chain[0].terms.slots;
    let count = slots.count / 64;
    SlotRange { first: slots.first + count * number as u16, count }
}

const PATIENCE: Duration = Duration::from_secs(30);
