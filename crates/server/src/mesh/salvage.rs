//! A folder with rotten rows, mended with what the other sites have before it is opened.
//!
//! There is no store yet, and no client is let in. The rows that can be read say who the members are; they are met in sessions that say truly where this
//! replica stood, neither load nor take records, and ask for those that are missing. What is made of the answers is proved by `tombolo-storage`.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thiserror::Error;
use tokio::{sync::watch, task, time::sleep};
use tombolo_crdt::{Dot, ReplicaId, VersionVector};
use tombolo_net::{
    Admission, Event, Host, IngestRefusal, IngestReport, JoinRefusal, JoinRequest, Limits, LoadFailure, Loaded, Node,
    NodeConfig, ProvenBatch, Report, Roster, RosterEntry, Standing, StartError, SystemKey, TreePolicy,
};
use tombolo_storage::{OpenError, OpenOptions, Salvage, SalvageError};
use tracing::{debug, error, info, warn};

use super::{file::FileError, key, membership::Membership, node::resolve, repair};
use crate::{clock, config::Config};

/// Why rotten rows were not made again. The folder is as it was.
#[derive(Debug, Error)]
pub enum SalvageFailure {
    /// Nobody else has the records.
    #[error(
        "and no other site is known that could have it; nothing was changed: keep a copy of the folder, look at the disk, \
         and restore a backup"
    )]
    Alone,
    /// They did not come in time.
    #[error(
        "and {lacking} of what it needs did not come from another site within {}s; nothing was changed: see that the other \
         sites run and are reached, and start again; if none has it, keep a copy of the folder and join with an empty one",
        waited.as_secs()
    )]
    Lacking {
        /// How many records; 0 when not even that could be told, because not every member was there.
        lacking: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// What came out is not proved.
    #[error(
        "and was not made again: {0}; nothing was changed: keep a copy of the folder, look at the disk, and join with an empty one, \
         or restore a backup"
    )]
    Salvage(#[from] SalvageError),
    /// A small file of the folder was not read.
    #[error("and was not made again: {0}")]
    File(#[from] FileError),
    /// Peers are not listened for.
    #[error("and other sites cannot be asked for it: {0}")]
    Peers(#[from] StartError),
    /// The address for peers is none.
    #[error("and other sites cannot be asked for it: {address}: {source}")]
    Address {
        /// As given.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// How long nothing may come before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at who is there.
const INTERVAL: Duration = Duration::from_millis(200);

/// Mends the folder of `config`, whose row of commit `first` is rotten.
pub(crate) async fn mend(config: &Config, options: &OpenOptions, first: u64) -> Result<(), SalvageFailure> {
    let (path, options) = (config.data_dir.clone(), options.clone());
    let found = beside(move || Salvage::begin(&path, &options)).await.map_err(SalvageError::from)?;
    // What was compacted is in no log.
    let Some(mut salvage) = found else {
        return Err(SalvageError::from(OpenError::Rotten { commit: first }).into());
    };
    let rotten = salvage.rotten();
    let known = roster(&config.data_dir, &salvage)?;
    let own = salvage.identity().replica;
    let others: BTreeSet<ReplicaId> =
        known.present().map(tombolo_net::Member::replica).filter(|member| *member != own).collect();
    if others.is_empty() {
        return Err(SalvageFailure::Alone);
    }
    error!(
        rows = rotten.len(),
        first, "rows are rotten on this disk: other sites are asked for them before anything is served"
    );
    let node = meet(config, &salvage, known).await?;
    let collected = collect(&node, &mut salvage, &others).await;
    node.stop().await;
    collected?;
    let made = beside(move || salvage.finish()).await?;
    info!(rows = made.len(), "rotten rows were made again of what other sites have; the store is opened");
    Ok(())
}

/// Asks for what is needed until all of it is there.
async fn collect(node: &Node, salvage: &mut Salvage, others: &BTreeSet<ReplicaId>) -> Result<(), SalvageFailure> {
    let mut since = Instant::now();
    let mut has_heard = false;
    loop {
        if !has_heard && let Some(frontier) = heard(node, others) {
            salvage.hear(&frontier);
            has_heard = true;
        }
        for dot in salvage.wanted() {
            if ask(node, salvage, dot).await {
                since = Instant::now();
            }
        }
        let lacking = salvage.wanted().len();
        if lacking == 0 && (has_heard || salvage.is_told()) {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(SalvageFailure::Lacking { lacking, waited: PATIENCE });
        }
        sleep(INTERVAL).await;
    }
}

async fn ask(node: &Node, salvage: &mut Salvage, dot: Dot) -> bool {
    let materials = repair::ask_all_of(node, dot).await;
    materials.into_iter().any(|material| salvage.give(dot, material))
}

/// What all others have in sum, once all of them are there.
fn heard(node: &Node, others: &BTreeSet<ReplicaId>) -> Option<VersionVector> {
    let views = node.peers();
    let there: Vec<_> = views.iter().filter(|view| view.status.is_established).collect();
    let is_there = |other: &ReplicaId| there.iter().any(|view| view.replica == *other);
    others.iter().all(is_there).then(|| {
        let mut sum = VersionVector::new();
        there.iter().for_each(|view| sum.join(&view.status.frontier));
        sum
    })
}

/// Brings up a node that asks and says where this replica stood, and does nothing else.
async fn meet(config: &Config, salvage: &Salvage, roster: Roster) -> Result<Node, SalvageFailure> {
    let listen = resolve(&config.peer_listener)
        .await
        .map_err(|source| SalvageFailure::Address { address: config.peer_listener.clone(), source })?;
    let identity = salvage.identity();
    let membership = Membership::load(&config.data_dir)?;
    // Without a key nobody believes who we are.
    let key = key::load(&config.data_dir)?.ok_or(SalvageFailure::Alone)?;
    let tombolo_storage::Standing { published, frontier, chains, digest, floor } = salvage.standing();
    let standing = Standing { commit: published.commit, frontier, chains, digest, floor };
    let chain = roster.chain_for(identity.replica);
    let node = NodeConfig {
        listen,
        key,
        mesh: identity.mesh.0,
        own: identity.replica,
        chain,
        contacts: membership.iter().map(Membership::contact).collect(),
        limits: Limits::default(),
        tree: TreePolicy::default(),
        rates: config.peer_rates,
    };
    let host =
        Convalescent { standing: watch::Sender::new(Arc::new(standing)), roster: watch::Sender::new(Arc::new(roster)) };
    Ok(Node::start(node, Arc::new(host))?)
}

/// The members, by what can be read of the system data and what the folder's replica came in with.
fn roster(folder: &Path, salvage: &Salvage) -> Result<Roster, FileError> {
    let membership = Membership::load(folder)?;
    let brought = membership.iter().flat_map(|membership| &membership.admissions).map(brought);
    let found = salvage.system().iter().map(|found| RosterEntry {
        key: found.key.clone(),
        author: found.author,
        seq: found.seq,
        value: found.value.clone(),
    });
    Ok(Roster::new(salvage.identity().mesh.0, found.chain(brought)))
}

fn brought(admission: &Admission) -> RosterEntry {
    RosterEntry {
        key: SystemKey::Admission(admission.terms.replica).to_string().into(),
        author: admission.terms.issuer,
        seq: 0,
        value: admission.encode().into(),
    }
}

async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

/// A replica that is not well: it has nothing to give, and takes nothing.
struct Convalescent {
    standing: watch::Sender<Arc<Standing>>,
    roster: watch::Sender<Arc<Roster>>,
}

impl Host for Convalescent {
    fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    async fn load(&self, _: VersionVector, _: u64, _: usize, _: usize) -> Result<Loaded, LoadFailure> {
        Err(LoadFailure::Unreadable { cause: UNWELL.to_owned() })
    }

    async fn ingest(&self, _: ReplicaId, _: ProvenBatch) -> IngestReport {
        IngestReport { passed: 0, refused: Some(IngestRefusal::Busy) }
    }

    async fn redeem(&self, _: JoinRequest) -> Result<Admission, JoinRefusal> {
        Err(JoinRefusal::Unavailable)
    }

    async fn answer(&self, _: ReplicaId, _: Bytes) -> Bytes {
        Bytes::new()
    }

    fn event(&self, peer: ReplicaId, event: Event) {
        debug!(%peer, ?event, "while rotten rows are made again");
    }

    fn report(&self, report: Report) {
        match report {
            Report::Connected { peer, address, .. } => {
                info!(%peer, %address, "connected to a peer that may have what is missing")
            }
            Report::Disconnected { peer, cause } | Report::Unreachable { peer, cause } => {
                warn!(%peer, %cause, "a peer that may have what is missing cannot be asked");
            }
            // Why was said when its connection ended.
            Report::Quarantined(_) | Report::TurnedAway { .. } => {}
        }
    }

    fn wall_ms(&self) -> u64 {
        clock::wall().0
    }
}

/// What peers are told that lack something of ours.
const UNWELL: &str = "rows are rotten here, and are made again first";
