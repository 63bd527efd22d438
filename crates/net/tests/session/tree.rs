//! Many replicas: each record crosses about as many links as there are replicas, and everybody gets everything whatever breaks.

use proptest::prelude::*;
use tombolo_net::{Digests, Fault, Limits, Message, TreePolicy};

use crate::support::mesh::Mesh;

/// Everybody connected with everybody, settled.
fn full_mesh(count: u64) -> Mesh {
    let mut mesh = Mesh::new(count, Limits::default());
    mesh.plant(&TreePolicy::default());
    mesh.connect_all(|left, right| 5 + (left * 7 + right * 13) as u64 % 30);
    mesh.run(8_000);
    mesh
}

/// Bytes of records that cross links while everybody in turn writes, and how long it takes until all have the last one.
fn written_by_all(mesh: &mut Mesh, rounds: usize, bytes: usize) -> (u64, u64) {
    let before = mesh.record_bytes();
    for round in 0..rounds {
        mesh.write(round * 5 % mesh.nodes.len(), bytes);
        mesh.run(20);
    }
    let took = mesh.run_until_converged();
    (mesh.record_bytes() - before, took)
}

#[test]
fn up_to_sixteen_peers_everything_goes_to_everybody_and_nothing_is_said_of_links() {
    let mut mesh = full_mesh(17);
    let (_, took) = written_by_all(&mut mesh, 10, 100);
    assert!(took < 100, "{took} ms");
    assert_eq!(mesh.eager_links(), 17 * 16 / 2);
    let said: usize = mesh.links.iter().flat_map(|link| &link.ends).map(|end| end.linked.len()).sum();
    assert_eq!(said, 0);
}

/// Holds a mesh to a settled tree.
fn check_spanned(count: u64) {
    let mut mesh = full_mesh(count);
    assert_eq!(mesh.eager_links() as u64, count - 1, "a tree spans all");
    let (rounds, bytes) = (30, 1_000);
    let (crossed, took) = written_by_all(&mut mesh, rounds, bytes);
    let least = (count - 1) * rounds as u64 * bytes as u64;
    assert!(crossed < least * 115 / 100, "{crossed} bytes of records, {least} at least");
    assert!(took < 1_500, "{took} ms");
}

#[test]
fn beyond_that_a_record_crosses_one_link_for_each_replica() {
    check_spanned(18);
}

#[test]
fn sixty_replicas_are_spanned_as_well() {
    check_spanned(60);
}

/// The node with the most links of the tree.
fn hub(mesh: &Mesh) -> usize {
    let degree = |node: &usize| {
        let ends = mesh.ends_of(*node).into_iter();
        ends.filter(|&(link, end)| mesh.is_open(link) && (mesh.wants(link, end) || mesh.wants(link, 1 - end))).count()
    };
    (0..mesh.nodes.len()).max_by_key(degree).unwrap()
}

/// How long it takes until all but `left_out` have what `node` writes now.
fn heard_by_all_but(mesh: &mut Mesh, left_out: usize, node: usize) -> u64 {
    let begin = mesh.now;
    let dot = mesh.write(node, 100);
    let has_it = |mesh: &Mesh| {
        (0..mesh.nodes.len()).all(|node| node == left_out || mesh.nodes[node].store.frontier().covers(dot))
    };
    while !has_it(mesh) {
        assert!(mesh.now - begin < 60_000, "not everybody has {dot}");
        mesh.run(5);
    }
    mesh.now - begin
}

#[test]
fn when_an_inner_node_falls_silent_the_others_fetch_what_it_would_have_brought() {
    let mut mesh = full_mesh(20);
    let hub = hub(&mesh);
    mesh.darken(hub);
    for writer in [1, 5, 9].map(|step| (hub + step) % 20) {
        let took = heard_by_all_but(&mut mesh, hub, writer);
        assert!(took < 4_000, "{took} ms");
    }
    // A while after the connections were given up there is a tree again, and what comes by it is fetched from nobody.
    for second in 0..13 {
        heard_by_all_but(&mut mesh, hub, (hub + 1 + second) % 20);
        mesh.run(2_000);
    }
    assert_eq!(mesh.eager_links(), 18);
    assert!(heard_by_all_but(&mut mesh, hub, (hub + 2) % 20) < 1_000);
    assert!(mesh.nodes.iter().flat_map(|node| &node.tree).all(|tree| tree.grafted().next().is_none()));
}

#[test]
fn a_node_of_the_tree_that_sends_nothing_keeps_nothing_from_the_others() {
    let mut mesh = full_mesh(20);
    let hub = hub(&mesh);
    mesh.nodes[hub].is_unreadable = true;
    for step in [3, 7] {
        let took = heard_by_all_but(&mut mesh, hub, (hub + step) % 20);
        assert!(took < 5_000, "{took} ms");
    }
    mesh.nodes[hub].is_unreadable = false;
    mesh.run_until_converged();
}

#[test]
fn who_comes_back_from_far_behind_is_sent_everything_about_once() {
    let mut mesh = full_mesh(24);
    for link in mesh.ends_of(3).into_iter().map(|(link, _)| link) {
        mesh.cut(link);
    }
    (0..40).for_each(|round| {
        mesh.write([5, 9, 14][round % 3], 20_000);
        mesh.run(20);
    });
    mesh.run(3_000);
    let before = mesh.record_bytes();
    for link in mesh.ends_of(3).into_iter().map(|(link, _)| link) {
        mesh.reconnect(link);
    }
    mesh.run_until_converged();
    let crossed = mesh.record_bytes() - before;
    assert!(crossed < 40 * 20_000 * 5 / 4, "{crossed} bytes for {} that were missing", 40 * 20_000);
}

#[test]
fn neither_the_end_of_a_satellite_link_nor_who_counts_its_bytes_is_in_the_middle() {
    let mut mesh = Mesh::new(20, Limits::default());
    mesh.plant(&TreePolicy::default());
    // Its name comes first, but it is far from all others.
    mesh.connect_all(|left, _| if left == 0 { 300 } else { 5 });
    let limited = TreePolicy { is_limited: true, ..TreePolicy::default() };
    mesh.nodes[1].tree = Some(tombolo_net::Tree::new(mesh.nodes[1].store.own, 1, limited));
    for (link, end) in mesh.ends_of(1) {
        mesh.joined(link, end);
    }
    mesh.run(15_000);
    for node in [0, 1] {
        let ends = mesh.ends_of(node).into_iter();
        let wanted = ends.filter(|&(link, end)| mesh.wants(link, 1 - end)).count();
        assert_eq!(wanted, 1, "node {node} hangs on the tree and nobody on it");
    }
    let (rounds, bytes) = (20, 1_000);
    let (crossed, _) = written_by_all(&mut mesh, rounds, bytes);
    assert!(crossed < 19 * 20 * 1_000 * 115 / 100, "{crossed}");
}

#[test]
fn who_has_few_peers_hangs_on_those_that_have_many() {
    // Two crowds that meet in one node, and a chain at the end of one of them.
    let mut mesh = Mesh::new(44, Limits::default());
    mesh.plant(&TreePolicy::default());
    let crowds = [(0..21).collect::<Vec<_>>(), (20..41).collect()];
    for crowd in &crowds {
        for (at, left) in crowd.iter().enumerate() {
            for right in &crowd[at + 1..] {
                mesh.connect(*left, *right, 5);
            }
        }
    }
    for left in 40..43 {
        mesh.connect(left, left + 1, 5);
    }
    mesh.run(10_000);
    let (crossed, took) = written_by_all(&mut mesh, 20, 1_000);
    assert!(took < 1_000, "{took} ms");
    assert!(crossed < 43 * 20 * 1_000 * 115 / 100, "{crossed} bytes");
}

#[test]
fn when_there_are_few_again_everything_goes_to_everybody_again() {
    let mut mesh = full_mesh(18);
    for node in 12..18 {
        mesh.ends_of(node).into_iter().for_each(|(link, _)| mesh.cut(link));
    }
    mesh.run(6_000);
    assert_eq!(mesh.eager_links(), 12 * 11 / 2);
    let said = |mesh: &Mesh| {
        let ends = mesh.links.iter().flat_map(|link| &link.ends);
        ends.flat_map(|end| &end.sent).filter(|(_, message)| matches!(message, Message::Link(_))).count()
    };
    let before = said(&mesh);
    mesh.run(5_000);
    assert_eq!(said(&mesh), before, "nobody speaks of links any more");
}

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, bytes: usize },
    Cut(usize),
    Darken(usize),
    Reconnect(usize),
    Slow { node: usize, ms: u64 },
    Deaf { node: usize, is_unreadable: bool },
    Run(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let some = 0..1_000_usize;
    prop_oneof![
        6 => (some.clone(), 0..2_000_usize).prop_map(|(node, bytes)| Step::Write { node, bytes }),
        2 => some.clone().prop_map(Step::Cut),
        1 => some.clone().prop_map(Step::Darken),
        2 => some.clone().prop_map(Step::Reconnect),
        1 => (some.clone(), 0..300_u64).prop_map(|(node, ms)| Step::Slow { node, ms }),
        1 => (some, any::<bool>()).prop_map(|(node, is_unreadable)| Step::Deaf { node, is_unreadable }),
        4 => (0..1_500_u64).prop_map(Step::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Some replicas on a ring with chords, of which two peers are a crowd: cut, silent, slow and unable at random, then all up again but
    /// for what is unable for ever, as long as that parts nobody.
    #[test]
    fn everybody_gets_everything_whatever_breaks(
        count in 3..9_usize,
        chords in proptest::collection::btree_set((0..9_usize, 0..9_usize), 0..16),
        crowd in 1..4_usize,
        steps in proptest::collection::vec(any_step(), 0..40),
    ) {
        let limits = Limits { batch_bytes: 2_000, window_bytes: 5_000, load_commits: 7, batch_records: 3, ..Limits::default() };
        let mut mesh = Mesh::new(count as u64, limits);
        mesh.plant(&TreePolicy { eager_peers_max: crowd, below_max: 2, ..TreePolicy::default() });
        for left in 0..count {
            mesh.connect(left, (left + 1) % count, 3 + left as u64 * 9);
        }
        for (left, right) in chords {
            let is_new = |mesh: &Mesh| !mesh.links.iter().any(|link| {
                let ends = [link.ends[0].node, link.ends[1].node];
                ends == [left, right] || ends == [right, left]
            });
            if left < right && right < count && is_new(&mesh) {
                mesh.connect(left, right, 20);
            }
        }
        let links = mesh.links.len();
        for step in steps {
            match step {
                Step::Write { node, bytes } => drop(mesh.write(node % count, bytes)),
                Step::Cut(link) => mesh.cut(link % links),
                Step::Darken(link) => mesh.links[link % links].is_dark = true,
                Step::Reconnect(link) => mesh.reconnect(link % links),
                Step::Slow { node, ms } => mesh.nodes[node % count].ingest_ms = ms,
                Step::Deaf { node, is_unreadable } => mesh.nodes[node % count].is_unreadable = is_unreadable,
                Step::Run(ms) => mesh.run(ms),
            }
        }
        mesh.nodes.iter_mut().for_each(|node| node.is_unreadable = false);
        for link in 0..links {
            let ends = &mesh.links[link].ends;
            prop_assert!(ends.iter().all(|end| matches!(end.closed, None | Some(Fault::Silent | Fault::NoHello | Fault::Stalled | Fault::PeerClosed { .. }))), "{:?}", ends[0].closed);
            mesh.reconnect(link);
        }
        mesh.run_until_converged();
        mesh.run(8_000);
        for (link, end) in (0..links).flat_map(|link| [(link, 0), (link, 1)]) {
            let status = mesh.status(link, end);
            prop_assert_eq!(status.digests, Digests::Equal);
            prop_assert_eq!((status.peer_behind.records, status.own_behind.records), (0, 0));
        }
    }
}
