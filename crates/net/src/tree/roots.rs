//! Which roots live.
//!
//! A root counts its signs of life, and everybody passes the count on. A count that stands still is an echo: of a root that is gone,
//! or of one that cannot be reached any more.

use std::collections::BTreeMap;

use tombolo_crdt::ReplicaId;

use super::TreePolicy;
use crate::Moment;

/// The highest count of each root, and when it was news.
#[derive(Debug, Default)]
pub(crate) struct Roots(BTreeMap<ReplicaId, (u64, Moment)>);

impl Roots {
    pub(crate) fn note(&mut self, now: Moment, root: ReplicaId, epoch: u64, policy: &TreePolicy) {
        self.0.retain(|_, (_, at)| now.since(*at) < policy.forget_ms);
        let known = self.0.entry(root).or_insert((epoch, now));
        if epoch > known.0 {
            *known = (epoch, now);
        }
    }

    pub(crate) fn lives(&self, now: Moment, root: ReplicaId, policy: &TreePolicy) -> bool {
        self.0.get(&root).is_some_and(|(_, at)| now.since(*at) < policy.root_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_lives_for_as_long_as_it_counts() {
        let (policy, root) = (TreePolicy::default(), ReplicaId::new(1).unwrap());
        let mut roots = Roots::default();
        assert!(!roots.lives(Moment(0), root, &policy));
        roots.note(Moment(0), root, 7, &policy);
        roots.note(Moment(4_000), root, 8, &policy);
        assert!(roots.lives(Moment(8_999), root, &policy));
        roots.note(Moment(8_000), root, 8, &policy);
        assert!(!roots.lives(Moment(9_000), root, &policy), "an echo is no sign");
        roots.note(Moment(9_000), root, 9, &policy);
        assert!(roots.lives(Moment(9_000), root, &policy));
    }

    #[test]
    fn a_root_that_counts_from_the_beginning_again_is_believed_after_a_while() {
        let (policy, root) = (TreePolicy::default(), ReplicaId::new(1).unwrap());
        let mut roots = Roots::default();
        roots.note(Moment(0), root, u64::MAX, &policy);
        roots.note(Moment(6_000), root, 1, &policy);
        assert!(!roots.lives(Moment(6_000), root, &policy));
        roots.note(Moment(13_000), root, 2, &policy);
        assert!(roots.lives(Moment(13_000), root, &policy));
    }
}
