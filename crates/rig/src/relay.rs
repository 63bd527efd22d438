//! Links between sites that can be cut, slowed and spoiled: a UDP relay inside the rig's own process.
//!
//! Each site has a *front*: the address that it gives its peers as its own. A site dials from the socket that it listens
//! on, so the source of a packet at a front tells which site sent it. The relay passes it on from a socket of that pair
//! alone: the site behind the front sees one address for each peer, and its answers travel back the same way.
//!
//! Each direction of each pair is a [`Link`] with conditions of its own. The relay runs on a thread of its own and knows
//! nothing of what it carries. It is not for measuring: what is to be fast goes without it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

use fabric::{Fabric, Sockets};

pub use link::{Conditions, Link, Traffic};

mod courier;
mod fabric;
mod link;
#[cfg(test)]
mod tests;

/// A relay between the sites it was started for, numbered as they were given. Dropping it ends every link.
#[derive(Debug)]
pub struct Relay {
    fronts: Vec<SocketAddr>,
    /// Of the sockets of pairs: `[from * sites + to]`.
    pair_ports: Vec<u16>,
    links: Links,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The links of all pairs, in both directions.
#[derive(Clone, Debug)]
struct Links {
    sites: usize,
    links: Arc<[Link]>,
}

impl Relay {
    /// Opens a front on loopback for each of these sites, which listen at the given addresses or will do so. All links
    /// are up. The seed decides which packets are lost, doubled, held back.
    ///
    /// # Errors
    ///
    /// When a socket or the thread cannot be had.
    pub fn start(sites: &[SocketAddr], seed: u64) -> io::Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), sites, seed)
    }

    /// The same with fronts on another address of this machine.
    ///
    /// # Errors
    ///
    /// When a socket or the thread cannot be had.
    pub fn start_on(address: IpAddr, sites: &[SocketAddr], seed: u64) -> io::Result<Self> {
        let links = Links::new(sites.len(), seed);
        let sockets = Sockets::bind(address, sites.len())?;
        let (fronts, pair_ports) = (sockets.front_addresses()?, sockets.pair_ports()?);
        let fabric = Fabric { sites: sites.to_vec(), links: links.clone(), address };
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            // An error here shows as a link that carries nothing, which every rig notices.
            if let Err(error) = runtime.block_on(fabric.run(sockets, stopped)) {
                eprintln!("the relay ended: {error}");
            }
        };
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(run)?;
        Ok(Self { fronts, pair_ports, links, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that a site gives its peers as its own.
    #[must_use]
    pub fn front(&self, site: usize) -> SocketAddr {
        self.fronts[site]
    }

    /// The ports from which packets of one site come to another: what it has sent first, and what it has answered.
    #[must_use]
    pub fn sources(&self, from: usize, to: usize) -> [u16; 2] {
        [self.pair_ports[from * self.sites() + to], self.fronts[from].port()]
    }

    /// Sites.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.links.sites
    }

    /// One direction between two different sites.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> &Link {
        self.links.between(from, to)
    }

    /// Every direction of every pair, as `(from, to)`.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let sites = self.links.sites;
        (0..sites).flat_map(move |from| (0..sites).filter(move |to| from != *to).map(move |to| (from, to)))
    }

    /// Cuts both directions between two sites. What is under way is lost.
    pub fn cut(&self, one: usize, other: usize) {
        self.link(one, other).change(|conditions| conditions.cut = true);
        self.link(other, one).change(|conditions| conditions.cut = true);
    }

    /// Brings both directions between two sites back, with the conditions they had.
    pub fn heal(&self, one: usize, other: usize) {
        self.link(one, other).change(|conditions| conditions.cut = false);
        self.link(other, one).change(|conditions| conditions.cut = false);
    }

    /// Cuts a site off from all others.
    pub fn isolate(&self, site: usize) {
        (0..self.sites()).filter(|other| *other != site).for_each(|other| self.cut(site, other));
    }

    /// Brings every link back.
    pub fn heal_all(&self) {
        self.change_all(|_, _, conditions| conditions.cut = false);
    }

    /// Changes the conditions of every link, given as `(from, to)`.
    pub fn change_all(&self, mut change: impl FnMut(usize, usize, &mut Conditions)) {
        for (from, to) in self.pairs() {
            self.link(from, to).change(|conditions| change(from, to, conditions));
        }
    }

    /// What all links together have carried so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.pairs().map(|(from, to)| self.link(from, to).traffic()).sum()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and a second one would hide the first.
            drop(thread.join());
        }
    }
}

impl Links {
    fn new(sites: usize, seed: u64) -> Self {
        let seeds = (0..sites * sites).map(|number| seed ^ ((number as u64 + 1) << 40));
        Self { sites, links: seeds.map(Link::new).collect() }
    }

    fn between(&self, from: usize, to: usize) -> &Link {
        assert!(from != to && from < self.sites && to < self.sites, "no link leads from {from} to {to}");
        &self.links[from * self.sites + to]
    }
}
