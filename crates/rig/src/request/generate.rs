//! Random requests over a key space so small that everything collides.

use bytes::Bytes;

use super::{Request, auth, auth::generate::Dialect, kv, lease, txn, whole, world::World};
use crate::random::Random;

/// Makes requests from a seed and what is known of the servers.
#[derive(Debug)]
pub struct Generator {
    /// Where choices come from.
    pub random: Random,
    /// What the servers are known to hold.
    pub world: World,
    /// Which requests there are.
    pub repertoire: Repertoire,
    /// How many values were made, to make the next one differ.
    values: u64,
}

/// Which requests a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repertoire {
    /// Keys and leases.
    Common,
    /// Calls of `Auth`, and of those who log in.
    Users(Dialect),
    /// Every call that has one answer, by everybody.
    Whole(Dialect),
}

const KEYS: [&[u8]; 12] =
    [b"a", b"a/", b"a/1", b"a/2", b"a/2/x", b"b", b"ba", b"c\xff", b"c\xff\x01", b"d", b"m", b"\xff"];

/// Ends of ranges that mean something special, or nothing.
const ODD_ENDS: [&[u8]; 6] = [b"\0", b"a", b"a0", b"\xff\xff", b"a\0", b"\0\0"];

/// Revisions that are no revision: below, above, and the constants. What lies from 2^38 up to the largest number is left
/// out, for there Tombolo's numbers name other replicas and etcd's do not.
const ODD_REVISIONS: [i64; 7] = [-1, -2, i64::MIN, i64::MAX, (1 << 38) - 1, 1, 0];

impl Generator {
    /// The requests of one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), world: World::default(), repertoire: Repertoire::Common, values: 0 }
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        match self.repertoire {
            Repertoire::Common => self.common(),
            Repertoire::Users(dialect) => auth::generate::request(&mut self.random, dialect, &self.world),
            Repertoire::Whole(dialect) => whole::request(self, dialect),
        }
    }

    /// A request of keys and leases.
    pub(super) fn common(&mut self) -> Request {
        match self.random.below(100) {
            0..24 => Request::Range(kv::range(self)),
            24..46 => Request::Put(kv::put(self)),
            46..56 => Request::Delete(kv::delete(self)),
            56..84 => Request::Txn(txn::txn(self)),
            84..88 => Request::Compact(kv::compact(self)),
            _ => lease::request(self),
        }
    }

    /// A request that is likely to write.
    pub fn write(&mut self) -> Request {
        match self.random.below(10) {
            0..5 => Request::Put(kv::put(self)),
            5..7 => Request::Delete(kv::delete(self)),
            _ => Request::Txn(txn::txn(self)),
        }
    }

    pub(crate) fn key(&mut self) -> Bytes {
        if self.random.chance(2) {
            return Bytes::new();
        }
        Bytes::from_static(self.random.pick(&KEYS))
    }

    /// A key and the end of its range: a single key, a prefix, two keys in either order, or something odd.
    pub(crate) fn interval(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let end = match self.random.below(10) {
            0..4 => Bytes::new(),
            4..6 => prefix_end(&key),
            6..8 => Bytes::from_static(self.random.pick(&KEYS)),
            8 => Bytes::from_static(b"\0"),
            _ => Bytes::from_static(self.random.pick(&ODD_ENDS)),
        };
        let key = if end.as_ref() == b"\0" && self.random.chance(30) { Bytes::from_static(b"\0") } else { key };
        (key, end)
    }

    /// Values repeat often enough for compares to succeed and for sorts to have ties.
    pub(crate) fn value(&mut self) -> Bytes {
        self.values += 1;
        match self.random.below(20) {
            0 => Bytes::new(),
            1 => Bytes::from(vec![b'x'; self.random.below(5_000)]),
            2..8 => Bytes::from(format!("v{}", self.random.below(4))),
            _ => Bytes::from(format!("value-{}", self.values)),
        }
    }

    /// A revision to read at: mostly none, otherwise around the edges of history.
    pub(crate) fn revision(&mut self) -> i64 {
        let World { revision, compacted, .. } = self.world;
        match self.random.below(20) {
            0..10 => 0,
            10..15 => revision - self.random.between(0, 12),
            15..17 => compacted + self.random.between(-2, 2),
            17 => revision + self.random.between(0, 2),
            18 => self.random.between(1, revision),
            _ => self.random.pick(&ODD_REVISIONS),
        }
    }

    /// A revision to compare or filter with: mostly one that some key has.
    pub(crate) fn nearby_revision(&mut self) -> i64 {
        match self.random.below(10) {
            0..2 => 0,
            2..9 => self.world.revision - self.random.between(0, 20),
            _ => self.random.pick(&ODD_REVISIONS),
        }
    }

    pub(crate) fn odd_number(&mut self) -> i64 {
        self.random.pick(&[0, 1, -1, 2, i64::MIN, i64::MAX, 1_000_000])
    }
}

/// The first key beyond those that begin with `prefix`.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::{Generator, prefix_end};

    #[test]
    fn a_seed_makes_the_same_requests_again() {
        let script = |seed| {
            let mut generator = Generator::new(seed);
            (0..200).map(|_| format!("{:?}", generator.request())).collect::<Vec<_>>()
        };
        assert_eq!(script(3), script(3));
        assert_ne!(script(3), script(4));
    }

    #[test]
    fn the_end_of_a_prefix_carries() {
        assert_eq!(prefix_end(b"a").as_ref(), b"b");
        assert_eq!(prefix_end(b"c\xff").as_ref(), b"d");
        assert_eq!(prefix_end(b"\xff").as_ref(), b"\0");
    }
}
