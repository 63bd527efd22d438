//! What the generator knows of the servers' state: enough to aim at edges, learned from the reference's answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{LeaseRevokeRequest, alarm_request::AlarmAction},
    v3electionpb::LeaderKey,
};

use super::{
    Answer, Request,
    auth::{AuthAnswer, AuthRequest},
    operator::OperatorRequest,
    session::{SessionAnswer, SessionRequest},
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
    /// Alarms that were raised and not disarmed.
    pub alarms: Vec<Alarm>,
    /// The lease by which each lock is held.
    pub locks: BTreeMap<Bytes, i64>,
    /// Who leads where.
    pub leaders: BTreeMap<Bytes, LeaderKey>,
}

/// An alarm as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Whose it is.
    pub member_id: u64,
    /// Of which kind.
    pub kind: i32,
}

/// Leases for locks and elections alone.
pub const SESSION_LEASES: [i64; 3] = [11, 12, 13];

impl Default for World {
    fn default() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            leases: Vec::new(),
            is_enabled: false,
            permissions: BTreeMap::new(),
            alarms: Vec::new(),
            locks: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
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
            (Request::Grant(_), Answer::Grant(response)) if !SESSION_LEASES.contains(&response.id) => {
                self.leases.push(response.id);
            }
            (Request::Revoke(LeaseRevokeRequest { id }), Answer::Revoke(_)) => {
                self.leases.retain(|lease| lease != id);
                self.locks.retain(|_, lease| lease != id);
                self.leaders.retain(|_, leader| leader.lease != *id);
            }
            (Request::As(_, request), answer) => self.observe(request, answer),
            (_, Answer::Auth(AuthAnswer::Enable(_))) => self.is_enabled = true,
            (_, Answer::Auth(AuthAnswer::Disable(_))) => self.is_enabled = false,
            (Request::Auth(AuthRequest::RoleGrantPermission(grant)), Answer::Auth(_)) => {
                *self.permissions.entry(grant.name.clone()).or_default() += 1;
            }
            (Request::Auth(AuthRequest::RoleDelete(role)), Answer::Auth(_)) => {
                self.permissions.remove(&role.role);
            }
            (Request::Operator(request), Answer::Operator(_)) => self.observe_operator(request),
            (Request::Session(request), Answer::Session(answer)) => self.observe_session(request, answer),
            _ => (),
        }
    }

    fn observe_operator(&mut self, request: &OperatorRequest) {
        let OperatorRequest::Alarm(request) = request else { return };
        let alarm = Alarm { member_id: request.member_id, kind: request.alarm };
        match request.action() {
            AlarmAction::Get => (),
            AlarmAction::Activate if self.alarms.contains(&alarm) => (),
            AlarmAction::Activate => self.alarms.push(alarm),
            AlarmAction::Deactivate => self.alarms.retain(|other| *other != alarm),
        }
    }

    fn observe_session(&mut self, request: &SessionRequest, answer: &SessionAnswer) {
        match (request, answer) {
            (SessionRequest::Lock(request), _) => {
                self.locks.insert(request.name.clone(), request.lease);
            }
            (SessionRequest::Unlock(request), _) => {
                self.locks.retain(|name, lease| {
                    let key = [name.as_ref(), b"/", format!("{lease:x}").as_bytes()].concat();
                    key != request.key
                });
            }
            (SessionRequest::Campaign(request), SessionAnswer::Campaign(answer)) => {
                if let Some(leader) = &answer.leader {
                    self.leaders.insert(request.name.clone(), leader.clone());
                }
            }
            (SessionRequest::Resign(request), _) => {
                self.leaders.retain(|_, leader| Some(&*leader) != request.leader.as_ref());
            }
            _ => (),
        }
    }
}
