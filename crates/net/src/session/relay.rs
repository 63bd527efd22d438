//! Stability rows on their way to the peer: the newest of each member, a few with every heartbeat.

use std::collections::BTreeMap;

use tombolo_crdt::{ReplicaId, VersionVector};

use crate::StabilityRow;

/// Rows to be passed on.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    rows: BTreeMap<ReplicaId, VersionVector>,
    /// The member whose row was taken last: the turn goes round, so that nobody's row waits for ever behind busier ones.
    last: Option<ReplicaId>,
}

/// Bytes of an entry of a row, at most: a replica and a seq.
const ENTRY_BYTES_MAX: usize = ReplicaId::LEN + 9;

impl Relay {
    /// Takes rows to be passed on.
    pub(crate) fn add(&mut self, rows: Vec<StabilityRow>) {
        for row in rows {
            // An empty row says nothing.
            if !row.frontier.is_empty() {
                self.rows.entry(row.member).or_default().join(&row.frontier);
            }
        }
    }

    /// The peer knows this much.
    pub(crate) fn drop_known(&mut self, row: &StabilityRow) {
        if self.rows.get(&row.member).is_some_and(|waiting| row.frontier.includes(waiting)) {
            self.rows.remove(&row.member);
        }
    }

    /// The next rows, ascending by member: about `bytes` of them, at least one if there is any.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<StabilityRow> {
        let mut taken = BTreeMap::new();
        let mut size = 0;
        while let Some(member) = self.next_member() {
            let Some(frontier) = self.rows.get(&member) else { break };
            size += ReplicaId::LEN + frontier.len() * ENTRY_BYTES_MAX;
            if size > bytes && !taken.is_empty() {
                break;
            }
            taken.extend(self.rows.remove_entry(&member));
            self.last = Some(member);
        }
        taken.into_iter().map(|(member, frontier)| StabilityRow { member, frontier }).collect()
    }

    fn next_member(&self) -> Option<ReplicaId> {
        let after_last = self.rows.keys().find(|member| Some(**member) > self.last);
        after_last.or_else(|| self.rows.keys().next()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_crdt::Dot;

    fn row(member: u64, seq: u64) -> StabilityRow {
        let member = ReplicaId::new(member).unwrap();
        StabilityRow { member, frontier: [Dot::new(member, seq)].into_iter().collect() }
    }

    #[test]
    fn only_the_newest_row_of_a_member_goes_out() {
        let mut relay = Relay::default();
        relay.add(vec![row(1, 1), row(2, 1)]);
        relay.add(vec![row(1, 2)]);
        assert_eq!(relay.take(4096), [row(1, 2), row(2, 1)]);
        assert_eq!(relay.take(4096), []);
    }

    #[test]
    fn what_the_peer_said_itself_does_not_go_back_to_it() {
        let mut relay = Relay::default();
        relay.add(vec![row(1, 2), row(2, 2)]);
        relay.drop_known(&row(1, 2));
        relay.drop_known(&row(2, 1));
        assert_eq!(relay.take(4096), [row(2, 2)]);
    }

    #[test]
    fn everybody_gets_a_turn_though_some_have_news_all_the_time() {
        let mut relay = Relay::default();
        relay.add(vec![row(1, 1), row(2, 1), row(3, 1)]);
        let mut turns = Vec::new();
        for seq in 2..8 {
            let taken = relay.take(1);
            assert_eq!(taken.len(), 1, "a row goes even when it is larger than it should be");
            turns.push(taken[0].member.get());
            relay.add(vec![row(1, seq)]);
        }
        assert_eq!(turns, [1, 2, 3, 1, 1, 1]);
    }
}
