//! What records cost on the wire, and what is no stream of packed records.

use bytes::Bytes;
use tombolo_crdt::{DecodeError, Dot, Operation, codec::put_varint};
use tombolo_net::{BadPacking, Fault, Limits, Message, Unpacker};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};

use crate::support::{
    mesh::Mesh,
    script::{Script, closed, ingests},
    toy_store::{ToyStore, heads, id, vector},
};

/// A number that looks like none of the others.
fn scrambled(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Writes a small document under a key of its own, as an orchestrator might.
fn write_document(store: &mut ToyStore, number: u64) -> Dot {
    let uid = scrambled(number);
    let value = format!(
        r#"{{"kind":"Pod","metadata":{{"name":"worker-{number}","uid":"{uid:016x}","node":"edge-{}"}},"ready":{}}}"#,
        uid % 40,
        !uid.is_multiple_of(3)
    );
    let put = Operation::Put {
        key: format!("/registry/pods/default/worker-{number}").into(),
        value: value.into(),
        lease: None,
        supersedes: vec![],
    };
    store.write_operation(put)
}

/// What `zstd -3` makes of a store's records, in one piece.
fn in_one_piece(store: &ToyStore) -> u64 {
    let all = store.load(&vector(&[]), 1, usize::MAX, usize::MAX).unwrap();
    let records: Vec<Bytes> = all.records.into_iter().map(|(_, bytes)| bytes).collect();
    zstd::bulk::compress(&records.concat(), 3).unwrap().len() as u64
}

fn stream_bytes(mesh: &Mesh) -> u64 {
    mesh.links[0].ends.iter().map(|end| end.stream_bytes).sum()
}

#[test]
fn a_hundred_thousand_differing_keys_cost_little_more_than_in_one_piece() {
    let mut mesh = Mesh::pair();
    mesh.run(100);
    mesh.cut(0);
    for node in 0..2 {
        (0..50_000).for_each(|number| {
            write_document(&mut mesh.nodes[node].store, number * 2 + node as u64);
        });
        mesh.advanced(node);
    }
    let best = in_one_piece(&mesh.nodes[0].store) + in_one_piece(&mesh.nodes[1].store);
    mesh.reconnect(0);
    mesh.run_until_converged();
    let cost = stream_bytes(&mesh);
    assert!(cost * 10 <= best * 12, "{cost} bytes, and {best} in one piece");
}

#[test]
fn many_small_frames_cost_little_more_than_one_piece() {
    let mut mesh = Mesh::pair();
    mesh.run(100);
    let before = mesh.links[0].ends[0].stream_bytes;
    for number in 0..2_000 {
        write_document(&mut mesh.nodes[0].store, number);
        mesh.advanced(0);
        mesh.run(2);
    }
    let frames = mesh.links[0].sent(0, |message| matches!(message, Message::Records(_))).len() as u64;
    assert!(frames > 1_000, "{frames}");
    let heartbeats = mesh.links[0].sent(0, |message| matches!(message, Message::Heartbeat(_))).len() as u64;
    // The frames have their heads, each is signed, and there are signs of life between them.
    let cost = mesh.links[0].ends[0].stream_bytes - before - frames * (16 + 100) - heartbeats * 60;
    let best = in_one_piece(&mesh.nodes[0].store);
    assert!(cost * 10 <= best * 14, "{cost} bytes, and {best} in one piece");
}

#[test]
fn one_record_behind_costs_less_than_five_hundred_bytes() {
    for written_before in [0, 100] {
        let mut mesh = Mesh::pair();
        (0..written_before).for_each(|number| {
            write_document(&mut mesh.nodes[0].store, number);
        });
        mesh.advanced(0);
        mesh.run(5_000);
        let before = stream_bytes(&mesh);
        write_document(&mut mesh.nodes[0].store, written_before);
        mesh.advanced(0);
        // The record, its acknowledgement, and a heartbeat from each side with whatever rows there are.
        mesh.run(1_000);
        assert!(mesh.is_converged());
        let cost = stream_bytes(&mesh) - before;
        assert!(cost < 500, "{cost} bytes after {written_before} records");
    }
}

#[test]
fn data_flow_one_round_trip_after_the_connection() {
    let mut mesh = Mesh::new(2, Limits::default());
    (0..2).for_each(|node| {
        mesh.write(node, 100);
    });
    let link = mesh.connect(0, 1, 100);
    mesh.run(199);
    assert!(!mesh.is_converged());
    mesh.run(10);
    assert!(mesh.is_converged(), "hellos cross, and so do records");
    assert_eq!(mesh.links[link].frames_arrived, 6, "of each side a hello, records, and who signed them");
}

/// Records of replica 2 as one session of it would pack them, a frame each.
fn packed_frames(count: u64) -> (ToyStore, Vec<Message>) {
    let mut store = ToyStore::new(2);
    let mut encoder = encoder(20);
    let frames = (0..count).map(|number| {
        let record = {
            let dot = write_document(&mut store, number);
            store.record(dot)
        };
        let mut list = vec![1];
        put_varint(&mut list, record.len() as u64);
        list.extend_from_slice(&record);
        Message::Packed { bytes: list.len() as u64, packed: flushed(&mut encoder, &list) }
    });
    let frames = frames.collect();
    (store, frames)
}

fn encoder(window_log: u32) -> Encoder<'static> {
    let mut encoder = Encoder::new(3).unwrap();
    encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    encoder
}

/// The next bytes of a stream.
fn flushed(encoder: &mut Encoder<'static>, bytes: &[u8]) -> Bytes {
    let mut packed = Vec::with_capacity(bytes.len() + 1_000);
    let mut input = InBuffer::around(bytes);
    encoder.run(&mut input, &mut OutBuffer::around(&mut packed)).unwrap();
    let at = packed.len();
    let left = encoder.flush(&mut OutBuffer::around_pos(&mut packed, at)).unwrap();
    assert_eq!((input.pos(), left), (bytes.len(), 0));
    packed.into()
}

fn open() -> Script {
    Script::open(&ToyStore::new(1), &ToyStore::new(2))
}

/// The fault that this message ends a session with.
fn refused(message: Message) -> Fault {
    let mut script = open();
    let outputs = script.say(message);
    closed(&script, &outputs)
}

#[test]
fn packed_records_come_to_the_store_as_they_were() {
    let (store, frames) = packed_frames(3);
    let mut script = open();
    let mut outputs = Vec::new();
    frames.into_iter().for_each(|frame| outputs.extend(script.say(frame)));
    let expected: Vec<Bytes> = (1..=3).map(|seq| store.record(Dot::new(id(2), seq))).collect();
    outputs.extend(script.say(Message::Heads(heads(expected.iter()))));
    assert_eq!(ingests(&outputs).concat(), expected);
}

#[test]
fn a_stream_that_was_not_heard_from_its_beginning_is_a_fault() {
    let (_, frames) = packed_frames(2);
    assert!(matches!(refused(frames[1].clone()), Fault::BadPacking(BadPacking::Corrupt { .. })));
}

#[test]
fn a_bomb_is_named_before_it_goes_off() {
    let zeros = vec![0; 8 << 20];
    let packed = flushed(&mut encoder(20), &zeros);
    assert!(packed.len() < 4_000);
    let max = Limits::default().frame_bytes_max as u64;
    let bomb = |bytes| Message::Packed { bytes, packed: packed.clone() };
    assert_eq!(refused(bomb(max + 1)), Fault::BadPacking(BadPacking::TooLarge { bytes: max + 1, max }));
    assert_eq!(refused(bomb(u64::MAX)), Fault::BadPacking(BadPacking::TooLarge { bytes: u64::MAX, max }));
    assert_eq!(refused(bomb(1_000)), Fault::BadPacking(BadPacking::Overflowing { announced: 1_000 }));
    let announced = 8 << 20;
    assert_eq!(
        refused(bomb(8 << 20 | 1)),
        Fault::BadPacking(BadPacking::Short { announced: announced + 1, found: announced })
    );
    // As many zeros as announced are no list of records.
    assert_eq!(refused(bomb(8 << 20)), Fault::Malformed(DecodeError::NotCanonical { what: "records" }));
}

#[test]
fn a_stream_that_ends_or_wants_too_much_memory_is_a_fault() {
    let list = [1, 40].into_iter().chain([7; 40]).collect::<Vec<u8>>();
    let whole = zstd::bulk::compress(&list, 3).unwrap();
    let ended = Message::Packed { bytes: list.len() as u64, packed: whole.into() };
    assert_eq!(refused(ended), Fault::BadPacking(BadPacking::Ended));
    let wide = Message::Packed { bytes: list.len() as u64, packed: flushed(&mut encoder(27), &list) };
    assert!(matches!(refused(wide), Fault::BadPacking(BadPacking::Corrupt { .. })));
    let garbage = Message::Packed { bytes: 10, packed: Bytes::from_static(b"no such thing") };
    assert!(matches!(refused(garbage), Fault::BadPacking(BadPacking::Corrupt { .. })));
    let nothing = Message::Packed { bytes: 10, packed: Bytes::new() };
    assert_eq!(refused(nothing), Fault::BadPacking(BadPacking::Short { announced: 10, found: 0 }));
}

#[test]
fn what_is_packed_counts_unpacked_against_the_window() {
    let mut store = ToyStore::new(2);
    let record = {
        let dot = store.write(5 << 20);
        store.record(dot)
    };
    let second = {
        let dot = store.write(5 << 20);
        store.record(dot)
    };
    let mut encoder = encoder(20);
    let mut frame = |record: &Bytes| {
        let mut list = vec![1];
        put_varint(&mut list, record.len() as u64);
        list.extend_from_slice(record);
        Message::Packed { bytes: list.len() as u64, packed: flushed(&mut encoder, &list) }
    };
    let mut script = open();
    script.say(frame(&record));
    let outputs = script.say(frame(&second));
    let bytes = (record.len() + second.len()) as u64;
    assert_eq!(closed(&script, &outputs), Fault::Flooded { bytes, max: 4 << 20 });
}

#[test]
fn the_same_records_are_packed_into_the_same_bytes() {
    let packed = |_| {
        let mut store = ToyStore::new(1);
        (0..500).for_each(|number| {
            write_document(&mut store, number);
        });
        let mut mesh = Mesh::new(2, Limits::default());
        mesh.nodes[0].store = store;
        mesh.connect(0, 1, 5);
        mesh.run_until_converged();
        mesh.links[0].ends[0].stream_bytes
    };
    let runs: Vec<u64> = (0..3).map(packed).collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{runs:?}");
}

#[test]
fn an_unpacker_reads_what_a_session_sent() {
    let (store, frames) = packed_frames(2);
    let mut unpacker = Unpacker::default();
    for (seq, frame) in (1..).zip(frames) {
        let Message::Packed { bytes, packed } = frame else { panic!("a packed frame") };
        let records = unpacker.unpack(bytes, &packed, &Limits::default()).unwrap();
        assert_eq!(records, [store.record(Dot::new(id(2), seq))]);
    }
}
