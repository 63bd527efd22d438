//! Every call of every service, as one enumeration: whoever needs a word on each of them is told by the compiler which one it lacks.

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Who of the two sides of a call sends more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Neither.
    Unary,
    /// The client.
    ClientStream,
    /// The server.
    ServerStream,
    /// Both.
    BidiStream,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_path() {
        for method in Method::ALL {
            assert_eq!(Method::of_path(method.path()), Some(method));
            assert_eq!(method.path(), format!("/{}/{}", method.service(), method.name()));
        }
        for unknown in ["", "/", "/etcdserverpb.KV", "/etcdserverpb.KV/Nope", "/metrics"] {
            assert_eq!(Method::of_path(unknown), None);
        }
    }

    #[test]
    fn a_call_is_named_after_its_service_once() {
        let paths = [Method::KvRange, Method::LeaseGrant, Method::AuthUserAdd, Method::Watch].map(Method::path);
        let expected = [
            "/etcdserverpb.KV/Range",
            "/etcdserverpb.Lease/LeaseGrant",
            "/etcdserverpb.Auth/UserAdd",
            "/etcdserverpb.Watch/Watch",
        ];
        assert_eq!(paths, expected);
        assert_eq!((Method::KvRange.kind(), Method::Watch.kind()), (Kind::Unary, Kind::BidiStream));
    }
}
