//! When the link is back: everything everywhere, one winner, nothing lost, and a client that moves notices.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{CONFLICT, LEASED, PATIENCE, Story};
use crate::demo::{
    burst::Burst,
    client::text,
    judge::{self, lost},
    narrator::Conflict,
    wording::{bytes, count, digest, time},
};

impl Story<'_> {
    pub(super) async fn heal(&mut self, office: Burst) -> Result<()> {
        self.narrator.begin("HEAL");
        let written = office.stop().await?;
        let site = self.office();
        self.tell_of_writers(site, written);
        // The lease ends on its own time, and what ends after convergence would be a new difference.
        self.followers[site].sees(LEASED, None).await?;
        let before = self.mesh.traffic().bytes;
        let healed = Instant::now();
        self.mesh.heal()?;
        self.narrator.live("the link is back …");
        let standing = self.mesh.converge(PATIENCE).await?;
        let took = healed.elapsed();
        let carried = self.mesh.traffic().bytes - before;
        let sites = self.mesh.sites().len();
        let outcome = self.narrator.outcome();
        outcome.converged = Some(took);
        outcome.standings = vec![standing.clone(); sites];
        let line = format!("every site has everything after {}, {} over the links", time(took), bytes(carried));
        self.narrator.tell(&line);

        self.narrator.begin("converged");
        let equal = vec![digest(&standing.digest); sites].join(" = ");
        let equal = self.narrator.paint().good(equal);
        self.narrator.tell(&format!("digests   {equal}"));
        Ok(())
    }

    pub(super) async fn converge(&mut self) -> Result<()> {
        self.explain_the_conflict().await?;
        let sites = self.mesh.sites().len();
        let mut gone = 0;
        for site in 0..sites {
            let held = self.held(site).await?;
            gone = gone.max(lost(&self.acknowledged, &held).len());
            let leased = self.clients[site].get(LEASED).await?;
            let name = self.cast.name(site);
            ensure!(leased.is_none(), "the lease of {LEASED} has ended, and {name} still has it");
        }
        self.narrator.outcome().lost = gone;
        let all = self.acknowledged.len();
        ensure!(gone == 0, "{gone} of {all} acknowledged writes are gone");
        let none = self.narrator.paint().good("none");
        self.narrator.tell(&format!("lost      {none} of {} acknowledged writes", count(all)));
        let mut events = Vec::new();
        for (site, follower) in self.followers.iter().enumerate() {
            let seen = follower.seen();
            let name = self.cast.name(site);
            judge::stream(site, &seen, &self.acknowledged).with_context(|| format!("the watcher on {name}"))?;
            events.push(count(seen.len()));
        }
        self.narrator.tell(&format!("watchers  {} events: no gap, none twice, causes first", events.join(", ")));
        self.narrator.note("the lease that ended ashore has taken its key from the ship too");
        let alarms = self.mesh.alarms().await?;
        ensure!(alarms.is_empty(), "alarms were raised: {alarms:?}");
        Ok(())
    }

    /// One value on every site, and the other one named, which its site still reads at its revision.
    async fn explain_the_conflict(&mut self) -> Result<()> {
        let mut values = Vec::new();
        for client in &mut self.clients {
            values.push(client.get(CONFLICT).await?.map(|pair| text(&pair.value)));
        }
        let winner = values[0].clone().with_context(|| format!("{CONFLICT} is gone"))?;
        ensure!(values.iter().all(|value| value.as_ref() == Some(&winner)), "{CONFLICT} reads {values:?}");
        let (won, beaten): (Vec<_>, Vec<_>) = self.rivals.iter().cloned().partition(|rival| rival.value == winner);
        ensure!(won.len() == 1, "{CONFLICT} = {winner} is none of what was written last");
        let losers = beaten.iter().map(|write| write.value.clone()).collect();
        self.narrator.tell(&format!("conflict  {CONFLICT} = {winner} on every site"));
        for loser in &beaten {
            let (name, value, revision) = (self.cast.name(loser.site), &loser.value, loser.revision);
            let old = self.clients[loser.site].get_at(CONFLICT, revision).await?.map(|pair| text(&pair.value));
            ensure!(old.as_ref() == Some(value), "{name} reads {CONFLICT} = {old:?} at its revision {revision}");
            self.narrator.note(&format!(
                "          over \"{value}\" from {name}: neither had seen the other, the later clock wins,"
            ));
            self.narrator.note(&format!("          and {name} still reads its own at revision {revision}"));
        }
        self.narrator.outcome().conflicts.push(Conflict { key: CONFLICT, winner, losers });
        Ok(())
    }

    /// A client fails over from the office to the ship, with a revision that only the office knows.
    pub(super) async fn move_a_client(&mut self) -> Result<()> {
        self.narrator.begin("move");
        let (ship, office) = (self.ship(), self.office());
        let [from, to] = [office, ship].map(|site| self.cast.name(site));
        let read = self.clients[office].get(CONFLICT).await?.context("it was there")?.mod_revision;
        let swapped = self.clients[ship].swap(CONFLICT, read, "by mistake").await?;
        ensure!(!swapped, "a compare-and-swap on {to} succeeded with revision {read} of {from}");
        let relists = self.clients[ship].must_relist(CONFLICT, read).await?;
        ensure!(relists, "a watch on {to} went on from revision {read} of {from}");
        let own = self.clients[ship].get(CONFLICT).await?.context("it was there")?.mod_revision;
        let swapped = self.clients[ship].swap(CONFLICT, own, "normal").await?;
        ensure!(swapped, "a compare-and-swap on {to} failed with its own revision {own}");
        self.narrator
            .tell(&format!("a client moves from {from} to {to}, with the revision {read} that it read before:"));
        self.narrator.tell("its compare-and-swap is refused, its watch is told to read anew; then both work");
        Ok(())
    }
}
