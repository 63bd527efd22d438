//! Sites in all shapes, over real connections: whoever is linked, however far around, comes to hold the same.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tombolo_net::PeerState;

use crate::support::site::{Site, until, until_converged};

/// As many sites, of which those are connected that are listed.
async fn sites(count: usize, links: &[(usize, usize)]) -> Vec<Site> {
    let mut sites = vec![Site::founder(1)];
    for number in 2..=count as u64 {
        let site = Site::admitted_by(&sites[0], number);
        sites.push(site);
    }
    for at in 0..count {
        // Whoever dials must know where: the later one dials the earlier ones.
        let dialed = links.iter().filter(|(left, right)| *left.max(right) == at);
        let dialed: Vec<usize> = dialed.map(|(left, right)| *left.min(right)).collect();
        let contacts = dialed.iter().map(|peer| sites[*peer].contact()).collect();
        sites[at].start(contacts);
        let (own, sites) = (&sites[at], &sites);
        let is_linked = |peer: &usize| own.is_connected_to(&sites[*peer]) && sites[*peer].is_connected_to(own);
        until("its links are up", || dialed.iter().all(is_linked)).await;
    }
    sites
}

/// Everybody writes, and everybody gets all of it.
async fn check_converges(sites: &[Site], rounds: usize) {
    for _ in 0..rounds {
        sites.iter().for_each(|site| site.host.write(200));
        sleep(Duration::from_millis(5)).await;
    }
    until_converged(&sites.iter().collect::<Vec<_>>()).await;
    assert!(
        sites
            .iter()
            .all(|site| site.host.frontier().iter().filter(|dot| dot.seq >= rounds as u64).count() == sites.len())
    );
}

fn connections(site: &Site) -> usize {
    let views = site.node.as_ref().unwrap().peers();
    views.iter().filter(|view| matches!(view.state, PeerState::Connected { .. })).count()
}

#[tokio::test]
async fn a_chain_converges() {
    let sites = sites(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]).await;
    check_converges(&sites, 10).await;
    assert_eq!(connections(&sites[5]), 1);
}

#[tokio::test]
async fn a_hub_and_its_spokes_converge() {
    let sites = sites(7, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)]).await;
    check_converges(&sites, 10).await;
    assert_eq!(sites.iter().map(connections).collect::<Vec<_>>(), [6, 1, 1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_ring_converges_and_goes_on_when_it_is_cut() {
    let mut sites = sites(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]).await;
    check_converges(&sites, 10).await;
    sites[2].stop().await;
    let others = [0, 1, 3, 4, 5].map(|at| &sites[at]);
    others.iter().for_each(|site| site.host.write(100));
    until_converged(&others).await;
}

#[tokio::test]
async fn a_full_mesh_converges() {
    let links: Vec<_> = (0..5).flat_map(|left| (left + 1..5).map(move |right| (left, right))).collect();
    let sites = sites(5, &links).await;
    check_converges(&sites, 10).await;
}

#[tokio::test]
async fn two_that_never_meet_converge_by_others_that_come_and_go() {
    let mut sites = sites(3, &[(0, 1)]).await;
    sites[0].host.write(100);
    until_converged(&[&sites[0], &sites[1]]).await;
    // The one in the middle is never connected with both.
    for round in 0..3 {
        let (from, to) = if round % 2 == 0 { (0, 2) } else { (2, 0) };
        sites[1].stop().await;
        sites[to].host.write(100);
        let contacts = vec![sites[to].contact()];
        sites[from].stop().await;
        sites[1].start(contacts);
        until_converged(&[&sites[1], &sites[to]]).await;
        let contacts = if from == 2 { vec![sites[1].contact()] } else { vec![] };
        sites[from].start(contacts);
    }
    assert!(sites[2].host.frontier().iter().any(|dot| dot.replica == sites[0].id), "it has what the first one wrote");
}

#[tokio::test]
async fn twenty_four_send_each_record_along_a_tree() {
    let count = 24;
    let links: Vec<_> = (0..count).flat_map(|left| (left + 1..count).map(move |right| (left, right))).collect();
    let sites = sites(count, &links).await;
    let eager = |site: &Site| {
        let views = site.node.as_ref().unwrap().peers().into_iter();
        let eager = views.filter(|view| view.status.sends_records || view.status.takes_records);
        eager.map(|view| view.replica).collect::<BTreeSet<_>>()
    };
    // On a machine that has much else to do something may be fetched beside the tree.
    let is_tree = || sites.iter().map(|site| eager(site).len()).sum::<usize>() < 2 * (count - 1) + 6;
    let waited = Instant::now();
    while !is_tree() {
        let degrees: Vec<_> = sites.iter().map(|site| eager(site).len()).collect();
        assert!(waited.elapsed() < Duration::from_secs(60), "no tree yet: {degrees:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let before: usize = sites.iter().map(|site| site.host.ingested.load(Ordering::Relaxed)).sum();
    for round in 0..20 {
        sites[round * 7 % count].host.write(1_000);
        sleep(Duration::from_millis(20)).await;
    }
    until_converged(&sites.iter().collect::<Vec<_>>()).await;
    let ingested: usize = sites.iter().map(|site| site.host.ingested.load(Ordering::Relaxed)).sum::<usize>() - before;
    // When everything goes to everybody it is a multiple of that.
    assert!(ingested <= 20 * (count - 1) * 3 / 2, "each came about once to each: {ingested}");
}
