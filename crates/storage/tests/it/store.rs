//! What a store promises its callers: reads see whole commits, history stays as it was, a reopened store is the same store.

use crate::support::*;
use tombolo_storage::{Event, KeyRange, Op, Outcome, RangeQuery, ReadError, Request, RequestError, Transaction};

#[test]
fn an_empty_store_is_at_revision_one_and_its_first_write_is_two() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    assert_eq!(store.published().revision.get(), 1);
    assert_eq!(run(&mut committer, put("a", "1")).revision.get(), 2);
    assert_eq!(store.published().revision.get(), 2);
}

#[test]
fn nothing_is_visible_before_its_group_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    try_run(&mut committer, put("a", "1")).unwrap();
    assert_eq!(get(&store, "a"), None);
    let commits = commit(&mut committer);
    assert_eq!(commits.len(), 1);
    assert_eq!(value(&store, "a").as_deref(), Some("1"));
}

#[test]
fn a_key_counts_its_writes_from_its_creation() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    run(&mut committer, put("a", "1"));
    let second = run(&mut committer, put("a", "2"));
    assert_eq!(previous(&second).map(|pair| text(&pair.value)).as_deref(), Some("1"));
    let pair = get(&store, "a").unwrap();
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (2, 3, 2));
    run(&mut committer, delete(single("a")));
    run(&mut committer, put("a", "3"));
    let pair = get(&store, "a").unwrap();
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (5, 5, 1));
}

#[test]
fn old_revisions_read_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    run(&mut committer, put("a", "1"));
    run(&mut committer, put("a", "2"));
    run(&mut committer, delete(single("a")));
    assert_eq!(get_at(&store, "a", 1), None);
    assert_eq!(text(&get_at(&store, "a", 2).unwrap().value), "1");
    assert_eq!(text(&get_at(&store, "a", 3).unwrap().value), "2");
    assert_eq!(get_at(&store, "a", 4), None);
    let future = RangeQuery { revision: 5, ..RangeQuery::all(single("a")) };
    assert!(matches!(store.range(&future), Err(ReadError::FutureRevision { current: 4 })));
}

#[test]
fn a_transaction_is_one_revision_and_sees_its_own_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    let Request::Put(a) = put("a", "1") else { unreachable!() };
    let Request::Put(b) = put("b", "1") else { unreachable!() };
    let read = Op::Range(RangeQuery::all(KeyRange::all()));
    let transaction = Transaction { then: vec![Op::Put(a), read, Op::Put(b)], ..Transaction::default() };
    let answer = run(&mut committer, Request::Txn(transaction));
    let Outcome::Txn(answer) = answer.outcome else { panic!("a transaction answers as one") };
    let tombolo_storage::OpAnswer::Range(read) = &answer.results[1] else { panic!("the second step reads") };
    assert_eq!((read.count, read.revision.get()), (1, 2));
    assert_eq!(all(&store).iter().map(|pair| pair.mod_revision).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(history(&store, 1).len(), 1);
}

#[test]
fn a_refused_transaction_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    let Request::Put(a) = put("a", "1") else { unreachable!() };
    let Request::Put(b) = put_leased("b", "1", 77) else { unreachable!() };
    let transaction = Transaction { then: vec![Op::Put(a), Op::Put(b)], ..Transaction::default() };
    let refused = try_run(&mut committer, Request::Txn(transaction));
    assert!(matches!(refused, Err(RequestError::LeaseNotFound { id: 77 })));
    commit(&mut committer);
    assert_eq!(all(&store), []);
    assert_eq!(store.published().revision.get(), 1);
}

#[test]
fn a_reopened_store_is_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    run(&mut committer, Request::LeaseGrant { id: 9, ttl_s: 60 });
    for round in 0..200 {
        run(&mut committer, put(&format!("k{}", round % 17), &format!("v{round}")));
        if round % 7 == 0 {
            run(&mut committer, delete(single(&format!("k{}", round % 5))));
        }
    }
    run(&mut committer, put_leased("leased", "x", 9));
    run(&mut committer, put("compact_rev_key", "5"));
    let before = (all(&store), history(&store, 1), store.published(), store.digest(), store.frontier());
    committer.close().unwrap();
    drop(store);
    let (store, mut committer) = open(folder.path());
    let after = (all(&store), history(&store, 1), store.published(), store.digest(), store.frontier());
    assert_eq!(before, after);
    assert_eq!(store.leases(), [(9, 60)]);
    assert_eq!(run(&mut committer, put("next", "1")).revision.get(), before.2.revision.get() + 1);
}

#[test]
fn a_store_that_was_not_closed_recovers_what_it_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    run(&mut committer, put("a", "1"));
    try_run(&mut committer, put("b", "never committed")).unwrap();
    drop((store, committer));
    let (store, _committer) = open(folder.path());
    assert_eq!(all(&store).len(), 1);
    assert_eq!(store.published().revision.get(), 2);
}

#[test]
fn large_deletes_name_their_range_and_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    for key in 0..100 {
        run(&mut committer, put(&format!("k{key:03}"), "v"));
    }
    run(&mut committer, put("compact_rev_key", "1"));
    let answer = run(&mut committer, delete(KeyRange::before(bytes("c"), bytes("k090"))));
    let Outcome::Delete(answer) = answer.outcome else { panic!("a delete answers as one") };
    assert_eq!((answer.deleted, answer.previous.len()), (91, 91));
    assert_eq!(all(&store).len(), 10);
    let told = history(&store, 103);
    assert_eq!(told[0].events.len(), 91);
    drop((store, committer));
    let (store, _committer) = open(folder.path());
    assert_eq!(all(&store).len(), 10);
    assert_eq!(history(&store, 103), told);
}

#[test]
fn an_ended_lease_takes_its_keys_along_in_one_revision() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    run(&mut committer, Request::LeaseGrant { id: 5, ttl_s: 10 });
    assert_eq!(store.published().revision.get(), 1);
    run(&mut committer, put_leased("a", "1", 5));
    run(&mut committer, put_leased("b", "1", 5));
    run(&mut committer, put("a", "moved away"));
    let answer = run(&mut committer, Request::LeaseKeys { id: 5 });
    assert_eq!(answer.outcome, Outcome::LeaseKeys(vec![bytes("b")]));
    assert_eq!(run(&mut committer, Request::LeaseRevoke { id: 5 }).revision.get(), 5);
    assert_eq!(value(&store, "a").as_deref(), Some("moved away"));
    assert_eq!(value(&store, "b"), None);
    assert_eq!(store.leases(), []);
    let refused = try_run(&mut committer, Request::LeaseRevoke { id: 5 });
    assert!(matches!(refused, Err(RequestError::LeaseNotFound { id: 5 })));
}

#[test]
fn history_tells_each_event_once_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    for round in 0..50 {
        run(&mut committer, put(&format!("k{}", round % 3), &round.to_string()));
        run(&mut committer, Request::LeaseGrant { id: round + 1, ttl_s: 60 });
    }
    let mut from = 1;
    let mut seen = Vec::new();
    while from <= store.published().revision.get() {
        let budget = tombolo_storage::HistoryBudget { commits: 7, bytes: usize::MAX };
        let chunk = store.history(from, &single("k1"), budget).unwrap();
        assert!(chunk.next > from);
        seen.extend(chunk.commits.iter().flat_map(|commit| commit.events.iter().map(Event::revision)));
        from = chunk.next;
    }
    assert_eq!(seen, (0..50).filter(|round| round % 3 == 1).map(|round| round + 2).collect::<Vec<i64>>());
}

#[test]
fn a_sealed_group_is_visible_to_what_is_executed_and_not_to_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    try_run(&mut committer, put("a", "1")).unwrap();
    let mut group = committer.seal().unwrap().expect("something was executed");
    let replaced = try_run(&mut committer, put("a", "2")).unwrap();
    assert_eq!(previous(&replaced).map(|pair| text(&pair.value)).as_deref(), Some("1"));
    group.persist();
    assert_eq!(value(&store, "a"), None);
    assert_eq!(committer.publish(group).unwrap().len(), 1);
    assert_eq!((value(&store, "a").as_deref(), store.published().revision.get()), (Some("1"), 2));
    commit(&mut committer);
    assert_eq!((value(&store, "a").as_deref(), store.published().revision.get()), (Some("2"), 3));
}

#[test]
fn a_group_that_was_never_persisted_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    try_run(&mut committer, put("a", "1")).unwrap();
    let group = committer.seal().unwrap().expect("something was executed");
    assert!(committer.publish(group).is_err());
    assert_eq!(value(&store, "a"), None);
    assert!(matches!(try_run(&mut committer, put("b", "1")), Err(RequestError::Poisoned { .. })));
}
