//! Drives the scrubber: so many bytes a second, on a thread that may read the disk, for ever.

use std::{sync::Arc, time::Duration};

use tombolo_storage::{ScrubStep, Scrubber};
use tracing::{info, warn};

use crate::replica::Replica;

/// Time between two steps.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads everything at `rate` bytes a second, again and again.
pub(super) async fn run(replica: Arc<Replica>, rate: u64) {
    let mut scrubber = Scrubber::new(&replica.store);
    let mut has_failed = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (back, outcome) = replica
            .reads
            .apart(move |_| {
                let outcome = scrubber.step(rate);
                (scrubber, outcome)
            })
            .await;
        scrubber = back;
        let ScrubStep { bytes, finished } = match outcome {
            Ok(step) => step,
            Err(why) => {
                if !std::mem::replace(&mut has_failed, true) {
                    warn!(%why, "rows are not verified: the disk cannot be read; it is tried again");
                }
                continue;
            }
        };
        has_failed = false;
        replica.metrics.scrubbed_bytes.add(bytes);
        if let Some(pass) = finished {
            replica.metrics.scrub_passes.add(1);
            let (rows, bytes, rotten) = (pass.rows, pass.bytes, pass.rotten);
            match rotten {
                0 => info!(rows, bytes, "every row has been read and is sound"),
                _ => warn!(rows, bytes, rotten, "every row has been read, and some are rotten"),
            }
        }
    }
}
