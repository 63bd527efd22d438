//! The tail of what was set aside: what a replica wrote under names that it lost, and the mesh does not have.
//!
//! The rows of before are held against the log of now, which has what the mesh has: record by record of each of our names, by
//! its chain. A stream that has parted stays apart, for each chain rests on the one before it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tombolo_crdt::{Chain, Dot, ReplicaId};

use super::{
    TailError, TailStream,
    write::{TailWriter, each_record},
};
use crate::{
    ArrivalBudget, Store,
    engine::{Engine, EngineError, fjall::FjallEngine},
};

/// A tail that was set aside in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The file.
    pub path: PathBuf,
    /// The streams in it.
    pub streams: Vec<TailStream>,
}

impl Store {
    /// Writes what of the rows that were set aside the mesh does not have to the file `TAIL-` and the name of this replica, durably. It is
    /// the same file however often that is done. Reads all of both logs. `None` when nothing is set aside, or nothing of it is missing.
    ///
    /// # Errors
    ///
    /// Damaged rows, here or there; the file cannot be written.
    pub fn set_tail_aside(&self, folder: &Path) -> Result<Option<SetAside>, TailError> {
        let Some(aside) = self.aside() else { return Ok(None) };
        let engine = FjallEngine::open(&folder.join(&aside.engine)).map_err(engine_error)?;
        let streams = self.apart(&engine)?;
        if streams.is_empty() {
            return Ok(None);
        }
        let path = folder.join(format!("TAIL-{:016x}", self.identity().replica.get()));
        let draft = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let snapshot = engine.snapshot();
        let mut tail = TailWriter::begin(&mut out, self.identity().mesh)?;
        for stream in &streams {
            tail.stream(&*snapshot, ALL, *stream)?;
        }
        tail.finish()?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(Some(SetAside { path, streams }))
    }

    /// What of each of our names in those rows is not known to be the mesh's, in the order in which we had them.
    fn apart(&self, engine: &dyn Engine) -> Result<Vec<TailStream>, TailError> {
        let names: Vec<ReplicaId> = self.predecessors().iter().map(|before| before.replica).collect();
        let mesh = self.chains_of(&names)?;
        let mut before: BTreeMap<ReplicaId, BTreeMap<u64, Chain>> = BTreeMap::new();
        each_record(&*engine.snapshot(), ALL, &names, |_, part| {
            before.entry(part.dot().replica).or_default().insert(part.dot().seq, part.record.header.chain);
            Ok(())
        })?;
        let frontier = self.frontier();
        let disputed = self.aside().map(|aside| Dot::new(aside.stream, aside.seq));
        let stream = |author: ReplicaId| {
            let before = before.get(&author)?;
            let last = *before.last_key_value()?.0;
            let known = |seq: u64| mesh.get(&Dot::new(author, seq));
            let common =
                before.iter().rev().find(|(seq, chain)| known(**seq) == Some(chain)).map_or(0, |(seq, _)| *seq);
            let differs = before.iter().find(|(seq, chain)| known(**seq).is_some_and(|known| known != *chain));
            let differs = differs.map(|(seq, _)| *seq).into_iter();
            let disputed = disputed.filter(|dot| dot.replica == author && dot.seq > common && dot.seq <= last);
            let apart = differs.chain(disputed.map(|dot| dot.seq)).min();
            let apart = apart.unwrap_or_else(|| frontier.seq(author).max(common) + 1);
            // What compaction has taken leaves gaps: only what is whole up to the end is a tail.
            let whole = (common + 1..=last).rev().take_while(|seq| before.contains_key(seq)).last()?;
            Some(TailStream { author, first: whole, last, apart: Some(apart.max(whole)) })
        };
        Ok(names.iter().filter_map(|name| stream(*name)).collect())
    }

    /// The chains of the records of these authors that the log holds, and of their last ones.
    fn chains_of(&self, names: &[ReplicaId]) -> Result<BTreeMap<Dot, Chain>, TailError> {
        let standing = self.standing();
        let mut chains = BTreeMap::new();
        for name in names {
            let (seq, chain) = (standing.frontier.seq(*name), standing.chains.get(name));
            chains.extend(chain.filter(|_| seq > 0).map(|chain| (Dot::new(*name, seq), *chain)));
        }
        let mut from = 0;
        while from <= standing.published.commit {
            let arrivals = self.arrivals(&standing.floor, from, BUDGET)?;
            for arrival in arrivals.records.iter().filter(|arrival| names.contains(&arrival.dot.replica)) {
                let chain = arrival.bytes.last_chunk::<{ Chain::LEN }>().map(|chain| Chain::from_bytes(*chain));
                chains.extend(chain.map(|chain| (arrival.dot, chain)));
            }
            from = arrivals.next;
        }
        Ok(chains)
    }
}

fn engine_error(why: EngineError) -> TailError {
    TailError::Read(why.into())
}

/// Every commit there is.
const ALL: (u64, u64) = (0, u64::MAX - 1);
/// Commits looked at in one read of the log.
const BUDGET: ArrivalBudget = ArrivalBudget { commits: 4096, bytes: 16 << 20 };
