//! The story: what is done, in which order, and what must hold each time.
//!
//! A step that does not hold ends it with an error that says what was seen instead.

use std::time::{Duration, Instant};

use anyhow::Result;
use tombolo_rig::{mesh::Mesh, process::Server};

use super::{acknowledged::Acknowledged, cast::Cast, client::Client, follower::Follower, narrator::Narrator};

mod calm;
mod cut;
mod healed;

/// Longer than any step takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What both sides write while they cannot see each other.
const CONFLICT: &str = "/config/mode";
/// A key that lives as long as a lease.
const LEASED: &str = "/crew/watch";
/// A lease that ends while the ship is away.
const LEASE_S: i64 = 2;

/// Everything that the steps hand on to each other.
pub(crate) struct Story<'a> {
    mesh: &'a mut Mesh,
    cast: Cast,
    narrator: &'a mut Narrator,
    partition: Duration,
    /// One for each site, as the followers.
    clients: Vec<Client>,
    followers: Vec<Follower>,
    acknowledged: Vec<Acknowledged>,
    /// The writes that cannot have seen each other.
    rivals: Vec<Acknowledged>,
    cut_at: Instant,
}

impl<'a> Story<'a> {
    /// A story that has not begun.
    pub(crate) fn new(mesh: &'a mut Mesh, cast: Cast, narrator: &'a mut Narrator, partition: Duration) -> Self {
        Self {
            mesh,
            cast,
            narrator,
            partition,
            clients: Vec::new(),
            followers: Vec::new(),
            acknowledged: Vec::new(),
            rivals: Vec::new(),
            cut_at: Instant::now(),
        }
    }

    /// Tells it from the first start to the client that moves to another site.
    pub(crate) async fn tell(mut self) -> Result<()> {
        self.narrator.title();
        self.start().await?;
        self.write().await?;
        self.cut()?;
        let bursts = self.write_on_both_sides().await?;
        let office = self.kill(bursts).await?;
        self.heal(office).await?;
        self.converge().await?;
        self.move_a_client().await
    }

    fn ship(&self) -> usize {
        self.cast.ship()
    }

    fn office(&self) -> usize {
        self.cast.office()
    }

    fn names(&self, sites: impl Iterator<Item = usize>) -> String {
        let names: Vec<&str> = sites.map(|site| self.cast.name(site)).collect();
        names.join(", ")
    }

    /// One put at a site, noted. It says how long the answer took.
    async fn put(&mut self, site: usize, key: &str, value: &str, lease: i64) -> Result<(Acknowledged, Duration)> {
        let asked = Instant::now();
        let revision = self.clients[site].put_with_lease(key, value, lease).await?;
        let took = asked.elapsed();
        let write = Acknowledged { site, key: key.to_owned(), value: value.to_owned(), revision };
        self.acknowledged.push(write.clone());
        self.narrator.outcome().acknowledged = self.acknowledged.len();
        Ok((write, took))
    }

    async fn connect(&self, site: usize) -> Result<Client> {
        let server: &Server = &self.mesh.sites()[site];
        Client::connect(server).await
    }
}
