//! Folders that lose their names in every way and at every step: nothing that has a name gets it twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tombolo_crdt::{Dot, ReplicaId};

use super::dispute::Dispute;
use crate::{
    ArrivalBudget, Committer, Comparison, Durability, Guard, IdentityLoss, IngestError, KeyRange, OnLoss, Op,
    OpenError, OpenOptions, Operand, Outcome, Put, RangeQuery, ReadError, Request, Store, Transaction, WallTime,
    engine::{fjall::FjallEngine, memory::MemoryEngine},
    fence::FenceFile,
    folder::Folder,
    recover,
};

const NOW: WallTime = WallTime(1_700_000_000_000);

fn options(on_loss: OnLoss) -> OpenOptions {
    OpenOptions { on_loss, ..OpenOptions::new(NOW, std::array::from_fn(|at| at as u8)) }
}

/// A folder whose rows are in memory, where they can be lost: its other files are on the disk.
struct Rig {
    folder: tempfile::TempDir,
    engine: Arc<MemoryEngine>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(FjallEngine::open(&Folder::engine_path(folder.path())).unwrap());
        Self { folder, engine: Arc::new(MemoryEngine::new()) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open_with(&self, options: &OpenOptions) -> Result<(Store, Committer), OpenError> {
        let folder = Folder::open(self.path(), options)?;
        folder.seal_if_empty(&*self.engine)?;
        recover::open(Box::new(Arc::clone(&self.engine)), Some(folder), None, options)
    }

    fn open(&self) -> (Store, Committer) {
        self.open_with(&options(OnLoss::Succeed)).unwrap()
    }

    fn loss(&self) -> Option<IdentityLoss> {
        match self.open_with(&options(OnLoss::Refuse)) {
            Err(OpenError::NeedsNewIdentity { cause }) => Some(cause),
            Err(why) => panic!("{why}"),
            Ok(_) => None,
        }
    }

    /// The rows as they are now, for later.
    fn rows(&self) -> Arc<MemoryEngine> {
        Arc::new(self.engine.kill())
    }

    fn fence(&self) -> Vec<u8> {
        fs::read(self.path().join("FENCE")).unwrap()
    }

    fn set_fence(&self, bytes: &[u8]) {
        fs::write(self.path().join("FENCE"), bytes).unwrap();
    }
}

fn put(key: &str, value: &str) -> Request {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    Request::Put(Put { key: Bytes::copy_from_slice(key.as_bytes()), value, lease: Some(0), previous: false })
}

fn run(committer: &mut Committer, request: Request) -> i64 {
    let answer = committer.execute(NOW, request).unwrap();
    committer.commit().unwrap();
    answer.revision.get()
}

/// Whether a write that asks for this revision of the key is carried out.
fn swaps(committer: &mut Committer, key: &str, revision: i64) -> bool {
    let range = KeyRange::single(Bytes::copy_from_slice(key.as_bytes()));
    let guards = vec![Guard { range, operand: Operand::ModRevision(revision), comparison: Comparison::Equal }];
    let Request::Put(write) = put(key, "swapped") else { unreachable!() };
    let request = Request::Txn(Transaction { guards, then: vec![Op::Put(write)], otherwise: Vec::new() });
    let answer = committer.execute(NOW, request).unwrap();
    committer.commit().unwrap();
    matches!(answer.outcome, Outcome::Txn(answer) if answer.succeeded)
}

fn pairs(store: &Store, revision: i64) -> Result<BTreeMap<String, (String, i64)>, ReadError> {
    let query = RangeQuery { revision, ..RangeQuery::all(KeyRange::all()) };
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = store.range(&query)?.pairs;
    Ok(pairs.into_iter().map(|pair| (text(&pair.key), (text(&pair.value), pair.mod_revision))).collect())
}

/// A store somewhere else, which is sent what this one has.
struct Peer(Store, Committer);

impl Peer {
    fn new() -> Self {
        let (store, committer) =
            Store::open_on(Box::new(MemoryEngine::new()), &OpenOptions::new(NOW, [9; 32])).unwrap();
        Self(store, committer)
    }
}

/// Sends everything that the other one lacks. Every record must enter: its context is right, and it chains.
fn send(from: &Store, to: &Store, committer: &mut Committer) -> Result<(), IngestError> {
    let budget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
    for arrival in from.arrivals(&to.frontier(), 0, budget).unwrap().records {
        committer.ingest(NOW, arrival.bytes)?;
    }
    committer.commit().unwrap();
    Ok(())
}

/// Loses the last of three writes.
fn lost_suffix() -> (Rig, ReplicaId, i64) {
    let rig = Rig::new();
    let (store, mut committer) = rig.open();
    run(&mut committer, put("a", "1"));
    run(&mut committer, put("b", "2"));
    let short = Arc::new(rig.engine.crash());
    let lost = run(&mut committer, put("a", "3"));
    let name = store.identity().replica;
    drop((store, committer));
    (Rig { engine: short, ..rig }, name, lost)
}

#[test]
fn a_log_without_its_end_goes_on_under_another_name_above_what_was_given_out() {
    let (rig, name, lost) = lost_suffix();
    assert_eq!(rig.loss(), Some(IdentityLoss::LostSuffix { log: 2, fence: 3 }));
    let (store, mut committer) = rig.open();
    let heir = store.identity();
    assert_ne!(heir.replica, name);
    let told: Vec<_> = store.predecessors().iter().map(|old| (old.replica, old.cause.as_str())).collect();
    assert_eq!(told, [(name, "lost-suffix")]);
    // What the log holds is as it was, old revisions included; what was lost can be neither read nor compared with.
    assert_eq!(pairs(&store, 0).unwrap(), pairs(&store, 3).unwrap());
    assert_eq!(pairs(&store, 2).unwrap().len(), 1);
    assert!(matches!(pairs(&store, lost), Err(ReadError::Compacted { .. })));
    assert!(!swaps(&mut committer, "a", lost));
    assert!(swaps(&mut committer, "a", 2), "what is certain compares as before");
    assert!(store.published().revision.get() > lost + (1 << 20));
    assert_eq!(store.frontier().seq(heir.replica), 1);
    drop((store, committer));
    assert_eq!(rig.loss(), None);
    let (store, _committer) = rig.open();
    assert_eq!((store.identity(), store.predecessors().len()), (heir, 1));
}

#[test]
fn an_end_that_reaches_behind_a_succession_takes_what_the_forebears_counted_with_it() {
    let rig = Rig::new();
    let (store, mut committer) = rig.open();
    run(&mut committer, put("a", "1"));
    let far = rig.rows();
    let second = run(&mut committer, put("b", "2"));
    let near = rig.rows();
    run(&mut committer, put("c", "3"));
    drop((store, committer));
    let rig = Rig { engine: near, ..rig };
    let (store, mut committer) = rig.open();
    let begins = store.published().revision.get();
    assert_eq!(pairs(&store, second).unwrap().len(), 2, "it is certain to the first successor");
    let third = run(&mut committer, put("d", "4"));
    drop((store, committer));
    let rig = Rig { engine: far, ..rig };
    assert!(matches!(rig.loss(), Some(IdentityLoss::LostSuffix { log: 1, .. })));
    let (store, mut committer) = rig.open();
    assert_eq!(store.predecessors().len(), 2);
    // Two keys were shown at that revision, and three when the first successor began: neither can be told any more.
    for nobodys in [second, begins, third] {
        assert!(matches!(pairs(&store, nobodys), Err(ReadError::Compacted { .. })), "{nobodys}");
        assert!(committer.head.numbers.is_foreign(nobodys), "{nobodys}");
    }
    assert_eq!(pairs(&store, 2).unwrap(), pairs(&store, 0).unwrap());
    assert!(swaps(&mut committer, "a", 2), "what is left compares as before");
    drop((store, committer));
    assert_eq!(rig.loss(), None);
    // Nothing at all is left.
    let rig = Rig { engine: Arc::new(MemoryEngine::new()), ..rig };
    let (store, _committer) = rig.open();
    assert!(matches!(pairs(&store, 2), Err(ReadError::Compacted { .. })));
    assert!(pairs(&store, 0).unwrap().is_empty());
}

#[test]
fn what_was_lost_comes_back_from_a_peer_under_its_old_name() {
    let rig = Rig::new();
    let (store, mut committer) = rig.open();
    let mut peer = Peer::new();
    run(&mut committer, Request::LeaseGrant { id: 7, ttl_s: 60 });
    run(&mut committer, put("a", "1"));
    let short = Arc::new(rig.engine.crash());
    run(&mut committer, put("a", "2"));
    send(&store, &peer.0, &mut peer.1).unwrap();
    drop((store, committer));
    let rig = Rig { engine: short, ..rig };
    let (store, mut committer) = rig.open();
    run(&mut committer, put("b", "3"));
    assert_eq!(store.leases(), [(7, 60)], "leases are counted on");
    send(&peer.0, &store, &mut committer).unwrap();
    send(&store, &peer.0, &mut peer.1).unwrap();
    assert_eq!((store.frontier(), store.digest()), (peer.0.frontier(), peer.0.digest()));
    let shown = pairs(&store, 0).unwrap();
    assert_eq!((shown["a"].0.as_str(), shown["b"].0.as_str()), ("2", "3"));
    assert!(swaps(&mut committer, "a", shown["a"].1));
}

#[test]
fn a_succession_that_is_cut_short_is_begun_again_or_done() {
    // Before the manifest is in its place nothing has happened.
    let (rig, name, _) = lost_suffix();
    fs::write(rig.path().join("MANIFEST.new"), "half").unwrap();
    assert!(rig.loss().is_some());
    let before = rig.fence();
    let (store, committer) = rig.open();
    let heirs_fence = store.shared().owner.inherited_fence;
    let heir = store.identity();
    let begins = store.published().revision;
    drop((store, committer));
    let after = rig.fence();
    // After it the fence may be the predecessor's still, or half of it, or one slot may rot later.
    let torn = |fence: &[u8], at: usize| {
        let mut fence = fence.to_vec();
        fence[at + 20] ^= 1;
        fence
    };
    let half = |at: usize| [&before[..at], &after[at..]].concat();
    let fences =
        [before.clone(), half(4096), [&after[..4096], &before[4096..]].concat(), torn(&after, 0), torn(&after, 4096)];
    for (at, fence) in fences.into_iter().enumerate() {
        rig.set_fence(&fence);
        if at >= 3 {
            let (file, fence) = FenceFile::open(&rig.path().join("FENCE")).unwrap().unwrap();
            assert!(
                file.generation() > heirs_fence && fence.reserved > begins.get(),
                "the other slot is the heir's, too"
            );
        }
        let (store, committer) = rig.open();
        assert_eq!(store.identity(), heir);
        assert!(store.predecessors().len() == 1 && store.predecessors()[0].replica == name);
        assert_eq!(store.published().revision, begins);
        drop((store, committer));
    }
    // The successor's own fence is held against its log again, also after a slot has rotten.
    let (store, mut committer) = rig.open();
    let short = rig.rows();
    run(&mut committer, put("c", "1"));
    drop((store, committer));
    let lost = Rig { engine: short, ..rig };
    assert!(lost.loss().is_some());
    // The slot that is older may rot.
    let fence = lost.fence();
    let older = if fence[8..16] < fence[4096 + 8..4096 + 16] { 0 } else { 4096 };
    lost.set_fence(&torn(&fence, older));
    assert!(lost.loss().is_some());
}

#[test]
fn a_disputed_replica_shows_again_what_it_cannot_be_certain_of() {
    let rig = Rig::new();
    let (store, mut committer) = rig.open();
    run(&mut committer, put("a", "1"));
    run(&mut committer, put("b", "2"));
    let doubtful = run(&mut committer, put("c", "3"));
    let name = store.identity().replica;
    let by = ReplicaId::new(9).unwrap();
    Dispute { replica: name, common: 2, seq: 3, stream: name, is_fork: false, by, above: 1 << 30 }
        .mark(rig.path())
        .unwrap();
    drop((store, committer));
    assert_eq!(rig.loss(), Some(IdentityLoss::Disputed { dot: Dot::new(name, 3), by }));
    let (store, mut committer) = rig.open();
    let shown = pairs(&store, 0).unwrap();
    assert_eq!((shown["a"].1, shown["b"].1), (2, 3));
    assert!(shown["c"].1 > 1 << 30, "{shown:?}");
    assert!(!swaps(&mut committer, "c", doubtful));
    assert!(swaps(&mut committer, "c", shown["c"].1) && swaps(&mut committer, "a", 2));
    let published = store.published();
    drop((store, committer));
    assert_eq!(rig.loss(), None, "the mark is about somebody else by now");
    let (store, _committer) = rig.open();
    assert_eq!(store.published(), published, "what was shown again is shown once");
}

/// What was given out, and for what.
#[derive(Default)]
struct Ledger {
    dots: BTreeMap<Dot, String>,
    revisions: BTreeMap<i64, String>,
    commits: BTreeSet<(ReplicaId, u64)>,
    written: u64,
}

impl Ledger {
    /// Writes once, and sees that no name of it was given out before.
    fn write(&mut self, store: &Store, committer: &mut Committer, random: &mut Random) {
        self.written += 1;
        let value = self.written.to_string();
        let revision = run(committer, put(&format!("key{}", random.below(6)), &value));
        let own = store.identity().replica;
        let dot = Dot::new(own, store.frontier().seq(own));
        assert_eq!(self.dots.insert(dot, value.clone()), None, "{dot} twice");
        assert_eq!(self.revisions.insert(revision, value), None, "revision {revision} twice");
        assert!(self.commits.insert((own, store.published().commit)), "commit {} twice", store.published().commit);
    }

    /// Sees that no number that is shown now was seen for something else, and that each can be compared with.
    fn check(&self, store: &Store, committer: &mut Committer) {
        let highest = self.revisions.last_key_value().map_or(0, |(revision, _)| *revision);
        let shown = pairs(store, 0).unwrap();
        for (key, (value, revision)) in &shown {
            if let Some(seen) = self.revisions.get(revision) {
                assert_eq!(seen, value, "{key} at {revision}");
            }
            assert!(!committer.head.numbers.is_foreign(*revision), "{key} cannot be compared with at {revision}");
        }
        assert!(store.published().revision.get() >= highest || store.predecessors().is_empty());
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One life of a folder, and how it ends.
fn live(rig: &mut Rig, ledger: &mut Ledger, random: &mut Random) {
    let is_weak = random.below(6) == 0;
    let durability = if is_weak { Durability::Os } else { Durability::Fsync };
    let (store, mut committer) = rig.open_with(&OpenOptions { durability, ..options(OnLoss::Succeed) }).unwrap();
    ledger.check(&store, &mut committer);
    let (early, early_fence) = (rig.rows(), rig.fence());
    let common = store.frontier().seq(store.identity().replica);
    (0..1 + random.below(5)).for_each(|_| ledger.write(&store, &mut committer, random));
    let middle = rig.rows();
    (0..1 + random.below(5)).for_each(|_| ledger.write(&store, &mut committer, random));
    let (name, last) = (store.identity().replica, store.published());
    let seq = store.frontier().seq(name);
    match random.below(6) {
        _ if is_weak => {
            drop((store, committer));
            rig.engine = Arc::new(rig.engine.crash());
        }
        0 => {
            committer.close().unwrap();
            drop(store);
        }
        1 => {
            drop((store, committer));
            rig.engine = middle;
        }
        2 => {
            rig.engine.fail_sync_in(1);
            committer.execute(NOW, put("key0", "unknown")).unwrap();
            committer.commit().unwrap_err();
            drop((store, committer));
            rig.engine = if random.below(2) == 0 { Arc::new(rig.engine.crash()) } else { rig.rows() };
        }
        // Set back with its fence, and written in as if nothing had happened, until somebody who knows better is met.
        3 => {
            drop((store, committer));
            rig.engine = early;
            rig.set_fence(&early_fence);
            let (store, mut committer) = rig.open();
            let is_other = store.identity().replica != name;
            for n in 0..random.below(4) {
                run(&mut committer, put("key1", &format!("fork{n}-{seq}")));
            }
            drop((store, committer));
            if !is_other {
                let by = ReplicaId::new(9).unwrap();
                Dispute { replica: name, common, seq, stream: name, is_fork: false, by, above: last.revision.get() }
                    .mark(rig.path())
                    .unwrap();
            }
        }
        // The same, but the fence of before comes back.
        4 => {
            drop((store, committer));
            let fence = rig.fence();
            rig.engine = early;
            rig.set_fence(&early_fence);
            let (store, mut committer) = rig.open();
            let is_other = store.identity().replica != name;
            while !is_other && store.published().commit < last.commit {
                run(&mut committer, put("key1", &format!("fork{}-{seq}", store.published().commit)));
            }
            drop((store, committer));
            if !is_other {
                rig.set_fence(&fence);
                assert!(matches!(rig.loss(), Some(IdentityLoss::ForkedLog { .. })));
            }
        }
        _ => drop((store, committer)),
    }
}

#[test]
fn over_any_sequence_of_losses_no_name_is_given_out_twice() {
    let mut successions = 0;
    for seed in 0..30 {
        let (mut rig, mut ledger, mut random) = (Rig::new(), Ledger::default(), Random(seed));
        (0..8).for_each(|_| live(&mut rig, &mut ledger, &mut random));
        let (store, mut committer) = rig.open();
        ledger.check(&store, &mut committer);
        successions += store.predecessors().len();
        // Whoever replays it all from its beginning finds every record in its place.
        let mut peer = Peer::new();
        send(&store, &peer.0, &mut peer.1).unwrap();
        assert_eq!(peer.0.digest(), store.digest());
    }
    assert!(successions > 60, "{successions}");
}

#[test]
fn a_backup_of_a_successor_keeps_what_is_nobodys() {
    let (rig, _, lost) = lost_suffix();
    let (store, mut committer) = rig.open();
    run(&mut committer, put("c", "1"));
    let (before, now) = (pairs(&store, 0).unwrap(), store.published().revision.get());
    let mut backup = store.backup(NOW, crate::Slot::new(3).unwrap());
    let mut copy = Vec::new();
    while let Some(piece) = backup.next_piece(64).unwrap() {
        copy.extend_from_slice(&piece);
    }
    let folder = tempfile::tempdir().unwrap();
    let how = crate::restore::RestoreOptions { entropy: [8; 32], above: None, wall: NOW };
    crate::restore::restore(folder.path(), &mut copy.as_slice(), &how).unwrap();
    let (restored, mut writer) = Store::open(folder.path(), &options(OnLoss::Refuse)).unwrap();
    assert_eq!(pairs(&restored, 0).unwrap(), before);
    assert_eq!(pairs(&restored, now).unwrap(), before);
    assert!(matches!(pairs(&restored, lost), Err(ReadError::Compacted { .. })));
    assert!(!swaps(&mut writer, "a", lost) && swaps(&mut writer, "a", 2));
    assert!(restored.predecessors().is_empty(), "it is in another mesh");
}
