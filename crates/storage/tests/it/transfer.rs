//! Transfers of state between stores: what is pulled, staged and joined.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    ops::ControlFlow,
    time::Duration,
};

use tombolo_crdt::{Chain, Dot, SignedHead, VersionVector};
use tombolo_storage::{
    ArrivalsError, Below, CompleteTransfer, Event, HistoryBudget, KeyRange, Op, Provider, PublishedTransfer, ReadError,
    Receiver, Request, SiblingValue, Transaction, TransferFault, WallTime,
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    support::*,
    system::system_put,
    transfer_crash::{apart, send},
};

/// The head of whoever it is, by nobody's key: stores look at no signature.
#[expect(clippy::unnecessary_wraps, reason = "it stands for a hand that signs for some")]
pub(crate) fn sign(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
}

/// What has come, whoever signed it.
pub(crate) fn whole(receiver: &Receiver) -> CompleteTransfer {
    let collected = receiver.complete().expect("what came is what was promised").expect("everything came");
    collected.prove(|_| Ok::<_, Infallible>(())).unwrap()
}

/// Pulls until nothing more is to be asked. Pages go through `change` on their way.
pub(crate) fn pull(
    provider: &Provider,
    receiver: &mut Receiver,
    to: &mut Bench,
    mut change: impl FnMut(bytes::Bytes) -> bytes::Bytes,
) -> Result<(), TransferFault> {
    loop {
        let pulls = receiver.next_pulls(3);
        if pulls.is_empty() {
            return Ok(());
        }
        for pull in pulls {
            let page = provider.answer(Duration::ZERO, pull.body, sign)?;
            let staged = receiver.take(pull.id, change(page))?;
            to.committer.stage(to.wall, staged).expect("there is room");
        }
        to.commit();
    }
}

#[test]
fn an_empty_store_pulls_all_there_is() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    for key in 0..500 {
        from.run(put(&format!("k{key:03}"), &"v".repeat(key)));
    }
    from.run(delete(single("k007")));
    let provider = Provider::new(&from.store);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&provider, &mut receiver, &mut to, |page| page).unwrap();
    let transfer = receiver.complete().unwrap();
    assert!(transfer.is_some());
    assert_eq!(receiver.progress().elements, 499);
    assert_eq!(receiver.progress().elements_total, Some(499));
}

/// Carries out a whole transfer, nothing coming in between.
fn transfer(from: &Bench, to: &mut Bench) -> PublishedTransfer {
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, to, |page| page).unwrap();
    to.committer.publish_transfer(to.wall, whole(&receiver)).unwrap()
}

fn siblings(bench: &Bench, key: &str) -> Vec<SiblingValue> {
    bench.store.read_at(key.as_bytes(), &bench.store.frontier()).unwrap()
}

#[test]
fn what_changes_is_told_as_the_events_of_one_revision_and_history_goes_on() {
    let (from, mut to) = apart();
    let before = to.store.published();
    let shown: BTreeMap<_, _> = all(&to.store).into_iter().map(|pair| (pair.key, pair.value)).collect();
    let old = all_at(&to.store, before.revision.get() - 3);
    let mut published = transfer(&from, &mut to);
    let after = to.store.published();
    assert_eq!(after.revision, before.revision.next().unwrap());
    assert_eq!(after.compacted, before.compacted, "nothing is compacted");
    assert_eq!(all_at(&to.store, before.revision.get() - 3), old);
    let commit = published.commits.pop().unwrap();
    assert_eq!((commit.number, commit.revision), (after.commit, after.revision));
    // What watchers make of the events is what readers are shown.
    let mut heard = shown;
    for event in &commit.events {
        match event {
            Event::Put(pair) => heard.insert(pair.key.clone(), pair.value.clone()),
            Event::Delete { key, .. } => heard.remove(key),
        };
    }
    assert_eq!(heard, all(&to.store).into_iter().map(|pair| (pair.key, pair.value)).collect());
    let mut keys: Vec<_> = commit.events.iter().map(Event::key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), commit.events.len(), "no key has two events");
    assert_eq!(commit.system, [bytes("a"), bytes("gone")]);
    // Who comes late is told the same, at once and whole, however little is asked for.
    let budget = HistoryBudget { commits: 1, bytes: 1 };
    let chunk = to.store.history(after.revision.get(), &KeyRange::all(), budget).unwrap();
    assert_eq!(chunk.commits.len(), 1);
    assert_eq!((&chunk.commits[0].events, chunk.next), (&commit.events, after.revision.get() + 1));
    let told = history(&to.store, 1);
    assert!(told.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    let mut ordinals = BTreeSet::new();
    let mut all_of_it = true;
    to.store
        .kept(0, Below::Readable, &mut |kept| {
            all_of_it &= ordinals.insert((kept.revision, kept.ordinal));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(all_of_it, "a change has its place alone");
}

#[test]
fn more_than_can_be_told_begins_history_anew() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    for first in (0..1050).step_by(50) {
        let puts = (first..first + 50).map(|key| Op::Put(put_op(&format!("k{key:04}"), "v")));
        from.run(Request::Txn(Transaction { then: puts.collect(), ..Transaction::default() }));
    }
    to.run(put("mine", "1"));
    let before = to.store.published().revision;
    let published = transfer(&from, &mut to);
    let after = to.store.published();
    assert_eq!(after.revision.get(), before.get() + 2);
    assert_eq!(after.compacted, after.revision.get());
    assert!(published.commits.last().unwrap().events.is_empty());
    assert_eq!(published.commits.last().unwrap().revision, after.revision);
    for lost in [before.get(), before.get() + 1] {
        let watched = to.store.history(lost, &KeyRange::all(), HistoryBudget { commits: 9, bytes: 9 });
        assert!(matches!(watched, Err(ReadError::Compacted { oldest }) if oldest == after.compacted));
    }
    assert!(history(&to.store, after.revision.get()).is_empty(), "who goes on from there has missed nothing");
    let shown = all(&to.store);
    assert_eq!(shown.len(), 1051);
    assert!(shown.iter().all(|pair| pair.mod_revision <= after.revision.get()));
    to.run(put("mine", "2"));
    // What the transfer brought is in the other's log, and the rest in ours until it is swept.
    let mut other = Bench::of(3, NOW);
    send(&from, &mut other);
    send(&to, &mut other);
    assert_eq!(to.store.digest(), other.store.digest());
    to.sweep();
    let to = to.reopen(Stop::Crash);
    assert_eq!(all_at(&to.store, after.revision.get()), shown);
    assert_eq!(to.store.digest(), other.store.digest());
}

#[test]
fn what_changes_nothing_that_is_seen_takes_no_revision() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    from.run(Request::System(vec![system_put("a", "1")]));
    to.run(put("mine", "1"));
    let before = to.store.published();
    let published = transfer(&from, &mut to);
    let after = to.store.published();
    assert_eq!((after.revision, after.compacted), (before.revision, before.compacted));
    assert_eq!(published.commits.last().unwrap().system, [bytes("a")]);
    let again = transfer(&from, &mut to);
    assert_eq!((again.added, again.removed, again.commits.len()), (0, 0, 0), "it brings nothing new");
    assert_eq!(to.store.published(), after);
}

#[test]
fn what_is_kept_at_home_stays_there() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    from.run(put("compact_rev_key", "theirs"));
    from.run(put("a", "1"));
    to.run(put("compact_rev_key", "ours"));
    let published = transfer(&from, &mut to);
    assert_eq!((published.added, published.removed), (1, 0));
    assert_eq!(value(&to.store, "compact_rev_key").as_deref(), Some("ours"));
    let mut empty = Bench::of(3, NOW);
    transfer(&from, &mut empty);
    assert_eq!(value(&empty.store, "compact_rev_key"), None);
}

#[test]
fn a_clock_sees_the_stamps_that_come() {
    let (mut from, mut to) = (Bench::of(1, WallTime(NOW.0 + 50_000)), Bench::of(2, NOW));
    from.run(put("ahead", "1"));
    transfer(&from, &mut to);
    to.run(put("later", "1"));
    assert!(siblings(&to, "later")[0].hlc > siblings(&to, "ahead")[0].hlc);
    let mut to = to.reopen(Stop::Crash);
    to.run(put("later still", "1"));
    assert!(siblings(&to, "later still")[0].hlc > siblings(&to, "later")[0].hlc);
}

#[test]
fn who_comes_home_tells_its_own_news_by_log() {
    let (mut from, mut to) = apart();
    transfer(&from, &mut to);
    assert!(!to.store.standing().floor.is_empty());
    send(&to, &mut from);
    assert_eq!(from.store.digest(), to.store.digest());
    assert_eq!(from.store.frontier(), to.store.frontier());
    // And what either writes from then on.
    to.run(put("common00", "after"));
    from.run(put("common01", "after"));
    send(&to, &mut from);
    send(&from, &mut to);
    assert_eq!(from.store.digest(), to.store.digest());
    // Who lacks what came by the transfer needs one as well.
    let stranger = to.store.arrivals(&VersionVector::new(), 0, EVERYTHING);
    assert!(matches!(stranger, Err(ArrivalsError::BelowFloor { .. })));
}

#[test]
fn a_moment_is_what_is_published_and_nothing_after() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    from.run(Request::LeaseGrant { id: 4, ttl_s: 60 });
    (0..10).for_each(|key| drop(from.run(put(&format!("k{key}"), "1"))));
    let (digest, frontier) = (from.store.digest(), from.store.frontier());
    // Executed, and not yet shown to anybody.
    from.try_run(delete(single("k3"))).unwrap();
    from.try_run(put("k4", "2")).unwrap();
    from.try_run(put("new", "2")).unwrap();
    from.try_run(Request::LeaseRevoke { id: 4 }).unwrap();
    transfer(&from, &mut to);
    assert_eq!((to.store.digest(), to.store.frontier()), (digest, frontier));
    assert_eq!((value(&to.store, "k3").as_deref(), value(&to.store, "new")), (Some("1"), None));
}

#[test]
fn rot_is_named_and_not_handed_on() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    (0..10).for_each(|key| drop(from.run(put(&format!("k{key}"), "1"))));
    let row = [b"c".as_slice(), &4_u64.to_be_bytes()].concat();
    assert!(from.engine.rot(&row, |row| row[30] ^= 1));
    let provider = Provider::new(&from.store);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    let fault = pull(&provider, &mut receiver, &mut to, |page| page).unwrap_err();
    assert!(matches!(fault, TransferFault::Read(ReadError::Rot { commit: 4 })), "{fault}");
    // When the row is whole again, whoever goes on is given a moment in which it is.
    assert!(from.engine.rot(&row, |row| row[30] ^= 1));
    receiver.cut();
    pull(&provider, &mut receiver, &mut to, |page| page).unwrap();
    assert!(receiver.complete().unwrap().is_some());
}

#[test]
fn a_corrupt_element_of_both_is_named() {
    let (from, mut to) = (apart().0, Bench::of(2, NOW));
    let mut other = Bench::of(1, NOW);
    // As if one of the two had been damaged and resealed: the same names, another value.
    for key in 0..60 {
        other.run(put(&format!("common{key:02}"), if key == 45 { "bad" } else { "old" }));
    }
    send(&other, &mut to);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    let fault = pull(&Provider::new(&from.store), &mut receiver, &mut to, |page| page).unwrap_err();
    assert!(matches!(fault, TransferFault::Differs { .. }), "{fault}");
}

/// What a provider has pinned, staged and not joined yet.
fn staged(from: &Bench, to: &mut Bench) -> CompleteTransfer {
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, to, |page| page).unwrap();
    whole(&receiver)
}

fn two_puts(value: &str) -> Request {
    let puts = [Op::Put(put_op("k", value)), Op::Put(put_op("j", value))];
    Request::Txn(Transaction { then: puts.to_vec(), ..Transaction::default() })
}

#[test]
fn what_came_otherwise_and_was_removed_since_is_not_brought_back() {
    let [mut author, mut other, mut from, mut to] = [1, 2, 3, 4].map(|seed| Bench::of(seed, NOW));
    author.run(two_puts("1"));
    other.run(put("beside", "1"));
    send(&author, &mut from);
    send(&other, &mut from);
    let transfer = staged(&from, &mut to);
    // Meanwhile the author has written on, and sends its log.
    author.run(put("k", "2"));
    author.run(delete(single("j")));
    send(&author, &mut to);
    let published = to.committer.publish_transfer(to.wall, transfer).unwrap();
    assert_eq!((published.added, published.removed), (1, 0), "the rest is here by now, or was");
    assert_eq!((siblings(&to, "k").len(), siblings(&to, "j").len()), (1, 0));
    assert_eq!((value(&to.store, "k").as_deref(), value(&to.store, "beside").as_deref()), (Some("2"), Some("1")));
    send(&author, &mut from);
    assert_eq!(to.store.digest(), from.store.digest());
}

#[test]
fn what_came_otherwise_and_was_removed_before_goes_element_by_element() {
    let [mut author, mut other, mut from, mut to] = [1, 2, 3, 4].map(|seed| Bench::of(seed, NOW));
    author.run(two_puts("1"));
    send(&author, &mut other);
    other.run(delete(single("k")));
    send(&other, &mut from);
    let transfer = staged(&from, &mut to);
    // Meanwhile the author, who has not heard of the removal, sends its log.
    send(&author, &mut to);
    assert_eq!(value(&to.store, "k").as_deref(), Some("1"));
    let published = to.committer.publish_transfer(to.wall, transfer).unwrap();
    assert_eq!((published.added, published.removed), (0, 1));
    assert_eq!((value(&to.store, "k"), value(&to.store, "j").as_deref()), (None, Some("1")));
    assert_eq!((to.store.digest(), to.store.frontier()), (from.store.digest(), from.store.frontier()));
}

#[test]
fn what_outlived_its_lease_comes_and_goes_in_one_step() {
    let [mut home, mut from] = [1, 2].map(|seed| Bench::of(seed, NOW));
    home.run(Request::LeaseGrant { id: 7, ttl_s: 60 });
    send(&home, &mut from);
    home.run(Request::LeaseRevoke { id: 7 });
    from.run(put_leased("late", "1", 7));
    from.run(put("beside", "1"));
    let before = home.store.published().revision;
    let published = transfer(&from, &mut home);
    let told: Vec<_> = published.commits.iter().map(|commit| (commit.revision.get(), commit.events.len())).collect();
    assert_eq!(told, [(before.get() + 1, 2), (before.get() + 2, 1)], "the transfer first, and then the removal");
    assert_eq!(published.commits[1].events[0].key(), &bytes("late"));
    assert_eq!((value(&home.store, "late"), value(&home.store, "beside").as_deref()), (None, Some("1")));
    assert_eq!(home.store.published().revision, published.commits[1].revision, "nobody is shown what is between them");
    send(&home, &mut from);
    assert_eq!((home.store.digest(), home.store.frontier()), (from.store.digest(), from.store.frontier()));
}

#[test]
fn what_another_provider_had_and_this_one_has_removed_does_not_count() {
    let [mut author, mut first, mut second, mut to] = [1, 2, 3, 4].map(|seed| Bench::of(seed, NOW));
    (0..300).for_each(|key| drop(author.run(put(&format!("k{key:03}"), "1"))));
    send(&author, &mut first);
    // All of it has come, and the first provider is gone.
    drop(staged(&first, &mut to));
    for key in (0..300).step_by(7) {
        author.run(delete(single(&format!("k{key:03}"))));
        author.run(put(&format!("new{key:03}"), "2"));
    }
    send(&author, &mut second);
    let mut to = to.reopen(Stop::Kill);
    let mut bytes = 0;
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&second.store), &mut receiver, &mut to, |page| {
        bytes += page.len();
        page
    })
    .unwrap();
    assert!(bytes < 300 * 60, "{bytes} bytes: what is staged is not sent again");
    let complete = whole(&receiver);
    to.committer.publish_transfer(to.wall, complete).unwrap();
    assert_eq!((to.store.digest(), all(&to.store).len()), (second.store.digest(), all(&second.store).len()));
    let digest = to.store.digest();
    assert_eq!(to.reopen(Stop::Crash).store.digest(), digest);
}

#[test]
fn concurrent_writes_of_a_key_come_as_one_change_of_it() {
    let [mut first, mut from, mut to] = [1, 2, 3].map(|seed| Bench::of(seed, WallTime(NOW.0 + u64::from(seed))));
    first.run(put("k", "loses"));
    from.run(put("k", "wins"));
    send(&first, &mut from);
    to.run(put("mine", "1"));
    let published = transfer(&from, &mut to);
    let events = &published.commits.last().unwrap().events;
    assert_eq!(events.len(), 1, "{events:?}");
    let pair = get(&to.store, "k").unwrap();
    assert_eq!((pair.value.as_ref(), pair.version, pair.create_revision), (&b"wins"[..], 1, pair.mod_revision));
    assert_eq!(siblings(&to, "k").len(), 2);
    let to = to.reopen(Stop::Crash);
    assert_eq!(get(&to.store, "k"), Some(pair));
    assert_eq!(siblings(&to, "k").len(), 2);
}
