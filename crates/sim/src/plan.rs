//! What a seed decides before anything happens: who there is, over what they talk, and what may go wrong.
//!
//! Each seed leaves out a random half of the troubles, so that what one of them would hide another run shows.

use std::fmt;

use crate::{MS, Random, S};

/// The circumstances of one simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many sites there are.
    pub sites: usize,
    /// Who talks to whom.
    pub topology: Topology,
    /// Where the rows of all sites are kept.
    pub engine: EngineKind,
    /// Clients at each site.
    pub clients: usize,
    /// Clients that go from site to site with what they have seen.
    pub roamers: usize,
    /// Operations of each client.
    pub operations: usize,
    /// Registers that are only ever put, for the checker of causality.
    pub registers: u32,
    /// Keys that are also deleted and leased.
    pub keys: u32,
    /// Whether clients also write and remove crowds of keys.
    pub has_crowds: bool,
    /// Watchers at each site.
    pub watchers: usize,
    /// When the last site starts for the first time, in microseconds, if not with the others.
    pub late_us: Option<u64>,
    /// How long clients think between operations, at most, in microseconds.
    pub think_us: u64,
    /// When the troubles end, in microseconds.
    pub storm_us: u64,
    /// The time from one trouble to the next, at most, in microseconds.
    pub trouble_us: u64,
    /// What a link takes, at most, in microseconds.
    pub delay_us: u64,
    /// Frames in a hundred that are lost and sent again.
    pub loss: u64,
    /// What a sync takes, at most, in microseconds.
    pub disk_us: u64,
    /// Whether the next group is executed while one is on its way to the disk.
    pub overlaps: bool,
    /// How long after it is shown a group is told to sessions, at most, in microseconds.
    pub telling_us: u64,
    /// Clocks are wrong by at most this much, in milliseconds.
    pub skew_ms: u64,
    /// Whether transfers are joined by being prepared beside writers, or in one step.
    pub joins_beside: bool,
    /// Who is removed from the mesh, if anybody is.
    pub removal: Option<Removal>,
    /// What may go wrong.
    pub troubles: Troubles,
}

/// A site is taken out of the mesh, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// When, in microseconds.
    pub at_us: u64,
    /// Which site.
    pub site: usize,
    /// At which site an operator says so.
    pub by: usize,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Everybody to everybody.
    Full,
    /// Each to the next.
    Chain,
    /// All to the first.
    Star,
    /// Each to the next, and the last to the first.
    Ring,
}

/// Where rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In memory, which forgets at a crash what was not persisted.
    Memory,
    /// In folders, by the product's engine.
    Fjall,
}

/// What may go wrong, and which parts of the API are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubles {
    /// Links are cut in both directions.
    pub cuts: bool,
    /// Links are cut in one direction.
    pub one_way_cuts: bool,
    /// Machines stop: what was not synced is gone.
    pub crashes: bool,
    /// Processes die: what was written is there.
    pub kills: bool,
    /// Sites close and open again.
    pub restarts: bool,
    /// Wall clocks are set.
    pub clock_jumps: bool,
    /// Connections are made while there is one.
    pub redials: bool,
    /// Machines and processes stop at some call of the engine, whatever they are doing.
    pub sudden_stops: bool,
    /// Rows are damaged at rest for a while.
    pub rot: bool,
    /// Disks are slow for a while.
    pub slow_disks: bool,
    /// Writes to disks fail.
    pub failing_disks: bool,
    /// Sites take no records for a while, or cannot read their log.
    pub busy_sites: bool,
    /// Compacted history goes although somebody lacks it still.
    pub truncations: bool,
    /// Clients compact.
    pub compactions: bool,
    /// Clients use leases.
    pub leases: bool,
    /// Replicas lose their names: with the end of their log, a failed sync, or all of their folder.
    pub identities: bool,
    /// Operators park sites.
    pub parking: bool,
}

/// How much a simulation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// As much as a release build does in some ten milliseconds.
    #[default]
    Usual,
    /// A fraction of that, for tests that are not optimised.
    Small,
}

/// Skews up to here leave the order of stamps in agreement with causality: a stamp draws a clock at most a minute forward.
const SKEW_MAX_MS: u64 = 25_000;

/// Some thirty years: clocks that have never been set.
const WILD_SKEW_MS: u64 = 1_000_000_000_000;

impl Plan {
    /// The plan of a seed. In `fjall_percent` of a hundred seeds rows are kept in folders.
    pub fn of(seed: u64, size: Size, fjall_percent: u64) -> Self {
        let (plan, mut random) = Self::among_members(seed, size, fjall_percent);
        plan.with_members(&mut random)
    }

    /// The same while nobody's place in the mesh changes, and what further decisions are drawn from.
    pub(crate) fn among_members(seed: u64, size: Size, fjall_percent: u64) -> (Self, Random) {
        let mut random = Random::new(seed).fork("plan");
        let engine = if random.chance(fjall_percent) { EngineKind::Fjall } else { EngineKind::Memory };
        let topologies = [Topology::Full, Topology::Full, Topology::Chain, Topology::Star, Topology::Ring];
        let (most_operations, most_sites) = match (size, engine) {
            (Size::Usual, EngineKind::Memory) => (40, 5),
            (Size::Usual, EngineKind::Fjall) => (12, 3),
            (Size::Small, _) => (16, 4),
        };
        let late_us = random.chance(20).then(|| random.between(4 * S, 20 * S));
        let skew_ms = random.pick(&[0, 100, 5_000, SKEW_MAX_MS, SKEW_MAX_MS, WILD_SKEW_MS]);
        let plan = Self {
            seed,
            sites: random.between(2, most_sites) as usize,
            topology: random.pick(&topologies),
            engine,
            clients: random.between(1, 3) as usize,
            roamers: random.pick(&[0, 1, 1, 2]),
            operations: random.between(most_operations / 4, most_operations) as usize,
            registers: random.between(2, 8) as u32,
            keys: random.between(1, 8) as u32,
            has_crowds: random.chance(20),
            watchers: random.between(1, 3) as usize,
            late_us,
            think_us: random.pick(&[5 * MS, 50 * MS, 300 * MS, S]),
            storm_us: random.pick(&[5, 15, 25, 25, 60]) * S - random.between(0, 3 * S),
            trouble_us: random.pick(&[500 * MS, 2 * S, 5 * S]),
            delay_us: random.pick(&[100, MS, 20 * MS, 150 * MS]),
            loss: random.pick(&[0, 0, 1, 10]),
            disk_us: random.pick(&[50, 2 * MS, 30 * MS]),
            overlaps: random.chance(50),
            telling_us: random.pick(&[0, 0, 20 * MS]),
            skew_ms,
            joins_beside: false,
            removal: None,
            // Who comes late finds that no log goes back to the beginning, if anybody compacts by then.
            troubles: Troubles::of(&mut random).for_a_latecomer(late_us.is_some()),
        };
        let joins_beside = random.chance(50);
        // Folders do not forget.
        let identities = random.chance(50) && engine == EngineKind::Memory;
        (Self { joins_beside, troubles: Troubles { identities, ..plan.troubles }, ..plan }, random)
    }

    /// Members may be parked, and one may be removed.
    fn with_members(self, random: &mut Random) -> Self {
        let parking = random.chance(50);
        let removal = self.draw_removal(random).filter(|_| !self.troubles.identities);
        // Whoever is parked lacks nothing unless somebody compacts.
        let compactions = self.troubles.compactions || parking;
        Self { removal, troubles: Troubles { parking, compactions, ..self.troubles }, ..self }
    }

    /// In half of the seeds in which the others can do without some site, that site is removed.
    pub(crate) fn draw_removal(&self, random: &mut Random) -> Option<Removal> {
        let spared: Vec<usize> = (0..self.sites).filter(|site| self.sites > 2 && self.can_spare(*site)).collect();
        if spared.is_empty() || !random.chance(50) {
            return None;
        }
        let site = random.pick(&spared);
        let by = (site + random.between(1, self.sites as u64 - 1) as usize) % self.sites;
        Some(Removal { at_us: random.between(S, self.storm_us), site, by })
    }

    /// Whether all others go on reaching each other without a site.
    fn can_spare(&self, site: usize) -> bool {
        match self.topology {
            Topology::Full | Topology::Ring => true,
            Topology::Chain => site == 0 || site + 1 == self.sites,
            Topology::Star => site != 0,
        }
    }

    /// Whether anybody's place in the mesh changes.
    pub fn moves_members(&self) -> bool {
        self.troubles.parking || self.removal.is_some()
    }

    /// The pairs of sites that talk, each once.
    pub fn links(&self) -> Vec<(usize, usize)> {
        let count = self.sites;
        let links = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let is_there = |&(a, b): &(usize, usize)| match self.topology {
            Topology::Full => true,
            Topology::Chain => b == a + 1,
            Topology::Star => a == 0,
            Topology::Ring => b == a + 1 || (a == 0 && b == count - 1),
        };
        links.filter(is_there).collect()
    }

    /// Whether a site may lack what is in nobody's log any more.
    pub fn may_lack_state(&self) -> bool {
        self.troubles.truncations || self.troubles.identities
    }

    /// Whether clocks may be so wrong that the order of winners need not agree with causality.
    pub fn is_wild(&self) -> bool {
        self.skew_ms > SKEW_MAX_MS
    }
}

impl Troubles {
    fn of(random: &mut Random) -> Self {
        let mut may = || random.chance(50);
        Self {
            cuts: may(),
            one_way_cuts: may(),
            crashes: may(),
            kills: may(),
            restarts: may(),
            clock_jumps: may(),
            redials: may(),
            sudden_stops: may(),
            rot: may(),
            slow_disks: may(),
            failing_disks: may(),
            busy_sites: may(),
            truncations: may(),
            compactions: may(),
            leases: may(),
            identities: false,
            parking: false,
        }
    }

    fn for_a_latecomer(self, is_expected: bool) -> Self {
        if is_expected { Self { truncations: true, compactions: true, ..self } } else { self }
    }

    fn named(&self) -> [(&'static str, bool); 17] {
        [
            ("cuts", self.cuts),
            ("one-way cuts", self.one_way_cuts),
            ("crashes", self.crashes),
            ("kills", self.kills),
            ("restarts", self.restarts),
            ("clock jumps", self.clock_jumps),
            ("redials", self.redials),
            ("sudden stops", self.sudden_stops),
            ("rot", self.rot),
            ("slow disks", self.slow_disks),
            ("failing disks", self.failing_disks),
            ("busy sites", self.busy_sites),
            ("truncations", self.truncations),
            ("compactions", self.compactions),
            ("leases", self.leases),
            ("lost names", self.identities),
            ("parking", self.parking),
        ]
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let troubles: Vec<&str> =
            self.troubles.named().into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
        writeln!(f, "{} sites, {:?}, rows in {:?}", self.sites, self.topology, self.engine)?;
        writeln!(
            f,
            "{} clients and {} watchers a site, {} clients that roam, {} operations each, {} registers, {} keys, crowds: {}",
            self.clients, self.watchers, self.roamers, self.operations, self.registers, self.keys, self.has_crowds
        )?;
        writeln!(
            f,
            "links up to {} µs, {} % lost; syncs up to {} µs, groups overlap: {}, told after {} µs; clocks wrong by up to {} ms",
            self.delay_us, self.loss, self.disk_us, self.overlaps, self.telling_us, self.skew_ms
        )?;
        writeln!(f, "transfers are joined beside writers: {}", self.joins_beside)?;
        if let Some(late_us) = self.late_us {
            writeln!(f, "the last site joins after {} s", late_us / S)?;
        }
        if let Some(Removal { at_us, site, by }) = self.removal {
            writeln!(f, "s{by} removes s{site} after {} ms", at_us / MS)?;
        }
        write!(f, "troubles for {} s: {}", self.storm_us / S, troubles.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{EngineKind, Plan, Size, Topology};

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(Plan::of(3, Size::Usual, 5), Plan::of(3, Size::Usual, 5));
        assert_ne!(Plan::of(3, Size::Usual, 5), Plan { seed: 3, ..Plan::of(4, Size::Usual, 5) });
    }

    #[test]
    fn every_topology_connects_all_sites() {
        let base = Plan::of(1, Size::Usual, 0);
        for topology in [Topology::Full, Topology::Chain, Topology::Star, Topology::Ring] {
            for sites in 2..=5 {
                let links = Plan { sites, topology, ..base.clone() }.links();
                let mut reached = vec![0];
                for _ in 0..sites {
                    for &(a, b) in &links {
                        let more = [(a, b), (b, a)].into_iter().filter(|(from, _)| reached.contains(from));
                        let more: Vec<usize> = more.map(|(_, to)| to).filter(|to| !reached.contains(to)).collect();
                        reached.extend(more);
                    }
                }
                assert_eq!(reached.len(), sites, "{topology:?}");
            }
        }
    }

    #[test]
    fn the_share_of_folders_is_kept() {
        let folders =
            |share| (0..200).filter(move |seed| Plan::of(*seed, Size::Usual, share).engine == EngineKind::Fjall);
        assert_eq!(folders(0).count(), 0);
        assert_eq!(folders(100).count(), 200);
        assert!((20..80).contains(&folders(25).count()));
    }
}
