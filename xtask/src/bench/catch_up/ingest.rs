//! How quickly a store takes in what another one wrote, with nothing between them, and how small that can be made.

use std::{io::Write as _, path::Path, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_storage::{ArrivalBudget, Committer, Founding, OpenOptions, Put, Request, Slot, Store};

use crate::bench::{
    load::{Load, Values, key},
    store::now,
};

/// That of `zstd -3`.
const LEVEL: i32 = 3;
/// Records of one group, as sessions hand them over at most.
const GROUP: usize = 1024;

/// What the records of a load come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    /// Taken in, a second.
    pub(super) records_per_s: f64,
    /// Bytes of a record, when all of them are compressed in one piece.
    pub(super) packed_bytes: f64,
}

/// Writes them to one store, and has another one take them in.
pub(super) fn measure(folder: &Path, load: Load) -> Result<Alone> {
    let folder = tempfile::tempdir_in(folder)?;
    let author = written(&folder.path().join("author"), load)?;
    let batches = batches(&author)?;
    let mut packed = zstd::Encoder::new(Vec::new(), LEVEL)?;
    batches.iter().flatten().try_for_each(|record| packed.write_all(record))?;
    let packed_bytes = packed.finish()?.len() as f64 / load.operations as f64;
    let mut taker = taker(&folder.path().join("taker"), &author)?;
    let started = Instant::now();
    for batch in batches {
        for record in batch {
            taker.ingest(now(), record)?;
        }
        taker.commit()?;
    }
    Ok(Alone { records_per_s: load.operations as f64 / started.elapsed().as_secs_f64(), packed_bytes })
}

/// A store to which all of it was written.
fn written(folder: &Path, load: Load) -> Result<Store> {
    let (store, mut committer) = Store::open(folder, &OpenOptions::new(now(), [3; 32]))?;
    let values = Values::new(load.seed);
    for number in 0..load.operations {
        let put = Put { key: key(number), value: Some(values.value(number)), lease: Some(0), previous: false };
        committer.execute(now(), Request::Put(put))?;
        if committer.pending() == GROUP {
            committer.commit()?;
        }
    }
    committer.commit()?;
    Ok(store)
}

/// Everything in a store's log, in groups.
fn batches(store: &Store) -> Result<Vec<Vec<Bytes>>> {
    let (mut batches, mut next) = (Vec::new(), 1);
    loop {
        let budget = ArrivalBudget { commits: GROUP, bytes: usize::MAX };
        let arrivals = store.arrivals(&VersionVector::new(), next, budget)?;
        if arrivals.records.is_empty() {
            return Ok(batches);
        }
        next = arrivals.next;
        batches.push(arrivals.records.into_iter().map(|arrival| arrival.bytes).collect());
    }
}

/// An empty store of the same mesh.
fn taker(folder: &Path, author: &Store) -> Result<Committer> {
    let identity = author.identity();
    let replica = ReplicaId::new(identity.replica.get() ^ 1).context("nobody is called 0")?;
    let slot = Slot::new(identity.slot.number() + 1).context("the founder has the first slot")?;
    let founding = Founding::Join { mesh: identity.mesh, replica, slot };
    let (_, committer) = Store::open(folder, &OpenOptions { founding, ..OpenOptions::new(now(), [4; 32]) })?;
    Ok(committer)
}
