//! Connections that have not got through yet: each holds a place of the server's and has proved nothing.
//!
//! There is a bound on them, and a newcomer displaces the oldest: an honest client gets through in milliseconds and is hardly ever that one, however
//! fast somebody else opens connections and falls silent.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// All arrivals of a server's listeners. Clones are the same.
#[derive(Clone)]
pub(super) struct Arrivals {
    waiting: Arc<Mutex<Waiting>>,
    most: usize,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// Oldest first. Dropping a sender is the news that its connection is displaced.
    open: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// One connection's arrival, until it is dropped.
pub(super) struct Arrival {
    number: u64,
    displaced: oneshot::Receiver<()>,
    arrivals: Arrivals,
}

impl Arrivals {
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: Arc::default(), most }
    }

    pub(super) fn begin(&self) -> Arrival {
        let (sender, displaced) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.open.push_back((number, sender));
        if waiting.open.len() > self.most {
            waiting.open.pop_front();
        }
        Arrival { number, displaced, arrivals: self.clone() }
    }
}

impl Arrival {
    /// Returns when a newer one has taken its place.
    pub(super) async fn displaced(&mut self) {
        // Nobody sends: the sender's end is the news.
        let _ = (&mut self.displaced).await;
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut waiting = self.arrivals.waiting.lock();
        if let Ok(place) = waiting.open.binary_search_by_key(&self.number, |(number, _)| *number) {
            waiting.open.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_too_many_displaces_the_oldest_that_is_still_there() {
        let arrivals = Arrivals::new(2);
        let first = arrivals.begin();
        let mut second = arrivals.begin();
        drop(first);
        let mut third = arrivals.begin();
        assert!(second.displaced().now_or_never().is_none());
        let mut fourth = arrivals.begin();
        assert!(second.displaced().now_or_never().is_some());
        assert!(third.displaced().now_or_never().is_none());
        assert!(fourth.displaced().now_or_never().is_none());
        drop((second, third, fourth));
        assert!(arrivals.waiting.lock().open.is_empty());
    }
}
