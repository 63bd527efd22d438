//! What a reader gets: a table on the screen, and a JSON file with every round in `target/bench/`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::{Effort, gauge::Cost, machine::Machine, restart, store, traffic};
use crate::paint::Paint;

use table::{Table, number};

mod catch_up;
mod replication;
mod table;

/// Where reports go and what they all carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) machine: &'a Machine,
    pub(crate) effort: Effort,
    pub(crate) paint: Paint,
}

/// A column of the tables over gRPC.
type Column = (&'static str, fn(&Cost) -> f64);

const COLUMNS: [Column; 8] = [
    ("req/s", |cost| cost.requests_per_s),
    ("p50 ms", |cost| cost.p50_ms),
    ("p99 ms", |cost| cost.p99_ms),
    ("server µs/op", |cost| cost.server_cpu_us),
    ("client µs/op", |cost| cost.client_cpu_us),
    ("file B/op", |cost| cost.file_bytes),
    ("disk B/op", |cost| cost.disk_bytes),
    ("RSS MiB", |cost| cost.resident_mib),
];

impl Report<'_> {
    /// A scenario over gRPC.
    pub(crate) fn traffic(&self, measured: &traffic::Measured) -> Result<()> {
        let name = serde_json::to_value(measured.scenario)?;
        let name = name.as_str().context("a scenario has a name")?;
        self.show(name, &measured.about, &traffic_table(measured));
        self.write(name, measured)
    }

    /// The store without gRPC.
    pub(crate) fn store(&self, measured: &store::Measured) -> Result<()> {
        let puts = self.effort.operations * 4;
        let about = format!(
            "no gRPC, fsync, {} concurrent writers, {} rounds of {puts} puts",
            store::WRITERS,
            self.effort.rounds
        );
        self.show("store", &about, &store_table(measured));
        println!("{}\n", goal(measured));
        self.write("store", measured)
    }

    /// Restarts.
    pub(crate) fn restart(&self, rows: &[restart::Row]) -> Result<()> {
        let about = format!(
            "seconds to the first answered read, {} keys, {} rounds",
            self.effort.restart_keys, self.effort.rounds
        );
        self.show("restart", &about, &restart_table(rows));
        self.write("restart", &rows)
    }

    fn show(&self, name: &str, about: &str, table: &Table) {
        println!("{}  {}\n{table}", self.paint.bold(name), self.paint.dim(about));
    }

    fn write(&self, name: &str, measured: &impl Serialize) -> Result<()> {
        let path = self.folder.join(format!("{name}.json"));
        let whole = json!({"machine": self.machine, "effort": self.effort, "measured": measured});
        fs::write(&path, format!("{whole:#}\n")).with_context(|| format!("write {}", path.display()))
    }
}

fn traffic_table(measured: &traffic::Measured) -> Table {
    let mut table = Table::new("server", COLUMNS.map(|(name, _)| name));
    for row in &measured.servers {
        table.row(&row.name, COLUMNS.map(|(_, figure)| number(row.median(figure))));
    }
    if let [ours, theirs] = measured.servers.as_slice() {
        table.row("ratio", COLUMNS.map(|(_, figure)| times(ours.ratio(theirs, figure))));
    }
    table
}

fn store_table(measured: &store::Measured) -> Table {
    let mut table = Table::new("way", ["puts/s", "CPU µs/put", "puts/sync", "store is"]);
    let ways = [
        ("one write and sync each", &measured.sync_each),
        ("the engine, batches of 64", &measured.engine_batches),
        ("the store", &measured.store),
    ];
    for (name, way) in ways {
        let of = |figure: fn(&store::Rate) -> f64| number(super::series::median(way.iter().map(figure)));
        let ratio = times(measured.store_over(way));
        table.row(name, [of(|rate| rate.puts_per_s), of(|rate| rate.cpu_us), of(|rate| rate.puts_per_sync), ratio]);
    }
    table
}

/// The goal that the store was built to, and whether it is reached here.
fn goal(measured: &store::Measured) -> String {
    let (alone, engine) = (measured.store_over(&measured.sync_each), measured.store_over(&measured.engine_batches));
    let reached = if alone >= 20.0 || engine >= 0.6 { "reached" } else { "MISSED" };
    format!("   goal: 20 × one sync each, or 0.60 × the engine if that is less: {reached}")
}

fn restart_table(rows: &[restart::Row]) -> Table {
    let mut table = Table::new("server", ["after stop", "after kill -9", "RSS MiB"]);
    for row in rows {
        let figures: [fn(&restart::Row) -> &Vec<f64>; 3] =
            [|row| &row.stopped_s, |row| &row.killed_s, |row| &row.resident_mib];
        table.row(&row.server, figures.map(|series| number(row.median(series))));
    }
    table
}

/// A ratio, `–` when there is nothing to divide by.
fn times(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}×") } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{goal, store, times, traffic, traffic_table};
    use crate::bench::{Scenario, gauge::Cost, series::Row};

    fn cost(requests_per_s: f64) -> Cost {
        Cost {
            requests_per_s,
            p50_ms: 1.5,
            p99_ms: 4.25,
            server_cpu_us: 17.0,
            client_cpu_us: 20.0,
            file_bytes: 330.0,
            disk_bytes: 0.0,
            resident_mib: 40.0,
        }
    }

    #[test]
    fn a_table_shows_medians_and_the_ratio_of_two() {
        let row = |server: &str, rate: f64| Row {
            name: server.to_owned(),
            rounds: vec![cost(rate), cost(rate * 3.0), cost(rate * 2.0)],
        };
        let servers = vec![row("tombolod 0.1.0", 20_000.0), row("etcd 3.5.1", 10_000.0)];
        let measured = traffic::Measured { scenario: Scenario::Put, about: String::new(), servers };
        let text = traffic_table(&measured).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("server µs/op"), "{text}");
        assert!(lines[1].contains("tombolod 0.1.0") && lines[1].contains("40,000"), "{text}");
        assert!(lines[3].starts_with("   ratio") && lines[3].contains("2.00×"), "{text}");
        assert!(lines[3].contains('–'), "nothing on disk has no ratio: {text}");
    }

    #[test]
    fn the_goal_is_the_smaller_of_two() {
        let way = |puts_per_s| vec![store::Rate { puts_per_s, cpu_us: 1.0, puts_per_sync: 1.0 }];
        let measured = |store| store::Measured { sync_each: way(10.0), engine_batches: way(100.0), store: way(store) };
        assert!(goal(&measured(60.0)).contains("reached"));
        assert!(goal(&measured(59.0)).contains("MISSED"));
        assert_eq!(times(f64::NAN), "–");
    }
}
