//! Who a client says it is. Secrets are kept out of every message and every `Debug`.

use std::fmt;

/// What a client signs in with.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A user of the server, who gets a token for the password and another when that one is not good any more.
    Password {
        /// The user's name.
        name: String,
        /// The user's password.
        password: String,
    },
    /// A token that somebody else issued, a JWT as a rule. It is sent as it is and never replaced.
    Token(String),
}

impl Credentials {
    /// A user and a password.
    pub fn password(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { name: name.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { name, .. } => f.debug_struct("Password").field("name", name).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for credentials in [Credentials::password("root", "hidden"), Credentials::Token("hidden".into())] {
            let shown = format!("{credentials:?}");
            assert!(!shown.contains("hidden"), "{shown}");
        }
    }
}
