//! Where an import comes from: one of two kinds, which tell the same.

use std::path::Path;

use tombolo_proto::{
    mvccpb::KeyValue,
    v1::{ImportChange, ImportLease, ImportPlan},
};

use super::{Wanted, accounts::Accounts, live::Live, outlet::Outlet, snapshot::Snapshot};
use crate::{context::Context, exit::Failure};

/// A source of an import.
#[derive(Debug)]
pub(super) enum Source {
    Snapshot(Box<Snapshot>),
    Live(Box<Live>),
}

/// What is known of a source before anything of it is sent.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) plan: ImportPlan,
    pub(super) leases: Vec<ImportLease>,
    /// How many changes there are to send, where that can be known.
    pub(super) changes: Option<u64>,
}

impl Source {
    pub(super) fn snapshot(path: &Path, wanted: Wanted) -> Result<Self, Failure> {
        Ok(Self::Snapshot(Box::new(Snapshot::open(path, wanted)?)))
    }

    pub(super) fn live(etcd: Context, wanted: Wanted) -> Self {
        Self::Live(Box::new(Live::new(etcd, wanted)))
    }

    /// Looks through it. What was interrupted decides at which revision a live source is read.
    pub(super) async fn survey(&mut self, under_way: Option<&ImportPlan>) -> Result<Survey, Failure> {
        match self {
            Self::Snapshot(snapshot) => snapshot.survey(),
            Self::Live(live) => live.survey(under_way).await,
        }
    }

    /// The users and roles, which only a file tells of.
    pub(super) fn accounts(&mut self) -> Result<Accounts, Failure> {
        match self {
            Self::Snapshot(snapshot) => snapshot.accounts(),
            Self::Live(_) => Ok(Accounts::default()),
        }
    }

    /// Sends every transaction above a revision, in order.
    pub(super) async fn send(self, above: i64, outlet: &mut Outlet) -> Result<(), Failure> {
        match self {
            Self::Snapshot(snapshot) => snapshot.send(above, outlet).await,
            Self::Live(live) => live.send(above, outlet).await,
        }
    }
}

/// A pair as it is sent.
pub(super) fn put(pair: KeyValue, ordinal: u32) -> ImportChange {
    let KeyValue { key, create_revision, version, value, lease, .. } = pair;
    ImportChange { key, ordinal, is_removal: false, value, create_revision, version, lease }
}

/// A removal as it is sent.
pub(super) fn removal(pair: KeyValue, ordinal: u32) -> ImportChange {
    ImportChange { key: pair.key, ordinal, is_removal: true, ..ImportChange::default() }
}
