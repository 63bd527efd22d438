//! What a put costs, step by step: what the thread that executes does, and what may be done beside it.
//!
//! ```text
//! cargo run --release -p tombolo-storage --example put_cost -- 400000 100000 32
//! ```
//!
//! The arguments are puts, keys to choose from, and puts of a group. Everything is done on one thread, so that a tool that counts
//! instructions sees the same ones every time; medians of groups leave out those that a neighbour on the machine got into.

#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]

use std::{error::Error, time::Instant};

use bytes::Bytes;
use tombolo_storage::{Committer, OpenOptions, Put, Request, Store, WallTime};

const NOW: WallTime = WallTime(1_700_000_000_000);
const VALUE_BYTES: usize = 256;

/// Nanoseconds of each step for one group: executing, sealing, writing and syncing, publishing.
type Steps = [u64; 4];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| arguments.next().map_or(Ok(or), |text| text.parse());
    let (puts, keys, group) = (number(400_000)?, number(100_000)?, number(32)?);
    let folder = tempfile::tempdir()?;
    let (_readers, mut committer) = Store::open(folder.path(), &OpenOptions::new(NOW, [1; 32]))?;
    let block: Bytes = (0..1_u64 << 13).flat_map(|word| mix(word).to_le_bytes()).collect();
    let mut groups: Vec<Steps> = Vec::new();
    for first in (0..puts).step_by(usize::try_from(group)?) {
        let numbers = first..puts.min(first + group);
        let requests = numbers.map(|number| put(mix(number) % keys, &block, number)).collect();
        groups.push(one_group(&mut committer, requests)?);
    }
    committer.close()?;
    let median = |step: usize| {
        let mut spent: Vec<u64> = groups.iter().map(|steps| steps[step]).collect();
        spent.sort_unstable();
        spent[spent.len() / 2] / group
    };
    println!(
        "{puts} puts of {keys} keys, {group} in a group; ns for each, median of groups: executing {}, sealing {}, publishing {}; writing and syncing {}",
        median(0),
        median(1),
        median(3),
        median(2)
    );
    Ok(())
}

fn one_group(committer: &mut Committer, requests: Vec<Request>) -> Result<Steps, Box<dyn Error>> {
    let (mut steps, mut began) = (Steps::default(), Instant::now());
    let mut ends = |step: usize| {
        steps[step] = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        began = Instant::now();
    };
    for request in requests {
        committer.execute(NOW, request)?;
    }
    ends(0);
    let mut group = committer.seal()?.ok_or("puts were executed")?;
    ends(1);
    group.persist();
    ends(2);
    drop(committer.publish(group)?);
    ends(3);
    Ok(steps)
}

fn put(key: u64, block: &Bytes, number: u64) -> Request {
    let start = mix(number) as usize % (block.len() - VALUE_BYTES);
    let value = block.slice(start..start + VALUE_BYTES);
    let key = Bytes::from(format!("key-{key:012}"));
    Request::Put(Put { key, value: Some(value), lease: Some(0), previous: false })
}

/// A number that looks random (splitmix64).
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
