//! Watch hubs are fed and drained, and watching clients read what they are sent.

use std::sync::Arc;

use tombolo_site::{Credit, EndCause, Output, SubscriberId, WatchSpec, WatcherId};
use tombolo_storage::{Arrival, Commit, KeyRange};

use super::{READ_US, Simulation};
use crate::{
    MS, Mark, Plant, S,
    agenda::Happening,
    checker::{
        Claim, Violation, atomicity,
        watch::{Response, Stream},
    },
    watching::{self, Watching},
};

impl Simulation<'_> {
    pub(super) fn add_watching(&mut self) {
        for site in 0..self.plan.sites {
            for _ in 0..self.plan.watchers {
                let range = watching::some_range(self.plan, &mut self.random);
                let stream = Stream::new(site, range, self.sites[site].slot.beginning().get());
                let pace_us = self.random.pick(&[100, 5 * MS, 300 * MS]);
                let (subscription, inbox, is_reading) = (None, Default::default(), false);
                let picture = Default::default();
                self.watching.push(Watching { site, stream, subscription, inbox, is_reading, picture, pace_us });
            }
            self.wake_watching(site);
        }
    }

    /// The site is there again: its watching clients come back after a while.
    pub(super) fn wake_watching(&mut self, site: usize) {
        for watcher in 0..self.watching.len() {
            if self.watching[watcher].site == site {
                let at = self.soon(S);
                self.agenda.at(at, Happening::Rewatch { watcher });
            }
        }
    }

    /// The site is gone, and with it whatever a client had not read.
    pub(super) fn abandon_watching(&mut self, site: usize) {
        for watching in self.watching.iter_mut().filter(|watching| watching.site == site) {
            watching.subscription = None;
            watching.inbox.clear();
            watching.is_reading = false;
        }
    }

    pub(super) fn rewatch(&mut self, watcher: usize) -> Result<(), Violation> {
        let watching = &self.watching[watcher];
        let site = watching.site;
        let from = watching.stream.seen() + i64::from(!self.is_planted(Plant::RepeatedEvents));
        let uptime = self.sites[site].uptime(self.now);
        let Some(life) = self.sites[site].life.as_mut().filter(|_| watching.subscription.is_none()) else {
            return Ok(());
        };
        let subscriber = life.hub.subscribe(uptime);
        let spec = WatchSpec::new(watching.stream.range().clone(), from);
        let watch = life.hub.watch(subscriber, spec);
        let watch = watch.map_err(|error| Violation::at(site, Claim::Watch, error.to_string()))?;
        self.watching[watcher].subscription = Some((subscriber, watch));
        self.watch_foreign(site, subscriber)?;
        if self.sites[site].lives > 1 {
            self.marks.hit(Mark::Resumed);
        }
        self.note(format_args!("w{watcher}@s{site} watches from {from}"));
        self.drain_hub(site)
    }

    /// Now and then a stream also asks for a watch from another site's revision, which must be refused.
    fn watch_foreign(&mut self, site: usize, subscriber: SubscriberId) -> Result<(), Violation> {
        let foreign = self.foreign_revision(site).filter(|_| !self.is_planted(Plant::NumericCompare));
        let Some(foreign) = foreign.filter(|_| self.random.chance(20)) else { return Ok(()) };
        let Some(life) = &mut self.sites[site].life else { return Ok(()) };
        let watch = life.hub.watch(subscriber, WatchSpec::new(KeyRange::all(), foreign));
        let watch = watch.map_err(|error| Violation::at(site, Claim::Watch, error.to_string()))?;
        life.foreign_watches.insert(watch);
        Ok(())
    }

    /// Whether a watch is one that must be refused.
    fn is_foreign_watch(&self, site: usize, watch: WatcherId) -> bool {
        self.sites[site].life.as_ref().is_some_and(|life| life.foreign_watches.contains(&watch))
    }

    /// The hub hears of commits that readers see now.
    pub(super) fn tell_watchers(
        &mut self,
        site: usize,
        commits: &[Arc<Commit>],
        arrivals: Option<&[Arrival]>,
    ) -> Result<(), Violation> {
        let own = self.sites[site].replica;
        let silent = self.is_planted(Plant::SilentMerge);
        let is_told = |nth: usize| {
            !silent
                || arrivals.is_none_or(|arrivals| arrivals.get(nth).is_none_or(|arrival| arrival.dot.replica == own))
        };
        let told = commits.iter().enumerate().filter(|(nth, _)| is_told(*nth));
        let told: Vec<Arc<Commit>> = told.map(|(_, commit)| Arc::clone(commit)).collect();
        if let Some(life) = &mut self.sites[site].life {
            life.hub.publish(&told);
        }
        self.drain_hub(site)
    }

    fn drain_hub(&mut self, site: usize) -> Result<(), Violation> {
        while let Some(output) = self.sites[site].life.as_mut().and_then(|life| life.hub.poll()) {
            match output {
                Output::Deliver(delivery) if self.is_foreign_watch(site, delivery.watcher) => {
                    let text = format!("a watch from another site's revision was fed {:?}", delivery.commits);
                    return Err(Violation::at(site, Claim::Watch, text));
                }
                Output::Deliver(delivery) => {
                    let whole = watching::response(&delivery);
                    let pieces = if self.is_planted(Plant::TornWatch) { watching::torn(whole) } else { vec![whole] };
                    let last = pieces.len() - 1;
                    for (nth, piece) in pieces.into_iter().enumerate() {
                        let cost = if nth == last { delivery.cost } else { Credit::default() };
                        self.post(site, delivery.subscriber, piece, cost);
                    }
                }
                Output::Progress(progress) => {
                    let response = Response { commits: Vec::new(), revision: progress.revision.get() };
                    self.post(site, progress.subscriber, response, progress.cost);
                }
                Output::Load(load) => {
                    let at = self.soon(READ_US);
                    if let Some(life) = &mut self.sites[site].life {
                        life.replays.push_back(load);
                        self.agenda.at(at, Happening::Replay { site, life: life.number });
                    }
                }
                Output::End(ending) => self.watch_ended(site, ending.watcher, &ending.cause)?,
            }
        }
        Ok(())
    }

    /// Puts something on its way to a watching client.
    fn post(&mut self, site: usize, to: SubscriberId, response: Response, cost: Credit) {
        let Some(life) = self.sites[site].life.as_ref().map(|life| life.number) else { return };
        let is_meant = |watching: &Watching| {
            watching.site == site && watching.subscription.is_some_and(|(subscriber, _)| subscriber == to)
        };
        let Some(watcher) = self.watching.iter().position(is_meant) else { return };
        self.watching[watcher].inbox.push_back((response, cost));
        if !self.watching[watcher].is_reading {
            self.watching[watcher].is_reading = true;
            let at = self.soon(self.watching[watcher].pace_us);
            self.agenda.at(at, Happening::Drain { watcher, life });
        }
    }

    /// A watching client reads the next response.
    pub(super) fn drain(&mut self, watcher: usize, number: u64) -> Result<(), Violation> {
        let site = self.watching[watcher].site;
        if self.sites[site].life(number).is_none() {
            return Ok(());
        }
        let Some((response, cost)) = self.watching[watcher].inbox.pop_front() else {
            // It has read all of it when its watch ended.
            self.watching[watcher].is_reading = false;
            return Ok(());
        };
        self.note(format_args!("w{watcher}@s{site} reads {response:?}"));
        self.counts.events += response.commits.iter().map(|(_, events)| events.len() as u64).sum::<u64>();
        self.watching[watcher].stream.read(&response, &self.sites[site].log)?;
        self.watching[watcher].learn(&response);
        if self.random.chance(10) {
            let watching = &self.watching[watcher];
            atomicity::check(site, &self.records, watching.stream.range(), &watching.picture)?;
        }
        let asks_progress = self.random.chance(10);
        let Some((subscriber, _)) = self.watching[watcher].subscription else { return Ok(()) };
        if let Some(life) = &mut self.sites[site].life {
            life.hub.drained(subscriber, cost);
            if asks_progress && !response.commits.is_empty() {
                life.hub.progress(subscriber);
            }
        }
        self.drain_hub(site)?;
        let is_reading = !self.watching[watcher].inbox.is_empty();
        self.watching[watcher].is_reading = is_reading;
        if is_reading {
            let at = self.soon(self.watching[watcher].pace_us);
            self.agenda.at(at, Happening::Drain { watcher, life: number });
        }
        Ok(())
    }

    /// Reads history for the hub.
    pub(super) fn replay(&mut self, site: usize, number: u64) -> Result<(), Violation> {
        let Some(life) = self.sites[site].life(number) else { return Ok(()) };
        let Some(load) = life.replays.pop_front() else { return Ok(()) };
        let answer = life.store.history(load.from, &load.range, load.budget);
        life.hub.replayed(load.watcher, answer);
        self.marks.hit(Mark::Replayed);
        self.drain_hub(site)
    }

    /// The hub gave a watch up: what it needs is compacted. The client lists its range and begins anew.
    fn watch_ended(&mut self, site: usize, watch: WatcherId, cause: &EndCause) -> Result<(), Violation> {
        if self.is_foreign_watch(site, watch) && matches!(cause, EndCause::Compacted { .. }) {
            self.marks.hit(Mark::ForeignWatch);
            return Ok(());
        }
        let is_meant = |watching: &Watching| {
            watching.site == site && watching.subscription.is_some_and(|(_, watcher)| watcher == watch)
        };
        let Some(watcher) = self.watching.iter().position(is_meant) else { return Ok(()) };
        let at = self.soon(if matches!(cause, EndCause::Unreadable(_)) { S } else { READ_US });
        self.agenda.at(at, Happening::Rewatch { watcher });
        let Simulation { sites, watching, .. } = self;
        let (state, watching) = (&mut sites[site], &mut watching[watcher]);
        let has_met_rot = state.has_met_rot();
        let Some(life) = &mut state.life else { return Ok(()) };
        if let Some((subscriber, _)) = watching.subscription.take() {
            life.hub.unsubscribe(subscriber);
        }
        // What is still on its way was delivered before the end.
        while let Some((response, _)) = watching.inbox.pop_front() {
            watching.stream.read(&response, &state.log)?;
            watching.learn(&response);
        }
        match cause {
            EndCause::Compacted { oldest } => {
                let published = life.store.published();
                watching.stream.relist(&state.log, *oldest, published.compacted, published.revision.get())?;
                // The client reads its range from what a damaged row cannot spoil: it would read again until it could.
                let pairs = state.log.model().pairs().filter(|pair| watching.stream.range().contains(&pair.key));
                watching.picture = pairs.map(|pair| (pair.key.clone(), pair.value.clone())).collect();
                self.marks.hit(Mark::Relisted);
            }
            EndCause::Unreadable(_) if has_met_rot => self.marks.hit(Mark::RotNamed),
            cause => return Err(Violation::at(site, Claim::Watch, format!("a watch ended: {cause}"))),
        }
        self.note(format_args!("w{watcher}@s{site} is told: {cause}"));
        Ok(())
    }

    /// Whether every watching client has read everything.
    pub(super) fn is_everything_read(&self) -> bool {
        self.watching.iter().all(Watching::has_read)
            && self.sites.iter().all(|site| {
                site.life.as_ref().is_some_and(|life| life.replays.is_empty() && life.hub.stats().catching_up == 0)
            })
    }
}
