//! Transfers between stores in folders, over the engine that is shipped: what the memory engine is told to do, this one does.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tombolo_storage::{Committer, KeyRange, OpenOptions, Preparation, Provider, Receiver, Request, Store};

use crate::{
    memory::entropy_of,
    support::*,
    transfer::{sign, whole},
};

/// A store of an identity of its own.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    committer: Committer,
    seed: u8,
}

fn open_as(folder: &Path, seed: u8) -> (Store, Committer) {
    Store::open(folder, &OpenOptions::new(NOW, entropy_of(seed))).expect("the folder opens")
}

impl Site {
    fn of(seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, committer) = open_as(folder.path(), seed);
        Self { folder, store, committer, seed }
    }

    /// As after a crash: nothing is closed.
    fn reopen(self) -> Self {
        let Self { folder, store, committer, seed } = self;
        drop((store, committer));
        let (store, committer) = open_as(folder.path(), seed);
        Self { folder, store, committer, seed }
    }

    fn run(&mut self, request: Request) {
        run(&mut self.committer, request);
    }

    /// Pulls and stages, at most so many pages.
    fn stage(&mut self, from: &Self, mut pages: usize) -> Receiver {
        let provider = Provider::new(&from.store);
        let mut receiver = Receiver::resume(&self.store).unwrap();
        loop {
            let pulls = if pages == 0 { Vec::new() } else { receiver.next_pulls(1) };
            if pulls.is_empty() {
                self.committer.commit().unwrap();
                return receiver;
            }
            for pull in pulls {
                pages -= 1;
                let page = provider.answer(Duration::ZERO, pull.body, sign).unwrap();
                self.committer.stage(NOW, receiver.take(pull.id, page).unwrap()).unwrap();
            }
        }
    }

    fn prepare(&mut self, from: &Self) -> Preparation {
        let complete = whole(&self.stage(from, usize::MAX));
        self.committer.prepare_transfer(NOW, complete).unwrap().1.expect("it brings something")
    }

    fn join(&mut self, from: &Self, is_prepared: bool) {
        if is_prepared {
            let mut preparation = self.prepare(from);
            preparation.run();
            self.committer.publish_prepared(NOW, preparation).unwrap();
        } else {
            let complete = whole(&self.stage(from, usize::MAX));
            self.committer.publish_transfer(NOW, complete).unwrap();
        }
    }

    fn values(&self) -> Vec<(Bytes, Bytes)> {
        all(&self.store).into_iter().map(|pair| (pair.key, pair.value)).collect()
    }
}

fn assert_alike(site: &Site, other: &Site) {
    assert!(site.values() == other.values());
    assert_eq!((site.store.digest(), site.store.frontier()), (other.store.digest(), other.store.frontier()));
}

fn source() -> Site {
    let mut from = Site::of(1);
    for key in 0..300 {
        try_run(&mut from.committer, put(&format!("k{key:03}"), &"v".repeat(10_000))).unwrap();
    }
    from.run(Request::LeaseGrant { id: 5, ttl_s: 60 });
    from.run(put_leased("leased", "5", 5));
    from
}

#[test]
fn a_checkpoint_and_a_delta_come_to_what_the_provider_has_and_are_there_after_a_crash() {
    for is_prepared in [false, true] {
        let (mut from, mut to) = (source(), Site::of(2));
        to.join(&from, is_prepared);
        assert_alike(&to, &from);
        let mut to = to.reopen();
        assert_alike(&to, &from);
        from.run(delete(KeyRange::before(bytes("k1"), bytes("k2"))));
        from.run(put("k201", "new"));
        from.run(put("z", "new"));
        to.join(&from, is_prepared);
        assert_alike(&to, &from);
        let mut to = to.reopen();
        assert_alike(&to, &from);
        to.run(put("own", "1"));
        assert_eq!(value(&to.reopen().store, "own").as_deref(), Some("1"));
    }
}

#[test]
fn what_was_staged_when_a_site_stopped_is_not_asked_for_again() {
    let (from, mut to) = (source(), Site::of(2));
    let had = to.stage(&from, 3).progress().elements;
    assert!(had > 0 && had < 300, "{had} elements had come");
    let mut to = to.reopen();
    assert_eq!(Receiver::resume(&to.store).unwrap().progress().elements, had);
    to.join(&from, true);
    assert_alike(&to, &from);
}

#[test]
fn a_join_that_a_stop_cut_off_has_not_begun_and_can_be_done_again() {
    let (from, mut to) = (source(), Site::of(2));
    to.run(put("own", "before"));
    let mut preparation = to.prepare(&from);
    to.run(put("own", "beside"));
    preparation.run();
    drop(preparation);
    let mut to = to.reopen();
    assert_eq!(to.values(), [(bytes("own"), bytes("beside"))]);
    assert!(Receiver::resume(&to.store).unwrap().progress().elements > 0);
    to.join(&from, true);
    assert_eq!(to.values().len(), from.values().len() + 1);
    let to = to.reopen();
    assert_eq!(to.values().len(), from.values().len() + 1);
}
