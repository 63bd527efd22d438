//! Two stores that have applied the same records and hold different data: where they differ.

use std::time::Duration;

use tombolo_crdt::Dot;
use tombolo_storage::{Disagreement, ElementRange, Examination, Examined, KeyRange, Provider, Refusal, TransferFault};

use crate::{memory::Bench, support::*, transfer::sign, transfer_crash::send};

const KEYS: u64 = 1_000;

/// What two stores hold whose author wrote the same to both, but for what `last` does to either.
fn of_two_faced_author(last: [&dyn Fn(&mut Bench); 2]) -> [Bench; 2] {
    let mut name = 1;
    last.map(|last| {
        let mut author = Bench::of(1, NOW);
        for key in 0..KEYS {
            author.run(put(&format!("k{key:04}"), "same"));
        }
        last(&mut author);
        name += 1;
        let mut store = Bench::of(name, NOW);
        send(&author, &mut store);
        store
    })
}

/// What an examination of the one at the other comes to, and the bytes that it took.
fn examine(here: &Bench, there: &Bench) -> (Examined, usize) {
    let provider = Provider::new(&there.store);
    let mut examination = Examination::begin(&here.store).unwrap();
    let mut bytes = 0;
    while let Some(asked) = examination.ask() {
        let page = provider.answer(Duration::ZERO, asked.clone(), sign).unwrap();
        bytes += asked.len() + page.len();
        examination.take(page).unwrap();
    }
    provider.answer(Duration::ZERO, examination.farewell().unwrap(), sign).unwrap();
    assert_eq!(provider.expire(Duration::ZERO), 0, "the moment is let go of");
    (examination.examined().unwrap(), bytes)
}

/// The element that the author's record of this number brought.
fn brought_by(bench: &Bench, seq: u64) -> ElementRange {
    let author = bench.store.frontier().iter().next().unwrap().replica;
    let dot = Dot::new(author, seq);
    ElementRange { from: Some(dot.element(0)), to: Some(dot.element(1)) }
}

#[test]
fn one_value_of_many_is_found_with_little() {
    let write = |value: &'static str| move |author: &mut Bench| drop(author.run(put("k0700", value)));
    let [here, there] = of_two_faced_author([&write("one"), &write("other")]);
    let (examined, bytes) = examine(&here, &there);
    let first = brought_by(&here, KEYS + 1);
    assert_eq!(examined, Examined::Differs(Disagreement { first, only_here: 0, only_there: 0, differing: 1 }));
    assert!(bytes < 10_000, "{bytes} bytes");
}

#[test]
fn what_is_held_by_one_alone_is_found_whichever_it_is() {
    let [here, there] = of_two_faced_author([&|author| drop(author.run(put("k0700", "new"))), &|author| {
        drop(author.run(delete(single("k0700"))))
    }]);
    let first = brought_by(&here, KEYS + 1);
    let found = |only_here, only_there| Disagreement { first, only_here, only_there, differing: 0 };
    let (Examined::Differs(ours), _) = examine(&here, &there) else { panic!("they differ") };
    assert_eq!(ours, found(1, 0));
    let (Examined::Differs(theirs), _) = examine(&there, &here) else { panic!("they differ") };
    assert_eq!((theirs.only_here, theirs.only_there, theirs.differing), (0, 1, 0));
    assert!(theirs.first.contains(first.from.unwrap()), "{:?}", theirs.first);
}

#[test]
fn of_many_differences_the_first_is_named() {
    let change = |author: &mut Bench| {
        for key in [900, 20, 500] {
            author.run(delete(single(&format!("k{key:04}"))));
        }
    };
    let keep = |author: &mut Bench| (0..3).for_each(|_| drop(author.run(put("k0999", "x"))));
    let [here, there] = of_two_faced_author([&change, &keep]);
    let (Examined::Differs(found), _) = examine(&there, &here) else { panic!("they differ") };
    assert_eq!(found.first, brought_by(&here, 21), "the record that put the twenty-first key");
    assert_eq!((found.only_here, found.only_there, found.differing), (4, 1, 0));
}

#[test]
fn a_whole_stretch_that_one_lacks_is_the_first_as_well() {
    let [here, there] = of_two_faced_author([&|author| drop(author.run(put("more", "1"))), &|author| {
        drop(author.run(delete(KeyRange::before(bytes("k0000"), bytes("k0400")))))
    }]);
    for (one, other) in [(&here, &there), (&there, &here)] {
        let (Examined::Differs(found), _) = examine(one, other) else { panic!("they differ") };
        assert_eq!(found.only_here + found.only_there, 401);
        let [first, last] = [1, KEYS + 1].map(|seq| brought_by(one, seq).from.unwrap());
        assert!(found.first.contains(first) && !found.first.contains(last), "{:?}", found.first);
    }
}

#[test]
fn equal_stores_are_told_to_be_so_and_other_moments_say_nothing() {
    let [here, mut there] = of_two_faced_author([&|_| (), &|_| ()]);
    assert_eq!(examine(&here, &there).0, Examined::Same);
    there.run(put("more", "1"));
    assert_eq!(examine(&here, &there).0, Examined::Apart);
}

#[test]
fn answers_to_other_questions_and_refusals_end_it() {
    let [here, there] = of_two_faced_author([&|_| (), &|author| drop(author.run(put("more", "1")))]);
    let provider = Provider::new(&there.store);
    let mut other = Examination::begin(&there.store).unwrap();
    let page = provider.answer(Duration::ZERO, other.ask().unwrap(), sign).unwrap();
    let mut examination = Examination::begin(&here.store).unwrap();
    examination.ask();
    let fault = examination.take(page).unwrap_err();
    assert!(matches!(fault, TransferFault::WrongAnswer), "{fault}");
    let fault = other.take(Provider::refusal(Refusal::Busy)).unwrap_err();
    assert!(matches!(fault, TransferFault::Refused(Refusal::Busy)), "{fault}");
    assert_eq!(other.examined(), None);
}
