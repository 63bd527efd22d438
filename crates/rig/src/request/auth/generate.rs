//! Random calls of `Auth`, and of `KV` by whoever has rights and whoever has none.
//!
//! A few names, passwords and ranges, so that most calls meet something. Root keeps a password, or nobody could go on. What releases of etcd do
//! differently is left out where the reference is an old one; what etcd has since mended is left out altogether.

use bytes::Bytes;
use tombolo_proto::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest,
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest, Compare,
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op,
    },
};

use super::{AuthRequest, Sender};
use crate::{
    random::Random,
    request::{Request, txn, world::World},
};

/// What an old reference does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// etcd 3.4: no `AuthStatus`, no hashes from clients, another meaning of an empty new password.
    Old,
    /// etcd 3.5.
    Current,
}

const ROOT: &str = "root";
const PASSWORDS: [&str; 3] = ["p", "q", ""];
const KEYS: [&str; 5] = ["a", "a/1", "b", "d", "m"];
const ENDS: [&str; 6] = ["", "", "\0", "b", "e", "z"];
/// Up to so many permissions stay in order.
const PERMISSIONS_MAX: usize = 6;
/// A hash of `p`.
const HASH: &str = "JDJiJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXVkTWVnTWJQTjM3TWJwZEVmQXRQNjZ3MXowUkJDdExH";

/// The next request of a run.
pub(in crate::request) fn request(random: &mut Random, dialect: Dialect, world: &World) -> Request {
    let is_enabled = world.is_enabled;
    let request = match random.below(100) {
        0..30 => kv(random),
        30..46 => Request::Auth(AuthRequest::Authenticate(login(random))),
        46..50 => Request::Auth(AuthRequest::Enable(AuthEnableRequest {})),
        50..51 => Request::Auth(AuthRequest::Disable(AuthDisableRequest {})),
        51..54 => status(dialect, is_enabled),
        54..72 => Request::Auth(users(random, dialect)),
        _ => Request::Auth(roles(random, dialect, world)),
    };
    // The releases at hand look at tokens even while nothing is judged, and at those that come with a login; later ones do not.
    let is_login = matches!(request, Request::Auth(AuthRequest::Authenticate(_)));
    let has_sender = is_enabled && !is_login && !matches!(request, Request::As(..));
    match sender(random).filter(|_| has_sender) {
        Some(sender) => Request::As(sender, Box::new(request)),
        None => request,
    }
}

/// Whether somebody else may ask for the status has changed between releases.
fn status(dialect: Dialect, is_enabled: bool) -> Request {
    let request = match dialect {
        Dialect::Old => AuthRequest::UserList(AuthUserListRequest {}),
        Dialect::Current => AuthRequest::Status(AuthStatusRequest {}),
    };
    let request = Request::Auth(request);
    if is_enabled { Request::As(Sender::User(ROOT.to_owned()), Box::new(request)) } else { request }
}

fn sender(random: &mut Random) -> Option<Sender> {
    match random.below(20) {
        0..9 => Some(Sender::User(ROOT.to_owned())),
        9..15 => Some(Sender::User(user(random))),
        15 => Some(Sender::Stranger(random.pick(&["x", "", "aaaaaaaaaaaaaaaa.1", "a.b.c", "Bearer x.1"]))),
        _ => None,
    }
}

/// Mostly with the password that most have, for otherwise nobody would get far.
fn login(random: &mut Random) -> AuthenticateRequest {
    let name = user(random);
    let password = if random.chance(if name == ROOT { 95 } else { 60 }) { "p" } else { random.pick(&PASSWORDS) };
    AuthenticateRequest { name, password: password.to_owned() }
}

fn user(random: &mut Random) -> String {
    random.pick(&[ROOT, ROOT, ROOT, "ann", "ann", "bob", "bob", "cat", ""]).to_owned()
}

fn role(random: &mut Random) -> String {
    random.pick(&[ROOT, ROOT, "r", "r", "s", "s", "t", ""]).to_owned()
}

fn key(random: &mut Random) -> Bytes {
    Bytes::from_static(random.pick(&KEYS).as_bytes())
}

/// A key and an end beyond it: etcd has stopped to take other permissions, and other ranges have nothing in them.
fn interval(random: &mut Random) -> (Bytes, Bytes) {
    let (key, end) = (key(random), random.pick(&ENDS).as_bytes());
    let end = if end.len() == 1 && end[0] != 0 && end <= &key[..] { b"" } else { end };
    (key, Bytes::from_static(end))
}

fn users(random: &mut Random, dialect: Dialect) -> AuthRequest {
    let name = user(random);
    match random.below(10) {
        0..3 => {
            let no_password = name != ROOT && random.chance(20);
            let options = random.chance(70).then_some(UserAddOptions { no_password });
            let password = if name == ROOT || random.chance(50) { "p" } else { random.pick(&PASSWORDS) }.to_owned();
            AuthRequest::UserAdd(AuthUserAddRequest { name, password, options, ..Default::default() })
        }
        3 => AuthRequest::UserDelete(AuthUserDeleteRequest { name }),
        4 => AuthRequest::UserChangePassword(password(random, name, dialect)),
        5..7 => AuthRequest::UserGrantRole(AuthUserGrantRoleRequest { user: name, role: role(random) }),
        7 => AuthRequest::UserRevokeRole(AuthUserRevokeRoleRequest { name, role: role(random) }),
        8 => AuthRequest::UserGet(AuthUserGetRequest { name }),
        _ => AuthRequest::UserList(AuthUserListRequest {}),
    }
}

fn password(random: &mut Random, name: String, dialect: Dialect) -> AuthUserChangePasswordRequest {
    let mut request = AuthUserChangePasswordRequest { name, password: "p".to_owned(), ..Default::default() };
    if dialect == Dialect::Current && request.name != ROOT && random.chance(60) {
        request.password = random.pick(&["", "q"]).to_owned();
        request.hashed_password = random.pick(&["", HASH, "no base64", "aGFzaA=="]).to_owned();
    }
    request
}

fn roles(random: &mut Random, dialect: Dialect, world: &World) -> AuthRequest {
    let role = role(random);
    let is_full = world.permissions.get(&role).is_some_and(|given| *given >= PERMISSIONS_MAX);
    match random.below(10) {
        0..2 => AuthRequest::RoleAdd(AuthRoleAddRequest { name: role }),
        2 if random.chance(60) => AuthRequest::RoleDelete(AuthRoleDeleteRequest { role }),
        // The sort that etcd uses keeps the order of what is equal only in short lists.
        2..6 if is_full => AuthRequest::RoleDelete(AuthRoleDeleteRequest { role }),
        2..6 => {
            let (key, range_end) = interval(random);
            let perm_type = random.pick(&[0, 1, 2, 2, 7]);
            // An old etcd ends with a panic when there is no permission in the request.
            let perm =
                (dialect == Dialect::Old || random.chance(95)).then_some(Permission { perm_type, key, range_end });
            AuthRequest::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: role, perm })
        }
        6..8 => {
            let (key, range_end) = interval(random);
            AuthRequest::RoleRevokePermission(AuthRoleRevokePermissionRequest { role, key, range_end })
        }
        8 => AuthRequest::RoleGet(AuthRoleGetRequest { role }),
        _ => AuthRequest::RoleList(AuthRoleListRequest {}),
    }
}

fn kv(random: &mut Random) -> Request {
    match random.below(4) {
        0 => Request::Range(range(random)),
        1 => Request::Put(put(random)),
        2 => Request::Delete(delete(random)),
        _ => {
            let compare = random.chance(50).then(|| Compare { key: key(random), ..Default::default() });
            let ops = |random: &mut Random| -> Vec<_> { (0..random.below(3)).map(|_| op(random)).collect() };
            // Of a transaction without anything in it nobody can say whose right it needs.
            let (mut success, failure) = (ops(random), ops(random));
            if compare.is_none() && success.is_empty() && failure.is_empty() {
                success.push(op(random));
            }
            let mut request = TxnRequest { compare: compare.into_iter().collect(), success, failure };
            txn::leave_no_hidden_overlap(&mut request);
            Request::Txn(request)
        }
    }
}

fn op(random: &mut Random) -> RequestOp {
    let request = match random.below(3) {
        0 => Op::RequestRange(range(random)),
        1 => Op::RequestPut(put(random)),
        _ => Op::RequestDeleteRange(delete(random)),
    };
    RequestOp { request: Some(request) }
}

fn range(random: &mut Random) -> RangeRequest {
    let (key, range_end) = interval(random);
    let (count_only, serializable) = (random.chance(10), random.chance(20));
    RangeRequest { key, range_end, count_only, serializable, ..Default::default() }
}

fn put(random: &mut Random) -> PutRequest {
    let value = Bytes::from(format!("v{}", random.below(9)));
    PutRequest { key: key(random), value, prev_kv: false, ..Default::default() }
}

fn delete(random: &mut Random) -> DeleteRangeRequest {
    let (key, range_end) = interval(random);
    DeleteRangeRequest { key, range_end, prev_kv: random.chance(20) }
}
