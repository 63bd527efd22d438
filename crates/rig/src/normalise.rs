//! Everything in which two right servers may differ, and nothing else. Each rule says why it is needed.
//!
//! A rule replaces what may differ by a constant *after* checking what must still hold of it; what fails the check is
//! left as it is, and so shows up as a difference.

use tombolo_proto::etcdserverpb::{
    ResponseHeader, TxnRequest, TxnResponse, request_op::Request as Op, response_op::Response,
};

use crate::request::{Answer, Request};

mod auth;
pub(crate) mod guard;
mod operator;
mod ties;

/// Applies every rule to one answer.
pub fn normalise(request: &Request, answer: &mut Answer) {
    // Who asks changes nothing in what may differ.
    if let Request::As(_, request) = request {
        return normalise(request, answer);
    }
    match answer {
        Answer::Auth(answer) => auth::auth(answer),
        Answer::Operator(answer) => operator::operator(request, answer),
        Answer::Session(answer) => header(answer.header_mut()),
        Answer::Range(response) => {
            header(&mut response.header);
            if let Request::Range(request) = request {
                ties::ties(request, response);
            }
        }
        Answer::Put(response) => header(&mut response.header),
        Answer::Delete(response) => header(&mut response.header),
        Answer::Txn(response) => {
            if let Request::Txn(request) = request {
                txn(request, response);
            }
        }
        Answer::Compact(response) => header(&mut response.header),
        Answer::Grant(response) => {
            header(&mut response.header);
            response.id = chosen_lease(request, response.id);
        }
        Answer::Revoke(response) => header(&mut response.header),
        Answer::TimeToLive(response) => {
            header(&mut response.header);
            response.ttl = remaining(response.ttl, response.granted_ttl);
            // The keys of a lease are a set: etcd lists them in the order of a hash table.
            response.keys.sort_unstable();
        }
        Answer::KeepAlive(response) => header(&mut response.header),
        Answer::Leases(response) => {
            header(&mut response.header);
            // So are the leases: etcd orders them by expiry, which depends on the time of day.
            response.leases.sort_unstable_by_key(|lease| lease.id);
        }
        Answer::Refused { code, message } => auth::refusal(code, message),
    }
}

/// Who answered, and in which term, is a server's own. Revisions are compared.
pub fn header(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}

fn txn(request: &TxnRequest, response: &mut TxnResponse) {
    header(&mut response.header);
    let asked = if response.succeeded { &request.success } else { &request.failure };
    for (asked, op) in asked.iter().zip(&mut response.responses) {
        match (&asked.request, &mut op.response) {
            (Some(Op::RequestRange(asked)), Some(Response::ResponseRange(range))) => {
                header(&mut range.header);
                ties::ties(asked, range);
            }
            (_, Some(Response::ResponsePut(put))) => header(&mut put.header),
            (_, Some(Response::ResponseDeleteRange(delete))) => header(&mut delete.header),
            (Some(Op::RequestTxn(asked)), Some(Response::ResponseTxn(nested))) => txn(asked, nested),
            _ => (),
        }
    }
}

/// A lease id that the server chose is any positive number.
const fn chosen_lease(request: &Request, id: i64) -> i64 {
    match request {
        Request::Grant(grant) | Request::GrantAndRevoke(grant) if grant.id == 0 && id > 0 => 0,
        _ => id,
    }
}

/// Remaining time depends on when one asks: anything up to five minutes below the granted time will do.
const fn remaining(ttl: i64, granted: i64) -> i64 {
    if ttl <= granted && ttl > granted - 300 { granted } else { ttl }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, RangeRequest,
        RangeResponse, ResponseHeader,
    };

    use super::normalise;
    use crate::request::{Answer, Request};

    #[test]
    fn revisions_survive_normalising() {
        let answer = |revision| {
            let header = ResponseHeader { cluster_id: 5, member_id: 6, raft_term: 7, revision };
            let mut answer = Answer::Range(RangeResponse { header: Some(header), ..Default::default() });
            normalise(&Request::Range(RangeRequest::default()), &mut answer);
            answer
        };
        assert_ne!(answer(3), answer(4));
        assert_eq!(answer(3).header().map(|header| header.cluster_id), Some(0));
    }

    #[test]
    fn a_lease_id_is_free_only_where_the_server_chose_it() {
        let id_after = |asked, answered| {
            let request = Request::Grant(LeaseGrantRequest { ttl: 9, id: asked });
            let mut answer = Answer::Grant(LeaseGrantResponse { id: answered, ..Default::default() });
            normalise(&request, &mut answer);
            answer
        };
        assert_eq!(id_after(0, 11), id_after(0, 12));
        assert_ne!(id_after(0, 11), id_after(0, -12));
        assert_ne!(id_after(3, 3), id_after(3, 4));
    }

    #[test]
    fn remaining_time_is_free_only_within_reason() {
        let after = |ttl| {
            let request = Request::TimeToLive(LeaseTimeToLiveRequest { id: 1, keys: false });
            let response = LeaseTimeToLiveResponse { ttl, granted_ttl: 5_000, ..Default::default() };
            let mut answer = Answer::TimeToLive(response);
            normalise(&request, &mut answer);
            answer
        };
        assert_eq!(after(5_000), after(4_990));
        assert_ne!(after(5_000), after(5_001));
        assert_ne!(after(5_000), after(-1));
    }
}
