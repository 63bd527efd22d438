//! Which method of the contracts a request calls, and that there is one for every method that could be compared.

use tombolo_proto::Method;

use super::Request;

impl Request {
    /// The method that it calls.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::Range(_) => Method::KvRange,
            Self::Put(_) => Method::KvPut,
            Self::Delete(_) => Method::KvDeleteRange,
            Self::Txn(_) => Method::KvTxn,
            Self::Compact(_) => Method::KvCompact,
            Self::Grant(_) | Self::GrantAndRevoke(_) => Method::LeaseGrant,
            Self::Revoke(_) => Method::LeaseRevoke,
            Self::TimeToLive(_) => Method::LeaseTimeToLive,
            Self::KeepAlive(_) => Method::LeaseKeepAlive,
            Self::Leases => Method::LeaseLeases,
            Self::Auth(request) => request.method(),
            Self::Operator(request) => request.method(),
            Self::Session(request) => request.method(),
            Self::As(_, request) => request.method(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tombolo_proto::{Kind, Method};

    use crate::request::{
        auth::generate::Dialect,
        generate::{Generator, Repertoire},
    };

    /// Whether the method can be compared with a real etcd by its one answer.
    fn is_comparable(method: Method) -> bool {
        let is_ours = method.service().starts_with("tombolo.");
        // Of the streams a renewal has one answer to one request; watches have a rig of their own.
        (method.kind() == Kind::Unary || method == Method::LeaseKeepAlive) && !is_ours
    }

    #[test]
    fn every_call_of_etcd_that_has_one_answer_is_made_by_everybody() {
        let mut made: BTreeMap<Method, [usize; 2]> = BTreeMap::new();
        let mut generator = Generator::new(1);
        generator.repertoire = Repertoire::Whole(Dialect::Current);
        for round in 0..20_000 {
            generator.world.is_enabled = round % 2 == 1;
            let request = generator.request();
            made.entry(request.method()).or_default()[round % 2] += 1;
        }
        for method in Method::ALL {
            let counts = made.get(&method).copied().unwrap_or_default();
            match is_comparable(method) {
                true => assert!(counts.iter().all(|count| *count > 4), "{method:?} is made too rarely: {counts:?}"),
                false => assert_eq!(counts, [0, 0], "{method:?}"),
            }
        }
    }
}
