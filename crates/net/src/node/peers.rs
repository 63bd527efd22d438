//! The peers of a node: who is connected, since when not, and why.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_crdt::ReplicaId;

use super::{ask::Question, bucket::Bucket, pace, quarantine::Quarantine};
use crate::{Fault, Link, Moment, PeerError, PeerStatus, PublicKey, Session, tls};

/// How it stands with a peer and the connection to it.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// The peer.
    pub replica: ReplicaId,
    /// Whether it is connected.
    pub state: PeerState,
    /// What its session says, or said last; the default before the first.
    pub status: PeerStatus,
    /// Its address, when it is connected.
    pub address: Option<SocketAddr>,
    /// The round trip, when it is connected.
    pub rtt: Option<Duration>,
    /// Bytes of UDP payload sent to it since the node started.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received from it since the node started.
    pub received_bytes: u64,
}

/// Whether a peer is connected.
#[derive(Clone, Debug)]
pub enum PeerState {
    /// It is.
    Connected {
        /// Since when without a break. Whoever lost its connection and came again breaks it, also where the loss was not noticed
        /// here.
        since: Instant,
    },
    /// Not yet; nothing has failed so far.
    Dialing,
    /// It is not.
    Unreachable {
        /// Since when.
        since: Instant,
        /// What went wrong last.
        last_error: PeerError,
    },
}

/// All peers of one node.
#[derive(Debug)]
pub(crate) struct Peers {
    own: ReplicaId,
    started: Instant,
    /// What each peer may be sent, in bytes a second.
    rate: Option<NonZeroU64>,
    pub(crate) quarantine: Quarantine,
    peers: Mutex<BTreeMap<ReplicaId, Arc<Peer>>>,
}

/// One peer, and its connections: two at most that live, while it is being settled which one stays.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) replica: ReplicaId,
    /// Whether this replica says which of two connections stays: the one with the smaller id does.
    chooses: bool,
    state: Mutex<State>,
    /// What it may be sent, over all of its connections.
    pub(crate) bucket: Option<pace::Shared>,
    connections: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    live: Vec<Live>,
    /// Since when there has been one without a break.
    since: Option<Instant>,
    lost: Option<(Instant, PeerError)>,
    status: PeerStatus,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug)]
struct Live {
    serial: u64,
    dialed: bool,
    began: Instant,
    connection: Connection,
    session: Arc<Mutex<Session>>,
    asks: mpsc::Sender<Question>,
    pulls: mpsc::Sender<Question>,
    /// What it is to say of the link.
    link: watch::Sender<Option<Link>>,
    /// Ends it.
    supersede: Option<oneshot::Sender<Fault>>,
}

/// The link to a connected peer, for whoever decides about links.
pub(crate) struct Tended {
    pub(crate) session: Arc<Mutex<Session>>,
    pub(crate) rtt_ms: u64,
}

impl Peers {
    pub(crate) fn new(own: ReplicaId, started: Instant, rate: Option<NonZeroU64>) -> Self {
        Self { own, started, rate, quarantine: Quarantine::default(), peers: Mutex::default() }
    }

    /// The moment it is now, by this node's clock.
    pub(crate) fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When `moment` is, by the runtime's clock.
    pub(crate) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        (self.started + Duration::from_millis(moment.0)).into()
    }

    /// The peer of this name, which is remembered from now on.
    pub(crate) fn peer(&self, replica: ReplicaId) -> Arc<Peer> {
        let new = || {
            Arc::new(Peer {
                replica,
                chooses: self.own < replica,
                state: Mutex::default(),
                bucket: self.rate.map(|rate| Arc::new(Mutex::new(Bucket::new(self.now(), rate)))),
                connections: watch::Sender::new(0),
            })
        };
        self.peers.lock().entry(replica).or_insert_with(new).clone()
    }

    /// The peer of this name, if it is known.
    pub(crate) fn find(&self, replica: ReplicaId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&replica).cloned()
    }

    /// Forgets a peer that is no longer one. A connection that it still has ends by itself.
    pub(crate) fn forget(&self, replica: ReplicaId) {
        self.peers.lock().remove(&replica);
    }

    /// The connected peers.
    pub(crate) fn tended(&self) -> BTreeMap<ReplicaId, Tended> {
        let peers: Vec<Arc<Peer>> = self.peers.lock().values().cloned().collect();
        peers.iter().filter_map(|peer| Some((peer.replica, peer.tended()?))).collect()
    }

    pub(crate) fn views(&self) -> Vec<PeerView> {
        let peers: Vec<Arc<Peer>> = self.peers.lock().values().cloned().collect();
        peers.iter().map(|peer| peer.view(self.now())).collect()
    }
}

impl State {
    /// The newest connection of those that nothing has superseded.
    fn staying(&self) -> Option<&Live> {
        let staying = self.live.iter().rfind(|live| live.supersede.is_some());
        staying.or(self.live.last())
    }
}

impl Peer {
    /// Connection `serial` begins. Returns what tells it that another has taken its place.
    ///
    /// Of connections that the same end dialed the newest stays: both ends see them in the same order. Of two that cross, the
    /// ends may disagree which is newer; the one with the smaller id decides, and the other keeps both until it has.
    pub(crate) fn enter(
        &self,
        serial: u64,
        dialed: bool,
        connection: Connection,
        session: Arc<Mutex<Session>>,
        [asks, pulls]: [mpsc::Sender<Question>; 2],
        link: watch::Sender<Option<Link>>,
    ) -> oneshot::Receiver<Fault> {
        let mut state = self.state.lock();
        for older in state.live.iter_mut().filter(|older| older.dialed == dialed || self.chooses) {
            if let Some(supersede) = older.supersede.take() {
                // The connection may have ended by itself.
                let _ = supersede.send(Fault::Superseded);
            }
        }
        state.lost = None;
        let began = Instant::now();
        if state.live.iter().all(|older| is_comeback(older.dialed == dialed, began - older.began)) {
            state.since = Some(began);
        }
        let (supersede, superseded) = oneshot::channel();
        let supersede = Some(supersede);
        state.live.push(Live { serial, dialed, began, connection, session, asks, pulls, link, supersede });
        self.connections.send_replace(state.live.len());
        superseded
    }

    /// Ends all of its connections, because it sent what nobody may send.
    pub(crate) fn expel(&self) {
        let mut state = self.state.lock();
        let ends = state.live.iter_mut().filter_map(|live| live.supersede.take());
        // A connection may have ended by itself.
        ends.for_each(|end| drop(end.send(Fault::Quarantined)));
    }

    /// The key that it has proven to hold, when it is connected.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        let state = self.state.lock();
        state.staying().and_then(|live| tls::proven_key(&live.connection))
    }

    /// Where questions for it go: the newest connection of those that nothing has superseded.
    pub(crate) fn asks(&self) -> Option<mpsc::Sender<Question>> {
        self.state.lock().staying().map(|live| live.asks.clone())
    }

    /// Where pulls go.
    pub(crate) fn pulls(&self) -> Option<mpsc::Sender<Question>> {
        self.state.lock().staying().map(|live| live.pulls.clone())
    }

    fn tended(&self) -> Option<Tended> {
        let state = self.state.lock();
        let live = state.staying()?;
        let rtt_ms = u64::try_from(live.connection.rtt().as_millis()).unwrap_or(u64::MAX);
        Some(Tended { session: live.session.clone(), rtt_ms })
    }

    /// Has every connection say something of the link. Of what was not said yet only the newest is.
    pub(crate) fn say_link(&self, link: &Link) {
        self.state.lock().live.iter().for_each(|live| drop(live.link.send_replace(Some(link.clone()))));
    }

    /// A connection has ended. Returns whether it was the last one.
    pub(crate) fn leave(&self, serial: u64, cause: PeerError, now: Moment) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.live.iter().position(|live| live.serial == serial) else {
            return state.live.is_empty();
        };
        let live = state.live.remove(at);
        let stats = live.connection.stats();
        state.sent_bytes += stats.udp_tx.bytes;
        state.received_bytes += stats.udp_rx.bytes;
        if state.live.is_empty() {
            state.status = live.session.lock().status(now);
            state.status.is_established = false;
            state.lost = Some((Instant::now(), cause));
        }
        self.connections.send_replace(state.live.len());
        state.live.is_empty()
    }

    /// An attempt to reach it failed. Returns whether that was not known.
    pub(crate) fn unreachable(&self, cause: &PeerError) -> bool {
        let mut state = self.state.lock();
        if !state.live.is_empty() {
            return false;
        }
        let since = state.lost.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        let is_news = state.lost.as_ref().is_none_or(|(_, known)| known != cause);
        state.lost = Some((since, cause.clone()));
        is_news
    }

    /// How many connections it has, as it changes.
    pub(crate) fn connections(&self) -> watch::Receiver<usize> {
        self.connections.subscribe()
    }

    fn view(&self, now: Moment) -> PeerView {
        let state = self.state.lock();
        let newest = state.live.last();
        let mut view = PeerView {
            replica: self.replica,
            state: match (newest, &state.lost) {
                (Some(newest), _) => PeerState::Connected { since: state.since.unwrap_or(newest.began) },
                (None, None) => PeerState::Dialing,
                (None, Some((since, error))) => PeerState::Unreachable { since: *since, last_error: error.clone() },
            },
            status: newest.map_or_else(|| state.status.clone(), |live| live.session.lock().status(now)),
            address: newest.map(|live| live.connection.remote_address()),
            rtt: newest.map(|live| live.connection.rtt()),
            sent_bytes: state.sent_bytes,
            received_bytes: state.received_bytes,
        };
        for live in &state.live {
            let stats = live.connection.stats();
            view.sent_bytes += stats.udp_tx.bytes;
            view.received_bytes += stats.udp_rx.bytes;
        }
        view
    }
}

/// Whether a connection that enters beside another one tells that the peer had lost that: nobody dials who has one.
/// `is_redialed`: both were dialed by the same end. Where they were not, each may have been dialed before the other one stood.
fn is_comeback(is_redialed: bool, age_of_older: Duration) -> bool {
    is_redialed || age_of_older > CROSSING_MAX
}

/// How long a dial is under way: some round trips. One that lost packets takes longer, and then a crossing passes for a comeback.
const CROSSING_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dials_again_has_lost_what_it_had_and_who_crosses_has_not() {
        assert!(is_comeback(true, Duration::ZERO), "whichever end it is");
        assert!(!is_comeback(false, CROSSING_MAX), "both dialed at once");
        assert!(is_comeback(false, CROSSING_MAX + Duration::from_millis(1)), "it was dialed when the older one stood");
    }
}
