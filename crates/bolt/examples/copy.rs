//! Copies a database file, bucket by bucket: what comes out holds the same and no free page.
//!
//! `cargo run -p tombolo-bolt --example copy -- FROM TO`

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufWriter, Seek, Write},
};

use tombolo_bolt::{Bucket, Database, Value, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let (Some(from), Some(to)) = (words.next(), words.next()) else { return Err("give two files".into()) };
    let mut from = Database::open(File::open(from)?)?;
    let mut to = Writer::with_page_size(BufWriter::new(File::create(to)?), from.page_size())?;
    let root = from.root()?;
    copy(&mut from, &root, &mut to)?;
    let mut finished = to.finish()?;
    finished.sink.flush()?;
    println!("{} bytes of {}", finished.bytes, from.bytes_in_use());
    Ok(())
}

/// Copies what a bucket holds into the one that is open.
fn copy<W: Write + Seek>(from: &mut Database<File>, bucket: &Bucket, to: &mut Writer<W>) -> Result<(), Box<dyn Error>> {
    let mut after = None;
    // A cursor borrows the database, and a bucket within is read with another one.
    while let Some(item) = next(from, bucket, after.as_deref())? {
        match item.value {
            Value::Bytes(value) => to.put(&item.key, &value)?,
            Value::Bucket(inner) => {
                to.begin(&item.key)?;
                copy(from, &inner, to)?;
                to.end()?;
            }
        }
        after = Some(item.key);
    }
    Ok(())
}

fn next(
    from: &mut Database<File>,
    bucket: &Bucket,
    after: Option<&[u8]>,
) -> Result<Option<tombolo_bolt::Item>, Box<dyn Error>> {
    let cursor = from.cursor(bucket);
    let mut cursor = match after {
        Some(key) => cursor.seek(&[key, &[0]].concat())?,
        None => cursor,
    };
    Ok(cursor.next().transpose()?)
}
