//! What the registers of a policy say: one fact each, so that changes at two sites merge where they do not contradict one another.
//!
//! | key under `auth/` | says |
//! | --- | --- |
//! | `enabled` | whether requests are judged |
//! | `user/<name>` | that there is this user, with or without a password |
//! | `password/<name>` | the hash of the user's password |
//! | `grant/<user>\0<role>` | that the user has the role |
//! | `role/<name>` | that there is this role |
//! | `permission/<role>\0<hash of key and range end>` | what the role may do there |
//! | `revision/<replica>` | how often that replica has changed the policy |
//!
//! Names stand in keys as they are, or hashed where they would not fit or could be taken for two; the values always have them in full.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::{
    Access,
    fields::{Reader, Writer},
};

/// The beginning of the keys of all registers of a policy.
pub const PREFIX: &str = "auth/";

/// A register as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The key.
    pub key: Bytes,
    /// The concurrent values, at least one, the winner first.
    pub siblings: Vec<Bytes>,
}

/// A write of one register. It replaces every value that the writer sees there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The new value; `None` removes the register.
    pub value: Option<Bytes>,
}

/// What one value of a register says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Enabled(bool),
    User { name: String, has_no_password: bool, since: u64 },
    Password { name: String, hash: Bytes },
    Grant { user: String, role: String },
    Role { name: String },
    Permission { role: String, key: Bytes, range_end: Bytes, given: Vec<Given> },
    Revision { replica: u64, count: u64 },
}

/// One time that a permission was given. etcd may hold several for the same range, and so do we.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The policy's revision then: among permissions of one key the older comes first.
    pub(crate) since: u64,
    pub(crate) access: Access,
}

impl Fact {
    /// What a value says; `None` when it says nothing that belongs under this key.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let name =
            std::str::from_utf8(key.strip_prefix(PREFIX.as_bytes())?.split(|byte| *byte == b'/').next()?).ok()?;
        let mut fields = Reader::new(value)?;
        let fact = match name {
            "enabled" => Self::Enabled(fields.byte()? != 0),
            "user" => {
                Self::User { name: fields.text()?, has_no_password: fields.byte()? != 0, since: fields.number()? }
            }
            "password" => Self::Password { name: fields.text()?, hash: Bytes::copy_from_slice(fields.bytes()?) },
            "grant" => Self::Grant { user: fields.text()?, role: fields.text()? },
            "role" => Self::Role { name: fields.text()? },
            "permission" => Self::permission(&mut fields)?,
            "revision" => Self::Revision { replica: fields.number()?, count: fields.number()? },
            _ => return None,
        };
        (fields.is_at_end() && fact.key() == key).then_some(fact)
    }

    fn permission(fields: &mut Reader<'_>) -> Option<Self> {
        let (role, key, range_end) = (fields.text()?, fields.bytes()?, fields.bytes()?);
        let (key, range_end) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(range_end));
        let mut given = Vec::new();
        while !fields.is_at_end() {
            let (since, number) = (fields.number()?, fields.number()?);
            given.push(Given { since, access: Access::of(i32::try_from(number.cast_signed()).ok()?) });
        }
        Some(Self::Permission { role, key, range_end, given })
    }

    /// The key of the register that says this.
    pub(crate) fn key(&self) -> Bytes {
        let key = match self {
            Self::Enabled(_) => b"enabled".to_vec(),
            Self::User { name, .. } => [b"user/", &*label(name)].concat(),
            Self::Password { name, .. } => [b"password/", &*label(name)].concat(),
            Self::Grant { user, role } => [&*grants_of(user), &*label(role)].concat(),
            Self::Role { name } => [b"role/", &*label(name)].concat(),
            Self::Permission { role, key, range_end, .. } => {
                let span = Writer::new().bytes(key).bytes(range_end).done();
                [&*permissions_of(role), hashed(&span).as_bytes()].concat()
            }
            Self::Revision { replica, .. } => format!("revision/{replica:016x}").into_bytes(),
        };
        [PREFIX.as_bytes(), &key].concat().into()
    }

    /// The value that says this.
    fn value(&self) -> Bytes {
        let fields = Writer::new();
        match self {
            Self::Enabled(is_on) => fields.byte(u8::from(*is_on)),
            Self::User { name, has_no_password, since } => {
                fields.bytes(name.as_bytes()).byte(u8::from(*has_no_password)).number(*since)
            }
            Self::Password { name, hash } => fields.bytes(name.as_bytes()).bytes(hash),
            Self::Grant { user, role } => fields.bytes(user.as_bytes()).bytes(role.as_bytes()),
            Self::Role { name } => fields.bytes(name.as_bytes()),
            Self::Permission { role, key, range_end, given } => {
                let fields = fields.bytes(role.as_bytes()).bytes(key).bytes(range_end);
                given.iter().fold(fields, |fields, given| {
                    fields.number(given.since).number(i64::from(given.access.number()).cast_unsigned())
                })
            }
            Self::Revision { replica, count } => fields.number(*replica).number(*count),
        }
        .done()
    }

    /// The write that makes it so.
    pub(crate) fn put(&self) -> Write {
        Write { key: self.key(), value: Some(self.value()) }
    }

    /// The write that makes it no longer so.
    pub(crate) fn remove(&self) -> Write {
        Write { key: self.key(), value: None }
    }
}

/// What the keys of all grants to a user begin with, behind [`PREFIX`].
pub(crate) fn grants_of(user: &str) -> Vec<u8> {
    [b"grant/", &*label(user), &[0]].concat()
}

/// What the keys of all permissions of a role begin with, behind [`PREFIX`].
pub(crate) fn permissions_of(role: &str) -> Vec<u8> {
    [b"permission/", &*label(role), &[0]].concat()
}

/// A name as it stands in a key. What is hashed begins with a byte that no name begins with.
fn label(name: &str) -> Vec<u8> {
    if name.len() > LABEL_BYTES_MAX || name.contains('\0') {
        return [&[0xff], hashed(name.as_bytes()).as_bytes()].concat();
    }
    name.as_bytes().to_vec()
}

/// The longest name that stands in a key as it is: two of them fit into a system key.
const LABEL_BYTES_MAX: usize = 256;

fn hashed(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z\0/é]{0,4}", "x{250,700}"]
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Bytes::from)
    }

    fn facts() -> impl Strategy<Value = Fact> {
        let given = (any::<u64>(), any::<i32>()).prop_map(|(since, n)| Given { since, access: Access::of(n) });
        prop_oneof![
            any::<bool>().prop_map(Fact::Enabled),
            (names(), any::<bool>(), any::<u64>()).prop_map(|(name, has_no_password, since)| Fact::User {
                name,
                has_no_password,
                since
            }),
            (names(), bytes()).prop_map(|(name, hash)| Fact::Password { name, hash }),
            (names(), names()).prop_map(|(user, role)| Fact::Grant { user, role }),
            names().prop_map(|name| Fact::Role { name }),
            (names(), bytes(), bytes(), prop::collection::vec(given, 0..3))
                .prop_map(|(role, key, range_end, given)| Fact::Permission { role, key, range_end, given }),
            (any::<u64>(), any::<u64>()).prop_map(|(replica, count)| Fact::Revision { replica, count }),
        ]
    }

    proptest! {
        #[test]
        fn a_fact_is_read_as_it_was_written(fact in facts()) {
            let Write { key, value } = fact.put();
            prop_assert!(key.starts_with(PREFIX.as_bytes()) && key.len() <= 1 << 10);
            prop_assert_eq!(Fact::read(&key, &value.unwrap()), Some(fact));
        }

        #[test]
        fn two_facts_about_different_things_lie_in_different_registers(a in facts(), b in facts()) {
            let subject = |fact: &Fact| match fact {
                Fact::Enabled(_) => (0, vec![]),
                Fact::User { name, .. } => (1, vec![name.clone().into_bytes()]),
                Fact::Password { name, .. } => (2, vec![name.clone().into_bytes()]),
                Fact::Grant { user, role } => (3, vec![user.clone().into_bytes(), role.clone().into_bytes()]),
                Fact::Role { name } => (4, vec![name.clone().into_bytes()]),
                Fact::Permission { role, key, range_end, .. } => (5, vec![role.clone().into_bytes(), key.to_vec(), range_end.to_vec()]),
                Fact::Revision { replica, .. } => (6, vec![replica.to_be_bytes().to_vec()]),
            };
            prop_assert_eq!(a.key() == b.key(), subject(&a) == subject(&b));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(key in bytes(), value in prop::collection::vec(any::<u8>(), 0..40)) {
            for kind in ["enabled", "user/a", "password/", "grant/a\0b", "role/", "permission/", "revision/"] {
                let _ = Fact::read(&[PREFIX.as_bytes(), kind.as_bytes(), &key].concat(), &value);
            }
        }
    }

    #[test]
    fn names_are_not_taken_for_others_wherever_they_are_cut() {
        let grant = |user: &str, role: &str| Fact::Grant { user: user.into(), role: role.into() }.key();
        assert_ne!(grant("a\0b", "c"), grant("a", "b\0c"));
        let long = "x".repeat(2_000);
        assert!(grant(&long, &long).len() <= 1 << 10);
        assert_ne!(grant(&long, &long[1..]), grant(&long[1..], &long));
    }

    #[test]
    fn a_value_under_the_key_of_another_says_nothing() {
        let (mine, yours) = (Fact::Role { name: "mine".into() }, Fact::Role { name: "yours".into() });
        assert_eq!(Fact::read(&mine.key(), &yours.value()), None);
        assert_eq!(Fact::read(&mine.key(), &[&mine.value()[..], b"more"].concat()), None);
    }
}
