//! Records of the sender's own, rightly signed, that nobody may write.

use bytes::Bytes;
use tombolo_crdt::{
    Chain, ContextFault, DecodeError, Hlc, LEASE_TTL_S_MAX, LeaseRef, Operation, RECORD_OPERATIONS_MAX, RangeRemove,
    SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX,
};
use tombolo_net::{BadRecord, Event, Fault, Message};

use crate::{
    scene::{Scene, contained},
    villain::{dot, element, id, put, vector},
};

/// What becomes of a record of the peer's with these operations.
#[track_caller]
fn refused(operations: Vec<Operation>) -> Fault {
    contained(Scene::open(), |scene| {
        let record = scene.two.write(operations);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
    })
}

#[track_caller]
fn malformed(operations: Vec<Operation>, bend: impl FnOnce(&mut Vec<u8>)) -> DecodeError {
    let fault = contained(Scene::open(), |scene| {
        let record = scene.two.write_bent(operations, bend);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
    });
    match fault {
        Fault::BadRecord(BadRecord::Malformed { dot: at, cause }) => {
            assert_eq!(at, dot(2, 3));
            cause
        }
        Fault::BadRecord(BadRecord::Nameless(cause)) => cause,
        fault => panic!("{fault}"),
    }
}

/// The peer's next record with this one first in line being skipped.
#[track_caller]
fn skipping(count: u64) -> Fault {
    contained(Scene::open(), |scene| {
        scene.two.seq += count;
        let record = scene.two.write(vec![put("k", "after a gap")]);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
    })
}

#[test]
fn a_gap_in_a_stream_is_a_fault_however_large() {
    assert_eq!(skipping(1), Fault::Skipped { dot: dot(2, 4), missing: dot(2, 3) });
    assert_eq!(skipping(1 << 40), Fault::Skipped { dot: dot(2, 3 + (1 << 40)), missing: dot(2, 3) });
    let last = (1_u64 << 63) - 1;
    assert_eq!(skipping(last - 3), Fault::Skipped { dot: dot(2, last), missing: dot(2, 3) });
}

#[test]
fn a_seq_beyond_the_last_names_nothing() {
    // The seq follows version and author. It is 3 here: one byte.
    for seq in [vec![0], [vec![0x80; 9], vec![1]].concat(), [vec![0xff; 9], vec![1]].concat()] {
        let cause = malformed(vec![put("k", "v")], |body| drop(body.splice(9..10, seq)));
        assert!(matches!(cause, DecodeError::NotCanonical { .. }), "{cause}");
    }
}

#[test]
fn what_depends_on_what_nobody_has_is_a_fault() {
    for seen in [(3, 3), (3, 1 << 50), (99, 1)] {
        let fault = contained(Scene::open(), |scene| {
            let record = scene.two.write_after(&[seen], vec![put("k", "v")]);
            let head = scene.two.head();
            scene.send(vec![record], vec![head]);
        });
        assert_eq!(fault, Fault::Skipped { dot: dot(2, 3), missing: dot(seen.0, seen.1) });
    }
}

#[test]
fn two_records_that_depend_on_each_other_never_enter() {
    let fault = contained(Scene::open(), |scene| {
        let one = scene.two.write_after(&[(3, 3)], vec![put("k", "after the other")]);
        let other = scene.three.write_after(&[(2, 3)], vec![put("k", "after the one")]);
        let heads = vec![scene.two.head(), scene.three.head()];
        scene.send(vec![one, other], heads);
    });
    assert_eq!(fault, Fault::Skipped { dot: dot(2, 3), missing: dot(3, 3) });
}

#[test]
fn nothing_of_a_batch_enters_before_a_record_that_may_not() {
    let fault = contained(Scene::open(), |scene| {
        let good: Vec<Bytes> = (0..5).map(|_| scene.two.write(vec![put("k", "good")])).collect();
        let bad = scene.two.write(vec![remove_of(element(3, 9, 0))]);
        let head = scene.two.head();
        scene.send([good, vec![bad]].concat(), vec![head]);
    });
    let cause = ContextFault::RemovesUnseen { element: element(3, 9, 0) };
    assert_eq!(fault, Fault::BadRecord(BadRecord::ContradictsContext { dot: dot(2, 8), cause }));
}

fn remove_of(element: tombolo_crdt::Element) -> Operation {
    Operation::Remove { key: "own".into(), elements: vec![element] }
}

#[test]
fn what_was_not_seen_is_not_removed() {
    // The peer's records know of nothing of ours: not even what is here.
    let unseen = [element(1, 1, 0), element(1, 3, 0), element(3, 1, 0), element(99, 1, 0)];
    for element in unseen {
        let lease = LeaseRef { home: id(1), id: 7 };
        let supersedes = vec![element];
        for operation in [
            remove_of(element),
            Operation::Put { key: "own".into(), value: "mine".into(), lease: None, supersedes: supersedes.clone() },
            Operation::SystemPut { key: "member/x".into(), value: "mine".into(), supersedes: supersedes.clone() },
            Operation::SystemRemove { key: "member/x".into(), elements: supersedes.clone() },
            Operation::LeaseEnd { lease, elements: supersedes.clone() },
        ] {
            let cause = ContextFault::RemovesUnseen { element };
            assert_eq!(
                refused(vec![operation]),
                Fault::BadRecord(BadRecord::ContradictsContext { dot: dot(2, 3), cause })
            );
        }
    }
}

#[test]
fn a_removal_of_everything_takes_what_its_author_had_seen_and_nothing_else() {
    let mut scene = Scene::open();
    let all = RangeRemove { start: Bytes::new(), end: None };
    let record = scene.two.write_after(&[(1, 2)], vec![Operation::RangeRemove(all)]);
    let head = scene.two.head();
    scene.send(vec![record], vec![head]);
    assert_eq!((scene.closed.take(), scene.store.frontier().seq(id(2))), (None, 3));
    let left = |key: &[u8]| scene.store.read_at(key, &scene.store.frontier()).unwrap().len();
    assert_eq!(left(b"own"), 1, "the third write of this replica it had not seen");
    assert_eq!(left(b"theirs"), 2, "the writes of replica 3 it had not seen");
}

#[test]
fn a_context_does_not_go_back() {
    let mut scene = Scene::open();
    let record = scene.two.write_after(&[(1, 3), (3, 2)], vec![put("k", "v")]);
    let head = scene.two.head();
    scene.send(vec![record], vec![head]);
    assert_eq!(scene.store.frontier(), vector(&[(1, 3), (2, 3), (3, 2)]));
    let fault = contained(scene, |scene| {
        let record = scene.two.write_after(&[(3, 1)], vec![put("k", "v")]);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
    });
    let cause = ContextFault::NotNews { entry: dot(3, 1), known: 2 };
    assert_eq!(fault, Fault::BadRecord(BadRecord::ContradictsContext { dot: dot(2, 4), cause }));
}

#[test]
fn a_record_names_no_element_of_its_own_or_of_a_later_one() {
    // In place of an earlier element, whose seq is the second of the last three bytes of the body.
    let named = || vec![remove_of(element(2, 1, 0))];
    for seq in [3, 9] {
        let cause = malformed(named(), |body| {
            let at = body.len() - 2;
            body[at] = seq;
        });
        assert!(matches!(cause, DecodeError::NotCanonical { .. }), "{cause}");
    }
}

#[test]
fn a_chain_that_does_not_follow_is_a_fork() {
    let fault = contained(Scene::open(), |scene| {
        scene.two.chain = Chain::from_bytes([1; 16]);
        let record = scene.two.write(vec![put("k", "v")]);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
    });
    let Fault::Equivocated { dot: at, evidence } = fault else { panic!("{fault}") };
    assert_eq!((at, evidence.theirs.dot), (dot(2, 3), dot(2, 3)));
}

#[test]
fn bytes_that_mean_the_same_are_not_the_same() {
    let put = || vec![put("k", "v")];
    let count_at = |body: &[u8]| body.len() - 2 - 6;
    // The count of operations with a superfluous byte; one more byte at the end; a length too large; another version.
    let overlong = malformed(put(), |body| {
        let at = count_at(body);
        body.splice(at..=at, [0x81, 0x00]);
    });
    assert!(matches!(overlong, DecodeError::NotCanonical { .. }), "{overlong}");
    malformed(put(), |body| body.push(0));
    malformed(put(), |body| body.truncate(body.len() - 1));
    malformed(put(), |body| body[0] = 9);
    malformed(put(), |body| body.truncate(20));
}

#[test]
fn counts_and_lengths_are_believed_no_further_than_the_bytes_go() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for from_end in [8, 6, 5] {
        let cause = malformed(vec![put("k", "v")], |body| {
            let at = body.len() - from_end;
            body.splice(at..=at, huge);
        });
        assert!(matches!(cause, DecodeError::Truncated { .. } | DecodeError::NotCanonical { .. }), "{cause}");
    }
}

#[test]
fn keys_and_values_of_system_data_have_limits() {
    let long = |key: usize, value: usize| Operation::SystemPut {
        key: vec![b'k'; key - 1].into(),
        value: vec![b'v'; value - 1].into(),
        supersedes: Vec::new(),
    };
    let grow = |body: &mut Vec<u8>, what: u8| {
        // One byte more than may be, where the sound ones are; lengths before it stay in range.
        let at = body.iter().position(|byte| *byte == what).unwrap();
        body.insert(at, what);
    };
    // A record of a key that is too long is built by hand: nobody's encoder makes one.
    for operation in [long(SYSTEM_KEY_BYTES_MAX + 1, 2), long(2, SYSTEM_VALUE_BYTES_MAX + 1)] {
        let what = if matches!(&operation, Operation::SystemPut { key, .. } if key.len() > 2) { b'k' } else { b'v' };
        let lengths = |body: &mut Vec<u8>| {
            grow(body, what);
            bump_lengths(body, what);
        };
        let cause = malformed(vec![operation], lengths);
        assert!(matches!(cause, DecodeError::TooLarge { .. }), "{cause}");
    }
}

/// Makes the lengths of a record with one system put right again, after its key or value has got one byte more.
fn bump_lengths(body: &mut [u8], what: u8) {
    // version 1, author 8, seq 1, hlc 8, delta 1, count 1, kind 1, and then the operation's length.
    let mut at = 21;
    loop {
        // A varint whose lowest seven bits are not all ones takes one more in its first byte.
        if body[at] & 0x7f != 0x7f {
            body[at] += 1;
            break;
        }
        body[at] &= 0x80;
        at += 1;
    }
    if what == b'k' {
        let key_at = 21 + body[21..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        body[key_at] += 1;
    }
}

#[test]
fn leases_end_some_day() {
    let grant = Operation::LeaseGrant { id: 7, ttl_s: LEASE_TTL_S_MAX };
    // The time to live is the last varint; one more is too much.
    let cause = malformed(vec![grant], |body| {
        let at = body.len() - 5;
        body[at] += 1;
    });
    assert!(!matches!(cause, DecodeError::UnknownVersion { .. }), "{cause}");
}

#[test]
fn an_operation_of_tomorrow_stops_the_peer_and_enters_nothing() {
    let mut scene = Scene::open();
    let before = scene.snapshot();
    let record = scene.two.write(vec![Operation::Unknown { kind: 99, body: Bytes::new() }]);
    let head = scene.two.head();
    scene.send(vec![record], vec![head]);
    assert_eq!(scene.closed, None);
    assert!(scene.events.contains(&Event::Upgrade { dot: dot(2, 3), kind: 99 }));
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn stamps_of_whatever_time_are_taken_and_draw_our_clock_by_a_minute() {
    for hlc in [Hlc::from_bits(0), Hlc::from_millis(1 << 45), Hlc::from_bits(u64::MAX)] {
        let mut scene = Scene::open();
        scene.two.hlc = hlc;
        let record = scene.two.write(vec![put("theirs alone", "v")]);
        let head = scene.two.head();
        scene.send(vec![record], vec![head]);
        assert_eq!((scene.closed.take(), scene.store.frontier().seq(id(2))), (None, 3), "{hlc:?}");
        let own = scene.write("next");
        let record = scene.store.arrivals(&vector(&[(1, 3), (2, 3), (3, 2)]), 0, everything()).unwrap();
        let header = tombolo_crdt::RecordHeader::decode(record.records[0].bytes.clone()).unwrap();
        assert_eq!(header.dot, own);
        assert!(header.hlc.millis() <= crate::scene::WALL_MS + 60_000, "{hlc:?} drew our clock to {:?}", header.hlc);
    }
}

#[test]
fn as_many_siblings_as_a_record_can_bring_are_taken_in_bounded_time() {
    let mut scene = Scene::open();
    let crowd = (0..RECORD_OPERATIONS_MAX).map(|_| put("crowd", "")).collect();
    let record = scene.two.write(crowd);
    let head = scene.two.head();
    let began = std::time::Instant::now();
    scene.send(vec![record], vec![head]);
    assert_eq!((scene.closed.take(), scene.store.frontier().seq(id(2))), (None, 3));
    // A range removal of whoever has seen them ends them all.
    let record = scene.three.write_after(
        &[(2, 3)],
        vec![Operation::RangeRemove(RangeRemove { start: "crowd".into(), end: Some("crowe".into()) })],
    );
    let head = scene.three.head();
    scene.send(vec![record], vec![head]);
    assert_eq!(scene.store.frontier().seq(id(3)), 3);
    // Half of their square, each step as short as it can be, would take longer.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn records_that_are_known_are_taken_once() {
    crate::scene::harmless(Scene::open(), |scene| {
        let known = scene.store.arrivals(&vector(&[(1, 3)]), 0, everything()).unwrap();
        let records: Vec<Bytes> = known.records.into_iter().map(|found| found.bytes).collect();
        for _ in 0..100 {
            scene.say(Message::Records(records.clone()));
            scene.say(Message::Heads(known.heads.clone()));
        }
    });
}

fn everything() -> tombolo_storage::ArrivalBudget {
    tombolo_storage::ArrivalBudget { commits: usize::MAX, bytes: usize::MAX }
}
