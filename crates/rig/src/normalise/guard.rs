//! Calls that a reference lets through unguarded, and Tombolo, as newer releases of etcd, does not.
//!
//! Only calls that look are made by somebody who might not: so that the two servers stay equal whatever they answer. Who may make which call is
//! the matter of the role matrix; here it only must not be mistaken for a difference.

use tombolo_proto::Method;

use crate::request::{Answer, Request, operator::OperatorAnswer};

/// Takes from an answer what an old reference had not yet: `Alarm` has a header since etcd 3.5.
pub(crate) const fn overlook(expected: &Answer, got: &mut Answer) {
    if let (Answer::Operator(OperatorAnswer::Alarm(expected)), Answer::Operator(OperatorAnswer::Alarm(got))) =
        (expected, got)
        && expected.header.is_none()
    {
        got.header = None;
    }
}

/// Whether these two answers differ in nothing but that.
pub(crate) fn is_known(request: &Request, expected: &Answer, got: &Answer) -> bool {
    is_unguarded(request.method()) && !is_judgement(expected) && is_judgement(got)
}

const fn is_unguarded(method: Method) -> bool {
    matches!(
        method,
        Method::ClusterMemberList
            | Method::LeaseKeepAlive
            | Method::LeaseLeases
            | Method::LeaseTimeToLive
            | Method::MaintenanceAlarm
            | Method::MaintenanceDefragment
            | Method::MaintenanceDowngrade
            | Method::MaintenanceHash
            | Method::MaintenanceHashKv
            | Method::MaintenanceMoveLeader
            | Method::MaintenanceStatus
    )
}

/// The texts by which a caller is refused.
fn is_judgement(answer: &Answer) -> bool {
    let texts = [
        "etcdserver: permission denied",
        "etcdserver: user name is empty",
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
    ];
    matches!(answer, Answer::Refused { message, .. } if texts.contains(&message.as_str()))
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::{LeaseLeasesResponse, PutRequest, PutResponse};

    use super::is_known;
    use crate::request::{Answer, Request};

    fn refused(message: &str) -> Answer {
        Answer::Refused { code: "PermissionDenied".to_owned(), message: message.to_owned() }
    }

    #[test]
    fn only_what_was_not_guarded_may_be_refused_and_never_the_other_way() {
        let (listed, put) = (Answer::Leases(LeaseLeasesResponse::default()), Answer::Put(PutResponse::default()));
        let denied = refused("etcdserver: permission denied");
        let request = Request::Put(PutRequest::default());
        assert!(is_known(&Request::Leases, &listed, &denied));
        assert!(!is_known(&Request::Leases, &denied, &listed));
        assert!(!is_known(&Request::Leases, &listed, &refused("etcdserver: no leader")));
        assert!(!is_known(&request, &put, &denied));
    }
}
