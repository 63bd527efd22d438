//! One seed, from its plan to its outcome.

use crate::{
    EngineKind, MS, Marks, Plan, Plant, Random, S, Size, Trace,
    checker::Violation,
    simulation::{Counts, Simulation},
};

/// What to run a seed with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How much a simulation does.
    pub size: Size,
    /// In how many of a hundred seeds rows are kept in folders.
    pub fjall_percent: u64,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// Whether the trace's lines are kept for a report.
    pub keeps_lines: bool,
}

/// What came of a seed.
pub struct Outcome {
    /// Its circumstances.
    pub plan: Plan,
    /// What happened.
    pub trace: Trace,
    /// How much happened.
    pub counts: Counts,
    /// What was met.
    pub marks: Marks,
    /// What clients did, in the plain text that other checkers read.
    pub history: String,
    /// The promise that did not hold.
    pub violation: Option<Violation>,
}

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let plan = match options.plant {
        None => Plan::of(seed, options.size, options.fjall_percent),
        // What is planted shows by itself: nobody's place changes but for what is planted there.
        Some(plant) => {
            let (mut plan, mut random) = Plan::among_members(seed, options.size, options.fjall_percent);
            plant.prepare(&mut plan, &mut random);
            plan
        }
    };
    #[cfg(feature = "museum")]
    tombolo_crdt::mutation::Mutation::switch(options.plant.and_then(Plant::mutation));
    let mut trace = Trace::new(options.keeps_lines);
    let (mut counts, mut marks) = (Counts::default(), Marks::default());
    let mut history = String::new();
    let violation = match Simulation::new(&plan, options.plant, &mut trace) {
        Err(violation) => Some(violation),
        Ok(mut simulation) => {
            let outcome = simulation.run();
            counts = simulation.counts;
            marks = std::mem::take(&mut simulation.marks);
            if options.keeps_lines {
                history = simulation.history.to_text();
            }
            outcome.err()
        }
    };
    Outcome { plan, trace, counts, marks, history, violation }
}

impl Plant {
    /// Sees to it that a plan has what the bug needs to show.
    fn prepare(self, plan: &mut Plan, random: &mut Random) {
        // Folders cannot be made to forget.
        plan.engine = EngineKind::Memory;
        // One fault at a time: what a disk does of its own accord must not be taken for what is planted.
        plan.troubles.rot = false;
        plan.troubles.identities = false;
        let troubles = &mut plan.troubles;
        match self {
            Self::AckBeforeDurable | Self::OfferBeforeDurable | Self::LostSuffix => troubles.crashes = true,
            Self::LyingSync => troubles.crashes = true,
            Self::TornBatch => (troubles.crashes, plan.overlaps) = (true, true),
            Self::SweptInPieces => {
                (troubles.compactions, troubles.sudden_stops, troubles.cuts) = (true, true, false);
                // A machine has to stop between two calls of the engine.
                (plan.storm_us, plan.trouble_us) = (30 * S, 250 * MS);
            }
            Self::RowsUnverified => (troubles.rot, troubles.kills) = (true, true),
            Self::UnboundedClock => plan.skew_ms = plan.skew_ms.max(10_000_000),
            Self::RangeRemovesUnseen => {
                (plan.has_crowds, troubles.cuts) = (true, true);
                plan.delay_us = plan.delay_us.max(150 * MS);
                plan.think_us = plan.think_us.min(50 * MS);
            }
            Self::BlindRetry => (troubles.kills, troubles.slow_disks) = (true, true),
            Self::StampOrder => plan.skew_ms = plan.skew_ms.max(100_000_000),
            Self::HalfJoinVisible
            | Self::StagedBlindly
            | Self::AbsentMeansRemoved
            | Self::DotsForElements
            | Self::VectorAheadOfState
            | Self::JoinTakesNoRevision => {
                (troubles.compactions, troubles.truncations, troubles.cuts) = (true, true, true);
                (plan.operations, plan.clients, plan.has_crowds) = (60, 3, true);
                (plan.storm_us, plan.trouble_us, plan.think_us) = (30 * S, 500 * MS, S);
                plan.delay_us = plan.delay_us.max(20 * MS);
                plan.sites = plan.sites.min(3);
            }
            Self::TokenIgnored => plan.roamers = plan.roamers.max(1),
            Self::RestoredBackup => (troubles.kills, troubles.slow_disks) = (true, true),
            Self::RepeatedEvents => troubles.kills = true,
            Self::EarlyTruncation => (troubles.compactions, troubles.truncations, troubles.cuts) = (true, true, true),
            Self::NumbersAgain => (troubles.identities, plan.trouble_us) = (true, 500 * MS),
            Self::LeasesLeftBehind => {
                (troubles.identities, troubles.leases, troubles.failing_disks) = (true, true, true);
                plan.trouble_us = 500 * MS;
            }
            Self::TakenBeyondTheEnd => {
                plan.sites = plan.sites.max(3);
                plan.removal = plan.draw_removal(random);
            }
            Self::RestForWhole => {
                (troubles.parking, troubles.compactions, troubles.truncations) = (true, true, false);
                plan.trouble_us = 500 * MS;
            }
            Self::LeaseExpiryByKey => troubles.leases = true,
            Self::ClonedDisk => plan.sites = plan.sites.max(3),
            _ => {}
        }
    }
}
