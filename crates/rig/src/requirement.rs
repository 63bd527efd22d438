//! What a rig needs from the machine, and what happens when it is not there.
//!
//! A developer without etcd still gets a green run, with one printed line for each rig that was skipped. Continuous
//! integration sets `TOMBOLO_REQUIRE=etcd,etcdctl`, and then a missing tool is a failure: a skip never hides there.

use std::{
    env,
    ffi::OsString,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

/// An outside program that a rig drives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// A real etcd server.
    Etcd,
    /// etcd's own command line.
    Etcdctl,
}

impl Tool {
    /// The program, or `None` after printing why the rig is skipped.
    ///
    /// # Panics
    ///
    /// When `TOMBOLO_REQUIRE` names this tool and it is not installed.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        self.find_named(env::var_os(self.variable()))
    }

    /// The one in the path, whichever the variable names.
    ///
    /// # Panics
    ///
    /// As [`find`](Self::find).
    #[must_use]
    pub fn find_in_path(self) -> Option<PathBuf> {
        self.find_named(None)
    }

    fn find_named(self, named: Option<OsString>) -> Option<PathBuf> {
        let found = self.locate(named, env::var_os("PATH"));
        if found.is_none() {
            skip(self.name(), &format!("no {} found (set {})", self.name(), self.variable()));
        }
        found
    }

    fn locate(self, named: Option<OsString>, path: Option<OsString>) -> Option<PathBuf> {
        if let Some(named) = named {
            return Some(PathBuf::from(named)).filter(|path| is_program(path));
        }
        env::split_paths(&path?).map(|folder| folder.join(self.name())).find(|path| is_program(path))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Etcd => "TOMBOLO_ETCD",
            Self::Etcdctl => "TOMBOLO_ETCDCTL",
        }
    }
}

/// Says that a rig is skipped, for want of what `TOMBOLO_REQUIRE` would call by this name.
///
/// # Panics
///
/// When `TOMBOLO_REQUIRE` names it.
pub fn skip(name: &str, line: &str) {
    let required = env::var("TOMBOLO_REQUIRE").unwrap_or_default();
    assert!(!is_required(name, &required), "{line}, and TOMBOLO_REQUIRE={required} asks for it");
    println!("skipped: {line}");
    note_skip(line);
}

fn is_required(name: &str, list: &str) -> bool {
    list.split(',').any(|word| word.trim() == name)
}

/// The server under test: `TOMBOLO_TOMBOLOD`, else the one that cargo built beside this test.
///
/// # Panics
///
/// When there is none, saying how to build it: the product is never optional.
#[must_use]
pub fn tombolod() -> PathBuf {
    let path = env::var_os("TOMBOLO_TOMBOLOD").map_or_else(|| beside_this_test("tombolod"), PathBuf::from);
    assert!(
        is_program(&path),
        "no server at {}: run `cargo build -p tombolo-server` (with the profile of this test), or set TOMBOLO_TOMBOLOD",
        path.display()
    );
    path
}

/// The command line under test: `TOMBOLO_TOMBOLO`, else the one that cargo built beside this test.
///
/// # Panics
///
/// When there is none, saying how to build it.
#[must_use]
pub fn tombolo() -> PathBuf {
    let path = env::var_os("TOMBOLO_TOMBOLO").map_or_else(|| beside_this_test("tombolo"), PathBuf::from);
    assert!(
        is_program(&path),
        "no command line at {}: run `cargo build -p tombolo-cli` (with the profile of this test), or set TOMBOLO_TOMBOLO",
        path.display()
    );
    path
}

/// Test executables live in `target/<profile>/deps`, programs in `target/<profile>`.
fn beside_this_test(program: &str) -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("a test executable lies in target/<profile>/deps");
    profile.join(program)
}

/// Runners show no output of a green test, so the line also goes to the file that `TOMBOLO_SKIPS` names, if it does.
fn note_skip(line: &str) {
    let Some(path) = env::var_os("TOMBOLO_SKIPS") else { return };
    let file = OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        println!("the skip could not be noted: {error}");
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::{Tool, is_required};

    #[test]
    fn a_named_program_that_is_missing_is_not_replaced_by_another_one() {
        assert_eq!(Tool::Etcd.locate(Some("/nonexistent/etcd".into()), std::env::var_os("PATH")), None);
    }

    #[test]
    fn the_list_of_required_tools_is_matched_by_whole_words() {
        assert!(is_required("etcd", "etcdctl, etcd"));
        assert!(!is_required("etcd", "etcdctl"));
        assert!(!is_required("etcdctl", ""));
    }
}
