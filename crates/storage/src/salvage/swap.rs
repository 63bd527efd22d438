//! A new engine in the place of one whose tables are damaged.
//!
//! ```text
//! engine.new/     all rows, on disk when the next step begins
//! engine/      →  engine.rotten/
//! engine.new/  →  engine/
//! engine.rotten/  removed
//! ```
//!
//! A crash leaves a folder in which one of the two is whole: where `engine/` is not there, the new one is.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;

use crate::{
    MendedRow, OpenError,
    engine::{Change, Engine, EngineError, Persist, Snapshot, fjall::FjallEngine},
    folder::io_error,
    row::{Kind, commit},
    rows::NumberedRows,
};

use super::SalvageError;

/// The names of the two beside an engine of this name.
fn fresh_of(engine: &str) -> String {
    format!("{engine}.new")
}

fn rotten_of(engine: &str) -> String {
    format!("{engine}.rotten")
}

/// Bytes of rows that are written at a time.
const BATCH_BYTES: usize = 1 << 20;

/// Writes all rows up to commit `last` to a new engine: those of the snapshot, and `made` in the places of what cannot be read there.
pub(super) fn write_beside(
    folder: &Path,
    engine: &str,
    snapshot: &dyn Snapshot,
    made: Vec<MendedRow>,
    last: u64,
) -> Result<(), SalvageError> {
    let fresh = folder.join(fresh_of(engine));
    remove(folder, &fresh_of(engine))?;
    let mut made: BTreeMap<u64, Bytes> = made.into_iter().map(|row| (row.commit, row.row)).collect();
    let mut writer = Writer { engine: FjallEngine::open(&fresh)?, batch: Vec::new(), bytes: 0 };
    for kind in [Kind::Base, Kind::BaseCopy, Kind::Intent, Kind::Staged] {
        for row in snapshot.scan(&kind.key(0), &kind.end()) {
            match row {
                Ok((key, row)) => writer.put(key, row)?,
                // Of a base one row is enough, and what is staged is asked for again.
                Err(why) if why.is_damage() && kind != Kind::Intent => break,
                Err(why) => return Err(why.into()),
            }
        }
    }
    for row in NumberedRows::of(Kind::Heads, snapshot, 1, last) {
        let (number, row) = row?;
        // What cannot be read is rotten there as well, and mended as such.
        writer.put(Kind::Heads.key(number), row.unwrap_or_default())?;
    }
    for row in NumberedRows::commits(snapshot, 1, last) {
        let (number, row) = row?;
        // A row that was made again counts, whatever is in its place.
        if let Some(row) = row.filter(|_| !made.contains_key(&number)) {
            writer.put(commit::key(number), row)?;
        }
    }
    while let Some((number, row)) = made.pop_first() {
        writer.put(commit::key(number), row)?;
    }
    writer.end()?;
    Ok(())
}

/// Puts the new engine, which is whole, in the place of the old one.
pub(super) fn take_place(folder: &Path, engine: &str) -> Result<(), OpenError> {
    let rotten = rotten_of(engine);
    remove(folder, &rotten)?;
    fs::rename(folder.join(engine), folder.join(rotten)).map_err(io_error("rename", folder, engine))?;
    complete(folder, engine)
}

/// Ends what a crash has interrupted.
pub(crate) fn complete(folder: &Path, engine: &str) -> Result<(), OpenError> {
    let (fresh, rotten) = (fresh_of(engine), rotten_of(engine));
    let is_there = |name: &str| folder.join(name).exists();
    if !is_there(engine) && is_there(&fresh) && is_there(&rotten) {
        fs::rename(folder.join(&fresh), folder.join(engine)).map_err(io_error("rename", folder, &fresh))?;
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io_error("sync", folder, ""))?;
    }
    if is_there(engine) && !is_there(&fresh) { remove(folder, &rotten) } else { Ok(()) }
}

fn remove(folder: &Path, name: &str) -> Result<(), OpenError> {
    let path = folder.join(name);
    if path.exists() { fs::remove_dir_all(&path).map_err(io_error("remove", folder, name)) } else { Ok(()) }
}

struct Writer {
    engine: FjallEngine,
    batch: Vec<Change>,
    bytes: usize,
}

impl Writer {
    fn put(&mut self, key: Bytes, row: Bytes) -> Result<(), EngineError> {
        self.bytes += key.len() + row.len();
        self.batch.push(Change::Put(key, row));
        if self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        self.engine.write(std::mem::take(&mut self.batch), Persist::Os)
    }

    fn end(mut self) -> Result<(), EngineError> {
        self.engine.write(std::mem::take(&mut self.batch), Persist::Os)?;
        self.engine.persist()
    }
}
