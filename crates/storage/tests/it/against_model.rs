//! Random work on one replica against the model: writes, leases, compactions, housekeeping, stops of every kind.

use std::collections::BTreeSet;

use tombolo_storage::{Committer, KeyRange, Op, Request, RequestError, Store, Transaction, WallTime};

use crate::{
    memory::{Bench, Stop},
    model::Model,
    random::{Random, for_seeds},
    support::*,
};

const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "compact_rev_key"];

/// A request, and what it does to the model when it is carried out.
fn step(random: &mut Random, model: &mut Model, counter: &mut u64) -> Request {
    *counter += 1;
    let value = format!("v{counter}");
    let key = *random.pick(&KEYS);
    let id = 1 + random.below(4) as i64;
    match random.below(16) {
        0..6 => {
            model.write(&[(key.to_owned(), value.clone(), 0)], &[]);
            put(key, &value)
        }
        6 | 7 => {
            if model.leases.contains_key(&id) {
                model.write(&[(key.to_owned(), value.clone(), id)], &[]);
            }
            put_leased(key, &value, id)
        }
        8 | 9 => {
            model.write(&[], &[key.to_owned()]);
            delete(single(key))
        }
        10 => {
            let range = KeyRange::before(bytes("b"), bytes("e"));
            model.write(&[], &model.keys_in(&range));
            delete(range)
        }
        11 | 12 => transaction(random, model, &value),
        13 if random.one_in(4) => crowd(model, &value),
        13 => {
            model.write(&[], &model.keys_in(&KeyRange::all()));
            delete(KeyRange::all())
        }
        14 => {
            if !model.leases.contains_key(&id) {
                model.grant(id, 60);
            }
            Request::LeaseGrant { id, ttl_s: 60 }
        }
        _ => {
            if model.leases.contains_key(&id) {
                model.revoke(id);
            }
            Request::LeaseRevoke { id }
        }
    }
}

fn transaction(random: &mut Random, model: &mut Model, value: &str) -> Request {
    let (mut puts, mut deletes, mut then) = (Vec::new(), Vec::new(), Vec::new());
    for key in KEYS {
        if random.one_in(2) {
            continue;
        }
        if random.one_in(3) {
            deletes.push(key.to_owned());
            then.push(Op::Delete(delete_op(single(key))));
        } else {
            puts.push((key.to_owned(), value.to_owned(), 0));
            then.push(Op::Put(put_op(key, value)));
        }
    }
    model.write(&puts, &deletes);
    Request::Txn(Transaction { then, ..Transaction::default() })
}

/// So many keys at once that removing them all names a range.
fn crowd(model: &mut Model, value: &str) -> Request {
    let keys: Vec<String> = (0..70).map(|key| format!("m{key:02}")).collect();
    let puts: Vec<_> = keys.iter().map(|key| (key.clone(), value.to_owned(), 0)).collect();
    model.write(&puts, &[]);
    let then = keys.iter().map(|key| Op::Put(put_op(key, value))).collect();
    Request::Txn(Transaction { then, ..Transaction::default() })
}

fn execute(committer: &mut Committer, wall: WallTime, request: Request) {
    match committer.execute(wall, request) {
        Ok(_) | Err(RequestError::LeaseNotFound { .. } | RequestError::LeaseExists { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Draws a revision to compact to, if there is one.
fn compaction(random: &mut Random, model: &mut Model) -> Option<Request> {
    let revision = model.oldest() + random.below((model.revision() - model.oldest() + 1) as u64) as i64;
    (revision > model.compacted).then(|| {
        model.compacted = revision;
        Request::Compact { revision }
    })
}

fn check(random: &mut Random, model: &Model, store: &Store) {
    let span = (model.revision() - model.oldest() + 1) as u64;
    let [one, other, start] = [(); 3].map(|()| model.oldest() + random.below(span) as i64);
    let start = if random.one_in(4) { model.oldest() } else { start };
    model.check(store, [one, other], [start]);
}

fn check_digest(bench: &Bench, twin: &Store) {
    assert_eq!((bench.store.digest(), bench.store.frontier()), (twin.digest(), twin.frontier()));
}

fn run(random: &mut Random) {
    let mut bench = Bench::new();
    // The twin gets the same requests once they are durable, and never compacts, stops or sweeps.
    let mut twin = Bench::new();
    let (mut model, mut durable) = (Model::new(), Model::new());
    let (mut pending, mut counter) = (Vec::new(), 0);
    for _ in 0..400 {
        match random.below(40) {
            0..24 => {
                let request = step(random, &mut model, &mut counter);
                pending.push(request.clone());
                execute(&mut bench.committer, bench.wall, request);
            }
            24 => {
                if let Some(request) = compaction(random, &mut model) {
                    execute(&mut bench.committer, bench.wall, request);
                }
            }
            25..28 => {
                if random.one_in(3) {
                    bench.pass_grace();
                }
                bench.committer.maintain(bench.wall).expect("housekeeping works");
            }
            28 if random.one_in(2) => {
                let how = *random.pick(&[Stop::Close, Stop::Kill, Stop::Crash]);
                if how == Stop::Close {
                    durable = model.clone();
                    pending.drain(..).for_each(|request| execute(&mut twin.committer, twin.wall, request));
                    twin.commit();
                }
                bench = bench.reopen(how);
                model = durable.clone();
                pending.clear();
                check(random, &model, &bench.store);
                check_digest(&bench, &twin.store);
            }
            _ => {
                bench.commit();
                durable = model.clone();
                pending.drain(..).for_each(|request| execute(&mut twin.committer, twin.wall, request));
                twin.commit();
                check(random, &model, &bench.store);
                check_digest(&bench, &twin.store);
            }
        }
    }
    bench.commit();
    finish(bench, &model);
}

/// Sweeps to the end, and sees that nothing is left that nobody can ask for.
fn finish(mut bench: Bench, model: &Model) {
    bench.sweep();
    for _ in 0..2 {
        model.check(&bench.store, model.oldest()..=model.revision(), [model.oldest(), model.revision()]);
        let swept = bench.commit_rows().into_iter().filter(|number| *number <= model.horizon()).count();
        let needed = model.rows_needed(&BTreeSet::from([1, 2, 3, 4]));
        assert!(swept <= needed, "{swept} rows are left below the horizon, {needed} are needed");
        bench = bench.reopen(Stop::Crash);
        bench.sweep();
    }
}

#[test]
fn a_replica_does_what_its_model_does() {
    for_seeds(0..12, run);
}

#[test]
fn a_replica_on_fjall_does_what_its_model_does() {
    for_seeds(1000..1003, |random| {
        let folder = tempfile::tempdir().expect("a folder is made");
        let (mut store, mut committer) = open(folder.path());
        let (mut model, mut wall, mut counter) = (Model::new(), NOW, 0);
        for _ in 0..250 {
            match random.below(30) {
                0..24 => execute(&mut committer, wall, step(random, &mut model, &mut counter)),
                24 => {
                    if let Some(request) = compaction(random, &mut model) {
                        execute(&mut committer, wall, request);
                    }
                }
                25 | 26 => {
                    wall.0 += 20_000;
                    committer.maintain(wall).expect("housekeeping works");
                }
                _ => {
                    commit(&mut committer);
                    check(random, &model, &store);
                    if random.one_in(4) {
                        let before = (store.digest(), store.frontier());
                        drop((store, committer));
                        (store, committer) = open(folder.path());
                        assert_eq!((store.digest(), store.frontier()), before);
                        check(random, &model, &store);
                    }
                }
            }
        }
        commit(&mut committer);
        model.check(&store, model.oldest()..=model.revision(), [model.oldest()]);
    });
}
