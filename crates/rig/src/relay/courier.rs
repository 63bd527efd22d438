//! Packets under way: each waits until it is due, and is lost if its link is cut before that.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::BinaryHeap,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, select, sync::Notify, time::sleep_until};

use super::{Links, link::Fate};

/// Where a packet goes, and over which link.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The socket it leaves by.
    pub(super) by: Rc<UdpSocket>,
    pub(super) target: SocketAddr,
}

/// Passes packets on, at once or later.
#[derive(Debug)]
pub(super) struct Courier {
    links: Links,
    waiting: RefCell<Waiting>,
    /// Somebody came who is due before all others.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: BinaryHeap<Reverse<Packet>>,
    bytes: usize,
    arrivals: u64,
}

#[derive(Debug)]
struct Packet {
    due: Instant,
    /// Tells apart, and keeps in order, packets that are due at the same time.
    arrival: u64,
    route: Route,
    payload: Vec<u8>,
}

/// What may wait on all links together: more than a hundred milliseconds of a fast network.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// As good as never.
const IDLE: Duration = Duration::from_secs(3600);

impl Courier {
    pub(super) fn new(links: Links) -> Self {
        Self { links, waiting: RefCell::default(), sooner: Notify::new() }
    }

    /// Takes a packet as it comes in.
    pub(super) async fn take(&self, route: &Route, payload: &[u8]) {
        match self.links.between(route.from, route.to).fate(Instant::now(), payload.len()) {
            Fate::Lost => (),
            Fate::Passed { due: None, copies } => {
                for _ in 0..copies {
                    self.pass_on(route, payload).await;
                }
            }
            Fate::Passed { due: Some(due), copies } => {
                for _ in 0..copies {
                    self.keep(route, payload, due);
                }
            }
        }
    }

    /// Passes on what becomes due, for ever.
    pub(super) async fn run(&self) {
        loop {
            let next = self.waiting.borrow().packets.peek().map(|Reverse(packet)| packet.due);
            let due = next.unwrap_or_else(|| Instant::now() + IDLE);
            if due > Instant::now() {
                select! {
                    () = sleep_until(due.into()) => (),
                    () = self.sooner.notified() => (),
                }
                continue;
            }
            let packet = self.waiting.borrow_mut().pop();
            if let Some(packet) = packet {
                self.pass_on(&packet.route, &packet.payload).await;
            }
        }
    }

    async fn pass_on(&self, route: &Route, payload: &[u8]) {
        if self.links.between(route.from, route.to).passes(payload.len()) {
            // A site that is not there loses its packets, as in life.
            drop(route.by.send_to(payload, route.target).await);
        }
    }

    fn keep(&self, route: &Route, payload: &[u8], due: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.bytes + payload.len() > WAITING_BYTES_MAX {
            return self.links.between(route.from, route.to).lose();
        }
        let is_first = waiting.packets.peek().is_none_or(|Reverse(first)| due < first.due);
        waiting.push(route.clone(), payload.to_vec(), due);
        drop(waiting);
        if is_first {
            self.sooner.notify_one();
        }
    }
}

impl Waiting {
    fn push(&mut self, route: Route, payload: Vec<u8>, due: Instant) {
        self.bytes += payload.len();
        self.arrivals += 1;
        self.packets.push(Reverse(Packet { due, arrival: self.arrivals, route, payload }));
    }

    fn pop(&mut self) -> Option<Packet> {
        let Reverse(packet) = self.packets.pop()?;
        self.bytes -= packet.payload.len();
        Some(packet)
    }
}

impl Packet {
    const fn turn(&self) -> (Instant, u64) {
        (self.due, self.arrival)
    }
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.turn() == other.turn()
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.turn().cmp(&other.turn())
    }
}
