//! Events: who gets which, in which order, and what a full queue changes.

use tombolo_site::{EndCause, Output, WatchError, WatchSpec};
use tombolo_storage::{HistoryChunk, KeyRange, ReadError};

use crate::stream::{START, Seen, World, events, key, revision};

#[test]
fn a_watch_from_now_on_gets_what_is_published_after_it() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put("a");
    world.put("b");
    assert_eq!(world.read(), [Seen::Events(watcher, vec![3])]);
    assert!(world.loads.is_empty());
}

#[test]
fn a_start_that_has_not_happened_is_waited_for() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 4);
    world.put_group("a", 4);
    assert_eq!(world.read(), [Seen::Events(watcher, vec![4, 5])]);
}

#[test]
fn a_watch_of_the_past_is_fed_from_history_and_then_live() {
    let mut world = World::new();
    world.put_group("a", 3);
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 3);
    assert_eq!(world.loads[0].from, 3);
    world.load();
    world.put("a");
    assert_eq!(world.read(), [Seen::Events(watcher, vec![3, 4]), Seen::Events(watcher, vec![5])]);
    assert_eq!(world.hub.stats().catching_up, 0);
}

#[test]
fn what_is_published_while_a_load_is_under_way_is_delivered_once() {
    let mut world = World::new();
    world.put_group("a", 2);
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 2);
    let load = world.loads.pop_front().unwrap();
    let before = world.history.read(&load, 2);
    world.put("a");
    world.put("b");
    world.call(|hub| hub.replayed(watcher, before));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2, 3]), Seen::Events(watcher, vec![4])]);
    assert!(world.loads.is_empty(), "the rest was in memory");
    assert_eq!(world.hub.stats().catching_up, 0);
}

#[test]
fn what_history_knows_before_the_hub_is_left_to_publish() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 2);
    let unpublished = world.history.put("a");
    world.load();
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2])]);
    world.call(|hub| hub.publish(&[unpublished]));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![3])]);
}

#[test]
fn a_group_of_commits_is_one_delivery_of_whole_revisions() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, KeyRange::before("a".into(), "c".into()), 0);
    let group = [
        world.history.commit(&[("a", Some(1)), ("x", Some(1)), ("b", None)]),
        world.history.grant_lease(),
        world.history.commit(&[("b", Some(1))]),
    ];
    world.hub.publish(&group);
    let Some(Output::Deliver(delivery)) = world.hub.poll() else { panic!("no delivery") };
    assert_eq!(delivery.watcher, watcher);
    assert_eq!(delivery.revision, revision(3));
    assert_eq!(delivery.commits[0].events().map(|(ordinal, _)| ordinal).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(delivery.events().map(|event| event.revision()).collect::<Vec<_>>(), [2, 2, 3]);
    assert_eq!(delivery.cost.events, 3);
    assert!(world.hub.poll().is_none());
}

#[test]
fn filters_leave_out_puts_or_deletes() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let puts = WatchSpec { without_deletes: true, ..WatchSpec::new(key("a"), 0) };
    let puts = world.watch_spec(subscriber, puts);
    let deletes = WatchSpec { without_puts: true, previous: true, ..WatchSpec::new(key("a"), 0) };
    let deletes = world.watch_spec(subscriber, deletes);
    let group = [world.history.commit(&[("a", Some(1))]), world.history.commit(&[("a", None)])];
    world.call(|hub| hub.publish(&group));
    assert_eq!(world.read(), [Seen::Events(puts, vec![2]), Seen::Events(deletes, vec![3])]);
}

#[test]
fn a_compacted_start_is_refused_once() {
    let mut world = World::new();
    world.put_group("a", 5);
    world.history.compacted = 4;
    let subscriber = world.hub.subscribe(START);
    let late = world.watch(subscriber, key("a"), 3);
    let in_time = world.watch(subscriber, key("a"), 4);
    world.load();
    world.load();
    assert_eq!(world.read(), [Seen::Compacted(late, 4), Seen::Events(in_time, vec![4, 5, 6])]);
    assert!(!world.call(|hub| hub.cancel(late)));
    world.put("a");
    assert_eq!(world.read(), [Seen::Events(in_time, vec![7])]);
}

#[test]
fn a_start_of_another_slot_is_not_taken_for_the_future() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), (3 << 38) | 7);
    world.load();
    assert_eq!(world.read(), [Seen::Compacted(watcher, 1)]);
}

#[test]
fn history_that_cannot_be_read_ends_the_watch_instead_of_skipping() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    let unreadable = world.watch(subscriber, key("a"), 2);
    world.call(|hub| hub.replayed(unreadable, Err(ReadError::Rot { commit: 1 })));
    let stalled = world.watch(subscriber, key("a"), 2);
    world.hub.replayed(stalled, Ok(HistoryChunk { commits: Vec::new(), next: 2 }));
    let Some(Output::End(ending)) = world.hub.poll() else { panic!("no ending") };
    assert!(matches!(ending.cause, EndCause::Stalled { from: 2, next: 2 }));
    assert_eq!(world.read(), [Seen::Failed(unreadable)]);
    assert_eq!(world.hub.stats().watchers, 0);
}

#[test]
fn slow_watcher_is_demoted_and_loses_nothing() {
    let mut world = World::with_credit(events(4));
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put_group("a", 3);
    world.put_group("a", 300);
    assert_eq!(world.queued(), [Seen::Events(watcher, vec![2, 3, 4]), Seen::Events(watcher, vec![5])]);
    assert_eq!((world.hub.stats().catching_up, world.hub.stats().demotions), (1, 1));

    let mut seen = Vec::new();
    for _ in 0..300 {
        seen.extend(world.read());
        while !world.loads.is_empty() {
            world.load();
        }
    }
    world.put("a");
    seen.extend(world.read());
    let revisions: Vec<i64> = seen.iter().flat_map(revisions).collect();
    assert_eq!(revisions, (2..=305).collect::<Vec<_>>());
    assert_eq!(world.hub.stats().demotions, 1);
}

#[test]
fn a_demoted_watcher_comes_back_from_memory_when_little_was_missed() {
    let mut world = World::with_credit(events(2));
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put_group("a", 3);
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2, 3])]);
    assert_eq!(world.read(), [Seen::Events(watcher, vec![4])]);
    assert_eq!(world.hub.stats().loads, 0);
}

#[test]
fn a_revision_larger_than_the_credit_goes_out_on_an_empty_queue() {
    let mut world = World::with_credit(events(2));
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, KeyRange::all(), 0);
    let large = ["a", "b", "c", "d"].map(|key| (key, Some(1)));
    let commit = world.history.commit(&large);
    world.call(|hub| hub.publish(&[commit]));
    let commit = world.history.commit(&large);
    world.call(|hub| hub.publish(&[commit]));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2; 4])]);
    assert_eq!(world.read(), [Seen::Events(watcher, vec![3; 4])]);
}

#[test]
fn a_large_revision_is_not_starved_by_small_ones_on_its_stream() {
    let mut world = World::with_credit(events(4));
    let subscriber = world.hub.subscribe(START);
    let wide = world.watch(subscriber, KeyRange::before("b".into(), "z".into()), 0);
    let busy = world.watch(subscriber, key("a"), 0);
    world.put("a");
    let commit = world.history.commit(&["b", "c", "d", "e", "f"].map(|key| (key, Some(1))));
    world.call(|hub| hub.publish(&[commit]));
    // The client reads one item for each one published: without a rule the queue would never be empty.
    let mut seen = Vec::new();
    for _ in 0..20 {
        world.put("a");
        seen.extend(world.read_one());
    }
    assert!(seen.contains(&Seen::Events(wide, vec![3; 5])), "{seen:?}");
    let of_busy = seen.iter().filter(|seen| matches!(seen, Seen::Events(watcher, _) if *watcher == busy));
    let revisions: Vec<i64> = of_busy.flat_map(revisions).collect();
    assert_eq!(revisions, [2].into_iter().chain(4..4 + revisions.len() as i64 - 1).collect::<Vec<_>>());
}

#[test]
fn a_watcher_in_line_has_its_turn_though_the_queue_is_always_half_full() {
    let mut world = World::with_credit(events(4));
    let subscriber = world.hub.subscribe(START);
    let patient = world.watch(subscriber, key("b"), 0);
    world.watch(subscriber, key("a"), 0);
    (0..4).for_each(|_| world.put("a"));
    world.put("b");
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.extend(world.read_one());
        world.put("a");
    }
    assert!(seen.contains(&Seen::Events(patient, vec![6])), "{seen:?}");
}

#[test]
fn any_number_can_be_a_start() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    for start in [i64::MIN, -1] {
        let watcher = world.watch(subscriber, key("a"), start);
        world.load();
        assert_eq!(world.read(), [Seen::Events(watcher, vec![2])]);
    }
    let never = world.watch(subscriber, key("a"), i64::MAX);
    world.put("a");
    world.call(|hub| hub.progress(subscriber));
    assert!(world.read().iter().all(|seen| !revisions(seen).is_empty()), "no progress below a start");
    assert!(world.call(|hub| hub.cancel(never)));
    assert_eq!(world.read(), [Seen::Progress(None, 3)]);
}

#[test]
fn a_slow_stream_does_not_hold_up_another() {
    let mut world = World::with_credit(events(1));
    let (slow, quick) = (world.hub.subscribe(START), world.hub.subscribe(START));
    world.watch(slow, key("a"), 0);
    let watcher = world.watch(quick, key("a"), 0);
    let mut revisions_seen = Vec::new();
    for _ in 0..5 {
        let commit = world.history.put("a");
        world.hub.publish(&[commit]);
        while let Some(output) = world.hub.poll() {
            let Output::Deliver(delivery) = output else { continue };
            if delivery.watcher == watcher {
                revisions_seen.extend(delivery.events().map(|event| event.revision()));
                world.hub.drained(quick, delivery.cost);
            }
        }
    }
    assert_eq!(revisions_seen, [2, 3, 4, 5, 6]);
    assert_eq!(world.hub.stats().demotions, 1);
}

#[test]
fn nothing_comes_after_a_cancel_not_even_the_answer_to_a_load() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    let live = world.watch(subscriber, key("a"), 0);
    let behind = world.watch(subscriber, key("a"), 2);
    assert!(world.call(|hub| hub.cancel(live)));
    assert!(world.call(|hub| hub.cancel(behind)));
    assert!(!world.call(|hub| hub.cancel(behind)));
    world.load();
    world.put("a");
    assert_eq!(world.read(), []);
    world.call(|hub| hub.unsubscribe(subscriber));
    assert_eq!(world.hub.stats().subscribers, 0);
    assert_eq!(world.hub.next_deadline(), None);
}

#[test]
fn a_stream_of_many_watchers_loads_a_few_at_a_time() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    for _ in 0..50 {
        world.watch(subscriber, key("a"), 2);
    }
    assert_eq!(world.loads.len(), 4);
    while !world.loads.is_empty() {
        assert!(world.loads.len() <= 4);
        world.load();
    }
    assert_eq!(world.hub.stats().catching_up, 0);
    assert_eq!(world.read().len(), 50);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let empty = WatchSpec::new(KeyRange::before("b".into(), "a".into()), 0);
    assert_eq!(world.hub.watch(subscriber, empty), Err(WatchError::EmptyRange));
    world.hub.unsubscribe(subscriber);
    assert_eq!(world.hub.watch(subscriber, WatchSpec::new(key("a"), 0)), Err(WatchError::UnknownSubscriber));
}

fn revisions(seen: &Seen) -> Vec<i64> {
    match seen {
        Seen::Events(_, revisions) => revisions.clone(),
        _ => Vec::new(),
    }
}
