//! Random requests to Tombolo and to a real etcd: every answer is compared, field by field, revisions included.
//!
//! The same run between two real etcds proves that the rig itself reports no difference where there is none.

use anyhow::Result;
use tombolo_rig::{
    differential,
    process::{Launch, Server},
    random::{seeds, size},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_real_etcds_answer_alike() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(etcd.clone(), etcd, &seeds(&[1]), size("TOMBOLO_STEPS", 1_000)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombolo_answers_as_etcd_does() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(etcd, Server::tombolo(), &seeds(&[1, 2, 3, 4]), size("TOMBOLO_STEPS", 1_500)).await
}

async fn compare(reference: Launch, subject: Launch, seeds: &[u64], steps: usize) -> Result<()> {
    for seed in seeds {
        let (reference, subject) =
            tokio::join!(reference.clone().in_memory().start(), subject.clone().in_memory().start());
        let (reference, subject) = (reference?, subject?);
        let mut left = reference.connect().await?;
        let mut right = subject.connect().await?;
        let tally = differential::run(*seed, steps, &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.refused * 20 > tally.requests, "too few refusals to prove anything: {tally:?}");
        assert!(tally.revision > steps as i64 / 8, "too few writes to prove anything: {tally:?}");
    }
    Ok(())
}
