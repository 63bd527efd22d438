//! Passwords and their hashes.
//!
//! Hashing is slow on purpose: call [`Password::hash`] and [`verify`] where slowness stops nobody. A password forgets itself when it is dropped
//! and is never shown.

use std::{fmt, hint::black_box};

use bytes::Bytes;
use thiserror::Error;
use zeroize::Zeroizing;

/// The least cost of a hash.
pub const COST_MIN: u32 = 4;
/// The greatest cost of a hash.
pub const COST_MAX: u32 = 31;
/// etcd's cost of a hash.
pub const COST_DEFAULT: u32 = 10;
/// The longest password: the hash sees no more bytes than these.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// A password in the clear.
#[derive(PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Why there is no hash of a password.
#[derive(Debug, Error)]
pub enum HashError {
    /// It has more than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("bcrypt: password length exceeds {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// There was no randomness, or the cost is out of bounds.
    #[error("a password cannot be hashed: {0}")]
    Failed(#[source] bcrypt::BcryptError),
}

impl Password {
    /// Takes a password over.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its hash, at a cost between [`COST_MIN`] and [`COST_MAX`]. Slow.
    pub fn hash(&self, cost: u32) -> Result<PasswordHash, HashError> {
        if self.0.len() > PASSWORD_BYTES_MAX {
            return Err(HashError::TooLong);
        }
        let hash = bcrypt::hash_bytes(self.0.as_bytes(), cost).map_err(HashError::Failed)?;
        Ok(PasswordHash(Bytes::copy_from_slice(&hash)))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The hash of a password, as bcrypt writes it. Bytes that are no such thing are the hash of no password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Bytes);

impl PasswordHash {
    /// Takes over a hash that was made elsewhere.
    pub fn from_bytes(hash: impl Into<Bytes>) -> Self {
        Self(hash.into())
    }

    /// As bcrypt writes it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Whether the password is the one that was hashed. Slow, and without a hash just as slow as with one of that cost: how long it takes does not tell
/// which users there are.
pub fn verify(password: &Password, hash: Option<&PasswordHash>, cost: u32) -> bool {
    let known = hash.and_then(|hash| std::str::from_utf8(&hash.0).ok());
    // What bcrypt refuses to look at, it refuses at once.
    match known.map(|hash| bcrypt::verify(password.0.as_bytes(), hash)) {
        Some(Ok(verified)) => verified,
        Some(Err(_)) | None => {
            let decoy = format!("$2b${:02}${}", cost.clamp(COST_MIN, COST_MAX), DECOY);
            let _ = black_box(bcrypt::verify(password.0.as_bytes(), &decoy));
            false
        }
    }
}

/// Salt and hash of no password in particular.
const DECOY: &str = "abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ0123K";

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn only_the_same_password_is_verified() {
        for text in ["secret", "", "pass\0word"] {
            let hash = password(text).hash(COST_MIN).unwrap();
            assert!(verify(&password(text), Some(&hash), COST_MIN));
            assert!(!verify(&password("other"), Some(&hash), COST_MIN));
        }
        assert!(!verify(&password(""), None, COST_MIN));
        for no_hash in ["", "$2a$10$short", "\u{e9}"] {
            assert!(!verify(&password(""), Some(&PasswordHash::from_bytes(no_hash)), COST_MIN));
        }
    }

    #[test]
    fn a_hash_of_etcds_is_understood() {
        let hash = "$2a$04$iRKZAVJuMCbAhXO0ALcEWOEdDvnyzzFkLbO/hYLHC8CqRhL5hcdJS";
        let known = PasswordHash::from_bytes(hash);
        assert!(!verify(&password("not it"), Some(&known), COST_MIN));
        assert!(hash.parse::<bcrypt::HashParts>().is_ok());
    }

    #[test]
    fn a_password_that_the_hash_would_cut_is_refused() {
        assert!(password(&"p".repeat(72)).hash(COST_MIN).is_ok());
        let refusal = password(&"p".repeat(73)).hash(COST_MIN).unwrap_err();
        assert_eq!(refusal.to_string(), "bcrypt: password length exceeds 72 bytes");
    }

    #[test]
    fn nobody_takes_as_long_as_somebody() {
        let cost = 8;
        let hash = password("secret").hash(cost).unwrap();
        let time = |hash: Option<&PasswordHash>| {
            let since = Instant::now();
            assert!(!verify(&password("guess"), hash, cost));
            since.elapsed()
        };
        // The quickest of some: what else the machine does slows single ones down.
        let quickest = |hash| (0..5).map(|_| time(hash)).min().unwrap();
        let (somebody, nobody) = (quickest(Some(&hash)), quickest(None));
        // Without the decoy it is a hundred thousand times as quick; twice is the machine's mood.
        assert!(nobody > somebody / 10, "{nobody:?} for nobody, {somebody:?} for somebody");
    }

    #[test]
    fn neither_is_shown() {
        let hash = password("secret").hash(COST_MIN).unwrap();
        assert_eq!(format!("{:?} {hash:?}", password("secret")), "Password(..) PasswordHash(..)");
    }
}
