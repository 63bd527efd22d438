//! Counts by gRPC method: started, handled by code, and how long the short ones took.

use std::time::Duration;

use tombolo_proto::{Kind, Method};

use super::{Counter, Histogram};

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

/// A kind as Prometheus rules for gRPC call it.
pub(super) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unary => "unary",
        Kind::ClientStream => "client_stream",
        Kind::ServerStream => "server_stream",
        Kind::BidiStream => "bidi_stream",
    }
}

/// etcd's word for a method in its own durations, where it has one.
pub(super) const fn duration_word(method: Method) -> Option<&'static str> {
    match method {
        Method::KvRange => Some("range"),
        Method::KvPut => Some("put"),
        Method::KvDeleteRange => Some("delete_range"),
        Method::KvTxn => Some("txn"),
        Method::KvCompact => Some("compaction"),
        Method::LeaseGrant => Some("lease_grant"),
        Method::LeaseRevoke => Some("lease_revoke"),
        _ => None,
    }
}

/// The counts of all methods, in the order in which methods are declared.
pub(crate) struct Rpcs([PerMethod; Method::ALL.len()]);

#[derive(Default)]
pub(super) struct PerMethod {
    pub(super) started: Counter,
    pub(super) handled: [Counter; CODES.len()],
    pub(super) succeeded: Histogram,
    pub(super) failed: Histogram,
}

impl Default for Rpcs {
    fn default() -> Self {
        Self(std::array::from_fn(|_| PerMethod::default()))
    }
}

impl Rpcs {
    pub(crate) fn started(&self, method: Method) {
        if let Some(counts) = self.0.get(method as usize) {
            counts.started.add(1);
        }
    }

    pub(crate) fn handled(&self, method: Method, code: usize, duration: Duration) {
        let Some(counts) = self.0.get(method as usize) else { return };
        if let Some(count) = counts.handled.get(code) {
            count.add(1);
        }
        let durations = if code == 0 { &counts.succeeded } else { &counts.failed };
        durations.observe(duration);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Method, &PerMethod)> {
        Method::ALL.into_iter().zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_own_place() {
        for (place, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, place, "{method:?}");
        }
    }

    #[test]
    fn counts_are_those_of_the_method_that_was_called() {
        let rpcs = Rpcs::default();
        rpcs.started(Method::Watch);
        rpcs.handled(Method::Watch, 7, Duration::ZERO);
        let counted: Vec<_> = rpcs.iter().filter(|(_, counts)| counts.started.get() > 0).collect();
        assert_eq!(counted.len(), 1);
        let (method, counts) = counted[0];
        assert_eq!((method, kind_word(method.kind()), counts.handled[7].get()), (Method::Watch, "bidi_stream", 1));
    }
}
