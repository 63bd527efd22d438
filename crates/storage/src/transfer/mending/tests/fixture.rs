//! Writes what a repair leaves, for the fixture of the fifth format: see `tests/it/format_v5.rs`, which goes on with it.

use std::{fmt::Write as _, fs, path::Path};

use super::*;
use crate::engine::Engine;

#[test]
#[ignore = "wrote the fixture when the fifth format was frozen; a second run would make it worthless"]
fn write_the_rows_of_a_store_that_was_repaired() {
    let (sound, mut sick) = sound_and_sick();
    mend(&sound, &mut sick);
    sick.run(put("k020", "after"));
    let mut text = String::new();
    for (key, row) in sick.engine.snapshot().scan(&[0], &[0xff]).map(|row| row.unwrap()) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        writeln!(text, "{} {}", hex(&key), hex(&row)).unwrap();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v5");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rows.hex"), text).unwrap();
}
