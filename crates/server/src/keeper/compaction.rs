//! Drives auto-compaction: asks the schedule when its time has come, and the committer to carry out what it says.

use std::sync::Arc;

use tombolo_site::{AutoCompaction, Retention};
use tombolo_storage::{ReadError, Request, RequestError};
use tracing::{info, warn};

use crate::{committer::Refusal, replica::Replica};

/// Compacts by a retention, for ever.
pub(super) async fn run(replica: Arc<Replica>, retention: Retention) {
    let uptime = replica.uptime;
    let beginning = replica.store.identity().slot.beginning().get();
    let current = || replica.store.published().revision.get();
    let mut schedule = AutoCompaction::new(retention, uptime.now(), beginning, current());
    info!(?retention, "history is compacted automatically");
    loop {
        uptime.sleep_until(Some(schedule.next_deadline())).await;
        let Some(revision) = schedule.look(uptime.now(), current()) else { continue };
        match replica.commit(Request::Compact { revision }, 0).await {
            Ok(_) => {
                replica.metrics.auto_compactions.add(1);
                info!(revision, "compacted automatically");
                schedule.compacted(uptime.now(), revision);
            }
            // Somebody was faster, with this revision or a later one.
            Err(Refusal::Request(why)) if matches!(*why, RequestError::Read(ReadError::Compacted { .. })) => {
                schedule.compacted(uptime.now(), revision);
            }
            Err(Refusal::Stopped) => return,
            Err(why) => warn!(revision, %why, "an automatic compaction failed; it is tried again"),
        }
    }
}
