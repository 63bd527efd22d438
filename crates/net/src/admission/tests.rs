//! The bytes of admissions, and chains of them.

use super::*;

const MESH: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}

fn key(bits: u64) -> KeyPair {
    KeyPair::from_seed(&[bits as u8; 32]).unwrap()
}

fn admitted(replica: u64, issuer: u64, first: u16, count: u16) -> Admission {
    let terms = AdmissionTerms {
        mesh: MESH,
        replica: id(replica),
        key: key(replica).public(),
        slots: SlotRange { first, count },
        ticket: TicketId(0x11),
        issuer: id(issuer),
    };
    Admission::sign(terms, &key(issuer))
}

/// A reader that believes only these.
fn knows(admissions: &[Admission]) -> impl Fn(ReplicaId) -> Option<AdmissionTerms> {
    move |replica| admissions.iter().map(|admission| admission.terms).find(|terms| terms.replica == replica)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_an_admission_never_change() {
    let admission = admitted(2, 1, 0x6000, 0x2000);
    assert_eq!(hex(&admission.encode()), GOLDEN);
}

#[test]
fn an_admission_reads_back_as_written_and_nothing_else_reads() {
    let admission = admitted(2, 1, 100, 10);
    let bytes = admission.encode();
    assert_eq!(bytes.len(), Admission::LEN);
    assert_eq!(Admission::decode(bytes.clone().into()), Ok(admission));
    for len in 0..bytes.len() {
        assert!(Admission::decode(bytes[..len].to_vec().into()).is_err(), "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let what = "admission";
    assert_eq!(Admission::decode(longer.into()), Err(DecodeError::Trailing { what, bytes: 1 }));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(Admission::decode(newer.into()), Err(DecodeError::UnknownVersion { found: 2 }));
    for (at, what) in [(17, "admitted replica"), (71, "issuer")] {
        let at = if what == "issuer" { Admission::LEN - Signature::LEN - 8 } else { at };
        let mut nobody = bytes.clone();
        nobody[at..at + 8].fill(0);
        assert_eq!(Admission::decode(nobody.into()), Err(DecodeError::NotCanonical { what }));
    }
}

#[test]
fn slots_beyond_the_last_and_none_at_all_do_not_read() {
    let bytes = admitted(2, 1, 100, 10).encode();
    for slots in [[0, 0, 0, 0], [0x80, 0, 0, 1], [0x7f, 0xff, 0, 2], [0xff, 0xff, 0xff, 0xff]] {
        let mut wrong = bytes.clone();
        wrong[57..61].copy_from_slice(&slots);
        assert_eq!(Admission::decode(wrong.into()), Err(DecodeError::NotCanonical { what: "slots" }), "{slots:?}");
    }
}

#[test]
fn a_chain_ends_at_the_first_issuer_that_is_known() {
    let (one, two, three) = (Admission::founder(MESH, id(1), &key(1)), admitted(2, 1, 100, 50), admitted(3, 2, 120, 9));
    let chain = [three, two, one];
    assert_eq!(check_chain(MESH, &chain, knows(&[one])), Ok(()));
    assert_eq!(check_chain(MESH, &chain[..1], knows(&[one, two])), Ok(()));
    assert_eq!(check_chain(MESH, &chain[..2], knows(&[one])), Ok(()));
    // What lies above a known issuer does not matter.
    assert_eq!(check_chain(MESH, &[three, admitted(9, 9, 0, 1)], knows(&[two])), Ok(()));
}

#[test]
fn a_chain_that_nobody_knows_proves_nothing() {
    let (one, two, three) = (Admission::founder(MESH, id(1), &key(1)), admitted(2, 1, 100, 50), admitted(3, 2, 120, 9));
    let stranger = Admission::founder(MESH, id(8), &key(8));
    assert_eq!(check_chain(MESH, &[], knows(&[one])), Err(ChainFault::Empty));
    assert_eq!(check_chain(MESH, &[three, two], knows(&[])), Err(ChainFault::NoEnd { replica: id(2) }));
    // A founder's admission ends a chain, but makes nobody known.
    assert_eq!(check_chain(MESH, &[stranger], knows(&[one])), Err(ChainFault::NoEnd { replica: id(8) }));
    assert_eq!(check_chain(MESH, &[three, two, one], knows(&[stranger])), Err(ChainFault::NoEnd { replica: id(1) }));
    assert_eq!(check_chain(MESH + 1, &[two], knows(&[one])), Err(ChainFault::WrongMesh { replica: id(2) }));
    let broken = ChainFault::Broken { replica: id(3), issuer: id(2) };
    assert_eq!(check_chain(MESH, &[three, one], knows(&[stranger])), Err(broken));
}

#[test]
fn each_link_of_a_chain_is_checked() {
    let (one, two, three) = (Admission::founder(MESH, id(1), &key(1)), admitted(2, 1, 100, 50), admitted(3, 2, 120, 9));
    let mut forged = two;
    forged.signature.0[9] ^= 1;
    let fault = ChainFault::Forged { replica: id(2), issuer: id(1) };
    assert_eq!(check_chain(MESH, &[three, forged], knows(&[one])), Err(fault));
    // Another key under the issuer's name, with a well signed admission of its own below.
    let mut impostor = two;
    impostor.terms.key = key(9).public();
    let below = Admission::sign(three.terms, &key(9));
    assert_eq!(check_chain(MESH, &[below, impostor], knows(&[one])), Err(fault));
    let greedy = admitted(3, 2, 149, 2);
    let fault = ChainFault::SlotsNotOwned { replica: id(3), issuer: id(2) };
    assert_eq!(check_chain(MESH, &[greedy, two], knows(&[one])), Err(fault));
}

const GOLDEN: &str = concat!(
    "01",                                                               // version
    "0123456789abcdef0011223344556677",                                 // mesh
    "0000000000000002",                                                 // replica
    "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394", // key
    "60002000",                                                         // slots
    "0000000000000011",                                                 // ticket
    "0000000000000001",                                                 // issuer
    "65e0bd5d2a22390b9990da5c1871fae385fa1b2eb8912eced109ae696fd8f067", // signature
    "3850372d8fe0e8b14b0524d62516b122d96e2c02eab33bd02824d3ae714c0a06",
);
