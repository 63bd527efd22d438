//! What is kept of history, told in order, against a twin that was never compacted.

use std::{collections::BTreeMap, ops::ControlFlow};

use tombolo_storage::{
    Below, Committer, Event, Kept, KeyRange, Op, ReadError, Request, Store, Transaction, WallTime,
    engine::memory::MemoryEngine,
};

use crate::{
    random::Random,
    support::{NOW, delete, delete_op, history, options, put, put_op, run, single},
};

const LATER: WallTime = WallTime(NOW.0 + 60_000);

fn open() -> (Store, Committer) {
    Store::open_on(Box::new(MemoryEngine::new()), &options()).unwrap()
}

fn kept(store: &Store, last: i64, below: Below) -> Result<Vec<Kept>, ReadError> {
    let mut found = Vec::new();
    let span = store.kept(last, below, &mut |kept| {
        found.push(kept);
        ControlFlow::Continue(())
    })?;
    assert_eq!(span.published, store.published());
    assert_eq!(span.last, if last == 0 { span.published.revision.get() } else { last });
    Ok(found)
}

/// Everything that ever happened, with the ordinals that etcd gives.
fn all_changes(twin: &Store) -> Vec<Kept> {
    let commits = history(twin, 1).into_iter();
    let numbered = commits.flat_map(|commit| {
        let revision = commit.revision.get();
        (0..).zip(commit.events).map(move |(ordinal, event)| Kept { revision, ordinal, event })
    });
    numbered.collect()
}

/// The changes that a revision shows.
fn shown(all: &[Kept], at: i64) -> Vec<Kept> {
    let mut newest = BTreeMap::new();
    for change in all.iter().filter(|change| change.revision <= at) {
        newest.insert(change.event.key().clone(), change.clone());
    }
    newest.into_values().filter(|change| matches!(change.event, Event::Put(_))).collect()
}

fn wanted(all: &[Kept], compacted: i64, last: i64, below: Below) -> Vec<Kept> {
    let at_last = shown(all, last);
    let shown = if below == Below::Shown && !at_last.is_empty() { at_last } else { shown(all, compacted) };
    let removed_there = |change: &Kept| {
        below == Below::Readable && change.revision == compacted && matches!(change.event, Event::Delete { .. })
    };
    let is_kept = |change: &&Kept| {
        change.revision <= last && (change.revision > compacted || shown.contains(change) || removed_there(change))
    };
    all.iter().filter(is_kept).cloned().collect()
}

fn request(random: &mut Random) -> Request {
    let key = |random: &mut Random| format!("k{}", random.below(6));
    match random.below(6) {
        0 => delete(single(&key(random))),
        1 if random.below(4) == 0 => delete(KeyRange::all()),
        2..=3 => {
            // No key is touched twice in one transaction, as etcd wants it.
            let first = random.below(6);
            let ops = (0..1 + random.below(4)).map(|n| {
                let key = format!("k{}", (first + n) % 6);
                if random.below(3) == 0 { Op::Delete(delete_op(single(&key))) } else { Op::Put(put_op(&key, "txn")) }
            });
            Request::Txn(Transaction { then: ops.collect(), ..Default::default() })
        }
        _ => put(&key(random), "value"),
    }
}

#[test]
fn what_is_told_is_what_a_store_that_was_never_compacted_would_have_kept() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let ((store, mut committer), (twin, mut other)) = (open(), open());
        for _ in 0..40 {
            let request = request(&mut random);
            run(&mut committer, request.clone());
            run(&mut other, request);
            let published = store.published();
            if random.below(8) == 0 && published.revision.get() > published.compacted.max(1) {
                let room = published.revision.get() - published.compacted.max(1);
                let revision = published.compacted.max(1) + 1 + random.below(room.cast_unsigned()).cast_signed();
                run(&mut committer, Request::Compact { revision });
                if random.below(2) == 0 {
                    while committer.maintain(LATER).unwrap() {}
                }
            }
        }
        let (all, published) = (all_changes(&twin), store.published());
        for below in [Below::Readable, Below::Shown] {
            for last in published.compacted.max(1)..=published.revision.get() {
                let told = kept(&store, last, below).unwrap();
                assert_eq!(told, wanted(&all, published.compacted, last, below), "seed {seed}, {below:?} up to {last}");
            }
            assert_eq!(kept(&store, 0, below).unwrap(), kept(&store, published.revision.get(), below).unwrap());
        }
    }
}

#[test]
fn the_place_in_a_transaction_stays_when_earlier_changes_of_it_have_gone() {
    let (store, mut committer) = open();
    let both = vec![Op::Put(put_op("a", "1")), Op::Put(put_op("b", "1"))];
    run(&mut committer, Request::Txn(Transaction { then: both, ..Default::default() }));
    run(&mut committer, put("a", "2"));
    run(&mut committer, Request::Compact { revision: 3 });
    while committer.maintain(LATER).unwrap() {}
    let places: Vec<_> =
        kept(&store, 0, Below::Shown).unwrap().iter().map(|kept| (kept.revision, kept.ordinal)).collect();
    assert_eq!(places, [(2, 1), (3, 0)]);
}

#[test]
fn what_is_compacted_or_to_come_is_refused() {
    let (store, mut committer) = open();
    for value in ["1", "2", "3"] {
        run(&mut committer, put("a", value));
    }
    run(&mut committer, Request::Compact { revision: 3 });
    assert!(matches!(kept(&store, 2, Below::Shown), Err(ReadError::Compacted { oldest: 3 })));
    assert!(matches!(kept(&store, 5, Below::Shown), Err(ReadError::FutureRevision { current: 4 })));
    let mut visits = 0;
    let stopped = store.kept(0, Below::Shown, &mut |_| {
        visits += 1;
        ControlFlow::Break(())
    });
    assert_eq!((stopped.is_ok(), visits), (true, 1));
}
