//! Changes of a policy, planned as writes of its registers, under etcd's rules.
//!
//! [`Policy::plan`] answers what to write, all as one unit, or why etcd would refuse. No writes mean that it is so already. A change is planned against the policy it
//! changes: a server plans and commits one after the other.

use bytes::Bytes;
use thiserror::Error;

use crate::{
    PREFIX, PasswordHash, Permission, Policy, ROOT, Write,
    fact::{Fact, Given, grants_of, permissions_of},
};

/// A change of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begin to judge requests.
    Enable,
    /// Judge no more.
    Disable,
    /// A new user.
    AddUser {
        /// Its name.
        name: String,
        /// The hash of its password; `None` for one that is to be known by a certificate alone.
        password: Option<PasswordHash>,
    },
    /// A user less.
    DeleteUser {
        /// Its name.
        name: String,
    },
    /// Another password. A user who was made without one goes on without.
    ChangePassword {
        /// The user's name.
        name: String,
        /// The hash of the new password.
        password: PasswordHash,
    },
    /// A user gets a role.
    GrantRole {
        /// The user's name.
        user: String,
        /// The role's name.
        role: String,
    },
    /// A user loses a role.
    RevokeRole {
        /// The user's name.
        user: String,
        /// The role's name.
        role: String,
    },
    /// A new role.
    AddRole {
        /// Its name.
        name: String,
    },
    /// A role less: its users lose it.
    DeleteRole {
        /// Its name.
        name: String,
    },
    /// A role gets a permission.
    GrantPermission {
        /// The role's name.
        role: String,
        /// The permission, if there is one.
        permission: Option<Permission>,
    },
    /// A role loses its permissions for a range.
    RevokePermission {
        /// The role's name.
        role: String,
        /// The range's key.
        key: Bytes,
        /// Its end, as it was granted.
        range_end: Bytes,
    },
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Judging needs a user named root.
    #[error("root user does not exist")]
    NoRootUser,
    /// Judging needs a root user with the root role.
    #[error("root user does not have root role")]
    NoRootRole,
    /// A user needs a name.
    #[error("user name is empty")]
    UserEmpty,
    /// There is a user of that name.
    #[error("user name already exists")]
    UserExists,
    /// There is no user of that name.
    #[error("user name not found")]
    UserNotFound,
    /// A role needs a name.
    #[error("role name is empty")]
    RoleEmpty,
    /// There is a role of that name.
    #[error("role name already exists")]
    RoleExists,
    /// There is no role of that name.
    #[error("role name not found")]
    RoleNotFound,
    /// The user does not have the role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// There is no permission in the request.
    #[error("permission not given")]
    PermissionNotGiven,
    /// The role does not have the permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// It would leave nobody to manage users, or the permission's range has no sense.
    #[error("invalid auth management")]
    InvalidManagement,
}

impl Policy {
    /// What to write for a change by the replica `author`.
    pub fn plan(&self, change: &Change, author: u64) -> Result<Vec<Write>, Refused> {
        let mut writes = self.facts(change)?;
        // Enabling is the one change that etcd does not count.
        if !writes.is_empty() && *change != Change::Enable {
            let count = self.counts.get(&author).copied().unwrap_or(0).saturating_add(1);
            writes.push(Fact::Revision { replica: author, count }.put());
        }
        Ok(writes)
    }

    fn facts(&self, change: &Change) -> Result<Vec<Write>, Refused> {
        match change {
            Change::Enable => self.enable(),
            Change::Disable => Ok(if self.is_enabled() { vec![Fact::Enabled(false).put()] } else { Vec::new() }),
            Change::AddUser { name, password } => self.add_user(name, password.as_ref()),
            Change::DeleteUser { name } => self.delete_user(name),
            Change::ChangePassword { name, password } => self.change_password(name, password),
            Change::GrantRole { user, role } => self.grant_role(user, role),
            Change::RevokeRole { user, role } => self.revoke_role(user, role),
            Change::AddRole { name } => self.add_role(name),
            Change::DeleteRole { name } => self.delete_role(name),
            Change::GrantPermission { role, permission } => self.grant_permission(role, permission.as_ref()),
            Change::RevokePermission { role, key, range_end } => self.revoke_permission(role, key, range_end),
        }
    }

    fn enable(&self) -> Result<Vec<Write>, Refused> {
        if self.is_enabled() {
            return Ok(Vec::new());
        }
        let root = self.user(ROOT).ok_or(Refused::NoRootUser)?;
        if root.is_root() { Ok(vec![Fact::Enabled(true).put()]) } else { Err(Refused::NoRootRole) }
    }

    fn add_user(&self, name: &str, password: Option<&PasswordHash>) -> Result<Vec<Write>, Refused> {
        if name.is_empty() {
            return Err(Refused::UserEmpty);
        }
        if self.user(name).is_some() {
            return Err(Refused::UserExists);
        }
        let (name, since) = (name.to_owned(), self.revision().saturating_add(1));
        let mut writes = self.removals_of_user(&name);
        writes.push(Fact::User { name: name.clone(), has_no_password: password.is_none(), since }.put());
        if let Some(password) = password {
            // One write for each register: what is put here needs no removal.
            let put = password_of(&name, password);
            writes.retain(|write| write.key != put.key);
            writes.push(put);
        }
        Ok(writes)
    }

    fn delete_user(&self, name: &str) -> Result<Vec<Write>, Refused> {
        if self.is_enabled() && name == ROOT {
            return Err(Refused::InvalidManagement);
        }
        self.user(name).ok_or(Refused::UserNotFound)?;
        let mut writes = self.removals_of_user(name);
        writes.push(Fact::User { name: name.to_owned(), has_no_password: false, since: 0 }.remove());
        Ok(writes)
    }

    fn change_password(&self, name: &str, password: &PasswordHash) -> Result<Vec<Write>, Refused> {
        let user = self.user(name).ok_or(Refused::UserNotFound)?;
        let put = password_of(name, password);
        // etcd counts the change of a password that is not there: the removal of none is something to write.
        Ok(vec![if user.has_no_password() { Write { value: None, ..put } } else { put }])
    }

    fn grant_role(&self, user: &str, role: &str) -> Result<Vec<Write>, Refused> {
        let held = self.user(user).ok_or(Refused::UserNotFound)?;
        if role != ROOT && self.role(role).is_none() {
            return Err(Refused::RoleNotFound);
        }
        let grant = Fact::Grant { user: user.to_owned(), role: role.to_owned() };
        Ok(if held.has_role(role) { Vec::new() } else { vec![grant.put()] })
    }

    fn revoke_role(&self, user: &str, role: &str) -> Result<Vec<Write>, Refused> {
        if self.is_enabled() && (user, role) == (ROOT, ROOT) {
            return Err(Refused::InvalidManagement);
        }
        if !self.user(user).ok_or(Refused::UserNotFound)?.has_role(role) {
            return Err(Refused::RoleNotGranted);
        }
        Ok(vec![Fact::Grant { user: user.to_owned(), role: role.to_owned() }.remove()])
    }

    fn add_role(&self, name: &str) -> Result<Vec<Write>, Refused> {
        if name.is_empty() {
            return Err(Refused::RoleEmpty);
        }
        if self.role(name).is_some() {
            return Err(Refused::RoleExists);
        }
        let mut writes = self.removals_under(&permissions_of(name));
        // The root role may be granted before it is there, and then stays granted.
        if name != ROOT {
            writes.extend(self.removals_of_grants(name));
        }
        writes.push(Fact::Role { name: name.to_owned() }.put());
        Ok(writes)
    }

    fn delete_role(&self, name: &str) -> Result<Vec<Write>, Refused> {
        if self.is_enabled() && name == ROOT {
            return Err(Refused::InvalidManagement);
        }
        self.role(name).ok_or(Refused::RoleNotFound)?;
        let mut writes = self.removals_under(&permissions_of(name));
        writes.extend(self.removals_of_grants(name));
        writes.push(Fact::Role { name: name.to_owned() }.remove());
        Ok(writes)
    }

    fn grant_permission(&self, role: &str, permission: Option<&Permission>) -> Result<Vec<Write>, Refused> {
        let permission = permission.ok_or(Refused::PermissionNotGiven)?;
        if !permission.is_sound() {
            return Err(Refused::InvalidManagement);
        }
        let held = &self.role(role).ok_or(Refused::RoleNotFound)?.given;
        let is_same = |one: &Permission| (&one.key, &one.range_end) == (&permission.key, &permission.range_end);
        let same = held.iter().filter(|one| is_same(&one.permission));
        let mut given: Vec<_> = same.map(|one| Given { since: one.since, access: one.permission.access }).collect();
        // etcd looks for the range only at the first permission of its key: if it stands there it is changed, else it is added once more.
        let first = held.iter().find(|one| one.permission.key == permission.key);
        match given.first_mut().filter(|_| first.is_some_and(|first| is_same(&first.permission))) {
            Some(changed) => changed.access = permission.access,
            None => given.push(Given { since: self.revision().saturating_add(1), access: permission.access }),
        }
        Ok(vec![permission_of(role, &permission.key, &permission.range_end, given).put()])
    }

    fn revoke_permission(&self, role: &str, key: &Bytes, range_end: &Bytes) -> Result<Vec<Write>, Refused> {
        self.role(role).ok_or(Refused::RoleNotFound)?;
        let removal = permission_of(role, key, range_end, Vec::new()).remove();
        if self.keys.contains(&removal.key) { Ok(vec![removal]) } else { Err(Refused::PermissionNotGranted) }
    }

    /// Removals of all that belongs to users of this name, now or once.
    fn removals_of_user(&self, name: &str) -> Vec<Write> {
        let mut writes = self.removals_under(&grants_of(name));
        let password = Fact::Password { name: name.to_owned(), hash: Bytes::new() }.remove();
        if self.keys.contains(&password.key) {
            writes.push(password);
        }
        writes
    }

    fn removals_of_grants(&self, role: &str) -> Vec<Write> {
        // Whatever user it names, the key of a grant ends with the role.
        let ending = Fact::Grant { user: String::new(), role: role.to_owned() }.key();
        let ending = &ending[PREFIX.len() + b"grant/".len()..];
        let grants = self.under(b"grant/").filter(|key| key.ends_with(ending));
        grants.map(|key| Write { key: key.clone(), value: None }).collect()
    }

    fn removals_under(&self, prefix: &[u8]) -> Vec<Write> {
        self.under(prefix).map(|key| Write { key: key.clone(), value: None }).collect()
    }

    fn under(&self, prefix: &[u8]) -> impl Iterator<Item = &Bytes> {
        let prefix: Bytes = [PREFIX.as_bytes(), prefix].concat().into();
        self.keys.range(prefix.clone()..).take_while(move |key| key.starts_with(&prefix))
    }
}

fn password_of(name: &str, password: &PasswordHash) -> Write {
    Fact::Password { name: name.to_owned(), hash: Bytes::copy_from_slice(password.as_bytes()) }.put()
}

fn permission_of(role: &str, key: &Bytes, range_end: &Bytes, given: Vec<Given>) -> Fact {
    Fact::Permission { role: role.to_owned(), key: key.clone(), range_end: range_end.clone(), given }
}
