//! The engine of tests and of the simulator: a map that forgets at a crash what was not persisted, and fails when told to.
//!
//! A crash is [`MemoryEngine::crash`]: it gives back the engine that a restart would open. What a handle still in use does
//! after that does not reach it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Change, Engine, EngineError, Persist, Row, Rows, Snapshot};

type Map = BTreeMap<Bytes, Bytes>;

/// Rows in memory.
#[derive(Default)]
pub struct MemoryEngine {
    state: RwLock<State>,
    /// Writes until one fails; 0 when none is to fail.
    fail_in: AtomicU64,
    /// Whether the write that fails has been carried out, and only its sync fails.
    only_syncs_fail: AtomicBool,
    /// Ranges of rows that cannot be read, as where a block of a table is damaged. A row that is written there later is found all the same by
    /// whoever asks for it by name.
    spoilt: Arc<RwLock<Vec<Spoilt>>>,
}

/// Rows from one key up to another that cannot be read, but for those written since.
#[derive(Clone, Debug)]
struct Spoilt {
    from: Bytes,
    to: Bytes,
    written: BTreeSet<Bytes>,
}

impl Spoilt {
    fn contains(&self, key: &[u8]) -> bool {
        self.from.as_ref() <= key && key < self.to.as_ref()
    }
}

#[derive(Clone, Default)]
struct State {
    visible: Arc<Map>,
    durable: Map,
    /// What `visible` has had since `durable` was last made equal to it.
    unpersisted: Vec<Change>,
}

impl State {
    fn of(map: Map) -> Self {
        Self { visible: Arc::new(map.clone()), durable: map, unpersisted: Vec::new() }
    }

    fn persist(&mut self) {
        for change in self.unpersisted.drain(..) {
            apply(&mut self.durable, change);
        }
    }
}

fn apply(map: &mut Map, change: Change) {
    match change {
        Change::Put(key, value) => map.insert(key, value),
        Change::Remove(key) => map.remove(&key),
    };
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// The engine as a restarted machine finds it: with what was persisted, and nothing else.
    pub fn crash(&self) -> Self {
        let spoilt = RwLock::new(self.spoilt.read().clone()).into();
        Self { state: RwLock::new(State::of(self.state.read().durable.clone())), spoilt, ..Self::default() }
    }

    /// The engine as a restarted process finds it: with everything that was written. What was not persisted still is not.
    pub fn kill(&self) -> Self {
        let spoilt = RwLock::new(self.spoilt.read().clone()).into();
        Self { state: RwLock::new(self.state.read().clone()), spoilt, ..Self::default() }
    }

    /// Lets the `n`-th write or persist from now fail, 1 being the next, and every one after it. Nothing of them is written.
    pub fn fail_in(&self, n: u64) {
        self.only_syncs_fail.store(false, Ordering::SeqCst);
        self.fail_in.store(n, Ordering::SeqCst);
    }

    /// As [`fail_in`](Self::fail_in), but what is counted and fails is syncs: what was to be written is there, until a crash.
    pub fn fail_sync_in(&self, n: u64) {
        self.only_syncs_fail.store(true, Ordering::SeqCst);
        self.fail_in.store(n, Ordering::SeqCst);
    }

    /// Changes the stored bytes of a row, as a rotten disk would. Returns whether there was such a row.
    pub fn rot(&self, key: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        let state = &mut *self.state.write();
        let Some(value) = state.visible.get(key) else { return false };
        let mut value = value.to_vec();
        damage(&mut value);
        let value = Bytes::from(value);
        // Only rows that are there rot; the durable ones may lack this one yet.
        for map in [Arc::make_mut(&mut state.visible), &mut state.durable] {
            if let Some(slot) = map.get_mut(key) {
                *slot = value.clone();
            }
        }
        true
    }

    /// Loses a row, as a damaged table would. Returns whether there was such a row.
    pub fn lose(&self, key: &[u8]) -> bool {
        let state = &mut *self.state.write();
        state.durable.remove(key);
        Arc::make_mut(&mut state.visible).remove(key).is_some()
    }

    /// Makes a range of rows unreadable: `from` and up to `to`.
    pub fn spoil(&self, from: &[u8], to: &[u8]) {
        let (from, to) = (Bytes::copy_from_slice(from), Bytes::copy_from_slice(to));
        self.spoilt.write().push(Spoilt { from, to, written: BTreeSet::new() });
    }

    fn check_fault(&self) -> Result<(), EngineError> {
        match self.fail_in.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(EngineError::Injected("write refused")),
            n => {
                self.fail_in.store(n - 1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError> {
        let only_syncs_fail = self.only_syncs_fail.load(Ordering::SeqCst);
        let fault = if only_syncs_fail && persist == Persist::Os { Ok(()) } else { self.check_fault() };
        if fault.is_err() && !only_syncs_fail {
            return fault;
        }
        let state = &mut *self.state.write();
        let visible = Arc::make_mut(&mut state.visible);
        for change in batch {
            let (Change::Put(key, _) | Change::Remove(key)) = &change;
            for spoilt in self.spoilt.write().iter_mut().filter(|spoilt| spoilt.contains(key)) {
                spoilt.written.insert(key.clone());
            }
            apply(visible, change.clone());
            state.unpersisted.push(change);
        }
        fault?;
        if persist == Persist::Disk {
            state.persist();
        }
        Ok(())
    }

    fn persist(&self) -> Result<(), EngineError> {
        self.check_fault()?;
        self.state.write().persist();
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(MemorySnapshot { map: self.state.read().visible.clone(), spoilt: self.spoilt.read().clone() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        check_spoilt(&self.spoilt.read(), key)?;
        Ok(self.state.read().visible.get(key).cloned())
    }

    fn disk_bytes(&self) -> u64 {
        self.state.read().visible.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn defragment(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

struct MemorySnapshot {
    map: Arc<Map>,
    spoilt: Vec<Spoilt>,
}

fn check_spoilt(spoilt: &[Spoilt], key: &[u8]) -> Result<(), EngineError> {
    let is_lost = |spoilt: &Spoilt| spoilt.contains(key) && !spoilt.written.contains(key);
    if spoilt.iter().any(is_lost) { Err(EngineError::Unreadable) } else { Ok(()) }
}

impl MemorySnapshot {
    /// A run of rows meets what is spoilt, whatever was written there since: a merge of tables reads them all.
    fn check_run(&self, key: &[u8]) -> Result<(), EngineError> {
        if self.spoilt.iter().any(|spoilt| spoilt.contains(key)) { Err(EngineError::Unreadable) } else { Ok(()) }
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        check_spoilt(&self.spoilt, key)?;
        Ok(self.map.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Rows<'_> {
        let range = self.map.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        Box::new(range.map(|(key, value)| self.check_run(key).map(|()| (key.clone(), value.clone()))))
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, EngineError> {
        let mut range = self.map.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        Ok(range.next_back().map(|(key, value)| (key.clone(), value.clone())))
    }
}
