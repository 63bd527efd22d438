//! The other calls of operators' tools: code and text of what is refused, and what is answered, as by etcd.

use std::time::Duration;

use anyhow::Result;
use tombolo_proto::etcdserverpb::{
    DefragmentRequest, DowngradeRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest, StatusRequest,
    downgrade_request::DowngradeAction,
};
use tombolo_rig::{connect::Connection, process::Server};
use tonic::Status;

/// What is comparable of an answer; code and text of a refusal.
type Told = Result<String, (i32, String)>;

fn told<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>, show: impl FnOnce(T) -> String) -> Told {
    answer.map(|answer| show(answer.into_inner())).map_err(|status| (status.code() as i32, status.message().to_owned()))
}

async fn own(connection: &mut Connection) -> u64 {
    connection.maintenance.status(StatusRequest {}).await.expect("a status").into_inner().leader
}

/// Every call that changes nothing, in one order, with what it is told.
async fn members(connection: &mut Connection, peer_url: String) -> Vec<(&'static str, Told)> {
    let id = own(connection).await;
    let cluster = &mut connection.cluster;
    let mut all = Vec::new();
    let list = cluster.member_list(MemberListRequest { linearizable: true }).await;
    all.push((
        "list",
        told(list, |list| format!("{} {:?}", list.header.map_or(-1, |header| header.revision), list.members[0].name)),
    ));
    for (name, urls) in [
        ("add nothing", vec![]),
        ("add without a scheme", vec!["127.0.0.1:1"]),
        ("add without a port", vec!["http://127.0.0.1"]),
        ("add with a path", vec!["http://127.0.0.1:1/a"]),
        ("add one good and one bad", vec!["http://127.0.0.1:1", "x"]),
        ("add the member there is", vec![peer_url.as_str()]),
    ] {
        let peer_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
        all.push((
            name,
            told(cluster.member_add(MemberAddRequest { peer_ur_ls, is_learner: false }).await, |_| String::new()),
        ));
    }
    all.push(("remove itself", told(cluster.member_remove(MemberRemoveRequest { id }).await, |_| String::new())));
    all.push(("remove nobody", told(cluster.member_remove(MemberRemoveRequest { id: 77 }).await, |_| String::new())));
    all.push(("promote itself", told(cluster.member_promote(MemberPromoteRequest { id }).await, |_| String::new())));
    all.push((
        "promote nobody",
        told(cluster.member_promote(MemberPromoteRequest { id: 77 }).await, |_| String::new()),
    ));
    let update = |id, url: &str| MemberUpdateRequest { id, peer_ur_ls: vec![url.to_owned()] };
    let same = cluster.member_update(update(id, &peer_url)).await;
    all.push((
        "update itself to what it is",
        told(same, |answer| {
            format!("{} {:?}", answer.header.map_or(-1, |header| header.revision), answer.members.len())
        }),
    ));
    let nobody = cluster.member_update(update(77, "http://127.0.0.1:1")).await;
    all.push(("update nobody", told(nobody, |_| String::new())));
    let leader = |target_id| MoveLeaderRequest { target_id };
    let maintenance = &mut connection.maintenance;
    all.push(("lead itself", told(maintenance.move_leader(leader(id)).await, |answer| format!("{answer:?}"))));
    all.push(("let nobody lead", told(maintenance.move_leader(leader(77)).await, |answer| format!("{answer:?}"))));
    all.push(("defragment", told(maintenance.defragment(DefragmentRequest {}).await, |answer| format!("{answer:?}"))));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_leaders_are_spoken_of_as_by_etcd() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let (reference, subject) = tokio::try_join!(etcd.in_memory().start(), Server::tombolo().in_memory().start())?;
    let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
    let url = |server: &Server| format!("http://{}", server.peer_address());
    // etcd asks itself for some seconds whether it is ready for another member.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (expected, got) = (members(&mut left, url(&reference)).await, members(&mut right, url(&subject)).await);
    assert_eq!(got, expected);
    assert!(got.iter().filter(|(_, told)| told.is_err()).count() > 9, "{got:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_would_join_is_sent_to_its_invitation() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    for is_learner in [false, true] {
        let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
        let refused = connection.cluster.member_add(MemberAddRequest { peer_ur_ls, is_learner }).await.unwrap_err();
        assert_eq!(refused.code() as i32, 9);
        assert!(refused.message().contains("tombolo mesh invite"), "{}", refused.message());
    }
    let id = own(&mut connection).await;
    let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
    let refused = connection.cluster.member_update(MemberUpdateRequest { id, peer_ur_ls }).await.unwrap_err();
    assert!(refused.message().contains("--initial-advertise-peer-urls"), "{}", refused.message());
    Ok(())
}

/// Downgrades of the server's own version; what is wrong with a version is independent of it.
async fn downgrades(connection: &mut Connection) -> Vec<(String, Told)> {
    let [validate, enable, cancel] =
        [DowngradeAction::Validate, DowngradeAction::Enable, DowngradeAction::Cancel].map(i32::from);
    let mut all = Vec::new();
    for (action, version) in [
        (cancel, ""),
        (validate, ""),
        (validate, "3"),
        (validate, "x.y"),
        (validate, "3.5.0"),
        (validate, "3.6.0"),
        (validate, "3.4.0"),
        (enable, "3.5.0"),
        (enable, "3.4"),
        (enable, "3.4.0"),
        (validate, "3.4.0"),
        (cancel, ""),
        (cancel, ""),
        (9, "3.4.0"),
    ] {
        let request = DowngradeRequest { action, version: version.to_owned() };
        let answer = connection.maintenance.downgrade(request).await;
        all.push((format!("{action} {version}"), told(answer, |answer| answer.version)));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downgrades_are_judged_as_by_etcd() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let (reference, subject) = tokio::try_join!(etcd.in_memory().start(), Server::tombolo().in_memory().start())?;
    let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
    let got = downgrades(&mut right).await;
    let version = left.maintenance.status(StatusRequest {}).await?.into_inner().version;
    if !version.starts_with("3.5.") {
        println!("skipped: etcd {version} has no downgrades from 3.5");
        assert_eq!(got.iter().filter(|(_, told)| told.is_ok()).count(), 3, "{got:?}");
        return Ok(());
    }
    // The cluster's version is agreed on some time after the start.
    tokio::time::sleep(Duration::from_secs(5)).await;
    // etcd 3.5 carries out a job and forgets to say so to who waits for it.
    let told = |(call, told): (String, Told)| match told {
        Err((_, text)) if text == "etcdserver: request timed out" => (call, Ok("3.5.0".to_owned())),
        told => (call, told),
    };
    assert_eq!(got, downgrades(&mut left).await.into_iter().map(told).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_quota_and_downgrade() -> Result<()> {
    let server = Server::tombolo().in_memory().with("--quota-backend-bytes", "1000000000").start().await?;
    let mut connection = server.connect().await?;
    connection.kv.put(PutRequest { key: "a".into(), value: "1".into(), ..Default::default() }).await?;
    let status = connection.maintenance.status(StatusRequest {}).await?.into_inner();
    assert_eq!(
        (status.db_size_quota, status.is_learner, status.storage_version.as_str()),
        (1_000_000_000, false, "3.5.0")
    );
    assert!(status.errors.is_empty() && status.db_size_in_use > 1 && status.db_size > 1, "{status:?}");
    let enable = DowngradeRequest { action: DowngradeAction::Enable.into(), version: "3.4".to_owned() };
    connection.maintenance.downgrade(enable).await?;
    let job = connection.maintenance.status(StatusRequest {}).await?.into_inner().downgrade_info.unwrap();
    assert_eq!((job.enabled, job.target_version.as_str()), (true, "3.4.0"));
    Ok(())
}
