//! The store without gRPC: how often it commits, beside what the disk and the engine allow.
//!
//! Three ways to make the same puts durable, visited in turn round by round in one folder: one write and one sync for
//! each put; the engine's own batches of as many rows as there are writers; and the store, fed by that many concurrent
//! writers that each wait for their put. Only the last one has records, revisions, an index, and readers.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Barrier,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use serde::Serialize;
use tombolo_storage::{
    Committer, OpenOptions, Put, Request, Store, WallTime,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
};

use super::{
    Effort,
    load::{Values, key, mix},
    series::median_ratio,
    usage::Usage,
};

/// Concurrent writers, and rows of one batch of the engine.
pub(crate) const WRITERS: u64 = 64;
/// What must be beaten is spread over this many puts, or fewer in a quick run.
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
    let (_readers, mut committer) = Store::open(&home.path().join("store"), &OpenOptions::new(now(), [7; 32]))?;
    let mut measured = Measured { sync_each: Vec::new(), engine_batches: Vec::new(), store: Vec::new() };
    let puts = effort.operations * PUTS_PER_OPERATION;
    for round in 0..effort.rounds as u64 {
        let seed = (round + 1) << 32;
        measured.sync_each.push(sync_each(&mut file, effort.operations / 4, seed)?);
        measured.engine_batches.push(engine_batches(&engine, round * puts, puts, seed)?);
        let (rate, returned) = store(committer, effort.keys, puts, seed)?;
        committer = returned;
        measured.store.push(rate);
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

/// What the engine does when it is given whole batches of rows with rising keys, the cheapest there are.
fn engine_batches(engine: &FjallEngine, from: u64, puts: u64, seed: u64) -> Result<Rate> {
    let values = Values::new(seed);
    let batches = puts.div_ceil(WRITERS);
    timed(batches * WRITERS, batches, || {
        for batch in 0..batches {
            let first = from + batch * WRITERS;
            let rows = (first..first + WRITERS).map(|number| Change::Put(key(number), values.value(number)));
            engine.write(rows.collect(), Persist::Disk)?;
        }
        Ok(())
    })
}

/// A put on its way to the committer, and the way back to its writer.
type Job = (Request, SyncSender<()>);

/// What the store does for concurrent writers.
fn store(committer: Committer, keys: u64, puts: u64, seed: u64) -> Result<(Rate, Committer)> {
    let values = Values::new(seed);
    let each = puts / WRITERS;
    let ready = Arc::new(Barrier::new(usize::try_from(WRITERS)? + 1));
    let (queue, jobs) = mpsc::sync_channel(1024);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (values, queue, ready) = (values.clone(), queue.clone(), Arc::clone(&ready));
            thread::spawn(move || write(writer * each..(writer + 1) * each, keys, seed, &values, &queue, &ready))
        })
        .collect();
    drop(queue);
    ready.wait();
    let mut syncs = 0;
    let mut committer = Some(committer);
    let mut rate = timed(each * WRITERS, 1, || {
        let done = committer.take().context("the committer is gone")?;
        let (done, count) = commit_all(done, &jobs)?;
        (committer, syncs) = (Some(done), count);
        Ok(())
    })?;
    rate.puts_per_sync = (each * WRITERS) as f64 / syncs as f64;
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    Ok((rate, committer.context("the committer is gone")?))
}

fn write(
    numbers: std::ops::Range<u64>,
    keys: u64,
    seed: u64,
    values: &Values,
    queue: &SyncSender<Job>,
    ready: &Barrier,
) -> Result<()> {
    let (done, answer) = mpsc::sync_channel(1);
    ready.wait();
    for number in numbers {
        let put = Put {
            key: key(mix(seed ^ number) % keys),
            value: Some(values.value(number)),
            lease: Some(0),
            previous: false,
        };
        queue.send((Request::Put(put), done.clone())).context("the committer ended")?;
        answer.recv().context("the committer ended")?;
    }
    Ok(())
}

/// Takes what is waiting, commits it as one group, answers, until every writer is done. Returns the number of groups.
fn commit_all(mut committer: Committer, jobs: &Receiver<Job>) -> Result<(Committer, u64)> {
    let mut groups = 0;
    let mut waiting = Vec::new();
    while let Ok(first) = jobs.recv() {
        for (request, writer) in std::iter::once(first).chain(jobs.try_iter()) {
            committer.execute(now(), request)?;
            waiting.push(writer);
        }
        committer.commit()?;
        groups += 1;
        for writer in waiting.drain(..) {
            writer.send(()).context("a writer ended")?;
        }
        while committer.maintain(now())? {}
    }
    Ok((committer, groups))
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

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
