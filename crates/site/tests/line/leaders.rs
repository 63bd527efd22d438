//! Followers of an election: they hear every proclamation that comes while they listen, and after a departure whoever leads next.

use bytes::Bytes;
use tombolo_site::{Heard, Leader, Turn, WatcherId};
use tombolo_storage::{KeyValue, Put, Request};

use crate::site::{Random, Site};

const NAME: &[u8] = b"captain";

/// A follower and what it was told, as `(key, value)`.
struct Follower {
    leader: Leader,
    watcher: WatcherId,
    told: Vec<KeyValue>,
}

impl Follower {
    fn new(site: &mut Site) -> Self {
        let mut leader = Leader::new(NAME);
        let (found, spec) = leader.found(site.read(&leader.query()));
        let watcher = site.watch(spec);
        Self { leader, watcher, told: found.into_iter().collect() }
    }

    /// Hears everything there is.
    fn listen(&mut self, site: &mut Site) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for event in site.heard(self.watcher) {
                match self.leader.hear(&event) {
                    Heard::Nothing => continue,
                    Heard::Proclaimed(pair) => {
                        self.told.push(pair);
                        continue;
                    }
                    Heard::Elected(pair) => {
                        let spec = self.leader.watch_of(&pair, pair.mod_revision);
                        self.told.push(pair);
                        self.watcher = site.watch(spec);
                    }
                    Heard::Departed => {
                        let (found, spec) = self.leader.found(site.read(&self.leader.query()));
                        self.told.extend(found);
                        self.watcher = site.watch(spec);
                    }
                }
                // What the old watch had besides was of no concern.
                again = true;
                break;
            }
        }
    }

    fn told(&self) -> Vec<(Bytes, Bytes)> {
        self.told.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
    }
}

struct Election {
    site: Site,
}

impl Election {
    fn new() -> Self {
        let mut site = Site::new();
        for lease in 1..=3 {
            site.commit(Request::LeaseGrant { id: lease, ttl_s: 60 });
        }
        Self { site }
    }

    fn campaign(&mut self, lease: i64, value: &'static str) {
        self.site.txn(Turn::enter(NAME, lease, value.into()));
    }

    fn proclaim(&mut self, lease: i64, value: String) {
        let key = Turn::key_of(NAME, lease);
        let put = Put { key, value: Some(value.into()), lease: Some(lease), previous: false };
        self.site.commit(Request::Put(put));
    }

    fn end(&mut self, lease: i64) {
        self.site.commit(Request::LeaseRevoke { id: lease });
        self.site.commit(Request::LeaseGrant { id: lease, ttl_s: 60 });
    }
}

fn pairs(list: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
    list.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[test]
fn a_follower_hears_elections_proclamations_and_successors_in_order() {
    let mut election = Election::new();
    let mut early = Follower::new(&mut election.site);
    early.listen(&mut election.site);
    assert_eq!(early.told(), []);
    election.campaign(1, "one");
    early.listen(&mut election.site);
    election.campaign(2, "two");
    election.proclaim(2, "still two".into());
    election.proclaim(1, "still one".into());
    early.listen(&mut election.site);
    let mut late = Follower::new(&mut election.site);
    election.end(1);
    late.listen(&mut election.site);
    early.listen(&mut election.site);
    let (one, two) = ("captain/1", "captain/2");
    assert_eq!(early.told(), pairs(&[(one, "one"), (one, "still one"), (two, "still two")]));
    assert_eq!(late.told(), pairs(&[(one, "still one"), (two, "still two")]));
}

#[test]
fn what_is_told_is_ever_newer_and_ends_with_what_holds() {
    for seed in 0..16 {
        let mut random = Random(seed);
        let mut election = Election::new();
        let mut follower = Follower::new(&mut election.site);
        for round in 0..120 {
            let lease = random.below(3) as i64 + 1;
            match random.below(6) {
                0 | 1 => election.campaign(lease, "new"),
                2 => election.proclaim(lease, format!("{round}")),
                3 => election.end(lease),
                _ => follower.listen(&mut election.site),
            }
        }
        election.campaign(1, "last");
        follower.listen(&mut election.site);
        let leader = election.site.read(&follower.leader.query()).pairs;
        assert_eq!(follower.told.last(), leader.first(), "seed {seed}");
        let tellings = follower.told.windows(2).filter(|pair| pair[0].create_revision == pair[1].create_revision);
        assert!(tellings.into_iter().all(|pair| pair[0].mod_revision < pair[1].mod_revision), "seed {seed}");
    }
}
