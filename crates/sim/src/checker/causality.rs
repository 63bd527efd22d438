//! Causal consistency of a history, in time linear in accesses × sessions: the algorithm of Møldrup and Pavlogiannis's AWDIT
//! (PLDI 2025), by our own hand.
//!
//! Reads say which transaction they read from. Sessions and reads together give *happens before*. Whoever reads register x
//! from `t1` while a write of x by `t2` happened before it tells that `t1` won over `t2`. The history is consistent when there
//! is one order of all transactions that agrees with happens before and with everything so told, that is: when these edges
//! make no circle. It is enough to look, for each read and each session, at that session's last write of x that happened
//! before the read; its earlier ones come before that one.
//!
//! [`Level::Weak`] asks only that no read is older than what happened before it, which must hold whatever clocks say.
//! [`Level::Convergent`] also asks for the one order. Winners are chosen by stamps, and a stamp draws a slow clock at most a
//! minute forward: beyond that skew the order of winners need not agree with what happened before.

use std::{collections::BTreeMap, fmt};

use crate::History;

use self::{clocks::Clocks, cycle::find_cycle, reads::Reads};

mod clocks;
mod cycle;
mod reads;

/// How much is asked of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// No read shows less than what happened before it.
    Weak,
    /// Beyond that, there is one order of all transactions that explains every read.
    Convergent,
}

/// A transaction of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The session, by its place in the history.
    pub session: usize,
    /// Its place in the session.
    pub place: usize,
}

/// Why a history is not causally consistent. `None` stands for the beginning, at which every register is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A value was read that nobody wrote.
    ThinAir {
        /// The reader.
        reader: Name,
        /// The register.
        key: u32,
        /// What was read.
        value: u64,
    },
    /// A value was read that its writer overwrote in the same transaction.
    Intermediate {
        /// The reader.
        reader: Name,
        /// The register.
        key: u32,
        /// What was read.
        value: u64,
    },
    /// A transaction did not read what it had written, or read a register twice and differently.
    Unrepeatable {
        /// The reader.
        reader: Name,
        /// The register.
        key: u32,
        /// What was read.
        value: u64,
        /// What should have been.
        expected: u64,
    },
    /// Something was read although what replaced it happened before the read.
    Overwritten {
        /// The reader.
        reader: Name,
        /// The register.
        key: u32,
        /// What was read: the write of this transaction.
        stale: Option<Name>,
        /// Who had replaced it.
        newer: Name,
    },
    /// Each transaction of the circle comes before the next, and the last before the first.
    Circle(Vec<Edge>),
}

/// One transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The earlier one.
    pub from: Option<Name>,
    /// The later one.
    pub to: Option<Name>,
    /// Why.
    pub why: Why,
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The same client issued it earlier.
    Session,
    /// The other one read from it.
    Read(u32),
    /// Somebody who knew both read this register from the other one.
    Lost(u32),
}

/// Checks a history.
///
/// # Errors
///
/// The first anomaly found.
pub fn check(history: &History, level: Level) -> Result<(), Anomaly> {
    let reads = Reads::of(history)?;
    let graph = Graph::of(history, &reads);
    let Some(clocks) = Clocks::of(&graph) else {
        return Err(Anomaly::Circle(graph.named(find_cycle(&graph.next))));
    };
    let lost = lost(&graph, &reads, &clocks)?;
    if level == Level::Convergent {
        let mut graph = graph;
        for (loser, winner, key) in lost {
            graph.next[loser].push((winner, Why::Lost(key)));
        }
        let circle = find_cycle(&graph.next);
        if !circle.is_empty() {
            return Err(Anomaly::Circle(graph.named(circle)));
        }
    }
    Ok(())
}

/// Transactions as numbers, session by session; 0 is the beginning.
struct Graph {
    /// The number of each session's first transaction, and of what would follow the last.
    starts: Vec<usize>,
    /// What comes after each transaction.
    next: Vec<Vec<(usize, Why)>>,
}

impl Graph {
    fn of(history: &History, reads: &Reads) -> Self {
        let mut starts = vec![1];
        for session in &history.sessions {
            starts.push(starts[starts.len() - 1] + session.len());
        }
        let count = starts[starts.len() - 1];
        let mut next = vec![Vec::new(); count];
        for bounds in starts.windows(2) {
            for number in bounds[0]..bounds[1] {
                let before = if number == bounds[0] { 0 } else { number - 1 };
                next[before].push((number, Why::Session));
            }
        }
        for number in 1..count {
            for (key, from) in &reads.of[number] {
                next[*from].push((number, Why::Read(*key)));
            }
        }
        Self { starts, next }
    }

    fn sessions(&self) -> usize {
        self.starts.len() - 1
    }

    /// The session of a transaction that is not the beginning, and its place there.
    fn name(&self, number: usize) -> Option<Name> {
        let session = self.starts.partition_point(|start| *start <= number).checked_sub(1)?;
        Some(Name { session, place: number - self.starts[session] })
    }

    fn named(&self, circle: Vec<(usize, usize, Why)>) -> Vec<Edge> {
        circle.into_iter().map(|(from, to, why)| Edge { from: self.name(from), to: self.name(to), why }).collect()
    }
}

/// Who lost to whom, and over which register: `(loser, winner, key)`.
fn lost(graph: &Graph, reads: &Reads, clocks: &Clocks) -> Result<Vec<(usize, usize, u32)>, Anomaly> {
    let mut found = Vec::new();
    for session in 0..graph.sessions() {
        // What a session knows only grows, so that each other session is gone through once.
        let mut known = vec![0; graph.sessions()];
        let mut last: Vec<BTreeMap<u32, usize>> = vec![BTreeMap::new(); graph.sessions()];
        for reader in graph.starts[session]..graph.starts[session + 1] {
            for other in 0..graph.sessions() {
                let until = clocks.seen(reader, other);
                for place in known[other]..until {
                    let writer = graph.starts[other] + place;
                    last[other].extend(reads.written[writer].iter().map(|key| (*key, writer)));
                }
                known[other] = until;
            }
            for &(key, winner) in &reads.of[reader] {
                let losers = last.iter().filter_map(|of| of.get(&key).copied()).filter(|loser| *loser != winner);
                for loser in losers {
                    if clocks.is_before(graph, winner, loser) {
                        return Err(overwritten(graph, reader, key, winner, loser));
                    }
                    found.push((loser, winner, key));
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn overwritten(graph: &Graph, reader: usize, key: u32, stale: usize, newer: usize) -> Anomaly {
    let beginning = Name { session: 0, place: 0 };
    Anomaly::Overwritten {
        reader: graph.name(reader).unwrap_or(beginning),
        key,
        stale: graph.name(stale),
        newer: graph.name(newer).unwrap_or(beginning),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}#{}", self.session, self.place)
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &Option<Name>| name.map_or_else(|| "the beginning".to_owned(), |name| name.to_string());
        match self {
            Self::ThinAir { reader, key, value } => write!(f, "{reader} read {value} from r{key}, which nobody wrote"),
            Self::Intermediate { reader, key, value } => {
                write!(f, "{reader} read {value} from r{key}, which its writer overwrote in the same transaction")
            }
            Self::Unrepeatable { reader, key, value, expected } => {
                write!(f, "{reader} read {value} from r{key} where it had read or written {expected}")
            }
            Self::Overwritten { reader, key, stale, newer } => {
                let stale = named(stale);
                write!(f, "{reader} read r{key} from {stale}, but {newer} had replaced that before")
            }
            Self::Circle(edges) => {
                write!(f, "no order explains what was read:")?;
                for Edge { from, to, why } in edges {
                    write!(f, " {} < {} ({why:?});", named(from), named(to))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
