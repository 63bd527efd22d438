//! The names under which membership lies in the replicated system data.
//!
//! Ids are 16 lower-case hexadecimal digits; any other spelling is no such name.

use std::fmt;

use tombolo_crdt::ReplicaId;

use crate::TicketId;

/// What a system key of the membership names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemKey {
    /// `member/<replica>/admission`: an [`crate::Admission`].
    Admission(ReplicaId),
    /// `member/<replica>/announcement`: an [`crate::Announcement`].
    Announcement(ReplicaId),
    /// `member/<replica>/state`: a [`crate::Statement`] that it is parked, or active again.
    State(ReplicaId),
    /// `member/<replica>/removal`: a [`crate::Statement`] that it is removed. It has a place of its own, so that no other
    /// statement can supersede it.
    Removal(ReplicaId),
    /// `member/<replica>/closed/<member>`: that member's [`crate::Statement`] that it takes nothing more from the removed one.
    Closed(ReplicaId, ReplicaId),
    /// `member/<replica>/lease-heir`: a [`crate::Statement`] that names who counts its leases.
    LeaseHeir(ReplicaId),
    /// `member/<replica>/entered`: how far what a removed one wrote beyond its end has been entered as new writes.
    Entered(ReplicaId),
    /// `member/<replica>/entered/<chain>`: the same for what it wrote apart from the mesh, which ends with a record of this chain.
    EnteredFork(ReplicaId, u64),
    /// `member/<replica>/proof`: its admission and those above it, [`crate::Admission::encode_chain`]: written by its subject, as its first
    /// record, so that whoever meets its stream finds there what proves it.
    Proof(ReplicaId),
    /// `invitation/<issuer>/<ticket>`: an [`crate::Invitation`] that nobody has redeemed.
    Invitation(ReplicaId, TicketId),
}

impl SystemKey {
    /// Every member's keys begin so.
    pub const MEMBER_PREFIX: &'static str = "member/";
    /// Every invitation's key begins so.
    pub const INVITATION_PREFIX: &'static str = "invitation/";

    /// What `key` names; `None` when it is nothing of the membership.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let key = str::from_utf8(key).ok()?;
        if let Some(rest) = key.strip_prefix(Self::MEMBER_PREFIX) {
            let (replica, what) = rest.split_once('/')?;
            let replica = ReplicaId::new(parse_id(replica)?)?;
            return match what {
                "admission" => Some(Self::Admission(replica)),
                "announcement" => Some(Self::Announcement(replica)),
                "proof" => Some(Self::Proof(replica)),
                "state" => Some(Self::State(replica)),
                "removal" => Some(Self::Removal(replica)),
                "lease-heir" => Some(Self::LeaseHeir(replica)),
                "entered" => Some(Self::Entered(replica)),
                _ if what.starts_with("entered/") => {
                    Some(Self::EnteredFork(replica, parse_id(what.strip_prefix("entered/")?)?))
                }
                _ => {
                    let member = ReplicaId::new(parse_id(what.strip_prefix("closed/")?)?)?;
                    Some(Self::Closed(replica, member))
                }
            };
        }
        let (issuer, ticket) = key.strip_prefix(Self::INVITATION_PREFIX)?.split_once('/')?;
        Some(Self::Invitation(ReplicaId::new(parse_id(issuer)?)?, TicketId(parse_id(ticket)?)))
    }

    /// The prefix of the invitations that `issuer` has outstanding.
    pub fn invitations_of(issuer: ReplicaId) -> String {
        format!("{}{:016x}/", Self::INVITATION_PREFIX, issuer.get())
    }
}

fn parse_id(digits: &str) -> Option<u64> {
    let canonical = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// The key itself.
impl fmt::Display for SystemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of_member =
            |replica: ReplicaId, what: &str| write!(f, "{}{:016x}/{what}", Self::MEMBER_PREFIX, replica.get());
        match *self {
            Self::Admission(replica) => of_member(replica, "admission"),
            Self::Announcement(replica) => of_member(replica, "announcement"),
            Self::State(replica) => of_member(replica, "state"),
            Self::Removal(replica) => of_member(replica, "removal"),
            Self::Closed(replica, member) => of_member(replica, &format!("closed/{:016x}", member.get())),
            Self::LeaseHeir(replica) => of_member(replica, "lease-heir"),
            Self::Entered(replica) => of_member(replica, "entered"),
            Self::EnteredFork(replica, chain) => of_member(replica, &format!("entered/{chain:016x}")),
            Self::Proof(replica) => of_member(replica, "proof"),
            Self::Invitation(issuer, ticket) => {
                write!(f, "{}{:016x}/{ticket}", Self::INVITATION_PREFIX, issuer.get())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        let replica = ReplicaId::new(0xab).unwrap();
        let member = ReplicaId::new(0xcd).unwrap();
        let keys = [
            (SystemKey::Admission(replica), "member/00000000000000ab/admission"),
            (SystemKey::Announcement(replica), "member/00000000000000ab/announcement"),
            (SystemKey::State(replica), "member/00000000000000ab/state"),
            (SystemKey::Removal(replica), "member/00000000000000ab/removal"),
            (SystemKey::Closed(replica, member), "member/00000000000000ab/closed/00000000000000cd"),
            (SystemKey::LeaseHeir(replica), "member/00000000000000ab/lease-heir"),
            (SystemKey::Entered(replica), "member/00000000000000ab/entered"),
            (SystemKey::EnteredFork(replica, 9), "member/00000000000000ab/entered/0000000000000009"),
            (SystemKey::Invitation(replica, TicketId(7)), "invitation/00000000000000ab/0000000000000007"),
        ];
        for (key, text) in keys {
            assert_eq!(key.to_string(), text);
            assert_eq!(SystemKey::parse(text.as_bytes()), Some(key));
        }
        assert!(keys[8].1.starts_with(&SystemKey::invitations_of(replica)));
    }

    #[test]
    fn a_key_has_one_spelling() {
        let others = [
            "member/00000000000000AB/admission",
            "member/ab/admission",
            "member/+0000000000000ab/admission",
            "member/0000000000000000/admission",
            "member/00000000000000ab/",
            "member/00000000000000ab/admission/",
            "member/00000000000000ab/closed/",
            "member/00000000000000ab/closed/ab",
            "member/00000000000000ab/closed/0000000000000000",
            "member/00000000000000ab/closed",
            "member/00000000000000ab/entered/9",
            "invitation/00000000000000ab",
            "user/root",
        ];
        for other in others {
            assert_eq!(SystemKey::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(SystemKey::parse(b"member/\xff"), None);
    }
}
