//! Random calls of `Cluster` and `Maintenance`.
//!
//! No member that could be added is, none is told a new address, and no downgrade is begun: a real etcd would wait for the one, move to the other,
//! and forget to answer to the third. What Tombolo says to each has tests of its own.

use tombolo_proto::etcdserverpb::{
    AlarmRequest, AlarmType, DefragmentRequest, DowngradeRequest, HashKvRequest, HashRequest, MemberAddRequest,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest,
    StatusRequest, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
};

use super::{OWN, OWN_URL, OperatorRequest};
use crate::{
    random::Random,
    request::{
        Request,
        auth::generate::Dialect,
        generate::Generator,
        world::{Alarm, World},
    },
};

const IDS: [u64; 4] = [OWN, 77, 1, 0];
/// Lists of URLs none of which can be a new member's.
const URLS: [&[&str]; 6] =
    [&[], &["127.0.0.1:1"], &["http://127.0.0.1"], &["http://127.0.0.1:1/a"], &["http://127.0.0.1:1", "x"], &[OWN_URL]];
const VERSIONS: [&str; 6] = ["", "3", "x.y", "3.5.0", "3.6.0", "3.4.0"];

/// Any of the calls.
pub(in crate::request) fn request(generator: &mut Generator, dialect: Dialect) -> Request {
    let World { is_enabled, .. } = generator.world;
    Request::Operator(match generator.random.below(16) {
        0 | 1 => member(&mut generator.random),
        // An alarm takes the place of etcd's judgement of who may do what, so none is raised while that is on.
        2..5 if !is_enabled => alarm(generator, dialect),
        5 => OperatorRequest::MoveLeader(MoveLeaderRequest { target_id: generator.random.pick(&IDS) }),
        _ => look(generator, dialect),
    })
}

/// One of the calls that change nothing.
pub(in crate::request) fn look(generator: &mut Generator, dialect: Dialect) -> OperatorRequest {
    let hash_revision = hash_revision(generator);
    let random = &mut generator.random;
    match random.below(10) {
        0 => OperatorRequest::MemberList(MemberListRequest { linearizable: random.chance(50) }),
        1 => OperatorRequest::Status(StatusRequest {}),
        2 => OperatorRequest::Defragment(DefragmentRequest {}),
        3 => OperatorRequest::Hash(HashRequest {}),
        4 if dialect == Dialect::Current => {
            let action = random.pick(&[DowngradeAction::Validate as i32, DowngradeAction::Cancel as i32, 9]);
            OperatorRequest::Downgrade(DowngradeRequest { action, version: random.pick(&VERSIONS).to_owned() })
        }
        5 => {
            let alarm = random.pick(&[AlarmType::None, AlarmType::Nospace, AlarmType::Corrupt]).into();
            let member_id = random.pick(&IDS);
            OperatorRequest::Alarm(AlarmRequest { action: AlarmAction::Get.into(), member_id, alarm })
        }
        _ => OperatorRequest::HashKv(HashKvRequest { revision: hash_revision }),
    }
}

/// The end of an alarm that was raised.
pub(in crate::request) fn disarm(alarm: Alarm) -> Request {
    let Alarm { member_id, kind } = alarm;
    let request = AlarmRequest { action: AlarmAction::Deactivate.into(), member_id, alarm: kind };
    Request::Operator(OperatorRequest::Alarm(request))
}

fn alarm(generator: &mut Generator, dialect: Dialect) -> OperatorRequest {
    let random = &mut generator.random;
    let action = random.pick(&[AlarmAction::Activate, AlarmAction::Activate, AlarmAction::Deactivate]);
    // An old etcd raises an alarm of no kind.
    let kinds: &[AlarmType] = match dialect {
        Dialect::Old => &[AlarmType::Nospace, AlarmType::Corrupt],
        Dialect::Current => &[AlarmType::Nospace, AlarmType::Corrupt, AlarmType::None],
    };
    let (alarm, member_id) = (random.pick(kinds).into(), random.pick(&IDS));
    // An etcd with two kinds of alarm forgets the one when the other ends.
    let alarm = generator.world.alarms.last().map_or(alarm, |raised| raised.kind);
    OperatorRequest::Alarm(AlarmRequest { action: action.into(), member_id, alarm })
}

fn member(random: &mut Random) -> OperatorRequest {
    let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
    let id = random.pick(&IDS);
    match random.below(4) {
        0 => OperatorRequest::MemberAdd(MemberAddRequest {
            peer_ur_ls: urls(random.pick(&URLS)),
            is_learner: random.chance(30),
        }),
        1 => OperatorRequest::MemberRemove(MemberRemoveRequest { id }),
        2 => OperatorRequest::MemberPromote(MemberPromoteRequest { id }),
        _ => OperatorRequest::MemberUpdate(MemberUpdateRequest { id, peer_ur_ls: urls(&[OWN_URL]) }),
    }
}

/// Any revision but the last compacted one, of which etcd's releases make different hashes.
fn hash_revision(generator: &mut Generator) -> i64 {
    let revision = match generator.random.chance(30) {
        true => generator.random.between(1, generator.world.revision),
        false => generator.revision(),
    };
    if revision == generator.world.compacted { 0 } else { revision }
}
