//! The disk of a simulated site: the memory engine, on which the machine can stop in the middle of anything and rows can rot.
//!
//! A stop that was arranged comes at a call of the engine, before it or right after it, wherever the store is then: between
//! the batches of a sweep, while it is opened, in a sync. From there on every call fails, and [`Disk::restart`] gives what is
//! found by whoever starts again. What is damaged is remembered, so that it can be made whole.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_storage::{
    Papers,
    engine::{Change, Engine, EngineError, Persist, Row, Snapshot, memory::MemoryEngine},
};

use crate::{Random, trouble::Stop};

/// A disk.
pub(crate) struct Disk {
    engine: MemoryEngine,
    faults: Mutex<Faults>,
    has_stopped: AtomicBool,
    habit: Habit,
    /// What lies beside the rows, if replicas may lose their names.
    papers: Option<Papers>,
}

/// What a disk does of its own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It is sound.
    #[default]
    Sound,
    /// A planted bug: of the batch that was under way when the machine stopped, every other row is there.
    Tears,
    /// A planted bug: it answers that a sync is done, and it is not.
    Lies,
}

#[derive(Default)]
struct Faults {
    arranged: Option<Arranged>,
    /// What a restart finds, once the machine has stopped.
    left: Option<MemoryEngine>,
    damaged: Vec<Damaged>,
    /// What was written since the last sync, when the habit asks for it.
    unsynced: Vec<Vec<Change>>,
}

/// A stop that comes at one of the next calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arranged {
    /// Calls until then, 1 being the next.
    pub(crate) calls: u64,
    /// Whether that call is carried out.
    pub(crate) is_after: bool,
    /// Whether only the process dies.
    pub(crate) how: Stop,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A bit of it is another one.
    Flipped,
    /// Its second half is zeros.
    Zeroed,
    /// Its end is gone.
    Torn,
    /// Another row was written in its place.
    Misdirected,
    /// It is gone.
    Lost,
}

impl Damage {
    pub(crate) const ALL: [Self; 5] = [Self::Flipped, Self::Zeroed, Self::Torn, Self::Misdirected, Self::Lost];
}

/// A damaged row, and what it was.
struct Damaged {
    key: Bytes,
    whole: Bytes,
    now: Option<Bytes>,
}

impl Disk {
    pub(crate) fn new(habit: Habit, papers: Option<Papers>) -> Self {
        Self::of(MemoryEngine::new(), habit, papers)
    }

    fn of(engine: MemoryEngine, habit: Habit, papers: Option<Papers>) -> Self {
        Self { engine, faults: Mutex::default(), has_stopped: AtomicBool::new(false), habit, papers }
    }

    /// A copy of what is on disk now.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.engine.crash(), self.habit, self.papers.as_ref().map(Papers::image))
    }

    /// The same rows with other papers.
    pub(crate) fn with_papers(&self, papers: Option<Papers>) -> Self {
        Self::of(self.engine.kill(), self.habit, papers)
    }

    pub(crate) fn papers(&self) -> Option<&Papers> {
        self.papers.as_ref()
    }

    /// What whoever starts again finds.
    pub(crate) fn restart(&self, how: Stop) -> Self {
        let faults = &mut *self.faults.lock();
        let left = faults.left.take().unwrap_or_else(|| self.left(faults, how));
        let next = Self::of(left, self.habit, self.papers.as_ref().map(Papers::image));
        {
            let mut carried = next.faults.lock();
            // A stop that has not come yet may come while the store is opened.
            carried.arranged = faults.arranged.take();
            carried.damaged = std::mem::take(&mut faults.damaged);
        }
        next
    }

    /// What is left when the machine, or only the process, stops now.
    fn left(&self, faults: &mut Faults, how: Stop) -> MemoryEngine {
        if how != Stop::Crash {
            return self.engine.kill();
        }
        let left = self.engine.crash();
        let batch = match self.habit {
            Habit::Sound | Habit::Lies => None,
            Habit::Tears => faults.unsynced.first().map(|batch| batch.iter().skip(1).step_by(2).cloned().collect()),
        };
        drop(batch.map(|batch: Vec<Change>| left.write(batch, Persist::Disk)));
        left
    }

    /// Lets the machine stop at one of the next calls.
    pub(crate) fn arrange(&self, arranged: Option<Arranged>) {
        self.faults.lock().arranged = arranged;
    }

    /// Whether the machine has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }

    /// The rows without whatever is arranged.
    pub(crate) fn engine(&self) -> &MemoryEngine {
        &self.engine
    }

    /// Damages some row. Returns its key if there was one.
    pub(crate) fn damage(&self, random: &mut Random, damage: Damage) -> Option<Bytes> {
        let rows: Vec<Row> = self.engine.snapshot().scan(b"", b"\xff").filter_map(Result::ok).collect();
        let mut faults = self.faults.lock();
        let rows: Vec<&Row> =
            rows.iter().filter(|(key, _)| faults.damaged.iter().all(|damaged| damaged.key != key)).collect();
        if rows.is_empty() {
            return None;
        }
        let (key, whole) = rows[random.below(rows.len())].clone();
        let (_, other) = rows[random.below(rows.len())];
        let now = damaged(damage, &whole, other, random)?;
        if now.is_none() && self.may_be_the_last(&key) {
            return None;
        }
        let is_done = match &now {
            Some(bytes) => self.engine.rot(&key, |row| *row = bytes.to_vec()),
            None => self.engine.lose(&key),
        };
        faults.damaged.push(Damaged { key: key.clone(), whole, now });
        is_done.then_some(key)
    }

    /// Whether a row ends the log, or would if the machine stopped now. That it is gone is known to the fence alone, which lies in a data folder: a store
    /// that has only rows takes a log without its end for whole.
    fn may_be_the_last(&self, key: &Bytes) -> bool {
        let durable = self.engine.crash();
        let last = durable.snapshot().last(COMMITS, COMMITS_END).ok().flatten();
        key.starts_with(COMMITS) && last.is_none_or(|(last, _)| last <= *key)
    }

    /// Makes damaged rows whole again, but for those that the store has rewritten or dropped since. Returns whether all are:
    /// a lost row cannot be written while writes fail.
    pub(crate) fn heal(&self) -> bool {
        let damaged = &mut self.faults.lock().damaged;
        damaged.retain(|Damaged { key, whole, now }| match now {
            Some(now) => {
                if self.engine.get(key).ok().flatten().as_ref() == Some(now) {
                    self.engine.rot(key, |row| *row = whole.to_vec());
                }
                false
            }
            None => self.engine.write(vec![Change::Put(key.clone(), whole.clone())], Persist::Disk).is_err(),
        });
        damaged.is_empty()
    }

    /// Carries a call out, unless the machine has stopped or stops at it.
    fn call(&self, carry_out: impl FnOnce(&mut Faults) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let faults = &mut *self.faults.lock();
        if faults.left.is_some() {
            return Err(STOPPED);
        }
        let Some(arranged) = &mut faults.arranged else { return carry_out(faults) };
        arranged.calls -= 1;
        if arranged.calls > 0 {
            return carry_out(faults);
        }
        let Arranged { is_after, how, .. } = *arranged;
        faults.arranged = None;
        if is_after {
            carry_out(faults)?;
        }
        faults.left = Some(self.left(faults, how));
        if let Some(papers) = &self.papers {
            papers.stop();
        }
        self.has_stopped.store(true, Ordering::Relaxed);
        Err(STOPPED)
    }
}

/// Where the rows of commits begin, and end.
const COMMITS: &[u8] = b"c";
const COMMITS_END: &[u8] = b"d";

const STOPPED: EngineError = EngineError::Injected("the machine has stopped");

/// What becomes of a row; `None` when the damage would change nothing.
fn damaged(damage: Damage, whole: &Bytes, other: &Bytes, random: &mut Random) -> Option<Option<Bytes>> {
    let mut row = whole.to_vec();
    if row.is_empty() {
        return None;
    }
    match damage {
        Damage::Flipped => {
            let at = random.below(row.len());
            row[at] ^= 1 << random.below(8);
        }
        Damage::Zeroed => {
            let half = row.len() / 2;
            row[half..].fill(0);
        }
        Damage::Torn => row.truncate(random.below(whole.len())),
        Damage::Misdirected => row = other.to_vec(),
        Damage::Lost => return Some(None),
    }
    (row != *whole).then(|| Some(row.into()))
}

impl Engine for Disk {
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError> {
        let persist = if self.habit == Habit::Lies { Persist::Os } else { persist };
        self.call(|faults| {
            if self.habit == Habit::Tears && persist == Persist::Os {
                faults.unsynced.push(batch.clone());
            }
            self.engine.write(batch, persist)
        })
    }

    fn persist(&self) -> Result<(), EngineError> {
        self.call(|faults| {
            faults.unsynced.clear();
            if self.habit == Habit::Lies { Ok(()) } else { self.engine.persist() }
        })
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.engine.snapshot()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.engine.get(key)
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn defragment(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A disk as a store is given it, while the simulation keeps a handle.
pub(crate) type SharedDisk = Arc<Disk>;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &Disk, key: &'static str) -> bool {
        disk.write(vec![Change::Put(key.into(), "1".into())], Persist::Disk).is_ok()
    }

    fn holds(disk: &Disk, key: &str) -> bool {
        matches!(disk.get(key.as_bytes()), Ok(Some(_)))
    }

    #[test]
    fn the_machine_stops_before_or_after_the_call_that_was_arranged() {
        for is_after in [false, true] {
            let disk = Disk::new(Habit::Sound, None);
            disk.arrange(Some(Arranged { calls: 2, is_after, how: Stop::Crash }));
            assert!(write(&disk, "a"));
            assert!(!disk.has_stopped());
            assert!(!write(&disk, "b"));
            assert!(disk.has_stopped() && !write(&disk, "c"));
            let found = disk.restart(Stop::Kill);
            assert_eq!((holds(&found, "a"), holds(&found, "b"), holds(&found, "c")), (true, is_after, false));
            assert!(write(&found, "d"), "the stop has been");
        }
    }

    #[test]
    fn every_damage_changes_a_row_and_is_healed() {
        let mut random = Random::new(1);
        for damage in Damage::ALL {
            let disk = Disk::new(Habit::Sound, None);
            for (key, value) in [("a", "first"), ("b", "second")] {
                disk.write(vec![Change::Put(key.into(), value.into())], Persist::Disk).expect("it is sound");
            }
            let whole: Vec<Row> = disk.snapshot().scan(b"", b"\xff").filter_map(Result::ok).collect();
            let spoilt = (0..20).find_map(|_| disk.damage(&mut random, damage));
            assert!(spoilt.is_some(), "{damage:?}");
            let rows: Vec<Row> = disk.snapshot().scan(b"", b"\xff").filter_map(Result::ok).collect();
            assert_ne!(rows, whole, "{damage:?}");
            let after_a_crash = disk.restart(Stop::Crash);
            assert!(after_a_crash.heal());
            let rows: Vec<Row> = after_a_crash.snapshot().scan(b"", b"\xff").filter_map(Result::ok).collect();
            assert_eq!(rows, whole, "{damage:?}");
        }
    }

    #[test]
    fn the_end_of_a_log_is_not_lost_not_even_what_would_be_its_end_after_a_crash() {
        let mut random = Random::new(2);
        let disk = Disk::new(Habit::Sound, None);
        for (key, persist) in [("c1", Persist::Disk), ("c2", Persist::Disk), ("c3", Persist::Os)] {
            disk.write(vec![Change::Put(key.into(), key.into())], persist).expect("it is sound");
        }
        let mut lost: Vec<Bytes> = (0..50).filter_map(|_| disk.damage(&mut random, Damage::Lost)).collect();
        lost.sort();
        assert_eq!(lost, ["c1"]);
    }

    #[test]
    fn unsound_disks_do_what_they_are_said_to() {
        let pair = |keys: [&'static str; 2]| keys.map(|key| Change::Put(key.into(), "1".into())).to_vec();
        let left = |habit| {
            let disk = Disk::new(habit, None);
            disk.write(pair(["a", "b"]), Persist::Os).expect("it is sound");
            disk.persist().expect("it is sound");
            disk.write(pair(["c", "d"]), Persist::Os).expect("it is sound");
            disk.write(pair(["e", "f"]), Persist::Os).expect("it is sound");
            let left = disk.restart(Stop::Crash);
            ["a", "b", "c", "d", "e", "f"].into_iter().filter(|key| holds(&left, key)).collect::<String>()
        };
        let habits = [Habit::Sound, Habit::Tears, Habit::Lies];
        assert_eq!(habits.map(left), ["ab", "abd", ""]);
    }
}
