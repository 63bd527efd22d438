//! Many replicas: each record crosses about as many links as there are replicas, and everybody gets everything whatever breaks.

use tombolo_net::{Limits, TreePolicy};

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
