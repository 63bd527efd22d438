//! The store without gRPC: how often it commits, beside what the disk and the engine allow.
//!
//! Three ways to make the same puts durable, visited in turn round by round in one folder: one write and one sync for
//! each put; the store, fed by concurrent writers that each wait for their put; and the engine's own batches of as many rows as there are
//! writers, each row as long as the store's were in that round. Only the store has records, revisions, an index, and readers.
//!
//! A batch of the engine holds a put of every writer, which is all there can be while each waits for its own. So nothing is left to be
//! written beside its sync, and one thread is all it can use.

use std::{fs::File, io::Write as _, path::Path, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Serialize;
use tombolo_storage::{
    Committer, OpenOptions, Store,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
};

use super::{
    Effort,
    load::{Values, key},
    series::median_ratio,
    usage::Usage,
};

use writers::Work;

pub(crate) use writers::now;

mod writers;

/// Concurrent writers, and rows of one batch of the engine.
pub(crate) const WRITERS: u64 = 64;
/// The store is quicker than gRPC: a round of it does this many times the puts.
const PUTS_PER_OPERATION: u64 = 4;

/// Each way in each round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) sync_each: Vec<Rate>,
    pub(crate) engine_batches: Vec<Rate>,
    pub(crate) store: Vec<Rate>,
}

/// One way in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rate {
    pub(crate) puts_per_s: f64,
    /// Microseconds of processor time for each put, writers included.
    pub(crate) cpu_us: f64,
    /// Puts made durable by one sync.
    pub(crate) puts_per_sync: f64,
}

impl Measured {
    /// The store's rate as a multiple of another way's, inside each round.
    pub(crate) fn store_over(&self, way: &[Rate]) -> f64 {
        let rates = |way: &[Rate]| way.iter().map(|rate| rate.puts_per_s).collect::<Vec<_>>();
        median_ratio(&rates(&self.store), &rates(way))
    }
}

/// Measures all three ways.
pub(crate) fn measure(folder: &Path, effort: Effort) -> Result<Measured> {
    let home = tempfile::tempdir_in(folder)?;
    let engine = FjallEngine::open(&home.path().join("engine"))?;
    let mut file = File::create(home.path().join("appended"))?;
    let (readers, mut committer) = Store::open(&home.path().join("store"), &OpenOptions::new(now(), [7; 32]))?;
    let mut measured = Measured { sync_each: Vec::new(), engine_batches: Vec::new(), store: Vec::new() };
    let puts = effort.operations * PUTS_PER_OPERATION;
    for round in 0..effort.rounds as u64 {
        let seed = (round + 1) << 32;
        measured.sync_each.push(sync_each(&mut file, effort.operations / 4, seed)?);
        let before = readers.sizes().in_use_bytes;
        let (rate, returned) = store(committer, effort.keys, puts, seed)?;
        committer = returned;
        measured.store.push(rate);
        let row_bytes = (readers.sizes().in_use_bytes - before) / puts;
        measured.engine_batches.push(engine_batches(&engine, round * puts, puts, usize::try_from(row_bytes)?, seed)?);
    }
    committer.close()?;
    Ok(measured)
}

/// What one fsync for each write allows on this disk.
fn sync_each(file: &mut File, puts: u64, seed: u64) -> Result<Rate> {
    let values = Values::new(seed);
    timed(puts, puts, || {
        for number in 0..puts {
            file.write_all(&key(number))?;
            file.write_all(&values.value(number))?;
            file.sync_data()?;
        }
        Ok(())
    })
}

/// What the engine does when it is given whole batches of rows with rising keys, the cheapest there are. Rows stay in memory until they are
/// flushed, and those of a batch share one piece of it, as the store's do.
fn engine_batches(engine: &FjallEngine, from: u64, puts: u64, row_bytes: usize, seed: u64) -> Result<Rate> {
    const KEY: usize = size_of::<u64>() + 1;
    let values = Values::new(seed);
    let batches = puts.div_ceil(WRITERS);
    timed(batches * WRITERS, batches, || {
        for batch in 0..batches {
            let first = from + batch * WRITERS;
            let mut sheet = Vec::with_capacity(usize::try_from(WRITERS)? * (KEY + row_bytes));
            for number in first..first + WRITERS {
                sheet.push(b'c');
                sheet.extend_from_slice(&number.to_be_bytes());
                sheet.extend_from_slice(values.bytes(number, row_bytes));
            }
            let mut sheet = Bytes::from(sheet);
            let rows = (0..WRITERS).map(|_| Change::Put(sheet.split_to(KEY), sheet.split_to(row_bytes)));
            engine.write(rows.collect(), Persist::Disk)?;
        }
        Ok(())
    })
}

/// What the store does for concurrent writers.
fn store(committer: Committer, keys: u64, puts: u64, seed: u64) -> Result<(Rate, Committer)> {
    let work = Work { writers: WRITERS, each: puts / WRITERS, keys, seed };
    let mut done = None;
    let mut rate = timed(work.puts(), 1, || {
        done = Some(work.run(committer)?);
        Ok(())
    })?;
    let (committer, syncs) = done.context("the work has not run")?;
    rate.puts_per_sync = work.puts() as f64 / syncs as f64;
    Ok((rate, committer))
}

fn timed(puts: u64, syncs: u64, work: impl FnOnce() -> Result<()>) -> Result<Rate> {
    let own = std::process::id();
    let cpu = Usage::of(own)?.cpu;
    let started = Instant::now();
    work()?;
    let took = started.elapsed();
    let cpu = Usage::of(own)?.cpu.saturating_sub(cpu);
    let puts_f = puts as f64;
    Ok(Rate {
        puts_per_s: puts_f / took.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / puts_f,
        puts_per_sync: puts_f / syncs as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::{Measured, Rate};

    #[test]
    fn the_store_is_compared_inside_each_round() {
        let way =
            |rates: [f64; 3]| rates.map(|puts_per_s| Rate { puts_per_s, cpu_us: 0.0, puts_per_sync: 1.0 }).to_vec();
        let measured = Measured {
            sync_each: way([10.0, 5.0, 10.0]),
            engine_batches: way([200.0, 100.0, 200.0]),
            store: way([150.0, 75.0, 150.0]),
        };
        assert_eq!(measured.store_over(&measured.sync_each), 15.0);
        assert_eq!(measured.store_over(&measured.engine_batches), 0.75);
    }
}
