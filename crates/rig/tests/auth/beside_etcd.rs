//! The same random calls to Tombolo and to a real etcd: codes, texts and answers are compared, the policy's revision included.

use anyhow::Result;
use tombolo_proto::etcdserverpb::StatusRequest;
use tombolo_rig::{
    differential::Run,
    process::{Launch, Server},
    random::{seeds, size},
    request::auth::generate::Dialect,
};

use super::calls::tombolo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_real_etcds_judge_alike() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(&etcd, &etcd, &seeds(&[1])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombolo_judges_as_etcd_does() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    compare(&etcd, &tombolo(), &seeds(&[1, 2, 3])).await
}

async fn compare(reference: &Launch, subject: &Launch, seeds: &[u64]) -> Result<()> {
    for seed in seeds {
        let launch = |launch: &Launch| launch.clone().in_memory().with("--bcrypt-cost", "4").start();
        let (reference, subject) = tokio::try_join!(launch(reference), launch(subject))?;
        let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
        let mut run = Run::with_users(*seed, dialect(&reference).await?);
        let tally = run.go_on(size("TOMBOLO_STEPS", 2_500), &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
        assert!(tally.refused * 10 > tally.requests, "too few refusals to prove anything: {tally:?}");
        assert!((tally.requests - tally.refused) * 10 > tally.requests, "too few answers: {tally:?}");
        assert!(tally.revision > 20, "too few writes to prove anything: {tally:?}");
    }
    Ok(())
}

/// What the reference knows.
pub(super) async fn dialect(reference: &Server) -> Result<Dialect> {
    let status = reference.connect().await?.maintenance.status(StatusRequest {}).await?.into_inner();
    Ok(if status.version.starts_with("3.4.") { Dialect::Old } else { Dialect::Current })
}
