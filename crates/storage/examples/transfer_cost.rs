//! What a transfer of state costs: how long the provider locks its state, how long writers wait for a join, and bytes.
//!
//! ```text
//! cargo run --release -p tombolo-storage --example transfer_cost -- 1000000 100
//! ```
//!
//! The arguments are keys, and bytes of each value. Half of the keys are there at the receiver when it is a delta.

#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tombolo_storage::{
    Committer, Founding, KeyRange, Op, OpenOptions, Provider, Put, RangeQuery, Receiver, Request, Slot, Store,
    Transaction, WallTime,
};

const NOW: WallTime = WallTime(1_700_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (keys, value_bytes) = (number(100_000)?, number(100)?);
    let (from_folder, to_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (from, mut writer) = Store::open(from_folder.path(), &OpenOptions::new(NOW, [1; 32]))?;
    for key in 0..keys {
        put(&mut writer, key, value_bytes)?;
        if key % 1000 == 999 {
            writer.commit()?;
        }
    }
    writer.commit()?;
    let replica = tombolo_crdt::ReplicaId::new(77).ok_or("a name")?;
    let slot = Slot::new(1).ok_or("a slot")?;
    let founding = Founding::Join { mesh: from.identity().mesh, replica, slot };
    let options = OpenOptions { founding, ..OpenOptions::new(NOW, [2; 32]) };
    let (to, mut committer) = Store::open(to_folder.path(), &options)?;
    println!("{keys} keys of {value_bytes} bytes");
    take("checkpoint", &from, &mut writer, &to, &mut committer)?;
    // What is missing afterwards, as if the log had gone: one key in a hundred was written, one in a hundred removed.
    for key in (0..keys).step_by(100) {
        put(&mut writer, key, value_bytes)?;
        let range = KeyRange::single(name(key + 1).into());
        writer.execute(NOW, Request::Delete(tombolo_storage::Delete { range, previous: false }))?;
    }
    writer.commit()?;
    take("delta of 1% written, 1% removed", &from, &mut writer, &to, &mut committer)?;
    Ok(())
}

/// What this thread has had of a processor; 0 where the system does not tell.
fn processor_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn name(key: usize) -> Vec<u8> {
    format!("/registry/pods/default/pod-{:08x}", (key as u32).wrapping_mul(2_654_435_761)).into_bytes()
}

fn put(committer: &mut Committer, key: usize, value_bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut value = format!("{key:x}").into_bytes();
    value.resize(value_bytes, b'v');
    let put = Put { key: name(key).into(), value: Some(value.into()), lease: Some(0), previous: false };
    committer.execute(NOW, Request::Put(put))?;
    Ok(())
}

fn take(
    what: &str,
    from: &Store,
    writer: &mut Committer,
    to: &Store,
    committer: &mut Committer,
) -> Result<(), Box<dyn Error>> {
    let provider = Provider::new(from);
    let mut receiver = Receiver::resume(to)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let (mut up, mut down, mut rounds, mut opening) = (0, 0, 0, Duration::ZERO);
    // Writers at the provider while the moment is listed.
    let waits = std::thread::scope(|scope| -> Result<Vec<Duration>, Box<dyn Error>> {
        let over = Arc::clone(&is_over);
        let waits = scope.spawn(move || {
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let guard = Request::Txn(Transaction {
                    then: vec![Op::Range(RangeQuery::all(KeyRange::single("x".into())))],
                    ..Default::default()
                });
                let put = Put { key: "beside".into(), value: Some("v".into()), lease: Some(0), previous: false };
                if writer.execute(NOW, Request::Put(put)).and_then(|_| writer.execute(NOW, guard)).is_err() {
                    break;
                }
                waits.push(asked.elapsed());
                if waits.len() % 64 == 0 && writer.commit().is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            waits
        });
        let outcome = (|| -> Result<(), Box<dyn Error>> {
            loop {
                let pulls = receiver.next_pulls(4);
                if pulls.is_empty() {
                    return Ok(());
                }
                rounds += 1;
                for pull in pulls {
                    up += pull.body.len();
                    let asked = Instant::now();
                    let page = provider.answer(Duration::ZERO, pull.body)?;
                    opening = opening.max(asked.elapsed());
                    down += page.len();
                    let staged = receiver.take(pull.id, page)?;
                    committer.stage(NOW, staged)?;
                }
                committer.commit()?;
            }
        })();
        is_over.store(true, Ordering::Relaxed);
        outcome?;
        Ok(waits.join().map_err(|_| "the writer failed")?)
    })?;
    let staged = began.elapsed();
    let asked = Instant::now();
    let complete = receiver.complete()?.ok_or("everything came")?;
    let completing = asked.elapsed();
    let (asked, cpu) = (Instant::now(), processor_ns());
    let published = committer.publish_transfer(NOW, complete)?;
    let (joining, cpu) = (asked.elapsed(), processor_ns() - cpu);
    let mut waits = waits;
    waits.sort();
    let elements = (published.added + published.removed).max(1);
    println!("{what}:");
    println!(
        "  {down} bytes down, {up} up, {rounds} rounds; staged in {staged:?}, longest answer {opening:?}, completed in {completing:?}"
    );
    println!("  a put at the provider meanwhile: median {:?}, longest {:?}", waits.get(waits.len() / 2), waits.last());
    println!(
        "  joined {} in, {} out in {joining:?}: {:.2} us each, {:.2} us of them on the processor",
        published.added,
        published.removed,
        joining.as_secs_f64() * 1e6 / elements as f64,
        cpu as f64 / 1e3 / elements as f64
    );
    Ok(())
}
