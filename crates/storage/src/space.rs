//! Room on the disk: writes are refused while there still is some, so that the engine never meets a full disk.
//!
//! An engine that runs into a full disk in the middle of a write leaves nobody knowing what is there. Looking costs a system
//! call, so it is done when time has passed or much has been written, not for every request.

use std::path::{Path, PathBuf};

use crate::{Request, RequestError, SystemWrite, WallTime, health::HealthState, quota::Quota};

/// Room below which nothing is added: a memtable that is being flushed takes its size again, and so may the next one.
pub(crate) const RESERVE_BYTES: u64 = 128 << 20;
/// Room below which not even deletes and compactions are taken, which also write before they free.
const FLOOR_BYTES: u64 = 16 << 20;
/// Milliseconds after which the room is looked up again.
const LOOK_AFTER_MS: u64 = 200;
/// Bytes written after which it is looked up at once.
const LOOK_AFTER_BYTES: u64 = 4 << 20;

/// Watches the room of one folder.
pub(crate) struct Space {
    /// `None` for a store that is not on a disk.
    folder: Option<PathBuf>,
    reserve: u64,
    looked_at: WallTime,
    written: u64,
    free: u64,
    pub(crate) quota: Quota,
}

impl Space {
    pub(crate) fn of(folder: Option<&Path>, reserve: u64, quota: Option<u64>) -> Self {
        let folder = folder.map(Path::to_owned);
        Self { folder, reserve, looked_at: WallTime(0), written: u64::MAX, free: u64::MAX, quota: Quota::of(quota) }
    }

    /// Whether a request may go on, with `used` bytes of rows in use.
    pub(crate) fn check(
        &mut self,
        wall: WallTime,
        request: &Request,
        used: u64,
        health: &HealthState,
    ) -> Result<(), RequestError> {
        if self.has_room(wall, frees(request), health) && self.quota.admits(request, used, health) {
            Ok(())
        } else {
            Err(RequestError::NoSpace)
        }
    }

    /// Whether there is room for something that adds, or for something that `frees` and only writes to do so.
    pub(crate) fn has_room(&mut self, wall: WallTime, frees: bool, health: &HealthState) -> bool {
        let is_due = wall.0.abs_diff(self.looked_at.0) >= LOOK_AFTER_MS || self.written >= LOOK_AFTER_BYTES;
        if is_due {
            self.look(wall);
            health.set_no_space(self.free < self.reserve);
        }
        self.free >= if frees { FLOOR_BYTES.min(self.reserve / 4) } else { self.reserve }
    }

    /// Looks again whether there is room, when that is due: alarms end also when nobody writes.
    pub(crate) fn refresh(&mut self, wall: WallTime, used: u64, health: &HealthState) {
        self.has_room(wall, true, health);
        self.quota.refresh(used, health);
    }

    pub(crate) fn note_write(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
    }

    fn look(&mut self, wall: WallTime) {
        let Some(folder) = &self.folder else { return };
        // A file system that cannot tell is not a full one.
        self.free = rustix::fs::statvfs(folder).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        (self.looked_at, self.written) = (wall, 0);
    }
}

/// Whether a request makes room, or takes none.
fn frees(request: &Request) -> bool {
    match request {
        Request::Delete(_)
        | Request::Compact { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseRevokeOf { .. }
        | Request::LeaseKeys { .. } => true,
        Request::System(writes) => writes.iter().all(|write| matches!(write, SystemWrite::Remove { .. })),
        Request::Txn(transaction) => reads_or_deletes(&transaction.then) && reads_or_deletes(&transaction.otherwise),
        Request::Put(_) | Request::LeaseGrant { .. } | Request::Import(_) | Request::Enter { .. } => false,
    }
}

fn reads_or_deletes(ops: &[crate::Op]) -> bool {
    ops.iter().all(|op| match op {
        crate::Op::Range(_) | crate::Op::Delete(_) => true,
        crate::Op::Put(_) => false,
        crate::Op::Txn(nested) => reads_or_deletes(&nested.then) && reads_or_deletes(&nested.otherwise),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Delete, KeyRange, Op, Put, Transaction};

    fn put() -> Put {
        Put { key: Bytes::from_static(b"a"), value: Some(Bytes::new()), lease: Some(0), previous: false }
    }

    fn delete() -> Delete {
        Delete { range: KeyRange::all(), previous: false }
    }

    fn transaction(op: Op) -> Request {
        Request::Txn(Transaction {
            otherwise: vec![Op::Txn(Transaction { then: vec![op], ..Default::default() })],
            ..Default::default()
        })
    }

    #[test]
    fn a_full_disk_takes_what_makes_room_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let health = HealthState::default();
        let mut full = Space::of(Some(folder.path()), u64::MAX, None);
        for refused in [Request::Put(put()), transaction(Op::Put(put())), Request::LeaseGrant { id: 1, ttl_s: 1 }] {
            let answer = full.check(WallTime(0), &refused, 0, &health);
            assert!(matches!(answer, Err(RequestError::NoSpace)), "{refused:?}");
        }
        for taken in [Request::Delete(delete()), transaction(Op::Delete(delete())), Request::Compact { revision: 1 }] {
            assert!(full.check(WallTime(0), &taken, 0, &health).is_ok(), "{taken:?}");
        }
    }

    #[test]
    fn the_room_is_looked_up_when_time_has_passed_or_much_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let health = HealthState::default();
        let mut space = Space::of(Some(folder.path()), 1, None);
        assert!(space.has_room(WallTime(1000), false, &health));
        // As if the disk had filled up meanwhile.
        (space.free, space.reserve) = (0, 1);
        assert!(!space.has_room(WallTime(1000), false, &health), "nothing has passed");
        assert!(space.has_room(WallTime(1000 + LOOK_AFTER_MS), false, &health));
        space.free = 0;
        space.note_write(LOOK_AFTER_BYTES);
        assert!(space.has_room(WallTime(1000 + LOOK_AFTER_MS), false, &health));
    }

    #[test]
    fn a_store_without_a_folder_never_runs_out() {
        let mut space = Space::of(None, u64::MAX, None);
        assert!(space.has_room(WallTime(0), false, &HealthState::default()));
    }
}
