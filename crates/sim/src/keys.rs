//! The keys of all sites, and the roster that everybody believes: the first site has founded the mesh and admitted the others.

use std::collections::BTreeMap;

use tombolo_crdt::ReplicaId;
use tombolo_net::{
    Admission, AdmissionTerms, KeyPair, Roster, RosterEntry, Signer, SlotRange, Statement, StatementTerms, SystemKey,
    TicketId,
};

/// The keys of a mesh, and who was admitted by whom.
pub(crate) struct Keys {
    mesh: u128,
    founder: Option<(ReplicaId, KeyPair)>,
    entries: Vec<RosterEntry>,
    /// What everybody who ever had a name signs with, and under which terms it was admitted.
    hands: BTreeMap<ReplicaId, (KeyPair, AdmissionTerms)>,
}

impl Keys {
    pub(crate) fn of(mesh: u128) -> Self {
        Self { mesh, founder: None, entries: Vec::new(), hands: BTreeMap::new() }
    }

    /// The hand of the next site, which signs by the key of this seed; `None` if the seed makes none.
    pub(crate) fn admit(&mut self, replica: ReplicaId, slot: u16, seed: &[u8; KeyPair::SEED_LEN]) -> Option<Signer> {
        let key = KeyPair::from_seed(seed).ok()?;
        let (issuer, by) = self.founder.get_or_insert_with(|| (replica, key.clone()));
        let terms = AdmissionTerms {
            mesh: self.mesh,
            replica,
            key: key.public(),
            slots: SlotRange { first: slot, count: 1 },
            ticket: TicketId(u64::from(slot) + 1),
            issuer: *issuer,
        };
        let is_founder = *issuer == replica && by.public() == key.public();
        let admission =
            if is_founder { Admission::founder(self.mesh, replica, by) } else { Admission::sign(terms, by) };
        Some(self.enter(admission, key))
    }

    /// The hand of whoever goes on in a replica's folder; `None` when nobody has that name.
    pub(crate) fn succeed(&mut self, old: ReplicaId, new: ReplicaId, wall_ms: u64) -> Option<Signer> {
        let (key, terms) = self.hands.get(&old)?.clone();
        Some(self.enter(Admission::succession(&terms, new, &key, wall_ms), key))
    }

    fn enter(&mut self, admission: Admission, key: KeyPair) -> Signer {
        let replica = admission.terms.replica;
        self.entries.push(RosterEntry {
            key: SystemKey::Admission(replica).to_string().into(),
            author: admission.terms.issuer,
            seq: 0,
            value: admission.encode().into(),
        });
        self.hands.insert(replica, (key.clone(), admission.terms));
        Signer::new(self.mesh, replica, key)
    }

    /// Everybody who was ever admitted.
    pub(crate) fn roster(&self) -> Roster {
        self.roster_with([])
    }

    /// Where they stand by what some store holds.
    pub(crate) fn roster_with(&self, found: impl IntoIterator<Item = RosterEntry>) -> Roster {
        Roster::new(self.mesh, self.entries.iter().cloned().chain(found))
    }

    /// What somebody says of another one, or of itself, signed; `None` when nobody has the maker's name.
    pub(crate) fn say(&self, terms: StatementTerms) -> Option<Statement> {
        self.hands.get(&terms.maker).map(|(key, _)| Statement::sign(terms, key))
    }
}
