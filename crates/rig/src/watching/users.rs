//! Who watches in a run with users: `root`, two users with random rights, and nobody.
//!
//! The rights stay as they are while there are watchers: a real etcd goes on telling who has lost its right, and Tombolo does not.

use bytes::Bytes;
use tombolo_proto::{
    authpb::Permission,
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, WatchCreateRequest,
    },
};

use super::SENTINEL;
use crate::request::{
    Request,
    auth::{AuthRequest, Sender},
    generate::Generator,
};

const ROOT: &str = "root";
const USERS: [&str; 2] = ["ann", "bob"];
const PASSWORD: &str = "p";

/// Whose a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watcher {
    /// There are no users.
    Anybody,
    /// May see everything.
    Root,
    /// May see what its role may see, and what the rig itself writes.
    User(&'static str),
    /// Has no token.
    Nobody,
}

/// The streams of a run with users.
pub(super) const WATCHERS: [Watcher; 5] =
    [Watcher::Root, Watcher::User(USERS[0]), Watcher::User(USERS[1]), Watcher::Nobody, Watcher::Root];

impl Watcher {
    pub(super) fn sender(self) -> Option<Sender> {
        match self {
            Self::Anybody | Self::Nobody => None,
            Self::Root => Some(Sender::User(ROOT.to_owned())),
            Self::User(name) => Some(Sender::User(name.to_owned())),
        }
    }

    /// Whether it may see what the rig itself writes.
    pub(super) fn sees_sentinels(self) -> bool {
        self != Self::Nobody
    }

    /// The same watch, if need be without what old etcds judge by mistake: a range to the end of all keys was taken for one key there, and a range
    /// that ends before it begins has nothing in it to judge. `id` is one that no other watcher of the stream has: when etcd 3.5.1 refuses a watcher, it
    /// tells no more to the one with the same id.
    pub(super) fn fit(self, mut request: WatchCreateRequest, id: i64) -> WatchCreateRequest {
        if matches!(self, Self::Anybody | Self::Root) {
            return request;
        }
        if request.range_end.as_ref() == b"\0" || request.range_end <= request.key {
            request.range_end = Bytes::new();
        }
        request.watch_id = id;
        request
    }
}

/// As `root`.
pub(super) fn by_root(request: Request) -> Request {
    Request::As(Sender::User(ROOT.to_owned()), Box::new(request))
}

/// What makes the users, gives them rights and has everybody log in.
pub(super) fn requests(generator: &mut Generator) -> Vec<Request> {
    let mut requests = Vec::new();
    for name in [ROOT].iter().chain(&USERS) {
        let name = || (*name).to_owned();
        let user = AuthUserAddRequest { name: name(), password: PASSWORD.to_owned(), ..Default::default() };
        requests.push(AuthRequest::UserAdd(user));
        requests.push(AuthRequest::RoleAdd(AuthRoleAddRequest { name: name() }));
        requests.push(AuthRequest::UserGrantRole(AuthUserGrantRoleRequest { user: name(), role: name() }));
    }
    for role in USERS {
        let name = || role.to_owned();
        let sentinel = Permission { perm_type: 0, key: SENTINEL, range_end: Bytes::new() };
        requests.push(AuthRequest::RoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: name(),
            perm: Some(sentinel),
        }));
        for _ in 0..=generator.random.below(5) {
            let perm = Some(permission(generator));
            requests.push(AuthRequest::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: name(), perm }));
        }
    }
    requests.push(AuthRequest::Enable(AuthEnableRequest {}));
    for name in [ROOT].iter().chain(&USERS) {
        let login = AuthenticateRequest { name: (*name).to_owned(), password: PASSWORD.to_owned() };
        requests.push(AuthRequest::Authenticate(login));
    }
    requests.into_iter().map(Request::Auth).collect()
}

fn permission(generator: &mut Generator) -> Permission {
    let (mut key, mut range_end) = generator.interval();
    if key.is_empty() {
        key = Bytes::from_static(b"b");
    }
    if range_end.as_ref() != b"\0" && range_end <= key {
        range_end = Bytes::new();
    }
    Permission { perm_type: generator.random.pick(&[0, 0, 0, 1, 2]), key, range_end }
}
