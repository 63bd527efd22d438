//! Outstanding invitations, as their issuer keeps them: never the secret, only its hash.
//!
//! Redeeming one is the issuer's act: it checks time, hash and use, and writes the admission in the invitation's place.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use bytes::Bytes;
use tombolo_crdt::{DecodeError, codec::Reader};

use crate::{KeyError, SlotRange, TicketId, admission::read_slots};

/// The half of a ticket that only its bearer and, hashed, its issuer know. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; Self::LEN]);

/// An invitation that nobody has redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// [`Secret::hash`] of the ticket's secret.
    pub secret_hash: [u8; 32],
    /// The slots that the newcomer will own.
    pub slots: SlotRange,
    /// The issuer's wall clock, in milliseconds, at which it can no longer be redeemed.
    pub expires_ms: u64,
}

impl Secret {
    /// Bytes of a secret.
    pub const LEN: usize = 16;

    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; Self::LEN];
        rand::fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// SHA-256 over a domain, the ticket's id and the secret: a hash found under one ticket is of no use under another.
    pub fn hash(&self, ticket: TicketId) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(DOMAIN);
        context.update(&ticket.0.to_be_bytes());
        context.update(&self.0);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

impl Invitation {
    /// Bytes of the encoding.
    pub const LEN: usize = 1 + 32 + 4 + 8;

    /// Whether `secret` is this invitation's. Takes the same time whatever the answer.
    pub fn is_opened_by(&self, ticket: TicketId, secret: &Secret) -> bool {
        constant_time::verify_slices_are_equal(&self.secret_hash, &secret.hash(ticket)).is_ok()
    }

    /// Whether it can no longer be redeemed.
    pub const fn has_expired(&self, wall_ms: u64) -> bool {
        wall_ms >= self.expires_ms
    }

    /// The canonical bytes: version (1) ‖ hash (32) ‖ first slot (2) ‖ slots (2) ‖ expiry (8).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.push(VERSION);
        out.extend_from_slice(&self.secret_hash);
        out.extend_from_slice(&self.slots.first.to_be_bytes());
        out.extend_from_slice(&self.slots.count.to_be_bytes());
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out
    }

    /// Reads what [`Invitation::encode`] wrote, and no other bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("invitation version")? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        let invitation = Self {
            secret_hash: reader.array("secret hash")?,
            slots: read_slots(&mut reader)?,
            expires_ms: reader.u64("expiry")?,
        };
        reader.finish("invitation")?;
        Ok(invitation)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"tombolo/invitation\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(secret: &Secret) -> Invitation {
        let slots = SlotRange { first: 8, count: 2 };
        Invitation { secret_hash: secret.hash(TicketId(5)), slots, expires_ms: 1_000 }
    }

    #[test]
    fn only_the_tickets_own_secret_opens_it() {
        let secret = Secret([7; 16]);
        let invitation = invitation(&secret);
        assert!(invitation.is_opened_by(TicketId(5), &secret));
        assert!(!invitation.is_opened_by(TicketId(6), &secret));
        let mut other = secret;
        other.0[15] ^= 1;
        assert!(!invitation.is_opened_by(TicketId(5), &other));
    }

    #[test]
    fn it_expires_at_its_moment() {
        let invitation = invitation(&Secret([7; 16]));
        assert!(!invitation.has_expired(999));
        assert!(invitation.has_expired(1_000));
    }

    #[test]
    fn an_invitation_reads_back_as_written_and_nothing_else_reads() {
        let invitation = invitation(&Secret([7; 16]));
        let bytes = invitation.encode();
        assert_eq!(bytes.len(), Invitation::LEN);
        assert_eq!(Invitation::decode(bytes.clone().into()), Ok(invitation));
        assert!(Invitation::decode(bytes[1..].to_vec().into()).is_err());
        assert!(Invitation::decode([&bytes[..], &[0]].concat().into()).is_err());
        let mut none = bytes;
        none[35..37].copy_from_slice(&[0, 0]);
        assert_eq!(Invitation::decode(none.into()), Err(DecodeError::NotCanonical { what: "slots" }));
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        assert_eq!(format!("{:?}", Secret([7; 16])), "Secret(..)");
    }
}
