//! The network: links that are slow, lossy and cut, and connections over them.
//!
//! A connection is two pipes. A pipe is an ordered stream, as QUIC's are: what is lost is sent again, so that a session sees
//! loss as delay. A cut link holds a pipe's parcels back until it is healed. What breaks a connection is an end that gives up,
//! and what is duplicated and reordered are whole connections.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{MS, Random, Time};

/// Names a connection. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The one that dialled.
    Dialler,
    /// The one that accepted.
    Acceptor,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// A frame's payload.
    Frame(Bytes),
    /// The other end has closed the connection.
    End,
}

/// All links and connections.
pub(crate) struct Network {
    random: Random,
    links: BTreeMap<(usize, usize), Link>,
    connections: BTreeMap<ConnectionId, Connection>,
    made: u64,
    held_back: u64,
}

/// One direction between two sites.
#[derive(Clone, Debug)]
struct Link {
    delay_us: u64,
    jitter_us: u64,
    /// Frames in a hundred that are lost.
    loss: u64,
    bytes_per_ms: u64,
    is_cut: bool,
}

struct Connection {
    dialler: usize,
    acceptor: usize,
    /// By the end that sends.
    pipes: BTreeMap<End, Pipe>,
}

#[derive(Default)]
struct Pipe {
    under_way: VecDeque<Parcel>,
    /// When the last parcel arrives: nothing overtakes it.
    last: Time,
    /// Counts how often the pipe was held back: arrivals decided on before do not happen.
    turn: u64,
    is_held: bool,
}

/// An arrival to decide on.
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionId,
    pub(crate) at: End,
    pub(crate) turn: u64,
    pub(crate) time: Time,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

impl Network {
    /// Links of up to `delay_us` in both directions of each pair.
    pub(crate) fn new(pairs: &[(usize, usize)], delay_us: u64, loss: u64, mut random: Random) -> Self {
        let mut links = BTreeMap::new();
        for &(a, b) in pairs {
            for direction in [(a, b), (b, a)] {
                let delay_us = random.between(delay_us / 2, delay_us).max(1);
                let jitter_us = random.between(0, delay_us);
                let bytes_per_ms = random.pick(&[20, 1_000, 100_000]);
                links.insert(direction, Link { delay_us, jitter_us, loss, bytes_per_ms, is_cut: false });
            }
        }
        Self { random, links, connections: BTreeMap::new(), made: 0, held_back: 0 }
    }

    /// Who a site has links to.
    pub(crate) fn neighbours(&self, site: usize) -> Vec<usize> {
        self.links.keys().filter(|(from, _)| *from == site).map(|(_, to)| *to).collect()
    }

    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| !link.is_cut)
    }

    /// Cuts one direction. Arrivals of what is under way are held back when they come.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.is_cut = true;
        }
    }

    /// Heals one direction. What was held back arrives after all.
    pub(crate) fn heal(&mut self, now: Time, from: usize, to: usize) -> Vec<Arrival> {
        let Some(link) = self.links.get_mut(&(from, to)) else { return Vec::new() };
        link.is_cut = false;
        let link = link.clone();
        let mut arrivals = Vec::new();
        for (&id, connection) in &mut self.connections {
            for end in [End::Dialler, End::Acceptor] {
                let is_meant = connection.site(end) == from && connection.site(end.other()) == to;
                let Some(pipe) = connection.pipes.get_mut(&end).filter(|pipe| is_meant && pipe.is_held) else {
                    continue;
                };
                pipe.is_held = false;
                for _ in 0..pipe.under_way.len() {
                    pipe.last = pipe.last.max(now.after(RESEND_US + link.delay_us));
                    arrivals.push(Arrival { connection: id, at: end.other(), turn: pipe.turn, time: pipe.last });
                }
            }
        }
        arrivals
    }

    /// A connection that is about to be tried.
    pub(crate) fn connect(&mut self, dialler: usize, acceptor: usize) -> ConnectionId {
        self.made += 1;
        let id = ConnectionId(self.made);
        let pipes = BTreeMap::from([(End::Dialler, Pipe::default()), (End::Acceptor, Pipe::default())]);
        self.connections.insert(id, Connection { dialler, acceptor, pipes });
        id
    }

    /// The site at an end; `None` when the connection is forgotten.
    pub(crate) fn site(&self, id: ConnectionId, end: End) -> Option<usize> {
        self.connections.get(&id).map(|connection| connection.site(end))
    }

    /// How long a small packet takes now.
    pub(crate) fn packet_us(&mut self, from: usize, to: usize) -> u64 {
        self.links.get(&(from, to)).map_or(MS, |link| link.delay_us + self.random.between(0, link.jitter_us))
    }

    /// Nothing arrives from this end before `time`: the other end is not there yet.
    pub(crate) fn not_before(&mut self, id: ConnectionId, from: End, time: Time) {
        let pipe = self.connections.get_mut(&id).and_then(|connection| connection.pipes.get_mut(&from));
        pipe.into_iter().for_each(|pipe| pipe.last = pipe.last.max(time));
    }

    /// Sends from one end. Nothing arrives when the connection is forgotten.
    pub(crate) fn send(&mut self, now: Time, id: ConnectionId, from: End, parcel: Parcel) -> Option<Arrival> {
        let connection = self.connections.get_mut(&id)?;
        let link = self.links.get(&(connection.site(from), connection.site(from.other())))?;
        let pipe = connection.pipes.get_mut(&from)?;
        let bytes = if let Parcel::Frame(payload) = &parcel { payload.len() as u64 } else { 0 };
        let resent = if self.random.chance(link.loss) { RESEND_US + 2 * link.delay_us } else { 0 };
        let travel = link.delay_us + self.random.between(0, link.jitter_us) + resent;
        // A stream has the link's rate; what is on it already goes first.
        let time = now.after(travel).max(pipe.last).after(bytes * MS / link.bytes_per_ms);
        pipe.under_way.push_back(parcel);
        if pipe.is_held {
            return None;
        }
        pipe.last = time;
        Some(Arrival { connection: id, at: from.other(), turn: pipe.turn, time })
    }

    /// The parcel that arrives at an end now; `None` when it was held back or the link is cut.
    pub(crate) fn arrive(&mut self, id: ConnectionId, at: End, turn: u64) -> Option<Parcel> {
        let connection = self.connections.get_mut(&id)?;
        let is_open =
            self.links.get(&(connection.site(at.other()), connection.site(at))).is_some_and(|link| !link.is_cut);
        let pipe = connection.pipes.get_mut(&at.other()).filter(|pipe| pipe.turn == turn)?;
        if !is_open {
            self.held_back += 1;
            pipe.turn += 1;
            pipe.is_held = true;
            return None;
        }
        pipe.under_way.pop_front()
    }

    /// How often a cut held a pipe back.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Forgets a connection that no end uses any more.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }
}

impl Connection {
    fn site(&self, end: End) -> usize {
        match end {
            End::Dialler => self.dialler,
            End::Acceptor => self.acceptor,
        }
    }
}

/// After how long a lost packet is sent again, beside the way there and back.
const RESEND_US: u64 = 25 * MS;

#[cfg(test)]
mod tests {
    use super::{Arrival, ConnectionId, End, Network, Parcel};
    use crate::{Random, Time};

    fn network(loss: u64) -> (Network, ConnectionId) {
        let mut network = Network::new(&[(0, 1)], 10_000, loss, Random::new(1));
        let id = network.connect(0, 1);
        (network, id)
    }

    fn frame(nth: u8) -> Parcel {
        Parcel::Frame(vec![nth; 30].into())
    }

    fn take(network: &mut Network, arrival: &Arrival) -> Option<Parcel> {
        network.arrive(arrival.connection, arrival.at, arrival.turn)
    }

    #[test]
    fn a_stream_keeps_its_order_whatever_is_lost() {
        let (mut network, id) = network(50);
        let arrivals: Vec<_> =
            (0..50).map(|nth| network.send(Time(nth * 100), id, End::Dialler, frame(nth as u8)).unwrap()).collect();
        assert!(arrivals.windows(2).all(|pair| pair[0].time <= pair[1].time));
        for (nth, arrival) in (0..).zip(&arrivals) {
            assert_eq!((arrival.at, take(&mut network, arrival)), (End::Acceptor, Some(frame(nth))));
        }
    }

    #[test]
    fn a_cut_holds_one_direction_back_until_it_is_healed() {
        let (mut network, id) = network(0);
        let before = network.send(Time(0), id, End::Dialler, frame(1)).unwrap();
        let back = network.send(Time(0), id, End::Acceptor, frame(9)).unwrap();
        network.cut(0, 1);
        assert!(!network.is_open(0, 1) && network.is_open(1, 0));
        assert_eq!(take(&mut network, &before), None);
        assert_eq!(take(&mut network, &back), Some(frame(9)));
        assert!(network.send(Time(5), id, End::Dialler, frame(2)).is_none());
        let healed = network.heal(Time(1_000_000), 0, 1);
        assert!(healed.iter().all(|arrival| arrival.time > Time(1_000_000)));
        let parcels: Vec<_> = healed.iter().map(|arrival| take(&mut network, arrival)).collect();
        assert_eq!(parcels, [Some(frame(1)), Some(frame(2))]);
        assert_eq!(take(&mut network, &before), None, "an arrival decided on before the cut does not happen again");
    }

    #[test]
    fn a_forgotten_connection_carries_nothing() {
        let (mut network, id) = network(0);
        let arrival = network.send(Time(0), id, End::Dialler, frame(1)).unwrap();
        network.forget(id);
        assert_eq!(take(&mut network, &arrival), None);
        assert!(network.send(Time(0), id, End::Dialler, frame(2)).is_none());
    }
}
