//! A replica whose own records are not those that the mesh has: what it wrote is set aside, and entered again. And copies that go their own
//! way.

use std::{fs, path::Path};

use tempfile::tempdir;
use tombolo_crdt::ReplicaId;
use tombolo_storage::{
    ArrivalBudget, Committer, Dispute, Entered, KeyRange, OnLoss, OpenError, OpenOptions, Outcome, RangeQuery,
    ReadError, Request, SetAside, Store, SystemWrite, Tail, TailError, TailIntake, TailLeases, WallTime,
    engine::memory::MemoryEngine,
};

use crate::{folders::copy_folder, support::*, tail::adopted};

const LATER: WallTime = WallTime(NOW.0 + 10_000);
/// Keys that are removed as a range.
const RANGED: u64 = 2_000;

fn open_heir(path: &Path) -> (Store, Committer) {
    Store::open(path, &OpenOptions { on_loss: OnLoss::Succeed, ..options() }).unwrap()
}

/// Sends everything that the other one lacks.
fn send(from: &Store, to: &Store, committer: &mut Committer) {
    let budget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
    for arrival in from.arrivals(&to.frontier(), 0, budget).unwrap().records {
        committer.ingest(NOW, arrival.bytes).unwrap();
    }
    committer.commit().unwrap();
}

fn write(committer: &mut Committer, wall: WallTime, request: Request) {
    committer.execute(wall, request).unwrap();
    committer.commit().unwrap();
}

/// The file of what was set aside, read as whoever enters it does.
fn tail(store: &Store, folder: &Path) -> (SetAside, Tail) {
    let aside = store.set_tail_aside(folder).unwrap().unwrap();
    let tail = read(store, &fs::read(&aside.path).unwrap()).unwrap();
    (aside, tail)
}

fn read(store: &Store, file: &[u8]) -> Result<Tail, TailError> {
    let mut intake = TailIntake::new(store);
    file.chunks(100).try_for_each(|piece| intake.take(piece))?;
    intake.finish()
}

/// Enters a tail as its author's successor does.
fn enter(store: &Store, committer: &mut Committer, tail: Tail) -> Entered {
    for (id, ttl_s) in tail.outcome.grants() {
        let ttl_s = ttl_s.try_into().unwrap();
        let _ = committer.execute(LATER, Request::LeaseGrant { id, ttl_s });
    }
    let system = tail.outcome.system();
    let (writes, _) = tail.outcome.settle(store, TailLeases::Kept);
    let answer = committer.execute(LATER, Request::Enter { writes, system, mark: Vec::new() }).unwrap();
    committer.commit().unwrap();
    match answer.outcome {
        Outcome::Entered(entered) => entered,
        other => panic!("{other:?}"),
    }
}

fn user(name: &str, value: &str) -> Request {
    Request::System(vec![SystemWrite::Put { key: bytes(name), value: bytes(value) }])
}

fn engines(path: &Path) -> usize {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("engine")).count()
}

/// A folder that was set back and written in, and a peer that has what was written before.
fn forked(path: &Path) -> (Store, Committer) {
    forked_with(path, |_, _| {})
}

/// The same, and something more happens to the folder before it meets the peer.
fn forked_with(path: &Path, more: impl FnOnce(&Path, ReplicaId)) -> (Store, Committer) {
    let (peer, mut peers) = Store::open_on(Box::new(MemoryEngine::new()), &OpenOptions::new(NOW, [9; 32])).unwrap();
    let (store, mut committer) = open(path);
    for key in ["kept", "both", "removed", "outdone"] {
        run(&mut committer, put(key, "common"));
    }
    // More than a record names: it removes them as a range.
    for at in 0..RANGED {
        committer.execute(NOW, put(&format!("ranged{at:04}"), "common")).unwrap();
    }
    committer.commit().unwrap();
    run(&mut committer, user("user/a", "common"));
    run(&mut committer, Request::LeaseGrant { id: 7, ttl_s: 60 });
    run(&mut committer, put("compact_rev_key", "5"));
    send(&store, &peer, &mut peers);
    committer.close().unwrap();
    drop(store);
    let earlier = tempdir().unwrap();
    copy_folder(&path.join("engine"), &earlier.path().join("engine"));
    let fence = fs::read(path.join("FENCE")).unwrap();
    let (store, mut committer) = open(path);
    write(&mut committer, NOW, put("both", "mesh"));
    write(&mut committer, NOW, put("ranged9999", "mesh"));
    for at in 0..9 {
        write(&mut committer, NOW, put(&format!("mesh{at}"), "mesh"));
    }
    send(&store, &peer, &mut peers);
    committer.close().unwrap();
    drop(store);
    // A write of the peer's own, later than all that the folder is going to write.
    write(&mut peers, WallTime(LATER.0 + 10_000), put("outdone", "peer"));
    fs::remove_dir_all(path.join("engine")).unwrap();
    copy_folder(&earlier.path().join("engine"), &path.join("engine"));
    fs::write(path.join("FENCE"), fence).unwrap();
    let (store, mut committer) = open(path);
    write(&mut committer, LATER, put("both", "fork"));
    write(&mut committer, LATER, put("new", "fork"));
    write(&mut committer, LATER, put_leased("leased", "fork", 7));
    write(&mut committer, LATER, put("outdone", "fork"));
    write(&mut committer, LATER, put("gone again", "fork"));
    write(&mut committer, LATER, delete(single("gone again")));
    write(&mut committer, LATER, delete(single("removed")));
    write(&mut committer, LATER, Request::LeaseGrant { id: 8, ttl_s: 60 });
    write(&mut committer, LATER, put_leased("leased anew", "fork", 8));
    write(&mut committer, LATER, delete(KeyRange::before(bytes("ranged"), bytes("rangee"))));
    write(&mut committer, LATER, user("user/a", "fork"));
    write(&mut committer, LATER, put("compact_rev_key", "9"));
    let name = store.identity().replica;
    let seq = store.frontier().seq(name);
    committer.close().unwrap();
    drop(store);
    more(path, name);
    let replica = Store::peek(path).unwrap().unwrap().replica;
    let (by, above) = (peer.identity().replica, 2 * i64::from(u32::MAX));
    Dispute { replica, common: 0, seq, stream: name, is_fork: true, by, above }.mark(path).unwrap();
    (peer, peers)
}

fn shown(store: &Store) -> Vec<(String, String)> {
    all(store).iter().map(|pair| (text(&pair.key), text(&pair.value))).collect()
}

/// What there is when what a fork wrote was entered beside what the mesh has.
fn of_both() -> Vec<(String, String)> {
    let of_mesh = (0..9).map(|i| (format!("mesh{i}"), "mesh"));
    let others = [
        ("both", "fork"),
        ("kept", "common"),
        ("leased", "fork"),
        ("leased anew", "fork"),
        ("new", "fork"),
        ("outdone", "peer"),
        // Its author had not seen it, although the name of its record is one that it had given out.
        ("ranged9999", "mesh"),
    ];
    let all = of_mesh.chain(others.map(|(key, value)| (key.to_owned(), value)));
    let mut all: Vec<_> = all.map(|(key, value)| (key, value.to_owned())).collect();
    all.sort_unstable();
    all
}

/// As [`of_both`], for leases and the system's data; `begins` is the heir's first revision.
fn leases_and_system_data_are_of_both(store: &Store, begins: i64) {
    let mut leases = store.leases();
    leases.sort_unstable();
    assert_eq!((leases, store.lease_keys(7)), (vec![(7, 60), (8, 60)], vec![bytes("leased")]));
    assert_eq!(store.lease_keys(8), [bytes("leased anew")]);
    let users = store.system(b"user/");
    assert_eq!(users[0].siblings.iter().map(|sibling| text(&sibling.value)).collect::<Vec<_>>(), ["fork"]);
    assert!(all(store).iter().all(|pair| pair.mod_revision > begins && pair.create_revision > begins));
    let before = RangeQuery { revision: begins - 1, ..RangeQuery::all(single("kept")) };
    assert!(matches!(store.range(&before), Err(ReadError::Compacted { .. })));
}

#[test]
fn what_is_disputed_is_set_aside_and_entered_again_once() {
    let folder = tempdir().unwrap();
    let (peer, mut peers) = forked(folder.path());
    assert!(matches!(try_open(folder.path()), Err(OpenError::NeedsNewIdentity { .. })));
    let (store, committer) = open_heir(folder.path());
    let (heir, begins) = (store.identity(), store.published().revision.get());
    assert_eq!((all(&store), store.predecessors().len(), engines(folder.path())), (Vec::new(), 1, 2));
    drop((store, committer));
    // However often it is cut short, it begins where it was.
    let (store, mut committer) = open_heir(folder.path());
    assert_eq!((store.identity(), store.aside().is_some()), (heir, true));
    send(&peer, &store, &mut committer);
    assert_eq!(value(&store, "both").as_deref(), Some("mesh"), "the mesh's copy stands");
    let (SetAside { path: file, streams }, found) = tail(&store, folder.path());
    assert_eq!((streams.len(), found.records), (1, 11));
    assert_eq!(streams[0].apart, Some(streams[0].first), "all that is in it is apart");

    let entered = enter(&store, &mut committer, found);
    assert_eq!((entered.removed, entered.outdone), (1 + RANGED, 1), "{entered:?}");
    assert_eq!(shown(&store), of_both());
    leases_and_system_data_are_of_both(&store, begins);

    // Killed before that was noted, it is entered a second time: nothing changes.
    drop((store, committer));
    let (store, mut committer) = open_heir(folder.path());
    let written = fs::read(&file).unwrap();
    let (again, found) = tail(&store, folder.path());
    assert_eq!((again.path, fs::read(&file).unwrap()), (file.clone(), written.clone()), "the same file");
    let before = (shown(&store), store.digest());
    let again = enter(&store, &mut committer, found);
    assert_eq!((again.put, again.removed), (0, 0), "{again:?}");
    assert_eq!((shown(&store), store.digest()), before);
    store.forget_aside(folder.path()).unwrap();
    drop((store, committer));
    let (store, committer) = open_heir(folder.path());
    assert_eq!((store.identity(), store.aside(), engines(folder.path())), (heir, None, 1));
    assert_eq!(shown(&store), of_both());
    send(&store, &peer, &mut peers);
    assert_eq!((store.digest(), store.frontier()), (peer.digest(), peer.frontier()));
    assert!(file.exists());
    // Nor does anything change where somebody else brings the file.
    let adopted = adopted(written, &peer);
    let (writes, _) = read(&peer, &adopted).unwrap().outcome.settle(&peer, TailLeases::LeftOut);
    run(&mut peers, Request::Enter { writes, system: Vec::new(), mark: Vec::new() });
    assert_eq!(peer.digest(), store.digest());
    drop((store, committer));
}

#[test]
fn a_tail_that_was_touched_is_refused() {
    let folder = tempdir().unwrap();
    let (peer, _peers) = forked(folder.path());
    let (store, mut committer) = open_heir(folder.path());
    send(&peer, &store, &mut committer);
    let (aside, _) = tail(&store, folder.path());
    let sound = fs::read(&aside.path).unwrap();
    for at in 0..sound.len() {
        let mut changed = sound.clone();
        changed[at] ^= 4;
        assert!(read(&store, &changed).is_err(), "byte {at}");
        assert!(read(&store, &sound[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn what_was_written_under_several_names_since_the_fork_is_one_tail() {
    let folder = tempdir().unwrap();
    let (peer, mut peers) = forked_with(folder.path(), |path, name| {
        // Set back once more, as far as it knows: it goes on under a second name, and nobody has heard of either.
        let above = i64::from(u32::MAX);
        let dispute = Dispute { replica: name, common: 0, seq: 1, stream: name, is_fork: false, by: name, above };
        dispute.mark(path).unwrap();
        let (store, mut committer) = open_heir(path);
        write(&mut committer, WallTime(LATER.0 + 5), put("both", "second name"));
        write(&mut committer, WallTime(LATER.0 + 5), delete(single("new")));
        committer.close().unwrap();
        drop(store);
    });
    let (store, mut committer) = open_heir(folder.path());
    send(&peer, &store, &mut committer);
    let (aside, found) = tail(&store, folder.path());
    assert_eq!(aside.streams.len(), 2, "{aside:?}");
    enter(&store, &mut committer, found);
    assert_eq!((value(&store, "both").as_deref(), value(&store, "new")), (Some("second name"), None));
    assert_eq!(value(&store, "mesh8").as_deref(), Some("mesh"));
    send(&store, &peer, &mut peers);
    assert_eq!(store.digest(), peer.digest());
    drop((store, committer));
}

#[test]
fn a_start_over_that_was_cut_short_leaves_nothing_behind() {
    let folder = tempdir().unwrap();
    let (_peer, _peers) = forked(folder.path());
    fs::create_dir(folder.path().join("engine-0123456789abcdef")).unwrap();
    let (store, committer) = open_heir(folder.path());
    assert_eq!((all(&store), engines(folder.path())), (Vec::new(), 2));
    drop((store, committer));
}

#[test]
fn a_copy_goes_its_own_way_when_it_is_told_to() {
    let (folder, place) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, mut committer) = open(folder.path());
    run(&mut committer, put("a", "1"));
    run(&mut committer, Request::LeaseGrant { id: 7, ttl_s: 60 });
    run(&mut committer, put_leased("leased", "x", 7));
    run(&mut committer, put("compact_rev_key", "5"));
    committer.close().unwrap();
    let (before, old, digest) = (all(&store), store.identity(), store.digest());
    let last = store.published().revision.get();
    drop(store);
    copy_folder(folder.path(), place.path());
    for on_loss in [OnLoss::Refuse, OnLoss::SucceedAmongOthers] {
        let refused = Store::open(place.path(), &OpenOptions { on_loss, ..options() });
        assert!(matches!(refused, Err(OpenError::NeedsNewIdentity { .. })));
    }
    let (copy, mut copies) = Store::open(place.path(), &OpenOptions { on_loss: OnLoss::Succeed, ..options() }).unwrap();
    let new = copy.identity();
    assert!(new.mesh != old.mesh && new.replica != old.replica && new.slot > old.slot, "{new:?}");
    assert_eq!((all(&copy), copy.digest(), copy.leases()), (before, digest, vec![(7, 60)]));
    assert_eq!(get_at(&copy, "a", 2).unwrap().value, "1", "its past is the original's");
    run(&mut copies, put("a", "copy"));
    let revision = copy.published().revision;
    assert!(revision.get() > last && revision.slot() == new.slot);
    assert!(copy.predecessors().is_empty(), "nobody in its mesh was before it");
    copies.close().unwrap();
    drop(copy);
    // From here on it is a folder like any other, and the original goes on.
    let (copy, _copies) = open(place.path());
    assert_eq!((copy.identity(), value(&copy, "a").as_deref()), (new, Some("copy")));
    let (store, _committer) = open(folder.path());
    assert_eq!((store.identity(), value(&store, "a").as_deref()), (old, Some("1")));
}
