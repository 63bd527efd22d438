//! Rows of `Lease`: of leases with a secret key, with one of `root`'s, and of none.

use tombolo_proto::{
    Method,
    etcdserverpb::{
        LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    },
};

use super::{Needs, Shape};
use crate::roles::world::{LEASE, NO_LEASE, ROOTS_LEASE};

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    let time = |id, keys| LeaseTimeToLiveRequest { id, keys };
    match method {
        Method::LeaseGrant => vec![
            Shape::new("of any number", &LeaseGrantRequest { ttl: 600, id: 0 }, Needs::User),
            Shape::new("of a number that is taken", &LeaseGrantRequest { ttl: 600, id: LEASE }, Needs::User),
        ],
        Method::LeaseRevoke => vec![
            Shape::new("with a secret key", &LeaseRevokeRequest { id: LEASE }, Needs::Write),
            Shape::new("with another's key", &LeaseRevokeRequest { id: ROOTS_LEASE }, Needs::Root),
            Shape::new("of none", &LeaseRevokeRequest { id: NO_LEASE }, Needs::User),
        ],
        Method::LeaseKeepAlive => vec![
            Shape::new("with a secret key", &LeaseKeepAliveRequest { id: LEASE }, Needs::Write),
            Shape::new("with another's key", &LeaseKeepAliveRequest { id: ROOTS_LEASE }, Needs::Root),
            Shape::new("of none", &LeaseKeepAliveRequest { id: NO_LEASE }, Needs::User),
        ],
        Method::LeaseTimeToLive => vec![
            Shape::new("with its keys", &time(LEASE, true), Needs::Read),
            Shape::new("without its keys", &time(LEASE, false), Needs::User),
            Shape::new("with another's key", &time(ROOTS_LEASE, true), Needs::Root),
            Shape::new("of none", &time(NO_LEASE, true), Needs::User),
        ],
        // Some of them have keys that only `root` may read.
        _ => vec![Shape::new("all", &LeaseLeasesRequest {}, Needs::Root)],
    }
}
