//! Who is let in: the rule by which a key, proven by TLS, becomes a peer.

use tombolo_crdt::ReplicaId;

use crate::{
    Admission, AdmissionTerms, Contact, PeerRefusal, PublicKey, Roster, admission::check_chain, handshake::Greeting,
};

/// What a node believes before anybody presents anything.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) mesh: u128,
    pub(crate) own: ReplicaId,
    /// Our own chain, for as long as the roster does not know us.
    pub(crate) chain: &'a [Admission],
    pub(crate) contacts: &'a [Contact],
    pub(crate) roster: &'a Roster,
}

impl Gate<'_> {
    /// Whether the one who greets so, and has proven `key`, is a peer.
    pub(crate) fn check(&self, greeting: &Greeting, key: PublicKey) -> Result<(), PeerRefusal> {
        let Greeting { mesh, replica, chain } = greeting;
        if *mesh != self.mesh {
            return Err(PeerRefusal::WrongMesh);
        }
        if *replica == self.own {
            return Err(PeerRefusal::OurIdentity);
        }
        // A removed member will be refused here as `Removed`, once the membership has states.
        match self.known_key(*replica) {
            Some(known) if known == key => Ok(()),
            Some(_) => Err(PeerRefusal::WrongKey),
            None if self.is_proven(*replica, key, chain) => Ok(()),
            None => Err(PeerRefusal::Unknown),
        }
    }

    /// The key by which a replica is known already.
    pub(crate) fn known_key(&self, replica: ReplicaId) -> Option<PublicKey> {
        let contact = || self.contacts.iter().find(|contact| contact.replica == replica).map(|contact| contact.key);
        self.known(replica).map(|terms| terms.key).or_else(contact)
    }

    /// Whether a chain leads from this replica and key to somebody who is known by admission.
    fn is_proven(&self, replica: ReplicaId, key: PublicKey, chain: &[Admission]) -> bool {
        let names_it = |first: &Admission| first.terms.replica == replica && first.terms.key == key;
        chain.first().is_some_and(names_it) && check_chain(self.mesh, chain, |issuer| self.known(issuer)).is_ok()
    }

    fn known(&self, replica: ReplicaId) -> Option<AdmissionTerms> {
        let from_chain = || self.chain.iter().map(|admission| admission.terms).find(|terms| terms.replica == replica);
        self.roster.terms(replica).or_else(from_chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyPair, RosterEntry, SlotRange, SystemKey, TicketId};

    const MESH: u128 = 7;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn key(bits: u64) -> KeyPair {
        KeyPair::from_seed(&[bits as u8; 32]).unwrap()
    }

    fn founder() -> Admission {
        Admission::founder(MESH, id(1), &key(1))
    }

    fn admitted(replica: u64, issuer: u64, first: u16, count: u16) -> Admission {
        let terms = AdmissionTerms {
            mesh: MESH,
            replica: id(replica),
            key: key(replica).public(),
            slots: SlotRange { first, count },
            ticket: TicketId(1),
            issuer: id(issuer),
        };
        Admission::sign(terms, &key(issuer))
    }

    fn roster(admissions: &[Admission]) -> Roster {
        let entry = |admission: &Admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            author: admission.terms.issuer,
            value: admission.encode().into(),
        };
        Roster::new(MESH, admissions.iter().map(entry))
    }

    /// What member 2 answers `replica` with `key_of`'s key and `chain`, when it knows 1 and 2.
    fn answer(mesh: u128, replica: u64, key_of: u64, chain: Vec<Admission>) -> Result<(), PeerRefusal> {
        let roster = roster(&[founder(), admitted(2, 1, 100, 100)]);
        let contact = Contact { replica: id(9), key: key(9).public(), addresses: Vec::new() };
        let gate = Gate { mesh: MESH, own: id(2), chain: &[], contacts: &[contact], roster: &roster };
        gate.check(&Greeting { mesh, replica: id(replica), chain }, key(key_of).public())
    }

    #[test]
    fn who_is_known_comes_in_with_its_own_key_alone() {
        assert_eq!(answer(MESH, 1, 1, vec![]), Ok(()));
        assert_eq!(answer(MESH, 1, 3, vec![]), Err(PeerRefusal::WrongKey));
        assert_eq!(answer(MESH, 9, 9, vec![]), Ok(()));
        assert_eq!(answer(MESH, 9, 3, vec![]), Err(PeerRefusal::WrongKey));
        assert_eq!(answer(MESH + 1, 1, 1, vec![]), Err(PeerRefusal::WrongMesh));
        assert_eq!(answer(MESH, 2, 2, vec![]), Err(PeerRefusal::OurIdentity));
    }

    #[test]
    fn a_stranger_comes_in_with_a_chain_to_somebody_known() {
        let (three, four) = (admitted(3, 2, 110, 10), admitted(4, 3, 115, 2));
        assert_eq!(answer(MESH, 3, 3, vec![]), Err(PeerRefusal::Unknown));
        assert_eq!(answer(MESH, 3, 3, vec![three]), Ok(()));
        assert_eq!(answer(MESH, 4, 4, vec![four]), Err(PeerRefusal::Unknown));
        assert_eq!(answer(MESH, 4, 4, vec![four, three]), Ok(()));
    }

    #[test]
    fn a_chain_is_of_use_to_nobody_else() {
        let three = admitted(3, 2, 110, 10);
        assert_eq!(answer(MESH, 3, 4, vec![three]), Err(PeerRefusal::Unknown), "another key");
        assert_eq!(answer(MESH, 4, 3, vec![three]), Err(PeerRefusal::Unknown), "another name");
        // A well signed admission under another key than the known one takes nobody's place.
        let mut terms = admitted(1, 2, 110, 10).terms;
        terms.key = key(3).public();
        let usurper = Admission::sign(terms, &key(2));
        assert_eq!(answer(MESH, 1, 3, vec![usurper]), Err(PeerRefusal::WrongKey));
        // A contact is believed to be who it is, but not to admit others.
        assert_eq!(answer(MESH, 5, 5, vec![admitted(5, 9, 0, 1)]), Err(PeerRefusal::Unknown));
    }

    #[test]
    fn a_newcomer_with_an_empty_roster_believes_its_own_chain() {
        let (two, three) = (admitted(2, 1, 100, 100), admitted(3, 2, 110, 10));
        let (roster, chain) = (Roster::default(), [two, founder()]);
        let gate = Gate { mesh: MESH, own: id(2), chain: &chain, contacts: &[], roster: &roster };
        let greeting = |replica, chain| Greeting { mesh: MESH, replica: id(replica), chain };
        assert_eq!(gate.check(&greeting(1, vec![]), key(1).public()), Ok(()));
        assert_eq!(gate.check(&greeting(3, vec![three]), key(3).public()), Ok(()));
        assert_eq!(gate.check(&greeting(8, vec![]), key(8).public()), Err(PeerRefusal::Unknown));
    }
}
