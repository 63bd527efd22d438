//! Why one end of a connection will have nothing to do with the other, as both sides name it.

use thiserror::Error;

use crate::printable::printable;

/// Why a peer was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum PeerRefusal {
    /// It is of another mesh.
    #[error("it belongs to another mesh")]
    WrongMesh,
    /// It says that it is the one it speaks to: one of the two is a copy.
    #[error("it has our own identity")]
    OurIdentity,
    /// The one it speaks to knows that replica under another key.
    #[error("its key is not the one this member is known by")]
    WrongKey,
    /// It is no member that the one it speaks to knows, and presented nothing that proves it.
    #[error("it is not a known member, and the admissions it presents do not prove that it is one")]
    Unknown,
    /// It was a member, and is none any more.
    #[error("it was removed from the mesh")]
    Removed,
    /// There is no room for another connection now.
    #[error("too many connections")]
    Busy,
    /// Somebody else has taken the place of that replica, or of the one that it says to succeed.
    #[error("that replica has a successor already, and this is another one: its folder was copied")]
    Succeeded,
    /// What it sent is no greeting.
    #[error("the greeting cannot be read")]
    Malformed,
    /// The one it speaks to has just joined and hears its issuer first.
    #[error("it has just joined, and speaks with the site that admitted it alone for now")]
    Newcomer,
    /// The one it speaks to does not speak with it for a while, for what it has sent.
    #[error("it has sent what nobody may send, and is not spoken with for a while")]
    Quarantined,
}

/// Why a ticket was not redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum JoinRefusal {
    /// The issuer has no such ticket: it never had, or it was redeemed or withdrawn so long ago that nothing is known of it.
    #[error("the ticket is not known to its issuer")]
    UnknownTicket,
    /// Too late.
    #[error("the ticket has expired")]
    Expired,
    /// The secret is not that of the ticket.
    #[error("the ticket's secret is wrong")]
    WrongSecret,
    /// Somebody else joined with it.
    #[error("the ticket was redeemed by another replica")]
    Reused,
    /// The replica is a member already, under another ticket or key.
    #[error("the replica is a member already")]
    AlreadyMember,
    /// Too many attempts in too short a time, whoever made them.
    #[error("too many attempts to join; try again in a moment")]
    TooManyAttempts,
    /// The issuer cannot write now.
    #[error("the issuer cannot admit anyone now")]
    Unavailable,
    /// What was sent is no request to join.
    #[error("the request to join cannot be read")]
    Malformed,
}

/// A refusal as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Of a peer.
    #[error(transparent)]
    Peer(PeerRefusal),
    /// Of a newcomer.
    #[error(transparent)]
    Join(JoinRefusal),
    /// By a later version, for a reason not known here.
    #[error("refused with code {code}: {text}")]
    Other {
        /// Its code.
        code: u8,
        /// Its words, cut to printable ones.
        text: String,
    },
}

impl Refusal {
    /// The code on the wire. Codes are never given away twice.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Peer(PeerRefusal::WrongMesh) => 1,
            Self::Peer(PeerRefusal::OurIdentity) => 2,
            Self::Peer(PeerRefusal::WrongKey) => 3,
            Self::Peer(PeerRefusal::Unknown) => 4,
            Self::Peer(PeerRefusal::Removed) => 5,
            Self::Peer(PeerRefusal::Busy) => 6,
            Self::Peer(PeerRefusal::Malformed) => 7,
            Self::Peer(PeerRefusal::Succeeded) => 8,
            Self::Peer(PeerRefusal::Newcomer) => 9,
            Self::Peer(PeerRefusal::Quarantined) => 10,
            Self::Join(JoinRefusal::UnknownTicket) => 32,
            Self::Join(JoinRefusal::Expired) => 33,
            Self::Join(JoinRefusal::WrongSecret) => 34,
            Self::Join(JoinRefusal::Reused) => 35,
            Self::Join(JoinRefusal::AlreadyMember) => 36,
            Self::Join(JoinRefusal::TooManyAttempts) => 37,
            Self::Join(JoinRefusal::Unavailable) => 38,
            Self::Join(JoinRefusal::Malformed) => 39,
            Self::Other { code, .. } => *code,
        }
    }

    /// What a code and its words stand for.
    pub fn from_code(code: u8, text: &str) -> Self {
        let known = KNOWN.iter().find(|refusal| refusal.code() == code);
        known.cloned().unwrap_or_else(|| Self::Other { code, text: printable(text) })
    }
}

/// Every refusal that this version names.
const KNOWN: [Refusal; 18] = [
    Refusal::Peer(PeerRefusal::WrongMesh),
    Refusal::Peer(PeerRefusal::OurIdentity),
    Refusal::Peer(PeerRefusal::WrongKey),
    Refusal::Peer(PeerRefusal::Unknown),
    Refusal::Peer(PeerRefusal::Removed),
    Refusal::Peer(PeerRefusal::Busy),
    Refusal::Peer(PeerRefusal::Malformed),
    Refusal::Peer(PeerRefusal::Succeeded),
    Refusal::Peer(PeerRefusal::Newcomer),
    Refusal::Peer(PeerRefusal::Quarantined),
    Refusal::Join(JoinRefusal::UnknownTicket),
    Refusal::Join(JoinRefusal::Expired),
    Refusal::Join(JoinRefusal::WrongSecret),
    Refusal::Join(JoinRefusal::Reused),
    Refusal::Join(JoinRefusal::AlreadyMember),
    Refusal::Join(JoinRefusal::TooManyAttempts),
    Refusal::Join(JoinRefusal::Unavailable),
    Refusal::Join(JoinRefusal::Malformed),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_known_by_its_own_code() {
        for refusal in KNOWN {
            assert_eq!(Refusal::from_code(refusal.code(), ""), refusal);
        }
    }

    #[test]
    fn a_later_versions_words_come_without_control_characters() {
        let refusal = Refusal::from_code(200, "no\x1b[2Jroom\n");
        assert_eq!(refusal, Refusal::Other { code: 200, text: "no?[2Jroom?".into() });
    }
}
