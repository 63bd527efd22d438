//! What one watching client is told: every event of its range once, whole transactions, ascending, over restarts too.

use tombolo_storage::{Event, KeyRange};

use super::{Claim, Violation, log::Log};

/// A response as a watching client reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Revisions with their events.
    pub commits: Vec<(i64, Vec<Event>)>,
    /// Everything up to here has been told now.
    pub revision: i64,
}

/// A client that watches a range, and comes back when its site stops.
#[derive(Clone, Debug)]
pub struct Stream {
    site: usize,
    range: KeyRange,
    seen: i64,
}

impl Stream {
    /// A client that wants every event of a range above a revision.
    pub fn new(site: usize, range: KeyRange, above: i64) -> Self {
        Self { site, range, seen: above }
    }

    /// The keys it watches.
    pub fn range(&self) -> &KeyRange {
        &self.range
    }

    /// It has everything up to here.
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// The client reads a response.
    ///
    /// # Errors
    ///
    /// Something is missing, told again, torn, or out of order.
    pub fn read(&mut self, response: &Response, log: &Log) -> Result<(), Violation> {
        for (revision, events) in &response.commits {
            let mut events = events.clone();
            events.sort_by(|left, right| left.key().cmp(right.key()));
            let told = (*revision, events);
            let expected = log.next_match(self.seen, &self.range);
            if expected.as_ref() != Some(&told) {
                return Err(self.violation(format!("{told:?} was told where {expected:?} is next")));
            }
            self.seen = *revision;
        }
        self.promised(response.revision, log)
    }

    /// The client is told that it has everything up to a revision.
    ///
    /// # Errors
    ///
    /// It has not.
    pub fn promised(&mut self, revision: i64, log: &Log) -> Result<(), Violation> {
        if let Some((missing, events)) = log.next_match(self.seen, &self.range).filter(|(next, _)| *next <= revision) {
            return Err(
                self.violation(format!("told of everything up to {revision}, but not of {missing}: {events:?}"))
            );
        }
        self.seen = self.seen.max(revision);
        Ok(())
    }

    /// The site refuses to go on from where the client was, for history up to `oldest` is gone, or the number is nobody's since the site has
    /// another name. The client reads the range and goes on from `revision`.
    ///
    /// # Errors
    ///
    /// What the client needed was not gone.
    pub fn relist(&mut self, log: &Log, oldest: i64, compacted: i64, revision: i64) -> Result<(), Violation> {
        if !log.counts(self.seen + 1) {
            self.seen = revision;
            return Ok(());
        }
        if oldest > compacted.max(1) || self.seen + 1 >= oldest {
            let text = format!("refused from {} on, with {oldest} as the oldest of {compacted}", self.seen + 1);
            return Err(self.violation(text));
        }
        self.seen = revision;
        Ok(())
    }

    /// All is quiet.
    ///
    /// # Errors
    ///
    /// Something was never told.
    pub fn check_complete(&self, log: &Log) -> Result<(), Violation> {
        match log.next_match(self.seen, &self.range) {
            Some(missing) => Err(self.violation(format!("{missing:?} was never told"))),
            None => Ok(()),
        }
    }

    fn violation(&self, text: String) -> Violation {
        Violation::at(self.site, Claim::Watch, format!("a watch of {:?} from {}: {text}", self.range, self.seen))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tombolo_storage::{
        ArrivalBudget, Op, OpenOptions, Put, Request, Slot, Store, Transaction, WallTime, engine::memory::MemoryEngine,
    };

    use super::*;
    use crate::checker::records::Records;

    /// A log of three transactions, each of which puts `a` and `b`.
    fn log() -> Log {
        let options = OpenOptions::new(WallTime(1_000), [5; 32]);
        let (store, mut committer) = Store::open_on(Box::new(MemoryEngine::new()), &options).expect("it is empty");
        for round in 0..3 {
            let put = |key: &'static str| {
                let value = Some(format!("{key}{round}").into());
                Op::Put(Put { key: key.into(), value, lease: Some(0), previous: false })
            };
            let transaction = Transaction { guards: vec![], then: vec![put("a"), put("b")], otherwise: vec![] };
            committer.execute(WallTime(1_000), Request::Txn(transaction)).expect("it is sound");
        }
        let commits = committer.commit().expect("the engine writes");
        let budget = ArrivalBudget { commits: 10, bytes: usize::MAX };
        let arrivals = store.arrivals(&Default::default(), 0, budget).expect("nothing was compacted").records;
        let mut log = Log::new(0, store.identity().replica, store.identity().slot);
        log.published(&mut Records::default(), &arrivals, &commits, &BTreeMap::new()).expect("the store is sound");
        log
    }

    fn response(log: &Log, revisions: &[i64]) -> Response {
        let commits = revisions.iter().filter_map(|revision| log.next_match(revision - 1, &KeyRange::all()));
        Response { commits: commits.collect(), revision: 0 }
    }

    fn read(log: &Log, responses: &[Response]) -> Result<Stream, Violation> {
        let mut stream = Stream::new(0, KeyRange::all(), 1);
        responses.iter().try_for_each(|response| stream.read(response, log)).map(|()| stream)
    }

    #[test]
    fn everything_once_and_in_order_is_right() {
        let log = log();
        let stream = read(&log, &[response(&log, &[2, 3]), response(&log, &[4])]).expect("nothing is missing");
        assert_eq!(stream.check_complete(&log), Ok(()));
        let partial = read(&log, &[response(&log, &[2, 3])]).expect("so far nothing is missing");
        assert!(partial.check_complete(&log).is_err());
    }

    #[test]
    fn what_is_skipped_repeated_or_swapped_is_found() {
        let log = log();
        for wrong in [&[3][..], &[2, 2], &[2, 4], &[3, 2]] {
            assert!(read(&log, &[response(&log, wrong)]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn half_a_transaction_is_found() {
        let log = log();
        let mut torn = response(&log, &[2]);
        torn.commits[0].1.pop();
        assert!(read(&log, &[torn]).is_err());
    }

    #[test]
    fn a_promise_ahead_of_its_events_is_found() {
        let log = log();
        let mut early = response(&log, &[2]);
        early.revision = 3;
        assert!(read(&log, &[early.clone()]).is_err());
        early.revision = 2;
        assert_eq!(read(&log, &[early]).map(|stream| stream.seen()), Ok(2));
    }

    #[test]
    fn a_refusal_of_history_that_is_there_is_found() {
        let log = log();
        let mut stream = Stream::new(0, KeyRange::all(), 5);
        assert!(stream.relist(&log, 6, 6, 9).is_err(), "6 is the next it needs, and is there");
        assert!(stream.relist(&log, 8, 7, 9).is_err(), "nobody compacted up to 8");
        assert_eq!(stream.relist(&log, 8, 8, 9), Ok(()));
        assert_eq!(stream.seen(), 9);
        let foreign = Slot::new(3).expect("there is one").beginning().get();
        let mut stream = Stream::new(0, KeyRange::all(), foreign);
        assert_eq!(stream.relist(&log, 1, -1, 9), Ok(()), "nobody here counts so");
    }
}
