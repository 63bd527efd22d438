//! `HashKV` is etcd's hash, to the bit, of every revision that can be hashed, after the same requests.

use anyhow::Result;
use tombolo_proto::etcdserverpb::{CompactionRequest, HashKvRequest, HashKvResponse, HashRequest, PutRequest};
use tombolo_rig::{
    connect::Connection,
    differential::Run,
    process::Server,
    random::{Random, seeds, size},
};
use tonic::Status;

/// What can be compared of an answer. etcd says the revision of a hash since 3.6 alone.
type Hashed = Result<(u32, i64, i64), (i32, String)>;

async fn hash(connection: &mut Connection, revision: i64) -> Hashed {
    let told = |answer: HashKvResponse| {
        let header = answer.header.unwrap_or_default();
        (answer.hash, answer.compact_revision, header.revision)
    };
    let refused = |status: Status| (status.code() as i32, status.message().to_owned());
    connection
        .maintenance
        .hash_kv(HashKvRequest { revision })
        .await
        .map(|answer| told(answer.into_inner()))
        .map_err(refused)
}

/// Compares the hashes of all revisions, and of those that are none.
async fn compare(reference: &mut Connection, subject: &mut Connection, seed: u64) -> Result<usize> {
    let (_, compacted, current) = hash(reference, 0).await.expect("the current hash");
    let odd = [0, -1, i64::MIN, current + 1, 1 << 37, compacted - 1];
    let mut hashes = Vec::new();
    // At the compacted revision itself, releases of etcd differ.
    let readable = (compacted + 1).max(1)..=current;
    for revision in readable.chain(odd.into_iter().filter(|revision| *revision != compacted)) {
        let (expected, got) = tokio::join!(hash(reference, revision), hash(subject, revision));
        assert_eq!(got, expected, "seed {seed}: at {revision} of {compacted}..={current}");
        hashes.extend(got.ok().map(|(hash, ..)| hash));
    }
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_of_the_keys_are_etcds_at_every_revision() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    for seed in seeds(&[21, 22, 23]) {
        let (reference, mut subject) =
            tokio::try_join!(etcd.clone().in_memory().start(), Server::tombolo().in_memory().start())?;
        let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
        let (mut run, mut random, mut different) = (Run::new(seed), Random::new(seed), 0);
        for _ in 0..12 {
            run.go_on(size("TOMBOLO_STEPS", 50), &mut left, &mut right).await?;
            different += compare(&mut left, &mut right, seed).await?;
            // The requests compact, too. Here it is done often, and in the middle of what is left; etcd takes its rows at once.
            let (_, compacted, current) = hash(&mut left, 0).await.expect("the current hash");
            let revision = random.between(compacted.max(1), (compacted.max(1) + current) / 2);
            let compact = || CompactionRequest { revision, physical: true };
            let _ = tokio::join!(left.kv.compact(compact()), right.kv.compact(compact()));
            different += compare(&mut left, &mut right, seed).await?;
        }
        assert!(different > 150, "too few different hashes to prove anything: {different}");
        // What compaction has left on disk, and what is read back from it, hashes the same.
        subject.restart().await?;
        compare(&mut left, &mut subject.connect().await?, seed).await?;
    }
    Ok(())
}

/// Rows that compaction has rewritten are slow to come by: it leaves them alone for half a minute, but not across a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_stay_when_compaction_has_rewritten_the_rows() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let (reference, mut subject) = tokio::try_join!(etcd.in_memory().start(), Server::tombolo().in_memory().start())?;
    let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
    Run::new(31).go_on(400, &mut left, &mut right).await?;
    let (_, compacted, current) = hash(&mut left, 0).await.expect("the current hash");
    let revision = (compacted.max(1) + current) / 2;
    for connection in [&mut left, &mut right] {
        connection.kv.compact(CompactionRequest { revision, physical: true }).await?;
    }
    subject.restart().await?;
    let mut right = subject.connect().await?;
    // The sweep begins with the restart and takes a moment.
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        compare(&mut left, &mut right, 31).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compacted_revision_itself_can_be_hashed_as_by_newer_etcds() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    for value in ["1", "2", "3"] {
        connection.kv.put(PutRequest { key: "a".into(), value: value.into(), ..Default::default() }).await?;
    }
    let before = hash(&mut connection, 3).await.expect("a hash");
    connection.kv.compact(CompactionRequest { revision: 3, physical: false }).await?;
    let (now, compacted, _) = hash(&mut connection, 3).await.expect("a hash");
    assert_eq!(compacted, 3);
    assert_ne!(now, before.0, "the value before is compacted");
    assert_eq!(hash(&mut connection, 2).await.unwrap_err().0, 11);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hash_of_everything_is_the_same_after_a_restart_and_another_after_a_write() -> Result<()> {
    let mut server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    let put = |value: &'static str| PutRequest { key: "a".into(), value: value.into(), ..Default::default() };
    connection.kv.put(put("1")).await?;
    let first = connection.maintenance.hash(HashRequest {}).await?.into_inner();
    server.restart().await?;
    let mut connection = server.connect().await?;
    let again = connection.maintenance.hash(HashRequest {}).await?.into_inner();
    assert_eq!((again.hash, again.header.unwrap().revision), (first.hash, 2));
    connection.kv.put(put("2")).await?;
    assert_ne!(connection.maintenance.hash(HashRequest {}).await?.into_inner().hash, first.hash);
    Ok(())
}
