//! Promises about revisions: requests and intervals.

use std::time::Duration;

use tombolo_site::WatchSpec;

use crate::stream::{START, Seen, World, events, key};

#[test]
fn a_progress_request_is_answered_at_once_when_all_is_delivered() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put("a");
    world.put("b");
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2]), Seen::Progress(None, 3)]);
}

#[test]
fn an_empty_store_answers_its_first_revision() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    world.call(|hub| hub.progress(subscriber));
    world.watch(subscriber, key("a"), 0);
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), [Seen::Progress(None, 1), Seen::Progress(None, 1)]);
}

#[test]
fn requests_wait_until_the_last_watcher_has_caught_up_and_share_the_answer() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    let first = world.watch(subscriber, key("a"), 2);
    world.watch(subscriber, key("nothing"), 2);
    world.call(|hub| hub.progress(subscriber));
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), []);
    world.load();
    world.load();
    assert_eq!(world.read(), [Seen::Events(first, vec![2]), Seen::Progress(None, 2)]);
}

#[test]
fn a_request_is_answered_when_the_watcher_it_waited_for_goes_away() {
    let mut world = World::new();
    world.put_group("a", 3);
    world.history.compacted = 3;
    let subscriber = world.hub.subscribe(START);
    let cancelled = world.watch(subscriber, key("a"), 3);
    world.call(|hub| hub.progress(subscriber));
    world.call(|hub| hub.cancel(cancelled));
    assert_eq!(world.read(), [Seen::Progress(None, 4)]);
    world.loads.clear();

    let compacted = world.watch(subscriber, key("a"), 2);
    world.call(|hub| hub.progress(subscriber));
    world.load();
    assert_eq!(world.read(), [Seen::Compacted(compacted, 3), Seen::Progress(None, 4)]);
}

#[test]
fn progress_does_not_overtake_events_that_had_no_room() {
    let mut world = World::with_credit(events(2));
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put_group("a", 3);
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2, 3])]);
    assert_eq!(world.read(), [Seen::Events(watcher, vec![4]), Seen::Progress(None, 4)]);
}

#[test]
fn an_answer_waits_for_room_in_the_queue() {
    let mut world = World::with_credit(events(1));
    let subscriber = world.hub.subscribe(START);
    let watcher = world.watch(subscriber, key("a"), 0);
    world.put("a");
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), [Seen::Events(watcher, vec![2])]);
    assert_eq!(world.read(), [Seen::Progress(None, 2)]);
}

#[test]
fn a_stream_is_not_told_a_revision_below_a_start_on_it() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    world.watch(subscriber, key("nothing"), 2);
    let ahead = world.watch(subscriber, key("nothing"), 4);
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), []);
    world.put("a");
    assert_eq!(world.read(), []);
    world.put("a");
    assert_eq!(world.read(), [Seen::Progress(None, 3)], "the start is the next revision");

    world.call(|hub| hub.cancel(ahead));
    let ahead = world.watch(subscriber, key("nothing"), 100);
    world.call(|hub| hub.progress(subscriber));
    assert_eq!(world.read(), []);
    world.call(|hub| hub.cancel(ahead));
    assert_eq!(world.read(), [Seen::Progress(None, 3)]);
}

#[test]
fn an_idle_watcher_is_told_the_revision_at_its_interval() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let told = WatchSpec { progress_notify: true, ..WatchSpec::new(key("a"), 0) };
    let told = world.watch_spec(subscriber, told);
    world.watch(subscriber, key("a"), 0);
    world.put("b");
    assert_eq!(world.hub.next_deadline(), Some(Duration::from_secs(10)));
    world.call(|hub| hub.tick(Duration::from_millis(9999)));
    assert_eq!(world.read(), []);
    world.call(|hub| hub.tick(Duration::from_secs(10)));
    assert_eq!(world.read(), [Seen::Progress(Some(told), 2)]);
    assert_eq!(world.hub.next_deadline(), Some(Duration::from_secs(20)));
}

#[test]
fn an_interval_with_events_needs_no_notification() {
    let mut world = World::new();
    let subscriber = world.hub.subscribe(START);
    let told = WatchSpec { progress_notify: true, ..WatchSpec::new(key("a"), 0) };
    let told = world.watch_spec(subscriber, told);
    world.put("a");
    world.read();
    world.call(|hub| hub.tick(Duration::from_secs(10)));
    assert_eq!(world.read(), []);
    world.call(|hub| hub.tick(Duration::from_secs(20)));
    assert_eq!(world.read(), [Seen::Progress(Some(told), 2)]);
}

#[test]
fn who_is_behind_or_ahead_is_not_notified() {
    let mut world = World::new();
    world.put("a");
    let subscriber = world.hub.subscribe(START);
    for start in [2, 9] {
        let told = WatchSpec { progress_notify: true, ..WatchSpec::new(key("a"), start) };
        world.watch_spec(subscriber, told);
    }
    world.call(|hub| hub.tick(Duration::from_secs(10)));
    assert_eq!(world.read(), []);
}

#[test]
fn notifications_do_not_pile_up_for_a_client_that_does_not_read() {
    let mut world = World::with_credit(events(3));
    let subscriber = world.hub.subscribe(START);
    let told = WatchSpec { progress_notify: true, ..WatchSpec::new(key("a"), 0) };
    world.watch_spec(subscriber, told);
    for interval in 1..100 {
        world.call(|hub| hub.tick(Duration::from_secs(10 * interval)));
    }
    assert_eq!(world.queued().len(), 3);
}
