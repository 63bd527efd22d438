//! Who waits in lines: how many calls there are, and how many share one place.
//!
//! A client whose connection broke calls again on the same lease, and stands at the place it had. When the server then notices
//! that the first caller is gone, the place must not be given up under the second.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::status::line::LineFault;
use crate::limits;

/// The calls that wait.
#[derive(Default)]
pub(in crate::etcd) struct Waiters(Mutex<Seats>);

#[derive(Default)]
struct Seats {
    taken: usize,
    by_key: HashMap<Bytes, usize>,
}

/// One call that waits. Dropping it makes room for another.
pub(super) struct Seat {
    waiters: Arc<Waiters>,
    key: Bytes,
}

impl Waiters {
    /// Counts a call that waits at the place of `key`.
    pub(super) fn sit(self: &Arc<Self>, key: &Bytes) -> Result<Seat, LineFault> {
        let mut seats = self.0.lock();
        if seats.taken >= limits::WAITING_CALLS_MAX {
            return Err(LineFault::TooManyWaiting { max: limits::WAITING_CALLS_MAX });
        }
        seats.taken += 1;
        *seats.by_key.entry(key.clone()).or_default() += 1;
        Ok(Seat { waiters: Arc::clone(self), key: key.clone() })
    }

    /// Whether some call waits at the place of `key`.
    pub(super) fn is_taken(&self, key: &Bytes) -> bool {
        self.0.lock().by_key.contains_key(key)
    }
}

impl Seat {
    /// Whether another call waits at the same place.
    pub(super) fn is_shared(&self) -> bool {
        self.waiters.0.lock().by_key.get(&self.key).is_some_and(|calls| *calls > 1)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.waiters.0.lock();
        seats.taken = seats.taken.saturating_sub(1);
        if let Some(calls) = seats.by_key.get_mut(&self.key) {
            *calls -= 1;
            if *calls == 0 {
                seats.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shared_while_two_calls_wait_at_it() {
        let waiters = Arc::new(Waiters::default());
        let first = waiters.sit(&"l/1".into()).expect("room");
        let other = waiters.sit(&"l/2".into()).expect("room");
        assert!(!first.is_shared() && !other.is_shared());
        let again = waiters.sit(&"l/1".into()).expect("room");
        assert!(first.is_shared() && again.is_shared() && !other.is_shared());
        drop(first);
        assert!(!again.is_shared());
        drop((again, other));
        assert!(!waiters.is_taken(&"l/1".into()));
        assert!(waiters.0.lock().by_key.is_empty() && waiters.0.lock().taken == 0);
    }

    #[test]
    fn there_is_a_last_place() {
        let waiters = Arc::new(Waiters::default());
        let seats: Vec<Seat> = (0..limits::WAITING_CALLS_MAX).filter_map(|_| waiters.sit(&"l/1".into()).ok()).collect();
        assert_eq!(seats.len(), limits::WAITING_CALLS_MAX);
        let refused = waiters.sit(&"l/2".into()).err();
        assert_eq!(refused, Some(LineFault::TooManyWaiting { max: limits::WAITING_CALLS_MAX }));
        drop(seats);
        assert!(waiters.sit(&"l/2".into()).is_ok());
    }
}
