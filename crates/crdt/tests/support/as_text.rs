//! A record as text for people, in a form of its own: what derived formats print may change with a library.

use std::fmt::Write;

use tombolo_crdt::{Chain, LeaseRef, Operation, Record};

pub(crate) fn as_text(record: &Record, previous: &Chain) -> String {
    let header = &record.header;
    let mut text = String::new();
    writeln!(text, "record {}", header.dot).unwrap();
    writeln!(text, "stamp {} ms, counter {}", header.hlc.millis(), header.hlc.bits() & 0xffff).unwrap();
    writeln!(text, "previous chain {previous}\nchain {}", header.chain).unwrap();
    writeln!(text, "context delta: {} entries", header.context_delta.len()).unwrap();
    for entry in header.context_delta.iter() {
        writeln!(text, "  {entry}").unwrap();
    }
    writeln!(text, "operations: {}", record.operations.len()).unwrap();
    for (index, operation) in record.numbered() {
        let adds = if operation.adds() == 0 { "nothing".into() } else { header.dot.element(index).to_string() };
        writeln!(text, "  {}\n    adds {adds}", operation_as_text(operation)).unwrap();
        for element in operation.named() {
            writeln!(text, "    removes {element}").unwrap();
        }
    }
    text
}

fn operation_as_text(operation: &Operation) -> String {
    match operation {
        Operation::Put { key, value, lease, .. } => {
            let lease = lease.map(|lease| format!(" with {}", lease_as_text(&lease))).unwrap_or_default();
            format!("put \"{}\" = \"{}\"{lease}", key.escape_ascii(), value.escape_ascii())
        }
        Operation::Remove { key, .. } => format!("remove \"{}\"", key.escape_ascii()),
        Operation::RangeRemove(range) => match &range.end {
            Some(end) => format!("remove all from \"{}\" up to \"{}\"", range.start.escape_ascii(), end.escape_ascii()),
            None => format!("remove all from \"{}\" on", range.start.escape_ascii()),
        },
        Operation::LeaseGrant { id, ttl_s } => format!("grant lease {id} for {ttl_s} s"),
        Operation::LeaseEnd { lease, .. } => format!("end {}", lease_as_text(lease)),
        Operation::SystemPut { key, value, .. } => {
            format!("put system \"{}\" = \"{}\"", key.escape_ascii(), value.escape_ascii())
        }
        Operation::SystemRemove { key, .. } => format!("remove system \"{}\"", key.escape_ascii()),
        Operation::Unknown { kind, body } => format!("unknown kind {kind}: \"{}\"", body.escape_ascii()),
    }
}

fn lease_as_text(lease: &LeaseRef) -> String {
    format!("lease {} of {}", lease.id, lease.home)
}
