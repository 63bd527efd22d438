//! Several sites of one mesh: real servers that join each other by ticket, with links that can be cut and spoiled.
//!
//! The sites are processes on loopback with a [`Relay`] between every two of them, or [`Hosts`] of their own. Which of them
//! have a link at all is the mesh's [`Shape`]. Sites can be killed and started again. Convergence is what the sites say of
//! themselves: the same records applied, the same digest.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tombolo_proto::v1::{
    MeshInviteRequest, MeshMembersRequest, MeshMembersResponse, MeshStatusRequest, MeshStatusResponse,
    mesh_client::MeshClient,
};
use tonic::transport::Channel;

use crate::{
    hosts::Hosts,
    process::{Launch, Server},
    relay::{Conditions, Relay, Traffic},
};

pub use shape::Shape;

mod shape;

/// Running (or killed) sites and the links between them.
#[derive(Debug)]
pub struct Mesh {
    sites: Vec<Server>,
    links: Links,
    shape: Shape,
}

#[derive(Debug)]
enum Links {
    Relayed(Relay),
    Hosted(Hosts),
}

/// How far a site is, and what it makes of it. Equal at all sites of a mesh that has converged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// The newest record of each replica that has been applied.
    pub frontier: BTreeMap<u64, u64>,
    /// The digest of the state at that frontier, most significant byte first.
    pub digest: Vec<u8>,
}

/// How often a site is asked whether it has got there.
const POLL: Duration = Duration::from_millis(5);

impl Mesh {
    /// Makes ready one site for each name, on loopback behind a relay. Nothing is started yet.
    ///
    /// # Errors
    ///
    /// When a folder, a port or a socket is not to be had.
    pub fn prepare(launch: &Launch, names: &[&str], shape: Shape, seed: u64) -> Result<Self> {
        ensure!(names.len() == shape.sites(), "{} names for {} sites", names.len(), shape.sites());
        let prepare = |name: &&str| launch.clone().with("--name", name).prepare();
        let mut sites = names.iter().map(prepare).collect::<Result<Vec<Server>>>()?;
        let peers: Vec<SocketAddr> = sites.iter().map(Server::peer_address).collect();
        let relay = Relay::start(&peers, seed).context("start the relay")?;
        for (number, site) in sites.iter_mut().enumerate() {
            site.set("--initial-advertise-peer-urls", &format!("http://{}", relay.front(number)));
        }
        let mesh = Self { sites, links: Links::Relayed(relay), shape };
        mesh.heal()?;
        Ok(mesh)
    }

    /// Makes ready one site for each name, on a host of its own. Nothing is started yet.
    ///
    /// # Errors
    ///
    /// When a folder or a port is not to be had.
    pub fn prepare_on(mut hosts: Hosts, launch: &Launch, names: &[&str], shape: Shape, seed: u64) -> Result<Self> {
        ensure!(names.len() == shape.sites() && names.len() == hosts.count(), "as many names and hosts as sites");
        let prepare = |(host, name): (usize, &&str)| {
            launch.clone().within(hosts.namespace(host), hosts.address(host)).with("--name", name).prepare()
        };
        let mut sites = names.iter().enumerate().map(prepare).collect::<Result<Vec<Server>>>()?;
        let peers: Vec<SocketAddr> = sites.iter().map(Server::peer_address).collect();
        for (site, front) in sites.iter_mut().zip(hosts.join(&peers, seed)?) {
            site.set("--initial-advertise-peer-urls", &format!("http://{front}"));
        }
        let mesh = Self { sites, links: Links::Hosted(hosts), shape };
        mesh.heal()?;
        Ok(mesh)
    }

    /// Lets the sites give each other their own addresses, from the next start on: nothing stands between them then, and no
    /// link can be cut or slowed. For those who measure.
    pub fn without_relay(&mut self) {
        for site in &mut self.sites {
            let own = format!("http://{}", site.peer_address());
            site.set("--initial-advertise-peer-urls", &own);
        }
    }

    /// Starts every site: the first one founds the mesh, each other one joins at the first neighbour before it.
    ///
    /// # Errors
    ///
    /// When one does not start or may not join.
    pub async fn start(&mut self) -> Result<()> {
        for site in 0..self.sites.len() {
            if let Some(host) = self.shape.host_of(site) {
                let ticket = self.invite(host).await.with_context(|| format!("invite site {site} at {host}"))?;
                // It stays on the command line for ever, as it would in a unit file.
                self.sites[site].set("--join", &ticket);
            }
            self.sites[site].restart().await.with_context(|| format!("start site {site}"))?;
        }
        Ok(())
    }

    /// Stops every site in order.
    ///
    /// # Errors
    ///
    /// When one does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.sites.iter_mut().try_for_each(|site| site.stop().map(drop))
    }

    /// Leaves the data and the output of every site behind.
    pub fn keep_homes(&mut self) {
        self.sites.iter_mut().for_each(Server::keep_home);
    }

    /// A site, to kill it, start it again or connect to it.
    pub fn site(&mut self, site: usize) -> &mut Server {
        &mut self.sites[site]
    }

    /// Every site.
    #[must_use]
    pub fn sites(&self) -> &[Server] {
        &self.sites
    }

    /// Changes the conditions of every link that this mesh has, given as `(from, to)`.
    ///
    /// # Errors
    ///
    /// When a host cannot be changed.
    pub fn change_links(&self, mut change: impl FnMut(usize, usize, &mut Conditions)) -> Result<()> {
        let shaped = |from: usize, to: usize, conditions: &mut Conditions| {
            if self.shape.links(from, to) {
                change(from, to, conditions);
            } else {
                conditions.cut = true;
            }
        };
        match &self.links {
            Links::Relayed(relay) => {
                relay.change_all(shaped);
                Ok(())
            }
            Links::Hosted(hosts) => hosts.change_all(shaped),
        }
    }

    /// Cuts a site off from all others.
    ///
    /// # Errors
    ///
    /// When a host cannot be changed.
    pub fn isolate(&self, site: usize) -> Result<()> {
        self.change_links(|from, to, conditions| conditions.cut |= from == site || to == site)
    }

    /// Brings every link back that this mesh has.
    ///
    /// # Errors
    ///
    /// When a host cannot be changed.
    pub fn heal(&self) -> Result<()> {
        self.change_links(|_, _, conditions| conditions.cut = false)
    }

    /// What the relay has carried.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        match &self.links {
            Links::Relayed(relay) => relay.traffic(),
            Links::Hosted(hosts) => hosts.traffic(),
        }
    }

    /// Whether two sites ever have a link.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// A ticket to join at this site.
    ///
    /// # Errors
    ///
    /// When the site refuses.
    pub async fn invite(&self, site: usize) -> Result<String> {
        let request = MeshInviteRequest { ttl_s: 600 };
        Ok(self.client(site).await?.invite(request).await?.into_inner().ticket)
    }

    /// What a site says about itself and its peers.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn status(&self, site: usize) -> Result<MeshStatusResponse> {
        Ok(self.client(site).await?.status(MeshStatusRequest {}).await?.into_inner())
    }

    /// Whom a site knows.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn members(&self, site: usize) -> Result<MeshMembersResponse> {
        Ok(self.client(site).await?.members(MeshMembersRequest {}).await?.into_inner())
    }

    /// Waits until every site has applied the same records and has the same digest, and returns that one standing.
    ///
    /// # Errors
    ///
    /// When that takes longer than `patience`; the error says how each site stands.
    pub async fn converge(&self, patience: Duration) -> Result<Standing> {
        let mut clients = Vec::new();
        for site in 0..self.sites.len() {
            clients.push(self.client(site).await?);
        }
        let started = Instant::now();
        loop {
            let mut answers = Vec::new();
            for client in &mut clients {
                answers.push(client.status(MeshStatusRequest {}).await?.into_inner());
            }
            let standings: Vec<Standing> = answers.iter().map(Standing::of).collect();
            if let [first, others @ ..] = &standings[..]
                && others.iter().all(|other| other == first)
            {
                return Ok(first.clone());
            }
            if started.elapsed() > patience {
                let described: Vec<String> = answers.iter().map(describe).collect();
                bail!("the sites have not converged after {patience:?}:\n{}", described.join("\n"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Everything that any site raises an alarm about.
    ///
    /// # Errors
    ///
    /// When a site does not answer.
    pub async fn alarms(&self) -> Result<Vec<String>> {
        let mut alarms = Vec::new();
        for site in 0..self.sites.len() {
            let status = self.status(site).await?;
            let text = |alarm: tombolo_proto::v1::MeshAlarm| format!("{}: {}", status.name, alarm.text);
            alarms.extend(status.alarms.into_iter().map(text));
        }
        Ok(alarms)
    }

    async fn client(&self, site: usize) -> Result<MeshClient<Channel>> {
        Ok(MeshClient::new(self.sites[site].connect().await?.channel))
    }
}

impl Standing {
    /// How far a site says it is.
    #[must_use]
    pub fn of(status: &MeshStatusResponse) -> Self {
        let frontier = status.frontier.iter().map(|entry| (entry.replica, entry.seq)).collect();
        Self { frontier, digest: status.digest.to_vec() }
    }
}

fn describe(status: &MeshStatusResponse) -> String {
    use std::fmt::Write as _;
    let mut text = format!("  {} ({:016x}): {:?}", status.name, status.replica, Standing::of(status));
    for peer in &status.peers {
        let (state, since, error) = (peer.state(), peer.since_ms, &peer.last_error);
        // Writing to a string does not fail.
        let _ = write!(text, "\n    {} {state:?} for {since} ms, last error: {error}", peer.name);
        let _ = write!(text, ", behind {:?}, ahead {:?}", peer.records_behind, peer.records_ahead);
    }
    for alarm in &status.alarms {
        let _ = write!(text, "\n    ALARM {}", alarm.text);
    }
    text
}
