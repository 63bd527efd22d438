//! What etcd's clients see of a mesh: each site has a linear history of its own, in revisions that no other site gives out, and nothing that
//! a client brings along from another site is mistaken for its own.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        Compare, LeaseGrantRequest, MemberListRequest, MemberUpdateRequest, PutRequest, RangeRequest, RequestOp,
        TxnRequest, WatchCreateRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request as Op,
    },
    mvccpb::{Event, KeyValue},
    v3electionpb::{CampaignRequest, election_client::ElectionClient},
    v3lockpb::{LockRequest, lock_client::LockClient},
};
use tombolo_rig::{
    connect::Connection,
    mesh::{Mesh, Shape},
    process::Server,
    requirement::Tool,
    watching::stream::WatchStream,
};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// Bits of a revision below its slot.
const ORDINAL_BITS: u32 = 38;

/// Two sites that have converged, and a connection to each.
async fn two_sites() -> Result<(Mesh, Connection, Connection)> {
    let launch = Server::tombolo().in_memory();
    let mut mesh = Mesh::prepare(&launch, &["factory", "ship"], Shape::full(2), 7)?;
    mesh.start().await?;
    mesh.converge(PATIENCE).await?;
    let (factory, ship) = (mesh.sites()[0].connect().await?, mesh.sites()[1].connect().await?);
    Ok((mesh, factory, ship))
}

fn put_request(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

fn put_op(key: &'static str, value: &'static str) -> RequestOp {
    RequestOp { request: Some(Op::RequestPut(put_request(key, value))) }
}

async fn put(connection: &mut Connection, key: &'static str, value: &'static str) -> Result<i64> {
    let answer = connection.kv.put(put_request(key, value)).await?.into_inner();
    Ok(answer.header.context("a header")?.revision)
}

async fn get(connection: &mut Connection, key: &'static str) -> Result<Option<KeyValue>> {
    let request = RangeRequest { key: key.into(), ..Default::default() };
    Ok(connection.kv.range(request).await?.into_inner().kvs.into_iter().next())
}

/// The pair once it has this value.
async fn seen(connection: &mut Connection, key: &'static str, value: &'static str) -> Result<KeyValue> {
    let wait = async {
        loop {
            match get(connection, key).await? {
                Some(pair) if pair.value == value.as_bytes() => return anyhow::Ok(pair),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{key} never was {value}"))?
}

async fn watching(connection: &Connection, start_revision: i64) -> Result<WatchStream> {
    let mut stream = WatchStream::open(connection);
    let all = Bytes::from_static(b"\0");
    stream
        .create(WatchCreateRequest { key: all.clone(), range_end: all, start_revision, ..Default::default() })
        .await?;
    Ok(stream)
}

/// Waits for so many events, and gives the responses that brought them.
async fn told(stream: &WatchStream, events: usize) -> Result<Vec<WatchResponse>> {
    let count = |responses: &[WatchResponse]| responses.iter().map(|response| response.events.len()).sum::<usize>();
    stream.wait(|responses| count(responses) >= events).await?;
    Ok(stream.look(|responses| responses.iter().filter(|response| !response.events.is_empty()).cloned().collect()))
}

const fn slot(revision: i64) -> i64 {
    revision >> ORDINAL_BITS
}

fn mod_revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_another_site_is_one_response_with_one_revision_of_our_own() -> Result<()> {
    let (_mesh, mut factory, mut ship) = two_sites().await?;
    let stream = watching(&ship, 0).await?;
    let success = vec![put_op("a", "1"), put_op("b", "1"), put_op("c", "1")];
    factory.kv.txn(TxnRequest { success, ..Default::default() }).await?;
    put(&mut factory, "a", "2").await?;
    seen(&mut ship, "a", "2").await?;
    put(&mut ship, "d", "own").await?;
    let responses = told(&stream, 5).await?;
    let keys: Vec<Vec<&[u8]>> = responses
        .iter()
        .map(|response| response.events.iter().map(|event| event.kv.as_ref().map_or(&[][..], |kv| &kv.key)).collect())
        .collect();
    assert_eq!(keys, [vec![&b"a"[..], b"b", b"c"], vec![&b"a"[..]], vec![&b"d"[..]]]);
    let revisions: Vec<Vec<i64>> =
        responses.iter().map(|response| response.events.iter().map(mod_revision).collect()).collect();
    let first = revisions[0][0];
    assert_eq!(revisions, [vec![first; 3], vec![first + 1], vec![first + 2]], "dense, and one for each transaction");
    assert!(slot(first) > 0, "the founder alone counts in slot 0");
    assert_eq!(get(&mut ship, "a").await?.context("a")?.version, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_site_counts_in_its_own_slot_and_says_who_it_is() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let (here, there) = (put(&mut factory, "a", "1").await?, put(&mut ship, "b", "1").await?);
    assert_eq!((slot(here), slot(there) > 0), (0, true));
    let [own, theirs] = [("b", &mut factory), ("a", &mut ship)];
    let (foreign_here, foreign_there) = (seen(own.1, own.0, "1").await?, seen(theirs.1, theirs.0, "1").await?);
    assert_eq!(slot(foreign_here.mod_revision), 0, "what comes from elsewhere takes a number of ours");
    assert_eq!(slot(foreign_there.mod_revision), slot(there));
    assert_eq!(foreign_there.create_revision, foreign_there.mod_revision);

    let [mut at_factory, mut at_ship] = [factory, ship];
    let list = |answer: tombolo_proto::etcdserverpb::MemberListResponse| {
        let header = answer.header.unwrap_or_default();
        (header.cluster_id, header.member_id, answer.members)
    };
    let here = list(at_factory.cluster.member_list(MemberListRequest::default()).await?.into_inner());
    let there = list(at_ship.cluster.member_list(MemberListRequest::default()).await?.into_inner());
    assert_eq!(here.0, there.0, "one mesh");
    assert_ne!(here.1, there.1);
    assert_eq!(mesh.status(0).await?.mesh[8..], here.0.to_be_bytes());
    for (site, (_, member, members)) in [(0, &here), (1, &there)] {
        assert_eq!(members.len(), 1, "a client is told of no other site");
        assert_eq!((members[0].id, &members[0].client_ur_ls), (*member, &vec![mesh.sites()[site].endpoint()]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_site_is_not_changed_through_etcds_calls() -> Result<()> {
    let (_mesh, mut factory, mut ship) = two_sites().await?;
    let other = ship.cluster.member_list(MemberListRequest::default()).await?.into_inner().members;
    let id = other[0].id;
    let update = MemberUpdateRequest { id, peer_ur_ls: other[0].peer_ur_ls.clone() };
    let status = factory.cluster.member_update(update).await.err().context("it was done")?;
    let names_the_flag = status.message().contains("--initial-advertise-peer-urls");
    assert!(status.code() == Code::FailedPrecondition && names_the_flag, "{status:?}");
    put(&mut factory, "k", "1").await?;
    seen(&mut ship, "k", "1").await.map(drop)
}

/// What two sites that are cut off from each other both believe is not known to be wrong before they meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_holds_within_one_site() -> Result<()> {
    let (mesh, factory, ship) = two_sites().await?;
    mesh.isolate(1)?;
    for (connection, lease) in [(factory, 1), (ship, 2)] {
        let mut leases = connection.lease.clone();
        for id in [lease, lease + 10] {
            leases.lease_grant(LeaseGrantRequest { ttl: 600, id }).await?;
        }
        let mut locks = LockClient::new(connection.channel.clone());
        let mut elections = ElectionClient::new(connection.channel);
        locks.lock(LockRequest { name: "l".into(), lease }).await?;
        elections.campaign(CampaignRequest { name: "e".into(), lease, value: "me".into() }).await?;
        let second = locks.lock(LockRequest { name: "l".into(), lease: lease + 10 });
        assert!(tokio::time::timeout(Duration::from_millis(300), second).await.is_err(), "two hold one lock");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compare_with_a_revision_of_another_site_never_succeeds() -> Result<()> {
    let (_mesh, mut factory, mut ship) = two_sites().await?;
    put(&mut factory, "k", "1").await?;
    let here = get(&mut factory, "k").await?.context("k")?;
    let there = seen(&mut ship, "k", "1").await?;
    for (connection, foreign) in [(&mut ship, here.mod_revision), (&mut factory, there.mod_revision)] {
        for result in [CompareResult::Equal, CompareResult::NotEqual, CompareResult::Greater, CompareResult::Less] {
            for target_union in [TargetUnion::ModRevision(foreign), TargetUnion::CreateRevision(foreign)] {
                let target = match target_union {
                    TargetUnion::ModRevision(_) => CompareTarget::Mod,
                    _ => CompareTarget::Create,
                };
                let compare = Compare {
                    key: "k".into(),
                    target: target.into(),
                    result: result.into(),
                    target_union: Some(target_union),
                    ..Default::default()
                };
                let request =
                    TxnRequest { compare: vec![compare], success: vec![put_op("k", "swapped")], failure: vec![] };
                let answer = connection.kv.txn(request).await?.into_inner();
                assert!(!answer.succeeded, "{target:?} {result:?} {foreign}");
            }
        }
    }
    assert_eq!(get(&mut ship, "k").await?.context("k")?, there, "nothing was written");
    // With the site's own number it does succeed.
    let compare = Compare {
        key: "k".into(),
        target: CompareTarget::Mod.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::ModRevision(there.mod_revision)),
        ..Default::default()
    };
    let request = TxnRequest { compare: vec![compare], success: vec![put_op("k", "swapped")], failure: vec![] };
    assert!(ship.kv.txn(request).await?.into_inner().succeeded);
    seen(&mut factory, "k", "swapped").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_or_a_watch_from_a_revision_of_another_site_relists() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    put(&mut factory, "k", "1").await?;
    let here = get(&mut factory, "k").await?.context("k")?.mod_revision;
    let there = seen(&mut ship, "k", "1").await?.mod_revision;
    for (connection, foreign) in [(&ship, here), (&ship, here + 1_000), (&factory, there)] {
        let mut connection = connection.clone();
        let request = RangeRequest { key: "k".into(), revision: foreign, ..Default::default() };
        let status = connection.kv.range(request).await.err().context("it was answered")?;
        assert_eq!((status.code(), status.message()), (Code::OutOfRange, COMPACTED), "{foreign}");
        let stream = watching(&connection, foreign).await?;
        stream.wait(|responses| responses.iter().any(|response| response.canceled)).await?;
        let end = stream.look(|responses| responses.iter().find(|response| response.canceled).cloned());
        let end = end.context("the end")?;
        assert!(end.compact_revision >= 1 && end.events.is_empty(), "{end:?}");
    }
    with_etcdctl(&mesh, here)
}

/// The same through etcd's own client, which fails over from the first site to the second.
fn with_etcdctl(mesh: &Mesh, foreign: i64) -> Result<()> {
    let Some(etcdctl) = Tool::Etcdctl.find() else { return Ok(()) };
    let run = |words: &[&str], input: &str| -> Result<(bool, String)> {
        let mut command = Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &mesh.sites()[1].address().to_string()]).args(words);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("a pipe")?, input.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    };
    let (read, text) = run(&["get", "k", "--rev", &foreign.to_string()], "")?;
    assert!(!read && text.contains("required revision has been compacted"), "{text}");
    let (watched, text) = run(&["watch", "k", "--rev", &foreign.to_string()], "")?;
    assert!(!watched && text.contains("compacted"), "{text}");
    let swap = format!("mod(\"k\") = \"{foreign}\"\n\nput k swapped\n\nget k\n\n");
    let (_, text) = run(&["txn"], &swap)?;
    assert!(text.starts_with("FAILURE") && text.contains("k\n1\n"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_writes_both_sites_keep_the_same_and_say_so_once() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    put(&mut factory, "k", "before").await?;
    seen(&mut ship, "k", "before").await?;
    let (at_factory, at_ship) = (watching(&factory, 0).await?, watching(&ship, 0).await?);
    mesh.isolate(1)?;
    put(&mut factory, "k", "factory").await?;
    put(&mut ship, "k", "ship").await?;
    put(&mut ship, "only/ship", "1").await?;
    assert_eq!(get(&mut factory, "k").await?.context("k")?.value, "factory");
    assert_eq!(get(&mut factory, "only/ship").await?, None);
    mesh.heal()?;
    mesh.converge(PATIENCE).await?;
    let (here, there) = (get(&mut factory, "k").await?.context("k")?, get(&mut ship, "k").await?.context("k")?);
    assert_eq!((&here.value, &there.value[..]), (&there.value, &b"ship"[..]), "the later clock's");
    // The winner's site has nothing new to tell; the other one tells of the write that beat its own.
    let told = |stream: &WatchStream| {
        stream.look(|responses| {
            let events = responses.iter().flat_map(|response| &response.events).filter_map(|event| event.kv.clone());
            events.map(|pair| String::from_utf8_lossy(&pair.value).into_owned()).collect::<Vec<_>>()
        })
    };
    at_factory.wait(|responses| responses.iter().map(|response| response.events.len()).sum::<usize>() >= 3).await?;
    assert_eq!(told(&at_factory), ["factory", "ship", "1"]);
    assert_eq!(told(&at_ship), ["ship", "1"]);
    Ok(())
}
