//! Rows that rot: they are found, never handed on, and put back as they were out of what peers hold.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tombolo_crdt::Dot;
use tombolo_storage::{
    ArrivalsError, HistoryBudget, KeyRange, MendError, Mending, Op, Provider, RangeQuery, ReadError, Request,
    ScrubPass, Scrubber, Slot, Store, Transaction,
    engine::{Change, Engine, Persist, memory::MemoryEngine},
};

use crate::{
    convergence::wandered,
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    random::{Random, for_seeds},
    support::*,
};

fn key_of(commit: u64) -> Bytes {
    [b"c", &commit.to_be_bytes()[..]].concat().into()
}

/// All rows of commits, as they are stored.
fn rows(engine: &MemoryEngine) -> Vec<(Bytes, Bytes)> {
    engine.snapshot().scan(b"c", b"d").map(|row| row.expect("memory reads")).collect()
}

/// Reads everything once, so many bytes in a step. Returns the pass, and its steps.
fn scrub(store: &Store, budget: u64) -> (ScrubPass, u64) {
    let mut scrubber = Scrubber::new(store);
    let mut steps = 0;
    loop {
        steps += 1;
        if let Some(pass) = scrubber.step(budget).expect("memory reads").finished {
            return (pass, steps);
        }
    }
}

/// Mends what is rotten at a site out of the logs of the others. Returns the rows that were written.
fn mend(mesh: &mut Mesh, site: usize) -> Result<u64, MendError> {
    let Some(mut mending) = Mending::begin(&mesh.sites[site].store)? else { return Ok(0) };
    for dot in mending.wanted() {
        let peers = (0..mesh.sites.len()).filter(|peer| *peer != site);
        let found = peers.filter_map(|peer| mesh.sites[peer].store.material(dot).expect("a peer reads its log")).next();
        if let Some(material) = found {
            assert!(mending.give(dot, material));
        }
    }
    let rows = mending.finish()?;
    Ok(mesh.sites[site].committer.mend(rows).expect("the disk is well"))
}

fn rotten(store: &Store) -> Vec<u64> {
    store.rotten().into_iter().map(|row| row.commit).collect()
}

/// Two sites with something of every form.
fn two_sites() -> Mesh {
    let mut mesh = Mesh::new(2, 1_000);
    let site = &mut mesh.sites[0];
    for step in 0..12 {
        site.run(put(&format!("k{}", step % 5), &format!("first {step}")));
    }
    site.run(Request::LeaseGrant { id: 9, ttl_s: 60 });
    site.run(put_leased("leased", "1", 9));
    site.run(delete(single("k1")));
    let many = (0..70).map(|key| Op::Put(put_op(&format!("m{key:03}"), "many")));
    site.run(Request::Txn(Transaction { then: many.collect(), ..Transaction::default() }));
    mesh.settle();
    // Concurrent writes, one of which loses at either site.
    mesh.sites[0].run(put("both", "at 0"));
    mesh.sites[1].run(put("both", "at 1"));
    mesh.sites[1].run(delete(KeyRange::from_key(bytes("m"))));
    mesh.settle();
    mesh.sites[0].run(delete(single("both")));
    mesh.sites[1].run(put("k2", "last"));
    mesh.sites[0].run(Request::LeaseRevoke { id: 9 });
    mesh.settle();
    mesh
}

#[test]
fn every_rotten_row_is_found_named_and_put_back_as_it_was() {
    let mut mesh = two_sites();
    let before = rows(&mesh.sites[1].engine);
    let state = (all(&mesh.sites[1].store), mesh.sites[1].store.standing());
    for (key, row) in &before {
        let commit = u64::from_be_bytes(key[1..].try_into().unwrap());
        type Damage = fn(&MemoryEngine, &Bytes, usize);
        let damages: [Damage; 5] = [
            |engine, key, len| assert!(engine.rot(key, |row| row[len / 2] ^= 16)),
            |engine, key, len| assert!(engine.rot(key, |row| row[len - 3] ^= 1)),
            |engine, key, _| assert!(engine.rot(key, |row| row.clear())),
            |engine, key, _| assert!(engine.lose(key)),
            |engine, key, _| assert!(engine.rot(key, |row| row.iter_mut().for_each(|byte| *byte = 0))),
        ];
        for damage in damages {
            damage(&mesh.sites[1].engine, key, row.len());
            let (pass, _) = scrub(&mesh.sites[1].store, 1 << 20);
            assert_eq!(pass.rotten, 1);
            assert_eq!(rotten(&mesh.sites[1].store), [commit]);
            assert_eq!(mend(&mut mesh, 1).unwrap(), 1, "commit {commit}");
            assert!(rotten(&mesh.sites[1].store).is_empty());
            assert_eq!(rows(&mesh.sites[1].engine), before);
        }
    }
    assert_eq!((all(&mesh.sites[1].store), mesh.sites[1].store.standing()), state);
    mesh.reopen(1, Stop::Crash);
    assert_eq!((all(&mesh.sites[1].store), mesh.sites[1].store.standing()), state);
    mesh.check_equal();
}

#[test]
fn several_rotten_rows_are_put_back_at_once_whoever_wrote_them() {
    for_seeds(0..40, |random| {
        let sites = 2 + random.below(2) as u8;
        let mut mesh = wandered(random, sites, 120);
        let site = random.at(mesh.sites.len());
        let before = rows(&mesh.sites[site].engine);
        let private = |row: &(Bytes, Bytes)| row.1.windows(15).any(|part| part == b"compact_rev_key");
        let (first, count) = (random.at(before.len()), 1 + random.at(6));
        let damaged: Vec<&(Bytes, Bytes)> = before.iter().skip(first).take(count).filter(|row| !private(row)).collect();
        for (key, row) in &damaged {
            let at = random.at(row.len());
            match random.below(3) {
                0 => assert!(mesh.sites[site].engine.lose(key)),
                _ => assert!(mesh.sites[site].engine.rot(key, |row| row[at] ^= 1)),
            }
        }
        assert_eq!(mend(&mut mesh, site).unwrap(), damaged.len() as u64);
        assert_eq!(rows(&mesh.sites[site].engine), before);
        mesh.check_equal();
    });
}

#[test]
fn a_block_that_cannot_be_read_is_read_around_and_its_rows_are_written_anew() {
    let mut mesh = two_sites();
    let site = &mut mesh.sites[1];
    let (pairs, events) = (all(&site.store), history(&site.store, 1).len());
    site.engine.spoil(&key_of(4), &key_of(11));
    let budget = HistoryBudget { commits: usize::MAX, bytes: usize::MAX };
    assert!(matches!(site.store.history(1, &KeyRange::all(), budget), Err(ReadError::Rot { commit: 4..11 })));
    assert_eq!(scrub(&site.store, 1 << 20).0.rotten, 7);
    assert_eq!(mend(&mut mesh, 1).unwrap(), 7);
    let site = &mesh.sites[1];
    assert_eq!((all(&site.store), history(&site.store, 1).len()), (pairs, events));
    assert_eq!(scrub(&site.store, 1 << 20).0.rotten, 0);
    mesh.reopen(1, Stop::Crash);
    mesh.check_equal();
}

#[test]
fn what_is_rotten_is_handed_to_nobody_and_nothing_else_fails() {
    let mut mesh = two_sites();
    let site = &mut mesh.sites[0];
    site.run(put("alone", "here"));
    let commit = site.store.published().commit;
    site.run(put("after", "it"));
    let right = all(&site.store);
    assert!(site.engine.rot(&key_of(commit), |row| row[20] ^= 1));
    let one = |key: &str| RangeQuery::all(single(key));
    assert!(matches!(site.store.range(&one("alone")), Err(ReadError::Rot { commit: named }) if named == commit));
    let rows = site.store.rotten();
    assert_eq!((rows[0].commit, rows[0].keys.clone()), (commit, vec![bytes("alone")]), "it is named with its keys");
    for pair in right.iter().filter(|pair| pair.key != "alone") {
        assert_eq!(
            site.store.range(&RangeQuery::all(KeyRange::single(pair.key.clone()))).unwrap().pairs,
            std::slice::from_ref(pair)
        );
    }
    let budget = HistoryBudget { commits: usize::MAX, bytes: usize::MAX };
    assert!(matches!(site.store.history(1, &KeyRange::all(), budget), Err(ReadError::Rot { .. })));
    let lacks = mesh.sites[1].store.frontier();
    let site = &mut mesh.sites[0];
    assert!(matches!(site.store.arrivals(&lacks, 0, EVERYTHING), Err(ArrivalsError::Read(ReadError::Rot { .. }))));
    assert!(matches!(site.store.read_at(b"alone", &site.store.frontier()), Err(ReadError::Rot { .. })));
    let own = site.store.identity().replica;
    let dot = Dot::new(own, site.store.frontier().seq(own) - 1);
    assert_eq!(site.store.material(dot).unwrap(), None, "nobody is mended with rot");
    let mut backup = site.store.backup(NOW, Slot::new(1).unwrap());
    let outcome = std::iter::from_fn(|| backup.next_piece(1 << 10).transpose()).find(Result::is_err);
    assert!(matches!(outcome, Some(Err(ReadError::Rot { .. }))));
    let provider = Provider::new(&site.store);
    let mut to = Bench::of(9, NOW);
    let mut receiver = tombolo_storage::Receiver::resume(&to.store).unwrap();
    crate::transfer::pull(&provider, &mut receiver, &mut to, |page| page).unwrap_err();
    // Reads that depend on it are refused, and writes that do not need it go on.
    let site = &mut mesh.sites[0];
    site.run(put("new", "1"));
    assert_eq!(value(&site.store, "new").as_deref(), Some("1"));
    assert!(matches!(mend(&mut mesh, 0), Err(MendError::Lacking { dot: lacking }) if lacking == dot));
    assert_eq!(rotten(&mesh.sites[0].store), [commit], "nobody has it: it stays known");
    assert_eq!(mesh.sites[0].store.rot_counts().rotten, 1);
}

#[test]
fn a_scrubber_reads_as_much_as_it_may_and_everything_in_the_end() {
    let mut bench = Bench::new();
    for round in 0..400 {
        bench.run(put(&format!("k{}", round % 50), &"v".repeat(100)));
    }
    bench.compact(350);
    bench.sweep();
    let total: u64 = bench
        .engine
        .snapshot()
        .scan(&[0], &[0xff])
        .map(|row| row.unwrap())
        .map(|(k, v)| (k.len() + v.len()) as u64)
        .sum();
    let (pass, steps) = scrub(&bench.store, 1_000);
    assert_eq!((pass.bytes, pass.rotten), (total, 0));
    assert!(steps >= total / 1_400 && steps <= total / 1_000 + 3, "{steps} steps for {total} bytes");
    // A row that compaction dropped is not missed.
    assert!(rotten(&bench.store).is_empty());
}

#[test]
fn a_rotten_base_is_written_again() {
    let mut bench = Bench::new();
    (0..40).for_each(|round| drop(bench.run(put(&format!("k{}", round % 5), "v"))));
    bench.compact(30);
    bench.sweep();
    let base = |engine: &MemoryEngine| engine.snapshot().last(b"b", b"c").unwrap().expect("there is a base");
    let before = base(&bench.engine);
    assert!(bench.engine.rot(&before.0, |row| row[7] ^= 1));
    assert_eq!(scrub(&bench.store, 1 << 20).0.rotten, 1);
    assert_eq!(bench.store.rot_counts().rotten, 1);
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(base(&bench.engine), before);
    assert_eq!(bench.store.rot_counts().rotten, 0);
    bench.reopen(Stop::Crash);
}

/// A store with two bases, both places of the newer one damaged so, and that one's keys.
fn with_a_damaged_base(damage: impl Fn(&MemoryEngine, &Bytes)) -> (Bench, [Bytes; 2]) {
    let mut bench = Bench::new();
    (0..40).for_each(|round| drop(bench.run(put(&format!("k{}", round % 5), "v"))));
    bench.compact(20);
    bench.sweep();
    bench.compact(30);
    let newest = |kind: u8| bench.engine.snapshot().last(&[kind], &[kind + 1]).unwrap().expect("there is a base").0;
    let keys = [newest(b'b'), newest(b'd')];
    keys.iter().for_each(|key| damage(&bench.engine, key));
    (bench, keys)
}

#[test]
fn a_base_that_cannot_be_read_is_missed_though_no_slice_has_followed_it() {
    let (mut bench, keys) = with_a_damaged_base(|engine, key| engine.spoil(key, &[key, &[0][..]].concat()));
    assert_eq!(scrub(&bench.store, 1 << 20).0.rotten, 2);
    assert_eq!(bench.store.rot_counts().rotten, 1, "the base before it is whole, and counts for nothing");
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(bench.store.rot_counts().rotten, 0);
    assert!(keys.iter().all(|key| bench.engine.get(key).unwrap().is_some()));
}

#[test]
fn a_rotten_base_is_not_taken_for_mended_because_an_older_one_is_whole() {
    let (mut bench, keys) = with_a_damaged_base(|engine, key| assert!(engine.rot(key, |row| row[7] ^= 1)));
    scrub(&bench.store, 1 << 20);
    keys.iter().for_each(|key| assert!(bench.engine.lose(key)));
    scrub(&bench.store, 1 << 20);
    let counts = bench.store.rot_counts();
    assert_eq!((counts.found, counts.mended, counts.rotten), (1, 0, 1));
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(bench.store.rot_counts().rotten, 0);
    bench.reopen(Stop::Crash);
}

#[test]
fn the_chain_of_an_authors_last_record_is_known_whatever_is_left_of_it_and_of_others_while_they_are_whole() {
    let mut bench = Bench::new();
    let own = bench.store.identity().replica;
    let mut chains = Vec::new();
    for request in [put("kept", "1"), put("gone", "2"), put("gone", "3"), delete(single("gone"))] {
        bench.run(request);
        chains.push(bench.store.standing().chains[&own]);
    }
    let known = |bench: &Bench| [1, 2, 3, 4, 5].map(|seq| bench.store.chain_of(Dot::new(own, seq)).unwrap());
    let all_of_them = [Some(chains[0]), Some(chains[1]), Some(chains[2]), Some(chains[3]), None];
    assert_eq!(known(&bench), all_of_them);
    let whole = bench.store.material(Dot::new(own, 4)).unwrap();
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    assert_ne!(bench.store.material(Dot::new(own, 4)).unwrap(), whole, "the record is not whole any more");
    let left = known(&bench);
    assert_eq!(left[1..], [None, None, Some(chains[3]), None]);
}

#[test]
fn a_row_is_not_made_of_another_record() {
    let mut mesh = two_sites();
    let row = rows(&mesh.sites[1].engine).remove(5);
    let commit = u64::from_be_bytes(row.0[1..].try_into().unwrap());
    assert!(mesh.sites[1].engine.lose(&row.0));
    // The same author's record of the same name, from a past that nobody here has seen.
    let mut other = Bench::of(1, NOW);
    (0..12).for_each(|step| drop(other.run(put(&format!("k{}", step % 5), "forged"))));
    let mut mending = Mending::begin(&mesh.sites[1].store).unwrap().expect("a row is missing");
    let dot = mending.wanted()[0];
    assert!(mending.give(dot, other.store.material(dot).unwrap().expect("it is in the other log")));
    assert!(matches!(mending.finish(), Err(MendError::Foreign { .. } | MendError::Unproven { .. })));
    let mut mending = Mending::begin(&mesh.sites[1].store).unwrap().expect("a row is missing");
    assert!(!mending.give(dot, Bytes::from_static(b"no record")));
    assert!(matches!(mending.finish(), Err(MendError::Lacking { .. })));
    assert_eq!(rotten(&mesh.sites[1].store), [commit]);
    assert_eq!(mend(&mut mesh, 1).unwrap(), 1);
    mesh.check_equal();
}

/// Flips single bits in the tables of a folder under the store that has it open: whatever is hit, no read tells anything wrong, the scrubber names what
/// is lost, and all of it comes back from a peer.
#[test]
fn bits_that_flip_in_a_folder_under_a_running_store_are_found_and_put_back() {
    let lost = AtomicU64::new(0);
    for_seeds(0..12, |random| {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut committer) = open(folder.path());
        let mut peer = Bench::of(3, NOW);
        for key in 0..600 {
            try_run(&mut committer, put(&format!("k{:03}", key % 400), &format!("{key} {}", "v".repeat(90)))).unwrap();
        }
        commit(&mut committer);
        let records = store.arrivals(&Default::default(), 0, EVERYTHING).unwrap().records;
        for record in records {
            peer.committer.ingest(NOW, record.bytes).unwrap();
        }
        peer.commit();
        // While the rows are in memory: what a cache has of a table hides what becomes of it.
        let right = all(&store);
        store.defragment().unwrap();
        flip(&folder.path().join("engine/keyspaces/1/tables"), 3, random);
        // What readers were told before may be told again; nothing else may.
        for pair in &right {
            match store.range(&RangeQuery::all(KeyRange::single(pair.key.clone()))) {
                Ok(answer) => assert_eq!(answer.pairs, std::slice::from_ref(pair)),
                Err(ReadError::Rot { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let (pass, _) = scrub(&store, 1 << 30);
        assert_eq!(pass.rotten > 0, !store.rotten().is_empty());
        if let Some(mut mending) = Mending::begin(&store).unwrap() {
            for dot in mending.wanted() {
                assert!(mending.give(dot, peer.store.material(dot).unwrap().expect("the peer has everything")));
            }
            let rows = mending.finish().unwrap();
            assert!(committer.mend(rows).unwrap() > 0);
        }
        assert!(store.rotten().is_empty());
        assert_eq!(all(&store), right);
        assert_eq!(history(&store, 1).len(), 600);
        lost.fetch_add(pass.rotten, Ordering::Relaxed);
    });
    let lost = lost.into_inner();
    assert!(lost > 100, "blocks were hit, and many rows lie in each: {lost}");
}

/// Flips bits of the newest table in a folder.
pub(crate) fn flip(tables: &std::path::Path, bits: usize, random: &mut Random) {
    use std::os::unix::fs::FileExt;
    let files = std::fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path());
    // The one before is merged into it, and is there for as long as somebody may read it.
    let number = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let newest = files.max_by_key(number).expect("rows are in a table");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(newest).unwrap();
    let len = file.metadata().unwrap().len();
    for _ in 0..bits {
        // The rows lie before what the table knows of itself.
        let at = random.below(len * 9 / 10);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << random.below(8);
        file.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn rows_that_were_compacted_are_made_again_of_what_peers_have_left() {
    let mut mesh = Mesh::new(2, 1_000);
    for step in 0..60 {
        mesh.sites[0].run(put(&format!("k{}", step % 20), &format!("{step}")));
    }
    let both = [Op::Put(put_op("k3", "of two")), Op::Put(put_op("kept", "of two"))];
    mesh.sites[0].run(Request::Txn(Transaction { then: both.to_vec(), ..Transaction::default() }));
    mesh.sites[0].run(put("k3", "last"));
    mesh.sites[0].run(Request::LeaseGrant { id: 9, ttl_s: 60 });
    mesh.sites[0].run(put_leased("leased", "1", 9));
    mesh.settle();
    for site in &mut mesh.sites {
        let revision = site.store.published().revision.get();
        site.compact(revision);
        site.sweep();
    }
    let before = rows(&mesh.sites[1].engine);
    assert!(before.len() < 30, "most rows are gone");
    for (at, (key, row)) in before.iter().enumerate() {
        let commit = u64::from_be_bytes(key[1..].try_into().unwrap());
        let engine = &mesh.sites[1].engine;
        match at % 3 {
            0 => assert!(engine.lose(key)),
            1 => assert!(engine.rot(key, |row| row.clear())),
            _ => assert!(engine.rot(key, |stored| stored[row.len() / 2] ^= 1)),
        }
        // Nothing but whoever looks for it says that a compacted row was there.
        let _ = mesh.sites[1].store.range(&RangeQuery::all(KeyRange::all()));
        scrub(&mesh.sites[1].store, 1 << 20);
        if at % 3 == 0 && rotten(&mesh.sites[1].store).is_empty() {
            mesh.sites[1].engine.write(vec![Change::Put(key.clone(), row.clone())], Persist::Disk).unwrap();
            continue;
        }
        assert_eq!(rotten(&mesh.sites[1].store), [commit]);
        assert_eq!(mend(&mut mesh, 1).unwrap(), 1, "row {commit}");
        assert_eq!(rows(&mesh.sites[1].engine), before);
    }
    mesh.reopen(1, Stop::Crash);
    mesh.check_equal();
}

#[test]
fn a_backup_stops_at_any_row_that_is_rotten_or_lost_and_names_it() {
    let mut mesh = two_sites();
    let site = &mut mesh.sites[1];
    let saved = |store: &Store| {
        let mut backup = store.backup(NOW, Slot::new(1).unwrap());
        std::iter::from_fn(move || backup.next_piece(1 << 10).transpose()).collect::<Result<Vec<_>, _>>().map(drop)
    };
    let named = |outcome: Result<(), ReadError>, commit: u64| matches!(outcome, Err(ReadError::Rot { commit: named }) if named == commit);
    for is_compacted in [false, true] {
        if is_compacted {
            let revision = site.store.published().revision.get();
            site.compact(revision - 3);
            site.sweep();
        }
        let floor = if is_compacted { rows(&site.engine).len() as u64 } else { 0 };
        for (key, row) in rows(&site.engine) {
            let commit = u64::from_be_bytes(key[1..].try_into().unwrap());
            saved(&site.store).unwrap();
            assert!(site.engine.rot(&key, |stored| stored[row.len() / 2] ^= 16));
            assert!(named(saved(&site.store), commit), "row {commit} is rotten");
            assert!(site.engine.lose(&key));
            let outcome = saved(&site.store);
            assert!(named(saved(&site.store), commit) || (floor > 0 && outcome.is_err()), "row {commit} is lost");
            site.engine.write(vec![Change::Put(key, row)], Persist::Disk).unwrap();
        }
    }
    let last = site.store.published().commit;
    site.engine.spoil(&key_of(last), &key_of(last + 1));
    assert!(named(saved(&site.store), last), "a block that cannot be read costs its first row at least");
}
