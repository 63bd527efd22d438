//! What it costs to compare two stores at the meet of their frontiers, and to repair one of them from the other: time, memory, and how long a writer waits.
//!
//! ```text
//! cargo run --release -p tombolo-storage --example repair_cost -- 100000 100000
//! ```
//!
//! The arguments are keys, and how many of them hold something else at the one that is repaired.

#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]

use std::{
    convert::Infallible,
    error::Error,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead};
use tombolo_storage::{
    ArrivalBudget, Committer, Founding, Meet, OpenOptions, Provider, Put, Receiver, Request, Slot, Store, WallTime,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const NOW: WallTime = WallTime(1_700_000_000_000);
const EVERYTHING: ArrivalBudget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
/// Writes in a group.
const GROUP: usize = 1000;
/// What stands in values, and what stands there where a disk has changed them.
const RIGHT: u8 = b'v';
const WRONG: u8 = b'w';

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let keys = number(100_000)?;
    let differing = number(keys)?;
    let (right_folder, wrong_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (right, mut writer) = Store::open(right_folder.path(), &OpenOptions::new(NOW, [1; 32]))?;
    write(&mut writer, 0..keys)?;
    let replica = ReplicaId::new(77).ok_or("a name")?;
    let founding = Founding::Join { mesh: right.identity().mesh, replica, slot: Slot::new(1).ok_or("a slot")? };
    let options = OpenOptions { founding, ..OpenOptions::new(NOW, [2; 32]) };
    let (wrong, mut committer) = Store::open(wrong_folder.path(), &options)?;
    hand_on(&right, &wrong, &mut committer)?;
    println!("{keys} keys of 100 bytes at both, {} in memory", resident());
    committer.close()?;
    drop(wrong);
    falsify(wrong_folder.path(), differing)?;
    let (wrong, mut committer) = Store::open(wrong_folder.path(), &options)?;
    repair(&right, &wrong, &mut committer)?;
    // Each overwrites a part of what both have, so that neither has what the other has.
    write(&mut writer, 0..keys / 4)?;
    write(&mut committer, keys / 2..keys * 3 / 4)?;
    meet(&right, &wrong, &mut committer)
}

fn put(committer: &mut Committer, key: usize) -> Result<(), Failure> {
    let name = format!("/registry/pods/default/pod-{:08x}", (key as u32).wrapping_mul(2_654_435_761));
    let put = Put { key: name.into(), value: Some(vec![RIGHT; 100].into()), lease: Some(0), previous: false };
    committer.execute(NOW, Request::Put(put))?;
    Ok(())
}

fn write(committer: &mut Committer, keys: std::ops::Range<usize>) -> Result<(), Failure> {
    for key in keys {
        put(committer, key)?;
        if key % GROUP == GROUP - 1 {
            committer.commit()?;
        }
    }
    committer.commit()?;
    Ok(())
}

/// Gives `to` the records that it lacks, by the log.
fn hand_on(from: &Store, to: &Store, committer: &mut Committer) -> Result<(), Failure> {
    for records in from.arrivals(&to.frontier(), 0, EVERYTHING)?.records.chunks(GROUP) {
        for record in records {
            committer.ingest(NOW, record.bytes.clone())?;
        }
        committer.commit()?;
    }
    Ok(())
}

/// Changes the values in so many rows of a closed folder, and gives each the hash that it then has.
fn falsify(folder: &Path, mut count: usize) -> Result<(), Failure> {
    let engine = FjallEngine::open(&folder.join("engine"))?;
    let rows: Result<Vec<_>, _> = engine.snapshot().scan(b"c", b"d").collect();
    let mut changes = Vec::new();
    for (key, row) in rows? {
        let Some(at) = row.windows(8).position(|part| part == [RIGHT; 8]).filter(|_| count > 0) else { continue };
        let number = u64::from_be_bytes(key[1..].try_into()?);
        let mut content = row[..row.len() - 8].to_vec();
        content[at] = WRONG;
        content.extend_from_slice(&xxh3_64_with_seed(&content, number).to_be_bytes());
        changes.push(Change::Put(key, content.into()));
        count -= 1;
    }
    engine.write(changes, Persist::Disk)?;
    Ok(())
}

/// The head of whoever it is, by nobody's key.
#[expect(clippy::unnecessary_wraps, reason = "it stands for a hand that signs for some")]
fn sign(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
}

fn repair(right: &Store, wrong: &Store, committer: &mut Committer) -> Result<(), Failure> {
    let (provider, began) = (Provider::new(right), Instant::now());
    let mut receiver = Receiver::mend(wrong)?;
    let (mut down, mut waits) = (0, Vec::new());
    loop {
        let pulls = receiver.next_pulls(4);
        if pulls.is_empty() {
            break;
        }
        for pull in pulls {
            let page = provider.answer(Duration::ZERO, pull.body, sign)?;
            down += page.len();
            let pages = receiver.take(pull.id, page)?;
            let asked = Instant::now();
            committer.stage(NOW, pages)?;
            committer.commit()?;
            waits.push(asked.elapsed());
        }
    }
    println!("repair: {:?}", receiver.mends());
    println!("  compared and staged in {:?}, {down} bytes came", began.elapsed());
    tell("a page on disk, which the committer writes", &mut waits);
    let complete = receiver.complete()?.ok_or("everything came")?.prove(|_| Ok::<_, Infallible>(()))?;
    let asked = Instant::now();
    let joined = committer.publish_transfer(NOW, complete)?.added;
    println!(
        "  {joined} elements joined in {:?}, for which writers wait, {:.2} us each; {}",
        asked.elapsed(),
        asked.elapsed().as_secs_f64() * 1e6 / joined.max(1) as f64,
        resident()
    );
    if wrong.digest() == right.digest() { Ok(()) } else { Err("they hold different data still".into()) }
}

fn meet(right: &Store, wrong: &Store, committer: &mut Committer) -> Result<(), Failure> {
    let provider = Provider::new(right);
    let is_over = AtomicBool::new(false);
    let mut waits = std::thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
        let writing = scope.spawn(|| -> Result<Vec<Duration>, Failure> {
            let mut waits = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                put(committer, 0)?;
                committer.commit()?;
                waits.push(asked.elapsed());
            }
            Ok(waits)
        });
        let began = Instant::now();
        let meet = Meet::of(wrong);
        let page = provider.answer(Duration::ZERO, meet.ask(), sign)?;
        let asked = began.elapsed();
        let met = meet.take(page)?;
        println!("meet: {met:?}\n  answered in {asked:?}, compared in {:?}; {}", began.elapsed() - asked, resident());
        is_over.store(true, Ordering::Relaxed);
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    tell("a durable put at the asker meanwhile", &mut waits);
    Ok(())
}

fn tell(what: &str, waits: &mut [Duration]) {
    waits.sort();
    println!("  {what}: {} times, median {:?}, longest {:?}", waits.len(), waits.get(waits.len() / 2), waits.last());
}

/// What this process has in memory, now and at most.
fn resident() -> String {
    let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    format!("{} resident, {} at most", line("VmRSS:"), line("VmHWM:"))
}
