//! Who a replica is to its peers: an Ed25519 key pair made with the data folder.
//!
//! A public key is believed because a ticket, a contact or a signed admission names it; there is no authority above the mesh.
//! Signatures here are made over domain-separated bytes only (see [`crate::Admission`]); the transport signs its own.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use thiserror::Error;

/// Why there is no key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The library refused the seed.
    #[error("the seed makes no Ed25519 key pair")]
    Rejected,
}

/// An Ed25519 key pair. Cloning is cheap; `Debug` shows the public half.
#[derive(Clone)]
pub struct KeyPair {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

/// An Ed25519 public key: 32 bytes that name a replica to its peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; Self::LEN]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; Self::LEN]);

impl KeyPair {
    /// Bytes of a seed.
    pub const SEED_LEN: usize = 32;

    /// The key pair of a seed; the same seed makes the same pair everywhere.
    pub fn from_seed(seed: &[u8; Self::SEED_LEN]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Rejected)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Rejected)?;
        Ok(Self { pair: Arc::new(pair), public: PublicKey(public) })
    }

    /// A new seed and its key pair. The seed is what a folder keeps.
    pub fn generate() -> Result<([u8; Self::SEED_LEN], Self), KeyError> {
        let mut seed = [0; Self::SEED_LEN];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        Self::from_seed(&seed).map(|pair| (seed, pair))
    }

    /// The public half.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `message` as it is: the caller separates domains.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.pair.sign(message);
        let mut bytes = [0; Signature::LEN];
        // Ed25519 signatures have one length.
        bytes.copy_from_slice(signature.as_ref());
        Signature(bytes)
    }
}

impl PublicKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Whether `signature` is this key's over exactly `message`.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        ParsedPublicKey::new(&ED25519, self.0).is_ok_and(|key| key.verify_sig(message, &signature.0).is_ok())
    }
}

impl Signature {
    /// Bytes of a signature.
    pub const LEN: usize = 64;
}

/// The form of keys in logs and on the command line: 64 hexadecimal digits.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 2.
    #[test]
    fn keys_and_signatures_are_those_of_the_standard() {
        let seed = hex::<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let pair = KeyPair::from_seed(&seed).unwrap();
        assert_eq!(pair.public().to_string(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let signature = pair.sign(&[0x72]);
        assert_eq!(format!("{signature:?}"), expected);
        assert!(pair.public().verifies(&[0x72], &signature));
        assert!(!pair.public().verifies(&[0x73], &signature));
    }

    #[test]
    fn a_key_that_is_no_point_verifies_nothing() {
        let (_, pair) = KeyPair::generate().unwrap();
        let signature = pair.sign(b"message");
        assert!(!PublicKey([0xff; 32]).verifies(b"message", &signature));
    }

    #[test]
    fn no_seed_shows_in_debug_output() {
        let (seed, pair) = KeyPair::generate().unwrap();
        let shown = format!("{pair:?}");
        assert!(shown.contains(&pair.public().to_string()));
        assert!(!shown.contains(&PublicKey(seed).to_string()));
    }

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }
}
