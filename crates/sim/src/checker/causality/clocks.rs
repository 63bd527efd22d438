//! Happens before, as a vector per transaction: how much of each session it knew.

use super::Graph;

/// How many transactions of each session happened before each transaction.
pub(super) struct Clocks {
    of: Vec<Vec<usize>>,
}

impl Clocks {
    /// `None` when happens before has a circle.
    pub(super) fn of(graph: &Graph) -> Option<Self> {
        let mut waits = vec![0_usize; graph.next.len()];
        for (after, _) in graph.next.iter().flatten() {
            waits[*after] += 1;
        }
        let mut of = vec![vec![0; graph.sessions()]; graph.next.len()];
        let mut ready: Vec<usize> = (0..waits.len()).filter(|number| waits[*number] == 0).collect();
        let mut done = 0;
        while let Some(number) = ready.pop() {
            done += 1;
            let mut seen = of[number].clone();
            if let Some(name) = graph.name(number) {
                seen[name.session] = seen[name.session].max(name.place + 1);
            }
            for (after, _) in &graph.next[number] {
                for (entry, more) in of[*after].iter_mut().zip(&seen) {
                    *entry = (*entry).max(*more);
                }
                waits[*after] -= 1;
                if waits[*after] == 0 {
                    ready.push(*after);
                }
            }
        }
        (done == of.len()).then_some(Self { of })
    }

    /// How many transactions of a session happened before this one.
    pub(super) fn seen(&self, number: usize, session: usize) -> usize {
        self.of[number][session]
    }

    /// Whether one transaction happened before another one. The beginning happened before all.
    pub(super) fn is_before(&self, graph: &Graph, earlier: usize, later: usize) -> bool {
        graph.name(earlier).is_none_or(|name| self.of[later][name.session] > name.place)
    }
}
