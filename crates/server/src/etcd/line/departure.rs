//! Hearing from the watch hub that somebody has left a line.

use std::sync::Arc;

use tombolo_proto::etcdserverpb::WatchResponse;
use tombolo_site::{EndCause, Turn, WatchSpec};
use tombolo_storage::{KeyValue, RangeAnswer};

use super::super::status::Fault;
use crate::{
    replica::Replica,
    watches::{Item, Subscription},
};

/// The wait for one departure. Dropping it ends the watch.
pub(super) struct Departure {
    watch: Subscription,
}

impl Departure {
    /// Watches for the departure of `ahead`, which `answer` showed.
    pub(super) fn of(replica: &Arc<Replica>, ahead: &KeyValue, answer: &RangeAnswer) -> Result<Self, Fault> {
        Ok(Self { watch: watch(replica, Turn::departure(ahead, answer))? })
    }

    /// Returns when whoever was ahead may have gone, so that it is time to look again.
    pub(super) async fn heard(mut self) -> Result<(), Fault> {
        let watch = &mut self.watch;
        while let Some(item) = watch.outbox.recv().await {
            match item {
                Item::Deliver(delivery) => {
                    watch.drained(delivery.cost);
                    return Ok(());
                }
                Item::End(ending) => return resumable(&ending.cause),
                Item::Progress(progress) => watch.drained(progress.cost),
                Item::Control(_) => {}
            }
        }
        Err(Fault::Stopped)
    }
}

/// Begins a watch that no client knows of.
pub(in crate::etcd) fn watch(replica: &Arc<Replica>, spec: WatchSpec) -> Result<Subscription, Fault> {
    let subscription = replica.watches.subscribe();
    let mut refused = None;
    subscription.watch(spec, |created, _| {
        refused = created.err();
        WatchResponse::default()
    });
    match refused {
        None => Ok(subscription),
        Some(why) => Err(Fault::Internal { what: why.to_string() }),
    }
}

/// A watch that was overtaken by a compaction has missed nothing that a new look would not show.
pub(in crate::etcd) fn resumable(cause: &EndCause) -> Result<(), Fault> {
    match cause {
        EndCause::Compacted { .. } => Ok(()),
        EndCause::Unreadable(why) => Err(why.into()),
        EndCause::Stalled { .. } => Err(Fault::Internal { what: cause.to_string() }),
    }
}
