//! Replicas that can talk end up with the same records, whatever is cut and whoever stands in between.

use proptest::prelude::*;
use tombolo_net::{Digests, Event, Fault, Limits};

use crate::support::{mesh::Mesh, toy_store::vector};

#[test]
fn two_replicas_exchange_what_they_had_and_what_they_write() {
    let mut mesh = Mesh::new(2, Limits::default());
    (0..10).for_each(|_| {
        mesh.write(0, 100);
        mesh.write(1, 100);
    });
    mesh.connect(0, 1, 5);
    mesh.run_until_converged();
    mesh.write(0, 1);
    let latency_ms = mesh.run_until_converged();
    assert!(latency_ms <= 8, "a write takes one way, a load and an ingest: {latency_ms} ms");
    assert_eq!(mesh.frontiers(), [&vector(&[(1, 11), (2, 10)]); 2]);
    assert!(matches!(mesh.links[0].ends[0].events[0], Event::Established { .. }));
}

#[test]
fn records_are_forwarded_along_a_chain_in_causal_order() {
    let mut mesh = Mesh::new(4, Limits::default());
    (0..3).for_each(|left| {
        mesh.connect(left, left + 1, 5);
    });
    for round in 0..20 {
        // Everybody writes on what it has just seen, so that the gates have something to refuse.
        mesh.write(round % 4, 10);
        mesh.run(7);
    }
    mesh.run_until_converged();
    assert_eq!(mesh.frontiers()[3], &vector(&[(1, 5), (2, 5), (3, 5), (4, 5)]));
}

#[test]
fn in_a_triangle_nothing_is_lost_and_little_is_sent_twice() {
    let mut mesh = Mesh::new(3, Limits::default());
    for (left, right) in [(0, 1), (1, 2), (2, 0)] {
        mesh.connect(left, right, 5);
    }
    mesh.run(50);
    for round in 0..30 {
        mesh.write(round % 3, 10);
        mesh.run(50);
    }
    mesh.run_until_converged();
    let sent: usize = mesh.links.iter().map(|link| link.records_sent(0).len() + link.records_sent(1).len()).sum();
    assert!(sent <= 30 * 4, "each record has two ways to go and may cross itself on the third link: {sent}");
}

#[test]
fn a_connection_cut_after_any_frame_is_resumed() {
    let limits = Limits { batch_bytes: 300, window_bytes: 900, ..Limits::default() };
    for frames in 0..40 {
        let mut mesh = Mesh::new(2, limits.clone());
        (0..10).for_each(|_| {
            mesh.write(0, 100);
            mesh.write(1, 100);
        });
        let link = mesh.connect(0, 1, 5);
        mesh.links[link].frames_left = Some(frames);
        mesh.run(500);
        mesh.write(0, 100);
        mesh.reconnect(link);
        mesh.run_until_converged();
        let [left, right] = &mesh.links[link].ends;
        assert_eq!((&left.closed, &right.closed), (&None, &None), "after {frames} frames");
    }
}

#[test]
fn what_arrived_before_a_cut_is_not_sent_again() {
    let mut mesh = Mesh::pair();
    (0..10).for_each(|_| {
        mesh.write(0, 100);
    });
    mesh.run_until_converged();
    mesh.cut(0);
    let dot = mesh.write(0, 100);
    mesh.reconnect(0);
    mesh.run_until_converged();
    assert_eq!(mesh.links[0].records_sent(0), [dot]);
}

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, bytes: usize },
    Cut(usize),
    Reconnect(usize),
    Slow { node: usize, ms: u64 },
    Run(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, 0..2_000_usize).prop_map(|(node, bytes)| Step::Write { node, bytes }),
        1 => (0..5_usize).prop_map(Step::Cut),
        1 => (0..5_usize).prop_map(Step::Reconnect),
        1 => (0..4_usize, 0..60_u64).prop_map(|(node, ms)| Step::Slow { node, ms }),
        4 => (0..80_u64).prop_map(Step::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Four replicas in a ring with a chord, little windows, cuts, slow stores.
    #[test]
    fn any_history_converges_when_the_links_are_up(steps in proptest::collection::vec(any_step(), 0..120)) {
        let limits = Limits { batch_bytes: 2_000, window_bytes: 5_000, load_commits: 7, batch_records: 3, ..Limits::default() };
        let mut mesh = Mesh::new(4, limits);
        for (left, right, delay_ms) in [(0, 1, 3), (1, 2, 40), (2, 3, 7), (3, 0, 1), (0, 2, 15)] {
            mesh.connect(left, right, delay_ms);
        }
        for step in steps {
            match step {
                Step::Write { node, bytes } => {
                    mesh.write(node, bytes);
                }
                Step::Cut(link) => mesh.cut(link),
                Step::Reconnect(link) => mesh.reconnect(link),
                Step::Slow { node, ms } => mesh.nodes[node].ingest_ms = ms,
                Step::Run(ms) => mesh.run(ms),
            }
        }
        for link in 0..5 {
            let ends = &mesh.links[link].ends;
            prop_assert!(ends.iter().all(|end| matches!(end.closed, None | Some(Fault::Silent))), "{:?}", ends[0].closed);
            mesh.reconnect(link);
        }
        mesh.run_until_converged();
        // And everybody knows it: a heartbeat later all frontiers and digests have been told and compared.
        mesh.run(2_100);
        for link in 0..5 {
            for end in 0..2 {
                let status = mesh.status(link, end);
                prop_assert_eq!(status.digests, Digests::Equal);
                prop_assert_eq!((status.peer_behind.records, status.own_behind.records), (0, 0));
                prop_assert_eq!((status.peer_behind.bytes, status.own_behind.bytes), (0, 0));
                prop_assert_eq!((status.peer_behind.ms, status.own_behind.ms), (0, 0));
            }
        }
        // A few heartbeats later everybody knows that everybody has everything.
        mesh.run(8_000);
        for node in 0..4 {
            prop_assert_eq!(&mesh.stable(node), mesh.frontiers()[node]);
        }
    }
}
