//! Providers that lie: each lie is named, and changes nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Operation, ReplicaId, SignedHead, VersionVector};

use super::{
    Provider, Pull, Receiver, Refusal, TransferFault,
    body::{Ask, Half, Names, Page},
    fragment,
    header::Header,
};
use crate::{
    Committer, OpenOptions, Put, Request, Store, WallTime,
    engine::memory::MemoryEngine,
    row::commit::{Layer, Part},
};

const NOW: WallTime = WallTime(1_700_000_000_000);

fn store(seed: u8) -> (Store, Committer) {
    let entropy = std::array::from_fn(|at| seed.wrapping_add((at / 8) as u8 * 64));
    Store::open_on(Box::new(Arc::new(MemoryEngine::new())), &OpenOptions::new(NOW, entropy)).unwrap()
}

fn put(committer: &mut Committer, key: String) {
    let value = Some(Bytes::from_static(b"value"));
    let put = Put { key: key.into(), value, lease: Some(0), previous: false };
    committer.execute(NOW, Request::Put(put)).unwrap();
    committer.commit().unwrap();
}

/// A provider with some elements, and a receiver that has some of its own.
struct Pair {
    provider: Provider,
    from: Store,
    to: (Store, Committer),
    receiver: Receiver,
}

impl Pair {
    fn new() -> Self {
        let (from, mut writer) = store(1);
        (0..20).for_each(|key| put(&mut writer, format!("k{key:02}")));
        let mut to = store(2);
        (0..5).for_each(|key| put(&mut to.1, format!("own{key}")));
        let receiver = Receiver::resume(&to.0).unwrap();
        Self { provider: Provider::new(&from), from, to, receiver }
    }

    fn ask(&mut self) -> Option<Pull> {
        self.receiver.next_pulls(1).pop()
    }

    fn answer(&self, pull: &Pull) -> Page {
        Page::decode(self.provider.answer(Duration::ZERO, pull.body.clone(), sign).unwrap()).unwrap()
    }

    /// Goes on until nothing is left to be asked, or a page is not taken. `lie` sees every page.
    fn run(&mut self, mut lie: impl FnMut(Page) -> Page) -> Result<bool, TransferFault> {
        while let Some(pull) = self.ask() {
            let page = lie(self.answer(&pull)).encode();
            let staged = self.receiver.take(pull.id, page)?;
            self.to.1.stage(NOW, staged).unwrap();
            self.to.1.commit().unwrap();
        }
        Ok(self.receiver.complete()?.is_some())
    }

    /// Runs with a lie about the header, under the name that the lie would have.
    fn with_header(lie: impl Fn(&mut Header)) -> TransferFault {
        let mut pair = Self::new();
        let outcome = pair.run(|page| match page {
            Page::Header { mut header, .. } => {
                lie(&mut header);
                Page::Header { snapshot: header.snapshot(), header }
            }
            page => page,
        });
        pair.check_untouched();
        outcome.unwrap_err()
    }

    /// Runs with a lie about what a page of elements holds.
    fn with_parts(lie: impl Fn(&mut Vec<Part>, &mut u64)) -> Result<bool, TransferFault> {
        let mut pair = Self::new();
        let outcome = pair.run(|page| match page {
            Page::Elements { snapshot, from, mut next, fragments } => {
                let mut reader = tombolo_crdt::codec::Reader::new(fragments);
                let mut parts = Vec::new();
                while reader.remaining() > 0 {
                    parts.push(fragment::read(&mut reader).unwrap());
                }
                lie(&mut parts, &mut next);
                let mut out = Vec::new();
                parts.iter().for_each(|part| fragment::put(&mut out, part));
                Page::Elements { snapshot, from, next, fragments: out.into() }
            }
            page => page,
        });
        pair.check_untouched();
        outcome
    }

    fn check_untouched(&self) {
        let fresh = Self::new();
        assert_eq!(self.to.0.standing(), fresh.to.0.standing());
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for a hand that signs for some")]
fn sign(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(SignedHead { dot, chain, signer: dot.replica, signature: [7; SignedHead::SIGNATURE_LEN] })
}

fn other(seq: u64) -> Dot {
    Dot::new(ReplicaId::new(77).unwrap(), seq)
}

fn put_of(dot: Dot, value: &'static [u8]) -> Part {
    let (key, value) = (Bytes::from_static(b"forged"), Bytes::from_static(value));
    let put = Operation::Put { key, value, lease: None, supersedes: Vec::new() };
    Part::of_remainder(Layer::Mesh, dot, Default::default(), vec![put], vec![0])
}

#[test]
fn without_a_lie_everything_comes() {
    assert!(Pair::new().run(|page| page).unwrap());
    assert!(Pair::with_parts(|_, _| {}).unwrap());
}

#[test]
fn a_vector_cannot_hold_what_we_did_not_write() {
    let own = store(2).0.identity().replica;
    let fault = Pair::with_header(|header| {
        header.vector.raise(own, 9);
        let stream = header.streams[0].1.clone();
        header.streams.push((own, stream));
        header.heads.extend(sign(Dot::new(own, 9), header.streams[0].1.chain));
        header.streams.sort_by_key(|(author, _)| *author);
        header.heads.sort_by_key(|head| head.dot);
    });
    let said = |head: &SignedHead| head.dot == Dot::new(own, 9);
    assert!(matches!(&fault, TransferFault::AheadOfUs { head, .. } if said(head)), "{fault}");
}

#[test]
fn a_context_cannot_hold_what_its_bearer_lacks() {
    let fault = Pair::with_header(|header| assert!(header.streams[0].1.context.raise(other(1).replica, 1)));
    assert!(matches!(fault, TransferFault::Contradiction { .. }), "{fault}");
}

#[test]
fn another_chain_at_one_seq_is_a_fork() {
    let mut pair = Pair::new();
    let arrivals = pair.from.arrivals(&VersionVector::new(), 0, everything()).unwrap();
    for arrival in arrivals.records {
        pair.to.1.ingest(NOW, arrival.bytes).unwrap();
    }
    pair.to.1.commit().unwrap();
    let fault = pair.run(|page| match page {
        Page::Header { mut header, .. } => {
            header.streams[0].1.chain = Chain::from_bytes([9; 16]);
            Page::Header { snapshot: header.snapshot(), header }
        }
        page => page,
    });
    assert!(matches!(fault, Err(TransferFault::Forked { .. })), "{fault:?}");
}

#[test]
fn everything_that_a_header_claims_is_signed() {
    let author = store(1).0.identity().replica;
    let last = Dot::new(author, 20);
    let fault = Pair::with_header(|header| header.heads.clear());
    assert!(matches!(fault, TransferFault::Unsigned { dot } if dot == last), "{fault}");
    let fault = Pair::with_header(|header| header.heads[0].chain = Chain::from_bytes([9; 16]));
    assert!(matches!(fault, TransferFault::Unsigned { dot } if dot == last), "a head of another record: {fault}");
    let fault = Pair::with_header(|header| header.heads[0].dot.seq = 19);
    assert!(matches!(fault, TransferFault::Unsigned { dot } if dot == last), "a head of one before: {fault}");
    let fault = Pair::with_header(|header| assert!(header.vector.raise(author, 21)));
    assert!(matches!(fault, TransferFault::Unsigned { dot } if dot.seq == 21), "more than was signed: {fault}");
    let fault = Pair::with_header(|header| {
        let own = store(2).0.identity().replica;
        header.heads.extend(sign(Dot::new(own, 5), Chain::from_bytes([9; 16])));
    });
    assert!(matches!(fault, TransferFault::StrayHead { dot } if dot.seq == 5), "{fault}");
}

#[test]
fn what_nobody_signed_is_given_to_nobody() {
    let mut pair = Pair::new();
    let pull = pair.ask().unwrap();
    let page = pair.provider.answer(Duration::ZERO, pull.body, |_, _| None).unwrap();
    assert_eq!(Page::decode(page).unwrap(), Page::Refusal(Refusal::Unproven));
    assert_eq!(pair.provider.expire(Duration::ZERO), 0, "nothing is held on to");
}

#[test]
fn nothing_is_joined_that_its_judge_refuses_and_what_is_joined_keeps_its_heads() {
    let mut pair = Pair::new();
    assert!(pair.run(|page| page).unwrap());
    let collected = || pair.receiver.complete().unwrap().unwrap();
    assert_eq!(collected().prove(|_| Err("forged")).unwrap_err(), "forged");
    let complete = collected().prove(|collected| if collected.heads().len() == 1 { Ok(()) } else { Err(()) }).unwrap();
    pair.to.1.publish_transfer(NOW, complete).unwrap();
    let author = pair.from.identity().replica;
    let head = pair.to.0.signed_head(author).unwrap();
    assert_eq!((head.dot, head.chain), (Dot::new(author, 20), pair.from.standing().chains[&author]));
    // So it can be proven to the next one, by whom its author is not known to have signed.
    let next = Provider::new(&pair.to.0);
    let (to, _) = store(3);
    let mut receiver = Receiver::resume(&to).unwrap();
    let pull = receiver.next_pulls(1).pop().unwrap();
    let own = pair.to.0.identity().replica;
    let page = next.answer(Duration::ZERO, pull.body, |dot, chain| sign(dot, chain).filter(|_| dot.replica == own));
    let Page::Header { header, .. } = Page::decode(page.unwrap()).unwrap() else { panic!("it is refused") };
    assert!(header.heads.contains(&head));
}

fn everything() -> crate::ArrivalBudget {
    crate::ArrivalBudget { commits: usize::MAX, bytes: usize::MAX }
}

#[test]
fn a_header_adds_up_and_answers_what_was_asked() {
    let fault = Pair::with_header(|header| header.digest ^= 1);
    assert!(matches!(fault, TransferFault::Fingerprint { .. }), "{fault}");
    let fault = Pair::with_header(|header| assert!(header.asked.raise(other(1).replica, 1)));
    assert!(matches!(fault, TransferFault::WrongAnswer), "{fault}");
    let mut pair = Pair::new();
    let fault = pair.run(|page| match page {
        Page::Header { snapshot, header } => Page::Header { snapshot: snapshot ^ 1, header },
        page => page,
    });
    assert!(matches!(fault, Err(TransferFault::WrongAnswer)), "{fault:?}");
}

#[test]
fn an_element_is_one_of_those_that_were_asked_for() {
    let fault = Pair::with_parts(|parts, _| parts[3] = put_of(other(1), b"x")).unwrap_err();
    assert!(matches!(fault, TransferFault::OutOfPlace { element } if element.dot == other(1)), "{fault}");
    let own = store(2).0.identity().replica;
    let fault = Pair::with_parts(|parts, _| parts[19] = put_of(Dot::new(own, 1), b"x")).unwrap_err();
    assert!(matches!(fault, TransferFault::OutOfPlace { .. }), "{fault}");
    let fault = Pair::with_parts(|parts, _| parts.swap(3, 4)).unwrap_err();
    assert!(matches!(fault, TransferFault::OutOfPlace { .. }), "{fault}");
    let fault = Pair::with_parts(|parts, _| parts[4] = parts[3].clone()).unwrap_err();
    assert!(matches!(fault, TransferFault::OutOfPlace { .. }), "{fault}");
}

#[test]
fn an_element_comes_once() {
    // The first page ends early, and the second one brings the same again in the place of the rest.
    let first = std::cell::RefCell::new(None);
    let fault = Pair::with_parts(|parts, next| {
        let before = first.borrow_mut().take();
        match before {
            None => {
                parts.truncate(10);
                *next = 10;
                *first.borrow_mut() = Some(parts.clone());
            }
            Some(before) => *parts = before,
        }
    });
    assert!(matches!(fault, Err(TransferFault::Twice { element }) if element.dot.seq == 1), "{fault:?}");
}

#[test]
fn what_was_changed_or_left_out_does_not_add_up() {
    let fault = Pair::with_parts(|parts, _| parts[3] = put_of(parts[3].dot(), b"changed")).unwrap_err();
    assert!(matches!(fault, TransferFault::Fingerprint { .. }), "{fault}");
    let fault = Pair::with_parts(|parts, _| drop(parts.remove(3))).unwrap_err();
    assert!(matches!(fault, TransferFault::WrongAnswer), "{fault}");
    let fault = Pair::with_parts(|parts, next| {
        parts.clear();
        *next = 0;
    })
    .unwrap_err();
    assert!(matches!(fault, TransferFault::WrongAnswer), "a page that brings nothing is no answer: {fault}");
}

#[test]
fn pages_that_have_changed_places_are_no_answers() {
    let mut pair = Pair::new();
    let mut pages = 0;
    let fault = pair.run(|page| match page {
        Page::Elements { snapshot, from, next, fragments } => {
            pages += 1;
            Page::Elements { snapshot, from: from + 1, next: next + 1, fragments }
        }
        page => page,
    });
    assert!(matches!(fault, Err(TransferFault::WrongAnswer)) && pages == 1, "{fault:?}");
    pair.check_untouched();
}

/// Answers in the name of a moment that a header lies about, out of the true one.
struct Impostor {
    lied: u64,
    real: u64,
}

impl Impostor {
    fn answer(&mut self, pair: &Pair, pull: &Pull, lie: impl FnOnce(&mut Header)) -> Page {
        let swap = |snapshot: u64| if snapshot == self.lied { self.real } else { snapshot };
        let ask = match Ask::decode(pull.body.clone()).unwrap() {
            Ask::Elements { snapshot, half, from, to } => Ask::Elements { snapshot: swap(snapshot), half, from, to },
            Ask::Fingerprints { snapshot, half, ranges } => {
                Ask::Fingerprints { snapshot: swap(snapshot), half, ranges }
            }
            Ask::Names { snapshot, half, ranges } => Ask::Names { snapshot: swap(snapshot), half, ranges },
            ask => ask,
        };
        match pair.answer(&Pull { id: pull.id, body: ask.encode() }) {
            Page::Header { snapshot, mut header } => {
                lie(&mut header);
                (self.real, self.lied) = (snapshot, header.snapshot());
                Page::Header { snapshot: self.lied, header }
            }
            Page::Elements { from, next, fragments, .. } => {
                Page::Elements { snapshot: self.lied, from, next, fragments }
            }
            Page::Fingerprints { sums, .. } => Page::Fingerprints { snapshot: self.lied, sums },
            Page::Names { names, .. } => Page::Names { snapshot: self.lied, names },
            page => page,
        }
    }
}

/// Pulls from an impostor until a page is not taken. `lie` sees each page but the header, and how many there were.
fn endless(pair: &mut Pair, head: impl Fn(&mut Header), lie: impl Fn(Page, u64) -> Page) -> TransferFault {
    let mut impostor = Impostor { lied: 0, real: 0 };
    for asked in 0..500 {
        let Some(pull) = pair.ask() else { return pair.receiver.complete().map(drop).unwrap_err() };
        let page = lie(impostor.answer(pair, &pull, &head), asked);
        match pair.receiver.take(pull.id, page.encode()) {
            Ok(staged) => pair.to.1.stage(NOW, staged).unwrap(),
            Err(fault) => return fault,
        }
        pair.to.1.commit().unwrap();
    }
    panic!("it never ends")
}

#[test]
fn elements_one_at_a_time_end_with_what_was_promised() {
    let mut pair = Pair::new();
    let fault = endless(
        &mut pair,
        |header| header.above.count = 10,
        |page, asked| match page {
            Page::Elements { snapshot, from, .. } => {
                let mut out = Vec::new();
                fragment::put(&mut out, &put_of(Dot::new(store(1).0.identity().replica, asked), b"more"));
                Page::Elements { snapshot, from, next: from + 1, fragments: out.into() }
            }
            page => page,
        },
    );
    assert!(matches!(fault, TransferFault::Fingerprint { .. }), "{fault}");
    pair.check_untouched();
}

#[test]
fn ranges_that_differ_however_small_they_are_cut_are_no_answers() {
    for count in [200, 1 << 60] {
        let mut pair = Pair::new();
        assert!(pair.run(|page| page).unwrap());
        // Once more, with all of it staged: it is compared.
        pair.receiver = Receiver::resume(&pair.to.0).unwrap();
        pair.receiver.cut();
        let fault = endless(
            &mut pair,
            |header| {
                header.above.sum = header.above.sum.wrapping_add(1);
                header.digest = header.digest.wrapping_add(1);
                header.above.count = 1_000;
            },
            |page, _| match page {
                Page::Fingerprints { snapshot, sums } => {
                    let lied = |(first, sum): &(u64, super::Fingerprint)| {
                        (*first, super::Fingerprint { count, sum: sum.sum ^ 1 })
                    };
                    Page::Fingerprints { snapshot, sums: sums.iter().map(lied).collect() }
                }
                Page::Refusal(Refusal::Gone) => Page::Refusal(Refusal::Gone),
                page => page,
            },
        );
        assert!(matches!(fault, TransferFault::TooMuch { .. } | TransferFault::WrongAnswer), "{fault}");
        pair.check_untouched();
    }
}

#[test]
fn a_page_is_taken_once_and_for_its_own_moment() {
    let mut pair = Pair::new();
    let pull = pair.ask().unwrap();
    let page = pair.answer(&pull).encode();
    pair.receiver.take(pull.id, page.clone()).unwrap();
    assert!(matches!(pair.receiver.take(pull.id, page), Err(TransferFault::Unasked { pull }) if pull == 0));
    let fault = pair.run(|page| match page {
        Page::Elements { snapshot, from, next, fragments } => {
            Page::Elements { snapshot: snapshot ^ 1, from, next, fragments }
        }
        page => page,
    });
    assert!(matches!(fault, Err(TransferFault::WrongAnswer)), "{fault:?}");
}

#[test]
fn a_refusal_is_said_and_a_moment_that_has_gone_is_asked_for_anew() {
    let mut pair = Pair::new();
    let pull = pair.ask().unwrap();
    let refused = pair.receiver.take(pull.id, Provider::refusal(Refusal::Busy));
    assert!(matches!(refused, Err(TransferFault::Refused(Refusal::Busy))));
    pair.receiver.cut();
    assert!(pair.run(|page| page).unwrap());
    pair.receiver.cut();
    let pull = pair.ask().unwrap();
    assert!(matches!(Ask::decode(pull.body.clone()).unwrap(), Ask::Resume(_)));
    pair.provider = Provider::new(&pair.from);
    let page = pair.answer(&pull).encode();
    pair.receiver.take(pull.id, page).unwrap();
    let pull = pair.ask().unwrap();
    assert!(matches!(Ask::decode(pull.body).unwrap(), Ask::Open(_)));
}

#[test]
fn any_bytes_are_read_or_refused() {
    let mut pair = Pair::new();
    let mut pages = Vec::new();
    pair.run(|page| {
        pages.push(page.encode());
        page
    })
    .unwrap();
    let names = Names { first: 3, is_whole: true, names: vec![(other(2).element(1), 7)] };
    pages.push(Page::Names { snapshot: 1, names: vec![names] }.encode());
    for page in pages {
        for end in 0..page.len() {
            drop(Page::decode(page.slice(..end)));
            let mut changed = page.to_vec();
            changed[end] ^= 0x55;
            if let Ok(Page::Elements { fragments, .. }) = Page::decode(changed.into()) {
                let mut reader = tombolo_crdt::codec::Reader::new(fragments);
                while reader.remaining() > 0 && fragment::read(&mut reader).is_ok() {}
            }
        }
    }
}

#[test]
fn a_peer_that_pulls_nonsense_is_named() {
    let pair = Pair::new();
    for body in [&b""[..], b"\x02\x01", b"\x01\x09", b"\x01\x02short"] {
        let fault = pair.provider.answer(Duration::ZERO, Bytes::copy_from_slice(body), sign);
        assert!(matches!(fault, Err(TransferFault::Malformed(_))), "{body:?}");
    }
    let pull = Ask::Elements { snapshot: 1, half: Half::Above, from: 0, to: 9 }.encode();
    let gone = pair.provider.answer(Duration::ZERO, pull, sign).unwrap();
    assert_eq!(Page::decode(gone).unwrap(), Page::Refusal(Refusal::Gone));
}
