//! The tables of sites that replicate, and what is to be read out of them.

use std::array::from_fn;

use anyhow::Result;

use super::{
    Report,
    table::{Table, number},
    times,
};
use crate::bench::{
    load::{KEY_BYTES, VALUE_BYTES},
    replication::{
        FAR_MS,
        lag::{GOAL_MS, Lag, Quantiles},
        round::Round,
    },
    series::{Row, Spread, median},
    traffic::{CLIENTS, CONNECTIONS},
};

/// A column of the tables about rounds.
type Column = (&'static str, fn(&Round) -> f64);

const PEERS: [Column; 8] = [
    ("req/s", |round| round.author.requests_per_s),
    ("p99 ms", |round| round.author.p99_ms),
    ("author µs/put", |round| round.author.server_cpu_us),
    ("peer µs/record", |round| round.peer_cpu_us),
    ("sent B/put", |round| round.sent_bytes),
    ("received B/put", |round| round.received_bytes),
    ("all sites B/put", |round| round.all_bytes),
    ("caught up ms", |round| round.caught_up_ms),
];

const DISTANCE: [Column; 5] = [
    ("req/s", |round| round.author.requests_per_s),
    ("p50 ms", |round| round.author.p50_ms),
    ("p99 ms", |round| round.author.p99_ms),
    ("author µs/put", |round| round.author.server_cpu_us),
    ("caught up ms", |round| round.caught_up_ms),
];

impl Report<'_> {
    /// How soon a write is at another site.
    pub(crate) fn lag(&self, lag: &Lag) -> Result<()> {
        let about = format!(
            "one put at a time at a site, a watcher at another on loopback, {} rounds of {}",
            self.effort.rounds, lag.puts
        );
        self.show("replication: lag", &about, &lag_table(lag));
        println!("{}\n", lag_goal(lag));
        self.write("replication-lag", lag)
    }

    /// What peers cost.
    pub(crate) fn peers(&self, rows: &[Row<Round>; 3]) -> Result<()> {
        let about = format!("all sites on this machine, a full mesh; {}", self.puts());
        let table = table(rows, PEERS, [("1 peer : none", 1, 0), ("2 peers : none", 2, 0)]);
        self.show("replication: peers", &about, &table);
        self.write("replication-peers", rows)
    }

    /// What distance does to the site that writes.
    pub(crate) fn distance(&self, rows: &[Row<Round>; 3]) -> Result<()> {
        let about = format!("packets {FAR_MS} ms under way in a relay, or not delayed in it; {}", self.puts());
        let table = table(rows, DISTANCE, [("0 ms : no peer", 1, 0), ("100 ms : 0 ms", 2, 1)]);
        self.show("replication: distance", &about, &table);
        let [_, near, far] = rows;
        println!("{}\n", distance_goal(near, far));
        self.write("replication-distance", rows)
    }

    fn puts(&self) -> String {
        format!(
            "{CLIENTS} clients on {CONNECTIONS} connections, {KEY_BYTES} + {VALUE_BYTES} bytes, {} rounds of {}",
            self.effort.rounds, self.effort.operations
        )
    }
}

fn lag_table(lag: &Lag) -> Table {
    let mut table = Table::new("from … to …", ["p50 ms", "p99 ms", "most ms"]);
    let rows = [
        ("sending to answer", &lag.answer),
        ("answer to event there", &lag.from_answer),
        ("sending to event there", &lag.from_sending),
    ];
    for (name, rounds) in rows {
        let of = |figure: fn(&Quantiles) -> f64| number(median(rounds.iter().map(figure)));
        let most = number(rounds.iter().map(|round| round.most_ms).fold(f64::NAN, f64::max));
        table.row(name, [of(|round| round.p50_ms), of(|round| round.p99_ms), most]);
    }
    table
}

fn lag_goal(lag: &Lag) -> String {
    let held = if lag.is_within_goal() { "held" } else { "MISSED" };
    format!(
        "   goal: from sending to the event at a connected site ≤ {GOAL_MS} ms at the median: {held} ({} ms)",
        number(lag.median_ms())
    )
}

/// Rows of figures, then rows of ratios, each of one row to another.
fn table<const N: usize>(rows: &[Row<Round>; 3], columns: [Column; N], ratios: [(&str, usize, usize); 2]) -> Table {
    let mut table = Table::new("site", columns.map(|(name, _)| name));
    for row in rows {
        table.row(&row.name, columns.map(|(_, figure)| number(row.median(figure))));
    }
    for (name, ours, theirs) in ratios {
        table.row(name, from_fn::<_, N, _>(|column| times(rows[ours].ratio(&rows[theirs], columns[column].1))));
    }
    table
}

/// Whether distance costs the author anything that is not noise.
fn distance_goal(near: &Row<Round>, far: &Row<Round>) -> String {
    let rate = far.spread(near, |round| round.author.requests_per_s);
    let p99 = far.spread(near, |round| round.author.p99_ms);
    let held = if rate.is_less() || p99.is_more() { "MISSED" } else { "held" };
    let range = |spread: Spread| format!("{:.2} to {:.2}×", spread.least, spread.most);
    format!(
        "   goal: {FAR_MS} ms cost the author nothing that every round shows: {held} (req/s {}, p99 {})",
        range(rate),
        range(p99)
    )
}

#[cfg(test)]
mod tests {
    use super::{DISTANCE, PEERS, Round, Row, distance_goal, table};
    use crate::bench::gauge::Cost;

    fn rounds(name: &str, figures: &[(f64, f64)]) -> Row<Round> {
        let round = |&(requests_per_s, p99_ms): &(f64, f64)| Round {
            author: Cost {
                requests_per_s,
                p50_ms: 1.0,
                p99_ms,
                server_cpu_us: 20.0,
                client_cpu_us: 20.0,
                file_bytes: 330.0,
                disk_bytes: 0.0,
                resident_mib: 40.0,
            },
            peer_cpu_us: f64::NAN,
            sent_bytes: 300.0,
            received_bytes: 8.0,
            all_bytes: 308.0,
            caught_up_ms: 12.0,
        };
        Row { name: name.to_owned(), rounds: figures.iter().map(round).collect() }
    }

    #[test]
    fn rows_are_followed_by_their_ratios_and_what_is_not_there_is_a_dash() {
        let rows =
            [rounds("alone", &[(10_000.0, 4.0)]), rounds("one", &[(8_000.0, 5.0)]), rounds("two", &[(6_000.0, 5.0)])];
        let text = table(&rows, PEERS, [("one : alone", 1, 0), ("two : alone", 2, 0)]).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[1].contains("10,000") && lines[1].contains('–'), "{text}");
        assert!(lines[4].contains("one : alone") && lines[4].contains("0.80×"), "{text}");
        assert!(lines[5].contains("0.60×"), "{text}");
        assert!(table(&rows, DISTANCE, [("a", 1, 0), ("b", 2, 1)]).to_string().contains("0.75×"));
    }

    #[test]
    fn distance_costs_something_when_every_round_says_so() {
        let near = rounds("near", &[(10_000.0, 4.0), (10_000.0, 4.0)]);
        let verdict = |far: &[(f64, f64)]| distance_goal(&near, &rounds("far", far));
        assert!(verdict(&[(9_900.0, 4.1), (10_100.0, 3.9)]).contains("held (req/s 0.99 to 1.01×, p99 0.97 to 1.02×)"));
        assert!(verdict(&[(9_900.0, 4.1), (9_900.0, 3.9)]).contains("MISSED"));
        assert!(verdict(&[(9_900.0, 4.1), (10_100.0, 4.1)]).contains("MISSED"));
        assert!(verdict(&[(11_000.0, 3.0), (12_000.0, 3.0)]).contains("held"), "better is no cost");
    }
}
