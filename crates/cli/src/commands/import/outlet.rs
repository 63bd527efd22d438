//! The way to the target: transactions gather into messages of a good size, and what was sent is remembered until the target has it.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use tombolo_proto::v1::{
    ImportChange, ImportEnd, ImportRunRequest, ImportTransaction, ImportTransactions, import_run_request::Step,
};

/// Bytes of a message, about. One transaction larger than this is sent in several.
const MESSAGE_BYTES: usize = 1 << 20;
/// What a change takes beside key and value, at most.
const CHANGE_BYTES: usize = 48;

/// Takes transactions in ascending order of their revisions. What comes after the server has hung up is dropped: its last word says why.
#[derive(Debug)]
pub(super) struct Outlet {
    requests: mpsc::Sender<ImportRunRequest>,
    sent: Sent,
    batch: Vec<ImportTransaction>,
    bytes: usize,
    changes: u64,
}

/// What was sent: how many changes, up to which revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<Mutex<VecDeque<(i64, u64)>>>);

impl Sent {
    /// How many changes lie up to a revision that the target has.
    pub(super) fn up_to(&self, revision: i64) -> u64 {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = 0;
        while let Some((_, count)) = marks.pop_front_if(|(sent, _)| *sent <= revision) {
            changes = count;
        }
        changes
    }
}

impl Outlet {
    pub(super) fn new(requests: mpsc::Sender<ImportRunRequest>, sent: Sent) -> Self {
        Self { requests, sent, batch: Vec::new(), bytes: 0, changes: 0 }
    }

    /// Hands it over for a while, and stands empty meanwhile.
    pub(super) fn lend(&mut self) -> Self {
        let here = Self::new(self.requests.clone(), self.sent.clone());
        mem::replace(self, here)
    }

    /// Whether nobody takes anything any more.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) async fn send(&self, step: Step) {
        let _ = self.requests.send(ImportRunRequest { step: Some(step) }).await;
    }

    pub(super) async fn push(&mut self, revision: i64, changes: Vec<ImportChange>) {
        for message in self.add(revision, changes) {
            self.send(message).await;
        }
    }

    /// As [`push`](Self::push), for a thread that may wait.
    pub(super) fn blocking_push(&mut self, revision: i64, changes: Vec<ImportChange>) {
        for message in self.add(revision, changes) {
            let _ = self.requests.blocking_send(ImportRunRequest { step: Some(message) });
        }
    }

    /// Sends what is left, and the end.
    pub(super) async fn finish(mut self) {
        let rest = self.flush();
        self.send(rest).await;
        self.send(Step::End(ImportEnd {})).await;
    }

    /// Adds a transaction; gives back the messages that are full.
    fn add(&mut self, revision: i64, changes: Vec<ImportChange>) -> Vec<Step> {
        let mut full = Vec::new();
        let mut part = ImportTransaction { revision, changes: Vec::new(), continues: true };
        for change in changes {
            let bytes = change.key.len() + change.value.len() + CHANGE_BYTES;
            if self.bytes > 0 && self.bytes + bytes > MESSAGE_BYTES {
                if !part.changes.is_empty() {
                    let rest = ImportTransaction { revision, changes: Vec::new(), continues: true };
                    self.batch.push(mem::replace(&mut part, rest));
                }
                full.push(self.flush());
            }
            self.bytes += bytes;
            self.changes += 1;
            part.changes.push(change);
        }
        part.continues = false;
        self.batch.push(part);
        full
    }

    fn flush(&mut self) -> Step {
        let transactions = mem::take(&mut self.batch);
        self.bytes = 0;
        if let Some(last) = transactions.last() {
            let mut marks = self.sent.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The changes of a transaction that continues count with its end.
            let revision = if last.continues { last.revision - 1 } else { last.revision };
            marks.push_back((revision, self.changes));
        }
        Step::Transactions(ImportTransactions { transactions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(bytes: usize) -> ImportChange {
        ImportChange { value: vec![0; bytes].into(), ..ImportChange::default() }
    }

    fn outlet() -> Outlet {
        Outlet::new(mpsc::channel(1).0, Sent::default())
    }

    fn transactions(step: Step) -> Vec<(i64, usize, bool)> {
        let Step::Transactions(sent) = step else { panic!("transactions are sent") };
        sent.transactions.into_iter().map(|t| (t.revision, t.changes.len(), t.continues)).collect()
    }

    #[test]
    fn small_transactions_share_a_message() {
        let mut outlet = outlet();
        assert!(outlet.add(2, vec![change(10)]).is_empty());
        assert!(outlet.add(3, vec![change(10), change(10)]).is_empty());
        let full = outlet.add(4, vec![change(MESSAGE_BYTES)]);
        assert_eq!(full.into_iter().map(transactions).collect::<Vec<_>>(), [[(2, 1, false), (3, 2, false)]]);
        assert_eq!(transactions(outlet.flush()), [(4, 1, false)]);
        assert_eq!((outlet.sent.up_to(3), outlet.sent.up_to(4)), (3, 4));
    }

    #[test]
    fn a_large_transaction_goes_in_parts_and_its_end_is_marked() {
        let mut outlet = outlet();
        let half = || change(MESSAGE_BYTES / 2);
        let full = outlet.add(2, vec![change(1), half(), half(), half()]);
        let parts: Vec<_> = full.into_iter().map(transactions).collect();
        assert_eq!(parts, [vec![(2, 2, true)], vec![(2, 1, true)]]);
        assert_eq!(transactions(outlet.flush()), [(2, 1, false)]);
        assert_eq!(outlet.sent.up_to(1), 3);
    }
}
