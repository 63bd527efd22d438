//! A data folder as a thief, a careless administrator or a failing disk leaves it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Every file of a folder with its content: two of these tell whether anything has changed.
///
/// # Errors
///
/// When a file cannot be read.
pub fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let read = |path: PathBuf| anyhow::Ok((path.strip_prefix(folder)?.to_owned(), fs::read(&path)?));
    files(folder)?.into_iter().map(read).collect()
}

/// Every file of a folder, in order.
///
/// # Errors
///
/// When a folder cannot be listed.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Copies a folder with all that is in it.
///
/// # Errors
///
/// When a file cannot be copied.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
        fs::copy(file, target)?;
    }
    Ok(())
}

/// Cuts a file in the middle of what was written to it. Trailing zeros count as never written: files are preallocated.
///
/// # Errors
///
/// When the file cannot be changed.
pub fn cut(file: &Path) -> Result<()> {
    let written = written(file)?;
    Ok(fs::File::options().write(true).open(file)?.set_len(written / 2)?)
}

/// Turns a bit of the byte in the middle of what was written to a file.
///
/// # Errors
///
/// When the file cannot be changed.
pub fn flip(file: &Path) -> Result<()> {
    let middle = written(file)? / 2;
    let file = fs::File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    if file.read_at(&mut byte, middle)? == 1 {
        file.write_all_at(&[byte[0] ^ 0x10], middle)?;
    }
    Ok(())
}

fn written(file: &Path) -> Result<u64> {
    let content = fs::read(file)?;
    Ok(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}
