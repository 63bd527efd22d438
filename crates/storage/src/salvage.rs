//! Mending a folder that does not open: what is rotten in it is made again of what peers have, before anybody relies on it.
//!
//! A store whose rows are not all there has no state that could be served: what the missing ones overwrote would show. So nothing of it is opened.
//! The rows that can be read say which records are missing and who the members are; whoever drives this asks the members, and gives what they
//! have. Then the rows are made again as they were when their author's streams, the order of commits and the fence prove it, and *all* rows are
//! written to a new engine beside the old one, which takes its place: no damaged table is left.
//!
//! It makes no promise for what only this replica had: a row that held such a thing cannot be made again, and the folder stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{Chain, Dot, Operation, ReplicaId, VersionVector};

use crate::{
    Identity, MendError, OnLoss, OpenError, OpenOptions, Predecessor, Published, ReadError, Standing, bases,
    engine::{Engine, EngineError, fjall::FjallEngine},
    folder::Folder,
    head::Head,
    mend::{Material, rebuild::rebuild_proven, survey::Survey},
    row::commit::{CommitRow, Layer},
    rows::NumberedRows,
    store::Floor,
    transfer::unfinished::Unfinished,
};

pub(crate) mod swap;

/// A folder under repair. It is locked until this is dropped.
pub struct Salvage {
    folder: Folder,
    engine: FjallEngine,
    survey: Survey,
    found: Found,
    given: BTreeMap<Dot, Material>,
}

/// A write of the system's data that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemRemnant {
    /// The key.
    pub key: Bytes,
    /// Who wrote it.
    pub author: ReplicaId,
    /// The seq of the record that did.
    pub seq: u64,
    /// The value.
    pub value: Bytes,
}

/// Why a folder was not mended. It is as it was, and can be mended later.
#[derive(Debug, Error)]
pub enum SalvageError {
    /// The rows were not made again.
    #[error(transparent)]
    Mend(#[from] MendError),
    /// The folder failed.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The new engine was not written.
    #[error("failed to write the rows anew")]
    Engine(#[from] EngineError),
}

/// What the rows say that can be read.
#[derive(Default)]
struct Found {
    /// The last commit there was.
    last: u64,
    frontier: VersionVector,
    chains: BTreeMap<ReplicaId, Chain>,
    floor: Floor,
    system: Vec<SystemRemnant>,
}

impl Salvage {
    /// Looks at all rows of a folder; `None` when none of those above the last compaction is rotten. It reads the whole store.
    ///
    /// # Errors
    ///
    /// The folder's, as for [`Store::open`](crate::Store::open); a folder that must not go on under its name is not mended under it.
    pub fn begin(path: &Path, options: &OpenOptions) -> Result<Option<Self>, OpenError> {
        let folder = Folder::open(path, &OpenOptions { on_loss: OnLoss::Refuse, ..options.clone() })?;
        if folder.is_new {
            return Ok(None);
        }
        let engine = FjallEngine::open(&folder.engine())?;
        let found = Found::read(&engine, &folder)?;
        let seq = folder.fence.private.seq;
        let at_home = (seq > 0).then(|| Dot::new(folder.owner.private, seq));
        let survey = Survey::take(&*engine.snapshot(), &found.floor, &found.frontier, at_home, found.last);
        let survey = survey.map_err(|why| match why {
            ReadError::Engine(why) => OpenError::Engine(why),
            _ => OpenError::Rotten { commit: found.last },
        })?;
        let given = BTreeMap::new();
        Ok((!survey.is_sound()).then_some(Self { folder, engine, survey, found, given }))
    }

    /// Whose folder it is.
    pub fn identity(&self) -> Identity {
        self.folder.owner.identity
    }

    /// The names that its replica had before, the earliest first.
    pub fn predecessors(&self) -> &[Predecessor] {
        self.folder.owner.numbers.lineage.predecessors()
    }

    /// The commits whose rows are rotten or missing.
    pub fn rotten(&self) -> BTreeSet<u64> {
        self.survey.unreadable()
    }

    /// Where the replica stood: what was durable here, rotten or not. Its digest is not known, and told as 0.
    pub fn standing(&self) -> Standing {
        let Found { last, frontier, chains, floor, .. } = &self.found;
        let published = Published { commit: *last, revision: self.folder.owner.numbers.begins, compacted: -1 };
        Standing {
            published,
            frontier: frontier.clone(),
            chains: chains.clone(),
            digest: 0,
            floor: floor.vector.clone(),
        }
    }

    /// What was ever written of the system's data as far as it can be read, the latest first.
    pub fn system(&self) -> &[SystemRemnant] {
        &self.found.system
    }

    /// Takes what *all* others have, in sum, of every author but this replica. It is needed where the last record of an author was in a rotten
    /// row. Who leaves out somebody who may have written meanwhile may have a record put where another one was.
    pub fn hear(&mut self, others: &VersionVector) {
        let own = self.folder.owner.identity.replica;
        let others = others.iter().filter(|dot| dot.replica != own).collect();
        self.survey.hear(&others, &self.found.frontier);
    }

    /// The records that are still needed, ascending.
    pub fn wanted(&self) -> Vec<Dot> {
        self.survey.wanted().filter(|dot| !self.given.contains_key(dot)).collect()
    }

    /// Whether the rows say themselves which records are missing: otherwise [`hear`](Self::hear) has to be called.
    pub fn is_told(&self) -> bool {
        self.survey.is_told()
    }

    /// Takes what a peer has given for a record: see [`Store::material`](crate::Store::material). Returns whether it can be that record.
    pub fn give(&mut self, dot: Dot, material: Bytes) -> bool {
        let material = Material::decode(material).filter(|material| material.record.header.dot == dot);
        let is_taken = material.is_some();
        self.given.extend(material.map(|material| (dot, material)));
        is_taken
    }

    /// Makes the rows again, proves them, and puts a new engine in the old one's place. Returns the commits whose rows were made.
    ///
    /// # Errors
    ///
    /// A record is lacking, what came out is not proved, or the disk refuses. The folder is as it was.
    pub fn finish(self) -> Result<Vec<u64>, SalvageError> {
        if let Some(&dot) = self.wanted().first() {
            return Err(MendError::Lacking { dot }.into());
        }
        let Self { folder, engine, survey, found, given } = self;
        let snapshot = engine.snapshot();
        let (owner, fence) = (&folder.owner, &folder.fence);
        let reached = |head: &Head| {
            head.mesh.frontier().includes(&found.frontier)
                && head.private.frontier().seq(owner.private) >= fence.private.seq
        };
        let rows = rebuild_proven(&*snapshot, owner, &survey, &given, found.last, reached)?;
        let made = rows.iter().map(|row| row.commit).collect();
        swap::write_beside(&folder.path, &owner.engine, &*snapshot, rows, found.last)?;
        drop((snapshot, engine));
        swap::take_place(&folder.path, &folder.owner.engine)?;
        Ok(made)
    }
}

impl Found {
    fn read(engine: &FjallEngine, folder: &Folder) -> Result<Self, OpenError> {
        let (snapshot, owner, fence) = (engine.snapshot(), &folder.owner, &folder.fence);
        let mut found = Self::default();
        let base = bases::newest(&*snapshot, owner)?.map(|(_, base)| base);
        let there = Unfinished::find(engine, base.as_ref().map_or(0, |base| base.commit))?.last();
        if let Some(base) = base {
            found.last = base.commit;
            found.floor = base.floor();
            base.mesh.streams().for_each(|(last, stream)| found.reach(last, stream.chain));
        }
        for row in NumberedRows::commits(&*snapshot, 1, there) {
            let (number, row) = row?;
            found.last = found.last.max(number);
            if let Some(row) = row.and_then(|row| CommitRow::decode(&row, number).ok()) {
                found.note(number, &row);
            }
        }
        // The end of the log may be what is rotten.
        found.last = found.last.max(fence.commit.min(there));
        if fence.mesh.seq > 0 {
            found.reach(Dot::new(owner.identity.replica, fence.mesh.seq), fence.mesh.chain);
        }
        found.system.reverse();
        Ok(found)
    }

    fn note(&mut self, number: u64, row: &CommitRow) {
        for part in row.parts.iter().filter(|part| part.layer == Layer::Mesh) {
            let Dot { replica: author, seq } = part.dot();
            for (_, operation) in part.numbered() {
                if let Operation::SystemPut { key, value, .. } = operation {
                    self.system.push(SystemRemnant { key: key.clone(), author, seq, value: value.clone() });
                }
            }
            if number > self.floor.commit && part.indices.is_none() {
                self.reach(part.dot(), part.record.header.chain);
            }
        }
    }

    /// Takes note that a record was here.
    fn reach(&mut self, dot: Dot, chain: Chain) {
        if self.frontier.raise(dot.replica, dot.seq) {
            self.chains.insert(dot.replica, chain);
        }
    }
}
