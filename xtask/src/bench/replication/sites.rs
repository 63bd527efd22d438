//! The sites of one mesh as the benchmark has them: running, connected to each other, holding the same keys.
//!
//! The first site is the one that is written to.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tombolo_proto::v1::{MeshStatusRequest, MeshStatusResponse, PeerState};
use tombolo_rig::{
    mesh::{Mesh, Shape, Standing},
    process::Launch,
};

use super::super::{
    Effort,
    gauge::Gauge,
    link::{Link, Received},
    load::Load,
    traffic::CONNECTIONS,
};

/// How long anything between sites may take: filling, catching up, finding each other.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a site is asked whether it has caught up. Asking costs it some tens of microseconds.
const POLL: Duration = Duration::from_millis(2);
const NAMES: [&str; 3] = ["author", "peer", "other"];

/// Running sites. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Sites {
    // Connections first: they are dropped before the servers are.
    links: Vec<Link>,
    gauges: Vec<Gauge>,
    mesh: Mesh,
}

impl Sites {
    /// Up to three sites with nothing between them.
    pub(crate) async fn connected(launch: &Launch, count: usize, effort: Effort) -> Result<Self> {
        let mut mesh = prepare(launch, count)?;
        mesh.without_relay();
        Self::start(mesh, effort).await
    }

    /// Two sites with a relay between them that delays each packet from the beginning: a connection that has learned what
    /// a short way carries would take long to learn anew.
    pub(crate) async fn apart(launch: &Launch, delay_ms: u64, effort: Effort) -> Result<Self> {
        let mesh = prepare(launch, 2)?;
        mesh.change_links(|_, _, link| link.delay = Duration::from_millis(delay_ms))?;
        Self::start(mesh, effort).await
    }

    async fn start(mut mesh: Mesh, effort: Effort) -> Result<Self> {
        mesh.start().await?;
        let (mut links, mut gauges) = (Vec::new(), Vec::new());
        for site in mesh.sites() {
            let address = site.address().to_string();
            let process = site.process_id().context("the site has ended")?;
            gauges.push(Gauge::open(process, &address, CONNECTIONS).await?);
            links.push(Link::open(&address, Received::default()).await?);
        }
        let mut sites = Self { links, gauges, mesh };
        sites.author().warm(Load::fill(effort.keys)).await?;
        sites.gauges[0].calibrate(effort.keys).await?;
        sites.all_connected().await?;
        sites.mesh.converge(PATIENCE).await?;
        Ok(sites)
    }

    /// The site that is written to.
    pub(crate) fn author(&self) -> &Gauge {
        &self.gauges[0]
    }

    /// The others.
    pub(crate) fn peers(&self) -> &[Gauge] {
        &self.gauges[1..]
    }

    /// A connection to a site.
    pub(crate) fn link(&self, site: usize) -> &Link {
        &self.links[site]
    }

    /// What each site says of itself.
    pub(crate) async fn statuses(&self) -> Result<Vec<MeshStatusResponse>> {
        let mut statuses = Vec::new();
        for link in &self.links {
            statuses.push(status(link).await?);
        }
        Ok(statuses)
    }

    /// Waits until every peer has what the author has now, and says how long that took.
    pub(crate) async fn caught_up(&self) -> Result<Duration> {
        let started = Instant::now();
        let wanted = own_records(&status(self.link(0)).await?);
        for link in &self.links[1..] {
            while !has(&status(link).await?, wanted) {
                ensure!(started.elapsed() < PATIENCE, "a peer has not caught up after {PATIENCE:?}");
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(started.elapsed())
    }

    async fn all_connected(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let statuses = self.statuses().await?;
            if statuses.iter().all(|status| is_connected(status, self.links.len() - 1)) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "not all sites are connected after {PATIENCE:?}: {statuses:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The replica and the number of its records.
pub(crate) fn own_records(status: &MeshStatusResponse) -> (u64, u64) {
    (status.replica, Standing::of(status).frontier.get(&status.replica).copied().unwrap_or(0))
}

fn has(status: &MeshStatusResponse, (replica, records): (u64, u64)) -> bool {
    Standing::of(status).frontier.get(&replica).copied().unwrap_or(0) >= records
}

fn is_connected(status: &MeshStatusResponse, peers: usize) -> bool {
    status.peers.iter().filter(|peer| peer.state() == PeerState::Connected).count() == peers
}

fn prepare(launch: &Launch, count: usize) -> Result<Mesh> {
    let names = NAMES.get(..count).context("more sites than names")?;
    Mesh::prepare(launch, names, Shape::full(count), 1)
}

async fn status(link: &Link) -> Result<MeshStatusResponse> {
    Ok(link.mesh().status(MeshStatusRequest {}).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use tombolo_proto::v1::{FrontierEntry, MeshStatusResponse, Peer, PeerState};

    use super::{has, is_connected, own_records};

    fn status(replica: u64, frontier: &[(u64, u64)], states: &[PeerState]) -> MeshStatusResponse {
        MeshStatusResponse {
            replica,
            frontier: frontier.iter().map(|&(replica, seq)| FrontierEntry { replica, seq }).collect(),
            peers: states.iter().map(|&state| Peer { state: state.into(), ..Default::default() }).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_peer_has_caught_up_when_it_has_the_author_s_records_whatever_else_it_has() {
        let wanted = own_records(&status(1, &[(1, 10), (2, 3)], &[]));
        assert_eq!(wanted, (1, 10));
        assert!(!has(&status(2, &[(1, 9), (2, 900)], &[]), wanted));
        assert!(has(&status(2, &[(1, 10), (2, 3)], &[]), wanted));
        assert!(!has(&status(2, &[], &[]), wanted));
        assert_eq!(own_records(&status(1, &[], &[])), (1, 0));
    }

    #[test]
    fn a_site_that_still_dials_is_not_connected() {
        let (connected, dialing) = (PeerState::Connected, PeerState::Dialing);
        assert!(is_connected(&status(1, &[], &[connected, connected]), 2));
        assert!(!is_connected(&status(1, &[], &[connected, dialing]), 2));
        assert!(!is_connected(&status(1, &[], &[]), 1), "nobody has told it of its peer yet");
        assert!(is_connected(&status(1, &[], &[]), 0));
    }
}
