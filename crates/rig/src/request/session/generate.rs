//! Random calls of `Lock` and `Election`, and of the leases that they use.
//!
//! These leases have no other keys, and no permission begins or ends among the names: so whoever may use one name may use all of them, and what is known
//! of etcd's judgement of leases changes nothing here.

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest},
    v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};

use super::SessionRequest;
use crate::request::{Request, generate::Generator, world::SESSION_LEASES};

const LOCKS: [&str; 2] = ["l1", "l2"];
const ELECTIONS: [&str; 2] = ["e1", "e2"];

/// Any of the calls.
pub(in crate::request) fn request(generator: &mut Generator) -> Request {
    let choice = generator.random.below(20);
    let ttl = generator.random.between(3_000, 9_000);
    let id = generator.random.pick(&SESSION_LEASES);
    let request = match choice {
        0..3 => return Request::Grant(LeaseGrantRequest { id, ttl }),
        3 if generator.random.chance(50) => return Request::Revoke(LeaseRevokeRequest { id }),
        3..9 => lock(generator),
        9..11 => SessionRequest::Unlock(UnlockRequest { key: locked(generator) }),
        11..15 => campaign(generator),
        15 => SessionRequest::Leader(LeaderRequest { name: election(generator) }),
        16..18 => {
            let value = generator.value();
            SessionRequest::Proclaim(ProclaimRequest { leader: leader(generator), value })
        }
        _ => SessionRequest::Resign(ResignRequest { leader: leader(generator) }),
    };
    Request::Session(request)
}

fn lock(generator: &mut Generator) -> SessionRequest {
    let name = Bytes::from_static(generator.random.pick(&LOCKS).as_bytes());
    let holder = generator.world.locks.get(&name).copied();
    SessionRequest::Lock(LockRequest { lease: lease(generator, holder), name })
}

fn campaign(generator: &mut Generator) -> SessionRequest {
    let name = election(generator);
    let holder = generator.world.leaders.get(&name).map(|leader| leader.lease);
    let (lease, value) = (lease(generator, holder), generator.value());
    SessionRequest::Campaign(CampaignRequest { name, lease, value })
}

/// The holder's, where there is one.
fn lease(generator: &mut Generator, holder: Option<i64>) -> i64 {
    match holder {
        Some(holder) => holder,
        None if generator.random.chance(10) => 404,
        None => generator.random.pick(&SESSION_LEASES),
    }
}

fn election(generator: &mut Generator) -> Bytes {
    Bytes::from_static(generator.random.pick(&ELECTIONS).as_bytes())
}

/// The key of a lock, or one that may be anything.
fn locked(generator: &mut Generator) -> Bytes {
    let name = generator.random.pick(&LOCKS);
    match generator.world.locks.get(name.as_bytes()) {
        Some(lease) if generator.random.chance(90) => format!("{name}/{lease:x}").into(),
        _ => generator.key(),
    }
}

/// Who leads, or something not quite like it. Never of the revision 0, which a key has that is not there: proclaiming would make it.
fn leader(generator: &mut Generator) -> Option<LeaderKey> {
    let name = election(generator);
    let known = generator.world.leaders.get(&name).cloned();
    let known = known.unwrap_or_else(|| LeaderKey { key: "e/b".into(), rev: 1 << 30, name, lease: 404 });
    match generator.random.below(10) {
        0 => None,
        1 => Some(LeaderKey { rev: known.rev + 1, ..known }),
        2 => Some(LeaderKey { key: "e1/0".into(), ..known }),
        3 => Some(LeaderKey { lease: 404, ..known }),
        _ => Some(known),
    }
}
