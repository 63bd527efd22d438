//! Alarms raised by hand, as some clients do, and disarmed: what etcd answers, and what it refuses meanwhile.

use anyhow::Result;
use tombolo_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, StatusRequest, TxnRequest, alarm_request::AlarmAction, request_op,
};
use tombolo_rig::{connect::Connection, process::Server};
use tonic::Status;

/// An answer, or code and text of a refusal.
type Told<T> = Result<T, (i32, String)>;

fn refusal(status: Status) -> (i32, String) {
    (status.code() as i32, status.message().to_owned())
}

/// The alarms told: `own` stands for the server's own id.
async fn alarm(connection: &mut Connection, action: i32, kind: i32, member: Member) -> Told<Vec<(Member, i32)>> {
    let own = connection.maintenance.status(StatusRequest {}).await.map_err(refusal)?.into_inner().leader;
    let member_id = match member {
        Member::Own => own,
        Member::Id(id) => id,
    };
    let request = AlarmRequest { action, member_id, alarm: kind };
    let answer = connection.maintenance.alarm(request).await.map_err(refusal)?.into_inner();
    let named = |id| if id == own { Member::Own } else { Member::Id(id) };
    let mut alarms: Vec<_> = answer.alarms.iter().map(|alarm| (named(alarm.member_id), alarm.alarm)).collect();
    alarms.sort_unstable();
    Ok(alarms)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Own,
    Id(u64),
}

/// What each kind of request is answered: whether it is done, or code and text.
async fn probe(connection: &mut Connection) -> Vec<(&'static str, Told<()>)> {
    let put = || PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
    let delete = || DeleteRangeRequest { key: "b".into(), ..Default::default() };
    let op = |request| RequestOp { request: Some(request) };
    let txn = |request| TxnRequest { success: vec![op(request)], ..Default::default() };
    let mut told = Vec::new();
    let mut note = |name, answer: Result<(), Status>| told.push((name, answer.map_err(refusal)));
    note("put", connection.kv.put(put()).await.map(drop));
    note("delete", connection.kv.delete_range(delete()).await.map(drop));
    note("range", connection.kv.range(RangeRequest { key: "a".into(), ..Default::default() }).await.map(drop));
    note("txn that puts", connection.kv.txn(txn(request_op::Request::RequestPut(put()))).await.map(drop));
    let deleting = request_op::Request::RequestDeleteRange(delete());
    note("txn that deletes", connection.kv.txn(txn(deleting)).await.map(drop));
    note("grant", connection.lease.lease_grant(LeaseGrantRequest { id: 0, ttl: 60 }).await.map(drop));
    note("revoke", connection.lease.lease_revoke(LeaseRevokeRequest { id: 99 }).await.map(drop));
    note("compact", connection.kv.compact(CompactionRequest { revision: 1 << 37, physical: false }).await.map(drop));
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_raised_by_hand_are_told_have_their_effect_and_are_disarmed_as_by_etcd() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let (reference, mut subject) = tokio::try_join!(etcd.in_memory().start(), Server::tombolo().in_memory().start())?;
    let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
    let [get, raise, disarm] = [AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate].map(i32::from);
    let [all, full, corrupt] = [AlarmType::None, AlarmType::Nospace, AlarmType::Corrupt].map(i32::from);
    let steps = [
        (get, all, Member::Own),
        (disarm, full, Member::Id(0)),
        (raise, all, Member::Own),
        (raise, full, Member::Id(0)),
        (raise, full, Member::Id(0)),
        (raise, full, Member::Own),
        (get, all, Member::Id(0)),
        (get, corrupt, Member::Id(0)),
        (disarm, full, Member::Id(7)),
        (disarm, all, Member::Id(0)),
        (disarm, full, Member::Id(0)),
        (get, full, Member::Own),
        (disarm, full, Member::Own),
        (get, all, Member::Own),
        (raise, corrupt, Member::Id(7)),
        (get, all, Member::Own),
        (disarm, corrupt, Member::Id(7)),
        (get, all, Member::Own),
    ];
    // Older releases raise an alarm of no kind.
    let version = left.maintenance.status(StatusRequest {}).await?.into_inner().version;
    let is_old = version.starts_with("3.4.");
    let mut refused = 0;
    for (number, (action, kind, member)) in steps.into_iter().enumerate() {
        if is_old && (action, kind) == (raise, all) {
            continue;
        }
        let (expected, got) =
            tokio::join!(alarm(&mut left, action, kind, member), alarm(&mut right, action, kind, member));
        assert_eq!(got, expected, "step {number}");
        let (expected, got) = tokio::join!(probe(&mut left), probe(&mut right));
        // etcd refuses a transaction that only deletes when it is told that it is full; here what makes room is always taken.
        let comparable = |told: Vec<(&'static str, Told<()>)>| {
            told.into_iter().filter(|(name, _)| *name != "txn that deletes").collect::<Vec<_>>()
        };
        assert_eq!(comparable(got.clone()), comparable(expected), "after step {number}");
        refused += got.iter().filter(|(_, told)| told.is_err()).count();
    }
    assert!(refused > steps.len() * 3, "too few refusals to prove anything: {refused}");

    // A hand's word holds after a restart.
    alarm(&mut right, raise, full, Member::Id(7)).await.expect("an alarm");
    subject.restart().await?;
    let mut right = subject.connect().await?;
    assert_eq!(alarm(&mut right, get, all, Member::Own).await, Ok(vec![(Member::Id(7), full)]));
    assert_eq!(probe(&mut right).await[0].1, Err((8, "etcdserver: mvcc: database space exceeded".to_owned())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_are_no_alarm_and_no_action_are_refused() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    assert_eq!(alarm(&mut connection, 1, 9, Member::Own).await.unwrap_err().0, 3);
    assert_eq!(alarm(&mut connection, 9, 1, Member::Own).await.unwrap_err().0, 2);
    assert_eq!(alarm(&mut connection, 0, 9, Member::Own).await, Ok(vec![]));
    Ok(())
}
