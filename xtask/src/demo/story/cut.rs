//! While the ship is cut off: both sides go on, the ship is killed and comes back, and nobody waits for anybody.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{CONFLICT, LEASED, Story};
use crate::demo::{
    burst::{Burst, WRITERS, Written},
    client::{Client, text},
    judge::{OWN_KEYS, lost},
    wording::{count, median, time},
};

/// How often the counter of writes is shown.
const FRAME: Duration = Duration::from_millis(80);

/// Clocks count milliseconds. Two writes within one would leave the winner to chance, and the audience puzzled.
const APART: Duration = Duration::from_millis(5);

/// The writers of both sides.
pub(super) struct Bursts {
    ship: Burst,
    office: Burst,
}

impl Story<'_> {
    pub(super) fn cut(&mut self) -> Result<()> {
        self.narrator.begin("CUT");
        self.mesh.isolate(self.ship())?;
        self.cut_at = Instant::now();
        let (ship, ashore) = (self.cast.name(self.ship()), self.names(self.cast.ashore()));
        let cut = self.narrator.paint().alert("╳");
        self.narrator.tell(&format!("{ship} {cut} {ashore}"));
        self.narrator
            .note(&format!("of one etcd over these sites, the member on {ship} would now refuse every write:"));
        self.narrator.note("it has no leader, and its clients read `etcdserver: request timed out`");
        Ok(())
    }

    pub(super) async fn write_on_both_sides(&mut self) -> Result<Bursts> {
        self.narrator.begin("write");
        for (site, value) in [(self.ship(), "offline"), (self.office(), "audit")] {
            let (write, took) = self.put(site, CONFLICT, value, 0).await?;
            self.rivals.push(write);
            self.narrator.tell_of(site, &format!("put {CONFLICT} = {value:<12}{}", time(took)));
            sleep(APART).await;
        }
        let start = |site: usize, client: &Client| Burst::start(client, site, self.cast.name(site));
        let (ship, office) = (self.ship(), self.office());
        let bursts = Bursts {
            ship: start(ship, &self.connect(ship).await?),
            office: start(office, &self.connect(office).await?),
        };
        self.watch_the_counters(&bursts, self.partition.mul_f64(0.45)).await;
        Ok(bursts)
    }

    /// Shows how the writers get on, until that much time has passed since the cut.
    async fn watch_the_counters(&self, bursts: &Bursts, until: Duration) {
        let [ship, office] = [self.ship(), self.office()].map(|site| self.cast.name(site));
        while self.cut_at.elapsed() < until {
            let (at_ship, at_office) = (count(bursts.ship.count()), count(bursts.office.count()));
            self.narrator.live(&format!("{ship} {at_ship} puts · {office} {at_office} puts"));
            sleep(FRAME.min(until.saturating_sub(self.cut_at.elapsed()))).await;
        }
    }

    /// Kills the ship under its writers, and starts it again while it still is alone.
    pub(super) async fn kill(&mut self, bursts: Bursts) -> Result<Burst> {
        let (ship, office) = (self.ship(), self.office());
        bursts.ship.expect_the_end();
        self.mesh.site(ship).kill()?;
        let written = bursts.ship.stop().await?;
        let own = self.tell_of_writers(ship, written);
        let at_office = count(bursts.office.count());
        self.narrator.tell_of(office, &format!("{WRITERS} writers              {at_office:>6} puts, and they go on"));
        ensure!(own >= WRITERS, "only {own} puts were acknowledged on {}", self.cast.name(ship));

        self.narrator.begin("kill -9");
        let started = Instant::now();
        self.mesh.site(ship).restart().await?;
        let took = started.elapsed();
        self.clients[ship] = self.connect(ship).await?;
        self.followers[ship].resume(&self.clients[ship].connection.clone()).await?;
        self.check_the_ship_alone().await?;
        let line = format!("killed under its writers, back after {}: all {} puts are there", time(took), count(own));
        self.narrator.tell_of(ship, &line);
        self.put(ship, "/log/ship/captain/000000", "still here", 0).await?;
        self.narrator.note("alone with its disk, and writing again: whoever is away is not asked");
        let rest = self.partition.saturating_sub(self.cut_at.elapsed());
        sleep(rest).await;
        Ok(bursts.office)
    }

    /// Says what writers did, and returns how many puts that were.
    pub(super) fn tell_of_writers(&mut self, site: usize, mut written: Written) -> usize {
        let puts = written.acknowledged.len();
        let middle = time(median(&mut written.took));
        self.acknowledged.append(&mut written.acknowledged);
        self.narrator.outcome().acknowledged = self.acknowledged.len();
        self.narrator.tell_of(site, &format!("{WRITERS} writers              {:>6} puts, {middle} each", count(puts)));
        puts
    }

    /// It has all of its own, and nothing that was written elsewhere since the cut: the link really is cut.
    async fn check_the_ship_alone(&mut self) -> Result<()> {
        let ship = self.ship();
        let held = self.held(ship).await?;
        let own: Vec<_> = self.acknowledged.iter().filter(|write| write.site == ship).cloned().collect();
        let gone = lost(&own, &held);
        self.narrator.outcome().lost = gone.len();
        ensure!(gone.is_empty(), "{} acknowledged puts are gone, the first is {:?}", gone.len(), gone[0]);
        let foreign = held.keys().find(|key| !key.starts_with("/log/ship/"));
        ensure!(foreign.is_none(), "the ship is cut off, and knows {foreign:?}");
        let mode = self.clients[ship].get(CONFLICT).await?.map(|pair| text(&pair.value));
        ensure!(mode.as_deref() == Some("offline"), "the ship is cut off, and reads {CONFLICT} = {mode:?}");
        // Its lease is counted at the office, and the ship cannot hear of its end.
        ensure!(
            self.clients[ship].get(LEASED).await?.is_some(),
            "{LEASED} is gone on the ship, and nobody can have said so"
        );
        Ok(())
    }

    /// What a site holds below the keys that are written once.
    pub(super) async fn held(&mut self, site: usize) -> Result<HashMap<String, String>> {
        let pairs = self.clients[site].prefix(OWN_KEYS).await?;
        Ok(pairs.into_iter().map(|pair| (text(&pair.key), text(&pair.value))).collect())
    }
}
