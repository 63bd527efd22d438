//! A quota that is used up, and what gives it back.

use std::sync::Arc;

use tombolo_storage::{
    Health, KeyRange, OpenOptions, Request, RequestError, Shortage, Store, WallTime, engine::memory::MemoryEngine,
};

use crate::support::{NOW, delete, options, put, run, try_run, value};

const QUOTA: u64 = 100_000;
/// Longer than compaction leaves rows alone.
const LATER: WallTime = WallTime(NOW.0 + 60_000);

#[test]
fn a_full_quota_is_left_by_deleting_and_compacting_and_writes_go_on_by_themselves() {
    let engine = Arc::new(MemoryEngine::new());
    let limited = OpenOptions { quota_bytes: Some(QUOTA), ..options() };
    let (store, mut committer) = Store::open_on(Box::new(Arc::clone(&engine)), &limited).unwrap();
    let large = "x".repeat(5_000);
    let written = (0..).find(|n| {
        let answer = try_run(&mut committer, put(&format!("key{n}"), &large));
        committer.commit().unwrap();
        matches!(answer, Err(RequestError::NoSpace))
    });
    assert!((15..20).contains(&written.unwrap()), "{written:?}");
    let sizes = store.sizes();
    assert_eq!((store.health(), sizes.quota_bytes), (Health::NoSpace, Some(QUOTA)));
    assert!(sizes.in_use_bytes < QUOTA && sizes.in_use_bytes > QUOTA * 9 / 10, "{sizes:?}");
    assert!(matches!(try_run(&mut committer, put("small", "")), Err(RequestError::NoSpace)));
    assert_eq!(store.shortage(), Some(Shortage::Quota));
    store.forget_shortage();
    assert!(matches!(try_run(&mut committer, put("another", &large)), Err(RequestError::NoSpace)), "it is found again");

    // It is as full after a restart, and knows it when it is asked for room.
    drop((store, committer));
    let (store, mut committer) = Store::open_on(Box::new(engine), &limited).unwrap();
    assert!(matches!(try_run(&mut committer, put("key0", &large)), Err(RequestError::NoSpace)));

    run(&mut committer, delete(KeyRange::all()));
    let revision = store.published().revision.get();
    assert_eq!(store.health(), Health::NoSpace, "the old values are history, which takes room");
    run(&mut committer, Request::Compact { revision });
    while committer.maintain(LATER).unwrap() {}
    assert!(!committer.maintain(LATER).unwrap());
    assert_eq!(store.health(), Health::Ok, "nobody had to say so");
    run(&mut committer, put("key", &large));
    assert_eq!(value(&store, "key").as_deref(), Some(large.as_str()));
}

#[test]
fn a_store_closed_by_hand_takes_what_frees_and_stays_closed() {
    let (store, mut committer) = Store::open_on(Box::new(MemoryEngine::new()), &options()).unwrap();
    run(&mut committer, put("a", "1"));
    store.close_to_writes(true);
    committer.maintain(LATER).unwrap();
    assert_eq!((store.health(), store.shortage()), (Health::NoSpace, Some(Shortage::Closed)));
    assert!(matches!(try_run(&mut committer, put("a", "2")), Err(RequestError::NoSpace)));
    run(&mut committer, delete(KeyRange::all()));
    store.close_to_writes(false);
    run(&mut committer, put("a", "3"));
    assert_eq!((store.health(), value(&store, "a").as_deref()), (Health::Ok, Some("3")));
}
