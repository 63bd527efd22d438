//! Who may do what, as one immutable value.
//!
//! A [`Policy`] is read from the registers of a store and never changed: whoever judges by it judges by one moment. Where two sites have written the
//! same register without knowing of one another, the reading is the careful one: judging rather than not, the fewer rights rather than the more.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{
    Access, Caller, Concerned, Denied, Needs, PasswordHash, Permission, ROOT, Register,
    coverage::Coverage,
    fact::{Fact, Given},
};

/// Users, roles and permissions of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    is_enabled: bool,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    /// How often each replica has changed the policy.
    pub(crate) counts: BTreeMap<u64, u64>,
    /// Every register there is, whatever it says.
    pub(crate) keys: BTreeSet<Bytes>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    has_no_password: bool,
    since: u64,
    password: Option<PasswordHash>,
    roles: BTreeSet<String>,
    read: Coverage,
    write: Coverage,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// In etcd's order: by key, and for one key the oldest first.
    pub(crate) given: Vec<GivenPermission>,
}

/// A permission with its place in the order of a role's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenPermission {
    pub(crate) since: u64,
    pub(crate) permission: Permission,
}

impl Policy {
    /// Reads all registers under [`PREFIX`](crate::PREFIX). One that makes no sense says nothing.
    pub fn read(registers: impl IntoIterator<Item = Register>) -> Self {
        let mut policy = Self::default();
        let mut passwords = BTreeMap::new();
        let mut grants = Vec::new();
        let mut permissions = Vec::new();
        for Register { key, siblings } in registers {
            let facts: Vec<_> = siblings.iter().map(|value| Fact::read(&key, value)).collect();
            policy.keys.insert(key.clone());
            if key == Fact::Enabled(true).key() {
                policy.is_enabled = facts.iter().any(|fact| *fact != Some(Fact::Enabled(false)));
                continue;
            }
            let known: Vec<_> = facts.iter().flatten().cloned().collect();
            match known.first() {
                Some(Fact::User { name, has_no_password, since }) => {
                    policy.users.insert(name.clone(), User::new(*has_no_password, *since));
                }
                Some(Fact::Password { name, hash }) => {
                    passwords.insert(name.clone(), PasswordHash::from_bytes(hash.clone()));
                }
                Some(Fact::Role { name }) => {
                    policy.roles.insert(name.clone(), Role::default());
                }
                Some(Fact::Grant { user, role }) => grants.push((user.clone(), role.clone())),
                Some(Fact::Permission { .. }) => permissions.push((known, facts.len())),
                Some(Fact::Revision { replica, .. }) => {
                    let counts = known.iter().filter_map(|fact| match fact {
                        Fact::Revision { count, .. } => Some(*count),
                        _ => None,
                    });
                    policy.counts.insert(*replica, counts.max().unwrap_or(0));
                }
                Some(Fact::Enabled(_)) | None => {}
            }
        }
        permissions.into_iter().for_each(|(facts, siblings)| policy.permit(&facts, siblings));
        policy.roles.values_mut().for_each(Role::sort);
        policy.complete(passwords, grants);
        policy
    }

    /// Takes in what the siblings of one permission agree on.
    fn permit(&mut self, siblings: &[Fact], written: usize) {
        let Some(Fact::Permission { role, key, range_end, given }) = siblings.first() else { return };
        let Some(role) = self.roles.get_mut(role) else { return };
        let given = if written == 1 { given.clone() } else { agreed(siblings, written, given) };
        role.given.extend(given.into_iter().map(|Given { since, access }| GivenPermission {
            since,
            permission: Permission { access, key: key.clone(), range_end: range_end.clone() },
        }));
    }

    /// Gives users what belongs to them. What belongs to users or roles that are no more is left lying; only the root role need not be there.
    fn complete(&mut self, passwords: BTreeMap<String, PasswordHash>, grants: Vec<(String, String)>) {
        for (name, password) in passwords {
            if let Some(user) = self.users.get_mut(&name) {
                user.password = Some(password);
            }
        }
        for (name, role) in grants {
            if (role == ROOT || self.roles.contains_key(&role))
                && let Some(user) = self.users.get_mut(&name)
            {
                user.roles.insert(role);
            }
        }
        for user in self.users.values_mut() {
            let given: Vec<_> =
                user.roles.iter().filter_map(|role| self.roles.get(role)).flat_map(Role::permissions).collect();
            let spans = |permits: fn(Access) -> bool| {
                Coverage::of(given.iter().filter(|one| permits(one.access)).map(|one| one.span()))
            };
            user.read = spans(Access::reads);
            user.write = spans(Access::writes);
        }
    }

    /// Whether requests are judged at all.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// etcd's number for the policy: 1, and one more with every change at any site.
    pub fn revision(&self) -> u64 {
        self.counts.values().fold(1, |sum, count| sum.saturating_add(*count))
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The names of all users, ascending.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The names of all roles, ascending.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// Whether the caller may do what needs this. While the policy is not enabled, everybody may do everything.
    pub fn judge(&self, caller: &Caller, needs: &Needs) -> Result<(), Denied> {
        if !self.is_enabled {
            return Ok(());
        }
        match needs {
            Needs::Nothing => Ok(()),
            Needs::User => self.some_user(caller),
            Needs::Root => self.root(caller),
            Needs::RootOr(concerned) => match self.root(caller) {
                Err(_) if self.concerns(caller, concerned) => Ok(()),
                judged => judged,
            },
            Needs::Keys { read, write } => {
                let user = self.current(caller)?;
                let may = user.is_root()
                    || read.iter().all(|span| user.read.covers(span))
                        && write.iter().all(|span| user.write.covers(span));
                if may { Ok(()) } else { Err(Denied::NotPermitted) }
            }
        }
    }

    fn root(&self, caller: &Caller) -> Result<(), Denied> {
        let user = match caller {
            Caller::User { name, .. } if !name.is_empty() => self.user(name).ok_or(Denied::UnknownUser)?,
            _ => return Err(Denied::NoUser),
        };
        if user.is_root() { Ok(()) } else { Err(Denied::NotPermitted) }
    }

    fn some_user(&self, caller: &Caller) -> Result<(), Denied> {
        match caller {
            Caller::Nobody => Err(Denied::NoUser),
            Caller::User { name, .. } => self.user(name).map(drop).ok_or(Denied::NotPermitted),
        }
    }

    fn concerns(&self, caller: &Caller, concerned: &Concerned) -> bool {
        match concerned {
            Concerned::SelfUser(name) => caller.name() == name,
            Concerned::HasRole(role) => self.user(caller.name()).is_some_and(|user| user.roles.contains(role)),
        }
    }

    /// The user for whom the caller's proof holds under this policy.
    fn current(&self, caller: &Caller) -> Result<&User, Denied> {
        match caller {
            Caller::Nobody | Caller::User { revision: 0, .. } => Err(Denied::NoUser),
            Caller::User { revision, .. } if *revision < self.revision() => Err(Denied::OldPolicy),
            Caller::User { name, .. } => self.user(name).ok_or(Denied::NotPermitted),
        }
    }
}

impl User {
    fn new(has_no_password: bool, since: u64) -> Self {
        let (read, write) = Default::default();
        Self { has_no_password, since, password: None, roles: BTreeSet::new(), read, write }
    }

    /// Whether it was made to be known by a certificate alone.
    pub fn has_no_password(&self) -> bool {
        self.has_no_password
    }

    /// The hash of its password, if it has one.
    pub fn password(&self) -> Option<&PasswordHash> {
        self.password.as_ref()
    }

    /// The names of its roles, ascending.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }

    /// Whether it has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    /// Whether both are the same user with the same password, so that what one has proved holds for the other.
    pub fn is_same_login(&self, other: &Self) -> bool {
        (self.since, self.has_no_password, &self.password) == (other.since, other.has_no_password, &other.password)
    }
}

impl Role {
    /// What it permits, in etcd's order: by key, and for one key the oldest first.
    pub fn permissions(&self) -> impl Iterator<Item = &Permission> {
        self.given.iter().map(|given| &given.permission)
    }

    fn sort(&mut self) {
        self.given.sort_by(|a, b| {
            let place =
                |one: &GivenPermission| (one.permission.key.clone(), one.since, one.permission.range_end.clone());
            place(a).cmp(&place(b))
        });
    }
}

/// What all siblings of a permission permit. One that cannot be read permits nothing.
fn agreed(siblings: &[Fact], written: usize, winner: &[Given]) -> Vec<Given> {
    let by = |permits: fn(Access) -> bool| {
        let agreeing = siblings.iter().filter(
            |fact| matches!(fact, Fact::Permission { given, .. } if given.iter().any(|one| permits(one.access))),
        );
        agreeing.count() == written
    };
    let access = match (by(Access::reads), by(Access::writes)) {
        (true, true) => Access::ReadWrite,
        (true, false) => Access::Read,
        (false, true) => Access::Write,
        (false, false) => return Vec::new(),
    };
    vec![Given { since: winner.first().map_or(0, |one| one.since), access }]
}
