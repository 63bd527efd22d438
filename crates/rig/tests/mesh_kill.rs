//! Sites that write without a pause while links come and go in every pattern and processes are killed: nothing that was
//! acknowledged is lost anywhere, every watcher is told a gapless history in causal order, and all sites end up equal.
//!
//! `TOMBOLO_KILL_ROUNDS` sets the rounds; acceptance runs 60.

use anyhow::Result;
use tombolo_rig::{
    mesh::Shape,
    process::Server,
    random::{seeds, size},
    storm::{Storm, Tally},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_sites_in_a_storm_under_kill_lose_nothing_and_converge() -> Result<()> {
    for seed in seeds(&[1]) {
        let rounds = size("TOMBOLO_KILL_ROUNDS", 4);
        let tally = ride_out(Shape::full(3), seed, rounds).await?;
        assert!(tally.kills >= rounds / 2, "too few kills to prove anything: {tally:?}");
        assert!(tally.beaten > 0, "no write met another: {tally:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_five_sites_converges_though_its_ends_never_meet() -> Result<()> {
    ride_out(Shape::chain(5), 2, 2).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_of_five_sites_converges_through_its_centre() -> Result<()> {
    ride_out(Shape::star(5), 3, 2).await.map(drop)
}

async fn ride_out(shape: Shape, seed: u64, rounds: usize) -> Result<Tally> {
    let sites = shape.sites();
    let mut storm = Storm::start(&Server::tombolo(), shape, seed).await?;
    let mut tally = Tally::default();
    for _ in 0..rounds {
        storm.round().await?;
        tally = storm.verify().await?;
    }
    println!("{sites} sites, seed {seed}: {tally:?}");
    assert!(tally.acknowledged > rounds * sites * 10, "too few writes to prove anything: {tally:?}");
    Ok(tally)
}
