//! What was written is read: whatever the sizes, the depth and the size of a page.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::{collections::BTreeMap, io::Cursor};

use proptest::{collection::btree_map, prelude::*};
use tombolo_bolt::{Bucket, Database, Value, Writer};

type File = Cursor<Vec<u8>>;

/// A bucket as the tests think of it.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Bytes(Vec<u8>),
    Bucket(BTreeMap<Vec<u8>, Self>),
}

fn written(buckets: &BTreeMap<Vec<u8>, Node>, page_size: u32) -> Vec<u8> {
    let mut writer = Writer::with_page_size(Cursor::new(Vec::new()), page_size).unwrap();
    write(&mut writer, buckets);
    let finished = writer.finish().unwrap();
    assert_eq!(finished.bytes, finished.sink.get_ref().len() as u64);
    finished.sink.into_inner()
}

fn write(writer: &mut Writer<File>, nodes: &BTreeMap<Vec<u8>, Node>) {
    for (key, node) in nodes {
        match node {
            Node::Bytes(value) => writer.put(key, value).unwrap(),
            Node::Bucket(inner) => {
                writer.begin(key).unwrap();
                write(writer, inner);
                writer.end().unwrap();
            }
        }
    }
}

fn read(database: &mut Database<File>, bucket: &Bucket) -> BTreeMap<Vec<u8>, Node> {
    let items: Vec<_> = database.cursor(bucket).map(Result::unwrap).collect();
    assert!(items.is_sorted_by(|left, right| left.key < right.key));
    let mut node = |value| match value {
        Value::Bytes(bytes) => Node::Bytes(bytes.to_vec()),
        Value::Bucket(inner) => Node::Bucket(read(database, &inner)),
    };
    items.into_iter().map(|item| (item.key.to_vec(), node(item.value))).collect()
}

fn open(file: &[u8]) -> Database<File> {
    Database::open(Cursor::new(file.to_vec())).unwrap()
}

fn some_pairs(count: usize, key_bytes: usize, value_bytes: usize) -> BTreeMap<Vec<u8>, Node> {
    let key = |number: usize| {
        let mut key = (number as u64).to_be_bytes().to_vec();
        key.resize(8 + key_bytes, b'k');
        key
    };
    (0..count).map(|number| (key(number), Node::Bytes(vec![number as u8; value_bytes]))).collect()
}

#[test]
fn buckets_of_every_shape_are_read_as_they_were_written() {
    for (name, pairs) in [
        ("none", BTreeMap::new()),
        ("one", some_pairs(1, 0, 0)),
        ("within its parent", some_pairs(3, 8, 16)),
        ("one leaf", some_pairs(20, 8, 100)),
        ("one branch", some_pairs(500, 8, 100)),
        ("many levels", some_pairs(20_000, 40, 10)),
        ("large keys", some_pairs(40, 30_000, 1)),
        ("large values", some_pairs(12, 8, 70_000)),
        ("values of whole pages", some_pairs(12, 8, 8_192 - 16 - 16 - 16)),
    ] {
        for page_size in [1024, 4096, 65_536] {
            let buckets: BTreeMap<_, _> = [(b"bucket".to_vec(), Node::Bucket(pairs.clone()))].into();
            let mut database = open(&written(&buckets, page_size));
            assert_eq!(database.check().unwrap(), pairs.len() as u64, "{name}");
            let root = database.root().unwrap();
            assert_eq!(read(&mut database, &root), buckets, "{name}");
            let bucket = database.bucket(b"bucket").unwrap().unwrap();
            for (key, node) in &pairs {
                let Node::Bytes(value) = node else { continue };
                assert_eq!(database.get(&bucket, key).unwrap(), Some(Value::Bytes(value.clone().into())), "{name}");
                let beside = [key.as_slice(), b"!"].concat();
                assert_eq!(database.get(&bucket, &beside).unwrap(), None, "{name}");
            }
        }
    }
}

/// bbolt merges a page with its neighbour, and expects one.
#[test]
fn no_branch_has_but_one_child() {
    const PAGE: usize = 1024;
    for count in 30..900 {
        let file = written(&[(b"b".to_vec(), Node::Bucket(some_pairs(count, 24, 20)))].into(), PAGE as u32);
        for (id, page) in file.chunks(PAGE).enumerate() {
            let is_branch = page[8..10] == [1, 0] && page[..8] == (id as u64).to_le_bytes();
            assert!(!is_branch || page[10..12] > [1, 0][..], "page {id} of a file of {count} pairs");
        }
    }
}

#[test]
fn a_walk_begins_where_it_is_asked_to() {
    let pairs = some_pairs(3_000, 4, 20);
    let keys: Vec<&Vec<u8>> = pairs.keys().collect();
    let mut database = open(&written(&[(b"b".to_vec(), Node::Bucket(pairs.clone()))].into(), 1024));
    let bucket = database.bucket(b"b").unwrap().unwrap();
    for at in (0..keys.len()).step_by(97) {
        for (from, expected) in [(keys[at].clone(), at), ([keys[at].as_slice(), &[0]].concat(), at + 1)] {
            let found = database.cursor(&bucket).seek(&from).unwrap().map(|item| item.unwrap().key);
            assert!(found.eq(keys[expected..].iter().copied()), "from {at}");
        }
    }
    assert_eq!(database.cursor(&bucket).seek(&[0xff; 9]).unwrap().count(), 0);
}

#[test]
fn either_meta_alone_is_enough_and_the_newer_one_counts() {
    for page_size in [1024, 4096, 16_384] {
        let file = written(&[(b"b".to_vec(), Node::Bucket(some_pairs(5, 0, 0)))].into(), page_size);
        let mut database = open(&file);
        assert_eq!((database.transaction(), database.page_size()), (2, page_size));
        for meta in [0, page_size as usize] {
            let mut damaged = file.clone();
            damaged[meta + 70] ^= 1;
            let mut database = open(&damaged);
            assert_eq!(database.check().unwrap(), 5);
            assert_eq!(database.transaction(), if meta == 0 { 1 } else { 2 });
        }
        assert_eq!(database.check().unwrap(), 5);
    }
}

fn any_node(depth: u32) -> BoxedStrategy<Node> {
    let bytes = prop::collection::vec(any::<u8>(), 0..1_500).prop_map(Node::Bytes);
    if depth == 0 {
        return bytes.boxed();
    }
    let inner = btree_map(any_key(), any_node(depth - 1), 0..12).prop_map(Node::Bucket);
    prop_oneof![3 => bytes, 1 => inner].boxed()
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(
        buckets in btree_map(any_key(), btree_map(any_key(), any_node(2), 0..25).prop_map(Node::Bucket), 0..8),
        page_size in prop::sample::select(vec![1024_u32, 4096]),
    ) {
        let mut database = open(&written(&buckets, page_size));
        database.check().unwrap();
        let root = database.root().unwrap();
        prop_assert_eq!(read(&mut database, &root), buckets);
    }
}
