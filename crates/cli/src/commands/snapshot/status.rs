//! `snapshot status`: reads all of a file and says what it is of, in etcdctl's columns.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use clap::Args;
use tombolo_bolt::{
    Database, Value,
    etcd::{CHECKSUM_LEN, RevisionKey, bucket, has_checksum},
};
use tombolo_storage::{BACKUP_MAGIC, restore};

use super::bar::{Bar, Watched};
use crate::{
    exit::{Exit, Failure},
    output::{Answer, Printer},
};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The file
    file: PathBuf,
}

/// What a snapshot is of.
#[derive(Debug)]
pub(crate) struct SnapshotFacts {
    pub(crate) hash: u32,
    pub(crate) revision: i64,
    /// Entries of all tables, in etcd's form; transactions, in ours.
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

pub(super) fn run(printer: &Printer, args: &StatusArgs) -> Result<(), Failure> {
    let facts = if is_ours(&args.file)? { of_ours(&args.file)? } else { of_a_database(&args.file)? };
    printer.print(&Answer::Snapshot(&facts))
}

pub(super) fn open(path: &Path) -> Result<(File, u64), Failure> {
    let failed = |why| Failure::new(Exit::Io, format!("cannot read {}: {why}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok((file, bytes))
}

/// Whether a file begins as our own do.
pub(super) fn is_ours(path: &Path) -> Result<bool, Failure> {
    let mut magic = [0; BACKUP_MAGIC.len()];
    let (mut file, _) = open(path)?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *BACKUP_MAGIC)
}

fn of_ours(path: &Path) -> Result<SnapshotFacts, Failure> {
    let (file, bytes) = open(path)?;
    let mut source = Watched { source: BufReader::with_capacity(1 << 20, file), bar: Bar::begin("checked", bytes) };
    let summary = restore::inspect(&mut source);
    source.bar.end();
    let summary = summary.map_err(|why| damaged(path, &why))?;
    let [a, b, c, d, ..] = summary.checksum;
    let hash = u32::from_be_bytes([a, b, c, d]);
    let revision = summary.facts.revision.get();
    Ok(SnapshotFacts { hash, revision, keys: summary.transactions, bytes: summary.bytes })
}

/// As etcdctl computes it: a CRC-32C over the names of all tables and all they hold.
fn of_a_database(path: &Path) -> Result<SnapshotFacts, Failure> {
    let (mut file, bytes) = open(path)?;
    file.rewind()?;
    let mut database = Database::open(BufReader::new(file)).map_err(|why| damaged(path, &why))?;
    let (mut hash, mut keys, mut revision) = (0, 0, 0);
    for name in bucket::ALL {
        let Some(table) = database.bucket(name).map_err(|why| damaged(path, &why))? else { continue };
        hash = crc32c::crc32c_append(hash, name);
        for item in database.cursor(&table) {
            let item = item.map_err(|why| damaged(path, &why))?;
            let Value::Bytes(value) = item.value else { continue };
            hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &item.key), &value);
            keys += 1;
            if name == bucket::KEY {
                revision = RevisionKey::decode(&item.key).map_or(revision, |key| key.main);
            }
        }
    }
    // The checksum behind a database is not of it.
    let bytes = if has_checksum(bytes) { bytes - CHECKSUM_LEN } else { bytes };
    Ok(SnapshotFacts { hash, revision, keys, bytes })
}

fn damaged(path: &Path, why: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Error, format!("{}: {why}", path.display()))
}
