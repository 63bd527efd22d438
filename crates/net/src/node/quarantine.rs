//! Whom this node does not speak with for a while, and why: whoever has sent what nobody may send.
//!
//! It is the key that is shut out, under whatever name it comes. Each time is four times as long as the one before, and who has kept to the rules for an hour
//! since is forgotten: a bug that was mended needs nobody's word, and a villain gets to try a few times a day. It is this node's own
//! judgement; no other is told, and nothing of it outlasts the node. To end it for good is what a removal is for.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tombolo_crdt::ReplicaId;

use crate::{Moment, PublicKey};

/// Who is not spoken with, or was not a short time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The name under which it came last.
    pub replica: ReplicaId,
    /// How often it was shut out.
    pub times: u32,
    /// For how long it still is; nothing when it may come again.
    pub left: Duration,
    /// What it did last.
    pub why: String,
}

/// The keys that are shut out.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    held: Mutex<BTreeMap<PublicKey, Held>>,
}

#[derive(Debug)]
struct Held {
    replica: ReplicaId,
    times: u32,
    until: Moment,
    why: String,
}

impl Quarantine {
    /// Shuts out whoever holds this key, and was known as `replica` when it did it.
    pub(crate) fn shut_out(&self, key: PublicKey, replica: ReplicaId, why: String, now: Moment) -> Quarantined {
        let mut held = self.held.lock();
        held.retain(|_, held| !held.is_forgotten(now));
        let times = held.get(&key).map_or(1, |held| held.times.saturating_add(1));
        let pause = pause(times);
        let until = Moment(now.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)));
        if held.len() >= HELD_MAX
            && !held.contains_key(&key)
            && let Some(first) = held.iter().min_by_key(|(_, held)| held.until).map(|(key, _)| *key)
        {
            held.remove(&first);
        }
        held.insert(key, Held { replica, times, until, why: why.clone() });
        Quarantined { replica, times, left: pause, why }
    }

    /// Until when a key is shut out, if it is.
    pub(crate) fn until(&self, key: &PublicKey, now: Moment) -> Option<Moment> {
        self.held.lock().get(key).map(|held| held.until).filter(|until| now < *until)
    }

    /// Everybody who is remembered.
    pub(crate) fn list(&self, now: Moment) -> Vec<Quarantined> {
        let mut held = self.held.lock();
        held.retain(|_, held| !held.is_forgotten(now));
        let told = |Held { replica, times, until, why }: &Held| Quarantined {
            replica: *replica,
            times: *times,
            left: Duration::from_millis(until.0.saturating_sub(now.0)),
            why: why.clone(),
        };
        held.values().map(told).collect()
    }
}

impl Held {
    fn is_forgotten(&self, now: Moment) -> bool {
        now.0 >= self.until.0.saturating_add(REMEMBERED_MS)
    }
}

/// How long it lasts the `times`th time.
fn pause(times: u32) -> Duration {
    FIRST.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1))).min(LONGEST)
}

/// The first time: long enough to be no load, short enough for what was a misunderstanding between versions or moments.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3_600);
/// How long whoever was let in again is remembered.
const REMEMBERED_MS: u64 = 3_600_000;
/// Keys that are remembered: more than have any business here. Of more, the one that may come again first is forgotten.
const HELD_MAX: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bits: u16) -> PublicKey {
        let mut key = [0; PublicKey::LEN];
        key[..2].copy_from_slice(&bits.to_be_bytes());
        PublicKey(key)
    }

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    #[test]
    fn each_time_lasts_longer_and_who_keeps_to_the_rules_is_forgotten() {
        let quarantine = Quarantine::default();
        let mut now = Moment(1_000);
        for expected in [5, 20, 80, 320, 1_280, 3_600, 3_600] {
            let told = quarantine.shut_out(key(1), id(1), "forged".into(), now);
            assert_eq!(told.left, Duration::from_secs(expected));
            let until = Moment(now.0 + expected * 1_000);
            assert_eq!(quarantine.until(&key(1), Moment(until.0 - 1)), Some(until));
            assert_eq!(quarantine.until(&key(1), until), None);
            assert_eq!(quarantine.until(&key(2), now), None);
            now = until;
        }
        let last = quarantine.list(Moment(now.0 + REMEMBERED_MS - 1));
        assert_eq!((last.len(), last[0].times, last[0].left, &*last[0].why), (1, 7, Duration::ZERO, "forged"));
        assert_eq!(quarantine.list(Moment(now.0 + REMEMBERED_MS)), []);
        let again = quarantine.shut_out(key(1), id(1), "forged".into(), Moment(now.0 + REMEMBERED_MS));
        assert_eq!((again.times, again.left), (1, FIRST));
    }

    #[test]
    fn another_name_under_the_same_key_is_the_same_hand() {
        let quarantine = Quarantine::default();
        quarantine.shut_out(key(1), id(1), "one".into(), Moment(0));
        let told = quarantine.shut_out(key(1), id(2), "two".into(), Moment(6_000));
        assert_eq!((told.replica, told.times), (id(2), 2));
    }

    #[test]
    fn strangers_keys_do_not_fill_the_memory() {
        let quarantine = Quarantine::default();
        (0..3_000).for_each(|bits| drop(quarantine.shut_out(key(bits), id(1), "x".into(), Moment(u64::from(bits)))));
        assert_eq!(quarantine.list(Moment(3_000)).len(), HELD_MAX);
        assert!(quarantine.until(&key(2_999), Moment(3_000)).is_some(), "the newest is held");
    }
}
