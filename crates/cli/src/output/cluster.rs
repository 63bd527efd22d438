//! What a server says about changes of its members, and the hash of its history.

use tombolo_client::Endpoint;
use tombolo_proto::etcdserverpb::{HashKvResponse, Member, ResponseHeader};

/// A change of the members, and who they are after it.
#[derive(Debug)]
pub(crate) struct MemberChange<'a> {
    pub(crate) header: &'a Option<ResponseHeader>,
    /// The member that was added.
    pub(crate) added: Option<&'a Member>,
    pub(crate) members: &'a [Member],
    /// How a person is told.
    pub(crate) said: String,
}

/// One line of `endpoint hashkv`.
#[derive(Debug)]
pub(crate) struct EndpointHash {
    pub(crate) endpoint: Endpoint,
    pub(crate) response: HashKvResponse,
}
