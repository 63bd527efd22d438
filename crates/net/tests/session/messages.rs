//! Messages as bytes: frozen examples of each, and one encoding for one message.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tombolo_crdt::{Chain, Dot, ReplicaId, VersionVector};
use tombolo_net::{Branch, Heartbeat, Hello, Limits, Link, Message, Readiness, StabilityRow};

use crate::support::toy_store::{id, vector};

/// Messages and their bytes in hexadecimal digits, for ever. Blanks are there for the reader.
fn golden() -> Vec<(Message, &'static str)> {
    let hello = Hello {
        mesh: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        replica: id(0xa1),
        wall_ms: 1_700_000_000_000,
        kinds: 7,
        window: 4 << 20,
        heads: vec![
            (Dot::new(id(0xa1), 300), Chain::from_bytes([0xc1; 16])),
            (Dot::new(id(0xb2), 1), Chain::BEGINNING),
        ],
        floor: vector(&[(0xa1, 2)]),
        digest: 0xd1,
    };
    let empty = Hello { heads: vec![], floor: VersionVector::new(), digest: 0, ..hello.clone() };
    let row = StabilityRow { member: id(0xb2), frontier: vector(&[(0xa1, 300)]) };
    let heartbeat = Heartbeat { wall_ms: 1_700_000_000_000, readiness: Readiness::Busy, digest: 0xd1, rows: vec![row] };
    let branch = Branch { rank: 3, epoch: 300, cost: 5, above: vec![id(0xa1), id(0xb2)] };
    let link = Link { wants_records: true, is_below_you: true, has_room: false, is_crowded: true, branch };
    let root = Link {
        wants_records: false,
        is_below_you: false,
        has_room: true,
        is_crowded: false,
        branch: Branch::default(),
    };
    vec![
        (
            Message::Hello(hello),
            "01 02 00112233445566778899aabbccddeeff 00000000000000a1 0000018bcfe56800 07 80808002 \
             02 00000000000000a1 ac02 c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 \
             00000000000000b2 01 00000000000000000000000000000000 \
             01 00000000000000a1 02 000000000000000000000000000000d1",
        ),
        (
            Message::Hello(empty),
            "01 02 00112233445566778899aabbccddeeff 00000000000000a1 0000018bcfe56800 07 80808002 \
             00 00 00000000000000000000000000000000",
        ),
        (
            Message::Records(vec![Bytes::from_static(&[0xaa; 37]), Bytes::from_static(&[0xbb; 38])]),
            "02 02 \
             25 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
             26 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        ),
        (Message::Packed { bytes: 300, packed: Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd]) }, "06 ac02 28b52ffd"),
        (Message::Pull { id: 300, body: Bytes::from_static(&[0x51, 0x52]) }, "10 ac02 02 5152"),
        (Message::Page { id: 300, body: Bytes::from_static(&[0x61]) }, "11 ac02 01 61"),
        (Message::Page { id: 1, body: Bytes::new() }, "11 01 00"),
        (Message::Floor(vector(&[(0xa1, 300)])), "12 01 00000000000000a1 ac02"),
        (Message::Have(vector(&[(0xa1, 300), (0xb2, 2)])), "03 02 00000000000000a1 ac02 00000000000000b2 02"),
        (
            Message::Heartbeat(heartbeat),
            "04 0000018bcfe56800 01 000000000000000000000000000000d1 01 00000000000000b2 01 00000000000000a1 ac02",
        ),
        (Message::Bye { code: 300, text: "é".to_owned() }, "05 ac02 02 c3a9"),
        (Message::Ask { id: 300, body: Bytes::from_static(&[0x51, 0x52]) }, "1c ac02 02 5152"),
        (Message::Answer { id: 300, body: Bytes::from_static(&[0x61]) }, "1d ac02 01 61"),
        (Message::Answer { id: 1, body: Bytes::new() }, "1d 01 00"),
        (Message::Link(link), "20 0b 03 ac02 05 02 00000000000000a1 00000000000000b2"),
        (Message::Link(root), "20 04 00 00 00 00"),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn golden_messages_are_written_as_they_were() {
    for (message, bytes) in golden() {
        assert_eq!(message.encode(), hex(bytes), "{message:?}");
    }
}

#[test]
fn golden_messages_are_read_as_they_were_meant() {
    for (message, bytes) in golden() {
        assert_eq!(Message::decode(hex(bytes).into(), &Limits::default()), Ok(Some(message)));
    }
}

#[test]
fn no_golden_message_is_read_from_a_part_of_it() {
    // Where packed records end, only the stream knows that they are a part of.
    for (message, bytes) in golden().into_iter().filter(|(message, _)| !matches!(message, Message::Packed { .. })) {
        let bytes = hex(bytes);
        for len in 0..bytes.len() {
            let read = Message::decode(Bytes::copy_from_slice(&bytes[..len]), &Limits::default());
            assert!(read.is_err(), "{len} bytes of {message:?}");
        }
    }
}

#[test]
fn heads_and_rows_come_in_one_order_and_none_of_them_twice() {
    let head = |bits| (Dot::new(id(bits), 1), Chain::BEGINNING);
    let row = |bits| StabilityRow { member: id(bits), frontier: vector(&[(1, 1)]) };
    for (first, second, is_canonical) in [(1, 2, true), (2, 1, false), (1, 1, false)] {
        let hello = Hello {
            mesh: 0,
            replica: id(1),
            wall_ms: 0,
            kinds: 0,
            window: 0,
            heads: vec![head(first), head(second)],
            floor: VersionVector::new(),
            digest: 0,
        };
        let rows = vec![row(first), row(second)];
        let heartbeat = Heartbeat { wall_ms: 0, readiness: Readiness::Ready, digest: 0, rows };
        for message in [Message::Hello(hello), Message::Heartbeat(heartbeat)] {
            let read = Message::decode(message.encode(), &Limits::default());
            assert_eq!(read.is_ok(), is_canonical, "{message:?}");
        }
    }
}

fn any_id() -> impl Strategy<Value = ReplicaId> {
    prop_oneof![1..6_u64, 1..=u64::MAX].prop_map(id)
}

fn any_vector() -> impl Strategy<Value = VersionVector> {
    let dot = (any_id(), prop_oneof![1..300_u64, 1..=Dot::SEQ_MAX]).prop_map(|(replica, seq)| Dot::new(replica, seq));
    vec(dot, 0..6).prop_map(|dots| dots.into_iter().collect())
}

fn some_vector() -> impl Strategy<Value = VersionVector> {
    any_vector().prop_filter("not empty", |vector| !vector.is_empty())
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let heads = (any_vector(), vec(any::<[u8; 16]>(), 6))
        .prop_map(|(vector, chains)| vector.iter().zip(chains.into_iter().map(Chain::from_bytes)).collect::<Vec<_>>());
    let numbers = (any::<u128>(), any_id(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u128>());
    (numbers, heads, any_vector()).prop_map(|((mesh, replica, wall_ms, kinds, window, digest), heads, floor)| Hello {
        mesh,
        replica,
        wall_ms,
        kinds,
        window,
        heads,
        floor,
        digest,
    })
}

fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
    let readiness = prop_oneof![Just(Readiness::Ready), Just(Readiness::Busy), Just(Readiness::Stopped)];
    let rows = proptest::collection::btree_map(any_id(), some_vector(), 0..4).prop_map(|rows| {
        rows.into_iter().map(|(member, frontier)| StabilityRow { member, frontier }).collect::<Vec<_>>()
    });
    (any::<u64>(), readiness, any::<u128>(), rows).prop_map(|(wall_ms, readiness, digest, rows)| Heartbeat {
        wall_ms,
        readiness,
        digest,
        rows,
    })
}

/// The number and the body of a question or an answer: mostly numbers that a session has use for.
fn any_passed() -> impl Strategy<Value = (u64, Bytes)> {
    (prop_oneof![1..6_u64, 1..=u64::MAX], vec(any::<u8>(), 0..60).prop_map(Bytes::from))
}

fn any_link() -> impl Strategy<Value = Link> {
    let branch = (any::<u8>(), any::<u64>(), any::<u64>(), vec(any_id(), 0..5));
    let branch = branch.prop_map(|(rank, epoch, cost, above)| Branch { rank, epoch, cost, above });
    (any::<[bool; 4]>(), branch).prop_map(|([wants_records, is_below_you, has_room, is_crowded], branch)| Link {
        wants_records,
        is_below_you,
        has_room,
        is_crowded,
        branch,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_hello().prop_map(Message::Hello),
        vec(vec(any::<u8>(), 37..60).prop_map(Bytes::from), 1..5).prop_map(Message::Records),
        some_vector().prop_map(Message::Have),
        any_heartbeat().prop_map(Message::Heartbeat),
        (any::<u16>(), "[^\\p{Cc}]{0,60}").prop_map(|(code, text)| Message::Bye { code, text }),
        any_passed().prop_map(|(id, body)| Message::Ask { id, body }),
        any_passed().prop_map(|(id, body)| Message::Answer { id, body }),
        any_link().prop_map(Message::Link),
        any_passed().prop_map(|(id, body)| Message::Pull { id, body }),
        any_passed().prop_map(|(id, body)| Message::Page { id, body }),
        some_vector().prop_map(Message::Floor),
    ]
}

/// Whatever is read is written as the bytes it was read from.
fn check_canonical(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    if let Ok(Some(message)) = Message::decode(bytes.clone().into(), &Limits::default()) {
        prop_assert_eq!(message.encode(), bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_message_reads_back_as_it_was_written(message in any_message()) {
        prop_assert_eq!(Message::decode(message.encode(), &Limits::default()), Ok(Some(message)));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(kind in prop_oneof![0..7_u8, 15..20_u8, 27..34_u8], mut bytes in vec(any::<u8>(), 0..200)) {
        bytes.insert(0, kind);
        check_canonical(bytes)?;
    }

    #[test]
    fn a_message_with_a_byte_changed_is_refused_or_canonical(message in any_message(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = message.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        check_canonical(bytes)?;
    }

    #[test]
    fn a_message_cut_short_or_drawn_out_is_refused(message in any_message(), at in any::<prop::sample::Index>(), more in vec(any::<u8>(), 1..9)) {
        let bytes = message.encode();
        let cut = bytes.slice(..at.index(bytes.len()));
        prop_assert!(Message::decode(cut, &Limits::default()).is_err());
        let drawn_out = [&bytes[..], &more[..]].concat();
        prop_assert!(Message::decode(drawn_out.into(), &Limits::default()).is_err());
    }

    /// A session takes anything as a frame, in any state, and either goes on or closes.
    #[test]
    fn a_session_survives_any_frames(frames in vec(any_frame(), 0..12)) {
        use crate::support::{script::{Script, hello}, toy_store::ToyStore};
        let mut ours = ToyStore::new(1);
        ours.write(10);
        let mut script = Script::new(&ours, Limits::default());
        script.say(Message::Hello(hello(&ToyStore::new(2))));
        for frame in frames {
            script.say_bytes(&frame);
            script.run(20);
        }
        script.session.status(tombolo_net::Moment(script.now));
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any_message().prop_map(|message| message.encode().to_vec()), vec(any::<u8>(), 0..60)]
}
