//! Version vectors (Parker et al., *Detection of Mutual Inconsistency in Distributed Systems*, 1983): for each replica the
//! highest seq up to which everything is known.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use crate::{
    DecodeError, Dot, Element, ReplicaId,
    codec::{Reader, put_varint},
};

/// An entry takes at least a replica and one byte of seq.
const ENTRY_BYTES_MIN: usize = 9;

/// The highest dense seq of each replica. A replica that is not named stands at 0.
///
/// Vectors are ordered partially, by inclusion. Used as a context, a vector covers a dot when the dot's seq is not above
/// its replica's entry: seqs are dense, so that there are no holes to remember.
///
/// Joining is commutative, associative and idempotent. Looking up and raising an entry is O(log replicas).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct VersionVector {
    entries: BTreeMap<ReplicaId, u64>,
}

impl VersionVector {
    /// The vector that covers nothing.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// The highest seq of `replica`, 0 when it is not named.
    pub fn seq(&self, replica: ReplicaId) -> u64 {
        self.entries.get(&replica).copied().unwrap_or(0)
    }

    /// Whether the record of this name is known.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.seq <= self.seq(dot.replica)
    }

    /// Whether the element's record is known.
    pub fn covers_element(&self, element: Element) -> bool {
        self.covers(element.dot)
    }

    /// Whether everything in `other` is in this vector too. O(entries of `other`).
    pub fn includes(&self, other: &Self) -> bool {
        other.entries.iter().all(|(&replica, &seq)| seq <= self.seq(replica))
    }

    /// Raises one replica's entry; a lower seq changes nothing. Returns whether it rose.
    pub fn raise(&mut self, replica: ReplicaId, seq: u64) -> bool {
        // An entry that is there, as nearly every one is, is searched for once.
        match self.entries.get_mut(&replica) {
            Some(known) if seq <= *known => return false,
            Some(known) => *known = seq,
            None if seq == 0 => return false,
            None => drop(self.entries.insert(replica, seq)),
        }
        true
    }

    /// Raises every entry to at least that of `other`: the least vector that includes both. O(entries of `other`).
    pub fn join(&mut self, other: &Self) {
        for (&replica, &seq) in &other.entries {
            self.raise(replica, seq);
        }
    }

    /// What both cover: the greatest vector that both include. Of two that are closed under dependencies it is, too. O(entries).
    pub fn meet(&self, other: &Self) -> Self {
        let shared = self.iter().map(|dot| Dot { seq: dot.seq.min(other.seq(dot.replica)), ..dot });
        shared.filter(|dot| dot.seq > 0).collect()
    }

    /// The named replicas and their seqs, ascending by replica.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.entries.iter().map(|(&replica, &seq)| Dot { replica, seq })
    }

    /// How many replicas are named.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends `count ‖ { replica (8) ‖ seq }`, ascending by replica: the one form of a vector. O(entries).
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.entries.len() as u64);
        for (replica, seq) in &self.entries {
            out.extend_from_slice(&replica.get().to_be_bytes());
            put_varint(out, *seq);
        }
    }

    /// Reads what [`VersionVector::encode`] wrote. O(entries).
    ///
    /// # Errors
    ///
    /// The bytes are no vector in its one form: replicas strictly ascending, none of them at 0.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let what = "version vector";
        let count = reader.varint(what)?;
        // A false count is seen before anything is read for it.
        if count > (reader.remaining() / ENTRY_BYTES_MIN) as u64 {
            return Err(DecodeError::Truncated { what });
        }
        let mut last = None;
        let mut vector = Self::new();
        for _ in 0..count {
            let (replica, seq) = (reader.replica_id(what)?, reader.seq(what)?);
            if last >= Some(replica) {
                return Err(DecodeError::NotCanonical { what });
            }
            last = Some(replica);
            vector.entries.insert(replica, seq);
        }
        Ok(vector)
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        for dot in dots {
            vector.raise(dot.replica, dot.seq);
        }
        vector
    }
}

impl PartialOrd for VersionVector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn vector(dots: &[(u64, u64)]) -> VersionVector {
        dots.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
    }

    #[test]
    fn concurrent_vectors_are_not_ordered() {
        let left = vector(&[(1, 2)]);
        let right = vector(&[(2, 1)]);
        assert_eq!(left.partial_cmp(&right), None);
        let mut both = left.clone();
        both.join(&right);
        assert!(both > left && both > right);
    }

    #[test]
    fn an_entry_never_sinks() {
        let mut a = vector(&[(1, 5)]);
        assert!(!a.raise(id(1), 4));
        assert!(a.covers(Dot::new(id(1), 5)));
        assert!(!a.covers(Dot::new(id(1), 6)));
        assert!(!a.covers(Dot::new(id(9), 1)));
    }

    fn read(bytes: &[u8]) -> Result<VersionVector, DecodeError> {
        VersionVector::decode(&mut Reader::new(bytes.to_vec().into()))
    }

    fn encoded(entries: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![entries.len() as u8];
        for &(replica, seq) in entries {
            bytes.extend_from_slice(&replica.to_be_bytes());
            put_varint(&mut bytes, seq);
        }
        bytes
    }

    #[test]
    fn a_vector_has_one_form() {
        for entries in [&[][..], &[(1, 1)], &[(1, 300), (2, 1), (u64::MAX, Dot::SEQ_MAX)]] {
            let mut bytes = Vec::new();
            vector(entries).encode(&mut bytes);
            assert_eq!(bytes, encoded(entries));
            assert_eq!(read(&bytes), Ok(vector(entries)));
            (0..bytes.len()).for_each(|end| assert!(read(&bytes[..end]).is_err(), "cut at {end}"));
        }
        let fault = Err(DecodeError::NotCanonical { what: "version vector" });
        for entries in [&[(0, 1)][..], &[(1, 0)], &[(1, Dot::SEQ_MAX + 1)], &[(1, 1), (1, 2)], &[(2, 1), (1, 1)]] {
            assert_eq!(read(&encoded(entries)), fault, "{entries:?}");
        }
        assert_eq!(read(&[0x80, 0]), fault);
    }

    #[test]
    fn a_vector_ends_where_its_count_says() {
        let mut reader = Reader::new([encoded(&[(1, 1)]), vec![7]].concat().into());
        assert_eq!(VersionVector::decode(&mut reader), Ok(vector(&[(1, 1)])));
        assert_eq!(reader.remaining(), 1);
        let mut lie = Vec::new();
        put_varint(&mut lie, u64::MAX);
        assert_eq!(read(&lie), Err(DecodeError::Truncated { what: "version vector" }));
    }

    #[test]
    fn a_zero_entry_is_not_an_entry() {
        assert_eq!(vector(&[(1, 0)]), VersionVector::new());
    }
}
