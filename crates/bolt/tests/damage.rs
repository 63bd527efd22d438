//! No file makes a reader panic, loop, or ask for more than the file is long. What can be noticed is noticed.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::{io::Cursor, sync::LazyLock};

use proptest::prelude::*;
use tombolo_bolt::{Database, MetaFault, PageFault, ReadError, Value, Writer};

const PAGE: usize = 1024;
/// Where the first page lies that is neither meta nor the list of free pages.
const FIRST: usize = 3 * PAGE;

/// A file with branches, overflow pages, a bucket within its parent and one within another.
fn sample() -> Vec<u8> {
    SAMPLE.clone()
}

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut writer = Writer::with_page_size(Cursor::new(Vec::new()), PAGE as u32).unwrap();
    writer.begin(b"many").unwrap();
    for number in 0..300_u32 {
        writer.put(&number.to_be_bytes(), &[number as u8; 40]).unwrap();
    }
    writer.put(&[0xff; 5], &[7; 5 * PAGE]).unwrap();
    writer.end().unwrap();
    writer.begin(b"nested").unwrap();
    writer.begin(b"inner").unwrap();
    writer.put(b"key", b"value").unwrap();
    writer.end().unwrap();
    writer.put(b"plain", b"value").unwrap();
    writer.end().unwrap();
    writer.finish().unwrap().sink.into_inner()
});

/// Everything that a reader can be asked, as far as the file goes. Returns the first damage.
fn look(file: &[u8]) -> Result<(), ReadError> {
    let mut database = Database::open(Cursor::new(file))?;
    let root = database.root()?;
    let mut steps = 0;
    let mut waiting = vec![root];
    let mut outcome = database.check().map(drop);
    while let Some(bucket) = waiting.pop() {
        let items: Vec<_> = database.cursor(&bucket).collect();
        for item in items {
            steps += 1;
            assert!(steps < 100_000, "a walk over {} bytes does not end", file.len());
            match item {
                Ok(item) => {
                    let _ = database.get(&bucket, &item.key);
                    if let Value::Bucket(inner) = item.value
                        && waiting.len() < 64
                    {
                        waiting.push(inner);
                    }
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        if steps > 50_000 {
            break;
        }
    }
    outcome
}

fn fault(file: &[u8]) -> Option<(u64, PageFault)> {
    match look(file) {
        Err(ReadError::Page { page, fault }) => Some((page, fault)),
        _ => None,
    }
}

/// The file with some bytes written over.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = sample();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// The first branch of the file, by where it lies.
fn branch() -> usize {
    let file = sample();
    (FIRST..file.len()).step_by(PAGE).find(|at| file[at + 8] == 1 && file[at + 9] == 0).unwrap()
}

#[test]
fn the_sample_is_whole() {
    assert!(look(&sample()).is_ok());
    let mut database = Database::open(Cursor::new(sample())).unwrap();
    assert_eq!(database.check().unwrap(), 303);
}

#[test]
fn each_fault_of_a_page_is_named() {
    let first = (FIRST / PAGE) as u64;
    assert_eq!(fault(&with(FIRST, &99_u64.to_le_bytes())), Some((first, PageFault::OtherPage { found: 99 })));
    assert_eq!(fault(&with(FIRST + 8, &[0x10, 0])), Some((first, PageFault::Kind { flags: 0x10 })));
    assert_eq!(fault(&with(FIRST + 8, &[3, 0])), Some((first, PageFault::Kind { flags: 3 })));
    assert_eq!(fault(&with(FIRST + 10, &[0xff, 0xff])), Some((first, PageFault::Count { count: 0xffff })));
    let far = PageFault::Overflow { overflow: u32::MAX };
    assert_eq!(fault(&with(FIRST + 12, &[0xff; 4])), Some((first, far)));
    // The first element's place, the length of its key, the length of its value.
    for at in [20, 24, 28] {
        assert_eq!(fault(&with(FIRST + at, &[0xff; 4])), Some((first, PageFault::Element { index: 0 })), "{at}");
    }
    // Where a value is taken for a bucket, what it holds is taken for a page.
    assert_eq!(fault(&with(FIRST + 16, &[1])), Some((first, PageFault::Kind { flags: 0 })));
}

#[test]
fn each_fault_of_a_branch_is_named() {
    let (at, id) = (branch(), (branch() / PAGE) as u64);
    assert_eq!(fault(&with(at + 10, &[0, 0])), Some((id, PageFault::EmptyBranch)));
    let pages = (sample().len() / PAGE) as u64;
    for child in [0, 1, pages, u64::MAX] {
        let found = fault(&with(at + 16 + 8, &child.to_le_bytes()));
        assert_eq!(found, Some((child, PageFault::OutOfRange { pages })));
    }
    // It leads to itself, or twice to one leaf.
    assert_eq!(fault(&with(at + 16 + 8, &id.to_le_bytes())), Some((id, PageFault::Repeated)));
    let leaf = &sample()[at + 16 + 8..at + 32];
    let leaf_id = u64::from_le_bytes(leaf.try_into().unwrap());
    assert_eq!(fault(&with(at + 32 + 8, leaf)), Some((leaf_id, PageFault::Repeated)));
}

#[test]
fn a_walk_without_a_check_notices_circles_too() {
    let (at, id) = (branch(), (branch() / PAGE) as u64);
    let walk = |file: Vec<u8>| {
        let mut database = Database::open(Cursor::new(file)).unwrap();
        let bucket = database.bucket(b"many").unwrap().unwrap();
        let last = database.cursor(&bucket).last();
        last.and_then(Result::err).map(|error| error.to_string())
    };
    assert_eq!(walk(with(at + 16 + 8, &id.to_le_bytes())), Some(format!("page {id}: is reached a second time")));
    let leaf = sample()[at + 16 + 8..at + 32].to_vec();
    assert!(walk(with(at + 32 + 8, &leaf)).is_some_and(|text| text.contains("is not above the one before")));
    assert_eq!(walk(sample()), None);
}

#[test]
fn what_is_no_file_says_so() {
    for file in [Vec::new(), b"hello".to_vec(), vec![0; 100_000], sample()[..60].to_vec()] {
        assert!(matches!(look(&file), Err(ReadError::NoMeta { .. })));
    }
    let mut neither = sample();
    neither[70] ^= 1;
    neither[PAGE + 70] ^= 1;
    let Err(ReadError::NoMeta { first, second }) = look(&neither) else { panic!("both metas are damaged") };
    assert_eq!((first, second), (MetaFault::Checksum, MetaFault::Checksum));
}

#[test]
fn every_truncation_is_noticed() {
    let file = sample();
    for length in (0..file.len()).step_by(101).chain([file.len() - 1]) {
        assert!(look(&file[..length]).is_err(), "{length} of {} bytes", file.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bits_do_harm(flips in prop::collection::vec((0_usize..1 << 20, 0_u8..8), 1..12)) {
        let mut file = sample();
        for (at, bit) in flips {
            let at = at % file.len();
            file[at] ^= 1 << bit;
        }
        let _ = look(&file);
    }

    #[test]
    fn no_words_written_over_headers_do_harm(
        page in 0_usize..64, at in 0_usize..12, word in prop_oneof![any::<u32>(), 0_u32..70, Just(u32::MAX)], cut in 0_usize..3_000,
    ) {
        let mut file = sample();
        let place = (page * PAGE % file.len()) + at * 4;
        file[place..place + 4].copy_from_slice(&word.to_le_bytes());
        file.truncate(file.len() - cut.min(PAGE * 2));
        let _ = look(&file);
    }

    #[test]
    fn no_noise_does_harm(noise in prop::collection::vec(any::<u8>(), 0..4_096)) {
        // Behind whole metas: without them nobody would look at it.
        let mut file = sample();
        let length = file.len();
        for (at, byte) in noise.into_iter().enumerate() {
            file[(2 * PAGE + at) % length] = byte;
        }
        let _ = look(&file);
    }
}
