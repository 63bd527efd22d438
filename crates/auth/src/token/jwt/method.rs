//! The ways to sign a token that etcd knows.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtMethod {
    /// A common secret and SHA-256.
    Hs256,
    /// A common secret and SHA-384.
    Hs384,
    /// A common secret and SHA-512.
    Hs512,
    /// RSA as in PKCS #1 and SHA-256.
    Rs256,
    /// RSA as in PKCS #1 and SHA-384.
    Rs384,
    /// RSA as in PKCS #1 and SHA-512.
    Rs512,
    /// RSA-PSS and SHA-256.
    Ps256,
    /// RSA-PSS and SHA-384.
    Ps384,
    /// RSA-PSS and SHA-512.
    Ps512,
    /// The curve P-256 and SHA-256.
    Es256,
    /// The curve P-384 and SHA-384.
    Es384,
    /// The curve P-521 and SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// There is no method of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there is no signing method of that name")]
pub struct UnknownMethod;

impl JwtMethod {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its name in a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether whoever verifies could also sign.
    pub(super) fn has_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl FromStr for JwtMethod {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or(UnknownMethod)
    }
}

impl fmt::Display for JwtMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
