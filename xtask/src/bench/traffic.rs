//! The scenarios over gRPC: puts and reads against servers that stay up, visited in turn round by round.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tokio::runtime;

use super::{
    Effort, Scenario,
    contender::Contender,
    gauge::Cost,
    load::{KEY_BYTES, Kind, Load, VALUE_BYTES},
    report::Report,
    series::Row,
};
use crate::process::Program;

/// Connections of many clients.
pub(crate) const CONNECTIONS: usize = 8;
/// Many clients.
pub(crate) const CLIENTS: usize = 64;

/// One scenario over every server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) scenario: Scenario,
    pub(crate) about: String,
    /// The servers, with their cost in each round.
    pub(crate) servers: Vec<Row<Cost>>,
}

/// Measures the scenarios of this file among those wanted, reporting each as soon as it is done.
pub(crate) fn measure(
    programs: &[Program],
    folder: &Path,
    effort: Effort,
    wanted: &[Scenario],
    report: &Report<'_>,
) -> Result<()> {
    let wanted: Vec<_> = wanted.iter().filter_map(|scenario| Plan::of(*scenario, effort)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let home = tempfile::tempdir_in(folder)?;
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut contenders = Vec::new();
        for (number, program) in programs.iter().enumerate() {
            let folder = home.path().join(number.to_string());
            let mut contender = Contender::start(program, &folder, CONNECTIONS).await?;
            contender.gauge.warm(Load::fill(effort.keys)).await?;
            contender.gauge.calibrate(effort.keys).await?;
            contenders.push(contender);
        }
        for plan in wanted {
            report.traffic(&plan.run(&contenders, effort).await?)?;
        }
        Ok(())
    })
}

/// How a scenario is run.
#[derive(Clone, Debug)]
struct Plan {
    scenario: Scenario,
    about: String,
    load: Load,
    connections: usize,
}

impl Plan {
    fn of(scenario: Scenario, effort: Effort) -> Option<Self> {
        let (kind, clients, connections, operations) = match scenario {
            Scenario::Put => (Kind::Put, CLIENTS, CONNECTIONS, effort.operations),
            Scenario::PutAlone => (Kind::Put, 1, 1, effort.operations / 10),
            Scenario::Range => (Kind::Range, CLIENTS, CONNECTIONS, effort.operations),
            Scenario::Store | Scenario::Restart | Scenario::Replication | Scenario::CatchUp => return None,
        };
        let about = format!(
            "{}, {} on {}, {KEY_BYTES}-byte keys, {VALUE_BYTES}-byte values, {} keys, {} rounds of {operations}",
            if kind == Kind::Put { "random puts" } else { "linearizable reads of random keys" },
            counted(clients, "client"),
            counted(connections, "connection"),
            effort.keys,
            effort.rounds
        );
        let load = Load { kind, clients, operations, keys: effort.keys, seed: 0 };
        Some(Self { scenario, about, load, connections })
    }

    async fn run(&self, contenders: &[Contender], effort: Effort) -> Result<Measured> {
        let mut servers: Vec<_> = contenders.iter().map(|contender| Row::new(contender.server.name())).collect();
        for round in 0..effort.rounds {
            for (contender, row) in contenders.iter().zip(&mut servers) {
                let load = Load { seed: (round as u64 + 1) << 32, ..self.load };
                row.rounds.push(contender.gauge.measure(load, self.connections).await?);
            }
        }
        Ok(Measured { scenario: self.scenario, about: self.about.clone(), servers })
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::{super::Effort, Plan, Scenario};

    #[test]
    fn the_line_above_a_table_says_what_was_done() {
        let effort = Effort { rounds: 5, operations: 30_000, keys: 100_000, restart_keys: 1 };
        let plan = Plan::of(Scenario::Put, effort).unwrap();
        assert_eq!(
            plan.about,
            "random puts, 64 clients on 8 connections, 16-byte keys, 256-byte values, 100000 keys, 5 rounds of 30000"
        );
        assert!(Plan::of(Scenario::PutAlone, effort).unwrap().about.contains("1 client on 1 connection,"));
        assert!(Plan::of(Scenario::Store, effort).is_none());
    }
}
