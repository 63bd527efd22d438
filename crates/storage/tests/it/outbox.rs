//! Groups that are sealed and that the engine does not have yet: who executes reads them, and a write that fails is the last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use parking_lot::Mutex;
use tombolo_crdt::{Chain, Record, VersionVector};
use tombolo_storage::{
    CommitError, Committer, Event, Group, Health, KeyValue, Request, RequestError, Store,
    engine::{Change, Engine, EngineError, Persist, Snapshot, memory::MemoryEngine},
};

use crate::{
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    support::*,
};

fn commit_rows(engine: &impl Engine) -> usize {
    engine.snapshot().scan(b"c", b"d").count()
}

fn texts(store: &Store) -> Vec<(String, String)> {
    all(store).iter().map(|KeyValue { key, value, .. }| (text(key), text(value))).collect()
}

#[test]
fn what_is_executed_reads_the_rows_of_groups_that_nobody_has_written() {
    let mut bench = Bench::new();
    let mut groups = Vec::new();
    for (key, value) in [("a", "1"), ("b", "2")] {
        bench.try_run(put(key, value)).unwrap();
        groups.push(bench.committer.seal().unwrap().expect("something was executed"));
    }
    assert_eq!(commit_rows(&bench.engine), 0, "both are on their way");
    for (key, value) in [("a", "1"), ("b", "2")] {
        let replaced = bench.try_run(put(key, "new")).unwrap();
        assert_eq!(previous(&replaced).map(|pair| text(&pair.value)).as_deref(), Some(value));
    }
    bench.try_run(Request::Compact { revision: 3 }).expect("the rows tell which commit had that revision");
    for mut group in groups {
        group.persist();
        bench.committer.publish(group).unwrap();
    }
    bench.commit();
    let mut bench = bench.reopen(Stop::Crash);
    bench.sweep();
    assert_eq!(texts(&bench.store), [("a".into(), "new".into()), ("b".into(), "new".into())]);
}

#[test]
fn a_removal_uncovers_a_sibling_that_nobody_has_written() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[1].run(Request::LeaseGrant { id: 9, ttl_s: 10 });
    mesh.sites[1].run(put_leased("lamp", "late", 9));
    mesh.sites[1].run(Request::LeaseRevoke { id: 9 });
    let sent = mesh.sites[1].store.arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING).unwrap().records;
    let bench = &mut mesh.sites[0];
    bench.try_run(put("lamp", "early")).unwrap();
    let mut groups = vec![bench.committer.seal().unwrap().expect("the loser")];
    for arrival in sent {
        bench.committer.ingest(bench.wall, arrival.bytes).unwrap();
        groups.push(bench.committer.seal().unwrap().expect("a record"));
    }
    assert_eq!(commit_rows(&bench.engine), 0, "all are on their way");
    let mut told = Vec::new();
    for mut group in groups {
        group.persist();
        told.extend(bench.committer.publish(group).unwrap());
    }
    let uncovered = told.last().and_then(|commit| commit.events.first());
    let Some(Event::Put(pair)) = uncovered else { panic!("an uncovering is a put: {uncovered:?}") };
    assert_eq!((text(&pair.value).as_str(), pair.version), ("early", 3));
    assert_eq!(value(&bench.store, "lamp").as_deref(), Some("early"));
}

#[test]
fn a_write_that_fails_on_another_thread_takes_every_group_that_is_not_durable() {
    let mut bench = Bench::new();
    let seal = |bench: &mut Bench, key: &str| {
        bench.try_run(put(key, "v")).unwrap();
        bench.committer.seal().unwrap().expect("something was executed")
    };
    let mut durable = seal(&mut bench, "a");
    durable.persist();
    let lost = [seal(&mut bench, "b"), seal(&mut bench, "c")];
    bench.engine.fail_in(1);
    let disk = bench.committer.disk();
    std::thread::scope(|scope| scope.spawn(|| disk.sync()).join()).unwrap();
    assert_eq!(bench.store.health(), Health::Poisoned);
    assert!(lost.iter().all(|group| group.is_settled()) && !disk.is_behind());
    assert!(matches!(bench.try_run(put("d", "v")), Err(RequestError::Poisoned { .. })));
    assert!(matches!(bench.committer.seal(), Err(CommitError::Poisoned { .. })));
    // The disk is well again: what comes after a gap must not be written all the same.
    bench.engine.fail_in(0);
    disk.sync();
    assert!(matches!(bench.committer.maintain(bench.wall), Err(CommitError::Poisoned { .. })));
    assert_eq!(bench.committer.publish(durable).unwrap().len(), 1);
    for group in lost {
        assert!(matches!(bench.committer.publish(group), Err(CommitError::Poisoned { .. })));
    }
    assert_eq!(texts(&bench.store), [("a".into(), "v".into())]);
    assert_eq!(texts(&Bench::on(bench.engine.kill()).store), [("a".into(), "v".into())]);
}

#[test]
fn a_slice_of_a_compaction_is_written_behind_what_was_sealed_before() {
    let mut bench = Bench::new();
    for round in 0..20 {
        bench.run(put("a", &round.to_string()));
    }
    bench.compact(20);
    bench.pass_grace();
    bench.try_run(put("b", "1")).unwrap();
    let mut group = bench.committer.seal().unwrap().expect("something was executed");
    let rows = bench.commit_rows().len();
    bench.committer.maintain(bench.wall).unwrap();
    assert!(bench.commit_rows().len() < rows - 10);
    let killed = Bench::on(bench.engine.kill());
    assert_eq!(value(&killed.store, "b").as_deref(), Some("1"), "who wrote the slice wrote the group before");
    assert_eq!(value(&bench.store, "b"), None, "and has not published it");
    group.persist();
    bench.committer.publish(group).unwrap();
}

/// The last chain of a site's own records, each of which was found to follow from the one before.
fn followed(store: &Store) -> Chain {
    let own = store.identity().replica;
    let sent = store.arrivals(&VersionVector::new(), 0, EVERYTHING).unwrap().records;
    sent.iter().filter(|arrival| arrival.dot.replica == own).fold(Chain::BEGINNING, |chain, arrival| {
        assert!(Record::follows(&arrival.bytes, &chain), "{} does not follow", arrival.dot);
        Record::decode(arrival.bytes.clone()).unwrap().header.chain
    })
}

#[test]
fn records_follow_one_another_whatever_is_asked_for_before_they_are_written() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[1].run(put("lamp", "of another"));
    let foreign = mesh.sites[1].store.arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING).unwrap().records;
    let bench = &mut mesh.sites[0];
    let own = bench.store.identity().replica;
    let mut groups = Vec::new();
    for (round, between) in (1..).zip(["nothing", "a record of another", "a compaction", "nothing"]) {
        bench.try_run(put("a", between)).unwrap();
        // Of the private layer, which has a chain of its own.
        bench.try_run(put("compact_rev_key", between)).unwrap();
        match between {
            "a record of another" => {
                for arrival in &foreign {
                    bench.committer.ingest(bench.wall, arrival.bytes.clone()).unwrap();
                }
            }
            "a compaction" => drop(bench.try_run(Request::Compact { revision: 3 }).unwrap()),
            _ => {}
        }
        bench.try_run(put("a", &round.to_string())).unwrap();
        groups.push(bench.committer.seal().unwrap().expect("something was executed"));
    }
    bench.try_run(put("b", "in no group yet")).unwrap();
    for mut group in groups {
        group.persist();
        bench.committer.publish(group).unwrap();
        assert_eq!(
            bench.store.standing().chains.get(&own),
            Some(&followed(&bench.store)),
            "it is told where its stream stands"
        );
    }
    bench.commit();
    let told = followed(&bench.store);
    mesh.reopen(0, Stop::Crash);
    let bench = &mut mesh.sites[0];
    assert_eq!(bench.store.standing().chains.get(&own), Some(&told), "and a restart finds it there");
    bench.run(put("a", "after a restart"));
    assert_ne!(followed(&bench.store), told);
}

/// An engine whose syncs, and writes if asked, tell that they have begun, and wait to be told to end.
struct SlowDisk {
    rows: Arc<MemoryEngine>,
    has_slow_writes: Arc<AtomicBool>,
    begun: SyncSender<()>,
    end: Mutex<Receiver<()>>,
}

impl Engine for SlowDisk {
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError> {
        if self.has_slow_writes.load(Ordering::Acquire) {
            self.wait();
        }
        self.rows.write(batch, persist)
    }

    fn persist(&self) -> Result<(), EngineError> {
        self.wait();
        self.rows.persist()
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.rows.snapshot()
    }

    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, EngineError> {
        self.rows.get(key)
    }

    fn disk_bytes(&self) -> u64 {
        self.rows.disk_bytes()
    }

    fn defragment(&self) -> Result<(), EngineError> {
        self.rows.defragment()
    }
}

impl SlowDisk {
    fn wait(&self) {
        self.begun.send(()).ok();
        self.end.lock().recv().ok();
    }
}

/// A store on a slow disk, and who hears of its syncs and lets them end.
struct Slow {
    rows: Arc<MemoryEngine>,
    has_slow_writes: Arc<AtomicBool>,
    store: Store,
    committer: Committer,
    has_begun: Receiver<()>,
    let_end: Sender<()>,
}

impl Slow {
    fn open() -> Self {
        let (rows, has_slow_writes) = <(Arc<MemoryEngine>, Arc<AtomicBool>)>::default();
        let ((begun, has_begun), (let_end, end)) = (mpsc::sync_channel(8), mpsc::channel());
        let writes = Arc::clone(&has_slow_writes);
        let engine = SlowDisk { rows: Arc::clone(&rows), has_slow_writes: writes, begun, end: Mutex::new(end) };
        // Opening syncs once.
        let_end.send(()).unwrap();
        let (store, committer) = Store::open_on(Box::new(engine), &options()).unwrap();
        has_begun.recv().unwrap();
        Self { rows, has_slow_writes, store, committer, has_begun, let_end }
    }

    fn seal(&mut self, key: &str) -> Group {
        try_run(&mut self.committer, put(key, "v")).unwrap();
        self.committer.seal().unwrap().expect("something was executed")
    }
}

#[test]
fn while_the_disk_is_waited_for_who_seals_writes() {
    let mut slow = Slow::open();
    let mut first = slow.seal("a");
    assert_eq!(commit_rows(&slow.rows), 0, "the disk has nothing to do: who is about to wait for it writes");
    let (first, second) = thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            first.persist();
            first
        });
        slow.has_begun.recv().unwrap();
        assert_eq!(commit_rows(&slow.rows), 1);
        let second = slow.seal("b");
        assert_eq!(commit_rows(&slow.rows), 2, "the next sync has nothing to write");
        slow.let_end.send(()).unwrap();
        (syncing.join().unwrap(), second)
    });
    assert!(first.is_settled() && !second.is_settled(), "it was written after the sync had begun");
    slow.committer.publish(first).unwrap();
    assert!(slow.committer.publish(second).is_err());
    assert_eq!(texts(&slow.store), [("a".into(), "v".into())]);
}

#[test]
fn who_seals_while_the_disk_is_waited_for_binds_what_was_sealed_before_it_first() {
    let mut slow = Slow::open();
    let mut first = slow.seal("a");
    slow.has_slow_writes.store(true, Ordering::Release);
    let groups = thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            first.persist();
            first
        });
        slow.has_begun.recv().unwrap();
        let second = slow.seal("b");
        assert_eq!(commit_rows(&slow.rows), 0, "the first is being written, and nobody waits for the disk");
        slow.has_slow_writes.store(false, Ordering::Release);
        slow.let_end.send(()).unwrap();
        slow.has_begun.recv().unwrap();
        let third = slow.seal("c");
        assert_eq!(commit_rows(&slow.rows), 3, "the next sync has nothing to write");
        (0..2).for_each(|_| slow.let_end.send(()).unwrap());
        [syncing.join().unwrap(), second, third]
    });
    for mut group in groups {
        group.persist();
        slow.committer.publish(group).unwrap();
    }
    let own = slow.store.identity().replica;
    assert_eq!(slow.store.standing().chains.get(&own), Some(&followed(&slow.store)));
}
