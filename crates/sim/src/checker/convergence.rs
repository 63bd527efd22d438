//! Sites that have applied the same records show the same, byte for byte; when the troubles are over, all have applied the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, ReplicaId, VersionVector};

use super::{Claim, Violation};

/// The digests seen at each frontier, whoever stood there.
#[derive(Default)]
pub struct Digests {
    seen: BTreeMap<Vec<(u64, u64)>, (usize, u128)>,
}

impl Digests {
    /// A site stands at a frontier with a digest.
    ///
    /// # Errors
    ///
    /// Another site, or this one earlier, had another digest there.
    pub fn note(&mut self, site: usize, frontier: &VersionVector, digest: u128) -> Result<(), Violation> {
        let key = frontier.iter().map(|dot| (dot.replica.get(), dot.seq)).collect();
        let (first, known) = *self.seen.entry(key).or_insert((site, digest));
        if known == digest {
            return Ok(());
        }
        let text = format!("the digest at {frontier:?} is {digest:032x}, and was {known:032x} at s{first}");
        Err(Violation::at(site, Claim::Convergence, text))
    }
}

impl Digests {
    /// Every frontier that was seen, in some order that only depends on them.
    pub fn frontiers(&self) -> impl Iterator<Item = VersionVector> + '_ {
        let dot = |(replica, seq): &(u64, u64)| Some(Dot::new(ReplicaId::new(*replica)?, *seq));
        self.seen.keys().map(move |frontier| frontier.iter().filter_map(dot).collect())
    }
}

/// What a site shows of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What clients of etcd's API read; revisions and versions are each site's own.
    pub winner: Option<(Bytes, i64)>,
    /// All siblings with their values, ascending.
    pub siblings: Vec<(Element, Bytes)>,
}

/// Everything that a site shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it has applied.
    pub frontier: VersionVector,
    /// Its digest.
    pub digest: u128,
    /// Its keys.
    pub keys: BTreeMap<Bytes, Shown>,
    /// Its system data: every value of every key, the winner first.
    pub system: BTreeMap<Bytes, Vec<Bytes>>,
}

/// Holds all sites' contents against the first one's.
///
/// # Errors
///
/// The first difference.
pub fn check_equal(contents: &[Content]) -> Result<(), Violation> {
    let Some((first, others)) = contents.split_first() else { return Ok(()) };
    for (site, other) in (1..).zip(others) {
        let differs = |text: String| Err(Violation::at(site, Claim::Convergence, text));
        if other.frontier != first.frontier {
            return differs(format!("stands at {:?}, s0 at {:?}", other.frontier, first.frontier));
        }
        for key in first.keys.keys().chain(other.keys.keys()) {
            let (left, right) = (first.keys.get(key), other.keys.get(key));
            if left != right {
                return differs(format!("shows {key:?} as {right:?}, s0 as {left:?}"));
            }
        }
        if other.system != first.system {
            return differs(format!("has the system data {:?}, s0 {:?}", other.system, first.system));
        }
        if other.digest != first.digest {
            return differs(format!("has digest {:032x}, s0 {:032x}", other.digest, first.digest));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> VersionVector {
        [Dot::new(ReplicaId::new(1).expect("not 0"), seq)].into_iter().collect()
    }

    fn content(value: &'static str) -> Content {
        let element = at(1).iter().next().expect("it names a replica").element(0);
        let shown = Shown { winner: Some((value.into(), 0)), siblings: vec![(element, value.into())] };
        Content { frontier: at(1), digest: 7, keys: [("k".into(), shown)].into(), system: BTreeMap::new() }
    }

    #[test]
    fn equal_frontiers_ask_for_equal_digests_at_any_time() {
        let mut digests = Digests::default();
        digests.note(0, &at(1), 7).expect("it is the first");
        digests.note(1, &at(1), 7).expect("it is the same");
        digests.note(1, &at(2), 8).expect("that is another frontier");
        assert_eq!(digests.note(2, &at(1), 8).unwrap_err().site, Some(2));
    }

    #[test]
    fn every_difference_is_found() {
        assert_eq!(check_equal(&[content("a"), content("a"), content("a")]), Ok(()));
        let spoiled: [fn(&mut Content); 4] = [
            |content| content.frontier = at(2),
            |content| content.digest += 1,
            |content| content.keys.clear(),
            |content| drop(content.system.insert("m".into(), vec![])),
        ];
        for spoil in spoiled {
            let mut other = content("a");
            spoil(&mut other);
            assert!(check_equal(&[content("a"), other]).is_err());
        }
        assert!(check_equal(&[content("a"), content("b")]).is_err());
    }
}
