//! The newest base row, and the copy that lies beside it.
//!
//! Without the base nobody knows what the rows that compaction has left add up to, nor where the streams stood: no peer has that, and no other row.
//! So it is written twice, as `b ‖ ordinal` and as `d ‖ ordinal`, with all commit rows between them, and whatever removes one removes both.
//! Either is enough. This says nothing of what a base means.

use std::collections::BTreeSet;

use crate::{
    OpenError,
    engine::{Change, Engine, EngineError, Persist, Row, Snapshot},
    folder::Owner,
    row::{Kind, base::BaseRow, unseal},
};

/// Both places of a base.
const PLACES: [Kind; 2] = [Kind::Base, Kind::BaseCopy];

/// How a base is written.
pub(crate) fn put(ordinal: u64, base: &BaseRow) -> [Change; 2] {
    let row = base.encode(ordinal);
    PLACES.map(|kind| Change::Put(kind.key(ordinal), row.clone()))
}

/// How one is removed.
pub(crate) fn remove(ordinal: u64) -> [Change; 2] {
    PLACES.map(|kind| Change::Remove(kind.key(ordinal)))
}

/// The newest base and its ordinal. One of its two rows is enough; an older base is never taken for it.
pub(crate) fn newest(snapshot: &dyn Snapshot, owner: &Owner) -> Result<Option<(u64, BaseRow)>, OpenError> {
    let mut found = Vec::new();
    let mut is_damaged = false;
    for kind in PLACES {
        match snapshot.last(&kind.key(0), &kind.end()) {
            Ok(row) => found.extend(row.and_then(|(key, row)| Some((kind.number(&key)?, row)))),
            Err(why) if why.is_damage() => is_damaged = true,
            Err(why) => return Err(why.into()),
        }
    }
    let Some(ordinal) = found.iter().map(|(ordinal, _)| *ordinal).max() else {
        return if is_damaged { Err(OpenError::RottenBase { ordinal: 0 }) } else { Ok(None) };
    };
    let mut newest = found.iter().filter(|(found, _)| *found == ordinal);
    let read = newest.find_map(|(_, row)| BaseRow::decode(row, ordinal, owner.identity.replica, owner.private));
    read.map(|base| Some((ordinal, base))).ok_or(OpenError::RottenBase { ordinal })
}

/// The ordinals of the bases before the newest. Those that cannot be read are left where they are: they count for nothing.
pub(crate) fn before(snapshot: &dyn Snapshot, newest: u64) -> Result<Vec<u64>, EngineError> {
    let mut older = BTreeSet::new();
    for kind in PLACES {
        let keys = |row: Result<Row, EngineError>| row.map(|(key, _)| kind.number(&key));
        for number in snapshot.scan(&kind.key(0), &kind.key(newest)).map(keys) {
            match number {
                Ok(number) => older.extend(number),
                Err(why) if why.is_damage() => break,
                Err(why) => return Err(why),
            }
        }
    }
    Ok(older.into_iter().collect())
}

/// Whether a base lies there twice as it must.
pub(crate) fn is_whole(engine: &dyn Engine, ordinal: u64) -> Result<bool, EngineError> {
    for kind in PLACES {
        match engine.get(&kind.key(ordinal)) {
            Ok(row) => {
                if row.is_none_or(|row| unseal(&row, ordinal).is_none()) {
                    return Ok(false);
                }
            }
            Err(why) if why.is_damage() => return Ok(false),
            Err(why) => return Err(why),
        }
    }
    Ok(true)
}

/// Writes a base where it does not lie twice.
pub(crate) fn complete(engine: &dyn Engine, base: Option<&(u64, BaseRow)>) -> Result<(), EngineError> {
    let Some((ordinal, base)) = base else { return Ok(()) };
    if is_whole(engine, *ordinal)? {
        return Ok(());
    }
    engine.write(put(*ordinal, base).into(), Persist::Disk)
}
