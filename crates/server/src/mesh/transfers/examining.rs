//! What this replica makes of a peer that has applied the same records and holds different data: where they begin to differ, and with whom others agree.
//!
//! It asks as for a transfer and takes nothing. As long as one of the two applies something at every moment they cannot be compared; it is tried
//! again while the alarm is on. Nothing is mended here: which of two values is right is not to be seen from either. Whoever operates the sites says so, by
//! a [repair](super::repairing).

use std::{sync::Arc, time::Duration};

use tombolo_crdt::ReplicaId;
use tombolo_net::PeerView;
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Disagreement, ElementRange, Examination, Examined, ReadError};
use tracing::{debug, error};

use super::{
    super::alarms::Raised,
    taking::{Interrupted, beside, pull},
};
use crate::replica::Replica;

/// Looks for it beside everything else, until it is found or the alarm has ended.
pub(in super::super) fn begin(replica: &Arc<Replica>, peer: ReplicaId) {
    if !replica.mesh.transfers.examined.lock().insert(peer) {
        return;
    }
    let replica = Arc::clone(replica);
    tokio::spawn(async move {
        look(&replica, peer).await;
        replica.mesh.transfers.examined.lock().remove(&peer);
    });
}

/// It ends when a third site has told who is right, too. One that could may be away for now.
async fn look(replica: &Arc<Replica>, peer: ReplicaId) {
    let mut pause = PAUSE;
    while is_on(replica, peer) {
        match examine(replica, peer).await {
            Ok(Examined::Differs(found)) => {
                let verdict = verdict(replica, peer);
                say(replica, peer, of_difference(&found, verdict.as_deref()));
                if verdict.is_some() {
                    return;
                }
            }
            // Both have gone on at different records, as they do at every moment. Who is right may be known all the same.
            Ok(Examined::Apart) => say_verdict(replica, peer),
            Err(Interrupted::Read(ReadError::Rot { .. })) => return say(replica, peer, OF_OURSELVES.to_owned()),
            Err(Interrupted::Stopping) => return,
            Ok(examined) => debug!(peer = %replica.mesh.call(peer), ?examined, "two sites could not be compared yet"),
            Err(why) => debug!(peer = %replica.mesh.call(peer), %why, "two sites could not be compared"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says in the alarm as it is whom to believe, once that is known.
fn say_verdict(replica: &Replica, peer: ReplicaId) {
    let raised = replica.mesh.alarms().into_iter().find(|raised| is_corrupt(raised, peer));
    if let (Some(raised), Some(verdict)) = (raised, verdict(replica, peer)) {
        say(replica, peer, raised.text.replace(UNDECIDED, &verdict));
    }
}

fn is_corrupt(raised: &Raised, peer: ReplicaId) -> bool {
    raised.kind == MeshAlarmKind::Corrupt && raised.peer == peer
}

fn say(replica: &Replica, peer: ReplicaId, finding: String) {
    if replica.mesh.alarms.lock().amend(MeshAlarmKind::Corrupt, peer, &finding) {
        error!(peer = %replica.mesh.call(peer), "{finding}");
    }
}

pub(super) fn is_on(replica: &Replica, peer: ReplicaId) -> bool {
    replica.mesh.alarms().iter().any(|raised| is_corrupt(raised, peer))
}

async fn examine(replica: &Arc<Replica>, peer: ReplicaId) -> Result<Examined, Interrupted> {
    let store = replica.store.clone();
    let mut examination = beside(move || Examination::begin(&store)).await??;
    let examined = loop {
        let Some(asked) = examination.ask() else { break examination.examined().ok_or(Interrupted::Incomplete) };
        let page = pull(replica, peer, asked).await?;
        let taken;
        (examination, taken) = beside(move || {
            let taken = examination.take(page);
            (examination, taken)
        })
        .await?;
        if let Err(fault) = taken {
            break Err(fault.into());
        }
    };
    if let Some(farewell) = examination.farewell() {
        // Whoever does not hear it lets go of the moment by itself.
        drop(pull(replica, peer, farewell).await);
    }
    examined
}

fn of_difference(found: &Disagreement, verdict: Option<&str>) -> String {
    let verdict = verdict.unwrap_or(UNDECIDED);
    let Disagreement { first, only_here, only_there, differing } = found;
    format!(
        "both have applied the same records and hold different data, first {}: {differing} elements hold other values, {only_here} are here \
         alone and {only_there} there; {verdict}",
        told(first)
    )
}

fn told(range: &ElementRange) -> String {
    match (range.from, range.to) {
        (Some(from), Some(to)) if from.dot == to.dot && from.index + 1 == to.index => format!("at {from}"),
        (from, to) => {
            let from = from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
            let to = to.map_or_else(|| "the end".to_owned(), |to| to.to_string());
            format!("somewhere from {from} to before {to}")
        }
    }
}

/// What third sites say, as far as they have applied the same.
fn verdict(replica: &Replica, peer: ReplicaId) -> Option<String> {
    let (mesh, now) = (&replica.mesh, replica.uptime.now());
    let mut views = mesh.peers();
    views.retain(|view| view.replica != peer && view.status.is_established);
    let others = |is_equal| {
        let outcome = |view: &PeerView| mesh.comparisons.latest(now, view).map(|compared| compared.is_equal);
        let others = views.iter().filter(|view| outcome(view) == Some(is_equal));
        others.map(|view| mesh.call(view.replica)).collect::<Vec<_>>()
    };
    weigh(&others(true), &others(false))
}

/// Whom to believe, of those that agree with us and those that do not, the peer in question aside.
fn weigh(equal: &[String], different: &[String]) -> Option<String> {
    match (equal, different) {
        ([], []) => None,
        ([], different) => {
            Some(format!("{} differs from this site too: repair this site, {HOW}", different.join(", ")))
        }
        (equal, _) => Some(format!("{} agrees with this site: repair the peer, {HOW}", equal.join(", "))),
    }
}

/// What to do as long as nobody tells who is right.
pub(in super::super) const UNDECIDED: &str = "compare both with a third site, and repair the one that differs, with `tombolo mesh repair --from` a site that is right";
/// What to do once it is known.
const HOW: &str = "with `tombolo mesh repair --from` a site that is right";
/// Between the first attempts, and later: each looks at every key.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
const OF_OURSELVES: &str = "both have applied the same records and hold different data: this site's own elements do not add up to its digest, so that \
                            the fault is here; repair this site, with `tombolo mesh repair --from` another one";

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    #[test]
    fn where_two_sites_differ_is_told_with_what_third_ones_say() {
        let dot = Dot::new(ReplicaId::new(0xab).unwrap(), 5);
        let (from, to) = (Some(dot.element(0)), Some(dot.element(1)));
        let found = Disagreement { first: ElementRange { from, to }, only_here: 1, only_there: 2, differing: 3 };
        assert_eq!(
            of_difference(&found, weigh(&["office".into()], &["ship".into()]).as_deref()),
            "both have applied the same records and hold different data, first at r00000000000000ab:5/0: 3 elements hold other values, 1 are here \
             alone and 2 there; office agrees with this site: repair the peer, with `tombolo mesh repair --from` a site that is right"
        );
        assert_eq!(told(&ElementRange { from, to: None }), "somewhere from r00000000000000ab:5/0 to before the end");
        assert_eq!(told(&ElementRange::ALL), "somewhere from the beginning to before the end");
        let alone = weigh(&[], &["ship".into()]);
        assert_eq!(
            alone.as_deref(),
            Some(
                "ship differs from this site too: repair this site, with `tombolo mesh repair --from` a site that is right"
            )
        );
        assert!(of_difference(&found, weigh(&[], &[]).as_deref()).ends_with(UNDECIDED));
    }
}
