//! Puts together what a message reaches and what its method asks, and has the policy say yes or no.
//!
//! The keys of leases are looked up here, for those alone who are not `root`: whoever decides on a lease decides on its keys.

use std::sync::Arc;

use tombolo_auth::{Caller, Needs, Policy, Span};

use super::{
    Reach, Rule,
    effects::{Asks, Held},
};
use crate::{etcd::status::Fault, replica::Replica};

/// The policy of one moment, with the leases it may have to ask about.
pub(super) struct Judge<'a> {
    policy: Arc<Policy>,
    replica: &'a Replica,
}

impl<'a> Judge<'a> {
    pub(super) fn now(replica: &'a Replica) -> Self {
        Self { policy: replica.policy.current(), replica }
    }

    /// The policy's revision.
    pub(super) fn revision(&self) -> u64 {
        self.policy.revision()
    }

    pub(super) fn judge(&self, caller: &Caller, rule: Rule, reach: &Reach) -> Result<(), Fault> {
        match rule {
            Rule::Open | Rule::Anybody => Ok(()),
            Rule::User => Ok(self.policy.judge(caller, &Needs::User)?),
            Rule::Root => Ok(self.policy.judge(caller, &Needs::Root)?),
            Rule::Effects => self.effects(caller, reach),
        }
    }

    fn effects(&self, caller: &Caller, reach: &Reach) -> Result<(), Fault> {
        match &reach.asks {
            Some(Asks::Root) => self.policy.judge(caller, &Needs::Root)?,
            Some(Asks::RootOr(concerned)) => self.policy.judge(caller, &Needs::RootOr(concerned.clone()))?,
            None => self.policy.judge(caller, &keys(reach.read.clone(), reach.write.clone()))?,
        }
        if reach.leases.is_empty() || self.is_root(caller) {
            return Ok(());
        }
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for held in &reach.leases {
            match *held {
                Held::Read(id) => read.extend(self.keys_of(id)),
                Held::Write(id) => write.extend(self.keys_of(id)),
                Held::ReadAll => {
                    read.extend(self.replica.leases.ids().into_iter().flat_map(|id| self.keys_of(id)));
                }
            }
        }
        Ok(self.policy.judge(caller, &keys(read, write))?)
    }

    fn keys_of(&self, lease: i64) -> impl Iterator<Item = Span> + use<> {
        self.replica.store.lease_keys(lease).into_iter().map(Span::key)
    }

    fn is_root(&self, caller: &Caller) -> bool {
        self.policy.judge(caller, &Needs::Root).is_ok()
    }
}

/// Without any keys this asks that the caller be somebody.
fn keys(read: Vec<Span>, write: Vec<Span>) -> Needs {
    Needs::Keys { read, write }
}
