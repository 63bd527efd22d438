//! How long peers that are not connected have been lacking what is here.
//!
//! How far behind a connected peer is, its session measures.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::{LagMeter, Moment};

use crate::clock::Uptime;

/// A meter for each peer that was connected and is not any more.
pub(crate) struct Away {
    meters: Mutex<BTreeMap<ReplicaId, LagMeter>>,
    uptime: Uptime,
}

impl Away {
    pub(super) fn new(uptime: Uptime) -> Self {
        Self { meters: Mutex::default(), uptime }
    }

    /// A peer has gone, while this replica is at `own`.
    pub(super) fn gone(&self, peer: ReplicaId, own: &VersionVector) {
        let now = self.moment();
        self.meters.lock().entry(peer).or_insert_with(|| begun(now, own));
    }

    /// A peer is back, or is none any more.
    pub(super) fn forget(&self, peer: ReplicaId) {
        self.meters.lock().remove(&peer);
    }

    /// The moment it is, since the server started.
    pub(crate) fn now(&self) -> Duration {
        self.uptime.now()
    }

    /// This replica has got to `own`. Costs nothing when nobody is away.
    pub(super) fn advanced(&self, own: &VersionVector) {
        let mut meters = self.meters.lock();
        if meters.is_empty() {
            return;
        }
        let now = self.moment();
        meters.values_mut().for_each(|meter| meter.note(now, own));
    }

    /// For how long there has been something here that the peer, which got as far as `theirs`, lacks; in milliseconds.
    pub(crate) fn lag_ms(&self, peer: ReplicaId, own: &VersionVector, theirs: &VersionVector) -> Option<u64> {
        let now = self.moment();
        self.meters.lock().get(&peer).map(|meter| meter.behind_ms(now, own, theirs))
    }

    fn moment(&self) -> Moment {
        Moment(u64::try_from(self.uptime.now().as_millis()).unwrap_or(u64::MAX))
    }
}

fn begun(now: Moment, own: &VersionVector) -> LagMeter {
    let mut meter = LagMeter::new();
    meter.note(now, own);
    meter
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    #[test]
    fn a_lag_begins_with_what_the_peer_lacks_and_ends_when_it_is_back() {
        let peer = ReplicaId::new(7).unwrap();
        let at = |seq| -> VersionVector { [Dot::new(peer, seq)].into_iter().collect() };
        let away = Away::new(Uptime::start());
        away.advanced(&at(1));
        assert_eq!(away.lag_ms(peer, &at(1), &at(1)), None, "nobody is away");
        away.gone(peer, &at(1));
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(away.lag_ms(peer, &at(1), &at(1)), Some(0), "it lacks nothing");
        away.advanced(&at(2));
        std::thread::sleep(Duration::from_millis(30));
        let lag = away.lag_ms(peer, &at(2), &at(1));
        assert!(lag.is_some_and(|lag| (25..20_000).contains(&lag)), "{lag:?}");
        away.forget(peer);
        assert_eq!(away.lag_ms(peer, &at(2), &at(1)), None);
    }
}
