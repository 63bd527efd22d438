//! What a publish costs, in nanoseconds for each commit: `cargo run --release -p tombolo-site --example publish_cost`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_site::{Credit, Hub, HubOptions, Output, WatchSpec};
use tombolo_storage::{Commit, Event, KeyRange, KeyValue, Revision, Slot};

const COMMITS: usize = 200_000;

fn main() {
    measure("no watcher", 0, 0, |at| format!("/registry/pods/ns-{}/pod-{at}", at % 500));
    measure("10,000 keys and 300 prefixes, none matches", 10_000, 300, |at| format!("/other/{at}"));
    measure("10,000 keys and 300 prefixes, one key matches", 10_000, 300, |at| format!("/key/{}", at % 10_000));
    measure("10,000 keys and 300 prefixes, one prefix matches", 10_000, 300, |at| format!("/prefix/{}/{at}", at % 300));
    measure("10,000 keys and 10,000 prefixes, one prefix matches", 10_000, 10_000, |at| {
        format!("/prefix/{}/{at}", at % 10_000)
    });
}

fn measure(name: &str, keys: usize, prefixes: usize, key_at: impl Fn(usize) -> String) {
    let credit = Credit { events: usize::MAX, bytes: usize::MAX };
    let mut hub = Hub::new(Slot::FIRST.beginning(), HubOptions { credit, ..HubOptions::default() });
    let subscriber = hub.subscribe(Duration::ZERO);
    let singles = (0..keys).map(|at| KeyRange::single(format!("/key/{at}").into()));
    let prefixes = (0..prefixes).map(|at| {
        let (start, end) = (format!("/prefix/{at}/"), format!("/prefix/{at}0"));
        KeyRange::before(start.into(), end.into())
    });
    for range in singles.chain(prefixes) {
        hub.watch(subscriber, WatchSpec::new(range, 0)).expect("the range is not empty");
    }

    let commits: Vec<Arc<Commit>> = (0..COMMITS).map(|at| put(at as i64 + 2, key_at(at))).collect();
    hub.publish(&commits[..1]);
    while hub.poll().is_some() {}
    let (begin, mut deliveries) = (read_clock(), 0);
    for commit in &commits[1..] {
        hub.publish(std::slice::from_ref(commit));
        while let Some(Output::Deliver(_)) = hub.poll() {
            deliveries += 1;
        }
    }
    let each = begin.elapsed().as_nanos() / commits.len() as u128;
    println!("{each:>6} ns  {name} ({deliveries} deliveries)");
}

fn put(revision: i64, key: String) -> Arc<Commit> {
    let pair =
        KeyValue { key: key.into(), value: vec![b'v'; 256].into(), mod_revision: revision, ..KeyValue::default() };
    let revision = Revision::new(revision).expect("small numbers are revisions");
    Arc::new(Commit { number: 1, revision, events: vec![Event::Put(pair)], leases: Vec::new(), system: Vec::new() })
}

#[expect(clippy::disallowed_methods, reason = "this is the driver: it measures")]
fn read_clock() -> Instant {
    Instant::now()
}
