//! One rotten byte in a row of each kind: what opening says to it, what the scrubber finds, and what becomes of it.
//!
//! The table of `docs/format.md`, "What rot costs", row by row.

use bytes::Bytes;
use tempfile::tempdir;
use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead, VersionVector};
use tombolo_storage::{
    ArrivalBudget, ArrivalsError, KeyValue, MendError, Mending, OpenError, Provider, ReadError, Receiver, Scrubber,
    Slot,
    engine::{Change, Engine, Persist},
    restore::{RestoreOptions, restore},
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    signed::{Author, ingest},
    support::*,
};

/// What opening says to a folder with such a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// It opens, and the row is as it was.
    Mends,
    /// It opens, and what the row was needed for has another row.
    Replaces,
    /// It opens, and the row is needed for nothing.
    Ignores,
    /// It opens, and the row stays rotten and named until somebody gives what it held.
    Waits,
    /// It does not, and the commit is named.
    Refuses(u64),
}

/// What is found while the store runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    /// Housekeeping writes it again.
    Mends,
    /// It stays noted.
    Notes,
    /// It is counted by the scrubber, and nobody needs it.
    Ignores,
}

struct Case {
    kind: &'static str,
    key: Bytes,
    opening: Opening,
    running: Running,
}

fn key(kind: u8, number: u64) -> Bytes {
    [&[kind][..], &number.to_be_bytes()].concat().into()
}

fn row(bench: &Bench, key: &Bytes) -> Option<Bytes> {
    bench.engine.get(key).unwrap()
}

fn flip(bench: &Bench, key: &Bytes) {
    assert!(bench.engine.rot(key, |row| {
        let at = row.len() / 2;
        row[at] ^= 0x10;
    }));
}

/// A store with rows of every kind. Author 0xb2 has signed nothing since what was compacted, 0xa1 in each of several batches.
fn every_kind() -> (Bench, [Author; 2]) {
    let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
    bench.run(put("kept", "compacted"));
    let records = vec![b.write("quiet")];
    ingest(&mut bench, records, vec![b.head(1)]);
    bench.run(put("gone", "1"));
    bench.run(delete(single("gone")));
    bench.compact(5);
    bench.sweep();
    bench.run(put("compact_rev_key", "5"));
    for mark in 1..=3 {
        let records = vec![a.write("1"), a.write("2")];
        ingest(&mut bench, records, vec![a.head(mark)]);
        bench.run(put("own", "between"));
    }
    stage(&mut bench);
    (bench, [a, b])
}

/// Stages what a peer has, and does not join it.
fn stage(bench: &mut Bench) {
    let mut peer = Bench::of(3, NOW);
    peer.run(put("theirs", "1"));
    peer.compact(2);
    peer.sweep();
    let provider = Provider::new(&peer.store);
    let mut receiver = Receiver::resume(&bench.store).unwrap();
    crate::transfer::pull(&provider, &mut receiver, bench, |page| page).unwrap();
    bench.run(put("after", "1"));
}

fn scrub(bench: &Bench) -> u64 {
    let mut scrubber = Scrubber::new(&bench.store);
    loop {
        if let Some(pass) = scrubber.step(1 << 20).unwrap().finished {
            return pass.rotten;
        }
    }
}

fn cases(bench: &Bench) -> Vec<Case> {
    let newest = |kind: u8| bench.engine.snapshot().last(&[kind], &[kind + 1]).unwrap().expect("there is one").0;
    let case = |kind, key, opening, running| Case { kind, key, opening, running };
    let private = 5;
    vec![
        case("a whole commit row", key(b'c', 6), Opening::Refuses(6), Running::Notes),
        case("a commit row of the private layer", key(b'c', private), Opening::Refuses(private), Running::Notes),
        case("a compacted commit row", key(b'c', 1), Opening::Refuses(1), Running::Notes),
        case("the newest base row", newest(b'b'), Opening::Mends, Running::Mends),
        case("its copy", newest(b'd'), Opening::Mends, Running::Mends),
        case("signatures that later ones cover", key(b'g', 7), Opening::Replaces, Running::Mends),
        case("an author's newest signatures", key(b'g', 13), Opening::Waits, Running::Mends),
        case("signatures of what was compacted", key(b'g', 2), Opening::Waits, Running::Mends),
        case("a staged row", newest(b't'), Opening::Ignores, Running::Ignores),
    ]
}

/// Everything that is shown and told.
fn told(bench: &Bench) -> (Vec<KeyValue>, VersionVector, u128) {
    (all(&bench.store), bench.store.frontier(), bench.store.digest())
}

#[test]
fn one_rotten_byte_in_a_row_of_any_kind_is_mended_or_named_at_opening() {
    let (bench, [a, b]) = every_kind();
    let right = told(&bench);
    let wall = bench.wall;
    for Case { kind, key, opening, .. } in cases(&bench) {
        let engine = bench.engine.crash();
        let before = engine.get(&key).unwrap().unwrap_or_else(|| panic!("there is {kind}"));
        let at = before.len() / 2;
        assert!(engine.rot(&key, |row| row[at] ^= 0x10));
        let opened = Bench::try_on(engine, wall);
        if let Opening::Refuses(commit) = opening {
            assert!(matches!(opened, Err(OpenError::Rotten { commit: named }) if named == commit), "{kind}");
            continue;
        }
        let mut opened = opened.unwrap_or_else(|why| panic!("with {kind}: {why}"));
        assert_eq!(told(&opened), right, "{kind}");
        opened.committer.maintain(wall).unwrap();
        match opening {
            Opening::Mends => assert_eq!(row(&opened, &key), Some(before), "{kind}"),
            Opening::Replaces => assert_eq!(row(&opened, &key), None, "{kind}"),
            Opening::Ignores | Opening::Waits => assert_ne!(row(&opened, &key), Some(before.clone()), "{kind}"),
            Opening::Refuses(_) => unreachable!("it was refused"),
        }
        if opening == Opening::Waits {
            let wanted = opened.store.wanted_heads().unwrap();
            assert_eq!(wanted.len(), 1, "{kind}");
            // Another record's head is none of it, whoever signed it.
            let other = SignedHead { chain: Chain::from_bytes([9; 16]), dot: wanted[0], ..a.head(1) };
            assert_eq!(opened.committer.mend_signatures(&[other]).unwrap(), 0, "{kind}");
            assert_eq!(opened.store.rot_counts().rotten, 1, "{kind}");
            assert_eq!(opened.committer.mend_signatures(&[a.head(3), b.head(1)]).unwrap(), 1, "{kind}");
        }
        assert_eq!(opened.store.rot_counts().rotten, 0, "{kind}");
        assert_eq!(scrub(&opened), u64::from(opening == Opening::Ignores), "{kind}");
        check_signed(&opened, &a, &b);
        let again = opened.reopen(Stop::Crash);
        assert_eq!((told(&again), again.store.rot_counts().rotten), (right.clone(), 0), "{kind}");
        check_signed(&again, &a, &b);
    }
}

/// The newest heads are there, and all of the log is told with a proof for its end.
fn check_signed(bench: &Bench, a: &Author, b: &Author) {
    assert_eq!(bench.store.signed_heads(), [a.head(3), b.head(1)]);
    let floor: VersionVector =
        [Dot::new(ReplicaId::new(0xb2).unwrap(), 1), Dot::new(bench.store.identity().replica, 3)].into_iter().collect();
    let mut seen = floor;
    let mut commits = 0;
    loop {
        let budget = ArrivalBudget { commits: 1, ..EVERYTHING };
        let arrivals = bench.store.arrivals(&seen, commits, budget).unwrap();
        let own = bench.store.identity().replica;
        let ends: VersionVector = arrivals.records.iter().map(|arrival| arrival.dot).collect();
        let proven: VersionVector = arrivals.heads.iter().map(|head| head.dot).collect();
        assert!(ends.iter().filter(|dot| dot.replica != own).eq(proven.iter()), "{ends:?} {proven:?}");
        seen.join(&ends);
        commits = arrivals.next;
        if commits > bench.store.published().commit {
            assert!(seen.includes(&bench.store.frontier()));
            return;
        }
    }
}

#[test]
fn one_rotten_byte_in_a_row_of_any_kind_is_found_by_the_scrubber_and_mended_or_named() {
    let (mut bench, [a, b]) = every_kind();
    for Case { kind, key, running, .. } in cases(&bench) {
        let before = row(&bench, &key).unwrap_or_else(|| panic!("there is {kind}"));
        assert_eq!(scrub(&bench), 0, "before {kind}");
        flip(&bench, &key);
        assert_eq!(scrub(&bench), 1, "{kind}");
        let is_noted = bench.store.rot_counts().rotten == 1;
        assert_eq!(is_noted, running != Running::Ignores, "{kind}");
        let maintained = bench.committer.maintain(bench.wall);
        assert!(maintained.is_ok(), "{kind}: {maintained:?}");
        let is_mended = bench.store.rot_counts().rotten == 0 && scrub(&bench) == 0;
        assert_eq!(is_mended, running == Running::Mends, "{kind}");
        if running == Running::Mends {
            check_signed(&bench, &a, &b);
            continue;
        }
        if running == Running::Notes {
            let commit = u64::from_be_bytes(key[1..].try_into().unwrap());
            assert_eq!(bench.store.rotten().iter().map(|row| row.commit).collect::<Vec<_>>(), [commit], "{kind}");
            let begun = Mending::begin(&bench.store);
            let is_private = matches!(&begun, Err(MendError::Private { commit: named }) if *named == commit);
            assert_eq!(is_private, kind.ends_with("private layer"), "{kind}");
        }
        bench.engine.write(vec![Change::Put(key, before)], Persist::Disk).unwrap();
        assert!(Mending::begin(&bench.store).unwrap().is_none(), "whoever mends looks at it again");
        assert_eq!((scrub(&bench), bench.store.rot_counts().rotten), (0, 0), "{kind}");
    }
    bench.reopen(Stop::Crash);
}

#[test]
fn a_base_of_which_both_rows_are_rotten_is_named() {
    let (bench, _) = every_kind();
    let newest = |kind: u8| bench.engine.snapshot().last(&[kind], &[kind + 1]).unwrap().expect("there is one").0;
    let (base, copy) = (newest(b'b'), newest(b'd'));
    assert_eq!(base[1..], copy[1..]);
    let ordinal = u64::from_be_bytes(base[1..].try_into().unwrap());
    flip(&bench, &base);
    flip(&bench, &copy);
    let wall = bench.wall;
    let opened = Bench::try_on(bench.engine.crash(), wall);
    assert!(matches!(opened, Err(OpenError::RottenBase { ordinal: named }) if named == ordinal));
    // An older one is never taken for it.
    assert!(bench.engine.lose(&copy));
    assert!(matches!(Bench::try_on(bench.engine.crash(), wall), Err(OpenError::RottenBase { .. })));
}

#[test]
fn a_store_that_was_written_without_copies_gets_one_when_it_opens() {
    let (bench, _) = every_kind();
    let copies = bench.rows_of(b'd');
    assert_eq!((copies, bench.rows_of(b'b')), (1, 1), "older ones go with the slices");
    let (copy, _) = bench.engine.snapshot().last(b"d", b"e").unwrap().unwrap();
    assert!(bench.engine.lose(&copy));
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.rows_of(b'd'), 1);
}

#[test]
fn what_is_rotten_among_signatures_is_told_to_nobody_and_what_lies_before_it_is() {
    let (mut bench, _) = every_kind();
    flip(&bench, &key(b'g', 13));
    let everything = |bench: &Bench| bench.store.arrivals(&bench.store.standing().floor, 0, EVERYTHING);
    let arrivals = everything(&bench).unwrap();
    assert_eq!(arrivals.next, 11, "up to the batch before");
    let told: VersionVector =
        arrivals.records.iter().map(|arrival| arrival.dot).chain(bench.store.standing().floor.iter()).collect();
    assert!(matches!(
        bench.store.arrivals(&told, 11, EVERYTHING),
        Err(ArrivalsError::Read(ReadError::Rot { commit: 13 }))
    ));
    assert_eq!(bench.store.rotten_signatures(), [13], "whoever meets it notes it");
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(everything(&bench).unwrap().next, bench.store.published().commit + 1);
}

#[test]
fn a_rotten_intent_says_all_the_same_which_rows_are_not_there() {
    let (bench, _) = every_kind();
    let last = bench.store.published().commit;
    let intent = Change::Put(key(b'i', last), Bytes::from_static(b"what is left of it"));
    bench.engine.write(vec![intent], Persist::Disk).unwrap();
    assert_eq!(scrub(&bench), 1);
    let bench = bench.reopen(Stop::Crash);
    assert_eq!((bench.store.published().commit, bench.rows_of(b'i')), (last - 1, 0), "its key says it");
}

#[test]
fn a_sweep_leaves_rotten_signatures_until_it_is_known_what_was_in_them() {
    let (bench, [a, b]) = every_kind();
    let newest = key(b'g', 13);
    flip(&bench, &newest);
    // In memory they were whole: the next opening does not know them.
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.store.rotten_signatures(), [13]);
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    assert_eq!((bench.store.rotten_signatures(), row(&bench, &newest).is_some()), (vec![13], true));
    let author = ReplicaId::new(0xa1).unwrap();
    assert_eq!(bench.store.wanted_heads().unwrap(), [Dot::new(author, 6)], "it is the newest of its author");
    assert_eq!(bench.committer.mend_signatures(&[a.head(3)]).unwrap(), 1);
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.store.signed_heads(), [a.head(3), b.head(1)]);
}

/// A backup, or why there is none.
fn saved(bench: &Bench) -> Result<Vec<u8>, ReadError> {
    let mut backup = bench.store.backup(NOW, Slot::new(1).unwrap());
    let pieces = std::iter::from_fn(|| backup.next_piece(256).transpose());
    Ok(pieces.collect::<Result<Vec<_>, _>>()?.concat())
}

/// What a store shows that is made of a backup.
fn restored(copy: &[u8]) -> Vec<KeyValue> {
    let place = tempdir().unwrap();
    let options = RestoreOptions { entropy: [9; 32], above: None, wall: NOW };
    restore(place.path(), &mut &copy[..], &options).unwrap();
    all(&open(place.path()).0)
}

#[test]
fn a_backup_is_made_and_restored_whatever_is_rotten_of_what_it_does_not_need() {
    let (bench, _) = every_kind();
    for Case { kind, key, opening, .. } in cases(&bench) {
        let before = row(&bench, &key).unwrap_or_else(|| panic!("there is {kind}"));
        flip(&bench, &key);
        let copy = saved(&bench);
        if let Opening::Refuses(commit) = opening {
            assert!(matches!(copy, Err(ReadError::Rot { commit: named }) if named == commit), "{kind}");
        } else {
            let copy = copy.unwrap_or_else(|why| panic!("with {kind}: {why}"));
            assert_eq!(restored(&copy), all(&bench.store), "{kind}");
        }
        bench.engine.write(vec![Change::Put(key, before)], Persist::Disk).unwrap();
    }
    // Nor do blocks matter in which no commit lies.
    bench.engine.spoil(b"g", b"h");
    assert_eq!(restored(&saved(&bench).unwrap()), all(&bench.store));
}

#[test]
fn a_backup_holds_the_newest_base_alone_wherever_it_can_be_read() {
    let (mut bench, _) = every_kind();
    let (older, _) = bench.engine.snapshot().last(b"b", b"c").unwrap().unwrap();
    bench.compact(bench.store.published().revision.get() - 1);
    let (newest, _) = bench.engine.snapshot().last(b"b", b"c").unwrap().unwrap();
    assert_ne!(older, newest, "the older one goes with a slice");
    flip(&bench, &older);
    assert_eq!(restored(&saved(&bench).unwrap()), all(&bench.store), "an older base is rotten");
    bench.engine.spoil(b"b", b"c");
    assert_eq!(restored(&saved(&bench).unwrap()), all(&bench.store), "no base can be read but the copy");
}

#[test]
fn a_backup_with_signatures_as_earlier_versions_made_them_is_restored_without_them() {
    let (bench, _) = every_kind();
    let mut copy = saved(&bench).unwrap();
    let signatures = key(b'g', 13);
    let row = row(&bench, &signatures).unwrap();
    copy.truncate(copy.len() - 1 - blake3::OUT_LEN);
    copy.push(signatures.len() as u8);
    copy.extend_from_slice(&signatures);
    tombolo_crdt::codec::put_varint(&mut copy, row.len() as u64);
    copy.extend_from_slice(&row);
    copy.push(0);
    let checksum = blake3::hash(&copy);
    copy.extend_from_slice(checksum.as_bytes());
    assert_eq!(restored(&copy), all(&bench.store));
}
