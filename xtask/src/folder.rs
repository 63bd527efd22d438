//! The text files of the workspace, as one list that every check of `tidy` reads.
//!
//! Build output and git's own files are left out, and so is what is not text: data of test fixtures is not ours to judge.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};

/// One file with its path from the workspace's root, `/` between the parts.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    /// Whether this is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of the file is test, benchmark or example: what it says is never shipped.
    pub(crate) fn is_test(&self) -> bool {
        ["tests", "benches", "examples"].iter().any(|folder| self.path.split('/').any(|part| part == *folder))
    }
}

/// Reads every text file below `root`, sorted by path.
pub(crate) fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    collect(root, "", &mut files).with_context(|| format!("read {}", root.display()))?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        // In a second worktree `.git` is a file that says where the repository lies.
        if name == ".git" || name == "target" {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
        {
            files.push(TextFile { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{TextFile, text_files};

    #[test]
    fn build_output_and_binary_data_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("src/lib.rs", b"//! a".as_slice()),
            ("target/debug/x.rs", b"junk"),
            (".git/HEAD", b"ref"),
            (".ci/run", b"#!/bin/bash"),
            ("tests/fixture.bin", &[0xff, 0xfe]),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let paths: Vec<_> = text_files(folder.path()).unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, [".ci/run", "src/lib.rs"]);
    }

    #[test]
    fn a_tests_folder_anywhere_on_the_path_makes_a_test() {
        let file = |path: &str| TextFile { path: path.to_owned(), text: String::new() };
        assert!(file("crates/crdt/tests/laws.rs").is_test());
        assert!(!file("crates/crdt/src/tests_of_time.rs").is_test());
    }
}
