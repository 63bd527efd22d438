//! What every member is known to have applied.
//!
//! Each replica keeps a row for every other member and passes on what it learns, so that the row of a member that it cannot
//! reach arrives too. Rows only grow. Not a membership: who counts is an argument.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{Dot, ReplicaId, VersionVector};

/// What a member had applied at some moment of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StabilityRow {
    /// The member.
    pub member: ReplicaId,
    /// Everything it had applied.
    pub frontier: VersionVector,
}

/// The rows of all members but this replica itself.
#[derive(Clone, Debug, Default)]
pub struct Stability {
    rows: BTreeMap<ReplicaId, Row>,
    /// Entries of the newest rows, all together.
    entries: usize,
}

/// What is known of one member, each at least as new as the one before.
#[derive(Clone, Debug, Default)]
struct Row {
    /// The newest that our own frontier has covered.
    counted: VersionVector,
    /// The next to count. It stays until it is covered: were it replaced by every newer one, a member that goes on writing
    /// would never count.
    next: VersionVector,
    /// The newest heard of.
    newest: VersionVector,
}

/// The most members that rows are kept for: what a stranger among them can make us hold.
const MEMBERS_MAX: usize = 1 << 14;
/// The most entries that the newest rows have together: a mesh of five hundred, each of which has heard of all. A row beyond that is not
/// learned, so that nothing counts as stable too early.
const ENTRIES_MAX: usize = 1 << 18;

impl Stability {
    /// Nothing is known of anybody.
    pub const fn new() -> Self {
        Self { rows: BTreeMap::new(), entries: 0 }
    }

    /// Takes note of a row. Returns whether it was news, and so is to be passed on. O(entries).
    pub fn learn(&mut self, row: &StabilityRow) -> bool {
        if self.rows.len() >= MEMBERS_MAX && !self.rows.contains_key(&row.member) {
            return false;
        }
        let newest = self.rows.get(&row.member).map(|row| &row.newest);
        if newest.is_some_and(|newest| newest.includes(&row.frontier)) {
            return false;
        }
        let is_new = |dot: &Dot| newest.is_none_or(|newest| newest.seq(dot.replica) == 0);
        let more = row.frontier.iter().filter(is_new).count();
        if self.entries + more > ENTRIES_MAX {
            return false;
        }
        self.entries += more;
        let known = self.rows.entry(row.member).or_default();
        known.newest.join(&row.frontier);
        if known.next == known.counted {
            known.next = known.newest.clone();
        }
        true
    }

    /// What all of `members` are known to have applied: the minimum over their rows and `own_frontier`. Without a row of a
    /// member, nothing. This replica itself need not be among them.
    ///
    /// A row counts once `own_frontier` covers it: until then records may be under way to us whose author had not yet seen
    /// what the row lists.
    pub fn stable(
        &mut self,
        members: &BTreeSet<ReplicaId>,
        own: ReplicaId,
        own_frontier: &VersionVector,
    ) -> VersionVector {
        let mut stable = own_frontier.clone();
        for member in members.iter().filter(|member| **member != own) {
            let counted = match self.rows.get_mut(member) {
                Some(row) => row.count(own_frontier),
                None => return VersionVector::new(),
            };
            stable = minimum(&stable, counted);
        }
        stable
    }

    /// Forgets the rows of all but `members`.
    pub fn retain(&mut self, members: &BTreeSet<ReplicaId>) {
        self.rows.retain(|member, _| members.contains(member));
        self.entries = self.rows.values().map(|row| row.newest.len()).sum();
    }

    /// The newest rows heard of, for a peer that has just connected.
    pub fn rows(&self) -> impl Iterator<Item = StabilityRow> + '_ {
        self.rows.iter().map(|(&member, row)| StabilityRow { member, frontier: row.newest.clone() })
    }
}

impl Row {
    /// Moves on as far as `own_frontier` allows, and returns what counts.
    fn count(&mut self, own_frontier: &VersionVector) -> &VersionVector {
        // Twice: when the one that waited is covered, the newest may be, too.
        for _ in 0..2 {
            if own_frontier.includes(&self.next) {
                self.counted = std::mem::replace(&mut self.next, self.newest.clone());
            }
        }
        &self.counted
    }
}

fn minimum(left: &VersionVector, right: &VersionVector) -> VersionVector {
    let both = left.iter().map(|dot| Dot::new(dot.replica, dot.seq.min(right.seq(dot.replica))));
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 1;
    const B: u64 = 2;
    const C: u64 = 3;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn vector(dots: &[(u64, u64)]) -> VersionVector {
        dots.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
    }

    fn row(member: u64, dots: &[(u64, u64)]) -> StabilityRow {
        StabilityRow { member: id(member), frontier: vector(dots) }
    }

    fn members(bits: &[u64]) -> BTreeSet<ReplicaId> {
        bits.iter().map(|&bits| id(bits)).collect()
    }

    #[test]
    fn stable_is_what_everybody_has() {
        let mut stability = Stability::new();
        assert!(stability.learn(&row(B, &[(A, 3), (B, 5)])));
        assert!(stability.learn(&row(C, &[(A, 4), (B, 2)])));
        let own = vector(&[(A, 9), (B, 5), (C, 1)]);
        assert_eq!(stability.stable(&members(&[A, B, C]), id(A), &own), vector(&[(A, 3), (B, 2)]));
        assert_eq!(stability.stable(&members(&[A, B]), id(A), &own), vector(&[(A, 3), (B, 5)]));
        assert_eq!(stability.stable(&members(&[A]), id(A), &own), own);
    }

    #[test]
    fn nothing_is_stable_while_a_member_has_not_been_heard_of() {
        let mut stability = Stability::new();
        stability.learn(&row(B, &[(A, 3)]));
        assert!(stability.stable(&members(&[A, B, C]), id(A), &vector(&[(A, 3)])).is_empty());
    }

    #[test]
    fn a_row_counts_only_once_our_own_frontier_covers_it() {
        let mut stability = Stability::new();
        stability.learn(&row(B, &[(A, 3), (B, 1)]));
        assert!(
            stability.stable(&members(&[A, B]), id(A), &vector(&[(A, 3)])).is_empty(),
            "B's record 1 may be unlike 3"
        );
        let own = vector(&[(A, 3), (B, 1)]);
        assert_eq!(stability.stable(&members(&[A, B]), id(A), &own), own);
    }

    #[test]
    fn a_member_that_never_stops_writing_counts_all_the_same() {
        let mut stability = Stability::new();
        let both = members(&[A, B]);
        for seq in 2..100 {
            stability.learn(&row(B, &[(A, seq), (B, seq)]));
            // Ours is always one behind what is heard.
            let stable = stability.stable(&both, id(A), &vector(&[(A, 100), (B, seq - 1)]));
            assert!(seq < 4 || stable.seq(id(A)) >= seq - 2, "{stable:?} at {seq}");
        }
    }

    #[test]
    fn old_rows_are_no_news_and_take_nothing_back() {
        let mut stability = Stability::new();
        assert!(stability.learn(&row(B, &[(A, 3)])));
        assert!(!stability.learn(&row(B, &[(A, 2)])));
        assert!(!stability.learn(&row(B, &[(A, 3)])));
        assert_eq!(stability.rows().collect::<Vec<_>>(), [row(B, &[(A, 3)])]);
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut stability = Stability::new();
        stability.learn(&row(B, &[(A, 3)]));
        stability.retain(&members(&[A]));
        assert_eq!(stability.rows().count(), 0);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let mut stability = Stability::new();
        for member in 1..=MEMBERS_MAX as u64 + 10 {
            stability.learn(&row(member, &[(A, 1)]));
        }
        assert_eq!(stability.rows().count(), MEMBERS_MAX);
        assert!(stability.learn(&row(B, &[(A, 2)])), "who is known may grow");
    }

    #[test]
    fn long_rows_do_not_fill_the_memory_either() {
        let mut stability = Stability::new();
        let long: VersionVector = (1..=1 << 14).map(|author| Dot::new(id(author), 1)).collect();
        let learned = |stability: &mut Stability, member| {
            stability.learn(&StabilityRow { member: id(member), frontier: long.clone() })
        };
        let count = (1..=20).filter(|member| learned(&mut stability, *member)).count();
        assert_eq!(count, ENTRIES_MAX >> 14);
        assert!(!learned(&mut stability, 1), "it is no news");
        let mut higher = long.clone();
        higher.raise(id(1), 9);
        assert!(stability.learn(&StabilityRow { member: id(1), frontier: higher }), "what is known may rise");
        stability.retain(&members(&[1]));
        assert!(learned(&mut stability, 2), "there is room again");
    }
}
