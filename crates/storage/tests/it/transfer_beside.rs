//! A join that is prepared beside the running state: what happens to those who read and write meanwhile, and to what they write.

use tombolo_storage::{
    ArrivalBudget, CompleteTransfer, HistoryBudget, IngestError, KeyRange, Preparation, ReadError, Receiver, Request,
    RequestError, TransferError,
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    support::*,
    transfer_crash::{apart, prepared, seen, send, staged},
};

fn begun(to: &mut Bench, transfer: CompleteTransfer) -> Preparation {
    to.committer.prepare_transfer(to.wall, transfer).unwrap().1.expect("it brings something")
}

/// Sends whatever the one has and the other lacks, and sees that both have the same.
fn equalise(to: &mut Bench, from: &mut Bench) {
    send(to, from);
    assert_eq!((to.store.frontier(), to.store.digest()), (from.store.frontier(), from.store.digest()));
    let values = |bench: &Bench| all(&bench.store).into_iter().map(|pair| (pair.key, pair.value)).collect::<Vec<_>>();
    assert_eq!(values(to), values(from));
}

#[test]
fn who_writes_meanwhile_reads_the_old_state_and_what_was_written_stays() {
    let (mut from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let mut preparation = begun(&mut to, transfer);
    let mut last = to.store.published().revision.get();
    let mut write = |to: &mut Bench, request| {
        let revision = to.run(request).revision.get();
        assert_eq!(revision, last + 1);
        last = revision;
        assert_eq!(value(&to.store, "new05"), None, "nobody sees a part of it");
    };
    // What the transfer writes, what it removes, what it does not know, and what only it has.
    write(&mut to, put("common01", "beside"));
    write(&mut to, put("common55", "beside"));
    write(&mut to, put("mine01", "beside"));
    write(&mut to, put("new07", "beside"));
    preparation.run();
    write(&mut to, put("common02", "after"));
    write(&mut to, delete(single("common56")));
    write(&mut to, delete(single("common03")));
    write(&mut to, put("new08", "after"));
    write(&mut to, put("own", "after"));
    let published = to.committer.publish_prepared(to.wall, preparation).unwrap();
    let joined = published.commits.last().unwrap().revision.get();
    assert!(joined > last, "revisions only grow");
    assert_eq!(to.store.published().compacted, joined, "and history begins there");
    assert_eq!(value(&to.store, "new05"), Some("y".repeat(20_000)));
    for (key, value_there) in [("common55", "beside"), ("mine01", "beside"), ("own", "after")] {
        assert_eq!(value(&to.store, key).as_deref(), Some(value_there), "{key}");
    }
    assert_eq!(value(&to.store, "common56"), None);
    let shown = seen(&to.store);
    let mut to = to.reopen(Stop::Crash);
    assert!(seen(&to.store) == shown, "what is read back is what was shown");
    assert!(to.run(put("next", "1")).revision.get() > joined);
    equalise(&mut to, &mut from);
    to.sweep();
    let shown = seen(&to.store);
    let to = to.reopen(Stop::Crash);
    assert!(seen(&to.store) == shown, "compaction passes over the numbers that nobody has");
}

#[test]
fn numbers_that_nobody_has_may_follow_right_on_rows_that_compaction_took() {
    let (mut from, mut to) = apart();
    for round in 0..3 {
        from.run(put("common01", &format!("{round}")));
        let transfer = staged(&from, &mut to);
        let mut preparation = begun(&mut to, transfer);
        preparation.run();
        to.committer.publish_prepared(to.wall, preparation).unwrap();
        let shown = seen(&to.store);
        to = to.reopen(Stop::Crash);
        assert!(seen(&to.store) == shown, "round {round}");
        // The rows of the join go, and the next one begins right above them.
        to.sweep();
    }
}

#[test]
fn what_cannot_be_done_beside_a_join_is_refused_by_name() {
    let (mut from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let again = transfer.clone();
    let mut preparation = begun(&mut to, transfer);
    assert!(to.committer.is_joining());
    from.run(put("other", "1"));
    let mut has_transfer = to.store.frontier();
    has_transfer.join(&from.store.frontier());
    let mut other = Bench::of(3, NOW);
    other.run(put("other", "1"));
    let record = other.store.arrivals(&to.store.frontier(), 0, EVERYTHING).unwrap().records.remove(0);
    assert!(matches!(to.committer.ingest(to.wall, record.bytes.clone()), Err(IngestError::Joining)));
    let refused = to.committer.publish_transfer(to.wall, again.clone());
    assert!(matches!(refused, Err(TransferError::JoinUnderWay)));
    let refused = to.committer.prepare_transfer(to.wall, again).map(drop);
    assert!(matches!(refused, Err(TransferError::JoinUnderWay)));
    preparation.run();
    to.committer.publish_prepared(to.wall, preparation).unwrap();
    assert!(!to.committer.is_joining());
    to.committer.ingest(to.wall, record.bytes).unwrap();
    to.commit();
    assert_eq!(value(&to.store, "other").as_deref(), Some("1"));
}

#[test]
fn a_join_that_is_given_up_leaves_what_was_there_and_what_was_staged() {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let (before, rows) = (seen(&to.store), to.commit_rows());
    let mut preparation = begun(&mut to, transfer);
    preparation.run();
    assert!(to.commit_rows().len() > rows.len(), "its rows were there");
    to.committer.abandon_transfer(preparation).unwrap();
    assert!(seen(&to.store) == before);
    assert_eq!((to.commit_rows(), to.rows_of(b'i')), (rows, 0));
    to.run(put("goes on", "1"));
    let mut to = to.reopen(Stop::Crash);
    assert_eq!(value(&to.store, "goes on").as_deref(), Some("1"));
    assert!(Receiver::resume(&to.store).unwrap().progress().elements > 0);
    let transfer = staged(&from, &mut to);
    prepared(&mut to, transfer).unwrap();
    assert_eq!(value(&to.store, "new05"), Some("y".repeat(20_000)));
}

#[test]
fn one_that_was_not_run_is_not_published() {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let before = seen(&to.store);
    let preparation = begun(&mut to, transfer);
    let refused = to.committer.publish_prepared(to.wall, preparation);
    assert!(matches!(refused, Err(TransferError::NotPrepared)));
    assert!(seen(&to.store) == before && !to.committer.is_joining());
}

#[test]
fn a_staged_row_that_is_lost_is_found_before_anything_has_changed() {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let before = seen(&to.store);
    let mut preparation = begun(&mut to, transfer);
    to.engine.spoil(b"t", b"u");
    preparation.run();
    let refused = to.committer.publish_prepared(to.wall, preparation);
    assert!(matches!(refused, Err(TransferError::Read(_))), "{refused:?}");
    assert!(seen(&to.store) == before);
    to.run(put("goes on", "1"));
}

#[test]
fn what_was_written_beside_a_join_that_a_crash_stopped_is_there_and_nothing_else() {
    for how in [Stop::Kill, Stop::Crash] {
        let (from, mut to) = apart();
        let transfer = staged(&from, &mut to);
        let mut preparation = begun(&mut to, transfer);
        to.run(put("beside", "1"));
        preparation.run();
        to.run(put("beside", "2"));
        let shown = seen(&to.store);
        let to = to.reopen(how);
        assert!(seen(&to.store) == shown);
        assert_eq!(to.rows_of(b'i'), 0);
        drop(preparation);
    }
}

#[test]
fn who_takes_all_numbers_before_it_waits_for_the_join() {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let mut preparation = begun(&mut to, transfer);
    let mut written = 0;
    while !to.committer.must_join() {
        to.try_run(put("beside", "1")).unwrap();
        written += 1;
        if written % 1000 == 0 {
            to.commit();
        }
    }
    assert!(matches!(to.try_run(put("beside", "2")), Err(RequestError::Joining)));
    to.commit();
    preparation.run();
    to.committer.publish_prepared(to.wall, preparation).unwrap();
    to.run(put("beside", "2"));
    assert_eq!(value(&to.store, "new05"), Some("y".repeat(20_000)));
}

#[test]
fn the_log_is_told_past_the_numbers_that_nobody_has() {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let (seen_before, next_before) = (to.store.frontier(), to.store.published().commit + 1);
    let mut preparation = begun(&mut to, transfer);
    to.run(put("beside", "1"));
    preparation.run();
    to.committer.publish_prepared(to.wall, preparation).unwrap();
    to.run(put("later", "1"));
    let mut peer = from.store.frontier();
    peer.join(&seen_before);
    let budget = ArrivalBudget { commits: 100_000, bytes: usize::MAX };
    let told = to.store.arrivals(&peer, next_before, budget).unwrap();
    assert_eq!(told.records.len(), 2, "what was written beside it, and since");
    assert_eq!(told.next, to.store.published().commit + 1);
    // From the middle of them, too.
    let told = to.store.arrivals(&peer, next_before + 100, budget).unwrap();
    assert_eq!(told.records.len(), 1);
    let old = to.store.history(2, &KeyRange::all(), HistoryBudget { commits: 9, bytes: 9 });
    assert!(matches!(old, Err(ReadError::Compacted { .. })));
}

#[test]
fn what_a_transfer_takes_from_a_lease_is_not_attached_to_it_any_more() {
    for is_prepared in [false, true] {
        let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
        from.run(Request::LeaseGrant { id: 5, ttl_s: 60 });
        from.run(put_leased("loosened", "1", 5));
        from.run(put_leased("stays", "1", 5));
        send(&from, &mut to);
        from.run(put("loosened", "2"));
        from.run(put_leased("comes", "1", 5));
        let transfer = staged(&from, &mut to);
        if is_prepared {
            prepared(&mut to, transfer).unwrap();
        } else {
            to.committer.publish_transfer(to.wall, transfer).unwrap();
        }
        assert_eq!(to.store.lease_keys(5), [bytes("comes"), bytes("stays")]);
    }
}
