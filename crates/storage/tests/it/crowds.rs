//! Records that change one key more than once: one change for clients, which is told where it was changed last.

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Operation, ReplicaId};
use tombolo_storage::{Commit, Event};

use crate::{
    gate::Author,
    memory::{Bench, Stop},
    support::*,
};

const AUTHOR: u64 = 77;

fn element(seq: u64, index: u32) -> Element {
    Dot::new(ReplicaId::new(AUTHOR).unwrap(), seq).element(index)
}

fn write(key: &str, value: &str, supersedes: Vec<Element>) -> Operation {
    Operation::Put { key: bytes(key), value: bytes(value), lease: None, supersedes }
}

fn remove(key: &str, elements: Vec<Element>) -> Operation {
    Operation::Remove { key: bytes(key), elements }
}

/// What clients are told of a record.
fn told(bench: &mut Bench, record: Bytes) -> Vec<(String, Option<String>)> {
    bench.committer.ingest(bench.wall, record).unwrap();
    let commits = bench.commit();
    commits.iter().flat_map(|commit: &std::sync::Arc<Commit>| commit.events.clone()).map(named).collect()
}

fn named(event: Event) -> (String, Option<String>) {
    match event {
        Event::Put(pair) => (text(&pair.key), Some(text(&pair.value))),
        Event::Delete { key, .. } => (text(&key), None),
    }
}

fn shown(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(value.to_owned()))
}

#[test]
fn a_key_that_a_record_changes_again_is_told_once_where_it_was_changed_last_and_as_it_is_then() {
    let mut bench = Bench::of(1, NOW);
    let mut author = Author::new(AUTHOR);
    let puts = ["a", "b", "c", "a", "d", "b", "a", "e"];
    let operations = puts.iter().enumerate().map(|(at, key)| write(key, &at.to_string(), Vec::new())).collect();
    let first = told(&mut bench, author.write(&[], operations));
    assert_eq!(first, [shown("c", "2"), shown("d", "4"), shown("b", "5"), shown("a", "6"), shown("e", "7")]);
    for key in ["a", "b", "c", "d", "e"] {
        let pair = get(&bench.store, key).unwrap();
        assert_eq!((pair.version, pair.create_revision), (1, pair.mod_revision), "{key} was changed once");
    }
    // A value of `a` goes that nobody was shown, and then the one that was; `b` is emptied and written anew.
    let operations = vec![
        remove("a", vec![element(1, 0)]),
        remove("b", vec![element(1, 1), element(1, 5)]),
        remove("a", vec![element(1, 6)]),
        write("b", "new", vec![]),
        remove("e", vec![element(1, 7)]),
    ];
    let second = told(&mut bench, author.write(&[], operations));
    assert_eq!(second, [shown("a", "3"), shown("b", "new"), ("e".to_owned(), None)]);
    let (before, digest) = (all(&bench.store), bench.store.digest());
    let history: Vec<_> = history(&bench.store, 1).into_iter().flat_map(|commit| commit.events).map(named).collect();
    assert_eq!(history, first.into_iter().chain(second).collect::<Vec<_>>());
    let bench = bench.reopen(Stop::Crash);
    assert_eq!((all(&bench.store), bench.store.digest()), (before, digest));
}
