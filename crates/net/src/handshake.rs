//! What is said on a connection before its session: who is there, or a newcomer's request.
//!
//! TLS has proven who holds which key. The dialer opens a stream and sends a [`Greeting`] or a [`JoinRequest`]; it is
//! answered by a `Greeting` or a [`Welcome`], or refused with a reason. This file is the messages and their bytes; who is let
//! in is decided in `gate.rs`.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, ReplicaId,
    codec::{Reader, put_bytes},
};

use crate::{
    Admission, Announcement, PublicKey, Refusal, Secret, TicketId,
    admission::{put_chain, read_chain},
};

/// Bytes of a handshake message: the longest chain of admissions, or the longest announcement, fits twice.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// Who speaks, and what proves it to those who have not heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) mesh: u128,
    pub(crate) replica: ReplicaId,
    /// From its own admission upwards; may be empty for somebody known.
    pub(crate) chain: Vec<Admission>,
}

/// A newcomer's request to its ticket's issuer.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Which ticket.
    pub ticket: TicketId,
    /// The ticket's secret.
    pub secret: Secret,
    /// Who wants to join.
    pub replica: ReplicaId,
    /// The key it has proven to hold.
    pub key: PublicKey,
    /// What it says of itself. It will announce that itself once it is a member; until then it is for the issuer's log.
    pub announcement: Announcement,
}

/// The issuer's answer to a newcomer that it admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The newcomer's admission.
    pub admission: Admission,
    /// The issuer's admission, its issuer's, and so on up to the founder's.
    pub issuer_chain: Vec<Admission>,
}

/// One message of the handshake.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Greeting(Greeting),
    Join(JoinRequest),
    Welcome(Welcome),
    Refused(Refusal),
}

impl Welcome {
    /// The newcomer's admission and those above it: what it presents to peers.
    pub fn chain(&self) -> Vec<Admission> {
        [&[self.admission], &self.issuer_chain[..]].concat()
    }
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Greeting(Greeting { mesh, replica, chain }) => {
                out.push(GREETING);
                out.extend_from_slice(&mesh.to_be_bytes());
                out.extend_from_slice(&replica.get().to_be_bytes());
                put_chain(&mut out, chain);
            }
            Self::Join(JoinRequest { ticket, secret, replica, announcement, key: _ }) => {
                out.push(JOIN);
                out.extend_from_slice(&ticket.0.to_be_bytes());
                out.extend_from_slice(&secret.0);
                out.extend_from_slice(&replica.get().to_be_bytes());
                put_bytes(&mut out, &announcement.encode());
            }
            Self::Welcome(Welcome { admission, issuer_chain }) => {
                out.push(WELCOME);
                out.extend_from_slice(&admission.encode());
                put_chain(&mut out, issuer_chain);
            }
            Self::Refused(refusal) => {
                out.push(REFUSED);
                out.push(refusal.code());
                put_bytes(&mut out, refusal.to_string().as_bytes());
            }
        }
        out.into()
    }

    /// Reads a message from a peer that has proven to hold `key`.
    pub(crate) fn decode(bytes: Bytes, key: PublicKey) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8("handshake message")? {
            GREETING => Self::Greeting(Greeting {
                mesh: u128::from_be_bytes(reader.array("mesh")?),
                replica: reader.replica_id("replica")?,
                chain: read_chain(&mut reader)?,
            }),
            JOIN => Self::Join(JoinRequest {
                ticket: TicketId(reader.u64("ticket")?),
                secret: Secret(reader.array("secret")?),
                replica: reader.replica_id("replica")?,
                key,
                announcement: Announcement::decode(reader.bytes("announcement")?)?,
            }),
            WELCOME => Self::Welcome(Welcome {
                admission: Admission::read(&mut reader)?,
                issuer_chain: read_chain(&mut reader)?,
            }),
            REFUSED => {
                let code = reader.u8("refusal")?;
                let text = reader.bytes("reason")?;
                Self::Refused(Refusal::from_code(code, &String::from_utf8_lossy(&text)))
            }
            _ => return Err(DecodeError::NotCanonical { what: "handshake message" }),
        };
        reader.finish("handshake message")?;
        Ok(message)
    }
}

const GREETING: u8 = 1;
const JOIN: u8 = 2;
const WELCOME: u8 = 3;
const REFUSED: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JoinRefusal, KeyPair, Roster};

    fn admission() -> Admission {
        let key = KeyPair::from_seed(&[1; 32]).unwrap();
        Admission::founder(7, ReplicaId::new(1).unwrap(), &key)
    }

    fn messages() -> [Message; 4] {
        let (replica, key) = (ReplicaId::new(3).unwrap(), PublicKey([4; 32]));
        [
            Message::Greeting(Greeting { mesh: 7, replica, chain: vec![admission(); 2] }),
            Message::Join(JoinRequest {
                ticket: TicketId(5),
                secret: Secret([6; 16]),
                replica,
                key,
                announcement: Announcement { name: "pier".into(), ..Default::default() },
            }),
            Message::Welcome(Welcome { admission: admission(), issuer_chain: vec![admission()] }),
            Message::Refused(Refusal::Join(JoinRefusal::Expired)),
        ]
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        Message::decode(Bytes::copy_from_slice(bytes), PublicKey([4; 32]))
    }

    #[test]
    fn messages_read_back_as_written() {
        for message in messages() {
            let bytes = message.encode();
            assert!(bytes.len() <= HANDSHAKE_BYTES_MAX);
            let read = decode(&bytes).unwrap();
            assert_eq!(read.encode(), bytes);
            assert_eq!(format!("{read:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        for message in messages() {
            let bytes = message.encode();
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err(), "{message:?} cut to {len}");
            }
            assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert_eq!(decode(&[9]).unwrap_err(), DecodeError::NotCanonical { what: "handshake message" });
    }

    #[test]
    fn the_longest_messages_fit_the_limit_and_longer_chains_are_refused() {
        let (mesh, replica) = (7, ReplicaId::new(3).unwrap());
        let chain = vec![admission(); Roster::CHAIN_MAX];
        let longest = Message::Greeting(Greeting { mesh, replica, chain: chain.clone() }).encode();
        assert!(longest.len() <= HANDSHAKE_BYTES_MAX && decode(&longest).is_ok());
        let longer = Message::Greeting(Greeting { mesh, replica, chain: [chain, vec![admission()]].concat() }).encode();
        assert!(matches!(decode(&longer), Err(DecodeError::TooMany { count: 65, .. })));
        let text = "a".repeat(Announcement::TEXT_BYTES_MAX);
        let list = vec![text.clone(); Announcement::LIST_MAX];
        let announcement = Announcement { name: text, addresses: list.clone(), client_urls: list, kinds: 7 };
        assert!(announcement.encode().len() + 128 <= HANDSHAKE_BYTES_MAX);
    }
}
