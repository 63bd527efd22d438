//! The committer's thread: the one place where the store is written.
//!
//! Requests come through a bounded queue from the runtime. The thread takes what is there, executes it in order, makes it durable as one group,
//! and sends the whole group back as one message: waking another thread costs more than a put, so it happens once for each
//! group and never for each request. There is no timed wait for a group to fill; while one group is being synced the next one gathers by itself.
//!
//! A group reaches the runtime as [`Group`]: whoever receives it announces the commits first and completes the replies then.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tombolo_crdt::{ReplicaId, SignedHead};
use tombolo_net::ProvenBatch;
use tombolo_storage::{CommitError, Committer, Durability, MendedRow, RefusedBatch, WallTime};
use tracing::{error, info};

use self::{
    joining::Joining,
    queue::{Job, Taken, Work},
};
use crate::{clock, limits, metrics::Metrics};

pub(crate) use self::{
    answer::{Answered, Group, IngestRefusal, Ingested, Refusal, Reply},
    queue::CommitQueue,
    transfer::{Step, StepRefusal, Stepped},
};

mod answer;
mod joining;
mod queue;
mod transfer;

/// The running thread.
pub(crate) struct CommitThread {
    queue: CommitQueue,
    thread: JoinHandle<Result<(), CommitError>>,
}

impl CommitThread {
    /// Starts the thread. Groups come out of the receiver in order. A weaker durability than fsync has its syncs from the housekeeping, which
    /// must then come round as often.
    pub(crate) fn start(
        committer: Committer,
        durability: Durability,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, CommitQueue, mpsc::Receiver<Group>)> {
        let queue = CommitQueue::default();
        let (groups, received) = mpsc::channel(limits::GROUPS_UNANNOUNCED_MAX);
        let patience = match durability {
            Durability::Interval(interval) => interval.min(limits::HOUSEKEEPING_INTERVAL),
            Durability::Fsync | Durability::Os => limits::HOUSEKEEPING_INTERVAL,
        };
        let worker =
            Worker { committer, queue: queue.clone(), groups, metrics, patience, complained: false, joining: None };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(move || worker.run())?;
        Ok((Self { queue: queue.clone(), thread }, queue, received))
    }

    /// Takes no further requests, carries out those that wait, and closes the store. Blocks until that is done.
    pub(crate) fn stop(self) -> Result<(), CommitError> {
        self.queue.close();
        match self.thread.join() {
            Ok(closed) => closed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Worker {
    committer: Committer,
    queue: CommitQueue,
    groups: mpsc::Sender<Group>,
    metrics: Arc<Metrics>,
    /// The longest sleep.
    patience: Duration,
    /// Whether a failure of the store has been logged: it stays until the store is reopened.
    complained: bool,
    /// A join that is being prepared.
    joining: Option<Joining>,
}

impl Worker {
    fn run(mut self) -> Result<(), CommitError> {
        let mut jobs = Vec::new();
        loop {
            let more_due = self.keep_house();
            let patience = if more_due { Duration::ZERO } else { self.patience };
            match self.queue.take(&mut jobs, patience) {
                Taken::Nothing if self.committer.pending() == 0 && !self.must_join() => {}
                // Housekeeping may have something to commit when nobody asks for anything.
                Taken::Nothing | Taken::Some => {
                    let group = self.carry_out(&mut jobs);
                    // Nobody listens only when the runtime is gone, and then nobody waits either.
                    let _ = self.groups.blocking_send(group);
                }
                // What was held for a join is still to be done.
                Taken::Closed if self.joining.is_some() => {
                    let group = self.carry_out(&mut jobs);
                    let _ = self.groups.blocking_send(group);
                }
                Taken::Closed => break,
            }
        }
        info!("closing the store");
        self.committer.close()
    }

    /// Whether the join under way is to be published before anything else.
    fn must_join(&self) -> bool {
        let joining = self.joining.as_ref();
        joining.is_some_and(|joining| joining.is_prepared() || self.committer.must_join() || self.queue.is_closed())
    }

    fn carry_out(&mut self, jobs: &mut Vec<Job>) -> Group {
        let started = Instant::now();
        let wall = clock::wall();
        let mut replies: Vec<Answered> = Vec::with_capacity(jobs.len());
        let mut commits = Vec::new();
        if self.must_join() {
            replies.extend(self.end_join(jobs, &mut commits));
        }
        for job in jobs.drain(..) {
            let job = match &mut self.joining {
                Some(joining) => joining.hold(job),
                None => Some(job),
            };
            let Some(Job { work, .. }) = job else { continue };
            replies.push(match work {
                Work::Step { step: Step::Join(from, complete), reply } if complete.is_large() => {
                    replies.extend(self.begin_join(from, *complete, reply, &mut commits));
                    continue;
                }
                Work::Request { request, reply } => {
                    Answered::Request(reply, self.committer.execute(wall, request).map_err(Refusal::from))
                }
                Work::Ingest { from, batch, reply } => Answered::Ingest(reply, self.ingest(wall, from, batch)),
                Work::Step { step, reply } => Answered::Step(reply, self.step(step, &mut commits)),
                Work::Mend { rows, heads, reply } => Answered::Mend(reply, self.mend(rows, &heads)),
            });
        }
        let executed = Instant::now();
        match self.committer.commit() {
            Ok(made) => commits.extend(made),
            Err(why) => {
                self.complain(&why);
                let why = Arc::new(why);
                replies.iter_mut().for_each(|answered| answered.fail(&why));
            }
        }
        self.metrics.committed(replies.len(), commits.len(), executed - started, executed.elapsed());
        Group { commits, replies }
    }

    /// Applies records in their order, all or none. One that is here already is as good as applied.
    fn ingest(&mut self, wall: WallTime, from: ReplicaId, batch: ProvenBatch) -> Ingested {
        if self.queue.is_shut_out(from) {
            return Ingested::none(IngestRefusal::ShutOut);
        }
        let (records, heads) = batch.into_parts();
        let count = records.len();
        match self.committer.ingest_batch(wall, records, heads) {
            Ok(applied) => {
                self.metrics.records_ingested.add(applied as u64);
                Ingested { passed: count, refusal: None }
            }
            Err(RefusedBatch { at, why }) => Ingested { passed: at, refusal: Some(IngestRefusal::Record(why)) },
        }
    }

    fn mend(&mut self, rows: Vec<MendedRow>, heads: &[SignedHead]) -> u64 {
        let made = self.committer.mend(rows).and_then(|made| Ok(made + self.committer.mend_signatures(heads)?));
        made.unwrap_or_else(|why| {
            self.complain(&why);
            0
        })
    }

    /// Answers whether more housekeeping is due at once.
    fn keep_house(&mut self) -> bool {
        self.committer.maintain(clock::wall()).unwrap_or_else(|why| {
            self.complain(&why);
            false
        })
    }

    fn complain(&mut self, why: &CommitError) {
        if self.complained {
            return;
        }
        self.complained = true;
        match why {
            CommitError::Poisoned { .. } => {
                error!(%why, "the store takes no more writes; it goes on reading until it is restarted");
            }
            CommitError::Read(_) => error!(%why, "compacted history stays on disk: it cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
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
}
