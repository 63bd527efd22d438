//! Chain hashes: each record of a replica binds all the records before it.
//!
//! Two records under one dot, made by a cloned disk or a lost log suffix, have different chains. A chain detects forks; it
//! proves nothing about who wrote (signatures over chain heads do that).

use std::fmt;

/// The first 16 bytes of BLAKE3 over the previous record's chain and this record's body.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Chain([u8; Self::LEN]);

impl Chain {
    /// Bytes of a chain hash.
    pub const LEN: usize = 16;

    /// The chain before a replica's first record.
    pub const BEGINNING: Self = Self([0; Self::LEN]);

    /// A chain as stored.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The chain's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The chain after a record with this body (its encoding without the chain itself).
    pub fn link(&self, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(body);
        let hash = hasher.finalize();
        let (chain, _) = hash.as_bytes().split_first_chunk().expect("a hash is longer than a chain");
        Self(*chain)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_binds_order_and_content() {
        let a = Chain::BEGINNING.link(b"a");
        assert_ne!(a.link(b"b"), Chain::BEGINNING.link(b"b").link(b"a"));
        assert_ne!(a, Chain::BEGINNING.link(b"b"));
        assert_eq!(a, Chain::BEGINNING.link(b"a"));
    }
}
