//! What keeps a store in bounds beside its clients: alarms, the quota's warning, and compaction that nobody asked for.
//!
//! The store itself refuses what does not fit; here is what is said about it, and what an operator has said.

use std::sync::Arc;

use parking_lot::Mutex;
use tombolo_storage::{Commit, RottenRow, Store};

mod alarms;
mod compaction;
mod downgrade;
pub(crate) mod mend;
mod scrub;
mod space;

pub(crate) use self::{
    alarms::{Alarm, AlarmKind, Alarms},
    downgrade::{Downgrade, Refused},
    space::{Fill, shortage},
};
use crate::{config::KeeperConfig, replica::Replica};

/// The keeper of one replica.
pub(crate) struct Keeper {
    pub(crate) alarms: Alarms,
    pub(crate) downgrade: Downgrade,
    /// The rows that are rotten, as far as is known.
    pub(crate) rot: Mutex<Vec<RottenRow>>,
}

impl Keeper {
    /// Begins with what was said before the store was closed.
    pub(crate) fn open(store: &Store) -> Self {
        let keeper = Self { alarms: Alarms::default(), downgrade: Downgrade::default(), rot: Mutex::default() };
        keeper.alarms.read(store);
        keeper
    }

    /// Follows published commits.
    pub(crate) fn follow(&self, store: &Store, commits: &[Arc<Commit>]) {
        if commits.iter().any(|commit| commit.system.iter().any(|key| Alarms::are_changed_by(key))) {
            self.alarms.read(store);
        }
    }

    /// Does what comes round by itself, for ever.
    pub(crate) fn start(replica: &Arc<Replica>, config: &KeeperConfig) {
        tokio::spawn(space::watch(Arc::clone(replica)));
        tokio::spawn(mend::run(Arc::clone(replica)));
        if config.scrub_rate > 0 {
            tokio::spawn(scrub::run(Arc::clone(replica), config.scrub_rate));
        }
        if let Some(retention) = config.retention {
            tokio::spawn(compaction::run(Arc::clone(replica), retention));
        }
    }
}
