//! Format 1, checked for ever: the golden files are read as what they were written as, and written as they are.
//!
//! A golden file is never changed. A new one is written by
//! `cargo test -p tombolo-crdt --test golden_v1 -- --ignored`, which leaves those that are there alone.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod as_text;
    pub(crate) mod golden;
    pub(crate) mod golden_cases;
}

use std::collections::BTreeSet;

use support::{
    as_text::as_text,
    golden::{FOLDER, read, read_hex},
    golden_cases::cases,
};
use tombolo_crdt::{Chain, Record};

#[test]
fn golden_records_are_read_as_they_were_meant() {
    for mut case in cases() {
        let bytes = read_hex(case.name);
        let read_back = Record::decode(bytes.clone()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert!(Record::follows(&bytes, &case.previous), "{}", case.name);
        assert_eq!(as_text(&read_back, &case.previous), read(&format!("{}.txt", case.name)), "{}", case.name);
        case.record.header.chain = read_back.header.chain;
        assert_eq!(read_back, case.record, "{}", case.name);
    }
}

#[test]
fn golden_records_are_written_as_they_were() {
    for case in cases() {
        let (bytes, _) = case.record.encode(&case.previous);
        assert_eq!(hex(&bytes), hex(&read_hex(case.name)), "{}", case.name);
    }
}

#[test]
fn the_golden_chain_holds_in_its_order_only() {
    let [first, second, third] = ["chain_1", "chain_2", "chain_3"].map(read_hex);
    let chain = |bytes| Record::decode(bytes).unwrap().header.chain;
    let mut previous = Chain::BEGINNING;
    for record in [&first, &second, &third] {
        assert!(Record::follows(record, &previous));
        previous = chain(record.clone());
    }
    assert!(!Record::follows(&third, &chain(first)));
    assert!(!Record::follows(&second, &Chain::BEGINNING));
}

#[test]
fn the_record_that_the_format_text_reads_by_hand_is_golden() {
    let text = include_str!("../../../docs/format.md");
    assert!(text.contains(&hex(&read_hex("chain_2"))));
    let chain_1 = Record::decode(read_hex("chain_1")).unwrap().header.chain;
    assert!(text.contains(&chain_1.to_string()));
}

#[test]
fn every_golden_file_is_of_a_case() {
    let expected: BTreeSet<String> =
        cases().iter().flat_map(|case| ["hex", "txt"].map(|end| format!("{}.{end}", case.name))).collect();
    let found: BTreeSet<String> =
        std::fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
#[ignore = "writes the golden files that are not there yet"]
fn write_missing_golden_files() {
    for case in cases() {
        let (bytes, _) = case.record.encode(&case.previous);
        let text = as_text(&Record::decode(bytes.clone()).unwrap(), &case.previous);
        write_new(&format!("{}.hex", case.name), &hex(&bytes));
        write_new(&format!("{}.txt", case.name), &text);
    }
}

#[expect(clippy::disallowed_types, reason = "golden files are files")]
fn write_new(file: &str, content: &str) {
    match std::fs::File::create_new(format!("{FOLDER}/{file}")) {
        Ok(mut file) => std::io::Write::write_all(&mut file, content.as_bytes()).unwrap(),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{file}: {error}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
}
