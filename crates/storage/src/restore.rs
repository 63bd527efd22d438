//! Makes a store of a [`Backup`](crate::Backup): in a fresh folder, under a new name, in a mesh of its own.
//!
//! A restored replica is nobody else's continuation: whoever wrote the backup may live on, and may have written more. So it gets a new replica id and a
//! new mesh, and counts revisions in a slot above all that were ever handed out. What it holds it holds as its own past: old revisions are
//! readable and compare as they did. It counts the leases of all who are left behind.
//!
//! Nothing is a store until the last byte has come and the checksum agrees: what is interrupted can be begun again.

use std::{io::Read, path::Path};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::ReplicaId;

use crate::{
    BACKUP_MAGIC, Founding, Identity, MeshId, OpenError, OpenOptions, Revision, Slot, Store, WallTime,
    backup::{VERSION, VERSION_WITH_GAPS},
    engine::{Change, Engine, EngineError, Persist, fjall::FjallEngine},
    folder::{Folder, Owner},
    lineage::{Forebear, Lineage, Numbers},
    row::{self, Kind},
};

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// The mesh it was made in.
    pub mesh: MeshId,
    /// The replica that made it.
    pub replica: ReplicaId,
    /// The revision that it shows.
    pub revision: Revision,
    /// Commits up to there.
    pub commit: u64,
    /// When it was made, by the clock of the replica that made it.
    pub saved: WallTime,
    /// The lowest slot that a store made from it may count in.
    pub next_slot: Slot,
    /// About how many bytes of rows follow.
    pub expected_bytes: u64,
    /// Where its replica began to count.
    begins: Revision,
    forebears: Vec<Forebear>,
    replicas: Vec<ReplicaId>,
}

/// What was found in a whole backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// What it says of itself.
    pub facts: BackupFacts,
    /// Rows of transactions.
    pub transactions: u64,
    /// Bytes of the whole.
    pub bytes: u64,
    /// Its checksum.
    pub checksum: [u8; 32],
}

/// How a store is made of a backup.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Fresh randomness: the new identity is minted from it.
    pub entropy: [u8; 32],
    /// A revision that was seen of a store that this one replaces: it will count above it, whatever the backup knows.
    pub above: Option<Revision>,
    /// The moment of restoring.
    pub wall: WallTime,
}

/// A store that was made of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Who it is now.
    pub identity: Identity,
    /// What it was made from.
    pub summary: BackupSummary,
}

/// Why a backup is not read, or no store made of it.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// It is something else.
    #[error("this is not a snapshot of tombolo")]
    NotABackup,
    /// A later version made it.
    #[error("the snapshot has format {found}, and this version knows {known}")]
    NewerFormat {
        /// Its format.
        found: u8,
        /// The newest one known.
        known: u8,
    },
    /// It ends early, or says what cannot be.
    #[error("the snapshot is damaged: {what}")]
    Damaged {
        /// Where, or how.
        what: &'static str,
    },
    /// It cannot be read.
    #[error("failed to read the snapshot: {0}")]
    Read(#[from] std::io::Error),
    /// All slots of the revision space are used up.
    #[error("no revision slot is left above those that were handed out")]
    NoSlot,
    /// The folder cannot be made, or what was made of it does not open.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The rows cannot be written.
    #[error("failed to write the rows: {0}")]
    Engine(#[from] EngineError),
}

/// Reads a whole backup and checks all of it, without making anything.
///
/// # Errors
///
/// It is none, is of a later version, or is damaged.
pub fn inspect(source: &mut dyn Read) -> Result<BackupSummary, RestoreError> {
    let mut reader = Reader::new(source);
    let facts = reader.facts()?;
    read_rows(reader, facts, |_| Ok(()))
}

/// Makes a store of a backup in an absent or empty folder.
///
/// # Errors
///
/// The backup is none, or damaged; the folder is in use; the disk refuses. The folder then holds no store, and can be used again once it is emptied.
pub fn restore(folder: &Path, source: &mut dyn Read, options: &RestoreOptions) -> Result<Restored, RestoreError> {
    let mut reader = Reader::new(source);
    let facts = reader.facts()?;
    let owner = heir(&facts, options)?;
    let identity = owner.identity;
    let made = Folder::create_for(owner, folder)?;
    let engine = FjallEngine::open(&Folder::engine_path(folder)).map_err(RestoreError::Engine)?;
    let summary = read_rows(reader, facts, |batch| engine.write(batch, Persist::Os))?;
    engine.persist()?;
    made.seal()?;
    drop((engine, made));
    // Whoever made the backup may have been wrong about it: opening reads every row and holds the sum of them against what they say.
    drop(Store::open(folder, &OpenOptions::new(options.wall, options.entropy))?);
    Ok(Restored { identity, summary })
}

/// Who goes on with what a backup holds.
fn heir(facts: &BackupFacts, options: &RestoreOptions) -> Result<Owner, RestoreError> {
    let above = options.above.map_or(0, |seen| u32::from(seen.slot().number()) + 1);
    let slot = above.max(u32::from(facts.next_slot.number()));
    let slot = u16::try_from(slot).ok().and_then(Slot::new).ok_or(RestoreError::NoSlot)?;
    let founding = Founding::NewMesh;
    let minted = Owner::found(&OpenOptions { founding, ..OpenOptions::new(options.wall, options.entropy) });
    let mut forebears = facts.forebears.clone();
    forebears.push(Forebear { replica: facts.replica, first: facts.begins, last: facts.revision });
    let lineage = Lineage::new(forebears, facts.replicas.clone(), Vec::new());
    let numbers = Numbers { lineage, ..slot.into() };
    let origin = Some(facts.mesh);
    Ok(Owner { identity: Identity { slot, ..minted.identity }, numbers, origin, ..minted })
}

/// Bytes of rows that are written at a time.
const BATCH_BYTES: usize = 1 << 20;
/// A row is one transaction, a record of at most 8 MiB with what this replica keeps beside it.
const ROW_BYTES_MAX: u64 = 64 << 20;
/// Replicas of a mesh, and generations of restoring.
const LIST_MAX: u64 = 1 << 16;

fn read_rows(
    mut reader: Reader<'_>,
    facts: BackupFacts,
    mut write: impl FnMut(Vec<Change>) -> Result<(), EngineError>,
) -> Result<BackupSummary, RestoreError> {
    let (mut batch, mut batch_bytes, mut transactions) = (Vec::new(), 0, 0);
    let mut last = Bytes::new();
    while let Some((key, row)) = reader.row()? {
        let known = Kind::of(&key).filter(|(kind, _)| matches!(kind, Kind::Commit | Kind::Base | Kind::Heads));
        let (kind, number) = known.ok_or(RestoreError::Damaged { what: "a row of no known kind" })?;
        row::unseal(&row, number).ok_or(RestoreError::Damaged { what: "a row that does not carry its own hash" })?;
        if key <= last {
            return Err(RestoreError::Damaged { what: "rows out of order" });
        }
        transactions += u64::from(kind == Kind::Commit);
        last = key.clone();
        // Backups of earlier versions have them; they were signed for the mesh that is left behind.
        if kind == Kind::Heads {
            continue;
        }
        batch_bytes += row.len();
        batch.push(Change::Put(key, row));
        if batch_bytes >= BATCH_BYTES {
            write(std::mem::take(&mut batch))?;
            batch_bytes = 0;
        }
    }
    if !batch.is_empty() {
        write(batch)?;
    }
    let (checksum, bytes) = reader.finish()?;
    Ok(BackupSummary { facts, transactions, bytes, checksum })
}

/// Reads a backup, and hashes what it has read.
struct Reader<'a> {
    source: &'a mut dyn Read,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> Reader<'a> {
    fn new(source: &'a mut dyn Read) -> Self {
        Self { source, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), RestoreError> {
        self.source.read_exact(out).map_err(|why| match why.kind() {
            std::io::ErrorKind::UnexpectedEof => RestoreError::Damaged { what: "it ends early" },
            _ => RestoreError::Read(why),
        })?;
        self.bytes += out.len() as u64;
        self.hasher.update(out);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn word(&mut self) -> Result<u64, RestoreError> {
        self.array().map(u64::from_be_bytes)
    }

    fn varint(&mut self, max: u64) -> Result<u64, RestoreError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (value <= max).then_some(value).ok_or(RestoreError::Damaged { what: "a length beyond reason" });
            }
        }
        Err(RestoreError::Damaged { what: "a length without an end" })
    }

    fn replica(&mut self) -> Result<ReplicaId, RestoreError> {
        ReplicaId::new(self.word()?).ok_or(RestoreError::Damaged { what: "a replica without a name" })
    }

    fn revision(&mut self) -> Result<Revision, RestoreError> {
        let number = i64::try_from(self.word()?).ok();
        number.and_then(Revision::new).ok_or(RestoreError::Damaged { what: "a revision that is none" })
    }

    fn facts(&mut self) -> Result<BackupFacts, RestoreError> {
        let magic = self.array().map_err(|why| match why {
            RestoreError::Damaged { .. } => RestoreError::NotABackup,
            why => why,
        })?;
        if magic != *BACKUP_MAGIC {
            return Err(RestoreError::NotABackup);
        }
        let has_gaps = match self.array()? {
            [VERSION] => false,
            [VERSION_WITH_GAPS] => true,
            [found] => return Err(RestoreError::NewerFormat { found, known: VERSION_WITH_GAPS }),
        };
        let mesh = MeshId(u128::from_be_bytes(self.array()?));
        let replica = self.replica()?;
        // Who wrote in the private layer is in the rows; here it is for people who look.
        let _private = self.replica()?;
        let revision = self.revision()?;
        let (commit, saved) = (self.word()?, WallTime(self.word()?));
        let next_slot = Slot::new(u16::from_be_bytes(self.array()?)).ok_or(RestoreError::NoSlot)?;
        let expected_bytes = self.word()?;
        let mut forebears = Vec::new();
        for _ in 0..self.varint(LIST_MAX)? {
            let (replica, last) = (self.replica()?, self.revision()?);
            let first = if has_gaps { self.revision()? } else { last.slot().beginning() };
            forebears.push(Forebear { replica, first, last });
        }
        let begins = if has_gaps { self.revision()? } else { revision.slot().beginning() };
        let count = self.varint(LIST_MAX)?;
        let replicas = (0..count).map(|_| self.replica()).collect::<Result<_, _>>()?;
        Ok(BackupFacts {
            mesh,
            replica,
            revision,
            commit,
            saved,
            next_slot,
            expected_bytes,
            begins,
            forebears,
            replicas,
        })
    }

    fn row(&mut self) -> Result<Option<(Bytes, Bytes)>, RestoreError> {
        let key_len = self.varint(ROW_BYTES_MAX)?;
        if key_len == 0 {
            return Ok(None);
        }
        let key = self.bytes(key_len)?;
        let row_len = self.varint(ROW_BYTES_MAX)?;
        Ok(Some((key, self.bytes(row_len)?)))
    }

    fn bytes(&mut self, len: u64) -> Result<Bytes, RestoreError> {
        let mut out =
            vec![0; usize::try_from(len).map_err(|_| RestoreError::Damaged { what: "a length beyond reason" })?];
        self.fill(&mut out)?;
        Ok(out.into())
    }

    /// The checksum, which must be that of all before it, and the bytes of the whole.
    fn finish(mut self) -> Result<([u8; 32], u64), RestoreError> {
        let expected = *self.hasher.finalize().as_bytes();
        let found: [u8; 32] = self.array()?;
        if found != expected {
            return Err(RestoreError::Damaged { what: "its checksum is another one" });
        }
        if self.source.read(&mut [0])? != 0 {
            return Err(RestoreError::Damaged { what: "it goes on after its end" });
        }
        Ok((found, self.bytes))
    }
}
