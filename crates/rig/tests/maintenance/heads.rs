//! What an answer says of the server that gave it. Random runs leave that out, for it is each server's own.

use anyhow::{Context, Result};
use tombolo_proto::etcdserverpb::{
    AlarmRequest, DowngradeRequest, HashKvRequest, HashRequest, LeaseGrantRequest, MemberListRequest, PutRequest,
    RangeRequest, ResponseHeader, StatusRequest, downgrade_request::DowngradeAction,
};
use tombolo_rig::{connect::Connection, process::Server};

/// The heads of answers of every service, and whether they say a revision.
async fn heads(connection: &mut Connection) -> Result<Vec<(&'static str, Option<ResponseHeader>, bool)>> {
    let Connection { kv, lease, cluster, maintenance, .. } = connection;
    let validate = DowngradeRequest { action: DowngradeAction::Validate.into(), version: "3.4.0".to_owned() };
    let range = RangeRequest { key: "a".into(), ..Default::default() };
    let grant = LeaseGrantRequest { ttl: 60, id: 7 };
    Ok(vec![
        ("range", kv.range(range).await?.into_inner().header, true),
        ("grant", lease.lease_grant(grant).await?.into_inner().header, true),
        ("members", cluster.member_list(MemberListRequest::default()).await?.into_inner().header, false),
        ("status", maintenance.status(StatusRequest {}).await?.into_inner().header, true),
        ("alarms", maintenance.alarm(AlarmRequest::default()).await?.into_inner().header, true),
        ("hash", maintenance.hash(HashRequest {}).await?.into_inner().header, true),
        ("hash of keys", maintenance.hash_kv(HashKvRequest::default()).await?.into_inner().header, true),
        ("downgrade", maintenance.downgrade(validate).await?.into_inner().header, true),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_says_who_gives_it_and_what_it_counts() -> Result<()> {
    let mut server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    let put = PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
    let first = connection.kv.put(put.clone()).await?.into_inner().header.context("a header")?;
    assert!(first.cluster_id != 0 && first.member_id != 0 && first.revision == 2, "{first:?}");
    assert_eq!(first.raft_term, 1);
    for (call, head, has_revision) in heads(&mut connection).await? {
        let revision = if has_revision { 2 } else { 0 };
        assert_eq!(head, Some(ResponseHeader { revision, ..first }), "{call}");
    }

    let before = connection.maintenance.status(StatusRequest {}).await?.into_inner();
    assert_eq!((before.version.as_str(), before.leader, before.raft_term), ("3.5.17", first.member_id, 1));
    assert_eq!(before.raft_index, before.raft_applied_index);
    let second = connection.kv.put(put).await?.into_inner().header.context("a header")?;
    let after = connection.maintenance.status(StatusRequest {}).await?.into_inner();
    assert!(after.raft_index > before.raft_index && after.raft_applied_index == after.raft_index, "{after:?}");

    let hashed = async |connection: &mut Connection, revision| {
        let answer = connection.maintenance.hash_kv(HashKvRequest { revision }).await?.into_inner();
        anyhow::Ok(answer.hash_revision)
    };
    assert_eq!((hashed(&mut connection, 0).await?, hashed(&mut connection, 2).await?), (second.revision, 2));

    // None of that is another after a restart.
    server.restart().await?;
    let again = server.connect().await?.maintenance.status(StatusRequest {}).await?.into_inner();
    assert_eq!(again.header, Some(second));
    assert_eq!((again.leader, again.raft_term), (first.member_id, 1));
    Ok(())
}
