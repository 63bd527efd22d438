//! Rows of one kind in runs, past the places where the disk cannot be read.
//!
//! A run of rows ends for an engine where a block of it is damaged, even for rows that were written anew since. Here it goes on behind
//! that: each row of such a place is asked for by its number, and those that are lost are named.

use bytes::Bytes;

use crate::{
    ReadError,
    engine::{EngineError, Rows, Snapshot},
    row::Kind,
};

/// The rows of a kind in a snapshot, ascending.
pub(crate) struct NumberedRows<'a> {
    snapshot: &'a dyn Snapshot,
    kind: Kind,
    run: Option<Rows<'a>>,
    next: u64,
    last: u64,
}

/// A row that there is; `None` for its content when it cannot be read. Numbers of which the engine knows no row are left out, but where it
/// cannot say so.
pub(crate) type NumberedRow = (u64, Option<Bytes>);

impl<'a> NumberedRows<'a> {
    /// The rows from commit `first` up to commit `last`.
    pub(crate) fn commits(snapshot: &'a dyn Snapshot, first: u64, last: u64) -> Self {
        Self::of(Kind::Commit, snapshot, first, last)
    }

    /// The rows of a kind from number `first` up to number `last`.
    pub(crate) fn of(kind: Kind, snapshot: &'a dyn Snapshot, first: u64, last: u64) -> Self {
        Self { snapshot, kind, run: None, next: first, last }
    }

    /// The same, as whoever needs each of them reads it.
    pub(crate) fn readable(self) -> impl Iterator<Item = Result<(u64, Bytes), ReadError>> + 'a {
        self.map(|row| match row? {
            (number, Some(row)) => Ok((number, row)),
            (commit, None) => Err(ReadError::Rot { commit }),
        })
    }

    /// The row at which a run ended.
    fn ask_apart(&mut self) -> Result<Option<NumberedRow>, EngineError> {
        let number = self.next;
        self.next = number.saturating_add(1);
        match self.snapshot.get(&self.kind.key(number)) {
            Ok(row) => Ok(row.map(|row| (number, Some(row)))),
            Err(error) if error.is_damage() => Ok(Some((number, None))),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for NumberedRows<'_> {
    type Item = Result<NumberedRow, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next > self.last {
                return None;
            }
            let (snapshot, kind, from, last) = (self.snapshot, self.kind, self.next, self.last);
            let run = self.run.get_or_insert_with(|| {
                let end = last.checked_add(1).map_or_else(|| kind.end(), |end| kind.key(end));
                snapshot.scan(&kind.key(from), &end)
            });
            match run.next()? {
                Ok((key, row)) => {
                    let Some(number) = kind.number(&key) else { continue };
                    self.next = number.saturating_add(1);
                    return Some(Ok((number, Some(row))));
                }
                Err(error) if error.is_damage() => {
                    self.run = None;
                    match self.ask_apart() {
                        Ok(None) => {}
                        found => return found.transpose(),
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Change, Engine, Persist, memory::MemoryEngine};
    use crate::row::commit;

    fn put(engine: &MemoryEngine, number: u64) {
        engine.write(vec![Change::Put(commit::key(number), Bytes::from_static(b"row"))], Persist::Disk).unwrap();
    }

    fn read(engine: &MemoryEngine) -> Vec<(u64, bool)> {
        let snapshot = engine.snapshot();
        NumberedRows::commits(&*snapshot, 1, 20)
            .map(|row| row.map(|(number, row)| (number, row.is_some())).unwrap())
            .collect()
    }

    #[test]
    fn a_run_goes_on_behind_a_place_that_cannot_be_read_and_finds_what_was_written_there_since() {
        let engine = MemoryEngine::new();
        (1..=8).for_each(|number| put(&engine, number));
        assert_eq!(read(&engine), (1..=8).map(|number| (number, true)).collect::<Vec<_>>());
        engine.spoil(&commit::key(3), &commit::key(6));
        put(&engine, 4);
        let found: Vec<_> = (1..=8).map(|number| (number, !matches!(number, 3 | 5))).collect();
        assert_eq!(read(&engine), found);
    }
}
