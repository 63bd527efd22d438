//! Random requests to Tombolo and to a real etcd: every answer is compared, field by field, revisions included.
//!
//! The same run between two real etcds proves that the rig itself reports no difference where there is none.

use anyhow::Result;
use tombolo_proto::etcdserverpb::StatusRequest;
use tombolo_rig::{
    differential::Run,
    process::{Launch, Server},
    random::{seeds, size},
    request::auth::generate::Dialect,
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

/// Every call that has one answer, and users and roles in force now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_everybody_is_answered_by_two_real_etcds_alike() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare_whole(etcd.clone(), etcd, &seeds(&[1])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_everybody_is_answered_as_etcd_does() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare_whole(etcd, Server::tombolo(), &seeds(&[1, 2, 3])).await
}

/// What a server is after a kill is what it was before: state, history, compaction and leases. The reference lives on: an
/// etcd that is killed may write, when it replays its log, what a transaction had not written the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again_tombolo_answers_as_etcd_does() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    for seed in seeds(&[5, 6]) {
        let (reference, mut subject) = start(&etcd, &Server::tombolo()).await?;
        let mut run = Run::new(seed);
        for _ in 0..6 {
            let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
            let tally = run.go_on(size("TOMBOLO_STEPS", 250), &mut left, &mut right).await?;
            println!("seed {seed}: {tally:?}");
            subject.restart().await?;
        }
    }
    Ok(())
}

async fn compare(reference: Launch, subject: Launch, seeds: &[u64], steps: usize) -> Result<()> {
    for seed in seeds {
        let (reference, subject) = start(&reference, &subject).await?;
        let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
        let tally = Run::new(*seed).go_on(steps, &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.refused * 20 > tally.requests, "too few refusals to prove anything: {tally:?}");
        assert!(tally.revision > steps as i64 / 8, "too few writes to prove anything: {tally:?}");
    }
    Ok(())
}

async fn compare_whole(reference: Launch, subject: Launch, seeds: &[u64]) -> Result<()> {
    for seed in seeds {
        let launch = |launch: &Launch| launch.clone().with("--bcrypt-cost", "4");
        let (reference, subject) = start(&launch(&reference), &launch(&subject)).await?;
        let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
        let status = left.maintenance.status(StatusRequest {}).await?.into_inner();
        let dialect = if status.version.starts_with("3.4.") { Dialect::Old } else { Dialect::Current };
        let tally = Run::whole(*seed, dialect).go_on(size("TOMBOLO_STEPS", 2_000), &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.refused * 10 > tally.requests, "too few refusals to prove anything: {tally:?}");
        assert!(tally.refused * 10 < tally.requests * 8, "too few answers to prove anything: {tally:?}");
    }
    Ok(())
}

async fn start(reference: &Launch, subject: &Launch) -> Result<(Server, Server)> {
    let launch = |launch: &Launch| launch.clone().in_memory().start();
    let (reference, subject) = tokio::join!(launch(reference), launch(subject));
    Ok((reference?, subject?))
}
