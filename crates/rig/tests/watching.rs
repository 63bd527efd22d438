//! Random watchers on Tombolo and on a real etcd, under the same writes: each is told the same events.

use anyhow::Result;
use tombolo_rig::{
    connect::Connection,
    process::{Launch, Server},
    random::{seeds, size},
    watching,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_two_real_etcds_are_told_the_same() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(etcd.clone(), etcd, &seeds(&[1]), size("TOMBOLO_STEPS", 300)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_tombolo_are_told_what_etcd_tells() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(etcd, Server::tombolo(), &seeds(&[1, 2]), size("TOMBOLO_STEPS", 500)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_watch_what_is_told_the_same_by_two_real_etcds() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare_users(etcd.clone(), etcd, &seeds(&[1]), size("TOMBOLO_STEPS", 200)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_watch_what_is_told_what_etcd_tells() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare_users(etcd, Server::tombolo(), &seeds(&[1, 2]), size("TOMBOLO_STEPS", 400)).await
}

async fn compare(reference: Launch, subject: Launch, seeds: &[u64], steps: usize) -> Result<()> {
    for seed in seeds {
        let (left, right) =
            tokio::try_join!(reference.clone().in_memory().start(), subject.clone().in_memory().start())?;
        let tally = watching::run(*seed, steps, &mut left.connect().await?, &mut right.connect().await?).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.watchers > steps / 20, "too few watchers to prove anything: {tally:?}");
        assert!(tally.events > steps, "too few events to prove anything: {tally:?}");
    }
    Ok(())
}

async fn compare_users(reference: Launch, subject: Launch, seeds: &[u64], steps: usize) -> Result<()> {
    for seed in seeds {
        let start = |launch: &Launch| launch.clone().in_memory().with("--bcrypt-cost", "4").start();
        let (left, right) = tokio::try_join!(start(&reference), start(&subject))?;
        let (mut left, mut right): (Connection, Connection) = (left.connect().await?, right.connect().await?);
        let tally = watching::run_with_users(*seed, steps, &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.watchers > steps / 40, "too few watchers to prove anything: {tally:?}");
        assert!(tally.refused > steps / 40, "too few refusals to prove anything: {tally:?}");
        assert!(tally.events > steps / 2, "too few events to prove anything: {tally:?}");
    }
    Ok(())
}
