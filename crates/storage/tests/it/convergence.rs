//! Stores that have applied the same records are the same, whatever came in which order: random writes, random deliveries,
//! stops and compactions, against the oracle.

use tombolo_crdt::VersionVector;
use tombolo_storage::{ArrivalBudget, KeyRange, Op, Request, RequestError, Transaction};

use crate::{
    memory::Stop,
    mesh::{EVERYTHING, Mesh, is_sampled},
    random::{Random, for_seeds},
    support::*,
    system::{system_put, system_remove},
};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "compact_rev_key"];

/// Keys enough for a removal to name its range, from `first` on.
fn many(first: u64) -> Request {
    let then = (first..first + 66).map(|key| Op::Put(put_op(&format!("m{key:03}"), &first.to_string())));
    Request::Txn(Transaction { then: then.collect(), ..Transaction::default() })
}

/// One or two writes of the system's data, removals now and then.
fn system(random: &mut Random, value: &str) -> Request {
    let writes = (0..1 + random.below(2)).map(|_| {
        let key = *random.pick(&["a", "member/a", "member/b", "z"]);
        if random.one_in(4) { system_remove(key) } else { system_put(key, value) }
    });
    Request::System(writes.collect())
}

pub(crate) fn request(random: &mut Random, counter: &mut u64) -> Request {
    *counter += 1;
    let value = format!("v{counter}");
    let key = *random.pick(&KEYS);
    let id = 1 + random.below(3) as i64;
    match random.below(24) {
        20..24 => system(random, &value),
        0..8 => put(key, &value),
        8..11 => put_leased(key, &value, id),
        11..13 => delete(single(key)),
        13 => delete(KeyRange::before(bytes("b"), bytes("d"))),
        14 => {
            let ops = [Op::Put(put_op("a", &value)), Op::Put(put_op("c", &value)), Op::Delete(delete_op(single("d")))];
            Request::Txn(Transaction { then: ops.to_vec(), ..Transaction::default() })
        }
        15 => Request::LeaseGrant { id, ttl_s: 60 },
        16 => Request::LeaseRevoke { id },
        17 if random.one_in(3) => many(random.below(40)),
        18 if random.one_in(3) => delete(KeyRange::from_key(bytes("m"))),
        _ => Request::LeaseKeys { id: 1 },
    }
}

/// Carries out a request if its lease allows it.
pub(crate) fn write(mesh: &mut Mesh, site: usize, random: &mut Random, counter: &mut u64) {
    let request = request(random, counter);
    match mesh.sites[site].try_run(request) {
        Ok(_)
        | Err(
            RequestError::LeaseNotFound { .. } | RequestError::LeaseAmbiguous { .. } | RequestError::LeaseExists { .. },
        ) => {}
        Err(other) => panic!("{other}"),
    }
    if random.one_in(2) {
        mesh.sites[site].commit();
    }
}

/// Sites after so many random steps, all of which have everything.
pub(crate) fn wandered(random: &mut Random, sites: u8, steps: usize) -> Mesh {
    let mut run = Run::new(sites, 1_000);
    for _ in 0..steps {
        run.step(random, false);
    }
    run.mesh.sites.iter_mut().for_each(|site| drop(site.commit()));
    run.mesh.settle();
    run.mesh
}

pub(crate) struct Run {
    pub(crate) mesh: Mesh,
    counter: u64,
    cuts: Vec<VersionVector>,
}

impl Run {
    pub(crate) fn new(sites: u8, skew_ms: u64) -> Self {
        Self { mesh: Mesh::new(sites, skew_ms), counter: 0, cuts: Vec::new() }
    }

    pub(crate) fn step(&mut self, random: &mut Random, compacts: bool) {
        let site = random.at(self.mesh.sites.len());
        match random.below(30) {
            0..18 => write(&mut self.mesh, site, random, &mut self.counter),
            18..25 => {
                let to = random.at(self.mesh.sites.len());
                if to != site {
                    self.mesh.sites[to].commit();
                    let budget = ArrivalBudget { commits: 1 + random.at(20), bytes: usize::MAX };
                    self.mesh.send(site, to, budget).expect("the log reaches back far enough");
                }
            }
            25 => self.reopen(random, site),
            26 => {
                self.mesh.sites[site].commit();
                self.cuts.push(self.mesh.sites[site].store.frontier());
            }
            27 if compacts => self.compact(random, site),
            28 => {
                self.mesh.sites[site].commit();
                if random.one_in(2) {
                    self.mesh.sites[site].pass_grace();
                }
                let wall = self.mesh.sites[site].wall;
                self.mesh.sites[site].committer.maintain(wall).expect("housekeeping works");
            }
            _ => {
                self.mesh.sites[site].commit();
                self.mesh.oracle.note_all(&self.mesh.sites);
                self.mesh.check(site);
            }
        }
    }

    fn reopen(&mut self, random: &mut Random, site: usize) {
        self.mesh.sites[site].commit();
        let store = self.mesh.sites[site].store.clone();
        self.mesh.reopen(site, *random.pick(&[Stop::Close, Stop::Kill, Stop::Crash]));
        let again = &self.mesh.sites[site].store;
        assert_eq!(all(&store), all(again));
        assert_eq!(store.standing(), again.standing());
        assert_eq!(store.system(b""), again.system(b""));
        assert_eq!(store.leases().len(), again.leases().len());
    }

    /// Compacts at a site once everyone has what is about to go from its log.
    fn compact(&mut self, random: &mut Random, site: usize) {
        for to in (0..self.mesh.sites.len()).filter(|to| *to != site) {
            self.mesh.sites[to].commit();
            self.mesh.sites[site].commit();
            self.mesh.send(site, to, EVERYTHING).expect("the log reaches back far enough");
        }
        let bench = &mut self.mesh.sites[site];
        let published = bench.store.published();
        let oldest = published.compacted.max(1);
        let revision = oldest + random.below((published.revision.get() - oldest + 1) as u64) as i64;
        if revision > published.compacted {
            bench.compact(revision);
        }
    }

    /// Every site shows at every cut it can still read what the oracle says.
    fn check_cuts(&self) {
        for bench in &self.mesh.sites {
            let frontier = bench.store.frontier();
            for cut in self.cuts.iter().chain([&frontier]).filter(|cut| frontier.includes(cut)) {
                let expected = self.mesh.oracle.at(cut);
                for (key, siblings) in expected.iter().filter(|(key, _)| is_sampled(key)) {
                    if let Ok(found) = bench.store.read_at(key, cut) {
                        assert_eq!(&found, siblings, "{key:?} at {cut:?}");
                    }
                }
            }
            let all_readable = bench.store.published().compacted < 0;
            let refused = self.cuts.iter().filter(|cut| bench.store.read_at(b"a", cut).is_err()).count();
            assert!(!all_readable || refused == 0, "without a compaction every cut can be read");
        }
    }
}

fn run(random: &mut Random, sites: u8, compacts: bool) {
    let skew_ms = *random.pick(&[0, 1, 1000, 100_000_000]);
    let mut run = Run::new(sites, skew_ms);
    for _ in 0..220 {
        run.step(random, compacts);
    }
    run.mesh.sites.iter_mut().for_each(|bench| drop(bench.commit()));
    run.mesh.settle();
    run.mesh.check_equal();
    let settled = run.mesh.sites[0].store.frontier();
    assert_eq!(run.mesh.oracle.orphans_at(&settled), [], "no write outlives its lease");
    for site in 0..run.mesh.sites.len() {
        run.mesh.check(site);
        run.reopen(random, site);
        run.mesh.sites[site].sweep();
        run.mesh.check(site);
    }
    run.mesh.check_equal();
    run.check_cuts();
}

#[test]
fn two_sites_converge() {
    for_seeds(0..15, |random| run(random, 2, false));
}

#[test]
fn three_sites_converge() {
    for_seeds(100..115, |random| run(random, 3, false));
}

#[test]
fn sites_converge_while_they_compact() {
    for_seeds(200..225, |random| run(random, 3, true));
}
