//! What a server says about users, roles and permissions, and about changes that have nothing to show but that they were made.

use tombolo_proto::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse, AuthUserListResponse,
    ResponseHeader,
};

/// An answer of the `Auth` service, as far as it is shown.
#[derive(Debug)]
pub(crate) enum AuthAnswer<'a> {
    Status(&'a AuthStatusResponse),
    User { name: &'a str, response: &'a AuthUserGetResponse },
    Users(&'a AuthUserListResponse),
    Role { name: &'a str, response: &'a AuthRoleGetResponse },
    Roles(&'a AuthRoleListResponse),
}

/// A change that was made: the answer has a header alone.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    pub(crate) header: &'a Option<ResponseHeader>,
    /// How a person is told.
    pub(crate) said: String,
}
