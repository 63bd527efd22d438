//! Pairs that come in the order of their keys and are wanted in the order of their revisions: a file of its own between the two, and where each lies in it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
};

use prost::Message;
use tombolo_proto::mvccpb::KeyValue;

/// Takes pairs in any order.
#[derive(Debug)]
pub(super) struct Spool {
    file: BufWriter<File>,
    written: u64,
    places: Vec<Place>,
}

/// A pair's revision, and where it lies: so they sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    revision: i64,
    at: u64,
    len: u32,
}

/// Gives pairs back, the oldest first.
#[derive(Debug)]
pub(super) struct Sorted {
    file: File,
    places: std::iter::Peekable<std::vec::IntoIter<Place>>,
}

impl Spool {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?), written: 0, places: Vec::new() })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn push(&mut self, pair: &KeyValue) -> io::Result<()> {
        let bytes = pair.encode_to_vec();
        self.file.write_all(&bytes)?;
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.places.push(Place { revision: pair.mod_revision, at: self.written, len });
        self.written += u64::from(len);
        Ok(())
    }

    pub(super) fn sorted(self) -> io::Result<Sorted> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut places = self.places;
        places.sort_unstable();
        Ok(Sorted { file, places: places.into_iter().peekable() })
    }
}

impl Sorted {
    /// The pairs of the next revision.
    pub(super) fn next(&mut self) -> io::Result<Option<(i64, Vec<KeyValue>)>> {
        let Some(first) = self.places.next() else { return Ok(None) };
        let mut pairs = vec![self.read(first)?];
        while let Some(place) = self.places.next_if(|place| place.revision == first.revision) {
            pairs.push(self.read(place)?);
        }
        Ok(Some((first.revision, pairs)))
    }

    fn read(&self, place: Place) -> io::Result<KeyValue> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.at)?;
        KeyValue::decode(bytes.as_slice()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_by_revision_and_whole() {
        let pair = |key: &'static str, mod_revision| KeyValue { key: key.into(), mod_revision, ..KeyValue::default() };
        let mut spool = Spool::new().expect("a temporary file");
        for (key, revision) in [("a", 7), ("b", 3), ("c", 7), ("d", 5)] {
            spool.push(&pair(key, revision)).expect("it is written");
        }
        assert_eq!(spool.len(), 4);
        let mut sorted = spool.sorted().expect("it is written out");
        let mut told = Vec::new();
        while let Some((revision, pairs)) = sorted.next().expect("it is read") {
            told.push((revision, pairs.into_iter().map(|pair| pair.key).collect::<Vec<_>>()));
        }
        let keys = |keys: &[&'static str]| keys.iter().map(|key| bytes::Bytes::from(*key)).collect::<Vec<_>>();
        assert_eq!(told, [(3, keys(&["b"])), (5, keys(&["d"])), (7, keys(&["a", "c"]))]);
    }
}
