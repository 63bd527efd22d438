//! Rows of `Lock` and `Election`: names among the secret keys.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};

use super::{Needs, Shape};
use crate::roles::world::{ELECTION, LEASE, LED, LOCK};

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    let leader = || Some(LeaderKey { name: ELECTION.into(), key: LED.into(), rev: 1, lease: LEASE });
    match method {
        Method::Lock => vec![
            Shape::new("under a lease", &LockRequest { name: LOCK.into(), lease: LEASE }, Needs::ReadWrite),
            Shape::new("under a new lease", &LockRequest { name: LOCK.into(), lease: 0 }, Needs::ReadWrite),
        ],
        Method::LockUnlock => {
            vec![Shape::new("of a key", &UnlockRequest { key: format!("{LOCK}/{LEASE:x}").into() }, Needs::Write)]
        }
        Method::ElectionCampaign => {
            let (name, value) = (Bytes::from(ELECTION), Bytes::from("me"));
            vec![Shape::new("under a lease", &CampaignRequest { name, lease: LEASE, value }, Needs::ReadWrite)]
        }
        Method::ElectionProclaim => {
            let request = ProclaimRequest { leader: leader(), value: "me".into() };
            vec![Shape::new("of a stranger", &request, Needs::ReadWrite)]
        }
        Method::ElectionResign => {
            vec![Shape::new("of a stranger", &ResignRequest { leader: leader() }, Needs::ReadWrite)]
        }
        _ => vec![Shape::new("of a name", &LeaderRequest { name: ELECTION.into() }, Needs::Read)],
    }
}
