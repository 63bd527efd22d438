//! Comparing data with peers whose frontier is never ours: at the meet of both, which both have applied.
//!
//! Sessions compare when both stand at one frontier; between sites that are written to without a pause that may be never. So each peer
//! with whom nothing was compared for an interval is asked for its digest at the meet, and ours there is held against it. Nobody waits for that:
//! it is made from a snapshot, beside everything else. A difference raises the alarm and begins the [examination](super::examining).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::PeerView;
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Meet, Met};
use tracing::debug;

use super::{
    super::comparisons::Compared,
    examining,
    taking::{Interrupted, beside, pull_within},
};
use crate::replica::Replica;

/// Sees to it for ever that no connected peer is left uncompared for longer than an interval.
pub(crate) async fn keep_compared(replica: Arc<Replica>, interval: Duration) {
    let mut pace = Pace { interval, not_before: BTreeMap::new() };
    loop {
        tokio::time::sleep(pace.between_looks()).await;
        for peer in due(&replica, &pace) {
            let met = compare(&replica, peer).await;
            pace.tried(peer, replica.uptime.now(), met.as_ref().ok());
            judge(&replica, peer, met);
        }
    }
}

fn due(replica: &Replica, pace: &Pace) -> Vec<ReplicaId> {
    let (mesh, now) = (&replica.mesh, replica.uptime.now());
    let roster = mesh.roster();
    let present = |view: &PeerView| view.status.is_established && !roster.is_removed(view.replica);
    let is_due = |view: &PeerView| pace.is_due(view.replica, now, mesh.comparisons.latest(now, view));
    let views = mesh.peers();
    views.iter().filter(|view| present(view) && is_due(view)).map(|view| view.replica).collect()
}

/// Asks a peer. One of an earlier version does not know the question and has no answer.
async fn compare(replica: &Arc<Replica>, peer: ReplicaId) -> Result<Met, Interrupted> {
    let store = replica.store.clone();
    let meet = Meet::of(&store);
    let page = pull_within(replica, peer, meet.ask(), PATIENCE).await?;
    Ok(beside(move || meet.take(page)).await??)
}

fn judge(replica: &Arc<Replica>, peer: ReplicaId, met: Result<Met, Interrupted>) {
    let (mesh, metrics, now) = (&replica.mesh, &replica.metrics, replica.uptime.now());
    match met {
        Ok(Met::Same) => {
            metrics.meets_equal.add(1);
            mesh.comparisons.note(peer, Compared { at: now, is_equal: true });
        }
        Ok(Met::Differs { cut, own, theirs }) => {
            metrics.meets_different.add(1);
            mesh.comparisons.note(peer, Compared { at: now, is_equal: false });
            // While it is on, its text may say more by now.
            if !examining::is_on(replica, peer) {
                let text = of_difference(&cut, own, theirs);
                mesh.alarms.lock().raise(MeshAlarmKind::Corrupt, peer, text, now);
            }
            examining::begin(replica, peer);
        }
        Ok(Met::OutOfReach) => {
            metrics.meets_put_off.add(1);
            debug!(peer = %mesh.call(peer), "what both have lies too far back to be compared now");
        }
        Err(why) => {
            metrics.meets_put_off.add(1);
            debug!(peer = %mesh.call(peer), %why, "what both have was not compared");
        }
    }
}

fn of_difference(cut: &VersionVector, own: u128, theirs: u128) -> String {
    let mut applied: Vec<String> = cut.iter().take(NAMED_MAX).map(|dot| dot.to_string()).collect();
    if cut.len() > NAMED_MAX {
        applied.push(format!("{} more", cut.len() - NAMED_MAX));
    }
    format!(
        "of the records that both have applied, up to {}, both hold different data (digest {own:032x} here, {theirs:032x} there): {}",
        applied.join(", "),
        examining::UNDECIDED
    )
}

/// When whom is asked.
struct Pace {
    interval: Duration,
    not_before: BTreeMap<ReplicaId, Duration>,
}

impl Pace {
    fn between_looks(&self) -> Duration {
        (self.interval / 60).clamp(Duration::from_millis(100), Duration::from_secs(60))
    }

    fn is_due(&self, peer: ReplicaId, now: Duration, latest: Option<Compared>) -> bool {
        // As long as both are known to differ it is of interest whether they still do.
        let after = if latest.is_some_and(|latest| !latest.is_equal) { self.interval.min(SOON) } else { self.interval };
        self.not_before.get(&peer).is_none_or(|not_before| *not_before <= now)
            && latest.is_none_or(|latest| now.saturating_sub(latest.at) >= after)
    }

    /// Takes note of an attempt. What was out of reach will be within; who has no answer is of an earlier version, or has other troubles.
    fn tried(&mut self, peer: ReplicaId, now: Duration, met: Option<&Met>) {
        let pause = match met {
            Some(Met::Same | Met::Differs { .. }) => Duration::ZERO,
            Some(Met::OutOfReach) => self.interval / 12,
            None => self.interval,
        };
        self.not_before.insert(peer, now + pause);
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a peer that differs is compared again.
const SOON: Duration = Duration::from_secs(30);
/// Authors that an alarm names.
const NAMED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    #[test]
    fn a_peer_is_due_an_interval_after_the_last_comparison_and_sooner_when_it_differs() {
        let mut pace = Pace { interval: Duration::from_secs(3_600), not_before: BTreeMap::new() };
        let (peer, at) = (id(7), |seconds| Duration::from_secs(seconds));
        let compared = |seconds, is_equal| Some(Compared { at: at(seconds), is_equal });
        assert!(pace.is_due(peer, at(60), None));
        assert!(
            !pace.is_due(peer, at(3_700), compared(200, true)) && pace.is_due(peer, at(3_800), compared(200, true))
        );
        assert!(pace.is_due(peer, at(230), compared(200, false)) && !pace.is_due(peer, at(229), compared(200, false)));
        pace.tried(peer, at(60), Some(&Met::OutOfReach));
        assert!(!pace.is_due(peer, at(359), None) && pace.is_due(peer, at(360), None));
        pace.tried(peer, at(360), None);
        assert!(!pace.is_due(peer, at(3_959), None) && pace.is_due(peer, at(3_960), None));
        pace.tried(peer, at(3_960), Some(&Met::Same));
        assert!(pace.is_due(peer, at(3_960), None) && !pace.is_due(peer, at(4_000), compared(3_960, true)));
    }

    #[test]
    fn an_alarm_names_the_frontier_and_not_a_thousand_authors() {
        let cut = |authors: u64| (1..=authors).map(|author| Dot::new(id(author), author)).collect::<VersionVector>();
        assert!(of_difference(&cut(2), 1, 2).contains("up to r0000000000000001:1, r0000000000000002:2, both hold"));
        assert!(of_difference(&cut(1_000), 1, 2).contains("r0000000000000008:8, 992 more, both hold"));
    }
}
