//! Tickets: what a newcomer is given, one line beginning with `tmb1`.
//!
//! A ticket names its issuer's key, so that the newcomer knows whom it talks to before it says anything, and holds a secret
//! that its issuer takes once. Whoever has the line can join: it is to be handed over as a password is.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use thiserror::Error;
use tombolo_crdt::{DecodeError, ReplicaId, codec::Reader};

use crate::{
    Announcement, PublicKey, Secret, TicketId,
    announcement::{put_texts, read_texts},
    base64url,
};

/// An invitation as handed to a newcomer. `Debug` hides the secret; `Display` is the line itself.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The mesh to join.
    pub mesh: u128,
    /// Who redeems it.
    pub issuer: ReplicaId,
    /// The issuer's key: nobody else is told the secret.
    pub issuer_key: PublicKey,
    /// Which of the issuer's tickets it is.
    pub id: TicketId,
    /// What proves that the bearer was invited.
    pub secret: Secret,
    /// The issuer's wall clock, in milliseconds, at which it expires. The issuer decides, by its own clock.
    pub expires_ms: u64,
    /// Where the issuer is reached, `host:port`, in the order to try.
    pub addresses: Vec<String>,
}

/// Why a line is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// It begins with something else.
    #[error("a ticket begins with `tmb1`")]
    Prefix,
    /// It is longer than any ticket.
    #[error("the line has {bytes} bytes; a ticket has at most {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The length allowed.
        max: usize,
    },
    /// A character that no ticket has: something was pasted with it, or within it.
    #[error("character {at} belongs to no ticket")]
    Character {
        /// Its byte, counted from 1.
        at: usize,
    },
    /// It is cut off, or changed: the checksum does not fit.
    #[error("the ticket is incomplete or was changed on its way")]
    Damaged,
    /// A later version wrote it.
    #[error("ticket version {found} is not known here")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// Whole, but not what an issuer writes.
    #[error("the ticket says what no issuer writes: {0}")]
    Malformed(#[source] DecodeError),
    /// Nowhere to go.
    #[error("the ticket names no address")]
    NoAddress,
}

impl Ticket {
    /// Bytes of a line: sixteen of the longest addresses fit.
    pub const LINE_BYTES_MAX: usize = 4 + (128 + Announcement::LIST_MAX * (Announcement::TEXT_BYTES_MAX + 2)) * 4 / 3;

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.mesh.to_be_bytes());
        out.extend_from_slice(&self.issuer.get().to_be_bytes());
        out.extend_from_slice(&self.issuer_key.0);
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.extend_from_slice(&self.secret.0);
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        put_texts(&mut out, &self.addresses);
        let checksum = checksum(&out);
        out.extend_from_slice(&checksum);
        out
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            mesh: u128::from_be_bytes(reader.array("mesh")?),
            issuer: reader.replica_id("issuer")?,
            issuer_key: PublicKey(reader.array("issuer's key")?),
            id: TicketId(reader.u64("ticket")?),
            secret: Secret(reader.array("secret")?),
            expires_ms: reader.u64("expiry")?,
            addresses: read_texts(reader, "addresses")?,
        })
    }
}

/// The line to hand over. It holds the secret.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", base64url::encode(&self.encode()))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Reads a line as [`Ticket`]'s `Display` writes it; white space around it is ignored.
    fn from_str(line: &str) -> Result<Self, TicketError> {
        let line = line.trim();
        let digits = line.strip_prefix(PREFIX).ok_or(TicketError::Prefix)?;
        if line.len() > Self::LINE_BYTES_MAX {
            return Err(TicketError::TooLong { bytes: line.len(), max: Self::LINE_BYTES_MAX });
        }
        let mut bytes = base64url::decode(digits).map_err(|fault| match fault {
            base64url::Fault::Character(at) => TicketError::Character { at: PREFIX.len() + at + 1 },
            base64url::Fault::Tail => TicketError::Damaged,
        })?;
        let body = bytes.len().checked_sub(CHECKSUM_LEN).ok_or(TicketError::Damaged)?;
        if checksum(&bytes[..body]) != bytes[body..] {
            return Err(TicketError::Damaged);
        }
        bytes.truncate(body);
        let mut reader = Reader::new(bytes.into());
        match reader.u8("ticket version").map_err(TicketError::Malformed)? {
            VERSION => {}
            found => return Err(TicketError::UnknownVersion { found }),
        }
        let ticket = Self::read(&mut reader).map_err(TicketError::Malformed)?;
        reader.finish("ticket").map_err(TicketError::Malformed)?;
        if ticket.addresses.is_empty() { Err(TicketError::NoAddress) } else { Ok(ticket) }
    }
}

/// Finds slips of the hand, not forgeries: a forged ticket opens nothing.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = digest::digest(&digest::SHA256, bytes);
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&hash.as_ref()[..CHECKSUM_LEN]);
    checksum
}

const PREFIX: &str = "tmb1";
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Ticket {
        Ticket {
            mesh: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
            issuer: ReplicaId::new(0xa1).unwrap(),
            issuer_key: PublicKey([3; 32]),
            id: TicketId(0xb2),
            secret: Secret([9; 16]),
            expires_ms: 1_700_000_000_000,
            addresses: vec!["pier.example:2380".into(), "[2001:db8::1]:2380".into()],
        }
    }

    fn line_of(body: &[u8]) -> String {
        let bytes = [body, &checksum(body)].concat();
        format!("tmb1{}", base64url::encode(&bytes))
    }

    fn error_of(line: &str) -> TicketError {
        line.parse::<Ticket>().unwrap_err()
    }

    #[test]
    fn a_ticket_reads_back_as_written() {
        let ticket = sample();
        let line = ticket.to_string();
        let read: Ticket = format!("  {line}\n").parse().unwrap();
        assert_eq!(read.encode(), ticket.encode());
        assert_eq!(read.addresses, ticket.addresses);
        assert_eq!((read.mesh, read.issuer, read.issuer_key), (ticket.mesh, ticket.issuer, ticket.issuer_key));
        assert_eq!((read.id, read.secret.0, read.expires_ms), (ticket.id, ticket.secret.0, ticket.expires_ms));
    }

    #[test]
    fn the_line_of_a_ticket_never_changes() {
        assert_eq!(sample().to_string(), GOLDEN);
    }

    #[test]
    fn every_slip_of_the_hand_is_seen() {
        let line = sample().to_string();
        for at in 4..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(error_of(str::from_utf8(&changed).unwrap()), TicketError::Damaged, "{at}");
            assert_eq!(error_of(&line[..at]), TicketError::Damaged, "{at}");
        }
    }

    #[test]
    fn what_is_no_ticket_is_told_why() {
        let line = sample().to_string();
        assert_eq!(error_of(""), TicketError::Prefix);
        assert_eq!(error_of(&line.replacen("tmb1", "TMB1", 1)), TicketError::Prefix);
        assert_eq!(error_of("tmb1AA AA"), TicketError::Character { at: 7 });
        assert_eq!(error_of("tmb1é"), TicketError::Character { at: 5 });
        let bytes = Ticket::LINE_BYTES_MAX + 1;
        let long = format!("tmb1{}", "A".repeat(bytes - 4));
        assert_eq!(error_of(&long), TicketError::TooLong { bytes, max: Ticket::LINE_BYTES_MAX });
        assert_eq!(error_of(&line_of(&[2])), TicketError::UnknownVersion { found: 2 });
        let none = Ticket { addresses: Vec::new(), ..sample() };
        assert_eq!(error_of(&none.to_string()), TicketError::NoAddress);
    }

    #[test]
    fn a_whole_ticket_with_wrong_contents_is_malformed() {
        let encoded = sample().encode();
        let body = &encoded[..encoded.len() - CHECKSUM_LEN];
        assert!(matches!(error_of(&line_of(&body[..40])), TicketError::Malformed(DecodeError::Truncated { .. })));
        let longer = [body, &[0]].concat();
        let what = "ticket";
        assert_eq!(error_of(&line_of(&longer)), TicketError::Malformed(DecodeError::Trailing { what, bytes: 1 }));
        let mut nobody = body.to_vec();
        nobody[17..25].fill(0);
        let what = "issuer";
        assert_eq!(error_of(&line_of(&nobody)), TicketError::Malformed(DecodeError::NotCanonical { what }));
    }

    #[test]
    fn a_ticket_with_the_longest_addresses_can_be_read() {
        let addresses = vec!["a".repeat(Announcement::TEXT_BYTES_MAX); Announcement::LIST_MAX];
        let ticket = Ticket { addresses, ..sample() };
        assert!(ticket.to_string().parse::<Ticket>().is_ok());
    }

    #[test]
    fn the_secret_does_not_show_in_debug_output() {
        assert!(format!("{:?}", sample()).contains("secret: Secret(..)"));
    }

    const GOLDEN: &str = concat!(
        "tmb1AQEjRWeJq83vABEiM0RVZncAAAAAAAAAoQMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAAAAAAAAAL",
        "IJCQkJCQkJCQkJCQkJCQkJAAABi8_laAACEXBpZXIuZXhhbXBsZToyMzgwElsyMDAxOmRiODo6MV06MjM4MAYhUrY",
    );
}
