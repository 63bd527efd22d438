//! The relay's sockets, and who reads which: a front for each site, and one socket for each ordered pair.
//!
//! A packet from site `a` at the front of `b` leaves by the socket of `(a, b)`, and what `b` answers to that socket leaves
//! by the front of `b`. A sender that is no site's listening socket is a *stranger*, such as a site that joins before it
//! listens: it gets a socket of its own and a way without conditions.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    rc::Rc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::oneshot,
    task::{LocalSet, spawn_local},
};

use super::{
    Links,
    courier::{Courier, Route},
};

/// Everything the thread needs to know.
#[derive(Debug)]
pub(super) struct Fabric {
    /// Where each site listens.
    pub(super) sites: Vec<SocketAddr>,
    pub(super) links: Links,
    /// Where sockets of strangers are bound.
    pub(super) address: IpAddr,
}

/// The sockets as they were bound, outside the runtime.
#[derive(Debug)]
pub(super) struct Sockets {
    fronts: Vec<StdSocket>,
    /// `[from * sites + to]`; those of a site with itself are never used.
    pairs: Vec<StdSocket>,
}

/// As large as a UDP payload gets.
const PACKET_BYTES_MAX: usize = 1 << 16;
/// Strangers of one front; more than that is a mistake of the rig.
const STRANGERS_MAX: usize = 64;
/// A socket that fails to read is left alone for so long: most errors pass.
const AFTER_ERROR: Duration = Duration::from_millis(5);

impl Sockets {
    pub(super) fn bind(address: IpAddr, sites: usize) -> io::Result<Self> {
        let bind = |_| {
            let socket = StdSocket::bind((address, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let fronts = (0..sites).map(bind).collect::<io::Result<_>>()?;
        let pairs = (0..sites * sites).map(bind).collect::<io::Result<_>>()?;
        Ok(Self { fronts, pairs })
    }

    pub(super) fn front_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.fronts.iter().map(StdSocket::local_addr).collect()
    }

    pub(super) fn pair_ports(&self) -> io::Result<Vec<u16>> {
        self.pairs.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
    }
}

impl Fabric {
    /// Carries packets until the other end of `stopped` is dropped.
    pub(super) async fn run(self, sockets: Sockets, stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let open = |sockets: Vec<StdSocket>| -> io::Result<Vec<Rc<UdpSocket>>> {
            sockets.into_iter().map(|socket| Ok(Rc::new(UdpSocket::from_std(socket)?))).collect()
        };
        let (fronts, pairs) = (open(sockets.fronts)?, open(sockets.pairs)?);
        let courier = Rc::new(Courier::new(self.links.clone()));
        let tasks = LocalSet::new();
        let count = self.sites.len();
        for (to, front) in fronts.iter().enumerate() {
            let target = self.sites[to];
            let ways = (0..count).map(|from| Route { from, to, by: Rc::clone(&pairs[from * count + to]), target });
            let reader = Front {
                socket: Rc::clone(front),
                sites: self.sites.clone(),
                ways: ways.collect(),
                strangers: HashMap::new(),
                address: self.address,
                target,
            };
            tasks.spawn_local(reader.read(Rc::clone(&courier)));
            for from in (0..count).filter(|from| *from != to) {
                let back = Route { from: to, to: from, by: Rc::clone(front), target: self.sites[from] };
                tasks.spawn_local(read_answers(
                    Rc::clone(&pairs[from * count + to]),
                    target,
                    back,
                    Rc::clone(&courier),
                ));
            }
        }
        tasks.spawn_local(async move { courier.run().await });
        tasks
            .run_until(async {
                // Either way nobody wants the relay any more.
                drop(stopped.await);
            })
            .await;
        Ok(())
    }
}

/// One site's front.
struct Front {
    socket: Rc<UdpSocket>,
    sites: Vec<SocketAddr>,
    /// By the site that the packet comes from.
    ways: Vec<Route>,
    strangers: HashMap<SocketAddr, Rc<UdpSocket>>,
    address: IpAddr,
    target: SocketAddr,
}

impl Front {
    async fn read(mut self, courier: Rc<Courier>) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let Some((payload, source)) = receive(&self.socket, &mut buffer).await else { continue };
            match self.sites.iter().position(|site| *site == source) {
                // A site that dials itself is its own affair.
                Some(site) if self.ways[site].from == self.ways[site].to => (),
                Some(site) => courier.take(&self.ways[site], payload).await,
                None => self.pass_stranger(source, payload).await,
            }
        }
    }

    async fn pass_stranger(&mut self, source: SocketAddr, payload: &[u8]) {
        if !self.strangers.contains_key(&source) {
            if self.strangers.len() == STRANGERS_MAX {
                return;
            }
            let Ok(socket) = UdpSocket::bind((self.address, 0)).await else { return };
            let socket = Rc::new(socket);
            spawn_local(return_to_stranger(Rc::clone(&socket), Rc::clone(&self.socket), source));
            self.strangers.insert(source, socket);
        }
        if let Some(socket) = self.strangers.get(&source) {
            // A site that is not there loses its packets, as in life.
            drop(socket.send_to(payload, self.target).await);
        }
    }
}

/// Reads what the site at `answering` says to the peer for which this socket stands.
async fn read_answers(socket: Rc<UdpSocket>, answering: SocketAddr, back: Route, courier: Rc<Courier>) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        if let Some((payload, source)) = receive(&socket, &mut buffer).await
            && source == answering
        {
            courier.take(&back, payload).await;
        }
    }
}

async fn return_to_stranger(socket: Rc<UdpSocket>, front: Rc<UdpSocket>, stranger: SocketAddr) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        if let Some((payload, _)) = receive(&socket, &mut buffer).await {
            drop(front.send_to(payload, stranger).await);
        }
    }
}

async fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8]) -> Option<(&'a [u8], SocketAddr)> {
    match socket.recv_from(buffer).await {
        Ok((length, source)) => Some((&buffer[..length], source)),
        Err(_) => {
            tokio::time::sleep(AFTER_ERROR).await;
            None
        }
    }
}
