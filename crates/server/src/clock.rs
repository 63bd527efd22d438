//! The two clocks of a server: the wall clock for the store, and a monotonic one that leases and progress notifications count on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tombolo_storage::WallTime;

/// The wall clock's time. A clock that stands before 1970 reads as zero.
pub(crate) fn wall() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Time since the server started. It never goes back and knows no wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime(Instant);

impl Uptime {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }

    /// Sleeps until it is `deadline`; for ever when there is none.
    pub(crate) async fn sleep_until(self, deadline: Option<Duration>) {
        match deadline.and_then(|deadline| self.0.checked_add(deadline)) {
            Some(moment) => tokio::time::sleep_until(moment.into()).await,
            None => std::future::pending().await,
        }
    }
}
