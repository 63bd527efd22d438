//! The task that tends the links: some times a second it tells the tree how they do, and the connections what to say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tombolo_crdt::ReplicaId;

use super::{Shared, peers::Tended};
use crate::{Host, LinkReport, TREE_TICK_MS};

/// Until the node stops.
pub(crate) async fn tend<H: Host>(shared: Arc<Shared<H>>) {
    let mut ticks = interval(Duration::from_millis(TREE_TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = shared.stop.clone();
    loop {
        tokio::select! {
            // An error: the node was dropped.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => tick(&shared),
        }
    }
}

fn tick<H: Host>(shared: &Shared<H>) {
    let now = shared.peers.now();
    let mut tree = shared.tree.lock();
    // In a small mesh there is nothing to weigh.
    let tended = if tree.is_awake() { shared.peers.tended() } else { BTreeMap::new() };
    let report = |tended: &Tended| tended.session.lock().link_report(now, tended.rtt_ms);
    let reports: BTreeMap<ReplicaId, LinkReport> =
        tended.iter().map(|(peer, tended)| (*peer, report(tended))).collect();
    let has = |peer: ReplicaId, dot| tended.get(&peer).is_some_and(|tended| tended.session.lock().peer_has(dot));
    for (peer, link) in tree.tick(now, &reports, has) {
        if let Some(peer) = shared.peers.find(peer) {
            peer.say_link(&link);
        }
    }
}
