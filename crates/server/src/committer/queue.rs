//! The bounded queue between runtime and committer. Entering it never blocks: a full queue refuses.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tombolo_crdt::{ReplicaId, SignedHead};
use tombolo_net::ProvenBatch;
use tombolo_storage::{MendedRow, Request};

use super::{IngestRefusal, Ingested, Refusal, Reply, Step, transfer::StepReply};
use crate::limits;

/// Something on its way to the committer.
pub(super) struct Job {
    pub(super) work: Work,
    bytes: usize,
}

/// What there is to do, and who waits for it.
pub(super) enum Work {
    Request {
        request: Request,
        reply: oneshot::Sender<Reply>,
    },
    /// Records of other replicas, in their order, which their authors have signed.
    Ingest {
        /// Who sent them.
        from: ReplicaId,
        batch: ProvenBatch,
        reply: oneshot::Sender<Ingested>,
    },
    /// A step of a transfer of state.
    Step {
        step: Step,
        reply: oneshot::Sender<StepReply>,
    },
    /// Rows that were rotten and have been made again, and heads for those that say who signed what.
    Mend {
        rows: Vec<MendedRow>,
        heads: Vec<SignedHead>,
        reply: oneshot::Sender<u64>,
    },
}

/// The way to the committer. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct CommitQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    /// From whom nothing is taken any more: see [`CommitQueue::shut_out`].
    shut_out: Mutex<BTreeSet<ReplicaId>>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Whether the committer sleeps: only then does an entry wake it, so that a burst wakes it once.
    asleep: bool,
    /// Whether it is not to sleep the next time.
    is_woken: bool,
    closed: bool,
}

/// What [`CommitQueue::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    Some,
    /// Nothing, and nothing will ever come.
    Closed,
}

impl CommitQueue {
    /// Sends a request of about `bytes` bytes to the committer and waits for the answer. Dropping the future does not take the request back.
    pub(crate) async fn commit(&self, request: Request, bytes: usize) -> Reply {
        let answer = self.enter(request, bytes)?;
        answer.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Takes nothing more from these replicas, what waits here of them included. A request that is sent after this is carried out
    /// after the last of their records that will ever be.
    pub(crate) fn shut_out(&self, replicas: impl IntoIterator<Item = ReplicaId>) {
        self.0.shut_out.lock().extend(replicas);
    }

    pub(super) fn is_shut_out(&self, replica: ReplicaId) -> bool {
        self.0.shut_out.lock().contains(&replica)
    }

    /// Sends records that a replica has sent to the committer and waits until they are durable, if they may be applied.
    pub(crate) async fn ingest(&self, from: ReplicaId, batch: ProvenBatch) -> Ingested {
        let bytes = batch.records().iter().map(Bytes::len).sum();
        let (reply, answer) = oneshot::channel();
        match self.push(Work::Ingest { from, batch, reply }, bytes) {
            Ok(()) => answer.await.unwrap_or(Ingested::none(IngestRefusal::Stopped)),
            Err(Refusal::QueueFull) => Ingested::none(IngestRefusal::QueueFull),
            Err(_) => Ingested::none(IngestRefusal::Stopped),
        }
    }

    /// Has rows that were made again written in their places, and rows of signatures mended with these heads. Returns how many were.
    pub(crate) async fn mend(&self, rows: Vec<MendedRow>, heads: Vec<SignedHead>) -> u64 {
        let (reply, answer) = oneshot::channel();
        match self.push(Work::Mend { rows, heads, reply }, 0) {
            Ok(()) => answer.await.unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.state.lock().jobs.len()
    }

    pub(super) fn enter(&self, request: Request, bytes: usize) -> Result<oneshot::Receiver<Reply>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.push(Work::Request { request, reply }, bytes)?;
        Ok(answer)
    }

    pub(super) fn push(&self, work: Work, bytes: usize) -> Result<(), Refusal> {
        let wake = {
            let mut state = self.0.state.lock();
            if state.closed {
                return Err(Refusal::Stopped);
            }
            if state.jobs.len() >= limits::QUEUE_REQUESTS_MAX || state.bytes + bytes > limits::QUEUE_BYTES_MAX {
                return Err(Refusal::QueueFull);
            }
            state.bytes += bytes;
            state.jobs.push_back(Job { work, bytes });
            std::mem::take(&mut state.asleep)
        };
        if wake {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// Puts back what was taken, before everything that waits.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.0.state.lock();
        for job in jobs.into_iter().rev() {
            state.bytes += job.bytes;
            state.jobs.push_front(job);
        }
    }

    /// Wakes whoever waits for something to do: there may be something of another kind.
    pub(super) fn wake(&self) {
        let mut state = self.0.state.lock();
        state.is_woken = true;
        drop(state);
        self.0.filled.notify_one();
    }

    /// Takes the oldest requests, as many as a group may have, waiting at most `patience` for the first.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, patience: Duration) -> Taken {
        let mut state = self.0.state.lock();
        let is_woken = std::mem::take(&mut state.is_woken);
        if state.jobs.is_empty() && !state.closed && !patience.is_zero() && !is_woken {
            state.asleep = true;
            self.0.filled.wait_for(&mut state, patience);
            state.asleep = false;
        }
        if state.jobs.is_empty() {
            return if state.closed { Taken::Closed } else { Taken::Nothing };
        }
        let mut group_bytes = 0;
        while jobs.len() < limits::GROUP_REQUESTS_MAX && group_bytes < limits::GROUP_BYTES_MAX {
            let Some(job) = state.jobs.pop_front() else { break };
            group_bytes += job.bytes;
            jobs.push(job);
        }
        state.bytes -= group_bytes;
        Taken::Some
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }

    pub(super) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn request(id: i64) -> Request {
        Request::LeaseRevoke { id }
    }

    fn ids(jobs: &[Job]) -> Vec<i64> {
        let id = |job: &Job| match job.work {
            Work::Request { request: Request::LeaseRevoke { id }, .. } => id,
            _ => panic!("no such request was sent"),
        };
        jobs.iter().map(id).collect()
    }

    #[test]
    fn requests_come_out_in_order_and_in_bounded_groups() {
        let queue = CommitQueue::default();
        let _answers: Vec<_> = (0..1_500).map(|id| queue.enter(request(id), 10).unwrap()).collect();
        let mut jobs = Vec::new();
        assert_eq!(queue.take(&mut jobs, Duration::ZERO), Taken::Some);
        assert_eq!(ids(&jobs), (0..1_024).collect::<Vec<_>>());
        jobs.clear();
        assert_eq!(queue.take(&mut jobs, Duration::ZERO), Taken::Some);
        assert_eq!(ids(&jobs), (1_024..1_500).collect::<Vec<_>>());
        assert_eq!(queue.take(&mut jobs, Duration::ZERO), Taken::Nothing);
    }

    #[test]
    fn a_group_ends_where_its_bytes_do_but_always_has_one_request() {
        let queue = CommitQueue::default();
        let _answers: Vec<_> = (0..3).map(|id| queue.enter(request(id), 5 << 20).unwrap()).collect();
        for id in 0..3 {
            let mut jobs = Vec::new();
            queue.take(&mut jobs, Duration::ZERO);
            assert_eq!(ids(&jobs), [id]);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_has_room_again_once_it_was_taken_from() {
        let queue = CommitQueue::default();
        let mut answers = Vec::new();
        while let Ok(answer) = queue.enter(request(1), 1) {
            answers.push(answer);
        }
        assert_eq!(answers.len(), limits::QUEUE_REQUESTS_MAX);
        assert!(matches!(queue.enter(request(1), 1), Err(Refusal::QueueFull)));
        queue.take(&mut Vec::new(), Duration::ZERO);
        assert!(queue.enter(request(1), 1).is_ok());
    }

    #[test]
    fn large_requests_fill_the_queue_too() {
        let queue = CommitQueue::default();
        let _first = queue.enter(request(1), limits::QUEUE_BYTES_MAX).unwrap();
        assert!(matches!(queue.enter(request(2), 1), Err(Refusal::QueueFull)));
    }

    #[test]
    fn an_entry_wakes_the_sleeper() {
        let queue = CommitQueue::default();
        let sleeper = queue.clone();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let taken = sleeper.take(&mut Vec::new(), Duration::from_secs(20));
            (taken, started.elapsed())
        });
        std::thread::sleep(Duration::from_millis(20));
        let _answer = queue.enter(request(1), 1).unwrap();
        let (taken, waited) = thread.join().unwrap();
        assert_eq!(taken, Taken::Some);
        assert!(waited < Duration::from_secs(10));
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_refuses_the_rest() {
        let queue = CommitQueue::default();
        let _answer = queue.enter(request(1), 1).unwrap();
        queue.close();
        assert!(matches!(queue.enter(request(2), 1), Err(Refusal::Stopped)));
        let mut jobs = Vec::new();
        assert_eq!(queue.take(&mut jobs, Duration::from_secs(9)), Taken::Some);
        assert_eq!(queue.take(&mut jobs, Duration::from_secs(9)), Taken::Closed);
    }
}
