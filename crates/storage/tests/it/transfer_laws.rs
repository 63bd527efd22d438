//! `log replay ≡ state delta ≡ checkpoint`: random histories of three sites, logs truncated at random, and sites that take a transfer in the place of the
//! log, while they write and while others send them theirs. The oracle knows what every frontier must show.

use std::time::Duration;

use bytes::Bytes;
use tombolo_storage::{CompleteTransfer, Provider, Receiver};

use crate::{
    convergence,
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    random::{Random, for_seeds},
    support::*,
    transfer::{sign, whole},
};

struct Run {
    mesh: Mesh,
    counter: u64,
    transfers: u64,
    /// Whether nothing happens beside transfers.
    is_calm: bool,
    /// For each site, the first commit that the oracle has not been told.
    told: [u64; 4],
    now: Duration,
}

impl Run {
    fn new(sites: u8) -> Self {
        Self {
            mesh: Mesh::new(sites, 1000),
            counter: 0,
            transfers: 0,
            is_calm: false,
            told: [0; 4],
            now: Duration::ZERO,
        }
    }

    fn write(&mut self, random: &mut Random, site: usize) {
        convergence::write(&mut self.mesh, site, random, &mut self.counter);
        self.commit(site);
    }

    fn commit(&mut self, site: usize) {
        self.mesh.sites[site].commit();
        self.told[site] = self.mesh.oracle.note_from(&self.mesh.sites[site], self.told[site]);
    }

    /// Sends the log if it reaches back far enough, and a transfer of state if not.
    fn send(&mut self, random: &mut Random, from: usize, to: usize) {
        let (seen, floor) = (self.mesh.sites[to].store.frontier(), self.mesh.sites[from].store.standing().floor);
        if seen.includes(&floor) && !random.one_in(3) {
            self.mesh.send(from, to, EVERYTHING).expect("the log reaches back far enough");
        } else {
            self.transfer(random, from, to);
        }
    }

    /// Takes a transfer, with writes, a second stream, cuts and restarts of both sides in between.
    fn transfer(&mut self, random: &mut Random, from: usize, to: usize) {
        let mut provider = Provider::new(&self.mesh.sites[from].store);
        let mut receiver = Receiver::resume(&self.mesh.sites[to].store).unwrap();
        loop {
            let pulls = receiver.next_pulls(1 + random.at(3));
            if pulls.is_empty() {
                break;
            }
            self.now += Duration::from_secs(60);
            for pull in pulls {
                let page = provider.answer(self.now, pull.body, sign).unwrap();
                let staged = receiver.take(pull.id, page).unwrap();
                let bench = &mut self.mesh.sites[to];
                bench.committer.stage(bench.wall, staged).unwrap();
            }
            match if self.is_calm { 7 } else { random.below(8) } {
                0 => self.write(random, to),
                1 => self.write(random, from),
                2 => self.second_stream(random, from, to),
                3 => {
                    receiver.cut();
                    if random.one_in(2) {
                        self.commit(from);
                        provider = Provider::new(&self.mesh.sites[from].store);
                    }
                }
                4 if random.one_in(2) => {
                    self.commit(to);
                    self.mesh.reopen(to, *random.pick(&[Stop::Close, Stop::Kill, Stop::Crash]));
                    receiver = Receiver::resume(&self.mesh.sites[to].store).unwrap();
                }
                5 => drop(self.mesh.sites[from].sweep()),
                _ => {}
            }
        }
        if !self.is_calm {
            (0..random.below(3)).for_each(|_| self.write(random, from));
            self.second_stream(random, from, to);
            self.write(random, to);
        }
        let transfer = whole(&receiver);
        if random.one_in(2) {
            self.join_beside(random, to, transfer);
        } else {
            let bench = &mut self.mesh.sites[to];
            bench.committer.publish_transfer(bench.wall, transfer).unwrap();
        }
        self.transfers += 1;
        self.commit(to);
        if random.one_in(3) {
            self.mesh.check(to);
        }
    }

    /// Joins a transfer beside the receiver's own writes, or gives that up and joins it at once.
    fn join_beside(&mut self, random: &mut Random, to: usize, transfer: CompleteTransfer) {
        let bench = &mut self.mesh.sites[to];
        let (_, prepared) = bench.committer.prepare_transfer(bench.wall, transfer.clone()).unwrap();
        let Some(mut preparation) = prepared else { return };
        let writes = if self.is_calm { 0 } else { 12 };
        (0..random.below(1 + writes)).for_each(|_| self.write(random, to));
        preparation.run();
        (0..random.below(1 + writes)).for_each(|_| self.write(random, to));
        self.commit(to);
        let bench = &mut self.mesh.sites[to];
        if !self.is_calm && random.one_in(5) {
            bench.committer.abandon_transfer(preparation).unwrap();
            bench.committer.publish_transfer(bench.wall, transfer).unwrap();
        } else {
            bench.committer.publish_prepared(bench.wall, preparation).unwrap();
        }
    }

    /// Another site sends the receiver its log meanwhile.
    fn second_stream(&mut self, random: &mut Random, from: usize, to: usize) {
        let other = random.at(self.mesh.sites.len());
        if other != to {
            let _below_floor = self.mesh.send(other, to, EVERYTHING);
        }
        if random.one_in(2) && other != from {
            let _below_floor = self.mesh.send(other, from, EVERYTHING);
        }
    }

    fn truncate(&mut self, random: &mut Random, site: usize) {
        self.commit(site);
        let published = self.mesh.sites[site].store.published();
        let oldest = published.compacted.max(1);
        let revision = oldest + random.below((published.revision.get() - oldest + 1) as u64) as i64;
        if revision > published.compacted {
            self.mesh.sites[site].compact(revision);
        }
        self.mesh.sites[site].sweep();
        self.commit(site);
        self.mesh.check(site);
    }

    fn reopen(&mut self, random: &mut Random, site: usize) {
        self.commit(site);
        let store = self.mesh.sites[site].store.clone();
        self.mesh.reopen(site, *random.pick(&[Stop::Close, Stop::Kill, Stop::Crash]));
        let again = &self.mesh.sites[site].store;
        let seen = |store: &tombolo_storage::Store| {
            let from = store.published().compacted.max(1);
            let history: Vec<_> =
                history(store, from).into_iter().map(|commit| (commit.revision, commit.events)).collect();
            (all(store), store.standing(), store.system(b""), leases(store), history)
        };
        assert_eq!(seen(&store), seen(again));
        assert_eq!(all_revisions(&store), all_revisions(again));
    }
}

fn leases(store: &tombolo_storage::Store) -> Vec<(i64, i64, Vec<Bytes>)> {
    let mut leases: Vec<_> = store.leases().into_iter().map(|(id, ttl)| (id, ttl, store.lease_keys(id))).collect();
    leases.sort();
    leases
}

fn all_revisions(store: &tombolo_storage::Store) -> Vec<Vec<tombolo_storage::KeyValue>> {
    let published = store.published();
    (published.compacted.max(1)..=published.revision.get()).map(|revision| all_at(store, revision)).collect()
}

fn run(random: &mut Random, steps: usize) -> u64 {
    let mut run = Run::new(3);
    for _ in 0..steps {
        let site = random.at(3);
        let other = (site + 1 + random.at(2)) % 3;
        match random.below(20) {
            0..12 => run.write(random, site),
            12..16 => run.send(random, site, other),
            16..18 => run.truncate(random, site),
            18 => run.reopen(random, site),
            _ => run.mesh.check(site),
        }
    }
    // Everybody comes to the same, and so does somebody who begins with nothing.
    run.mesh.sites.push(Bench::of(9, NOW));
    run.is_calm = true;
    // Orphans that are found on the way are removed by records of their own.
    for _ in 0..4 {
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                run.commit(from);
                run.send(random, from, to);
            }
        }
    }
    run.mesh.check_equal();
    for site in 0..4 {
        run.mesh.check(site);
        run.reopen(random, site);
        run.mesh.check(site);
        run.mesh.sites[site].sweep();
        run.mesh.check(site);
    }
    run.mesh.check_equal();
    run.transfers
}

#[test]
fn a_transfer_leads_where_the_log_leads() {
    let transfers = std::sync::atomic::AtomicU64::new(0);
    for_seeds(0..8, |random| {
        transfers.fetch_add(run(random, 70), std::sync::atomic::Ordering::Relaxed);
    });
    assert!(transfers.into_inner() > 60, "there were too few transfers to learn from");
}
