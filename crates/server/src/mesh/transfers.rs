//! Transfers of state: what this replica takes from a peer when it lacks what is in no log any more, and what it gives to others.
//!
//! A peer whose log has forgotten what we lack says so, in its hello or later. As long as nobody's log can bring us above what it has
//! forgotten, one transfer is under way, from whoever has most; when it is cut off it goes on, with the same peer or another, after a
//! restart as well. Readers and writers are served all the while. What is interesting lies in `tombolo-storage`; the pages travel as
//! `tombolo-net` carries them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, task};
use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::{Member, MemberState, PeerView};
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Provider, Refusal, Store, TransferFault};
use tracing::{info, warn};

use self::{
    choice::{Choice, Need, choose},
    repairing::Order,
    taking::Interrupted,
};
pub(crate) use self::{
    progress::{Phase, Progress},
    repairing::{RepairError, Repaired, repair},
};
use super::{Link, disputes};
use crate::{committer::Step, replica::Replica};

mod choice;
pub(super) mod examining;
pub(crate) mod meeting;
mod progress;
mod repairing;
mod taking;

/// What a server takes and gives.
pub(crate) struct Transfers {
    provider: Arc<Provider>,
    /// What peers say their logs have forgotten, as far as we lack it.
    lacking: Mutex<BTreeMap<ReplicaId, VersionVector>>,
    wake: Notify,
    progress: Mutex<Option<Progress>>,
    /// What is to be mended next.
    order: Mutex<Option<Order>>,
    /// With whom it is being found out where the data differ.
    examined: Mutex<BTreeSet<ReplicaId>>,
}

impl Transfers {
    pub(super) fn new(store: &Store) -> Self {
        let provider = Arc::new(Provider::new(store));
        Self {
            provider,
            lacking: Mutex::default(),
            wake: Notify::new(),
            progress: Mutex::default(),
            order: Mutex::default(),
            examined: Mutex::default(),
        }
    }

    /// A peer's log has forgotten what we lack.
    pub(super) fn lacks(&self, peer: ReplicaId, floor: VersionVector) {
        self.lacking.lock().insert(peer, floor);
        self.wake.notify_one();
    }

    /// The transfer under way.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.progress.lock().clone()
    }

    /// What a peer says of its log is said anew at every hello, and what we have got by now we lack no more.
    fn lacked(&self, own: &VersionVector) -> BTreeMap<ReplicaId, VersionVector> {
        let mut lacking = self.lacking.lock();
        lacking.retain(|_, floor| !own.includes(floor));
        lacking.clone()
    }

    fn show(&self, progress: Option<Progress>) {
        *self.progress.lock() = progress;
    }

    fn update(&self, update: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &mut *self.progress.lock() {
            update(progress);
        }
    }
}

/// A page for a peer that pulls; empty for what is no pull.
pub(super) async fn page(replica: &Arc<Replica>, peer: ReplicaId, pull: Bytes) -> Bytes {
    let (asked, now) = (Arc::clone(replica), replica.uptime.now());
    let answered = task::spawn_blocking(move || {
        let mesh = &asked.mesh;
        let roster = mesh.roster();
        mesh.transfers.provider.answer(now, pull, |dot, chain| mesh.signer.sign(&roster, dot, chain))
    })
    .await;
    let page = match answered {
        Ok(Ok(page)) => page,
        Ok(Err(TransferFault::Read(why))) => {
            warn!(peer = %replica.mesh.call(peer), %why, "a peer is not given our state: it cannot be read");
            Provider::refusal(Refusal::Damaged)
        }
        Ok(Err(why)) => {
            warn!(peer = %replica.mesh.call(peer), %why, "a peer has pulled what is no page");
            Bytes::new()
        }
        Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
        // The runtime is going away.
        Err(_) => Bytes::new(),
    };
    replica.mesh.can_be_known(replica.store.published().commit).await;
    replica.metrics.pages_served.add(1);
    replica.metrics.page_bytes_served.add(page.len() as u64);
    page
}

/// Looks to it for ever that this replica comes by what no log brings it.
pub(crate) async fn keep_up(replica: Arc<Replica>) {
    let mut need = Need::default();
    // What an earlier run has staged may be of use; if nobody says so it goes.
    let mut may_have_staged = true;
    loop {
        let transfers = &replica.mesh.transfers;
        tokio::select! {
            () = transfers.wake.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let now = replica.uptime.now();
        transfers.provider.expire(now);
        let order = transfers.order.lock().take();
        if let Some(order) = order {
            repairing::carry_out(&replica, order).await;
            continue;
        }
        let (own, roster) = (replica.store.frontier(), replica.mesh.roster());
        let mut peers = replica.mesh.peers();
        // Nothing more is taken from whoever was removed.
        peers.retain(|peer| !roster.is_removed(peer.replica));
        let parked = roster.present().filter(|member| member.place.state == MemberState::Parked).map(Member::replica);
        let parked = parked.collect();
        match choose(&mut need, now, &own, &transfers.lacked(&own), &peers, &parked) {
            Choice::Nothing => {
                transfers.show(None);
                lower(&replica, &mut need);
                if may_have_staged && is_heard_out(now, &peers) {
                    may_have_staged = replica.queue.step(Step::Drop, 0).await.is_err();
                }
            }
            // A log is bringing it.
            Choice::Wait => transfers.show(None),
            Choice::Nobody { of } => {
                transfers.show(None);
                raise(&replica, &mut need, of);
            }
            Choice::From(provider) => {
                may_have_staged = true;
                lower(&replica, &mut need);
                take(&replica, &mut need, provider).await;
            }
        }
    }
}

async fn take(replica: &Arc<Replica>, need: &mut Need, provider: ReplicaId) {
    let (metrics, mesh) = (&replica.metrics, &replica.mesh);
    // What a newcomer has said of itself is its own.
    let is_checkpoint = replica.store.frontier().iter().all(|dot| dot.replica == mesh.own());
    info!(from = %mesh.call(provider), is_checkpoint, "taking the state of a peer: no log has what is missing here");
    metrics.transfers_begun.add(1);
    let taken = taking::take(replica, provider, need.since(replica.uptime.now())).await;
    match taken {
        Ok(taken) => {
            let counter = if is_checkpoint { &metrics.checkpoints_joined } else { &metrics.deltas_joined };
            counter.add(1);
            need.served();
            info!(from = %mesh.call(provider), added = taken.added, removed = taken.removed, "the state of a peer was joined with ours");
        }
        Err(Interrupted::Useless) => need.served(),
        Err(why) => {
            metrics.transfers_interrupted.add(1);
            warn!(from = %mesh.call(provider), %why, "a transfer of state was interrupted; it will go on");
            denounce(replica, provider, &why);
            if why.is_forgery()
                && let Link::Up(node) = &*mesh.link.read()
                && let Some(told) = node.quarantine(provider, why.to_string())
            {
                mesh.quarantined(&told, replica.uptime.now());
            }
            need.failed(provider, replica.uptime.now(), why.is_fault());
        }
    }
    mesh.transfers.show(None);
    // Whether it is done, or another peer is to be asked, is seen at once.
    mesh.transfers.wake.notify_one();
}

/// Some faults say that records or state are disputed: what a session would make of it is made of it here.
fn denounce(replica: &Replica, provider: ReplicaId, why: &Interrupted) {
    if let Some(fault) = why.dispute(&replica.store.frontier()) {
        return disputes::dispute(replica, provider, &fault);
    }
    if let Interrupted::Fault(fault @ (TransferFault::Differs { .. } | TransferFault::Fingerprint { .. })) = why {
        let text = format!("its state was not taken: {fault}");
        replica.mesh.alarms.lock().raise(MeshAlarmKind::Corrupt, provider, text, replica.uptime.now());
    }
}

fn raise(replica: &Replica, need: &mut Need, of: ReplicaId) {
    let text = "this site lacks records that no log holds any more, and nobody who could give it the state is reachable: \
                it goes on serving what it has";
    replica.mesh.alarms.lock().raise(MeshAlarmKind::NeedsState, of, text.to_owned(), replica.uptime.now());
    need.alarmed.insert(of);
}

fn lower(replica: &Replica, need: &mut Need) {
    let mut alarms = replica.mesh.alarms.lock();
    std::mem::take(&mut need.alarmed).into_iter().for_each(|peer| alarms.lower(MeshAlarmKind::NeedsState, peer));
}

/// Whether whoever is there has had the time to say what we lack.
fn is_heard_out(now: Duration, peers: &[PeerView]) -> bool {
    now > HEARD_OUT && peers.iter().any(|peer| peer.status.is_established)
}

/// Between two looks, when nothing is heard.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long after the start it is believed that nothing is lacking.
const HEARD_OUT: Duration = Duration::from_secs(30);
