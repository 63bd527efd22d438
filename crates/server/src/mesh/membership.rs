//! The file `MEMBERSHIP`: how this folder's replica came into a mesh that was there before it.
//!
//! It is written twice. Before the ticket is redeemed it holds the name under which the replica asks, so that whoever goes on after a crash
//! asks under the same name and gets the same answer. After that it also holds the answer. A founder has no such file.

use std::path::Path;

use tombolo_crdt::ReplicaId;
use tombolo_net::{Admission, Contact, PublicKey, Ticket, TicketId};

use super::file::{self, Fields, FileError};

const NAME: &str = "MEMBERSHIP";
const TITLE: &str = "tombolo membership";

/// How a replica joins, or joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) mesh: u128,
    /// The name under which it asks.
    pub(super) replica: ReplicaId,
    pub(super) ticket: TicketId,
    pub(super) issuer: ReplicaId,
    pub(super) issuer_key: PublicKey,
    /// Where the issuer was to be found.
    pub(super) addresses: Vec<String>,
    /// The answer: its own admission, and above it that of its issuer and so on. Empty before the answer.
    pub(super) admissions: Vec<Admission>,
}

impl Membership {
    /// What is known before a ticket is redeemed.
    pub(super) fn asked(ticket: &Ticket, replica: ReplicaId) -> Self {
        Self {
            mesh: ticket.mesh,
            replica,
            ticket: ticket.id,
            issuer: ticket.issuer,
            issuer_key: ticket.issuer_key,
            addresses: ticket.addresses.clone(),
            admissions: Vec::new(),
        }
    }

    /// Its own admission, once it was given.
    pub(super) fn admission(&self) -> Option<&Admission> {
        self.admissions.first()
    }

    /// Where to find the issuer until the mesh's own data say so.
    pub(super) fn contact(&self) -> Contact {
        Contact { replica: self.issuer, key: self.issuer_key, addresses: self.addresses.clone() }
    }

    /// Reads that of a folder, if it has one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, FileError> {
        let Some(fields) = file::read(folder, NAME, TITLE)? else { return Ok(None) };
        Self::of_fields(&fields).map(Some).ok_or_else(|| FileError::Damaged { path: folder.join(NAME) })
    }

    /// Writes it; it is durable when this returns.
    pub(super) fn save(&self, folder: &Path) -> Result<(), FileError> {
        file::write(folder, NAME, TITLE, &self.fields())
    }

    fn fields(&self) -> Fields {
        Fields::default()
            .with("mesh", format!("{:032x}", self.mesh))
            .with("replica", format!("{:016x}", self.replica.get()))
            .with("ticket", format!("{:016x}", self.ticket.0))
            .with("issuer", format!("{:016x}", self.issuer.get()))
            .with("issuer-key", self.issuer_key)
            .with_all("address", &self.addresses)
            .with_all("admission", self.admissions.iter().map(|admission| file::hex(&admission.encode())))
    }

    fn of_fields(fields: &Fields) -> Option<Self> {
        let replica = |name| ReplicaId::new(u64::from_be_bytes(fields.bytes(name)?));
        let admission = |digits: &str| Admission::decode(file::unhex(digits)?.into()).ok();
        Some(Self {
            mesh: u128::from_be_bytes(fields.bytes("mesh")?),
            replica: replica("replica")?,
            ticket: TicketId(u64::from_be_bytes(fields.bytes("ticket")?)),
            issuer: replica("issuer")?,
            issuer_key: PublicKey(fields.bytes("issuer-key")?),
            addresses: fields.all("address").map(str::to_owned).collect(),
            admissions: fields.all("admission").map(admission).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tombolo_net::{KeyPair, Secret};

    use super::*;

    fn asked() -> Membership {
        let ticket = Ticket {
            mesh: 7 << 64,
            issuer: ReplicaId::new(0xa1).unwrap(),
            issuer_key: PublicKey([3; 32]),
            id: TicketId(9),
            secret: Secret([5; 16]),
            expires_ms: 1,
            addresses: vec!["pier.example:2380".into(), "[::1]:2380".into()],
        };
        Membership::asked(&ticket, ReplicaId::new(0xb2).unwrap())
    }

    #[test]
    fn it_reads_back_before_and_after_the_answer_and_never_holds_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Membership::load(folder.path()).unwrap(), None);
        let (_, key) = KeyPair::generate().unwrap();
        let founder = Admission::founder(7 << 64, ReplicaId::new(0xa1).unwrap(), &key);
        for admissions in [vec![], vec![founder], vec![founder, founder]] {
            let membership = Membership { admissions, ..asked() };
            membership.save(folder.path()).unwrap();
            assert_eq!(Membership::load(folder.path()).unwrap(), Some(membership));
        }
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(!text.contains(&file::hex(&[5; 16])), "{text}");
    }

    #[test]
    fn what_lacks_a_field_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        file::write(folder.path(), NAME, TITLE, &Fields::default().with("mesh", "0f")).unwrap();
        assert!(matches!(Membership::load(folder.path()), Err(FileError::Damaged { .. })));
    }
}
