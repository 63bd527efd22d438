//! A store whose rows say something else than those of whoever has applied the same records: it is mended in place.

use std::{convert::Infallible, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Element, LeaseRef, Operation, Record, SignedHead, VersionVector};

use super::{
    super::{Provider, PublishedTransfer, Receiver, TransferError, TransferFault},
    MendCounts, Moment,
};
use crate::{
    ArrivalBudget, ArrivalsError, Commit, Committer, Delete, Event, KeyRange, OpenOptions, Put, RangeQuery, ReadError,
    Request, Store, SystemWrite, WallTime,
    engine::memory::MemoryEngine,
    row::{
        Kind,
        commit::{self, CommitRow, Effect, Part},
    },
    transfer::CompleteTransfer,
};

mod fixture;
mod pages;

const NOW: WallTime = WallTime(1_700_000_000_000);
const EVERYTHING: ArrivalBudget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
const KEYS: Range<u64> = 0..200;

struct Bench {
    seed: u8,
    engine: Arc<MemoryEngine>,
    store: Store,
    committer: Committer,
    wall: WallTime,
}

impl Bench {
    fn of(seed: u8) -> Self {
        Self::on(seed, MemoryEngine::new())
    }

    fn on(seed: u8, engine: MemoryEngine) -> Self {
        let engine = Arc::new(engine);
        let entropy = std::array::from_fn(|at| seed.wrapping_add((at / 8) as u8 * 64));
        let (store, committer) =
            Store::open_on(Box::new(Arc::clone(&engine)), &OpenOptions::new(NOW, entropy)).unwrap();
        Self { seed, engine, store, committer, wall: NOW }
    }

    fn reopen(self) -> Self {
        let engine = self.engine.crash();
        Self { wall: self.wall, ..Self::on(self.seed, engine) }
    }

    fn run(&mut self, request: Request) -> Vec<Arc<Commit>> {
        self.committer.execute(self.wall, request).unwrap();
        self.committer.commit().unwrap()
    }

    fn hear(&mut self, from: &Self) {
        for arrival in from.store.arrivals(&self.store.frontier(), 0, EVERYTHING).unwrap().records {
            self.committer.ingest(self.wall, arrival.bytes).unwrap();
        }
        self.committer.commit().unwrap();
    }

    fn compact(&mut self, revision: i64) {
        self.run(Request::Compact { revision });
        self.sweep();
    }

    fn sweep(&mut self) {
        self.wall.0 += 30_001;
        while self.committer.maintain(self.wall).unwrap() {}
    }

    fn revision(&self) -> i64 {
        self.store.published().revision.get()
    }

    /// What a key shows at a revision, 0 being now.
    fn value_at(&self, key: &str, revision: i64) -> Option<String> {
        let query =
            RangeQuery { revision, ..RangeQuery::all(KeyRange::single(Bytes::copy_from_slice(key.as_bytes()))) };
        let found = self.store.range(&query).unwrap().pairs.pop();
        found.map(|pair| String::from_utf8(pair.value.to_vec()).unwrap())
    }

    fn elements(&self) -> Vec<(Element, u128)> {
        let moment = Moment::of(&self.store).expect("they add up to the digest");
        moment.elements.iter().map(|listed| (listed.element, listed.share)).collect()
    }

    /// The commit whose row holds what the author's record of this number added.
    fn row_of(&self, seq: u64) -> u64 {
        let rows = self.engine_rows();
        let found = rows.into_iter().find(|(_, row)| row.parts.iter().any(|part| part.dot().seq == seq));
        found.expect("the record is in a row").0
    }

    fn engine_rows(&self) -> Vec<(u64, CommitRow)> {
        let snapshot = self.store.shared().engine.snapshot();
        let rows = snapshot.scan(&commit::key(0), &Kind::Commit.end());
        let rows = rows.map(|row| row.unwrap());
        let numbered = rows.map(|(key, row)| (Kind::Commit.number(&key).unwrap(), row));
        numbered.map(|(number, row)| (number, CommitRow::decode(&row, number).unwrap())).collect()
    }

    /// Has the row of the author's record of this number say something else, with the hash that it then has, from the next opening on.
    fn falsify(self, seq: u64, change: impl FnOnce(&mut CommitRow)) -> Self {
        let number = self.row_of(seq);
        let found = self.engine.rot(&commit::key(number), |stored| {
            let mut row = CommitRow::decode(&Bytes::copy_from_slice(stored), number).unwrap();
            change(&mut row);
            row.parts.iter_mut().for_each(write_again);
            *stored = row.encode(number).to_vec();
        });
        assert!(found);
        self.reopen()
    }
}

/// The bytes of a record that was changed, with the chain that it had.
fn write_again(part: &mut Part) {
    let Record { header, operations } = &part.record;
    let record = Record { header: header.clone(), operations: operations.clone() };
    let mut bytes = record.encode(&Chain::BEGINNING).0.to_vec();
    let chain = bytes.len() - Chain::LEN;
    bytes[chain..].copy_from_slice(header.chain.as_bytes());
    part.bytes = bytes.into();
}

fn put(key: &str, value: &str) -> Request {
    put_leased(key, value, 0)
}

fn put_leased(key: &str, value: &str, lease: i64) -> Request {
    let [key, value] = [key, value].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Request::Put(Put { key, value: Some(value), lease: Some(lease), previous: false })
}

fn delete(from: &str, to: &str) -> Request {
    let [from, to] = [from, to].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Request::Delete(Delete { range: KeyRange::before(from, to), previous: false })
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for a hand that signs for some")]
fn sign(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
}

/// An author, and another store that has applied the same.
fn same(more: impl FnOnce(&mut Bench)) -> (Bench, Bench) {
    let mut sound = Bench::of(1);
    KEYS.for_each(|key| drop(sound.run(put(&format!("k{key:03}"), "value"))));
    more(&mut sound);
    let mut sick = Bench::of(2);
    sick.hear(&sound);
    assert_eq!(sick.elements(), sound.elements());
    (sound, sick)
}

/// A store of which one row has another value, one forgets to remove, one removes what it did not, and one puts what it put elsewhere.
fn sound_and_sick() -> (Bench, Bench) {
    let (sound, sick) = same(|author| drop(author.run(delete("k150", "k151"))));
    let sick = sick
        .falsify(21, |row| change_put(row, |_, value| *value = Bytes::from_static(b"wrong")))
        .falsify(201, |row| {
            row.parts[0].record.operations.clear();
            row.parts[0].context = None;
            (row.cleared, row.effects) = Default::default();
        })
        .falsify(101, |row| {
            let dot = Dot::new(row.parts[0].dot().replica, 31);
            let key = Bytes::from_static(b"k030");
            let remove = Operation::Remove { key: key.clone(), elements: vec![dot.element(0)] };
            row.parts[0].record.operations.push(remove);
            row.effects.push(Effect::Gone { key });
        })
        .falsify(61, |row| {
            change_put(row, |key, _| *key = Bytes::from_static(b"k060a"));
            for effect in &mut row.effects {
                let Effect::Show { key, .. } = effect else { panic!("it is shown") };
                *key = Bytes::from_static(b"k060a");
            }
        });
    assert_eq!((sick.value_at("k020", 0).as_deref(), sick.value_at("k030", 0)), (Some("wrong"), None));
    assert_eq!((sick.value_at("k060", 0), sick.value_at("k060a", 0).as_deref()), (None, Some("value")));
    assert_eq!(sick.value_at("k150", 0).as_deref(), Some("value"));
    assert_eq!(sick.store.frontier(), sound.store.frontier());
    (sound, sick)
}

fn change_put(row: &mut CommitRow, change: impl FnOnce(&mut Bytes, &mut Bytes)) {
    let Some(Operation::Put { key, value, .. }) = row.parts[0].record.operations.first_mut() else {
        panic!("it is a put")
    };
    change(key, value);
}

/// Pulls what mends a store, until nothing more is to be asked.
fn compare(sound: &Bench, sick: &mut Bench) -> Result<(CompleteTransfer, MendCounts), TransferFault> {
    let mut receiver = Receiver::mend(&sick.store)?;
    bring(sound, sick, &mut receiver)?;
    let counts = receiver.mends().expect("it is compared");
    let collected = receiver.complete()?.expect("everything came");
    Ok((collected.prove(|_| Ok::<_, Infallible>(())).unwrap(), counts))
}

/// Returns the pulls that it took.
fn bring(sound: &Bench, sick: &mut Bench, receiver: &mut Receiver) -> Result<u64, TransferFault> {
    let (provider, mut pulls) = (Provider::new(&sound.store), 0);
    while let Some(pull) = receiver.next_pulls(1).pop() {
        pulls += 1;
        let page = provider.answer(Duration::ZERO, pull.body, sign)?;
        let staged = receiver.take(pull.id, page)?;
        sick.committer.stage(sick.wall, staged).unwrap();
        sick.committer.commit().unwrap();
    }
    Ok(pulls)
}

fn join(sick: &mut Bench, transfer: CompleteTransfer) -> Result<PublishedTransfer, TransferError> {
    sick.committer.publish_transfer(sick.wall, transfer)
}

fn mend(sound: &Bench, sick: &mut Bench) -> PublishedTransfer {
    let (transfer, _) = compare(sound, sick).unwrap();
    join(sick, transfer).unwrap()
}

#[test]
fn what_differs_is_as_at_the_provider_at_one_new_revision_with_events() {
    let (sound, mut sick) = sound_and_sick();
    let (identity, before) = (sick.store.identity(), sick.revision());
    let (transfer, counts) = compare(&sound, &mut sick).unwrap();
    assert_eq!(counts, MendCounts { removed: 1, added: 1, replaced: 2, is_digest_wrong: false });
    let published = join(&mut sick, transfer).unwrap();
    assert_eq!(sick.elements(), sound.elements());
    assert_eq!(sick.store.digest(), sound.store.digest());
    assert_eq!((sick.store.identity(), sick.revision()), (identity, before + 1));
    let [commit] = published.commits.as_slice() else { panic!("it is one step") };
    let told = commit.events.iter().map(|event| match event {
        Event::Put(pair) => (pair.key.clone(), Some((pair.value.clone(), pair.mod_revision, pair.version))),
        Event::Delete { key, .. } => (key.clone(), None),
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    let come = |version| Some((Bytes::from_static(b"value"), before + 1, version));
    let expected = [("k020", come(2)), ("k030", come(1)), ("k060", come(1)), ("k060a", None), ("k150", None)];
    assert_eq!(told, expected.map(|(key, value)| (Bytes::from_static(key.as_bytes()), value)));
    assert_eq!(sick.value_at("k020", before).as_deref(), Some("wrong"), "history is what was shown");
}

#[test]
fn what_was_mended_stays_so_over_restarts_compactions_and_later_writes() {
    for (is_compacted_before, is_reopened) in [(false, true), (true, true), (true, false), (false, false)] {
        let (mut sound, mut sick) = sound_and_sick();
        let again = |bench: Bench| if is_reopened { bench.reopen() } else { bench };
        if is_compacted_before {
            let revision = sick.revision();
            sick.compact(revision);
        }
        let before = sick.revision();
        mend(&sound, &mut sick);
        sick = again(sick);
        assert_eq!(sick.elements(), sound.elements());
        // At the revision before, what it shows is kept beside what is live.
        for revision in [before, before + 1] {
            if revision > before || !is_compacted_before {
                sick.compact(revision);
            }
            sick = again(sick);
            assert_eq!(sick.elements(), sound.elements(), "compacted at {revision}");
        }
        sound.run(delete("k020", "k061"));
        sound.run(put("k020", "new"));
        sick.hear(&sound);
        sick = again(sick);
        assert_eq!(sick.elements(), sound.elements());
        let revision = sick.revision();
        sick.compact(revision);
        let sick = sick.reopen();
        assert_eq!(sick.elements(), sound.elements());
        assert_eq!(sick.value_at("k020", 0).as_deref(), Some("new"));
    }
}

fn system(value: &'static str) -> SystemWrite {
    SystemWrite::Put { key: Bytes::from_static(b"a"), value: Bytes::from_static(value.as_bytes()) }
}

/// Two stores of which one has another lease, another key under it, and other data of the system.
fn with_leases() -> (Bench, Bench) {
    let (sound, sick) = same(|author| {
        author.run(Request::LeaseGrant { id: 5, ttl_s: 60 });
        author.run(put_leased("leased", "5", 5));
        author.run(Request::System(vec![system("right")]));
    });
    let sick = sick
        .falsify(201, |row| row.parts[0].record.operations = vec![Operation::LeaseGrant { id: 5, ttl_s: 7 }])
        .falsify(202, |row| {
            let Some(Operation::Put { lease: Some(lease), .. }) = row.parts[0].record.operations.first_mut() else {
                panic!("it is a put under a lease")
            };
            lease.id = 9;
        })
        .falsify(203, |row| {
            let Some(Operation::SystemPut { value, .. }) = row.parts[0].record.operations.first_mut() else {
                panic!("it is the system's")
            };
            *value = Bytes::from_static(b"wrong");
        });
    (sound, sick)
}

#[test]
fn leases_and_the_systems_data_are_mended_as_well() {
    let (sound, mut sick) = with_leases();
    let (transfer, counts) = compare(&sound, &mut sick).unwrap();
    assert_eq!(counts.replaced, 3);
    let published = join(&mut sick, transfer).unwrap();
    assert_eq!(published.commits.last().unwrap().system, [Bytes::from_static(b"a")]);
    for is_compacted in [false, true] {
        assert_eq!(sick.elements(), sound.elements());
        assert_eq!(sick.store.system(b""), sound.store.system(b""));
        let leases = |bench: &Bench| {
            let home = bench.store.frontier().iter().next().unwrap().replica;
            let state = bench.store.shared().state.read();
            let ttls: Vec<_> = state.index.leases().collect();
            (ttls, [5, 9].map(|id| state.index.keys_of(LeaseRef { home, id })))
        };
        assert_eq!(leases(&sick), leases(&sound));
        if !is_compacted {
            let revision = sick.revision();
            sick.compact(revision);
        }
        sick = sick.reopen();
    }
}

#[test]
fn a_lease_that_was_mended_and_has_ended_does_not_come_back() {
    for ends_before_the_sweep in [false, true] {
        let (mut sound, mut sick) = with_leases();
        mend(&sound, &mut sick);
        let revision = sick.revision();
        sick.run(Request::Compact { revision });
        let mut end = |sick: &mut Bench| {
            sound.run(Request::LeaseRevoke { id: 5 });
            // What is overwritten twice is named by no row that stays.
            sound.run(Request::System(vec![system("new")]));
            sound.run(Request::System(vec![system("newer")]));
            sick.hear(&sound);
        };
        if ends_before_the_sweep {
            end(&mut sick);
        }
        sick.sweep();
        if !ends_before_the_sweep {
            end(&mut sick);
        }
        let revision = sick.revision();
        sick.compact(revision);
        let sick = sick.reopen();
        assert_eq!(sick.elements(), sound.elements());
    }
}

#[test]
fn what_later_records_did_stays_done() {
    let (mut sound, mut sick) = sound_and_sick();
    let (transfer, _) = compare(&sound, &mut sick).unwrap();
    // By name, by range, of what is here, and of what is not; and what is written meanwhile.
    sick.run(put("k020", "mine"));
    sound.run(delete("k025", "k100"));
    sound.run(put("k060", "theirs"));
    sick.hear(&sound);
    sick.run(put("new", "mine"));
    join(&mut sick, transfer).unwrap();
    sound.hear(&sick);
    assert_eq!(sick.elements(), sound.elements());
    let shown = ["k020", "k030", "k060", "k060a", "new"].map(|key| sick.value_at(key, 0));
    assert_eq!(shown.each_ref().map(Option::as_deref), [Some("mine"), None, Some("theirs"), None, Some("mine")]);
    assert_eq!(sick.reopen().elements(), sound.elements());
}

#[test]
fn a_provider_that_has_gone_on_brings_the_rest_as_well_and_one_that_is_behind_brings_nothing() {
    let (mut sound, mut sick) = sound_and_sick();
    sound.run(put("more", "1"));
    mend(&sound, &mut sick);
    assert_eq!(sick.elements(), sound.elements());
    sick.run(put("k000", "mine"));
    let fault = compare(&sound, &mut sick).unwrap_err();
    assert!(matches!(fault, TransferFault::Behind), "{fault}");
}

#[test]
fn a_digest_that_is_not_what_the_elements_add_up_to_is_corrected() {
    let (mut sound, mut sick) = same(|_| ());
    let stray = Dot::new(sound.store.identity().replica, 1).element(7);
    sick.committer.head.digest.add(stray, b"stray", 7);
    sick.run(put("mine", "1"));
    assert!(matches!(Moment::of(&sick.store), Err(ReadError::Rot { .. })));
    sound.hear(&sick);
    let before = sick.revision();
    let (transfer, counts) = compare(&sound, &mut sick).unwrap();
    assert_eq!(counts, MendCounts { is_digest_wrong: true, ..MendCounts::default() });
    join(&mut sick, transfer).unwrap();
    assert_eq!((sick.store.digest(), sick.revision()), (sound.store.digest(), before));
    assert_eq!(sick.elements(), sound.elements());
    let mut sick = sick.reopen();
    assert_eq!(sick.elements(), sound.elements());
    let (_, counts) = compare(&sound, &mut sick).unwrap();
    assert!(counts.is_nothing());
}

#[test]
fn equal_stores_are_left_alone() {
    let (sound, mut sick) = same(|_| ());
    let before = sick.store.standing();
    let published = mend(&sound, &mut sick);
    assert_eq!((published.added, published.removed, sick.store.standing()), (0, 0, before));
}

#[test]
fn peers_are_given_no_record_of_before_from_the_log() {
    let (sound, mut sick) = sound_and_sick();
    mend(&sound, &mut sick);
    // As far as there were none but whole records.
    let some = ArrivalBudget { commits: 50, ..EVERYTHING };
    let refused = sick.store.arrivals(&VersionVector::new(), 0, some).unwrap_err();
    assert!(matches!(refused, ArrivalsError::BelowFloor { .. }), "{refused}");
    sick.run(put("more", "1"));
    let given = sick.store.arrivals(&sound.store.frontier(), 0, EVERYTHING).unwrap();
    assert_eq!(given.records.len(), 1);
}

#[test]
fn wherever_it_stops_it_was_carried_out_or_not_begun() {
    let (sound, mut sick) = sound_and_sick();
    let seen = |bench: &Bench| (bench.store.digest(), bench.elements(), bench.revision());
    let before = seen(&sick);
    mend(&sound, &mut sick);
    let after = seen(&sick);
    let mut not_begun = 0;
    for syncs_only in [false, true] {
        for failing in 1..8 {
            let (sound, mut sick) = sound_and_sick();
            let (transfer, _) = compare(&sound, &mut sick).unwrap();
            if syncs_only {
                sick.engine.fail_sync_in(failing)
            } else {
                sick.engine.fail_in(failing)
            }
            let outcome = join(&mut sick, transfer);
            assert!(matches!(outcome, Ok(_) | Err(TransferError::Commit(_))), "{outcome:?}");
            for engine in [sick.engine.crash(), sick.engine.kill()] {
                let mut again = Bench::on(2, engine);
                let found = seen(&again);
                assert!(found == before || found == after, "write {failing}: neither the one nor the other");
                assert!(outcome.is_err() || found == after, "write {failing}: what was published is there");
                if found == before {
                    not_begun += 1;
                    mend(&sound, &mut again);
                    assert_eq!(again.elements(), sound.elements());
                }
            }
        }
    }
    assert!(not_begun > 4, "only {not_begun} attempts were stopped");
}

#[test]
fn a_compaction_that_took_what_was_removed_meanwhile_has_it_done_again() {
    let (sound, mut sick) = sound_and_sick();
    let (transfer, _) = compare(&sound, &mut sick).unwrap();
    sick.run(put("k020", "mine"));
    sick.run(put("k020", "mine again"));
    let revision = sick.revision();
    sick.compact(revision);
    let refused = join(&mut sick, transfer).unwrap_err();
    assert!(matches!(refused, TransferError::Overtaken), "{refused}");
}
