//! A server with secrets, and users who may see or change them, or not.
//!
//! Calls change it, so it is looked at after each of them, as `root` sees it, and put in order again where something is different.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    Method,
    authpb::Permission,
    etcdserverpb::{
        AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
        AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
        AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
        AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
        AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
        AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
        AuthenticateRequest, AuthenticateResponse, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest,
        LeaseGrantResponse, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
        PutRequest, PutResponse, RangeRequest, RangeResponse,
    },
};
use tonic::Status;

use super::{Caller, Raw};
use crate::{
    connect::Connection,
    pki::Authority,
    process::{Launch, Server},
    secure::Trust,
};

/// The first of the secret keys is not before this.
pub const SECRETS: &str = "a/";
/// The last of them is before this.
pub const AFTER_SECRETS: &str = "a0";
/// What occurs in every name and value that is secret, and nowhere else.
pub const MARK: &[u8] = b"SECRET";
/// A secret key.
pub const SECRET: &str = "a/SECRETkey";
/// What all secret keys hold.
pub const SECRET_VALUE: &str = "SECRETvalue";
/// The secret key of the lease.
pub const LEASED: &str = "a/SECRETleased";
/// A lease with a secret key.
pub const LEASE: i64 = 0x5ec;
pub(super) const NO_LEASE: i64 = 0x404;
/// A lease with a secret key that only `root` may see.
pub const ROOTS_LEASE: i64 = 0x700;
/// The key of that lease.
pub const ROOTS: &str = "z/SECRETroot";
/// What the neighbour may read.
pub const PUBLIC: &str = "b/open";
pub(super) const LOCK: &str = "a/lock";
pub(super) const ELECTION: &str = "a/vote";
/// The key of whoever leads.
pub(super) const LED: &str = "a/vote/1";
pub(super) const PEER_URL: &str = "http://127.0.0.1:1";

/// A server and whoever calls it.
#[derive(Debug)]
pub struct World {
    server: Server,
    raw: Raw,
    /// Those who come with a certificate, and no token.
    certified: BTreeMap<Caller, Raw>,
    tokens: BTreeMap<Caller, String>,
    has_policy: bool,
}

/// What a server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) revision: i64,
    pub(super) data: String,
    pub(super) policy: String,
}

/// Who may do what: users with their role, and roles with their permission (0 reads, 1 writes, 2 does both).
const USERS: [(&str, Option<&str>); 8] = [
    ("root", Some("root")),
    ("reader", Some("reader")),
    ("writer", Some("writer")),
    ("neighbour", Some("neighbour")),
    ("keeper", Some("keeper")),
    ("expired", Some("reader")),
    ("bare", None),
    ("spare", Some("spare")),
];
const ROLES: [(&str, Option<Right>); 6] = [
    ("root", None),
    ("reader", Some((0, SECRETS, AFTER_SECRETS))),
    ("writer", Some((1, SECRETS, AFTER_SECRETS))),
    ("neighbour", Some((0, "b/", "b0"))),
    ("keeper", Some((2, SECRETS, AFTER_SECRETS))),
    ("spare", Some((2, "spare", ""))),
];

/// Kind of access, key and end of a permission.
type Right = (i32, &'static str, &'static str);

/// A user's password.
#[must_use]
pub(super) fn password(user: &str) -> String {
    format!("the password of {user}")
}

impl World {
    /// Starts a server and fills it.
    ///
    /// # Errors
    ///
    /// When it does not start or does not take what it is filled with.
    pub async fn start(launch: Launch) -> Result<Self> {
        let server = launch.with("--bcrypt-cost", "4").in_memory().start().await?;
        Self::of(server).await
    }

    /// Starts a server that takes the common name of a client's certificate for the user's, and fills it. All users come by their certificates;
    /// the forger has the reader's.
    ///
    /// # Errors
    ///
    /// When it does not start or does not take what it is filled with.
    pub async fn start_certified(launch: Launch) -> Result<Self> {
        let authority = Authority::root("Rig Root")?;
        let folder = tempfile::Builder::new().prefix("tombolo-rig-roles-").tempdir()?;
        let files = authority.local_server()?.write(folder.path(), "server")?;
        let ca = folder.path().join("ca.crt");
        fs::write(&ca, authority.pem())?;
        let showing = |name| anyhow::Ok(Trust::in_ca(&authority.pem()).showing(&authority.client(name)?));
        let launch = launch
            .with("--cert-file", &files.cert.display().to_string())
            .with("--key-file", &files.key.display().to_string())
            .with("--trusted-ca-file", &ca.display().to_string())
            .with("--client-cert-auth", "true")
            .with("--bcrypt-cost", "4")
            .secured(showing("root")?);
        let server = launch.in_memory().start().await?;
        let endpoint = server.endpoint();
        let mut world = Self::of(server).await?;
        for caller in Caller::CERTIFIED {
            let name = caller.user().unwrap_or("reader");
            let connection = Connection::open_secure(&endpoint, &showing(name)?).await?;
            world.certified.insert(caller, Raw(connection.channel));
        }
        Ok(world)
    }

    async fn of(server: Server) -> Result<Self> {
        let raw = Raw(server.connect().await?.channel);
        let (certified, tokens) = Default::default();
        let mut world = Self { server, raw, certified, tokens, has_policy: false };
        // The first revision after the empty one has the secret.
        world.put(SECRET, SECRET_VALUE, 0).await?;
        world.restore_data().await?;
        world.restore_policy(false).await?;
        Ok(world)
    }

    /// The server, for whoever wants to look at it in another way.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its calls.
    #[must_use]
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// The calls of a caller.
    #[must_use]
    pub fn raw_of(&self, caller: Caller) -> &Raw {
        self.certified.get(&caller).unwrap_or(&self.raw)
    }

    /// The token with which a caller calls.
    #[must_use]
    pub fn token(&self, caller: Caller) -> Option<&str> {
        match caller {
            Caller::Forger => Some("nonsense"),
            Caller::Foreigner => Some("ABCDEFGHIJKLMNOP.7"),
            _ if self.certified.contains_key(&caller) => None,
            _ => self.tokens.get(&caller).map(String::as_str),
        }
    }

    /// Makes the secrets what they were: for whoever has changed them.
    ///
    /// # Errors
    ///
    /// When the server does not let `root` do it.
    pub async fn restore_data(&mut self) -> Result<()> {
        let all = Bytes::from_static(b"\0");
        let remove = DeleteRangeRequest { key: all.clone(), range_end: all, prev_kv: false };
        self.asked::<DeleteRangeResponse>(Method::KvDeleteRange, &remove).await?;
        let leases: LeaseLeasesResponse = self.asked(Method::LeaseLeases, &LeaseLeasesRequest {}).await?;
        for lease in leases.leases {
            let revoke = LeaseRevokeRequest { id: lease.id };
            self.asked::<LeaseRevokeResponse>(Method::LeaseRevoke, &revoke).await?;
        }
        for id in [LEASE, ROOTS_LEASE] {
            let grant = LeaseGrantRequest { ttl: 3_000, id };
            self.asked::<LeaseGrantResponse>(Method::LeaseGrant, &grant).await?;
        }
        self.put(SECRET, SECRET_VALUE, 0).await?;
        self.put(LEASED, SECRET_VALUE, LEASE).await?;
        self.put(ROOTS, SECRET_VALUE, ROOTS_LEASE).await?;
        self.put(LED, SECRET_VALUE, 0).await?;
        self.put(PUBLIC, "open", 0).await
    }

    /// Makes users and roles what they were, with a policy that is in force or not.
    ///
    /// # Errors
    ///
    /// When the server does not let `root` do it.
    pub async fn restore_policy(&mut self, in_force: bool) -> Result<()> {
        self.asked::<AuthDisableResponse>(Method::AuthDisable, &AuthDisableRequest {}).await?;
        self.tokens.clear();
        let users: AuthUserListResponse = self.asked(Method::AuthUserList, &AuthUserListRequest {}).await?;
        for name in users.users {
            self.asked::<AuthUserDeleteResponse>(Method::AuthUserDelete, &AuthUserDeleteRequest { name }).await?;
        }
        let roles: AuthRoleListResponse = self.asked(Method::AuthRoleList, &AuthRoleListRequest {}).await?;
        for role in roles.roles {
            self.asked::<AuthRoleDeleteResponse>(Method::AuthRoleDelete, &AuthRoleDeleteRequest { role }).await?;
        }
        self.make_roles().await?;
        self.make_users().await?;
        self.has_policy = in_force;
        if in_force {
            self.asked::<AuthEnableResponse>(Method::AuthEnable, &AuthEnableRequest {}).await?;
            for caller in Caller::ALL {
                if let Some(user) = caller.user() {
                    let token = self.login(user).await?;
                    self.tokens.insert(caller, token);
                }
            }
            let change = AuthUserChangePasswordRequest {
                name: "expired".into(),
                password: password("expired"),
                ..Default::default()
            };
            self.asked::<AuthUserChangePasswordResponse>(Method::AuthUserChangePassword, &change).await?;
        }
        Ok(())
    }

    async fn make_roles(&mut self) -> Result<()> {
        for (name, permission) in ROLES {
            let name = name.to_owned();
            let add = AuthRoleAddRequest { name: name.clone() };
            self.asked::<AuthRoleAddResponse>(Method::AuthRoleAdd, &add).await?;
            if let Some((perm_type, key, range_end)) = permission {
                let perm = Some(Permission { perm_type, key: key.into(), range_end: range_end.into() });
                let grant = AuthRoleGrantPermissionRequest { name, perm };
                self.asked::<AuthRoleGrantPermissionResponse>(Method::AuthRoleGrantPermission, &grant).await?;
            }
        }
        Ok(())
    }

    async fn make_users(&mut self) -> Result<()> {
        for (name, role) in USERS {
            let add = AuthUserAddRequest { name: name.to_owned(), password: password(name), ..Default::default() };
            self.asked::<AuthUserAddResponse>(Method::AuthUserAdd, &add).await?;
            if let Some(role) = role {
                let grant = AuthUserGrantRoleRequest { user: name.to_owned(), role: role.to_owned() };
                self.asked::<AuthUserGrantRoleResponse>(Method::AuthUserGrantRole, &grant).await?;
            }
        }
        Ok(())
    }

    /// A token for a user.
    ///
    /// # Errors
    ///
    /// When the server gives none.
    pub async fn login(&self, user: &str) -> Result<String> {
        let request = AuthenticateRequest { name: user.to_owned(), password: password(user) };
        let answer: AuthenticateResponse = self.raw.ask(Method::Authenticate, &request, None).await?;
        Ok(answer.token)
    }

    /// Asks as `root`.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn asked<T: prost::Message + Default>(
        &mut self,
        method: Method,
        request: &impl prost::Message,
    ) -> Result<T> {
        let answer = self.raw.ask(method, request, self.token(Caller::Root)).await;
        let refused = answer.as_ref().err().map(Status::code);
        let answer = match refused {
            Some(tonic::Code::InvalidArgument | tonic::Code::Unauthenticated) => {
                // Somebody has put the policy into force, so that root comes with a new token, or out of it, and then nobody gets one.
                self.tokens.remove(&Caller::Root);
                if let Ok(token) = self.login("root").await {
                    self.tokens.insert(Caller::Root, token);
                }
                self.raw.ask(method, request, self.token(Caller::Root)).await
            }
            _ => answer,
        };
        answer.with_context(|| format!("{method:?} as root"))
    }

    async fn put(&mut self, key: &str, value: &str, lease: i64) -> Result<()> {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        let put = PutRequest { key, value, lease, ..Default::default() };
        self.asked::<PutResponse>(Method::KvPut, &put).await?;
        Ok(())
    }

    /// What `root` sees. Users and roles are many calls: who is sure that they are as they were gives them.
    pub(super) async fn look(&mut self, policy: Option<String>) -> Result<Seen> {
        let all = Bytes::from_static(b"\0");
        let range = RangeRequest { key: all.clone(), range_end: all, ..Default::default() };
        let pairs: RangeResponse = self.asked(Method::KvRange, &range).await?;
        let leases: LeaseLeasesResponse = self.asked(Method::LeaseLeases, &LeaseLeasesRequest {}).await?;
        let mut ids: Vec<i64> = leases.leases.iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        let shown: Vec<_> = pairs.kvs.iter().map(|kv| (&kv.key, &kv.value, kv.lease)).collect();
        let revision = pairs.header.context("a header")?.revision;
        let policy = match policy {
            Some(policy) => policy,
            None => self.look_at_policy().await?,
        };
        Ok(Seen { revision, data: format!("{shown:?} {ids:?}"), policy })
    }

    async fn look_at_policy(&mut self) -> Result<String> {
        // With a policy in force the password is wrong, and without one there is none to be wrong.
        let guess = AuthenticateRequest { name: "root".into(), password: "wrong".into() };
        let answer = self.raw.ask::<AuthenticateResponse>(Method::Authenticate, &guess, None).await;
        let is_in_force = answer.is_err_and(|why| why.code() == tonic::Code::InvalidArgument);
        let mut seen = format!("in force: {is_in_force}");
        let users: AuthUserListResponse = self.asked(Method::AuthUserList, &AuthUserListRequest {}).await?;
        for name in users.users {
            let user: AuthUserGetResponse =
                self.asked(Method::AuthUserGet, &AuthUserGetRequest { name: name.clone() }).await?;
            seen.push_str(&format!("\n{name}: {:?}", user.roles));
        }
        let roles: AuthRoleListResponse = self.asked(Method::AuthRoleList, &AuthRoleListRequest {}).await?;
        for role in roles.roles {
            let get = AuthRoleGetRequest { role: role.clone() };
            let answer: AuthRoleGetResponse = self.asked(Method::AuthRoleGet, &get).await?;
            seen.push_str(&format!("\n{role}: {:?}", answer.perm));
        }
        Ok(seen)
    }

    /// Puts in order what a call has changed. Returns what is seen then.
    pub(super) async fn restore(&mut self, before: &Seen, after: Seen) -> Result<Seen> {
        let mut seen = after;
        if seen.policy != before.policy {
            self.restore_policy(self.has_policy).await?;
            seen = self.look(None).await?;
        }
        if seen.data != before.data {
            self.restore_data().await?;
            seen = self.look(Some(seen.policy)).await?;
        }
        Ok(seen)
    }
}
