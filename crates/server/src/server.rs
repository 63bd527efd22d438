//! The life of a server: take the addresses, open the store, serve, and stop in an order that loses nothing.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{sync::mpsc, task, time};
use tombolo_storage::{Committer, IdentityLoss, OnLoss, OpenError, OpenOptions, Store};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    clock::{self, Uptime},
    committer::{Answered, CommitThread, Group},
    config::{Config, Identity, JoinTicket, KeeperConfig, ListenAddress, Security},
    failure::Failure,
    front::{Entrance, Front, SERVICES},
    keeper::Keeper,
    leases::Leases,
    limits,
    listener::{Bound, Protection, Reception, Terms},
    mesh::{self, Mesh},
    metrics::Metrics,
    policy::PolicyHolder,
    replica::Replica,
    stopping::Stop,
    tls::Tls,
    watches::Watches,
};

mod signal;

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Its replica has lost its name: whoever runs it runs it again, on a new runtime, and it goes on under another one.
    NameLost,
}

/// Runs a server until it is told to stop, or has to begin again.
pub async fn run(config: Config) -> Result<Ended, Failure> {
    remark(&config);
    raise_open_files();
    let clients = bind(&config.client_listeners).await?;
    let others = bind(&config.metrics_listeners).await?;
    let mut signals = signal::Signals::new()?;
    let running = tokio::select! {
        running = Running::start(&config, clients, others) => running?,
        // A join may take its time. Each of its steps is durable: the next start goes on from there.
        () = signals.wanted() => return Ok(Ended::Stopped),
    };
    let ended = tokio::select! {
        () = signals.wanted() => Ended::Stopped,
        () = running.replica.mesh.name_lost() => Ended::NameLost,
    };
    tokio::select! {
        stopped = running.stop() => stopped.map(|()| ended),
        () = signals.wanted() => signal::exit_at_once(),
    }
}

/// A server that answers.
struct Running {
    replica: Arc<Replica>,
    thread: CommitThread,
    stop: Stop,
    health: HealthReporter,
    /// Yields `None` when the last connection has gone.
    connections: mpsc::Receiver<()>,
    /// Ends when the last group of commits has been announced.
    announcing: task::JoinHandle<()>,
}

impl Running {
    async fn start(config: &Config, clients: Vec<Taken>, others: Vec<Taken>) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::default());
        // Files that the operator names are read before the store is touched; a certificate of our own lies beside the store.
        let named = config.tls.as_ref().filter(|tls| matches!(tls.identity, Identity::Files { .. }));
        let named = named.map(|tls| Tls::open(tls, &config.data_dir, &metrics)).transpose()?;
        let (store, committer) = open(config).await?;
        let tls = match (named, &config.tls) {
            (None, Some(own)) => Some(Tls::open(own, &config.data_dir, &metrics)?),
            (named, _) => named,
        };
        let uptime = Uptime::start();
        let mesh = Mesh::open(&config.data_dir, &store, config, uptime)?;
        let policy = PolicyHolder::open(&store, &config.auth, uptime)?;
        let (stop, stopping) = Stop::new();
        let (thread, queue, groups) = CommitThread::start(committer, config.durability, Arc::clone(&metrics))
            .map_err(|source| Failure::System { action: "start a thread", source })?;
        let replica =
            Arc::new(Replica::new(config, store, mesh, policy, uptime, queue, Arc::clone(&metrics), stopping.clone()));
        let announcing = task::spawn(announce(Arc::clone(&replica), groups));
        task::spawn(Leases::expire(Arc::clone(&replica)));
        task::spawn(Watches::serve_loads(Arc::clone(&replica)));
        task::spawn(Watches::keep_time(Arc::clone(&replica)));
        Mesh::take_up(&replica);
        task::spawn(Mesh::keep_logs(Arc::clone(&replica)));
        task::spawn(mesh::transfers::keep_up(Arc::clone(&replica)));
        if let Some(interval) = config.keeper.compare_interval {
            task::spawn(mesh::transfers::meeting::keep_compared(Arc::clone(&replica), interval));
        }
        task::spawn(Mesh::keep_states(Arc::clone(&replica), config.keeper.park_after));
        Keeper::start(&replica, &config.keeper);
        mesh::start(&replica, config).await?;
        mesh::aside::settle(&replica).await?;
        let terms = Terms {
            keepalive_interval: config.keepalive_interval,
            keepalive_timeout: config.keepalive_timeout,
            max_concurrent_streams: config.max_concurrent_streams,
        };
        let (reception, connections) = Reception::new(terms, metrics, stopping);
        let (front, health) = Front::new(&replica, &config.gateway).map_err(Failure::Reflection)?;
        for service in SERVICES {
            health.set_service_status(service, ServingStatus::Serving).await;
        }
        listen(&reception, clients, tls.as_ref(), &front, "clients")?;
        let probes = reception.with_places(limits::PROBES_MAX);
        listen(&probes, others, tls.as_ref(), &Front::plain(&replica, &config.gateway), "metrics and health")?;
        task::spawn(signal::reload_on_hangup(tls.clone())?);
        if let Some(tls) = tls {
            task::spawn(tls.keep_fresh());
        }
        Ok(Self { replica, thread, stop, health, connections, announcing })
    }

    /// No new connections, an end for every stream and a farewell on every connection; then what was asked for is carried out and the store is closed.
    async fn stop(mut self) -> Result<(), Failure> {
        info!("stopping");
        self.stop.tell();
        self.replica.watches.close();
        for service in SERVICES {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
            self.health.clear_service_status(service).await;
        }
        if time::timeout(limits::GOODBYE_TIMEOUT, self.connections.recv()).await.is_err() {
            warn!("some connections did not end in time and are cut");
        }
        self.replica.mesh.stop().await;
        let closed = task::spawn_blocking(|| self.thread.stop()).await;
        let closed =
            closed.map_err(|why| Failure::System { action: "stop the committer", source: io::Error::other(why) })?;
        closed.map_err(Failure::Close)?;
        // Replies that were still under way go out before the runtime does.
        let _ = self.announcing.await;
        info!("stopped");
        Ok(())
    }
}

/// Hands on what the committer has made durable: watchers and leases learn of it before whoever asked for it does.
async fn announce(replica: Arc<Replica>, mut groups: mpsc::Receiver<Group>) {
    while let Some(Group { commits, replies }) = groups.recv().await {
        if !commits.is_empty() {
            // The policy comes first: what is told after a revocation is told under it.
            replica.policy.follow(&replica.store, &commits);
            replica.keeper.follow(&replica.store, &commits);
            replica.watches.publish(&commits);
            replica.leases.apply(&commits);
            if replica.mesh.follow(&replica.store, &commits) {
                Mesh::take_up(&replica);
            }
        }
        replies.into_iter().for_each(Answered::tell);
    }
}

/// An address that is taken, and what will be spoken there.
type Taken = (Bound, Security);

async fn bind(addresses: &[ListenAddress]) -> Result<Vec<Taken>, Failure> {
    let mut bound = Vec::new();
    for ListenAddress { socket, security } in addresses {
        let taken = Bound::all(socket).await;
        let taken = taken.map_err(|source| Failure::Listen { address: socket.clone(), source })?;
        bound.extend(taken.into_iter().map(|taken| (taken, *security)));
    }
    Ok(bound)
}

fn listen(
    reception: &Reception,
    bound: Vec<Taken>,
    tls: Option<&Arc<Tls>>,
    front: &Front,
    whom: &str,
) -> Result<(), Failure> {
    for (bound, security) in bound {
        let address = bound.address;
        let listener = bound.listen().map_err(|source| Failure::Listen { address: address.to_string(), source })?;
        info!(%address, ?security, "listening for {whom}");
        let protection = Protection::of(security, tls);
        let entrance = Entrance { is_loopback: address.ip().is_loopback(), has_tls: security == Security::Tls };
        task::spawn(reception.clone().receive(listener, protection, front.at(entrance)));
    }
    Ok(())
}

async fn open(config: &Config) -> Result<(Store, Committer), Failure> {
    let path = &config.data_dir;
    prepare(path).map_err(|source| Failure::DataDir { path: path.clone(), source })?;
    let join = config.join.as_ref().and_then(JoinTicket::given);
    if config.sole && join.is_none() {
        mesh::leave_mesh(path)?;
    }
    let founding = mesh::founding(path, join, mesh::announcement(config)).await?;
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|why| Failure::System { action: "get randomness", source: io::Error::other(why) })?;
    let KeeperConfig { quota_bytes, log_budget_bytes, .. } = config.keeper;
    let options = OpenOptions {
        durability: config.durability,
        quota_bytes,
        log_budget_bytes,
        founding,
        ..OpenOptions::new(clock::wall(), entropy)
    };
    let opened = match open_or_succeed(path, options.clone(), config.sole) {
        Err(OpenError::Rotten { commit }) => {
            let mended = mesh::salvage::mend(config, &options, commit).await;
            mended.map_err(|why| Failure::Rotten { path: path.clone(), commit, why })?;
            open_or_succeed(path, options, config.sole)
        }
        opened => opened,
    };
    let (store, committer) = opened.map_err(|source| Failure::Open { path: path.clone(), source })?;
    let identity = store.identity();
    info!(
        path = %path.display(),
        replica = %identity.replica,
        revision = %store.published().revision,
        durability = %config.durability,
        "opened the store"
    );
    Ok((store, committer))
}

/// Opens the store; one that must not go on under its name goes on under another one.
fn open_or_succeed(path: &Path, options: OpenOptions, sole: bool) -> Result<(Store, Committer), OpenError> {
    let cause = match Store::open(path, &options) {
        Err(OpenError::NeedsNewIdentity { cause }) if sole || cause != IdentityLoss::Copied => cause,
        opened => return opened,
    };
    let predecessor = Store::peek(path)?.map(|identity| identity.replica.to_string()).unwrap_or_default();
    let on_loss = if sole { OnLoss::Succeed } else { OnLoss::SucceedAmongOthers };
    let opened = Store::open(path, &OpenOptions { on_loss, ..options })?;
    let (successor, revision) = (opened.0.identity().replica, opened.0.published().revision);
    warn!(
        %cause, predecessor, %successor, %revision,
        "the data folder cannot go on under its name, and goes on under another one; what was lost comes back from other sites"
    );
    Ok(opened)
}

/// Makes the data folder, for its owner alone.
fn prepare(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = path.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        warn!(path = %path.display(), mode = %format_args!("{mode:o}"), "others can look into the data folder; 700 is advised");
    }
    Ok(())
}

/// Allows as many open files as the system lets this process have: the usual first limit is about the number of connections alone.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(why) = setrlimit(Resource::Nofile, limit) {
        warn!(%why, "the limit on open files stays as it is");
    }
}

fn remark(config: &Config) {
    for remark in &config.remarks {
        warn!("{remark}");
    }
    if !config.ignored.is_empty() {
        info!("these flags mean nothing here and are ignored: {}", config.ignored.join(", "));
    }
}
