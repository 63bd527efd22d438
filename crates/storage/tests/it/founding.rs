//! Whom a new folder belongs to, where it begins to count, and what can be asked of a folder before it is opened.

use std::fs;

use tombolo_crdt::ReplicaId;
use tombolo_storage::{
    Comparison, Founding, Guard, HistoryBudget, Identity, KeyRange, MeshId, Op, OpenError, OpenOptions, Operand,
    Outcome, RangeQuery, ReadError, Request, Slot, Store, Transaction, engine::memory::MemoryEngine,
};

use crate::{folders::listing, support::*};

const SLOT: u16 = 24_576;

fn identity() -> Identity {
    let replica = ReplicaId::new(0xbeef).expect("an id is not 0");
    Identity { mesh: MeshId(0xa15e), replica, slot: Slot::new(SLOT).expect("the slot exists") }
}

fn joining() -> OpenOptions {
    let Identity { mesh, replica, slot } = identity();
    OpenOptions { founding: Founding::Join { mesh, replica, slot }, ..options() }
}

#[test]
fn a_new_folder_belongs_to_whom_it_was_founded_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, committer) = Store::open(folder.path(), &joining()).unwrap();
    assert_eq!(store.identity(), identity());
    committer.close().unwrap();
    drop(store);
    // What the options say of a new folder is of no matter to this one.
    let (store, _committer) = open(folder.path());
    assert_eq!(store.identity(), identity());
    let (store, _committer) = Store::open_on(Box::new(MemoryEngine::new()), &joining()).unwrap();
    assert_eq!(store.identity(), identity());
}

#[test]
fn a_replica_that_joins_counts_from_the_beginning_of_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let beginning = i64::from(SLOT) << 38 | 1;
    let (store, mut committer) = Store::open(folder.path(), &joining()).unwrap();
    assert_eq!(store.published().revision.get(), beginning);
    assert_eq!(run(&mut committer, put("a", "1")).revision.get(), beginning + 1);
    let pair = get(&store, "a").unwrap();
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (beginning + 1, beginning + 1, 1));
    drop((store, committer));
    let (store, mut committer) = open(folder.path());
    assert_eq!(run(&mut committer, put("a", "2")).revision.get(), beginning + 2);
    assert_eq!(history(&store, 1).iter().map(|commit| commit.revision.get() - beginning).collect::<Vec<_>>(), [1, 2]);
    run(&mut committer, Request::Compact { revision: beginning + 2 });
    assert_eq!(store.published().compacted, beginning + 2);
}

#[test]
fn revisions_of_another_slot_are_foreign() {
    let (store, mut committer) = Store::open_on(Box::new(MemoryEngine::new()), &joining()).unwrap();
    run(&mut committer, put("a", "1"));
    let other = Slot::new(SLOT - 1).unwrap().beginning().get();
    for foreign in [2, 1 << 37, other, Slot::new(SLOT + 1).unwrap().beginning().get()] {
        let query = RangeQuery { revision: foreign, ..RangeQuery::all(KeyRange::all()) };
        assert!(matches!(store.range(&query), Err(ReadError::Compacted { oldest: 1 })), "{foreign}");
        let budget = HistoryBudget { commits: 9, bytes: 9 };
        assert!(matches!(store.history(foreign, &KeyRange::all(), budget), Err(ReadError::Compacted { .. })));
        for comparison in [Comparison::Less, Comparison::Greater, Comparison::NotEqual] {
            let guard = Guard { range: single("a"), operand: Operand::ModRevision(foreign), comparison };
            let then = vec![Op::Put(put_op("b", "never"))];
            let transaction = Transaction { guards: vec![guard], then, otherwise: Vec::new() };
            let answer = run(&mut committer, Request::Txn(transaction));
            assert!(matches!(answer.outcome, Outcome::Txn(txn) if !txn.succeeded), "{comparison:?} {foreign}");
        }
    }
}

#[test]
fn a_folder_says_whose_it_is_without_being_opened() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    assert_eq!(Store::peek(&path).unwrap(), None);
    assert!(!path.exists(), "looking makes nothing");
    fs::create_dir(&path).unwrap();
    assert_eq!(Store::peek(&path).unwrap(), None);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "looking makes nothing");

    let (store, committer) = Store::open(&path, &joining()).unwrap();
    assert_eq!(Store::peek(&path).unwrap(), Some(identity()), "a folder in use answers");
    committer.close().unwrap();
    drop(store);
    let before = listing(&path);
    assert_eq!(Store::peek(&path).unwrap(), Some(identity()));
    assert_eq!(listing(&path), before);
}

#[test]
fn a_replica_may_keep_its_key_and_its_admission_where_its_store_will_be() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["KEY", "KEY.new", "MEMBERSHIP", "MEMBERSHIP.new"];
    files.iter().for_each(|file| fs::write(folder.path().join(file), file).unwrap());
    assert_eq!(Store::peek(folder.path()).unwrap(), None);
    drop(Store::open(folder.path(), &joining()).unwrap());
    assert_eq!(Store::peek(folder.path()).unwrap(), Some(identity()));
    files.iter().for_each(|file| assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), *file));
}

#[test]
fn looking_at_a_folder_that_is_no_store_names_what_is_wrong() {
    let damaged = |refusal: Result<Option<Identity>, OpenError>, naming: &str| {
        let refusal = refusal.map(drop).expect_err("the folder is refused");
        assert!(matches!(&refusal, OpenError::Damaged { what } if what.contains(naming)), "{refusal}");
    };
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters.txt");
    fs::write(&letters, "not ours").unwrap();
    damaged(Store::peek(folder.path()), "letters.txt");
    assert!(matches!(Store::peek(&letters), Err(OpenError::Io { .. })));
    fs::remove_file(&letters).unwrap();

    drop(Store::open(folder.path(), &joining()).unwrap());
    let manifest = folder.path().join("MANIFEST");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("format 5\n", "format 99\n")).unwrap();
    assert!(matches!(Store::peek(folder.path()), Err(OpenError::NewerFormat { found: 99, known: 5 })));
    fs::write(&manifest, text.replace("slot 2", "slot 1")).unwrap();
    damaged(Store::peek(folder.path()), "MANIFEST");
    fs::remove_file(&manifest).unwrap();
    damaged(Store::peek(folder.path()), "FENCE was in use");
}
