//! What is wrong between this replica and its peers, as long as it is.
//!
//! An alarm is raised by an event and shown until it is lowered; each is logged once, however often its cause comes back.

use std::{collections::BTreeMap, collections::HashSet, time::Duration};

use tombolo_crdt::ReplicaId;
use tombolo_proto::v1::MeshAlarmKind;
use tracing::{error, warn};

/// The alarms of one server.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    raised: BTreeMap<(i32, ReplicaId), Raised>,
    logged: HashSet<(i32, ReplicaId)>,
}

/// An alarm that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) kind: MeshAlarmKind,
    pub(crate) peer: ReplicaId,
    pub(crate) text: String,
    /// When, since the server started.
    pub(crate) since: Duration,
}

impl Alarms {
    /// Raises an alarm about a peer. One that is on already gets the new text and keeps its beginning.
    pub(crate) fn raise(&mut self, kind: MeshAlarmKind, peer: ReplicaId, text: String, now: Duration) {
        let place = (kind as i32, peer);
        if self.logged.insert(place) {
            let alarm = kind.as_str_name().trim_start_matches("MESH_ALARM_KIND_");
            match kind {
                MeshAlarmKind::Skew | MeshAlarmKind::NeedsState | MeshAlarmKind::Quota => warn!(alarm, %peer, "{text}"),
                _ => error!(alarm, %peer, "{text}"),
            }
        }
        let since = self.raised.get(&place).map_or(now, |raised| raised.since);
        self.raised.insert(place, Raised { kind, peer, text, since });
    }

    /// Says more of an alarm, if it is on still. Answers whether that is news.
    pub(crate) fn amend(&mut self, kind: MeshAlarmKind, peer: ReplicaId, text: &str) -> bool {
        let raised = self.raised.get_mut(&(kind as i32, peer)).filter(|raised| raised.text != text);
        raised.map(|raised| raised.text = text.to_owned()).is_some()
    }

    /// Lowers an alarm, if it is on.
    pub(crate) fn lower(&mut self, kind: MeshAlarmKind, peer: ReplicaId) {
        self.raised.remove(&(kind as i32, peer));
    }

    /// Lowers the alarms that do not `stay`.
    pub(crate) fn keep(&mut self, stay: impl Fn(MeshAlarmKind, ReplicaId) -> bool) {
        self.raised.retain(|_, raised| stay(raised.kind, raised.peer));
    }

    /// Lowers all alarms about a peer that is none any more.
    pub(crate) fn forget(&mut self, peer: ReplicaId) {
        self.raised.retain(|(_, about), _| *about != peer);
    }

    /// Those that are on, by kind and peer.
    pub(crate) fn list(&self) -> Vec<Raised> {
        self.raised.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_keeps_its_beginning_until_it_is_lowered() {
        let peer = ReplicaId::new(7).unwrap();
        let mut alarms = Alarms::default();
        alarms.raise(MeshAlarmKind::Skew, peer, "11s".into(), Duration::from_secs(1));
        alarms.raise(MeshAlarmKind::Skew, peer, "12s".into(), Duration::from_secs(2));
        alarms.raise(MeshAlarmKind::Corrupt, peer, "bad".into(), Duration::from_secs(3));
        assert!(alarms.amend(MeshAlarmKind::Corrupt, peer, "bad at 7"));
        assert!(
            !alarms.amend(MeshAlarmKind::Corrupt, peer, "bad at 7")
                && !alarms.amend(MeshAlarmKind::Forked, peer, "none")
        );
        let list = alarms.list();
        assert_eq!(list.len(), 2);
        assert!(list.iter().any(|raised| raised.text == "bad at 7" && raised.since == Duration::from_secs(3)));
        let skew = list.iter().find(|raised| raised.kind == MeshAlarmKind::Skew).unwrap();
        assert_eq!((skew.text.as_str(), skew.since), ("12s", Duration::from_secs(1)));
        alarms.lower(MeshAlarmKind::Skew, peer);
        alarms.lower(MeshAlarmKind::Skew, peer);
        assert_eq!(alarms.list().len(), 1);
        alarms.raise(MeshAlarmKind::Skew, peer, "11s".into(), Duration::from_secs(9));
        assert!(alarms.list().iter().any(|raised| raised.since == Duration::from_secs(9)));
    }
}
