//! Random changes against a model that holds users and roles as etcd does: the same refusals, the same answers, the same revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tombolo_auth::{Access, Change, PasswordHash, Permission, Policy, ROOT, Refused, Register};

/// etcd's own shape: a user has a list of roles, a role a list of permissions.
#[derive(Default)]
struct Model {
    is_enabled: bool,
    changes: u64,
    users: BTreeMap<String, Vec<String>>,
    roles: BTreeMap<String, Vec<Permission>>,
}

impl Model {
    fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        let before = (self.users.clone(), self.roles.clone(), self.is_enabled);
        let always = matches!(
            change,
            Change::ChangePassword { .. } | Change::GrantPermission { .. } | Change::DeleteUser { .. }
        );
        self.carry_out(change)?;
        let changed = before != (self.users.clone(), self.roles.clone(), self.is_enabled);
        if (changed || always) && *change != Change::Enable {
            self.changes += 1;
        }
        Ok(())
    }

    fn carry_out(&mut self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::Enable if self.is_enabled => {}
            Change::Enable => {
                let root = self.users.get(ROOT).ok_or(Refused::NoRootUser)?;
                self.is_enabled = root.iter().any(|role| role == ROOT);
                if !self.is_enabled {
                    return Err(Refused::NoRootRole);
                }
            }
            Change::Disable => self.is_enabled = false,
            Change::AddUser { name, .. } => add(&mut self.users, name, Refused::UserEmpty, Refused::UserExists)?,
            Change::DeleteUser { name } if self.is_enabled && name == ROOT => return Err(Refused::InvalidManagement),
            Change::DeleteUser { name } => {
                self.users.remove(name).ok_or(Refused::UserNotFound)?;
            }
            Change::ChangePassword { name, .. } => {
                self.users.get(name).ok_or(Refused::UserNotFound)?;
            }
            Change::GrantRole { user, role } => {
                let held = self.users.get_mut(user).ok_or(Refused::UserNotFound)?;
                if role != ROOT && !self.roles.contains_key(role) {
                    return Err(Refused::RoleNotFound);
                }
                held.push(role.clone());
                held.sort();
                held.dedup();
            }
            Change::RevokeRole { user, role } if self.is_enabled && user == ROOT && role == ROOT => {
                return Err(Refused::InvalidManagement);
            }
            Change::RevokeRole { user, role } => {
                let held = self.users.get_mut(user).ok_or(Refused::UserNotFound)?;
                let place = held.iter().position(|held| held == role).ok_or(Refused::RoleNotGranted)?;
                held.remove(place);
            }
            Change::AddRole { name } => add(&mut self.roles, name, Refused::RoleEmpty, Refused::RoleExists)?,
            Change::DeleteRole { name } if self.is_enabled && name == ROOT => return Err(Refused::InvalidManagement),
            Change::DeleteRole { name } => {
                self.roles.remove(name).ok_or(Refused::RoleNotFound)?;
                self.users.values_mut().for_each(|held| held.retain(|held| held != name));
            }
            Change::GrantPermission { role, permission } => {
                let permission = permission.as_ref().ok_or(Refused::PermissionNotGiven)?;
                if !permission.is_sound() {
                    return Err(Refused::InvalidManagement);
                }
                let held = self.roles.get_mut(role).ok_or(Refused::RoleNotFound)?;
                let first = held.iter_mut().find(|held| held.key >= permission.key);
                match first.filter(|held| (&held.key, &held.range_end) == (&permission.key, &permission.range_end)) {
                    Some(held) => held.access = permission.access,
                    None => {
                        held.push(permission.clone());
                        held.sort_by(|a, b| a.key.cmp(&b.key));
                    }
                }
            }
            Change::RevokePermission { role, key, range_end } => {
                let held = self.roles.get_mut(role).ok_or(Refused::RoleNotFound)?;
                let before = held.len();
                held.retain(|held| (&held.key, &held.range_end) != (key, range_end));
                if held.len() == before {
                    return Err(Refused::PermissionNotGranted);
                }
            }
        }
        Ok(())
    }
}

fn add<T: Default>(
    into: &mut BTreeMap<String, T>,
    name: &str,
    is_empty: Refused,
    exists: Refused,
) -> Result<(), Refused> {
    if name.is_empty() {
        return Err(is_empty);
    }
    if into.contains_key(name) {
        return Err(exists);
    }
    into.insert(name.to_owned(), T::default());
    Ok(())
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["root", "root", "a", "b", ""]).prop_map(str::to_owned)
}

fn ends() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "\0", "a", "b", "c"]).prop_map(Bytes::from)
}

fn changes() -> impl Strategy<Value = Change> {
    let hash = || Just(PasswordHash::from_bytes("hash"));
    let permission = (0..4, ends(), ends()).prop_map(|(access, key, range_end)| Permission {
        access: Access::of(access),
        key,
        range_end,
    });
    prop_oneof![
        2 => Just(Change::Enable),
        1 => Just(Change::Disable),
        3 => (names(), prop::option::of(hash())).prop_map(|(name, password)| Change::AddUser { name, password }),
        1 => names().prop_map(|name| Change::DeleteUser { name }),
        1 => (names(), hash()).prop_map(|(name, password)| Change::ChangePassword { name, password }),
        3 => (names(), names()).prop_map(|(user, role)| Change::GrantRole { user, role }),
        2 => (names(), names()).prop_map(|(user, role)| Change::RevokeRole { user, role }),
        3 => names().prop_map(|name| Change::AddRole { name }),
        1 => names().prop_map(|name| Change::DeleteRole { name }),
        6 => (names(), prop::option::weighted(0.95, permission))
            .prop_map(|(role, permission)| Change::GrantPermission { role, permission }),
        2 => (names(), ends(), ends())
            .prop_map(|(role, key, range_end)| Change::RevokePermission { role, key, range_end }),
    ]
}

#[derive(Default)]
struct Store(BTreeMap<Bytes, Bytes>);

impl Store {
    fn policy(&self) -> Policy {
        let registers = self.0.iter();
        Policy::read(registers.map(|(key, value)| Register { key: key.clone(), siblings: vec![value.clone()] }))
    }

    fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        let writes = self.policy().plan(change, 7)?;
        let mut keys: Vec<_> = writes.iter().map(|write| write.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), writes.len(), "each register is written once");
        for write in writes {
            match write.value {
                Some(value) => self.0.insert(write.key, value),
                None => self.0.remove(&write.key),
            };
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_goes_where_etcds_goes(changes in prop::collection::vec(changes(), 1..60)) {
        let (mut model, mut store) = (Model::default(), Store::default());
        for change in changes {
            prop_assert_eq!(store.apply(&change), model.apply(&change), "{:?}", change);
            let policy = store.policy();
            prop_assert_eq!(policy.is_enabled(), model.is_enabled);
            prop_assert_eq!(policy.revision(), 1 + model.changes, "{:?}", change);
            prop_assert!(policy.users().eq(model.users.keys()));
            prop_assert!(policy.roles().eq(model.roles.keys()));
            for (name, roles) in &model.users {
                prop_assert!(policy.user(name).unwrap().roles().eq(roles.iter()), "{:?}", change);
            }
            for (name, permissions) in &model.roles {
                prop_assert!(policy.role(name).unwrap().permissions().eq(permissions), "{:?}", change);
            }
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_removed(changes in prop::collection::vec(changes(), 1..60)) {
        let mut store = Store::default();
        for change in changes {
            let _ = store.apply(&change);
        }
        let _ = store.apply(&Change::Disable);
        let (users, roles) = (names_of(store.policy().users()), names_of(store.policy().roles()));
        users.into_iter().for_each(|name| store.apply(&Change::DeleteUser { name }).unwrap());
        roles.into_iter().for_each(|name| store.apply(&Change::DeleteRole { name }).unwrap());
        let left: Vec<_> = store.0.keys().filter(|key| !key.starts_with(b"auth/revision/")).collect();
        prop_assert!(left.iter().all(|key| **key == "auth/enabled"), "{:?}", left);
    }
}

fn names_of<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}
