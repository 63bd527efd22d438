//! Who read what from whom, and what each transaction wrote in the end.
//!
//! What a transaction reads of its own writes is judged here; what is left are reads from others.

use std::collections::BTreeMap;

use super::{Anomaly, Name};
use crate::{Access, History, Transaction};

/// The reads and writes of every transaction, by its number; 0 is the beginning.
pub(super) struct Reads {
    /// The registers that each read from another one, and from which. Ascending by register.
    pub(super) of: Vec<Vec<(u32, usize)>>,
    /// The registers that each wrote.
    pub(super) written: Vec<Vec<u32>>,
}

/// Who wrote a value, and whether it was the writer's last word on the register.
#[derive(Clone, Copy)]
struct Writer {
    number: usize,
    is_final: bool,
}

impl Reads {
    pub(super) fn of(history: &History) -> Result<Self, Anomaly> {
        let mut writers = BTreeMap::new();
        let mut written = vec![Vec::new()];
        for (number, (_, transaction)) in (1..).zip(numbered(history)) {
            let last = writes(transaction);
            for access in &transaction.accesses {
                if let Access::Write { key, value } = *access {
                    writers.insert((key, value), Writer { number, is_final: last.get(&key) == Some(&value) });
                }
            }
            written.push(last.into_keys().collect());
        }
        let mut of = vec![Vec::new()];
        for (name, transaction) in numbered(history) {
            of.push(external(name, transaction, &writers)?);
        }
        Ok(Self { of, written })
    }
}

/// All transactions, in the order of their numbers.
fn numbered(history: &History) -> impl Iterator<Item = (Name, &Transaction)> {
    history.sessions.iter().enumerate().flat_map(|(session, transactions)| {
        transactions.iter().enumerate().map(move |(place, transaction)| (Name { session, place }, transaction))
    })
}

/// The last value that a transaction wrote to each register.
fn writes(transaction: &Transaction) -> BTreeMap<u32, u64> {
    let written = transaction.accesses.iter().filter_map(|access| match *access {
        Access::Write { key, value } => Some((key, value)),
        Access::Read { .. } => None,
    });
    written.collect()
}

/// From whom a transaction read what it had not written itself.
fn external(
    reader: Name,
    transaction: &Transaction,
    writers: &BTreeMap<(u32, u64), Writer>,
) -> Result<Vec<(u32, usize)>, Anomaly> {
    let mut known: BTreeMap<u32, u64> = BTreeMap::new();
    let mut from: BTreeMap<u32, usize> = BTreeMap::new();
    for access in &transaction.accesses {
        let (key, value) = match *access {
            Access::Write { key, value } => {
                known.insert(key, value);
                continue;
            }
            Access::Read { key, value } => (key, value),
        };
        if let Some(&expected) = known.get(&key) {
            if expected != value {
                return Err(Anomaly::Unrepeatable { reader, key, value, expected });
            }
            continue;
        }
        known.insert(key, value);
        let writer = match value {
            0 => Writer { number: 0, is_final: true },
            _ => *writers.get(&(key, value)).ok_or(Anomaly::ThinAir { reader, key, value })?,
        };
        if !writer.is_final {
            return Err(Anomaly::Intermediate { reader, key, value });
        }
        from.insert(key, writer.number);
    }
    Ok(from.into_iter().collect())
}
