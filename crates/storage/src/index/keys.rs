//! The keys there are, with the entry of each: found by hash, walked in order.
//!
//! Nearly everything the store does names one key. A search of an ordered map is a cache miss for every few comparisons,
//! and was a third of what a put cost; a hash finds the entry with two. The order is kept beside it, for ranges.
//!
//! The table has the keys beside the places of their entries, so that a processor fetches an entry while it still compares the key.
//! Entries live in chunks that are never moved: growing copies places, not entries. The place of an entry that has gone is
//! given to the next new key.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::KeyEntry;

/// Keys and their entries.
#[derive(Default)]
pub(crate) struct Keys {
    order: BTreeMap<Arc<[u8]>, Place>,
    points: HashTable<Point>,
    chunks: Vec<Vec<KeyEntry>>,
    /// Places whose keys have gone.
    free: Vec<Place>,
    /// Keyed at random: who chooses keys must not choose where they collide.
    seed: u64,
}

/// Where an entry lives.
#[derive(Clone, Copy)]
struct Place(u32);

/// A key as the table has it. Keeping the hash spares looking at keys when the table grows.
struct Point {
    hash: u32,
    place: Place,
    key: Arc<[u8]>,
}

const CHUNK_BITS: u32 = 9;
const CHUNK_LEN: usize = 1 << CHUNK_BITS;

impl Keys {
    /// No keys, and later ones hashed under `seed`.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Copies up to `count` keys above `after`, which are not here. Returns the last one, if there may be more.
    pub(crate) fn copy(&mut self, from: &Self, after: Option<&[u8]>, count: usize) -> Option<Arc<[u8]>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut copied, mut last) = (0, None);
        for (key, place) in from.order.range::<[u8], _>((start, Bound::Unbounded)).take(count) {
            let place_here = self.add(self.hash(key), Arc::clone(key));
            *self.known_mut(place_here) = from.known(*place).clone();
            (copied, last) = (copied + 1, Some(key));
        }
        last.filter(|_| copied == count).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.get_key_value(key).map(|(_, entry)| entry)
    }

    /// An entry, with the key as it is kept here.
    pub(crate) fn get_key_value(&self, key: &[u8]) -> Option<(&[u8], &KeyEntry)> {
        let point = self.find(self.hash(key), key)?;
        Some((&point.key, self.known(point.place)))
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut KeyEntry> {
        let place = self.find(self.hash(key), key)?.place;
        Some(self.known_mut(place))
    }

    /// The entry of a key, which is made when it is not there.
    pub(crate) fn entry(&mut self, key: &[u8]) -> &mut KeyEntry {
        let hash = self.hash(key);
        let found = self.find(hash, key).map(|point| point.place);
        let place = found.unwrap_or_else(|| self.add(hash, key.into()));
        self.known_mut(place)
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        let Ok(found) = self.points.find_entry(spread(hash), |point| point.is(hash, key)) else { return };
        let (Point { place, .. }, _) = found.remove();
        self.order.remove(key);
        *self.known_mut(place) = KeyEntry::default();
        self.free.push(place);
    }

    /// The keys of a range that is not empty, ascending.
    pub(crate) fn range<'a>(
        &'a self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl Iterator<Item = (&'a [u8], &'a KeyEntry)> + use<'a> {
        self.order.range::<[u8], _>(bounds).map(|(key, place)| (&**key, self.known(*place)))
    }

    fn hash(&self, key: &[u8]) -> u32 {
        xxh3_64_with_seed(key, self.seed) as u32
    }

    fn find(&self, hash: u32, key: &[u8]) -> Option<&Point> {
        self.points.find(spread(hash), |point| point.is(hash, key))
    }

    fn add(&mut self, hash: u32, key: Arc<[u8]>) -> Place {
        let place = self.free.pop().unwrap_or_else(|| self.new_place());
        self.order.insert(Arc::clone(&key), place);
        self.points.insert_unique(spread(hash), Point { hash, place, key }, |point| spread(point.hash));
        place
    }

    /// A place after all the others.
    fn new_place(&mut self) -> Place {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_LEN) {
            self.chunks.push(Vec::with_capacity(CHUNK_LEN));
        }
        let full = (self.chunks.len() - 1) * CHUNK_LEN;
        let chunk = self.chunks.last_mut().expect("a chunk with room was just made sure of");
        chunk.push(KeyEntry::default());
        Place(u32::try_from(full + chunk.len() - 1).expect("no machine has the memory for so many keys"))
    }

    fn known(&self, place: Place) -> &KeyEntry {
        &self.chunks[place.chunk()][place.within()]
    }

    fn known_mut(&mut self, place: Place) -> &mut KeyEntry {
        &mut self.chunks[place.chunk()][place.within()]
    }
}

impl Point {
    fn is(&self, hash: u32, key: &[u8]) -> bool {
        self.hash == hash && *self.key == *key
    }
}

impl Place {
    fn chunk(self) -> usize {
        (self.0 >> CHUNK_BITS) as usize
    }

    fn within(self) -> usize {
        self.0 as usize % CHUNK_LEN
    }
}

/// Fills the upper bits, which the table looks at first.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(keys: &Keys) -> Vec<Vec<u8>> {
        keys.range((Bound::Unbounded, Bound::Unbounded)).map(|(key, _)| key.to_vec()).collect()
    }

    #[test]
    fn what_is_found_by_hash_is_what_is_walked_in_order() {
        let mut keys = Keys::default();
        let numbers = (0..3 * CHUNK_LEN as u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes());
        let mut expected: Vec<_> = numbers.map(|key| key.to_vec()).collect();
        for key in &expected {
            keys.entry(key);
            keys.entry(key);
        }
        for gone in expected.split_off(CHUNK_LEN) {
            keys.remove(&gone);
            assert!(keys.get(&gone).is_none());
        }
        keys.entry(b"taken up again");
        expected.push(b"taken up again".to_vec());
        expected.sort();
        assert_eq!(named(&keys), expected);
        assert_eq!(keys.len(), expected.len());
        assert!(expected.iter().all(|key| keys.get(key).is_some()));
        assert_eq!(keys.chunks.len(), 3, "a place that was left is used again");
    }
}
