//! A hundred thousand damaged records from a fixed seed, in a second or two. Coverage-guided fuzzing goes deeper; this one
//! runs with every test.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod golden;
    pub(crate) mod golden_cases;
}

use bytes::Bytes;
use support::{golden::read_hex, golden_cases::cases};
use tombolo_crdt::{Chain, Record, RecordHeader, VersionVector};

const ROUNDS: usize = 100_000;

#[test]
fn damaged_records_are_refused_or_have_one_form() {
    let corpus: Vec<Bytes> = cases().iter().map(|case| read_hex(case.name)).collect();
    assert!(corpus.iter().zip(cases()).all(|(bytes, case)| Record::follows(bytes, &case.previous)));
    let mut random = SplitMix(0x70_6d_62_6f_6c_6f);
    let mut read = 0;
    for round in 0..ROUNDS {
        let bytes = damaged(&corpus, &mut random);
        read += usize::from(check(&bytes, round));
    }
    // Damage that leaves a record, in a value or in a number, must be among it: else only the first checks were tried.
    assert!((ROUNDS / 20..ROUNDS).contains(&read), "{read} of {ROUNDS} were read");
}

/// Whether the bytes are a record; if so, that they are its one form.
fn check(bytes: &Bytes, round: usize) -> bool {
    let header = RecordHeader::decode(bytes.clone());
    let Ok(record) = Record::decode(bytes.clone()) else { return false };
    assert_eq!(header.as_ref(), Ok(&record.header), "round {round}");
    let body = &bytes[..bytes.len() - Chain::LEN];
    let (again, chain) = record.encode(&Chain::BEGINNING);
    assert_eq!(&again[..again.len() - Chain::LEN], body, "round {round}: {record:#?}");
    assert_eq!(Record::follows(bytes, &Chain::BEGINNING), chain == record.header.chain, "round {round}");

    let last_index = record.numbered().map(|(index, _)| index).last().unwrap_or(0);
    assert!(last_index as usize <= record.operations.len(), "round {round}");
    let mut context = VersionVector::new();
    if record.extend_context(&mut context).is_ok() {
        assert!(context.includes(&record.header.context_delta) && !context.covers(record.header.dot), "round {round}");
    }
    true
}

fn damaged(corpus: &[Bytes], random: &mut SplitMix) -> Bytes {
    let mut bytes = corpus[random.below(corpus.len())].to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.splice(at..at, [random.next() as u8]).for_each(drop),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy).for_each(drop);
            }
            // The end of another record.
            5 => {
                let other = &corpus[random.below(corpus.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            // A huge number in the place of a small one.
            _ => bytes.splice(at..(at + 1).min(bytes.len()), [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
        }
    }
    bytes.into()
}

/// Steele, Lea and Flood's SplitMix64: the same sequence on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
