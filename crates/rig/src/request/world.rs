//! What the generator knows of the servers' state: enough to aim at edges, learned from the reference's answers.

use tombolo_proto::etcdserverpb::LeaseRevokeRequest;

use super::{Answer, Request};

/// Revisions and leases as the reference last told them.
#[derive(Clone, Debug)]
pub struct World {
    /// The current revision.
    pub revision: i64,
    /// The last compacted revision, 0 before the first compaction.
    pub compacted: i64,
    /// Leases that are alive.
    pub leases: Vec<i64>,
}

impl Default for World {
    fn default() -> Self {
        Self { revision: 1, compacted: 0, leases: Vec::new() }
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
            _ => (),
        }
    }
}
