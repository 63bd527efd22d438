//! What is not a record: one row for each rule of the format, and lies about sizes.

use bytes::Bytes;
use tombolo_crdt::{
    Chain, DecodeError, Dot, Element, LEASE_TTL_S_MAX, Operation, RECORD_BYTES_MAX, RECORD_OPERATIONS_MAX, Record,
    RecordHeader, SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX, codec::put_varint,
};

const VERSION_AUTHOR: [u8; 9] = [1, 0, 0, 0, 0, 0, 0, 0, 7];
const SEQ: [u8; 1] = [5];
const HLC: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 9];
/// No context delta.
const NO_DELTA: [u8; 1] = [0];
/// A kind that is never given out.
const UNKNOWN: u8 = 0;
const OTHER: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 8];

#[test]
fn a_header_has_one_form() {
    let header = |version_author: [u8; 9], seq: &[u8]| record(&[&version_author, seq, &HLC, &NO_DELTA, &[0]]);
    Record::decode(header(VERSION_AUTHOR, &SEQ)).unwrap();

    refused(header([2, 0, 0, 0, 0, 0, 0, 0, 7], &SEQ), DecodeError::UnknownVersion { found: 2 });
    refused(header([0, 0, 0, 0, 0, 0, 0, 0, 7], &SEQ), DecodeError::UnknownVersion { found: 0 });
    refused(header([1, 0, 0, 0, 0, 0, 0, 0, 0], &SEQ), not_canonical("author"));
    Record::decode(header(VERSION_AUTHOR, &varint(Dot::SEQ_MAX))).unwrap();
    refused(header(VERSION_AUTHOR, &varint(Dot::SEQ_MAX + 1)), not_canonical("seq"));
    refused(header(VERSION_AUTHOR, &[0]), not_canonical("seq"));
    refused(header(VERSION_AUTHOR, &[0x85, 0]), not_canonical("seq"));
    refused(header(VERSION_AUTHOR, &[0xff; 10]), not_canonical("seq"));
    refused(Bytes::from_static(&[1; 15]), DecodeError::Truncated { what: "record chain" });
    refused(record(&[]), DecodeError::Truncated { what: "record version" });
}

#[test]
fn a_context_delta_names_others_ascending_with_news() {
    let delta = |parts: &[&[u8]]| record(&[&VERSION_AUTHOR, &SEQ, &HLC, &parts.concat(), &[0]]);
    let high = [0xff; 8];
    Record::decode(delta(&[&[2], &OTHER, &[3], &high, &[1]])).unwrap();

    let fault = not_canonical("context delta");
    refused(delta(&[&[1], &VERSION_AUTHOR[1..], &[3]]), fault.clone());
    refused(delta(&[&[1], &[0; 8], &[3]]), fault.clone());
    refused(delta(&[&[1], &OTHER, &[0]]), fault.clone());
    refused(delta(&[&[1], &OTHER, &varint(u64::MAX)]), fault.clone());
    refused(delta(&[&[2], &OTHER, &[3], &OTHER, &[4]]), fault.clone());
    refused(delta(&[&[2], &high, &[1], &OTHER, &[3]]), fault.clone());
    refused(delta(&[&[0x81, 0], &OTHER, &[3]]), fault);
}

#[test]
fn an_operation_ends_where_its_length_says() {
    let remove = |length| [2, length, 0, 1, 0, 1, 0];
    Record::decode(with_operation(&remove(5))).unwrap();
    refused(with_operation(&remove(4)), DecodeError::Truncated { what: "removed elements" });
    refused(with_operation(&remove(6)), DecodeError::Truncated { what: "operation" });
    let longer = [2, 6, 0, 1, 0, 1, 0, 0];
    refused(with_operation(&longer), DecodeError::Trailing { what: "operation", bytes: 1 });
    let two = [remove(5), remove(5)].concat();
    refused(with_operation(&two), DecodeError::Trailing { what: "record", bytes: 7 });
    let count_of_two = record(&[&VERSION_AUTHOR, &SEQ, &HLC, &NO_DELTA, &[2], &remove(5)]);
    refused(count_of_two, DecodeError::Truncated { what: "operation kind" });
}

#[test]
fn a_list_of_elements_names_earlier_ones_ascending() {
    let remove = |elements: &[&[u8]]| {
        let body = [&[0][..], &elements.concat()].concat();
        with_operation(&[&[2, body.len() as u8][..], &body].concat())
    };
    let foreign = [&[1][..], &OTHER, &[200, 1, 0]].concat();
    Record::decode(remove(&[&[3], &[0, 4, 0], &[0, 4, 1], &foreign])).unwrap();

    let fault = not_canonical("removed elements");
    refused(remove(&[&[0]]), fault.clone());
    refused(remove(&[&[1], &[0, 0, 0]]), fault.clone());
    refused(remove(&[&[1], &[2, 4, 0]]), fault.clone());
    refused(remove(&[&[2], &[0, 4, 0], &[0, 4, 0]]), fault.clone());
    refused(remove(&[&[2], &[0, 4, 1], &[0, 4, 0]]), fault.clone());
    refused(remove(&[&[2], &foreign, &[0, 4, 0]]), fault.clone());
    // The author written as if it were somebody else, and an index beyond 32 bits.
    refused(remove(&[&[1, 1], &VERSION_AUTHOR[1..], &[4, 0]]), fault.clone());
    refused(remove(&[&[1], &[0, 4], &[0x80, 0x80, 0x80, 0x80, 0x10]]), fault.clone());
    let beyond = [&[1, 1][..], &OTHER, &varint(Dot::SEQ_MAX + 1), &[0]].concat();
    refused(remove(&[&beyond]), fault.clone());
    // What the record itself adds, or a later one of its author.
    refused(remove(&[&[1], &[0, 5, 0]]), fault.clone());
    refused(remove(&[&[1], &[0, 6, 0]]), fault);
    refused(with_operation(&[1, 6, 0, 0, 1, 0, 5, 0]), not_canonical("superseded elements"));
}

#[test]
fn leases_have_a_number_and_ranges_can_hold_a_key() {
    let id = [0, 0, 0, 0, 0, 0, 0, 1];
    let grant = |id: [u8; 8], ttl: &[u8]| with_operation(&[&[4, (8 + ttl.len()) as u8][..], &id, ttl].concat());
    Record::decode(grant(id, &[60])).unwrap();
    refused(grant([0; 8], &[60]), not_canonical("lease number"));
    Record::decode(grant(id, &[0])).unwrap();
    Record::decode(grant(id, &varint(LEASE_TTL_S_MAX))).unwrap();
    refused(grant(id, &varint(LEASE_TTL_S_MAX + 1)), not_canonical("lease ttl"));
    refused(grant(id, &[0xbc, 0]), not_canonical("lease ttl"));
    refused(with_operation(&[5, 5, 0, 1, 0, 1, 0]), not_canonical("ended lease"));
    refused(with_operation(&[1, 3, 0, 2, 0]), not_canonical("lease"));

    let range = |body: &[u8]| with_operation(&[&[3, body.len() as u8][..], body].concat());
    Record::decode(range(&[1, b'a', 1, 1, b'b'])).unwrap();
    Record::decode(range(&[0, 0])).unwrap();
    refused(range(&[1, b'a', 1, 1, b'a']), not_canonical("range end"));
    refused(range(&[1, b'b', 1, 1, b'a']), not_canonical("range end"));
    refused(range(&[0, 1, 0]), not_canonical("range end"));
    refused(range(&[0, 2]), not_canonical("range end"));
}

#[test]
fn system_data_is_small_and_names_earlier_elements() {
    let of = |kind: u8, key: usize, rest: &[u8]| {
        let body = [&varint(key as u64)[..], &vec![b'k'; key], rest].concat();
        with_operation(&[&[kind][..], &varint(body.len() as u64), &body].concat())
    };
    let value = |bytes: usize| [&[0][..], &vec![b'v'; bytes]].concat();
    let too_large = |what, max| DecodeError::TooLarge { what, bytes: max + 1, max };
    let (key_max, value_max) = (SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX);
    assert_eq!((key_max, value_max), (1024, 65_536), "the format says so");
    Record::decode(of(6, key_max, &value(value_max))).unwrap();
    refused(of(6, key_max + 1, &value(0)), too_large("system key", key_max));
    refused(of(6, 1, &value(value_max + 1)), too_large("system value", value_max));
    Record::decode(of(7, key_max, &[1, 0, 4, 0])).unwrap();
    refused(of(7, key_max + 1, &[1, 0, 4, 0]), too_large("system key", key_max));

    refused(of(7, 1, &[0]), not_canonical("removed elements"));
    refused(of(7, 1, &[1, 0, 5, 0]), not_canonical("removed elements"));
    refused(of(7, 1, &[1, 0, 4, 0, 0]), DecodeError::Trailing { what: "operation", bytes: 1 });
    refused(of(6, 1, &[1, 0, 5, 0]), not_canonical("superseded elements"));
    refused(of(6, 1, &[2, 0, 4, 0, 0, 4, 0]), not_canonical("superseded elements"));
}

#[test]
fn counts_and_lengths_are_believed_no_further_than_the_bytes_go() {
    for lie in [3, 1 << 20, 1 << 32, u64::from(u32::MAX), u64::MAX / 2, u64::MAX] {
        let mut number = Vec::new();
        put_varint(&mut number, lie);
        let operation = |kind: u8, body: &[u8]| {
            with_operation(&[&[kind, (body.len() + number.len()) as u8][..], body, &number].concat())
        };
        let truncated = |what| DecodeError::Truncated { what };

        refused(record(&[&VERSION_AUTHOR, &SEQ, &HLC, &number]), truncated("context delta"));
        refused(record(&[&VERSION_AUTHOR, &SEQ, &HLC, &NO_DELTA, &number]), truncated("operations"));
        refused(record(&[&VERSION_AUTHOR, &SEQ, &HLC, &NO_DELTA, &[1, 1], &number]), truncated("operation"));
        refused(operation(1, &[]), truncated("key"));
        refused(operation(1, &[0, 0]), truncated("superseded elements"));
        refused(operation(2, &[0]), truncated("removed elements"));
        refused(operation(3, &[]), truncated("range start"));
        refused(operation(3, &[0, 1]), truncated("range end"));
        refused(operation(6, &[]), truncated("system key"));
        refused(operation(6, &[0]), truncated("superseded elements"));
        refused(operation(7, &[0]), truncated("removed elements"));
    }
}

#[test]
fn what_is_read_takes_a_small_multiple_of_its_bytes() {
    // The tightest list there is, three bytes an element, does not grow in steps.
    let ascending: Vec<u8> = (0..127).flat_map(|index| [0, 4, index]).collect();
    let body = [&[0, 127][..], &ascending].concat();
    let read = Record::decode(with_operation(&[&[2][..], &varint(body.len() as u64), &body].concat())).unwrap();
    let Operation::Remove { elements, .. } = &read.operations[0] else { panic!("{read:?}") };
    assert_eq!((elements.len(), elements.capacity()), (127, 127));
    assert!(size_of::<Element>() <= 8 * 3);
    assert!(size_of::<Operation>() * RECORD_OPERATIONS_MAX <= 2 * RECORD_BYTES_MAX);
}

#[test]
fn a_record_has_at_most_so_many_bytes() {
    let sized = |bytes: usize| {
        let around = with_operation(&[&[UNKNOWN][..], &varint(bytes as u64)].concat()).len();
        let body = vec![0xab; bytes - around];
        with_operation(&[&[UNKNOWN][..], &varint(body.len() as u64), &body].concat())
    };
    let largest = sized(RECORD_BYTES_MAX);
    assert_eq!(largest.len(), RECORD_BYTES_MAX);
    Record::decode(largest).unwrap();

    let larger = sized(RECORD_BYTES_MAX + 1);
    let fault = DecodeError::TooLarge { what: "record", bytes: RECORD_BYTES_MAX + 1, max: RECORD_BYTES_MAX };
    assert_eq!(RecordHeader::decode(larger.clone()), Err(fault.clone()));
    refused(larger, fault);
}

#[test]
fn a_record_has_at_most_so_many_operations() {
    let of = |count: usize| {
        record(&[&VERSION_AUTHOR, &SEQ, &HLC, &NO_DELTA, &varint(count as u64), &[UNKNOWN, 0].repeat(count)])
    };
    assert_eq!(Record::decode(of(RECORD_OPERATIONS_MAX)).unwrap().operations.len(), RECORD_OPERATIONS_MAX);
    let count = RECORD_OPERATIONS_MAX as u64 + 1;
    refused(
        of(RECORD_OPERATIONS_MAX + 1),
        DecodeError::TooMany { what: "operations", count, max: RECORD_OPERATIONS_MAX },
    );
}

fn refused(bytes: Bytes, fault: DecodeError) {
    assert_eq!(Record::decode(bytes), Err(fault));
}

fn not_canonical(what: &'static str) -> DecodeError {
    DecodeError::NotCanonical { what }
}

fn with_operation(operation: &[u8]) -> Bytes {
    record(&[&VERSION_AUTHOR, &SEQ, &HLC, &NO_DELTA, &[1], operation])
}

fn record(parts: &[&[u8]]) -> Bytes {
    [&parts.concat()[..], &[0; Chain::LEN]].concat().into()
}

fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, value);
    bytes
}
