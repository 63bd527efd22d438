//! etcd's alarms: those that tell what is so, and those that somebody has raised by hand.
//!
//! The first kind begins and ends with its cause. The second is kept in the system's data until it is disarmed, restarts included, and has etcd's
//! effect on this replica whatever member it names: NOSPACE closes the store to writes that add, CORRUPT to all writes.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_proto::etcdserverpb::AlarmType;
use tombolo_storage::{Request, Shortage, Store, SystemWrite};

use crate::replica::Replica;

/// What an alarm tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlarmKind {
    NoSpace,
    Corrupt,
}

impl AlarmKind {
    /// The kind by etcd's number; `None` for no kind, and for numbers that etcd has not given away.
    pub(crate) fn from_etcd(number: i32) -> Option<Self> {
        match AlarmType::try_from(number) {
            Ok(AlarmType::Nospace) => Some(Self::NoSpace),
            Ok(AlarmType::Corrupt) => Some(Self::Corrupt),
            Ok(AlarmType::None) | Err(_) => None,
        }
    }

    pub(crate) fn to_etcd(self) -> AlarmType {
        match self {
            Self::NoSpace => AlarmType::Nospace,
            Self::Corrupt => AlarmType::Corrupt,
        }
    }
}

/// An alarm, and the member that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    pub(crate) member: u64,
    pub(crate) kind: AlarmKind,
}

/// The alarms that were raised by hand.
#[derive(Default)]
pub(crate) struct Alarms {
    raised: Mutex<BTreeSet<Alarm>>,
    is_corrupt: AtomicBool,
}

impl Alarms {
    /// Whether a change of this key of the system's data may be a change of an alarm.
    pub(super) fn are_changed_by(key: &[u8]) -> bool {
        key.starts_with(PREFIX)
    }

    /// Takes over what the store holds, and has its effect.
    pub(super) fn read(&self, store: &Store) {
        let prefix = own_prefix(store);
        let entries = store.system(prefix.as_bytes());
        let raised: BTreeSet<Alarm> = entries.iter().filter_map(|entry| parse(&entry.key[prefix.len()..])).collect();
        let is_on = |kind| raised.iter().any(|alarm| alarm.kind == kind);
        store.close_to_writes(is_on(AlarmKind::NoSpace));
        self.is_corrupt.store(is_on(AlarmKind::Corrupt), Ordering::Relaxed);
        *self.raised.lock() = raised;
    }

    /// Whether somebody has said that the data must not be changed.
    pub(crate) fn forbid_writes(&self) -> bool {
        self.is_corrupt.load(Ordering::Relaxed)
    }

    /// Whether somebody has raised an alarm.
    pub(crate) fn is_raised(&self, alarm: Alarm) -> bool {
        self.raised.lock().contains(&alarm)
    }

    /// All alarms of a replica, by hand or not.
    pub(crate) fn all(replica: &Replica) -> BTreeSet<Alarm> {
        let own = |kind| Alarm { member: replica.member_id(), kind };
        let mut alarms = replica.keeper.alarms.raised.lock().clone();
        let is_short = matches!(replica.store.shortage(), Some(Shortage::Disk | Shortage::Quota));
        alarms.extend(is_short.then(|| own(AlarmKind::NoSpace)));
        alarms.extend(replica.mesh.disputes().contains("CORRUPT").then(|| own(AlarmKind::Corrupt)));
        alarms
    }

    /// What raises an alarm.
    pub(crate) fn raising(store: &Store, alarm: Alarm) -> Request {
        Request::System(vec![SystemWrite::Put { key: key(store, alarm), value: Bytes::new() }])
    }

    /// What ends an alarm that was raised.
    pub(crate) fn disarming(store: &Store, alarm: Alarm) -> Request {
        Request::System(vec![SystemWrite::Remove { key: key(store, alarm) }])
    }
}

/// Alarms are replicated like all of the system's data, but each replica heeds its own alone.
const PREFIX: &[u8] = b"alarm/";

fn own_prefix(store: &Store) -> String {
    format!("alarm/{:016x}/", store.identity().replica.get())
}

fn key(store: &Store, alarm: Alarm) -> Bytes {
    format!("{}{:016x}/{}", own_prefix(store), alarm.member, alarm.kind.to_etcd() as i32).into()
}

/// Reads what stands behind the prefix; what a newer version may have put there is passed over.
fn parse(rest: &[u8]) -> Option<Alarm> {
    let (member, kind) = std::str::from_utf8(rest).ok()?.split_once('/')?;
    let member = u64::from_str_radix(member, 16).ok()?;
    Some(Alarm { member, kind: AlarmKind::from_etcd(kind.parse().ok()?)? })
}

#[cfg(test)]
mod tests {
    use tombolo_storage::{Committer, Health, OpenOptions, WallTime, engine::memory::MemoryEngine};

    use super::*;

    fn apply(committer: &mut Committer, request: Request) {
        committer.execute(WallTime(1), request).unwrap();
        committer.commit().unwrap();
    }

    #[test]
    fn an_alarm_raised_by_hand_stays_with_its_effect_until_it_is_disarmed() {
        let options = OpenOptions::new(WallTime(1), [7; 32]);
        let (store, mut committer) = Store::open_on(Box::new(MemoryEngine::new()), &options).unwrap();
        let full = Alarm { member: 0, kind: AlarmKind::NoSpace };
        let corrupt = Alarm { member: u64::MAX, kind: AlarmKind::Corrupt };
        apply(&mut committer, Alarms::raising(&store, full));
        apply(&mut committer, Alarms::raising(&store, corrupt));
        let alarms = Alarms::default();
        alarms.read(&store);
        assert!(alarms.is_raised(full) && alarms.is_raised(corrupt) && alarms.forbid_writes());
        assert_eq!(store.health(), Health::NoSpace);
        apply(&mut committer, Alarms::disarming(&store, full));
        alarms.read(&store);
        assert!(!alarms.is_raised(full) && alarms.forbid_writes());
        assert_eq!(store.health(), Health::Ok);
    }

    #[test]
    fn alarms_of_other_replicas_and_of_newer_versions_are_passed_over() {
        for text in ["0000000000000001/3", "0000000000000001/0", "x/1", "1", "\u{fe}/1"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"00000000000000ff/2"), Some(Alarm { member: 255, kind: AlarmKind::Corrupt }));
    }
}
