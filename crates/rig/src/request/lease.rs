//! Random lease requests. No lease of a run can expire during it: short ones are revoked in the step that grants them.

use tombolo_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

use super::{Request, generate::Generator};

pub(crate) fn request(generator: &mut Generator) -> Request {
    match generator.random.below(12) {
        0..4 => grant(generator),
        4..7 => Request::Revoke(LeaseRevokeRequest { id: id(generator) }),
        7..9 => Request::TimeToLive(time_to_live(generator)),
        9..11 => Request::KeepAlive(LeaseKeepAliveRequest { id: id(generator) }),
        _ => Request::Leases,
    }
}

pub(crate) fn time_to_live(generator: &mut Generator) -> LeaseTimeToLiveRequest {
    LeaseTimeToLiveRequest { id: id(generator), keys: generator.random.chance(70) }
}

/// A lease to name: mostly a living one, sometimes one that never was.
pub(crate) fn id(generator: &mut Generator) -> i64 {
    let leases = &generator.world.leases;
    if leases.is_empty() || generator.random.chance(12) {
        return generator.random.pick(&[404, -7, i64::MAX, i64::MIN, 0]);
    }
    generator.random.pick(leases)
}

fn grant(generator: &mut Generator) -> Request {
    let random = &mut generator.random;
    if random.chance(25) {
        let ttl = random.pick(&[0, -1, 1, i64::MIN, TTL_SECONDS_MAX, TTL_SECONDS_MAX + 1, i64::MAX]);
        let id = random.pick(&[0, 77_777]);
        return Request::GrantAndRevoke(LeaseGrantRequest { ttl, id });
    }
    // Ids repeat, so that some grants name a lease that is there.
    let id = random.pick(&[1, 2, 3, 4, 5, -3, i64::MAX]);
    Request::Grant(LeaseGrantRequest { ttl: random.between(3_000, 9_000), id })
}

/// etcd grants no longer lease.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;
