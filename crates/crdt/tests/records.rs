//! Records as bytes: one record has one encoding, and nothing else is read.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod any_record;
}

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use support::any_record::{any_chain, any_record};
use tombolo_crdt::{Chain, Operation, Record, RecordHeader};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_record_reads_back_as_it_was_written(record in any_record(), previous in any_chain(), other in any_chain()) {
        let (bytes, chain) = record.encode(&previous);
        let read = Record::decode(bytes.clone()).unwrap();
        prop_assert_eq!(read.header.chain, chain);
        prop_assert_eq!(&read, &with_chain(record, chain));
        prop_assert_eq!(RecordHeader::decode(bytes.clone()).unwrap(), read.header.clone());
        prop_assert_eq!(read.encode(&previous), (bytes.clone(), chain));
        prop_assert!(Record::follows(&bytes, &previous));
        prop_assert_eq!(Record::follows(&bytes, &other), other == previous);
    }

    #[test]
    fn what_a_record_reads_as_does_not_hang_on_the_memory_it_lies_in(record in any_record()) {
        let (bytes, _) = record.encode(&Chain::BEGINNING);
        let shifted = Bytes::from([b"before", &bytes[..], b"after"].concat());
        prop_assert_eq!(Record::decode(shifted.slice(6..6 + bytes.len())), Record::decode(bytes));
    }

    #[test]
    fn no_part_of_a_record_is_a_record(record in any_record(), cut in any::<Index>()) {
        let (bytes, _) = record.encode(&Chain::BEGINNING);
        Record::decode(bytes.slice(..cut.index(bytes.len()))).unwrap_err();
    }

    #[test]
    fn a_changed_record_is_refused_or_is_another_one(
        record in any_record(),
        previous in any_chain(),
        changes in vec(any_change(), 1..4),
    ) {
        let (bytes, _) = record.encode(&previous);
        let mut changed = bytes.to_vec();
        changes.iter().for_each(|change| change.apply(&mut changed));
        check_canonical(&changed);
        prop_assert_eq!(Record::follows(&changed, &previous), changed == bytes);
    }

    #[test]
    fn random_bytes_are_refused_or_are_a_record(bytes in vec(any::<u8>(), 0..64)) {
        check_canonical(&bytes);
        // Past a good header, nothing but the operations is random.
        let header = [&[1, 0, 0, 0, 0, 0, 0, 0, 7, 5, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0, 1], &bytes, &[0; 16]].concat();
        check_canonical(&header);
    }

    #[test]
    fn unknown_operations_are_passed_on_as_they_came(kind in prop_oneof![Just(0), 1_u64 << 63..], body in vec(any::<u8>(), 0..200)) {
        let operation = Operation::Unknown { kind, body: body.into() };
        let mut record = Record::decode(with_operations(&[])).unwrap();
        record.operations = vec![operation.clone()];
        let (bytes, _) = record.encode(&Chain::BEGINNING);
        let read = Record::decode(bytes.clone()).unwrap();
        prop_assert_eq!(&read.operations, &vec![operation]);
        prop_assert_eq!(read.encode(&Chain::BEGINNING).0, bytes);
    }
}

#[test]
fn operations_are_numbered_by_what_they_add() {
    let put = [1, 3, 0, 0, 0];
    let remove = [2, 5, 0, 1, 0, 1, 0];
    let grant = [4, 9, 0, 0, 0, 0, 0, 0, 0, 1, 60];
    let record = Record::decode(with_operations(&[&put[..], &remove, &grant, &remove, &put])).unwrap();
    assert_eq!(record.numbered().map(|(index, _)| index).collect::<Vec<_>>(), [0, 1, 1, 2, 2]);
    assert_eq!(record.operations.iter().map(Operation::adds).collect::<Vec<_>>(), [1, 0, 1, 0, 1]);
}

/// Decoding fails, or encoding gives exactly these bytes again, the chain aside.
fn check_canonical(bytes: &[u8]) {
    let Ok(record) = Record::decode(Bytes::copy_from_slice(bytes)) else { return };
    let (again, _) = record.encode(&Chain::BEGINNING);
    let (body, chain) = bytes.split_last_chunk::<{ Chain::LEN }>().unwrap();
    assert_eq!(&again[..again.len() - Chain::LEN], body, "{record:#?}");
    assert_eq!(record.header.chain.as_bytes(), chain);
}

/// A record of `r0000000000000007:5` without context delta.
fn with_operations(operations: &[&[u8]]) -> Bytes {
    let header = [&[1, 0, 0, 0, 0, 0, 0, 0, 7, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0][..], &[operations.len() as u8]].concat();
    [&header, &operations.concat()[..], &[0; 16]].concat().into()
}

fn with_chain(mut record: Record, chain: Chain) -> Record {
    record.header.chain = chain;
    record
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            _ if bytes.is_empty() => {}
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Delete(at) => _ = bytes.remove(at.index(bytes.len())),
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => any::<Index>().prop_map(Change::Delete),
        1 => any::<Index>().prop_map(Change::Truncate),
    ]
}
