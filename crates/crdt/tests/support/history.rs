//! Histories: every small one, and every order in which one can be delivered.

use std::collections::BTreeSet;

use tombolo_crdt::{Dot, Element, Operation, VersionVector};

use super::{
    model::{Entry, in_range},
    replica::{Intent, Receipt, Replica},
};

/// What was written, in an order in which it can have happened, and where it left the writers.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) entries: Vec<Entry>,
}

impl History {
    pub(crate) fn new(replicas: u64) -> Self {
        Self { replicas: (1..=replicas).map(Replica::new).collect(), entries: Vec::new() }
    }

    pub(crate) fn write(&mut self, author: usize, intents: &[Intent], wall_ms: u64) -> bool {
        let entry = self.replicas[author].write(intents, wall_ms);
        let written = entry.is_some();
        self.entries.extend(entry);
        written
    }

    /// Brings a replica to a frontier that is closed under causes.
    pub(crate) fn deliver(&mut self, to: usize, frontier: &VersionVector) {
        for entry in self.entries.iter().filter(|entry| frontier.covers(entry.record.header.dot)) {
            assert_ne!(self.replicas[to].receive(&entry.record), Receipt::TooEarly);
        }
    }

    /// The frontier of everything that was written.
    pub(crate) fn end(&self) -> VersionVector {
        self.entries.iter().map(|entry| entry.record.header.dot).collect()
    }

    /// What must live at the end, by the rule alone: what was added and what no record removed.
    pub(crate) fn living(&self) -> BTreeSet<Element> {
        let mut added = Vec::new();
        for entry in &self.entries {
            for (index, operation) in entry.record.numbered().filter(|(_, operation)| operation.adds() > 0) {
                added.push((entry.record.header.dot.element(index), operation));
            }
        }
        added.into_iter().filter(|(element, by)| !self.removed(*element, by)).map(|(element, _)| element).collect()
    }

    fn removed(&self, element: Element, by: &Operation) -> bool {
        self.entries.iter().any(|entry| {
            entry.record.operations.iter().any(|operation| match (operation, by) {
                (Operation::RangeRemove(range), Operation::Put { key, .. }) => {
                    in_range(range, key) && entry.context.covers_element(element)
                }
                _ => operation.named().contains(&element),
            })
        })
    }

    /// Calls `visit` with every history of up to `operations` writes that goes on from this one. Before each write its
    /// author may have received anything that is closed under causes.
    pub(crate) fn for_each_extension(&self, operations: usize, intents: &[Intent], visit: &mut dyn FnMut(&Self)) {
        if operations == 0 {
            return;
        }
        for author in 0..self.replicas.len() {
            for frontier in self.frontiers_from(author) {
                for intent in intents {
                    let mut next = self.clone();
                    next.deliver(author, &frontier);
                    // Wall clocks run against the order of writes: stamps must not decide what causes decide.
                    if next.write(author, std::slice::from_ref(intent), 100 * operations as u64) {
                        visit(&next);
                        next.for_each_extension(operations - 1, intents, visit);
                    }
                }
            }
        }
    }

    /// Every frontier that a replica can be at next, as seen from where it is.
    fn frontiers_from(&self, author: usize) -> Vec<VersionVector> {
        let at = &self.replicas[author].frontier;
        let end = self.end();
        let raised = |frontier: VersionVector, head: Dot| {
            (at.seq(head.replica)..=head.seq)
                .map(|seq| {
                    let mut frontier = frontier.clone();
                    frontier.raise(head.replica, seq);
                    frontier
                })
                .collect::<Vec<_>>()
        };
        let all =
            end.iter().fold(vec![at.clone()], |all, head| all.into_iter().flat_map(|f| raised(f, head)).collect());
        all.into_iter().filter(|frontier| self.is_closed(frontier)).collect()
    }

    fn is_closed(&self, frontier: &VersionVector) -> bool {
        let covered = self.entries.iter().filter(|entry| frontier.covers(entry.record.header.dot));
        covered.into_iter().all(|entry| frontier.includes(&entry.context))
    }
}
