//! What clients did, as the checker of causality wants it: sessions of transactions on registers.
//!
//! Every written value is unique, so that a read says which transaction it read from. 0 is nobody's: it stands for a register
//! that has not been written.

use std::fmt::Write as _;

/// All sessions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The sessions; the transactions of each in the order in which the client issued them, one after the other.
    pub sessions: Vec<Vec<Transaction>>,
}

/// One atomic step of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What it did, in order.
    pub accesses: Vec<Access>,
}

/// A read or a write of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The register had this value.
    Read {
        /// The register.
        key: u32,
        /// What was read, 0 when there was nothing.
        value: u64,
    },
    /// The register was given this value.
    Write {
        /// The register.
        key: u32,
        /// What was written, not 0 and never written before.
        value: u64,
    },
}

impl History {
    /// The history in the plain text that other checkers of weak isolation read: a line for each access, lines of dashes between
    /// transactions and of equals signs between sessions. A session of its own writes the zeros.
    pub fn to_text(&self) -> String {
        let keys: std::collections::BTreeSet<u32> =
            self.sessions.iter().flatten().flat_map(|transaction| &transaction.accesses).map(Access::key).collect();
        let beginning = keys.iter().map(|&key| Access::Write { key, value: 0 }).collect();
        let beginning = vec![Transaction { accesses: beginning }];
        let filled = self.sessions.iter().filter(|session| !session.is_empty());
        let sessions: Vec<String> = std::iter::once(&beginning).chain(filled).map(|session| text(session)).collect();
        sessions.join("=====\n")
    }

    /// How many transactions there are.
    pub fn len(&self) -> usize {
        self.sessions.iter().map(Vec::len).sum()
    }

    /// Whether nobody did anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Access {
    /// The register.
    pub fn key(&self) -> u32 {
        match *self {
            Self::Read { key, .. } | Self::Write { key, .. } => key,
        }
    }
}

fn text(session: &[Transaction]) -> String {
    let transactions: Vec<String> = session.iter().map(accesses).collect();
    transactions.join("-----\n")
}

fn accesses(transaction: &Transaction) -> String {
    let mut lines = String::new();
    for access in &transaction.accesses {
        let written = match access {
            Access::Read { key, value } => writeln!(lines, "r {key} {value}"),
            Access::Write { key, value } => writeln!(lines, "w {key} {value}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Access, History, Transaction};

    #[test]
    fn a_history_is_written_as_lines() {
        let write = Transaction { accesses: vec![Access::Write { key: 3, value: 7 }] };
        let read = Transaction { accesses: vec![Access::Read { key: 3, value: 7 }, Access::Read { key: 4, value: 0 }] };
        let history = History { sessions: vec![vec![write.clone(), read.clone()], vec![], vec![read]] };
        let expected = "w 3 0\nw 4 0\n=====\nw 3 7\n-----\nr 3 7\nr 4 0\n=====\nr 3 7\nr 4 0\n";
        assert_eq!(history.to_text(), expected);
        assert_eq!(history.len(), 3);
    }
}
