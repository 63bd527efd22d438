//! Rows of `Cluster` and `Maintenance`. What would take a member away from a real etcd names one that is not there.

use tombolo_proto::{
    Method,
    etcdserverpb::{
        AlarmRequest, AlarmType, DefragmentRequest, DowngradeRequest, HashKvRequest, HashRequest, MemberAddRequest,
        MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest,
        SnapshotRequest, StatusRequest, alarm_request::AlarmAction,
    },
};

use super::{Needs, Shape};
use crate::roles::world::PEER_URL;

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    let urls = || vec![PEER_URL.to_owned()];
    let alarm =
        |action: AlarmAction| AlarmRequest { action: action.into(), member_id: 0, alarm: AlarmType::Nospace.into() };
    let shape = match method {
        // Of the members there is one with these URLs already.
        Method::ClusterMemberAdd => {
            Shape::new("again", &MemberAddRequest { peer_ur_ls: urls(), is_learner: false }, Needs::Root)
        }
        Method::ClusterMemberList => Shape::new("all", &MemberListRequest { linearizable: true }, Needs::User),
        Method::ClusterMemberPromote => Shape::new("a stranger", &MemberPromoteRequest { id: 1 }, Needs::Root),
        Method::ClusterMemberRemove => Shape::new("a stranger", &MemberRemoveRequest { id: 1 }, Needs::Root),
        Method::ClusterMemberUpdate => {
            Shape::new("a stranger", &MemberUpdateRequest { id: 1, peer_ur_ls: urls() }, Needs::Root)
        }
        Method::MaintenanceAlarm => {
            return vec![
                Shape::new("to see", &alarm(AlarmAction::Get), Needs::User),
                Shape::new("to end", &alarm(AlarmAction::Deactivate), Needs::Root),
                Shape::new("that nobody knows", &AlarmRequest { action: 9, ..alarm(AlarmAction::Get) }, Needs::Root),
            ];
        }
        Method::MaintenanceDefragment => Shape::new("now", &DefragmentRequest {}, Needs::Root),
        Method::MaintenanceDowngrade => {
            Shape::new("to nothing", &DowngradeRequest { action: 0, version: "3.4.0".into() }, Needs::Root)
        }
        Method::MaintenanceHash => Shape::new("now", &HashRequest {}, Needs::Root),
        Method::MaintenanceHashKv => Shape::new("now", &HashKvRequest { revision: 0 }, Needs::Root),
        Method::MaintenanceMoveLeader => Shape::new("to a stranger", &MoveLeaderRequest { target_id: 1 }, Needs::Root),
        Method::MaintenanceSnapshot => Shape::new("now", &SnapshotRequest {}, Needs::Root),
        _ => Shape::new("now", &StatusRequest {}, Needs::User),
    };
    vec![shape]
}
