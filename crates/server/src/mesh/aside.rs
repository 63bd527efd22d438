//! Going through what was set aside: after a replica has started over because its own records were not those that the mesh has.
//!
//! It has nothing then, and nobody is served before the mesh has given back what it has: whoever saw an empty store would take everything for
//! deleted. Then what the mesh does not have is written to a file of the folder, a tail as an operator would bring it, which is entered
//! as such a one is ([`entering`]), and what was set aside is forgotten. Each step can be cut short and is begun again at the next start.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{task, time};
use tombolo_net::PeerView;
use tombolo_storage::{Aside, SetAside, Store, Tail, TailError, TailIntake};
use tracing::{info, warn};

use super::entering::{self, By, EnterError};
use crate::{failure::Failure, replica::Replica};

/// Why what was set aside is not gone through yet.
#[derive(Debug, Error)]
enum AsideError {
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("the folder cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("stopped")]
    Stopped(#[from] task::JoinError),
}

/// Returns when there is nothing set aside.
pub(crate) async fn settle(replica: &Arc<Replica>) -> Result<(), Failure> {
    let Some(aside) = replica.store.aside().cloned() else { return Ok(()) };
    info!(stream = %aside.stream, "waiting for what other sites have, before anybody is served: what was written here is set aside");
    while !has_caught_up(replica, &aside) {
        time::sleep(INTERVAL).await;
    }
    loop {
        match go_through(replica).await {
            Ok(()) => return Ok(()),
            // What is not entered now is entered later, and is not lost: but nobody should see the store without it.
            Err(why) => warn!(%why, "what was set aside was not entered again; it is tried again"),
        }
        time::sleep(RETRY).await;
    }
}

/// Whether a peer that knows the disputed stream is known to have nothing that is not here.
fn has_caught_up(replica: &Replica, aside: &Aside) -> bool {
    let own = replica.store.frontier();
    let in_step = |peer: &PeerView| {
        let status = &peer.status;
        let knows_it = status.frontier.seq(aside.stream) > 0;
        status.is_established && knows_it && !status.own_needs_state && own.includes(&status.frontier)
    };
    replica.mesh.peers().iter().any(in_step)
}

async fn go_through(replica: &Arc<Replica>) -> Result<(), AsideError> {
    let (store, folder) = (replica.store.clone(), replica.facts.data_dir.clone());
    let found = task::spawn_blocking(move || {
        let Some(SetAside { path, .. }) = store.set_tail_aside(&folder)? else { return Ok(None) };
        Ok::<_, AsideError>(Some((read(&store, &path)?, path)))
    });
    if let Some((tail, file)) = found.await?? {
        let records = tail.records;
        let done = entering::enter(replica, tail, By::Heir).await?;
        warn!(
            records, entered = ?done.entered, left_out = done.system, file = %file.display(),
            "entered again what was written here and is not the mesh's; `tombolo mesh tail` shows the file"
        );
    }
    let (store, folder) = (replica.store.clone(), replica.facts.data_dir.clone());
    Ok(task::spawn_blocking(move || store.forget_aside(&folder)).await??)
}

/// Reads a tail as if it came from elsewhere.
fn read(store: &Store, path: &Path) -> Result<Tail, AsideError> {
    let mut file = File::open(path)?;
    let mut intake = TailIntake::new(store);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(intake.finish()?),
            read => intake.take(&piece[..read])?,
        }
    }
}

/// Bytes of the file that are read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Between two looks at the peers.
const INTERVAL: Duration = Duration::from_millis(50);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);
