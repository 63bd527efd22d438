//! Answers that are lists of like things, as rows of text: the simple and the table format show the same rows.

use tombolo_proto::etcdserverpb::MemberListResponse;

use super::{Answer, EndpointHash, EndpointHealth, EndpointStatus};
use crate::{commands::snapshot::SnapshotFacts, notation::size};

mod mesh;

pub(super) use mesh::measures;

/// A heading and the rows below it, each as long as the heading.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) heading: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

impl Rows {
    /// The rows of an answer, if it is such a list.
    pub(super) fn of(answer: &Answer<'_>) -> Option<Self> {
        match answer {
            Answer::Members(response) => Some(members(response)),
            Answer::Health(list) => Some(health(list)),
            Answer::Status(list) => Some(status(list)),
            Answer::Hashes(list) => Some(hashes(list)),
            Answer::Snapshot(facts) => Some(snapshot(facts)),
            Answer::MeshMembers(response) => Some(mesh::members(response)),
            Answer::MeshMember(member) => Some(mesh::one(member)),
            Answer::MeshStatus(response) => Some(mesh::status(response)),
            _ => None,
        }
    }
}

fn snapshot(facts: &SnapshotFacts) -> Rows {
    let heading = &["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"];
    let SnapshotFacts { hash, revision, keys, bytes } = facts;
    Rows { heading, rows: vec![vec![format!("{hash:x}"), revision.to_string(), keys.to_string(), size::bytes(*bytes)]] }
}

fn members(response: &MemberListResponse) -> Rows {
    let heading = &["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"];
    let rows = response.members.iter().map(|member| {
        let status = if member.name.is_empty() { "unstarted" } else { "started" };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    });
    Rows { heading, rows: rows.collect() }
}

fn health(list: &[EndpointHealth]) -> Rows {
    let heading = &["ENDPOINT", "HEALTH", "TOOK", "ERROR"];
    let rows = list.iter().map(|health| {
        let error = health.error.clone().unwrap_or_default();
        vec![health.endpoint.to_string(), health.error.is_none().to_string(), health.took.to_string(), error]
    });
    Rows { heading, rows: rows.collect() }
}

fn status(list: &[EndpointStatus]) -> Rows {
    let heading = &[
        "ENDPOINT",
        "ID",
        "VERSION",
        "DB SIZE",
        "IS LEADER",
        "IS LEARNER",
        "RAFT TERM",
        "RAFT INDEX",
        "RAFT APPLIED INDEX",
        "ERRORS",
    ];
    let rows = list.iter().map(|EndpointStatus { endpoint, response }| {
        let member = response.header.unwrap_or_default().member_id;
        vec![
            endpoint.to_string(),
            format!("{member:x}"),
            response.version.clone(),
            size::bytes(response.db_size.unsigned_abs()),
            (response.leader == member).to_string(),
            response.is_learner.to_string(),
            response.raft_term.to_string(),
            response.raft_index.to_string(),
            response.raft_applied_index.to_string(),
            response.errors.join(", "),
        ]
    });
    Rows { heading, rows: rows.collect() }
}

fn hashes(list: &[EndpointHash]) -> Rows {
    let rows =
        list.iter().map(|EndpointHash { endpoint, response }| vec![endpoint.to_string(), response.hash.to_string()]);
    Rows { heading: &["ENDPOINT", "HASH"], rows: rows.collect() }
}
