//! kill -9 under 64 concurrent writers and four watchers: nothing acknowledged is lost, nothing is told twice.
//!
//! `TOMBOLO_KILL_ROUNDS` sets the number of kills; acceptance runs 60.

use std::fs;

use anyhow::{Context, Result};
use tombolo_rig::{
    folder,
    kill::Rig,
    process::{Launch, Server},
    random::{seeds, size},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tombolo_keeps_what_it_acknowledged() -> Result<()> {
    survive(Server::tombolo(), size("TOMBOLO_KILL_ROUNDS", 6)).await
}

/// The rig itself must not accuse a server that is known to hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_keeps_what_it_acknowledged() -> Result<()> {
    let Some(etcd) = Server::etcd_in_path() else { return Ok(()) };
    survive(etcd, 2).await
}

/// And it must accuse one that lost something: here a whole folder goes back to an older copy of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_went_back_in_time_is_noticed() -> Result<()> {
    let Some(etcd) = Server::etcd_in_path() else { return Ok(()) };
    let mut rig = Rig::start(etcd, 1).await?;
    rig.round().await?;
    rig.verify().await?;
    rig.server.kill()?;
    let copy = tempfile::tempdir()?;
    folder::copy(&rig.server.folder(), copy.path())?;
    rig.server.restart().await?;
    rig.round().await?;
    rig.server.kill()?;
    fs::remove_dir_all(rig.server.folder())?;
    folder::copy(copy.path(), &rig.server.folder())?;
    rig.server.restart().await?;
    let error = rig.verify().await.err().context("the loss went unnoticed")?.to_string();
    for fault in ["Lost", "WentBack"] {
        assert!(error.contains(fault), "{error}");
    }
    Ok(())
}

async fn survive(launch: Launch, rounds: usize) -> Result<()> {
    for seed in seeds(&[1]) {
        let mut rig = Rig::start(launch.clone(), seed).await?;
        let mut tally = Default::default();
        for _ in 0..rounds {
            rig.round().await?;
            tally = rig.verify().await?;
        }
        println!("seed {seed}: {tally:?}");
        assert!(tally.acknowledged > rounds * 50, "too few writes to prove anything: {tally:?}");
        assert!(tally.attempted > tally.acknowledged, "no kill hit a write in flight: {tally:?}");
    }
    Ok(())
}
