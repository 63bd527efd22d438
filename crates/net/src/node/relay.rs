//! Stability rows on their way through: what one connection learned, the others pass on.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_crdt::ReplicaId;

use crate::StabilityRow;

/// The newest row of every member, and when it was news.
#[derive(Debug)]
pub(crate) struct Relay {
    rows: Mutex<BTreeMap<ReplicaId, Passing>>,
    /// Ordinal of the last piece of news.
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Passing {
    row: StabilityRow,
    version: u64,
    /// The connection that brought it last: it need not be told.
    from: u64,
}

/// Entries that all rows may have, give or take those of one heartbeat: see [`Stability`](crate::Stability).
const ENTRIES_MAX: usize = 1 << 18;
/// Members that rows are kept for, give or take those of one heartbeat: more than any mesh has.
const MEMBERS_MAX: usize = 1 << 14;

impl Relay {
    pub(crate) fn new() -> Self {
        Self { rows: Mutex::default(), version: watch::Sender::new(0) }
    }

    /// Takes note of rows that connection `from` brought. What is no news wakes nobody.
    pub(crate) fn learn(&self, from: u64, rows: &[StabilityRow]) {
        let mut known = self.rows.lock();
        let mut version = *self.version.borrow();
        let is_full = known.len() >= MEMBERS_MAX || held(&known) >= ENTRIES_MAX;
        for row in rows {
            let is_news = match known.get_mut(&row.member) {
                Some(passing) if passing.row.frontier.includes(&row.frontier) => false,
                Some(passing) if is_full && row.frontier.len() > passing.row.frontier.len() => false,
                Some(passing) => {
                    passing.row.frontier.join(&row.frontier);
                    (passing.version, passing.from) = (version + 1, from);
                    true
                }
                None if is_full => false,
                None => {
                    known.insert(row.member, Passing { row: row.clone(), version: version + 1, from });
                    true
                }
            };
            version += u64::from(is_news);
        }
        self.version.send_if_modified(|last| std::mem::replace(last, version) != version);
    }

    /// A cursor that wakes when there is news.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The rows that were news after `seen` and came from elsewhere than connection `to`, and the cursor behind them.
    pub(crate) fn news(&self, seen: u64, to: u64) -> (Vec<StabilityRow>, u64) {
        let known = self.rows.lock();
        let news = known.values().filter(|passing| passing.version > seen && passing.from != to);
        (news.map(|passing| passing.row.clone()).collect(), *self.version.borrow())
    }
}

fn held(known: &BTreeMap<ReplicaId, Passing>) -> usize {
    known.values().map(|passing| passing.row.frontier.len()).sum()
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    fn row(member: u64, seq: u64) -> StabilityRow {
        let member = ReplicaId::new(member).unwrap();
        StabilityRow { member, frontier: [Dot::new(member, seq)].into_iter().collect() }
    }

    #[test]
    fn rows_go_to_all_connections_but_the_one_that_brought_them() {
        let relay = Relay::new();
        relay.learn(7, &[row(1, 5), row(2, 5)]);
        assert_eq!(relay.news(0, 7), (vec![], 2));
        assert_eq!(relay.news(0, 8), (vec![row(1, 5), row(2, 5)], 2));
        relay.learn(8, &[row(2, 6)]);
        assert_eq!(relay.news(2, 7), (vec![row(2, 6)], 3));
        assert_eq!(relay.news(2, 8), (vec![], 3));
    }

    #[test]
    fn rows_of_strangers_do_not_fill_the_memory() {
        let relay = Relay::new();
        for member in 1..40 {
            let dots = (1..=1 << 13).map(|author| Dot::new(ReplicaId::new(author).unwrap(), 1));
            let member = ReplicaId::new(member).unwrap();
            relay.learn(7, &[StabilityRow { member, frontier: dots.collect() }]);
        }
        assert_eq!(held(&relay.rows.lock()), ENTRIES_MAX);
        relay.learn(7, &[row(1, 9)]);
        assert_eq!(relay.news(0, 8).0[0].frontier.seq(ReplicaId::new(1).unwrap()), 9, "what is known may rise");
    }

    #[test]
    fn what_is_no_news_wakes_nobody() {
        let relay = Relay::new();
        relay.learn(7, &[row(1, 5)]);
        let mut cursor = relay.subscribe();
        relay.learn(8, &[row(1, 5), row(1, 4)]);
        assert!(!cursor.has_changed().unwrap());
        relay.learn(8, &[row(1, 6)]);
        assert!(cursor.has_changed().unwrap());
        assert_eq!(*cursor.borrow_and_update(), 2);
    }
}
