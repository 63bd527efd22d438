//! What a watch run does next.

use tombolo_proto::etcdserverpb::{PutRequest, WatchCreateRequest, watch_create_request::FilterType};

use super::transcript::Transcript;
use crate::request::{Request, generate::Generator, kv};

/// One step of a watch run.
#[derive(Clone, Debug)]
pub enum Step {
    /// A request to both servers; mostly one that writes.
    Ask(Request),
    /// A new watcher on a stream.
    Watch {
        /// Which stream.
        stream: usize,
        /// The watcher.
        request: WatchCreateRequest,
    },
    /// The question how far a stream has got.
    Progress {
        /// Which stream.
        stream: usize,
    },
    /// The end of a watcher.
    Cancel {
        /// Which stream.
        stream: usize,
        /// Which watcher of it.
        watch_id: i64,
    },
}

pub(super) fn next(generator: &mut Generator, streams: &[Transcript]) -> Step {
    let stream = generator.random.below(streams.len());
    match generator.random.below(100) {
        0..70 => Step::Ask(generator.write()),
        70 => Step::Ask(Request::Put(large(generator))),
        71..79 => Step::Ask(generator.request()),
        79..82 => Step::Ask(Request::Compact(kv::compact(generator))),
        82..97 => Step::Watch { stream, request: watcher(generator) },
        97 => Step::Progress { stream },
        98 if generator.random.chance(30) => Step::Cancel { stream, watch_id: UNKNOWN },
        _ => {
            // The first watcher of each stream is the rig's own.
            let alive: Vec<i64> = streams[stream].alive().skip(1).collect();
            if alive.is_empty() {
                return Step::Ask(generator.write());
            }
            Step::Cancel { stream, watch_id: generator.random.pick(&alive) }
        }
    }
}

/// A few of these make an answer that has to be split for who asks for fragments.
fn large(generator: &mut Generator) -> PutRequest {
    let letter = generator.random.pick(b"xyz");
    PutRequest { key: generator.key(), value: vec![letter; LARGE_BYTES].into(), ..Default::default() }
}

const LARGE_BYTES: usize = 600_000;
/// A watcher that is not there: to end it is answered by nothing.
pub(super) const UNKNOWN: i64 = 999;

fn watcher(generator: &mut Generator) -> WatchCreateRequest {
    let (key, range_end) = generator.interval();
    let start_revision = start(generator);
    let random = &mut generator.random;
    let filters = match random.below(20) {
        0..3 => vec![FilterType::Noput as i32],
        3..6 => vec![FilterType::Nodelete as i32],
        6 => vec![FilterType::Nodelete as i32, FilterType::Noput as i32],
        7 => vec![9],
        _ => Vec::new(),
    };
    WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify: random.chance(10),
        filters,
        prev_kv: random.chance(50),
        // Chosen ids collide with one another, and with those that servers choose.
        watch_id: if random.chance(12) { random.between(1, 9) } else { 0 },
        fragment: random.chance(30),
    }
}

/// Where a watcher begins: now, in the past, in the future, or before what is left of history.
///
/// Never negative, which etcd's releases answer differently. And never at the very revision of the last compaction: etcd
/// drops a deletion of that revision and keeps a put, newer releases keep both.
fn start(generator: &mut Generator) -> i64 {
    let (revision, compacted) = (generator.world.revision, generator.world.compacted);
    let random = &mut generator.random;
    let start = match random.below(20) {
        0..8 => 0,
        8..10 => revision + 1,
        10..14 => revision - random.between(0, 30),
        14..16 => random.between(1, revision),
        16..18 => revision + random.between(2, 6),
        _ => compacted + random.between(-3, 3),
    };
    let start = start.max(0);
    if start == compacted && start != 0 { start + 1 } else { start }
}
