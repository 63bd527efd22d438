//! What the generator knows of the servers' state: enough to aim at edges, learned from the reference's answers.

use std::collections::BTreeMap;

use tombolo_proto::etcdserverpb::LeaseRevokeRequest;

use super::{
    Answer, Request,
    auth::{AuthAnswer, AuthRequest},
};

/// Revisions and leases as the reference last told them.
#[derive(Clone, Debug)]
pub struct World {
    /// The current revision.
    pub revision: i64,
    /// The last compacted revision, 0 before the first compaction.
    pub compacted: i64,
    /// Leases that are alive.
    pub leases: Vec<i64>,
    /// Whether requests are judged by who sends them.
    pub is_enabled: bool,
    /// How often each role was given a permission since it was made.
    pub permissions: BTreeMap<String, usize>,
}

impl Default for World {
    fn default() -> Self {
        Self { revision: 1, compacted: 0, leases: Vec::new(), is_enabled: false, permissions: BTreeMap::new() }
    }
}

impl World {
    /// Takes in one answered request.
    pub fn observe(&mut self, request: &Request, answer: &Answer) {
        if let Some(header) = answer.header() {
            self.revision = self.revision.max(header.revision);
        }
        match (request, answer) {
            (Request::Compact(request), Answer::Compact(_)) => self.compacted = request.revision,
            (Request::Grant(_), Answer::Grant(response)) => self.leases.push(response.id),
            (Request::Revoke(LeaseRevokeRequest { id }), Answer::Revoke(_)) => self.leases.retain(|lease| lease != id),
            (Request::As(_, request), answer) => self.observe(request, answer),
            (_, Answer::Auth(AuthAnswer::Enable(_))) => self.is_enabled = true,
            (_, Answer::Auth(AuthAnswer::Disable(_))) => self.is_enabled = false,
            (Request::Auth(AuthRequest::RoleGrantPermission(grant)), Answer::Auth(_)) => {
                *self.permissions.entry(grant.name.clone()).or_default() += 1;
            }
            (Request::Auth(AuthRequest::RoleDelete(role)), Answer::Auth(_)) => {
                self.permissions.remove(&role.role);
            }
            _ => (),
        }
    }
}
