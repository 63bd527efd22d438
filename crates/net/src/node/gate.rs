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
        if *replica == self.own || self.roster.heir(*replica) == self.own {
            return Err(PeerRefusal::OurIdentity);
        }
        if self.has_lost_its_place(*replica, chain) {
            return Err(PeerRefusal::Succeeded);
        }
        if self.roster.is_removed(*replica) {
            return Err(PeerRefusal::Removed);
        }
        if self.is_newcomer() && !self.contacts.iter().any(|contact| contact.replica == *replica) {
            return Err(PeerRefusal::Newcomer);
        }
        match self.known_key(*replica) {
            Some(known) if known == key => Ok(()),
            Some(_) => Err(PeerRefusal::WrongKey),
            None if self.is_proven(*replica, key, chain) => Ok(()),
            None => Err(PeerRefusal::Unknown),
        }
    }

    /// Whether somebody else has taken the place of this replica, or of one that its chain says it has succeeded.
    fn has_lost_its_place(&self, replica: ReplicaId, chain: &[Admission]) -> bool {
        let terms = |replica| self.roster.terms(replica);
        let successor = |replica| self.roster.member(replica).and_then(|member| member.successor).and_then(terms);
        let is_second = |admission: &Admission| {
            let claim = admission.terms;
            let issuer = terms(claim.issuer).filter(|issuer| claim.succeeds(issuer));
            let first = issuer.and_then(|issuer| successor(issuer.replica));
            first.is_some_and(|first| first.replica != claim.replica && first.precedence() < claim.precedence())
        };
        successor(replica).is_some() || chain.iter().any(is_second)
    }

    /// Whether the one who greets so is the successor, at however many removes, of the peer that was dialed, and to be let in as such.
    pub(crate) fn check_successor(
        &self,
        dialed: ReplicaId,
        greeting: &Greeting,
        key: PublicKey,
    ) -> Result<bool, PeerRefusal> {
        let mut name = greeting.replica;
        for link in greeting.chain.iter().map(|admission| admission.terms) {
            let is_link = link.replica == name && link.key == key && link.issuer != name;
            if name == dialed || !is_link {
                break;
            }
            name = link.issuer;
        }
        if name != dialed || self.known_key(dialed) != Some(key) {
            Ok(false)
        } else {
            self.check(greeting, key).map(|()| true)
        }
    }

    /// Whether we have joined, and have not heard yet what our issuer knew when it let us in. Somebody may have been removed
    /// from the mesh before that: until we know who, we speak with our issuer alone.
    pub(crate) fn is_newcomer(&self) -> bool {
        !self.chain.is_empty() && !self.contacts.is_empty() && !self.roster.is_settled(self.own)
    }

    /// The key by which a replica is known already, unless it was removed.
    pub(crate) fn known_key(&self, replica: ReplicaId) -> Option<PublicKey> {
        if self.roster.is_removed(replica) {
            return None;
        }
        let contact = || self.contacts.iter().find(|contact| contact.replica == replica).map(|contact| contact.key);
        self.known(replica).map(|terms| terms.key).or_else(contact)
    }

    /// Whether a chain leads from this replica and key to somebody who is known by admission.
    fn is_proven(&self, replica: ReplicaId, key: PublicKey, chain: &[Admission]) -> bool {
        let names_it = |first: &Admission| first.terms.replica == replica && first.terms.key == key;
        let unknown =
            chain.iter().map(|admission| admission.terms.issuer).take_while(|issuer| self.known(*issuer).is_none());
        // A removed member's word admits nobody: whom it let in before is in the roster, or was never heard of.
        let is_by_removed = unknown.into_iter().any(|issuer| self.roster.is_removed(issuer));
        chain.first().is_some_and(names_it)
            && !is_by_removed
            && check_chain(self.mesh, chain, |issuer| self.known(issuer)).is_ok()
    }

    /// Under which terms somebody was admitted whose word admits others.
    fn known(&self, replica: ReplicaId) -> Option<AdmissionTerms> {
        if self.roster.is_removed(replica) {
            return None;
        }
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
            seq: 1,
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
    fn a_successor_comes_in_and_its_predecessor_no_more() {
        let old = admitted(2, 1, 100, 100);
        let heir = |replica, signed_ms| Admission::succession(&old.terms, id(replica), &key(2), signed_ms);
        let check = |known: &[Admission], replica, chain: Vec<Admission>| {
            let roster = roster(known);
            let gate = Gate { mesh: MESH, own: id(1), chain: &[], contacts: &[], roster: &roster };
            gate.check(&Greeting { mesh: MESH, replica: id(replica), chain }, key(2).public())
        };
        let (first, second) = (heir(20, 5), heir(21, 6));
        let before = [founder(), old];
        assert_eq!(check(&before, 20, vec![first, old]), Ok(()), "it is proven before anybody has heard of it");
        assert_eq!(check(&before, 2, vec![]), Ok(()));
        let after = [founder(), old, first];
        assert_eq!(check(&after, 20, vec![]), Ok(()));
        assert_eq!(check(&after, 2, vec![old]), Err(PeerRefusal::Succeeded), "the old name is used up");
        assert_eq!(check(&after, 21, vec![second, old]), Err(PeerRefusal::Succeeded));
        let third = Admission::succession(&second.terms, id(22), &key(2), 1);
        assert_eq!(check(&after, 22, vec![third, second, old]), Err(PeerRefusal::Succeeded), "nor whom it admits");
        // Who was signed first counts, whoever was heard of first.
        assert_eq!(check(&[founder(), old, second], 20, vec![first, old]), Ok(()));
        // A member with the name that we had is a copy of us.
        let roster = roster(&after);
        let gate = Gate { mesh: MESH, own: id(20), chain: &[], contacts: &[], roster: &roster };
        let copy = Greeting { mesh: MESH, replica: id(2), chain: vec![] };
        assert_eq!(gate.check(&copy, key(2).public()), Err(PeerRefusal::OurIdentity));
    }

    #[test]
    fn whoever_answers_in_a_peers_place_is_its_successor_or_nobody() {
        let old = admitted(2, 1, 100, 100);
        let first = Admission::succession(&old.terms, id(20), &key(2), 5);
        let next = Admission::succession(&first.terms, id(21), &key(2), 6);
        let other = admitted(3, 2, 110, 10);
        let roster = roster(&[founder(), old]);
        let gate = Gate { mesh: MESH, own: id(1), chain: &[], contacts: &[], roster: &roster };
        let answer = |replica, chain, key_of: u64| {
            let greeting = Greeting { mesh: MESH, replica: id(replica), chain };
            gate.check_successor(id(2), &greeting, key(key_of).public())
        };
        assert_eq!(answer(20, vec![first, old], 2), Ok(true));
        assert_eq!(answer(21, vec![next, first, old], 2), Ok(true));
        assert_eq!(answer(3, vec![other, old], 3), Ok(false), "one that it admitted is another one");
        assert_eq!(answer(20, vec![], 2), Ok(false));
        let forged = Admission { signature: other.signature, ..first };
        assert_eq!(answer(20, vec![forged, old], 2), Err(PeerRefusal::Unknown));
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

    /// What member 1 answers whoever greets so, when it has removed 2, who had admitted 3.
    fn answer_after_removal(replica: u64, chain: Vec<Admission>) -> Result<(), PeerRefusal> {
        use crate::{Saying, Statement, StatementTerms};
        let terms = StatementTerms { mesh: MESH, subject: id(2), saying: Saying::Removed, made_ms: 1, maker: id(1) };
        let removal = Statement::sign(terms, &key(1));
        let admissions = [founder(), admitted(2, 1, 100, 100), admitted(3, 2, 110, 10)];
        let entry = |admission: &Admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            author: admission.terms.issuer,
            seq: 1,
            value: admission.encode().into(),
        };
        let removal = RosterEntry {
            key: removal.key().to_string().into(),
            author: id(1),
            seq: 2,
            value: removal.encode().into(),
        };
        let roster = Roster::new(MESH, admissions.iter().map(entry).chain([removal]));
        let contact = Contact { replica: id(2), key: key(2).public(), addresses: Vec::new() };
        let gate = Gate { mesh: MESH, own: id(1), chain: &[], contacts: &[contact], roster: &roster };
        gate.check(&Greeting { mesh: MESH, replica: id(replica), chain }, key(replica).public())
    }

    #[test]
    fn a_removed_member_is_refused_and_admits_nobody_any_more() {
        let two = admitted(2, 1, 100, 100);
        assert_eq!(answer_after_removal(2, vec![two]), Err(PeerRefusal::Removed), "also as a contact");
        assert_eq!(answer_after_removal(3, vec![]), Ok(()), "whom it admitted before stays");
        let four = admitted(4, 2, 130, 2);
        assert_eq!(answer_after_removal(4, vec![four, two, founder()]), Err(PeerRefusal::Unknown));
        let five = admitted(5, 4, 130, 1);
        assert_eq!(answer_after_removal(5, vec![five, four, two, founder()]), Err(PeerRefusal::Unknown));
        let six = admitted(6, 3, 112, 1);
        assert_eq!(answer_after_removal(6, vec![six, admitted(3, 2, 110, 10), two, founder()]), Ok(()));
        let heir = Admission::succession(&two.terms, id(7), &key(2), 50);
        let gate_of_heir = answer_after_removal(7, vec![heir, two, founder()]);
        assert!(gate_of_heir.is_err(), "nor does it go on under another name");
    }

    #[test]
    fn a_newcomer_hears_its_issuer_before_anybody_else() {
        let (two, three) = (admitted(2, 1, 100, 100), admitted(3, 1, 210, 10));
        let brought = RosterEntry {
            key: SystemKey::Admission(id(2)).to_string().into(),
            author: id(1),
            seq: 0,
            value: two.encode().into(),
        };
        let on_record = RosterEntry { seq: 9, ..brought.clone() };
        let founders = RosterEntry {
            key: SystemKey::Admission(id(1)).to_string().into(),
            author: id(1),
            seq: 0,
            value: founder().encode().into(),
        };
        let chain = [two, founder()];
        let contact = Contact { replica: id(1), key: key(1).public(), addresses: Vec::new() };
        for (own, expected) in [(brought, Err(PeerRefusal::Newcomer)), (on_record, Ok(()))] {
            let roster = Roster::new(MESH, [founders.clone(), own]);
            let contacts = std::slice::from_ref(&contact);
            let gate = Gate { mesh: MESH, own: id(2), chain: &chain, contacts, roster: &roster };
            let greeting = |replica, chain| Greeting { mesh: MESH, replica: id(replica), chain };
            assert_eq!(gate.check(&greeting(1, vec![]), key(1).public()), Ok(()));
            assert_eq!(gate.check(&greeting(3, vec![three]), key(3).public()), expected);
        }
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
