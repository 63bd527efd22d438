//! What a transfer of state costs: how long the provider locks its state, how long writers wait for a join, and bytes.
//!
//! ```text
//! cargo run --release -p tombolo-storage --example transfer_cost -- 1000000 100
//! ```
//!
//! The arguments are keys, and bytes of each value. Half of the keys are there at the receiver when it is a delta.

#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]

use std::{
    convert::Infallible,
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tombolo_crdt::{Chain, Dot, SignedHead};
use tombolo_storage::{
    Committer, CompleteTransfer, Founding, KeyRange, OpenOptions, Provider, PublishedTransfer, Put, Receiver, Request,
    Slot, Store, WallTime,
};

const NOW: WallTime = WallTime(1_700_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (keys, value_bytes) = (number(100_000)?, number(100)?);
    let (from_folder, to_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (from, mut writer) = Store::open(from_folder.path(), &OpenOptions::new(NOW, [1; 32]))?;
    let began = Instant::now();
    for key in 0..keys {
        put(&mut writer, key, value_bytes)?;
        if key % 1000 == 999 {
            writer.commit()?;
        }
    }
    writer.commit()?;
    let ingesting = began.elapsed();
    let replica = tombolo_crdt::ReplicaId::new(77).ok_or("a name")?;
    let slot = Slot::new(1).ok_or("a slot")?;
    let founding = Founding::Join { mesh: from.identity().mesh, replica, slot };
    let options = OpenOptions { founding, ..OpenOptions::new(NOW, [2; 32]) };
    let (to, mut committer) = Store::open(to_folder.path(), &options)?;
    println!("{keys} keys of {value_bytes} bytes, written in groups of 1000 in {ingesting:?}");
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

/// The head of whoever it is, by nobody's key.
#[expect(clippy::unnecessary_wraps, reason = "it stands for a hand that signs for some")]
fn sign(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
}

/// Takes a transfer, and tells what it has cost.
fn take(
    what: &str,
    from: &Store,
    writer: &mut Committer,
    to: &Store,
    committer: &mut Committer,
) -> Result<(), Box<dyn Error>> {
    println!("{what}:");
    let mut receiver = Receiver::resume(to)?;
    let is_over = AtomicBool::new(false);
    // Writers at the provider while the moment is listed.
    let mut waits = std::thread::scope(|scope| -> Result<Vec<Duration>, Box<dyn Error>> {
        let writing = scope.spawn(|| {
            let mut waits = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                waits.push(put_beside(writer, waits.len()).ok()?);
            }
            Some(waits)
        });
        let outcome = pull(from, &mut receiver, committer);
        is_over.store(true, Ordering::Relaxed);
        outcome?;
        Ok(writing.join().ok().flatten().ok_or("the writer failed")?)
    })?;
    tell("a put at the provider meanwhile", &mut waits);
    let asked = Instant::now();
    let complete = receiver.complete()?.ok_or("everything came")?.prove(|_| Ok::<_, Infallible>(()))?;
    println!("  completed in {:?}", asked.elapsed());
    join(committer, complete)
}

/// Executes a put, without waiting for the disk but every 64th time, and rests.
fn put_beside(writer: &mut Committer, count: usize) -> Result<Duration, Box<dyn Error>> {
    let asked = Instant::now();
    let put = Put { key: "beside".into(), value: Some("v".into()), lease: Some(0), previous: false };
    writer.execute(NOW, Request::Put(put))?;
    let waited = asked.elapsed();
    if count % 64 == 63 {
        writer.commit()?;
    }
    std::thread::sleep(Duration::from_millis(1));
    Ok(waited)
}

fn tell(what: &str, waits: &mut [Duration]) {
    waits.sort();
    let (median, many) = (waits.get(waits.len() / 2), waits.get(waits.len() * 999 / 1000));
    println!("  {what}: {} times, median {median:?}, 99.9% {many:?}, longest {:?}", waits.len(), waits.last());
}

/// Pulls everything, and stages it.
fn pull(from: &Store, receiver: &mut Receiver, committer: &mut Committer) -> Result<(), Box<dyn Error>> {
    let (provider, began) = (Provider::new(from), Instant::now());
    let (mut up, mut down, mut rounds, mut longest) = (0, 0, 0, Duration::ZERO);
    loop {
        let pulls = receiver.next_pulls(4);
        if pulls.is_empty() {
            let staged = began.elapsed();
            println!("  {down} bytes down, {up} up, {rounds} rounds; staged in {staged:?}, longest answer {longest:?}");
            return Ok(());
        }
        rounds += 1;
        for pull in pulls {
            up += pull.body.len();
            let asked = Instant::now();
            let page = provider.answer(Duration::ZERO, pull.body, sign)?;
            longest = longest.max(asked.elapsed());
            down += page.len();
            committer.stage(NOW, receiver.take(pull.id, page)?)?;
        }
        committer.commit()?;
    }
}

/// Joins what has come: at once if it is little, and otherwise beside writers.
fn join(committer: &mut Committer, complete: CompleteTransfer) -> Result<(), Box<dyn Error>> {
    let (began, cpu) = (Instant::now(), processor_ns());
    let (published, elsewhere) = if complete.is_large() {
        join_beside(committer, complete)?
    } else {
        (committer.publish_transfer(NOW, complete)?, 0)
    };
    let (joining, cpu) = (began.elapsed(), processor_ns() - cpu + elsewhere);
    let elements = (published.added + published.removed).max(1) as f64;
    println!(
        "  joined {} in, {} out in {joining:?}: {:.2} us each, {:.2} us of them on the processor, writers included",
        published.added,
        published.removed,
        joining.as_secs_f64() * 1e6 / elements,
        cpu as f64 / 1e3 / elements
    );
    Ok(())
}

/// Joins beside a writer at the receiver, which waits for the disk with every put. Returns the processor time of the other thread, too.
fn join_beside(
    committer: &mut Committer,
    complete: CompleteTransfer,
) -> Result<(PublishedTransfer, u64), Box<dyn Error>> {
    let asked = Instant::now();
    let (_, preparation) = committer.prepare_transfer(NOW, complete)?;
    let mut preparation = preparation.ok_or("it brings something")?;
    println!("  begun in {:?}", asked.elapsed());
    let asked = Instant::now();
    let running = std::thread::spawn(move || {
        preparation.run();
        (preparation, processor_ns())
    });
    let mut waits = Vec::new();
    while !running.is_finished() {
        let asked = Instant::now();
        put(committer, waits.len() % 1000 * 7, 100)?;
        committer.commit()?;
        waits.push(asked.elapsed());
    }
    let (preparation, processor) = running.join().map_err(|_| "the preparation failed")?;
    println!("  prepared in {:?}, {:?} of a processor", asked.elapsed(), Duration::from_nanos(processor));
    tell("a put at the receiver meanwhile, durable", &mut waits);
    let asked = Instant::now();
    let published = committer.publish_prepared(NOW, preparation)?;
    println!("  published in {:?}", asked.elapsed());
    Ok((published, processor))
}
