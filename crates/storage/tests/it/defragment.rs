//! What defragmentation gives back to the disk, and that writes go on meanwhile.

use std::thread;

use bytes::Bytes;
use tombolo_storage::engine::{Change, Engine, Persist, fjall::FjallEngine};

const ROWS: u64 = 100;
const ROW_BYTES: u64 = 1 << 20;

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

#[test]
fn rows_that_were_removed_leave_the_disk_and_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = FjallEngine::open(&folder.path().join("engine")).unwrap();
    for number in 0..ROWS {
        // Nothing that could be pressed together.
        let value: Vec<u8> = (0..ROW_BYTES / 8)
            .flat_map(|at| (number * ROW_BYTES + at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
            .collect();
        engine.write(vec![Change::Put(key(number), value.into())], Persist::Os).unwrap();
    }
    engine.defragment().unwrap();
    let full = engine.disk_bytes();
    assert!(full > ROWS * ROW_BYTES, "{full}");
    engine.write((1..ROWS).map(|number| Change::Remove(key(number))).collect(), Persist::Os).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (ROWS..ROWS + 500).for_each(|number| {
                engine.write(vec![Change::Put(key(number), Bytes::from_static(b"small"))], Persist::Os).unwrap();
            });
        });
        engine.defragment().unwrap();
        writer.join().unwrap();
    });
    let left = engine.disk_bytes();
    // The journals have a size of their own, which nothing but their rotation changes.
    assert!(left + ROWS * ROW_BYTES * 9 / 10 < full, "{left} bytes are left of {full}");
    let rows = engine.snapshot().scan(&key(0), &key(u64::MAX)).count();
    assert_eq!(rows, 501);
    assert_eq!(engine.get(&key(0)).unwrap().map(|row| row.len() as u64), Some(ROW_BYTES));
}
