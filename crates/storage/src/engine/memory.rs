//! The engine of tests and of the simulator: a map that forgets at a crash what was not persisted, and fails when told to.
//!
//! A crash is [`MemoryEngine::crash`]: it gives back the engine that a restart would open. What a handle still in use does
//! after that does not reach it.

use std::{
    collections::BTreeMap,
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
        Self { state: RwLock::new(State::of(self.state.read().durable.clone())), ..Self::default() }
    }

    /// The engine as a restarted process finds it: with everything that was written. What was not persisted still is not.
    pub fn kill(&self) -> Self {
        Self { state: RwLock::new(self.state.read().clone()), ..Self::default() }
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
        Box::new(MemorySnapshot { map: self.state.read().visible.clone() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
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
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.map.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Rows<'_> {
        let range = self.map.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, EngineError> {
        let mut range = self.map.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        Ok(range.next_back().map(|(key, value)| (key.clone(), value.clone())))
    }
}
