//! What may differ between two servers of which the same is asked by an operator.

use tombolo_proto::etcdserverpb::{HashKvResponse, Member, MemberListResponse, StatusResponse};

use super::header;
use crate::request::{
    Request,
    operator::{OWN, OperatorAnswer, OperatorRequest},
};

pub(super) fn operator(request: &Request, answer: &mut OperatorAnswer) {
    let own = answer.header().map_or(0, |header| header.member_id);
    match answer {
        OperatorAnswer::MemberList(MemberListResponse { members, .. }) => own_member(members, own),
        OperatorAnswer::MemberUpdate(response) => own_member(&mut response.members, own),
        // They are a set, told in the order of a hash table.
        OperatorAnswer::Alarm(response) => {
            response.alarms.sort_unstable_by_key(|alarm| (alarm.member_id, alarm.alarm));
        }
        OperatorAnswer::Status(response) => status(response, own),
        // What is hashed is all that is on disk, in each server's own form.
        OperatorAnswer::Hash(response) => response.hash = 0,
        OperatorAnswer::HashKv(response) => hash_revision(request, response),
        OperatorAnswer::Downgrade(_)
        | OperatorAnswer::Defragment(_)
        | OperatorAnswer::MoveLeader(_)
        | OperatorAnswer::MemberAdd(_)
        | OperatorAnswer::MemberRemove(_)
        | OperatorAnswer::MemberPromote(_) => (),
    }
    header(answer.header_mut());
}

/// Ids and addresses are a server's own; that there are any, and that the id is the one in the header, is not.
fn own_member(members: &mut [Member], own: u64) {
    for member in members {
        if member.id == own {
            member.id = OWN;
        }
        for url in member.peer_ur_ls.iter_mut().chain(&mut member.client_ur_ls) {
            if url.starts_with("http://127.0.0.1:") {
                "http://127.0.0.1".clone_into(url);
            }
        }
    }
}

/// Sizes and counts of a log are a server's own, and so is the release; old ones have fewer fields.
fn status(response: &mut StatusResponse, own: u64) {
    if response.leader == own {
        response.leader = OWN;
    }
    if response.db_size > 0 && response.db_size_in_use > 0 {
        (response.db_size, response.db_size_in_use) = (1, 1);
    }
    if response.version.starts_with("3.") {
        "3".clone_into(&mut response.version);
    }
    (response.raft_index, response.raft_term, response.raft_applied_index) = (0, 0, 0);
    response.storage_version.clear();
    (response.db_size_quota, response.downgrade_info) = (0, None);
    let own = format!("memberID:{own} ");
    for error in &mut response.errors {
        *error = error.replace(&own, "memberID:own ");
    }
    response.errors.sort_unstable();
}

/// Which revision was hashed is told by newer releases alone.
fn hash_revision(request: &Request, response: &mut HashKvResponse) {
    let Request::Operator(OperatorRequest::HashKv(request)) = request else { return };
    let current = response.header.as_ref().map_or(0, |header| header.revision);
    let hashed = if request.revision == 0 { current } else { request.revision };
    if response.hash_revision == hashed {
        response.hash_revision = 0;
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::{HashKvRequest, HashKvResponse, ResponseHeader, StatusRequest, StatusResponse};

    use super::operator;
    use crate::request::{
        Request,
        operator::{OperatorAnswer, OperatorRequest},
    };

    fn header() -> Option<ResponseHeader> {
        Some(ResponseHeader { member_id: 5, revision: 9, ..Default::default() })
    }

    #[test]
    fn who_leads_is_free_only_where_it_is_the_server_itself() {
        let of = |member_id, leader| {
            let header = Some(ResponseHeader { member_id, ..Default::default() });
            let mut answer = OperatorAnswer::Status(StatusResponse { header, leader, ..Default::default() });
            operator(&Request::Operator(OperatorRequest::Status(StatusRequest {})), &mut answer);
            answer
        };
        assert_eq!(of(5, 5), of(6, 6));
        assert_ne!(of(5, 5), of(6, 5));
    }

    #[test]
    fn the_hash_of_a_revision_counts_and_the_word_for_the_revision_is_free_if_it_is_right() {
        let of = |hash, hash_revision| {
            let mut answer =
                OperatorAnswer::HashKv(HashKvResponse { header: header(), hash, hash_revision, ..Default::default() });
            let request = HashKvRequest { revision: 7 };
            operator(&Request::Operator(OperatorRequest::HashKv(request)), &mut answer);
            answer
        };
        assert_eq!(of(1, 0), of(1, 7));
        assert_ne!(of(1, 0), of(1, 8));
        assert_ne!(of(1, 0), of(2, 0));
    }
}
