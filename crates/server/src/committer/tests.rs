//! Groups, refusals, transfers and stops, seen from the queue and from who announces.

use bytes::Bytes;
use tokio::sync::oneshot;
use tombolo_crdt::Dot;
use tombolo_net::{Admission, Batch, KeyPair, Roster, RosterEntry, Signer, SystemKey};
use tombolo_storage::{
    ArrivalBudget, Health, IngestError, KeyRange, OpenOptions, Outcome, Provider, Pull, Put, RangeQuery, Receiver,
    Request, Store, engine::memory::MemoryEngine,
};

use super::{transfer::StepReply, *};

struct Rig {
    engine: Arc<MemoryEngine>,
    store: Store,
    queue: CommitQueue,
    thread: CommitThread,
    groups: mpsc::Receiver<Group>,
}

fn rig() -> Rig {
    rig_of([7; 32])
}

fn rig_of(entropy: [u8; 32]) -> Rig {
    let engine = Arc::new(MemoryEngine::new());
    let options = OpenOptions::new(WallTime(1), entropy);
    let (store, committer) = Store::open_on(Box::new(Arc::clone(&engine)), &options).unwrap();
    let metrics = Arc::new(Metrics::default());
    let (thread, queue, groups) = CommitThread::start(committer, Durability::Fsync, metrics).unwrap();
    Rig { engine, store, queue, thread, groups }
}

fn put(key: &'static str) -> Request {
    Request::Put(Put { key: key.into(), value: Some("v".into()), lease: Some(0), previous: false })
}

fn reply_of(answered: Answered) -> Reply {
    match answered {
        Answered::Request(_, reply) => reply,
        _ => panic!("a request was sent"),
    }
}

fn next_reply(rig: &mut Rig) -> Reply {
    reply_of(rig.groups.blocking_recv().unwrap().replies.remove(0))
}

/// Sends records and tells what became of them, with the commits they made.
fn ingest(rig: &mut Rig, batch: ProvenBatch) -> (Ingested, usize) {
    let queue = rig.queue.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waiting = thread::spawn(move || runtime.block_on(queue.ingest(sender(), batch)));
    let Group { commits, replies } = rig.groups.blocking_recv().unwrap();
    replies.into_iter().for_each(Answered::tell);
    (waiting.join().unwrap(), commits.len())
}

fn sender() -> ReplicaId {
    ReplicaId::new(9).unwrap()
}

/// The records of `count` puts at another replica.
fn foreign_records(count: usize) -> Vec<(Dot, Bytes)> {
    let mut author = rig_of([8; 32]);
    for _ in 0..count {
        let _waiting = author.queue.enter(put("k"), 1).unwrap();
        author.groups.blocking_recv().unwrap();
    }
    let budget = ArrivalBudget { commits: count, bytes: 1 << 20 };
    let arrivals = author.store.arrivals(&Default::default(), 0, budget).unwrap();
    arrivals.records.into_iter().map(|arrival| (arrival.dot, arrival.bytes)).collect()
}

/// Records as their author signs and offers them.
fn signed(records: &[(Dot, Bytes)]) -> ProvenBatch {
    let author = records[0].0.replica;
    let key = KeyPair::from_seed(&[8; KeyPair::SEED_LEN]).unwrap();
    let admission = Admission::founder(7, author, &key);
    let entry = RosterEntry {
        key: SystemKey::Admission(author).to_string().into(),
        author,
        seq: 0,
        value: admission.encode().into(),
    };
    let roster = Roster::new(7, [entry]);
    let heads = Signer::new(7, author, key).complete(&roster, records, Vec::new()).unwrap();
    let records = records.iter().map(|(_, bytes)| bytes.clone()).collect();
    Batch { records, heads }.prove(7, &roster).unwrap()
}

fn keys(store: &Store) -> usize {
    store.range(&RangeQuery::all(KeyRange::all())).unwrap().pairs.len()
}

#[test]
fn a_group_brings_its_commits_with_its_replies_in_order() {
    let mut rig = rig();
    let _waiting = [rig.queue.enter(put("a"), 1).unwrap(), rig.queue.enter(put("b"), 1).unwrap()];
    let (mut commits, mut replies) = (0, Vec::new());
    while replies.len() < 2 {
        let group = rig.groups.blocking_recv().unwrap();
        commits += group.commits.len();
        replies.extend(group.replies.into_iter().map(|answered| reply_of(answered).unwrap()));
        assert_eq!(commits, replies.len(), "a reply comes with what it speaks of");
    }
    let revisions: Vec<_> = replies.iter().map(|answer| answer.revision.get()).collect();
    assert_eq!(revisions, [2, 3]);
    assert!(matches!(replies[0].outcome, Outcome::Put(_)));
    rig.thread.stop().unwrap();
}

#[test]
fn after_a_failed_sync_nobody_is_told_success_and_reads_go_on() {
    let mut rig = rig();
    let _first = rig.queue.enter(put("a"), 1).unwrap();
    assert!(next_reply(&mut rig).is_ok());
    rig.engine.fail_sync_in(1);
    let _second = rig.queue.enter(put("b"), 1).unwrap();
    let group = rig.groups.blocking_recv().unwrap();
    assert!(group.commits.is_empty());
    assert!(matches!(group.replies.into_iter().map(reply_of).next(), Some(Err(Refusal::Commit(_)))));
    let _third = rig.queue.enter(put("c"), 1).unwrap();
    assert!(next_reply(&mut rig).is_err(), "a poisoned store stays so");
    assert_eq!((rig.store.health(), keys(&rig.store)), (Health::Poisoned, 1));
}

#[test]
fn records_of_a_peer_are_taken_in_order_and_all_or_none() {
    let records = foreign_records(4);
    let mut rig = rig();
    let (ingested, commits) = ingest(&mut rig, signed(&records[..2]));
    assert_eq!((ingested.passed, ingested.refusal.is_none(), commits), (2, true, 2));
    let (ingested, commits) = ingest(&mut rig, signed(&records[1..3]));
    assert_eq!((ingested.passed, ingested.refusal.is_none(), commits), (2, true, 1), "known is as good as applied");
    let mut broken = records[2..].to_vec();
    broken.insert(1, (records[2].0, Bytes::from_static(b"no record")));
    let (ingested, commits) = ingest(&mut rig, signed(&broken));
    assert_eq!((ingested.passed, commits), (1, 0), "nothing after a refusal is tried");
    assert!(matches!(ingested.refusal, Some(IngestRefusal::Record(IngestError::Malformed(_)))));
    assert_eq!(rig.store.frontier().iter().map(|dot| dot.seq).sum::<u64>(), 3);
    assert_eq!(rig.store.signed_heads().iter().map(|head| head.dot.seq).collect::<Vec<_>>(), [3]);
}

/// Everything that `author` has, staged at `rig`.
fn staged(rig: &mut Rig, author: &Store) -> Box<tombolo_storage::CompleteTransfer> {
    let hand = |dot: Dot, chain| {
        Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
    };
    let (provider, mut receiver) = (Provider::new(author), Receiver::resume(&rig.store).unwrap());
    loop {
        let pulls = receiver.next_pulls(2);
        if pulls.is_empty() {
            let collected = receiver.complete().unwrap().unwrap();
            return Box::new(collected.prove(|_| Ok::<_, std::convert::Infallible>(())).unwrap());
        }
        for Pull { id, body } in pulls {
            let pages = receiver.take(id, provider.answer(Duration::ZERO, body, hand).unwrap()).unwrap();
            let _waiting = enter(rig, Step::Stage(pages));
            rig.groups.blocking_recv().unwrap().replies.into_iter().for_each(Answered::tell);
        }
    }
}

fn enter(rig: &Rig, step: Step) -> oneshot::Receiver<StepReply> {
    let (reply, waiting) = oneshot::channel();
    rig.queue.push(Work::Step { step, reply }, 0).unwrap();
    waiting
}

#[test]
fn a_transfer_is_joined_at_its_turn_among_the_writes() {
    let mut author = rig_of([8; 32]);
    for key in ["a", "b"] {
        let _waiting = author.queue.enter(put(key), 1).unwrap();
        author.groups.blocking_recv().unwrap();
    }
    let mut rig = rig();
    let complete = staged(&mut rig, &author.store);
    assert_eq!(keys(&rig.store), 0, "what is staged is out of sight");
    let before = rig.queue.enter(put("own"), 1).unwrap();
    let joined = enter(&rig, Step::Join(sender(), complete));
    let after = rig.queue.enter(put("later"), 1).unwrap();
    let (mut told, mut replies) = (Vec::new(), 0);
    while replies < 3 {
        let group = rig.groups.blocking_recv().unwrap();
        replies += group.replies.len();
        told.extend(group.commits.iter().map(|commit| (commit.revision.get(), commit.events.len())));
        group.replies.into_iter().for_each(Answered::tell);
    }
    assert_eq!(told, [(2, 1), (3, 2), (4, 1)], "it is one revision between the two");
    let revision = |mut waiting: oneshot::Receiver<Reply>| waiting.try_recv().unwrap().unwrap().revision.get();
    assert_eq!((revision(before), revision(after), keys(&rig.store)), (2, 4, 4));
    let stepped = { joined }.try_recv().unwrap().unwrap();
    assert_eq!((stepped.added, stepped.removed), (2, 0));
}

/// Another replica, with so many keys.
fn author_of(keys: usize) -> Rig {
    let mut author = rig_of([8; 32]);
    for key in 0..keys {
        let put = Put { key: format!("{key}").into(), value: Some("v".into()), lease: Some(0), previous: false };
        let _waiting = author.queue.enter(Request::Put(put), 1).unwrap();
        author.groups.blocking_recv().unwrap();
    }
    author
}

#[test]
fn clients_write_on_while_a_large_transfer_is_joined_and_peers_wait() {
    let mut rig = rig();
    let complete = staged(&mut rig, &author_of(5000).store);
    let joined = enter(&rig, Step::Join(sender(), complete));
    let beside = rig.queue.enter(put("beside"), 1).unwrap();
    let (reply, mended) = oneshot::channel();
    rig.queue.push(Work::Mend { rows: Vec::new(), heads: Vec::new(), reply }, 0).unwrap();
    let mut order = Vec::new();
    while order.len() < 3 {
        let group = rig.groups.blocking_recv().unwrap();
        order.extend(group.replies.iter().map(|answered| match answered {
            Answered::Request(..) => "request",
            Answered::Step(..) => "join",
            _ => "what was held",
        }));
        group.replies.into_iter().for_each(Answered::tell);
    }
    assert_eq!(order, ["request", "join", "what was held"]);
    assert_eq!({ beside }.try_recv().unwrap().unwrap().revision.get(), 2);
    assert_eq!({ joined }.try_recv().unwrap().unwrap().added, 5000);
    assert_eq!(({ mended }.try_recv(), keys(&rig.store)), (Ok(0), 5001));
    rig.thread.stop().unwrap();
}

#[test]
fn what_was_written_before_a_join_that_is_refused_is_told() {
    for keys in [1, 5000] {
        let mut rig = rig();
        let complete = staged(&mut rig, &author_of(keys).store);
        assert_eq!(complete.is_large(), keys > 1);
        // The same names, and other records.
        ingest(&mut rig, signed(&foreign_records(keys)));
        rig.thread.stop().unwrap();
        let options = OpenOptions::new(WallTime(1), [7; 32]);
        let (store, committer) = Store::open_on(Box::new(Arc::clone(&rig.engine)), &options).unwrap();
        let (queue, (groups, _announced)) = (CommitQueue::default(), mpsc::channel(1));
        let mut worker = Worker {
            committer,
            queue: queue.clone(),
            groups,
            metrics: Arc::new(Metrics::default()),
            patience: Duration::ZERO,
            complained: false,
            joining: None,
        };
        let _written = queue.enter(put("own"), 1).unwrap();
        let (reply, mut joined) = oneshot::channel();
        let step = Step::Join(sender(), complete);
        queue.push(Work::Step { step, reply }, 0).unwrap();
        let mut jobs = Vec::new();
        queue.take(&mut jobs, Duration::ZERO);
        let group = worker.carry_out(&mut jobs);
        assert_eq!((group.replies.len(), group.commits.len()), (2, 1));
        assert_eq!(group.commits[0].number, store.published().commit);
        group.replies.into_iter().for_each(Answered::tell);
        assert!(matches!(joined.try_recv(), Ok(Err(StepRefusal::Store(_)))));
    }
}

#[test]
fn a_large_transfer_that_is_being_joined_when_the_server_stops_is_joined_first() {
    let mut rig = rig();
    let complete = staged(&mut rig, &author_of(5000).store);
    let _joined = enter(&rig, Step::Join(sender(), complete));
    rig.thread.stop().unwrap();
    assert_eq!(keys(&rig.store), 5000);
}

#[test]
fn a_transfer_that_was_not_made_durable_is_not_joined() {
    let mut author = rig_of([8; 32]);
    let _waiting = author.queue.enter(put("a"), 1).unwrap();
    author.groups.blocking_recv().unwrap();
    let mut rig = rig();
    let complete = staged(&mut rig, &author.store);
    rig.engine.fail_sync_in(1);
    let joined = enter(&rig, Step::Join(sender(), complete));
    let group = rig.groups.blocking_recv().unwrap();
    assert!(group.commits.is_empty());
    group.replies.into_iter().for_each(Answered::tell);
    assert!(matches!({ joined }.try_recv(), Ok(Err(StepRefusal::NotDurable(_)))));
    assert_eq!((rig.store.health(), keys(&rig.store)), (Health::Poisoned, 0));
}

#[test]
fn nothing_is_taken_from_whoever_was_shut_out() {
    let records = foreign_records(2);
    let mut rig = rig();
    assert_eq!(ingest(&mut rig, signed(&records[..1])).0.passed, 1);
    rig.queue.shut_out([sender()]);
    let (ingested, commits) = ingest(&mut rig, signed(&records));
    assert_eq!((ingested.passed, commits), (0, 0));
    assert!(matches!(ingested.refusal, Some(IngestRefusal::ShutOut)));
}

#[test]
fn records_that_were_not_made_durable_are_not_taken() {
    let records = foreign_records(2);
    let mut rig = rig();
    rig.engine.fail_sync_in(1);
    let (ingested, commits) = ingest(&mut rig, signed(&records));
    assert_eq!((ingested.passed, commits), (0, 0));
    assert!(matches!(ingested.refusal, Some(IngestRefusal::NotDurable)));
}

#[test]
fn what_waits_at_a_stop_is_carried_out_before_it() {
    let mut rig = rig();
    let waiting: Vec<_> = (0..50).map(|_| rig.queue.enter(put("k"), 1).unwrap()).collect();
    let announced = thread::spawn(move || {
        while let Some(group) = rig.groups.blocking_recv() {
            group.replies.into_iter().for_each(Answered::tell);
        }
    });
    rig.thread.stop().unwrap();
    announced.join().unwrap();
    assert!(waiting.into_iter().all(|reply| reply.blocking_recv().unwrap().is_ok()));
    assert!(matches!(rig.queue.enter(put("late"), 1), Err(Refusal::Stopped)));
    assert_eq!(rig.store.published().revision.get(), 51);
}
