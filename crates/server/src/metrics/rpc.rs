//! Counts by gRPC method: started, handled by code, and how long the short ones took.

use std::time::Duration;

use super::{Counter, Histogram};

/// One method of one service. Its place in [`METHODS`] is its place in the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(usize);

/// Service, name, and kind as Prometheus rules for gRPC call it.
pub(super) struct Description {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// etcd's word for it in its own durations; empty when it has none.
    pub(super) word: &'static str,
}

const fn unary(service: &'static str, name: &'static str, word: &'static str) -> Description {
    Description { service, name, kind: "unary", word }
}

const fn stream(service: &'static str, name: &'static str) -> Description {
    Description { service, name, kind: "bidi_stream", word: "" }
}

const KV: &str = "etcdserverpb.KV";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const MESH: &str = "tombolo.v1.Mesh";

pub(super) const METHODS: [Description; 27] = [
    unary(KV, "Range", "range"),
    unary(KV, "Put", "put"),
    unary(KV, "DeleteRange", "delete_range"),
    unary(KV, "Txn", "txn"),
    unary(KV, "Compact", "compaction"),
    unary(LEASE, "LeaseGrant", "lease_grant"),
    unary(LEASE, "LeaseRevoke", "lease_revoke"),
    unary(LEASE, "LeaseTimeToLive", ""),
    unary(LEASE, "LeaseLeases", ""),
    stream(LEASE, "LeaseKeepAlive"),
    stream("etcdserverpb.Watch", "Watch"),
    unary(CLUSTER, "MemberList", ""),
    unary(CLUSTER, "MemberAdd", ""),
    unary(CLUSTER, "MemberRemove", ""),
    unary(CLUSTER, "MemberUpdate", ""),
    unary(CLUSTER, "MemberPromote", ""),
    unary(MAINTENANCE, "Status", ""),
    unary(MAINTENANCE, "Alarm", ""),
    unary(MAINTENANCE, "Defragment", ""),
    unary(MAINTENANCE, "Hash", ""),
    unary(MAINTENANCE, "HashKV", ""),
    unary(MAINTENANCE, "MoveLeader", ""),
    unary(MAINTENANCE, "Downgrade", ""),
    unary(MESH, "Invite", ""),
    unary(MESH, "Members", ""),
    unary(MESH, "Status", ""),
    unary("grpc.health.v1.Health", "Check", ""),
];

/// Status codes, in the order of their numbers.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl Method {
    pub(crate) const RANGE: Self = Self(0);
    pub(crate) const PUT: Self = Self(1);

    /// The method that a request's path names.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/etcdserverpb.KV/Range" => return Some(Self::RANGE),
            "/etcdserverpb.KV/Put" => return Some(Self::PUT),
            _ => {}
        }
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let place = METHODS.iter().position(|method| method.name == name && method.service == service)?;
        Some(Self(place))
    }

    /// Whether it is one of `KV`'s.
    pub(crate) fn is_kv(self) -> bool {
        METHODS.get(self.0).is_some_and(|method| method.service == KV)
    }

    /// Whether an answer's beginning is its end too.
    pub(crate) fn is_unary(self) -> bool {
        METHODS.get(self.0).is_some_and(|method| method.kind == "unary")
    }
}

/// The counts of all methods.
#[derive(Default)]
pub(crate) struct Rpcs([PerMethod; METHODS.len()]);

#[derive(Default)]
pub(super) struct PerMethod {
    pub(super) started: Counter,
    pub(super) handled: [Counter; CODES.len()],
    pub(super) succeeded: Histogram,
    pub(super) failed: Histogram,
}

impl Rpcs {
    pub(crate) fn started(&self, method: Method) {
        if let Some(counts) = self.0.get(method.0) {
            counts.started.add(1);
        }
    }

    pub(crate) fn handled(&self, method: Method, code: usize, duration: Duration) {
        let Some(counts) = self.0.get(method.0) else { return };
        if let Some(count) = counts.handled.get(code) {
            count.add(1);
        }
        let durations = if code == 0 { &counts.succeeded } else { &counts.failed };
        durations.observe(duration);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Description, &PerMethod)> {
        METHODS.iter().zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_path() {
        for (place, method) in METHODS.iter().enumerate() {
            assert_eq!(Method::of(&format!("/{}/{}", method.service, method.name)), Some(Method(place)));
        }
        for unknown in ["", "/", "/etcdserverpb.KV", "/etcdserverpb.KV/Nope", "/metrics"] {
            assert_eq!(Method::of(unknown), None);
        }
        let watch = Method::of("/etcdserverpb.Watch/Watch").unwrap();
        assert!(!watch.is_unary() && !watch.is_kv() && Method::PUT.is_unary() && Method::PUT.is_kv());
    }
}
