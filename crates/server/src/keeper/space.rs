//! How full a store is, and what is said about it: a warning at four fifths of the quota, and the cause when nothing more fits.

use std::{sync::Arc, time::Duration};

use tombolo_storage::{Shortage, Sizes};
use tracing::{info, warn};

use crate::replica::Replica;

/// How much of its quota a store uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: u64,
    pub(crate) quota: u64,
}

impl Fill {
    /// The fill of a store that has a quota.
    pub(crate) fn of(sizes: &Sizes) -> Option<Self> {
        sizes.quota_bytes.map(|quota| Self { used: sizes.in_use_bytes, quota })
    }

    /// Whether an operator should hear of it.
    pub(crate) fn is_high(self) -> bool {
        u128::from(self.used) * 5 >= u128::from(self.quota) * 4
    }

    /// One sentence about it.
    pub(crate) fn text(self) -> String {
        format!(
            "{} of {} bytes of the quota are in use: delete keys and compact, or raise --quota-backend-bytes",
            self.used, self.quota
        )
    }
}

/// One sentence about a shortage.
pub(crate) const fn shortage(cause: Shortage) -> &'static str {
    match cause {
        Shortage::Disk => "the disk is full: nothing is written here, and nothing is taken from peers",
        Shortage::Quota => "the quota is used up: nothing is added by clients until keys are deleted and compacted",
        Shortage::Closed => "an alarm was raised by hand: nothing is added by clients until it is disarmed",
    }
}

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says in the log when something has changed, for ever.
pub(super) async fn watch(replica: Arc<Replica>) {
    let mut was = (false, None);
    loop {
        let fill = Fill::of(&replica.store.sizes());
        let is = (fill.is_some_and(Fill::is_high), replica.store.shortage());
        match (was.1, is.1) {
            (before, Some(cause)) if before != Some(cause) => warn!("{}", shortage(cause)),
            (Some(_), None) => info!("there is room again: writes are taken"),
            _ => {}
        }
        if let Some(fill) = fill.filter(|_| is.0 && !was.0) {
            warn!("{}", fill.text());
        }
        was = is;
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_of_a_quota_are_worth_a_warning() {
        let fill = |used, quota| Fill { used, quota }.is_high();
        assert!(!fill(0, 1_000) && !fill(799, 1_000));
        assert!(fill(800, 1_000) && fill(1_000, 1_000) && fill(u64::MAX, u64::MAX));
        let sizes = Sizes { disk_bytes: 1, in_use_bytes: 9, quota_bytes: None, keys: 0 };
        assert_eq!(Fill::of(&sizes), None);
    }
}
