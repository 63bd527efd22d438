//! While every link is up: the sites find each other, and what one writes is soon everywhere.

use std::time::Instant;

use anyhow::{Result, ensure};
use tombolo_proto::v1::PeerState;

use super::{CONFLICT, LEASE_S, LEASED, PATIENCE, Story};
use crate::demo::{follower::Follower, wording::time};

impl Story<'_> {
    pub(super) async fn start(&mut self) -> Result<()> {
        self.narrator.begin("start");
        let started = Instant::now();
        self.mesh.start().await?;
        for site in 0..self.mesh.sites().len() {
            let client = self.connect(site).await?;
            self.followers.push(Follower::start(&client.connection).await?);
            self.clients.push(client);
        }
        self.wait_until_connected().await?;
        let count = self.mesh.sites().len();
        self.narrator.tell(&format!("{count} real servers, each with its own folder, linked to every other"));
        let line = format!("joined by one-line tickets, connected after {}", time(started.elapsed()));
        self.narrator.note(&line);
        Ok(())
    }

    /// Until every site says that it is connected to every other one.
    async fn wait_until_connected(&self) -> Result<()> {
        let (started, count) = (Instant::now(), self.mesh.sites().len());
        for site in 0..count {
            loop {
                let status = self.mesh.status(site).await?;
                let connected = status.peers.iter().filter(|peer| peer.state() == PeerState::Connected).count();
                if connected == count - 1 {
                    break;
                }
                let name = self.cast.name(site);
                ensure!(started.elapsed() < PATIENCE, "{name} is connected to {connected} sites: {:?}", status.peers);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    pub(super) async fn write(&mut self) -> Result<()> {
        self.narrator.begin("write");
        let office = self.office();
        let begun = Instant::now();
        let (_, took) = self.put(office, CONFLICT, "normal", 0).await?;
        let mut newest = begun;
        for follower in &self.followers {
            newest = newest.max(follower.sees(CONFLICT, Some("normal")).await?);
        }
        self.narrator.tell_of(office, &format!("put {CONFLICT} = normal      {}, on disk", time(took)));
        let sites = self.mesh.sites().len();
        self.narrator.note(&format!("told to a watcher on each of the {sites} sites after {}", time(newest - begun)));
        let lease = self.clients[office].grant(LEASE_S).await?;
        self.put(office, LEASED, "anna", lease).await?;
        for follower in &self.followers {
            follower.sees(LEASED, Some("anna")).await?;
        }
        self.narrator.tell_of(office, &format!("put {LEASED} = anna         for as long as a lease of {LEASE_S} s"));
        Ok(())
    }
}
