//! The table of a site that catches up.

use anyhow::Result;

use super::{
    Report,
    table::{Table, number},
};
use crate::bench::{
    catch_up::{GOAL, Round},
    load::{KEY_BYTES, VALUE_BYTES},
    series::Row,
};

/// A line of the table.
type Line = (&'static str, fn(&Round) -> f64);

const FIGURES: [Line; 10] = [
    ("written by the other, puts/s over gRPC", |round| round.written_per_s),
    ("taken in by a store alone, records/s", |round| round.ingested_per_s),
    ("caught up, records/s", |round| round.caught_up_per_s),
    ("caught up : a store alone", share),
    ("from the start to the first record, ms", |round| round.first_ms),
    ("zstd -3 of all records, B/record", |round| round.packed_bytes),
    ("sent B/record", |round| round.sent_bytes),
    ("sent B/record, killed halfway", |round| round.sent_bytes_cut),
    ("p99 of its own client's puts, ms", |round| round.put_p99_ms),
    ("the same while nothing comes in, ms", |round| round.idle_put_p99_ms),
];

impl Report<'_> {
    /// How a site catches up.
    pub(crate) fn catch_up(&self, row: &Row<Round>) -> Result<()> {
        let about = format!(
            "{} records of {KEY_BYTES} + {VALUE_BYTES} bytes, {} rounds, both sites and all clients on this machine",
            self.effort.restart_keys, self.effort.rounds
        );
        let mut table = Table::new("figure", [row.name.clone()].each_ref().map(String::as_str));
        for (name, figure) in FIGURES {
            table.row(name, [number(row.median(figure))]);
        }
        self.show("catch-up", &about, &table);
        println!("{}\n", goal(row));
        self.write("catch-up", row)
    }
}

fn share(round: &Round) -> f64 {
    round.caught_up_per_s / round.ingested_per_s
}

fn goal(row: &Row<Round>) -> String {
    let held = if row.median(share) >= GOAL { "held" } else { "MISSED" };
    format!("   goal: at least {GOAL:.2} × the rate at which a store takes records in by itself: {held}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_a_share_of_what_a_store_does_alone() {
        let round = |caught_up_per_s| Round {
            records: 1,
            written_per_s: 1.0,
            ingested_per_s: 100.0,
            caught_up_per_s,
            first_ms: 1.0,
            packed_bytes: 1.0,
            sent_bytes: 1.0,
            sent_bytes_cut: 1.0,
            put_p99_ms: 1.0,
            idle_put_p99_ms: 1.0,
        };
        let row = |rate| Row { name: "away".to_owned(), rounds: vec![round(rate)] };
        assert!(goal(&row(50.0)).contains("held"));
        assert!(goal(&row(49.0)).contains("MISSED"));
    }
}
