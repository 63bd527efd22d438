//! Rows of `tombolo.v1`: the operator's.

use tombolo_proto::{
    Method,
    v1::{
        BackupSaveRequest, ImportBegin, ImportRunRequest, ImportStatusRequest, MeshEnterRequest, MeshInviteRequest,
        MeshLeaseHeirRequest, MeshMembersRequest, MeshParkRequest, MeshRemoveRequest, MeshRepairRequest,
        MeshStatusRequest, MeshUnparkRequest, import_run_request::Step,
    },
};

use super::{Needs, Shape};

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    let shape = match method {
        Method::BackupSave => Shape::new("now", &BackupSaveRequest {}, Needs::Root),
        Method::ImportRun => {
            let step = Step::Begin(ImportBegin { dry_run: true, ..Default::default() });
            Shape::new("of nothing", &ImportRunRequest { step: Some(step) }, Needs::Root)
        }
        Method::ImportStatus => Shape::new("now", &ImportStatusRequest {}, Needs::Root),
        Method::MeshInvite => Shape::new("somebody", &MeshInviteRequest { ttl_s: 60 }, Needs::Root),
        Method::MeshEnter => Shape::new("nothing", &MeshEnterRequest::default(), Needs::Root),
        Method::MeshLeaseHeir => Shape::new("nobody's", &MeshLeaseHeirRequest { from: 1, to: 1 }, Needs::Root),
        Method::MeshPark => Shape::new("a stranger", &MeshParkRequest { member: 1 }, Needs::Root),
        Method::MeshRemove => Shape::new("a stranger", &MeshRemoveRequest { member: 1 }, Needs::Root),
        Method::MeshRepair => Shape::new("from a stranger", &MeshRepairRequest { from: 1, dry_run: true }, Needs::Root),
        Method::MeshUnpark => Shape::new("a stranger", &MeshUnparkRequest { member: 1 }, Needs::Root),
        Method::MeshMembers => Shape::new("all", &MeshMembersRequest {}, Needs::Root),
        _ => Shape::new("now", &MeshStatusRequest {}, Needs::Root),
    };
    vec![shape]
}
