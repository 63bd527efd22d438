//! Who asks, what for, and why not.

use std::sync::Arc;

use thiserror::Error;

use crate::Span;

/// Whoever sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caller {
    /// No user was named.
    #[default]
    Nobody,
    /// A user, whose name was proved. Whether there is one of that name is for the policy to say.
    User {
        /// The name.
        name: Arc<str>,
        /// The policy's revision for which the proof holds: the current one, unless a token carries one.
        revision: u64,
    },
}

impl Caller {
    /// The user's name; empty for nobody, as no user's is.
    pub fn name(&self) -> &str {
        match self {
            Self::Nobody => "",
            Self::User { name, .. } => name,
        }
    }

    /// The same caller, with a proof of now: for judging again, under a changed policy, what was permitted when it began.
    pub fn at(&self, revision: u64) -> Self {
        match self {
            Self::Nobody => Self::Nobody,
            Self::User { name, .. } => Self::User { name: Arc::clone(name), revision },
        }
    }
}

/// What a request needs, computed from all that it may do and reveal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: anybody may.
    Nothing,
    /// Some user, whoever it is.
    User,
    /// A user with the root role.
    Root,
    /// A user with the root role, or one whom it concerns.
    RootOr(Concerned),
    /// Rights on keys. Even without any, whoever asks must be a user under this very policy.
    Keys {
        /// All keys that are read, revealed or compared, future ones of a watch included.
        read: Vec<Span>,
        /// All keys that may be written or removed.
        write: Vec<Span>,
    },
}

/// Somebody whom a question about users and roles concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// The user of this name. An empty name concerns whoever named no user: no user has it.
    SelfUser(String),
    /// Every user who was granted this role.
    HasRole(String),
}

/// Why a caller may not do what the request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// A user is needed, and none was named.
    #[error("no user was named")]
    NoUser,
    /// There is no user of that name (any more).
    #[error("there is no user of that name")]
    UnknownUser,
    /// The proof was given under an older policy.
    #[error("the token was issued under an older policy")]
    OldPolicy,
    /// The user lacks a permission.
    #[error("the user lacks a permission for that")]
    NotPermitted,
}
