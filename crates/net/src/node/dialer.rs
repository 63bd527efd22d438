//! The dialing side: one task for each peer with an address, which keeps one connection to it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::lookup_host,
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tombolo_crdt::ReplicaId;

use super::{HANDSHAKE_MAX, Shared, backoff::Backoff, connection, endpoint, peers::Peer, stream::Stream};
use crate::{Host, Moment, PeerError, PublicKey, Report, handshake::Message};

/// Whom to dial, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: PublicKey,
    pub(crate) addresses: Vec<String>,
}

/// Keeps `peer` connected until the node stops or nobody holds the other end of `target`.
pub(crate) async fn keep<H: Host>(shared: Arc<Shared<H>>, peer: Arc<Peer>, mut target: watch::Receiver<Target>) {
    let mut backoff = Backoff::new();
    // Whether the peer has had time to dial, and did not. When this node has just started it may have been away for so short
    // that the peer has not noticed and takes it for connected.
    let mut has_waited = shared.peers.now() < JUST_STARTED;
    let mut stop = shared.stop.clone();
    let mut connections = peer.connections();
    loop {
        let wanted = target.borrow_and_update().clone();
        let patience = if has_waited { Duration::ZERO } else { patience(&shared, &peer) };
        let held = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = target.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            Ok(held) = alone(&mut connections, patience) => held,
        };
        // Why is known, and was said.
        if let Some(until) = shared.peers.quarantine.until(&wanted.key, shared.peers.now()) {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = target.changed() => target.mark_changed(),
                () = sleep_until(shared.peers.instant(until)) => {}
            }
            continue;
        }
        // The peer has dialed, and one of the two would not have the other: it is as if we had dialed.
        let is_turned_down = held.is_some_and(|held| held < HELD_AT_ALL);
        if held.is_some() && !is_turned_down {
            backoff = Backoff::new();
        }
        let began = Instant::now();
        let attempt = async { if is_turned_down { None } else { Some(dial(&shared, &peer, &wanted).await) } };
        let dialed = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            dialed = attempt => dialed,
        };
        let spent = match dialed {
            None => Duration::ZERO,
            Some(Ok((stream, found))) => {
                // Another one than was dialed is its successor.
                let found = if found == peer.replica { peer.clone() } else { shared.peers.peer(found) };
                connection::run(&shared, &found, stream, true).await;
                has_waited = false;
                Duration::ZERO
            }
            Some(Err(cause)) => {
                has_waited = true;
                if peer.unreachable(&cause) {
                    shared.host.report(Report::Unreachable { peer: peer.replica, cause });
                }
                began.elapsed()
            }
        };
        if spent.is_zero() && began.elapsed() >= HELD_WELL {
            backoff = Backoff::new();
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            // Another address, or nobody to dial any more.
            _ = target.changed() => target.mark_changed(),
            Ok(_) = connections.wait_for(|count| *count > 0) => has_waited = false,
            () = sleep(backoff.wait(shared.random()).saturating_sub(spent)) => {}
        }
    }
}

/// Waits until there has been no connection for as long as `patience`. Returns for how long there was one before, if there
/// was.
async fn alone(
    connections: &mut watch::Receiver<usize>,
    patience: Duration,
) -> Result<Option<Duration>, watch::error::RecvError> {
    let mut held = None;
    loop {
        let began = Instant::now();
        if *connections.borrow_and_update() > 0 {
            connections.wait_for(|count| *count == 0).await?;
            held = Some(began.elapsed());
        }
        if timeout(patience, connections.wait_for(|count| *count > 0)).await.is_err() {
            return Ok(held);
        }
    }
}

/// The one with the smaller id dials at once. The other gives it some time, so that two rarely dial each other at once; but
/// not before it has announced where it is dialed.
fn patience<H: Host>(shared: &Shared<H>, peer: &Peer) -> Duration {
    let own = shared.config.own;
    let is_announced =
        || shared.host.roster().borrow().member(own).is_some_and(|member| !member.addresses().is_empty());
    if own < peer.replica || !is_announced() { Duration::ZERO } else { PATIENCE }
}

/// Tries every address in turn until somebody there proves to be the peer, or its successor, and lets us in.
async fn dial<H: Host>(shared: &Shared<H>, peer: &Peer, target: &Target) -> Result<(Stream, ReplicaId), PeerError> {
    let mut last = PeerError::NoAddress;
    for address in &target.addresses {
        let resolved = match resolve(address, shared.is_ipv4).await {
            Ok(resolved) => resolved,
            Err(cause) => {
                last = PeerError::Unresolved { address: address.clone(), cause };
                continue;
            }
        };
        for to in resolved {
            match dial_one(shared, peer, target.key, address, to).await {
                Ok(found) => return Ok(found),
                Err(cause) => last = cause,
            }
        }
    }
    Err(last)
}

/// The addresses behind `host:port` that a socket of this family reaches: a few at most.
pub(crate) async fn resolve(address: &str, is_ipv4: bool) -> Result<Vec<SocketAddr>, String> {
    let found = match timeout(RESOLVE_MAX, lookup_host(address)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the name service does not answer".to_owned()),
    };
    let found: Vec<_> = found.filter(|found| found.is_ipv4() || !is_ipv4).take(RESOLVED_MAX).collect();
    if found.is_empty() { Err("it has none of our socket's family".to_owned()) } else { Ok(found) }
}

async fn dial_one<H: Host>(
    shared: &Shared<H>,
    peer: &Peer,
    key: PublicKey,
    address: &str,
    to: SocketAddr,
) -> Result<(Stream, ReplicaId), PeerError> {
    let failed = |cause: String| PeerError::Transport { cause };
    let config = endpoint::dialing(&shared.config.key, key).map_err(|error| failed(error.to_string()))?;
    let connecting = shared.endpoint.connect_with(config, to, crate::tls::SERVER_NAME);
    let connecting = connecting.map_err(|error| failed(error.to_string()))?;
    let connection = match timeout(ANSWER_MAX, connecting).await {
        Ok(connected) => connected.map_err(|error| PeerError::of_dial(error, address))?,
        Err(_) => return Err(PeerError::NoAnswer { address: address.to_owned() }),
    };
    let greeted = async {
        let mut stream = Stream::open(connection, key).await?;
        let roster = shared.host.roster().borrow().clone();
        stream.say(&Message::Greeting(shared.greeting(&roster))).await?;
        match stream.hear().await? {
            Message::Greeting(greeting) if greeting.replica != peer.replica => {
                let found = greeting.replica;
                match shared.gate(&roster).check_successor(peer.replica, &greeting, key) {
                    Ok(true) => Ok((stream, found)),
                    Ok(false) | Err(_) => Err(PeerError::OtherReplica { found }),
                }
            }
            Message::Greeting(greeting) => Ok((stream, greeting.replica)),
            Message::Refused(refusal) => Err(PeerError::RefusedUs(refusal)),
            Message::Join(_) | Message::Welcome(_) => Err(PeerError::NoGreeting),
        }
    };
    timeout(HANDSHAKE_MAX, greeted).await.unwrap_or(Err(PeerError::SlowHandshake))
}

/// How long the one with the greater id waits to be dialed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Until when a node has just started.
const JUST_STARTED: Moment = Moment(2_000);
/// How long an address may take to answer: several first packets.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long the name service may take.
const RESOLVE_MAX: Duration = Duration::from_secs(3);
/// Addresses behind one name that are tried.
const RESOLVED_MAX: usize = 4;
/// A connection of the peer's that ended sooner was none.
const HELD_AT_ALL: Duration = Duration::from_secs(1);
/// A connection that lasted so long was no failure: the next one is dialed without waiting.
const HELD_WELL: Duration = Duration::from_secs(10);
