//! The task above all others of a node: it starts dialers as the roster says, answers who comes, and ends everything.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quinn::{Incoming, VarInt};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tombolo_crdt::ReplicaId;

use super::{
    Shared, acceptor,
    dialer::{self, Target},
    handshakes::Handshakes,
    links,
};
use crate::{Host, Roster};

pub(crate) async fn supervise<H: Host>(shared: Arc<Shared<H>>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(links::tend(shared.clone()));
    let mut targets = BTreeMap::new();
    let handshakes = Handshakes::default();
    let mut stop = shared.stop.clone();
    let mut roster = shared.host.roster();
    roster.mark_changed();
    loop {
        tokio::select! {
            // An error, as everywhere below: the node was dropped.
            _ = stop.wait_for(|stop| *stop) => break,
            Ok(()) = roster.changed() => {
                let roster = roster.borrow_and_update().clone();
                retarget(&shared, &roster, &mut targets, &mut tasks);
            }
            Some(incoming) = shared.endpoint.accept() => accept(&shared, &handshakes, incoming, &mut tasks),
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(targets);
    shared.endpoint.set_server_config(None);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(GOODBYE_MAX, ended).await.is_err() {
        tasks.abort_all();
    }
    shared.endpoint.close(VarInt::from_u32(0), b"the node has stopped");
    // Until the last packets are out; a peer that does not answer is not waited for.
    let _ = timeout(LINGER_MAX, shared.endpoint.wait_idle()).await;
}

/// Starts, moves and ends dialers, so that there is one for every other member and every contact.
fn retarget<H: Host>(
    shared: &Arc<Shared<H>>,
    roster: &Roster,
    targets: &mut BTreeMap<ReplicaId, watch::Sender<Target>>,
    tasks: &mut JoinSet<()>,
) {
    let wanted = wanted(shared, roster);
    targets.retain(|replica, _| {
        let stays = wanted.contains_key(replica);
        if !stays {
            shared.peers.forget(*replica);
        }
        stays
    });
    for (replica, target) in wanted {
        match targets.get(&replica) {
            Some(sender) => {
                sender.send_if_modified(|known| {
                    let is_new = *known != target;
                    *known = target;
                    is_new
                });
            }
            None => {
                let (sender, receiver) = watch::channel(target);
                targets.insert(replica, sender);
                tasks.spawn(dialer::keep(shared.clone(), shared.peers.peer(replica), receiver));
            }
        }
    }
}

/// Whom to dial: where a contact was given, that address comes last, for what a member announces is newer.
fn wanted<H>(shared: &Shared<H>, roster: &Roster) -> BTreeMap<ReplicaId, Target> {
    let is_newcomer = shared.gate(roster).is_newcomer();
    let members = roster
        .present()
        .filter(|_| !is_newcomer)
        .map(|member| (member.replica(), Target { key: member.key(), addresses: member.addresses().to_vec() }));
    let mut wanted: BTreeMap<_, _> = members.collect();
    for contact in shared.config.contacts.iter().filter(|contact| !roster.is_removed(contact.replica)) {
        let target = wanted
            .entry(roster.heir(contact.replica))
            .or_insert_with(|| Target { key: contact.key, addresses: Vec::new() });
        for address in &contact.addresses {
            if !target.addresses.contains(address) {
                target.addresses.push(address.clone());
            }
        }
    }
    wanted.remove(&shared.config.own);
    wanted
}

/// Lets a connection begin, if there is room for another handshake.
fn accept<H: Host>(shared: &Arc<Shared<H>>, handshakes: &Handshakes, incoming: Incoming, tasks: &mut JoinSet<()>) {
    if handshakes.are_many() && incoming.may_retry() {
        // Whoever it is shall prove first that its address is its own. It fails only for one that has.
        let _ = incoming.retry();
        return;
    }
    match handshakes.enter(incoming.remote_address()) {
        Some(place) => {
            tasks.spawn(acceptor::answer(shared.clone(), incoming, place));
        }
        None => incoming.refuse(),
    }
}

/// How long the goodbyes may take.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
/// How long the last packets may take.
const LINGER_MAX: Duration = Duration::from_secs(1);
