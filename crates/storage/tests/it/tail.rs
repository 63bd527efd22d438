//! What a removed replica wrote beyond its end: in a file and back, entered as it would have been had it come in time.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_storage::{Entered, KeyRange, Outcome, Request, Store, Tail, TailError, TailIntake, TailLeases, TailWrite};

use crate::{
    memory::Bench,
    mesh::{EVERYTHING, Mesh},
    random::Random,
    support::*,
};

/// Sites of one mesh: unlike those of [`Mesh`], they say so.
fn file_of(store: &Store, beyond: Option<u64>) -> Vec<u8> {
    let mut file = Vec::new();
    store.export_tail(beyond, &mut file).unwrap();
    file
}

/// The file as if it came from the mesh of `reader`: stores in memory each found one of their own.
pub(crate) fn adopted(mut file: Vec<u8>, reader: &Store) -> Vec<u8> {
    let head = tombolo_storage::TAIL_MAGIC.len() + 1;
    file[head..head + 16].copy_from_slice(&reader.identity().mesh.0.to_be_bytes());
    let end = file.len() - 32;
    let checksum = *blake3::hash(&file[..end]).as_bytes();
    file[end..].copy_from_slice(&checksum);
    file
}

fn read(store: &Store, file: &[u8]) -> Result<Tail, TailError> {
    read_in(store, file, file.len().max(1))
}

fn read_in(store: &Store, file: &[u8], piece: usize) -> Result<Tail, TailError> {
    let mut intake = TailIntake::new(store);
    file.chunks(piece).try_for_each(|piece| intake.take(piece))?;
    intake.finish()
}

fn enter(bench: &mut Bench, writes: Vec<TailWrite>) -> Entered {
    match bench.run(Request::Enter { writes, system: Vec::new(), mark: Vec::new() }).outcome {
        Outcome::Entered(entered) => entered,
        outcome => panic!("{outcome:?}"),
    }
}

fn shown(store: &Store) -> BTreeMap<Bytes, Bytes> {
    all(store).into_iter().filter(|pair| pair.key != "compact_rev_key").map(|pair| (pair.key, pair.value)).collect()
}

/// Site 0 has what site 1 wrote first; then both write on without hearing of each other.
fn apart(mesh: &mut Mesh, random: &mut Random, steps: u64) {
    for site in [0, 1] {
        for _ in 0..steps {
            let key = format!("k{:02}", random.below(100));
            let request = match random.below(12) {
                0..=1 => delete(single(&key)),
                // More keys than a record names: it removes them as a range.
                2 if random.one_in(3) => delete(KeyRange::before("k1".into(), "k9".into())),
                _ => put(&key, &format!("{site}-{}", random.below(1_000))),
            };
            mesh.sites[site].run(request);
            mesh.sites[site].wall.0 += random.below(3);
        }
    }
}

#[test]
fn what_is_entered_shows_what_the_records_themselves_would_have_shown() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut mesh = Mesh::new(3, random.below(40));
        for at in 0..100 {
            mesh.sites[0].run(put(&format!("k{at:02}"), "first"));
        }
        mesh.send(0, 1, EVERYTHING).unwrap();
        apart(&mut mesh, &mut random, 10);
        mesh.send(1, 0, EVERYTHING).unwrap();
        mesh.send(0, 1, EVERYTHING).unwrap();
        let author = mesh.sites[1].store.identity().replica;
        let beyond = mesh.sites[0].store.frontier().seq(author);
        apart(&mut mesh, &mut random, 30);
        // Site 2 takes the records, as site 0 would have in time.
        mesh.send(0, 2, EVERYTHING).unwrap();
        mesh.send(1, 2, EVERYTHING).unwrap();
        let file = adopted(file_of(&mesh.sites[1].store, Some(beyond)), &mesh.sites[0].store);
        let tail = read_in(&mesh.sites[0].store, &file, 1 + random.below(700) as usize).unwrap();
        let stream = tail.streams[0];
        assert_eq!((stream.first, tail.records), (beyond + 1, stream.last - beyond));
        let (writes, left_out) = tail.outcome.settle(&mesh.sites[0].store, TailLeases::LeftOut);
        assert_eq!(left_out, 0);
        enter(&mut mesh.sites[0], writes.clone());
        assert_eq!(shown(&mesh.sites[0].store), shown(&mesh.sites[2].store), "seed {seed}");
        let before = mesh.sites[0].store.frontier();
        let again = enter(&mut mesh.sites[0], writes);
        assert_eq!((again.put, again.removed), (0, 0), "seed {seed}: entered once, it is there");
        assert_eq!(mesh.sites[0].store.frontier(), before);
    }
}

#[test]
fn a_tail_reads_from_whatever_record_on_that_follows_what_is_here() {
    let mut mesh = Mesh::new(2, 0);
    for at in 0..6 {
        mesh.sites[1].run(put(&format!("k{at}"), "1"));
    }
    mesh.send(1, 0, EVERYTHING).unwrap();
    for at in 6..9 {
        mesh.sites[1].run(put(&format!("k{at}"), "1"));
    }
    for beyond in 0..=6 {
        let file = adopted(file_of(&mesh.sites[1].store, Some(beyond)), &mesh.sites[0].store);
        let tail = read(&mesh.sites[0].store, &file).unwrap();
        let stream = tail.streams[0];
        assert_eq!((stream.first, stream.last, tail.records), (beyond + 1, 9, 3));
    }
    let file = adopted(file_of(&mesh.sites[1].store, Some(7)), &mesh.sites[0].store);
    assert!(matches!(read(&mesh.sites[0].store, &file), Err(TailError::Gap { first: 8, expected: 7 })));
    let file = adopted(file_of(&mesh.sites[1].store, Some(99)), &mesh.sites[1].store);
    assert_eq!(read(&mesh.sites[1].store, &file).unwrap().records, 0, "nothing is beyond the last");
}

#[test]
fn another_past_is_refused() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[1].run(put("a", "1"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    // The same replica, set back, has written something else.
    let mut forked = Bench::of(2, NOW);
    forked.run(put("a", "2"));
    forked.run(put("b", "2"));
    for beyond in [0, 1] {
        let file = adopted(file_of(&forked.store, Some(beyond)), &mesh.sites[0].store);
        assert!(matches!(read(&mesh.sites[0].store, &file), Err(TailError::Unchained { .. })), "beyond {beyond}");
    }
}

#[test]
fn a_file_that_is_cut_changed_or_longer_is_refused() {
    let mut mesh = Mesh::new(2, 0);
    for at in 0..3 {
        mesh.sites[1].run(put(&format!("k{at}"), "1"));
    }
    let reader = &mesh.sites[0].store;
    let file = adopted(file_of(&mesh.sites[1].store, None), reader);
    assert_eq!(read(reader, &file).unwrap().records, 3);
    for len in 0..file.len() {
        assert!(read(reader, &file[..len]).is_err(), "cut to {len}");
    }
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 0x20;
        assert!(read(reader, &changed).is_err(), "byte {at}");
    }
    assert!(read(reader, &[&file[..], &[0]].concat()).is_err());
    assert!(matches!(read(reader, b"tombolo snapshot\n"), Err(TailError::NotATail)));
    assert!(matches!(read(reader, &file_of(&mesh.sites[1].store, None)), Err(TailError::OtherMesh { .. })));
    let mut newer = file;
    newer[tombolo_storage::TAIL_MAGIC.len()] = 2;
    assert!(matches!(read(reader, &newer), Err(TailError::NewerFormat { found: 2 })));
}

#[test]
fn what_hung_on_a_lease_is_left_out_unless_it_is_asked_for() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[1].run(Request::LeaseGrant { id: 7, ttl_s: 60 });
    mesh.sites[1].run(put_leased("held", "1", 7));
    mesh.sites[1].run(put("kept", "1"));
    let file = adopted(file_of(&mesh.sites[1].store, None), &mesh.sites[0].store);
    let settle =
        |mesh: &Mesh, leased| read(&mesh.sites[0].store, &file).unwrap().outcome.settle(&mesh.sites[0].store, leased);
    let (writes, left_out) = settle(&mesh, TailLeases::LeftOut);
    assert_eq!((writes.len(), left_out), (1, 1));
    let (writes, left_out) = settle(&mesh, TailLeases::Unbound);
    assert_eq!((writes.len(), left_out), (2, 0));
    enter(&mut mesh.sites[0], writes);
    let pairs = all(&mesh.sites[0].store);
    assert_eq!(
        pairs.iter().map(|pair| (text(&pair.key), pair.lease)).collect::<Vec<_>>(),
        [("held".to_owned(), 0), ("kept".to_owned(), 0)]
    );
}

#[test]
fn what_the_log_has_forgotten_is_not_exported_in_silence() {
    let mut bench = Bench::new();
    for at in 0..10 {
        bench.run(put("k", &at.to_string()));
    }
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    bench.run(put("k", "last"));
    let refused = bench.store.export_tail(Some(3), &mut Vec::new());
    assert!(matches!(refused, Err(TailError::Forgotten { beyond: 3, .. })), "{refused:?}");
    let streams = bench.store.export_tail(None, &mut Vec::new()).unwrap();
    assert_eq!(streams[0].last, 11);
}
