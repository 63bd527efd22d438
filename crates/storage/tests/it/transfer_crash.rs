//! A transfer that is stopped anywhere: whatever was written by then, what is found is the state before or the state after, and never anything else.

use std::time::Duration;

use tombolo_crdt::VersionVector;
use tombolo_storage::{
    CompleteTransfer, KeyRange, KeyValue, Provider, PublishedTransfer, Receiver, Request, Store, SystemEntry,
    TransferError,
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    support::*,
    system::{system_put, system_remove},
    transfer::{pull, sign, whole},
};

/// Two stores that had the same once. The first has gone on and forgotten its log; the second has written as well.
pub(crate) fn apart() -> (Bench, Bench) {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    for key in 0..60 {
        from.run(put(&format!("common{key:02}"), "old"));
    }
    from.run(Request::LeaseGrant { id: 5, ttl_s: 60 });
    from.run(put_leased("leased", "5", 5));
    from.run(Request::System(vec![system_put("a", "old"), system_put("gone", "old")]));
    send(&from, &mut to);
    for key in 0..40 {
        from.run(put(&format!("common{key:02}"), &"x".repeat(40_000)));
        from.run(put(&format!("new{key:02}"), &"y".repeat(20_000)));
    }
    from.run(delete(KeyRange::before(bytes("common5"), bytes("common6"))));
    from.run(Request::LeaseRevoke { id: 5 });
    from.run(Request::LeaseGrant { id: 6, ttl_s: 60 });
    from.run(put_leased("leased", "6", 6));
    from.run(Request::System(vec![system_put("a", "new"), system_remove("gone")]));
    let revision = from.store.published().revision.get();
    from.compact(revision);
    from.sweep();
    for key in 0..10 {
        to.run(put(&format!("common{key:02}"), "mine"));
        to.run(put(&format!("mine{key:02}"), "mine"));
    }
    (from, to)
}

pub(crate) fn send(from: &Bench, to: &mut Bench) {
    let arrivals = from.store.arrivals(&to.store.frontier(), 0, EVERYTHING).expect("the log reaches back far enough");
    for arrival in arrivals.records {
        to.committer.ingest(to.wall, arrival.bytes).unwrap();
    }
    to.commit();
}

pub(crate) type Seen = (Vec<KeyValue>, VersionVector, u128, Vec<SystemEntry>, Vec<Vec<KeyValue>>);

pub(crate) fn seen(store: &Store) -> Seen {
    let published = store.published();
    let revisions = published.compacted.max(1)..=published.revision.get();
    let past = revisions.rev().step_by(40).map(|revision| all_at(store, revision)).collect();
    (all(store), store.frontier(), store.digest(), store.system(b""), past)
}

pub(crate) fn staged(from: &Bench, to: &mut Bench) -> CompleteTransfer {
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, to, |page| page).unwrap();
    whole(&receiver)
}

/// A way of joining a transfer.
type Way = fn(&mut Bench, CompleteTransfer) -> Result<PublishedTransfer, TransferError>;

pub(crate) fn at_once(to: &mut Bench, transfer: CompleteTransfer) -> Result<PublishedTransfer, TransferError> {
    to.committer.publish_transfer(to.wall, transfer)
}

pub(crate) fn prepared(to: &mut Bench, transfer: CompleteTransfer) -> Result<PublishedTransfer, TransferError> {
    let (_, preparation) = to.committer.prepare_transfer(to.wall, transfer)?;
    let mut preparation = preparation.expect("it brings something");
    preparation.run();
    to.committer.publish_prepared(to.wall, preparation)
}

#[test]
fn wherever_a_publication_stops_it_was_carried_out_or_not_begun() {
    stop_everywhere(at_once);
}

#[test]
fn wherever_a_prepared_publication_stops_it_was_carried_out_or_not_begun() {
    stop_everywhere(prepared);
}

fn stop_everywhere(join: Way) {
    let (from, mut to) = apart();
    let transfer = staged(&from, &mut to);
    let before = seen(&to.store);
    join(&mut to, transfer).unwrap();
    let after = seen(&to.store);
    let mut not_begun = 0;
    for syncs_only in [false, true] {
        for failing in 1..20 {
            let (from, mut to) = apart();
            let transfer = staged(&from, &mut to);
            if syncs_only {
                to.engine.fail_sync_in(failing)
            } else {
                to.engine.fail_in(failing)
            }
            let outcome = join(&mut to, transfer);
            let shown = seen(&to.store);
            match &outcome {
                Ok(_) => assert_eq!(shown, after),
                Err(TransferError::Commit(_)) => {
                    assert_eq!(shown, before, "write {failing}: readers see the old state")
                }
                Err(other) => panic!("{other}"),
            }
            for engine in [to.engine.crash(), to.engine.kill()] {
                let mut again = Bench::on_as(engine, 2);
                let found = seen(&again.store);
                assert!(found == before || (found == after), "write {failing}: neither the one nor the other");
                assert!(outcome.is_err() || found == after, "write {failing}: what was published is there");
                if found == before {
                    not_begun += 1;
                    assert_eq!(again.rows_of(b'i'), 0, "nothing is left of the attempt");
                    assert!(Receiver::resume(&again.store).unwrap().progress().elements > 0, "what was staged is");
                    let transfer = staged(&from, &mut again);
                    join(&mut again, transfer).unwrap();
                    assert_eq!(seen(&again.store).0, after.0);
                }
                again.sweep();
                assert_eq!(again.rows_of(b't'), 0, "what was staged has gone");
                let again = again.reopen(Stop::Crash);
                assert_eq!((seen(&again.store).1, seen(&again.store).2), (after.1.clone(), after.2));
            }
        }
    }
    assert!(not_begun > 10, "only {not_begun} attempts were stopped");
}

#[test]
fn what_is_staged_outlives_a_restart_and_is_not_asked_for_again() {
    let (from, mut to) = apart();
    let provider = Provider::new(&from.store);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    // Until some elements have come.
    while receiver.progress().elements < 30 {
        for pull in receiver.next_pulls(1) {
            let page = provider.answer(Duration::ZERO, pull.body, sign).unwrap();
            let staged = receiver.take(pull.id, page).unwrap();
            to.committer.stage(to.wall, staged).unwrap();
        }
    }
    let had = receiver.progress().elements;
    to.commit();
    let mut to = to.reopen(Stop::Crash);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    assert_eq!(receiver.progress().elements, had);
    let mut bytes = 0;
    pull(&provider, &mut receiver, &mut to, |page| {
        bytes += page.len();
        page
    })
    .unwrap();
    assert!(bytes < 2_400_000 - 30 * 20_000, "{bytes} bytes came once more");
    let transfer = whole(&receiver);
    to.committer.publish_transfer(to.wall, transfer).unwrap();
    assert_eq!(value(&to.store, "new39"), Some("y".repeat(20_000)));
}

#[test]
fn a_transfer_that_is_given_up_leaves_nothing() {
    let (from, mut to) = apart();
    let before = seen(&to.store);
    drop(staged(&from, &mut to));
    assert!(to.rows_of(b't') > 0);
    to.committer.drop_transfer().unwrap();
    to.sweep();
    assert_eq!(to.rows_of(b't'), 0);
    assert_eq!(seen(&to.store), before);
    assert_eq!(Receiver::resume(&to.store).unwrap().progress().elements, 0);
}
