//! At which rate a connection sends what can wait.
//!
//! Every byte on the wire is counted, in two buckets: one of the peer, one of the whole node. When one of them is overdrawn no more
//! records are read for the peer until it is not. Whatever else is to be said goes out at once, since it is little and somebody waits
//! for it; it is counted, too. So that it never waits long behind records, these are read in small portions while there is a limit.

use std::{future::Future, num::NonZeroU64, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::sleep_until,
};

use super::{bucket::Bucket, peers::Peers};
use crate::Moment;

/// How much a node sends at most, in bytes a second on the wire. Without a limit it sends what the links take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// To each peer.
    pub per_peer: Option<NonZeroU64>,
    /// To all peers together.
    pub overall: Option<NonZeroU64>,
}

impl Rates {
    /// The least that can be asked for: what sessions take for the slowest link.
    pub const MIN: u64 = 16 << 10;
}

/// A bucket that several hold.
pub(crate) type Shared = Arc<Mutex<Bucket>>;

/// The buckets of a connection, and what it has taken out of them.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    buckets: Vec<Shared>,
    counted: u64,
    /// What is being read, and counts as sent until it is there.
    reserved: u64,
    /// Who prepares something large.
    line: Arc<AsyncMutex<()>>,
}

impl Pace {
    pub(crate) fn new(buckets: impl IntoIterator<Item = Shared>) -> Self {
        Self { buckets: buckets.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn is_limited(&self) -> bool {
        !self.buckets.is_empty()
    }

    /// Takes note of what has been handed to the transport since the connection began, and what went out of it. What was handed over
    /// will go out, and what has gone out has headers and was sometimes sent twice.
    pub(crate) fn count(&mut self, now: Moment, handed: u64, went_out: u64) {
        let counted = handed.max(went_out);
        let more = counted.saturating_sub(self.counted);
        if more > 0 {
            self.counted = counted;
            self.buckets.iter().for_each(|bucket| bucket.lock().take(now, more));
        }
    }

    /// When more may be read.
    pub(crate) fn ready_at(&self, now: Moment) -> Moment {
        ready_at(&self.buckets, now)
    }

    /// How much may be read at a time, of `bytes`. That much is reserved until [`Pace::release`].
    pub(crate) fn reserve(&mut self, now: Moment, bytes: usize) -> usize {
        let burst = self.buckets.iter().map(|bucket| bucket.lock().burst()).min();
        let bytes = burst.map_or(bytes, |burst| bytes.min(usize::try_from(burst).unwrap_or(usize::MAX)));
        self.release(now);
        self.reserved = bytes as u64;
        self.buckets.iter().for_each(|bucket| bucket.lock().take(now, self.reserved));
        bytes
    }

    /// Waits for the turn to prepare something large. Turns of a connection come one after the other.
    pub(crate) fn turn(&self, peers: Arc<Peers>) -> impl Future<Output = Turn> + Send + 'static {
        let (buckets, line) = (self.buckets.clone(), Arc::clone(&self.line));
        async move {
            let place = if buckets.is_empty() { None } else { Some(line.lock_owned().await) };
            loop {
                let now = peers.now();
                let ready_at = ready_at(&buckets, now);
                if ready_at <= now {
                    return Turn { buckets, peers, _place: place };
                }
                sleep_until(peers.instant(ready_at)).await;
            }
        }
    }

    /// What was spent in a turn is counted from here on as everything else is.
    pub(crate) fn give(&self, now: Moment, bytes: u64) {
        self.buckets.iter().for_each(|bucket| bucket.lock().give(now, bytes));
    }

    /// What was reserved has been read, or will not be.
    pub(crate) fn release(&mut self, now: Moment) {
        let reserved = std::mem::take(&mut self.reserved);
        self.give(now, reserved);
    }
}

/// Something large may be prepared, once.
pub(crate) struct Turn {
    buckets: Vec<Shared>,
    peers: Arc<Peers>,
    _place: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// It has so many bytes, which count as sent until it has been handed over: see [`Pace::give`].
    pub(crate) fn spend(self, bytes: u64) {
        let now = self.peers.now();
        self.buckets.iter().for_each(|bucket| bucket.lock().take(now, bytes));
    }
}

/// When none of the buckets is overdrawn any more.
fn ready_at(buckets: &[Shared], now: Moment) -> Moment {
    buckets.iter().map(|bucket| bucket.lock().ready_at(now)).max().unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Shared {
        Arc::new(Mutex::new(Bucket::new(Moment(0), NonZeroU64::new(rate).unwrap())))
    }

    #[test]
    fn without_buckets_nothing_waits() {
        let mut pace = Pace::default();
        pace.count(Moment(0), u64::MAX, 0);
        assert_eq!(pace.ready_at(Moment(0)), Moment(0));
        assert_eq!(pace.reserve(Moment(0), 7 << 20), 7 << 20);
    }

    #[test]
    fn bytes_count_once_when_they_are_handed_over_and_again_only_for_what_the_transport_adds() {
        let mut pace = Pace::new([bucket(1_000)]);
        pace.count(Moment(0), 1_250, 0);
        assert_eq!(pace.ready_at(Moment(0)), Moment(1_000));
        pace.count(Moment(0), 1_250, 1_250);
        assert_eq!(pace.ready_at(Moment(0)), Moment(1_000));
        pace.count(Moment(0), 1_250, 1_350);
        assert_eq!(pace.ready_at(Moment(0)), Moment(1_100));
    }

    #[test]
    fn two_connections_share_what_the_node_has() {
        let node = bucket(100_000);
        let [mut one, mut other] = [(); 2].map(|()| Pace::new([bucket(1_000_000), Arc::clone(&node)]));
        assert_eq!(one.reserve(Moment(0), 1 << 20), 25_000, "a quarter of a second");
        assert_eq!(other.ready_at(Moment(0)), Moment(0));
        assert_eq!(other.reserve(Moment(0), 20_000), 20_000);
        one.release(Moment(0));
        one.count(Moment(0), 25_000, 0);
        other.release(Moment(0));
        other.count(Moment(0), 20_000, 0);
        assert_eq!(one.ready_at(Moment(0)), Moment(200));
    }
}
