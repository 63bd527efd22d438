//! Where the workspace is, and how cargo is asked to build it.
//!
//! Paths of built programs are taken from cargo's own messages, never guessed, so that any target folder works.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Built programs by name.
pub(crate) type Programs = BTreeMap<String, PathBuf>;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// cargo, started at the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata: Value = serde_json::from_str(&metadata()?)?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// What cargo knows about the packages of the workspace, as JSON.
pub(crate) fn metadata() -> Result<String> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Builds with the given arguments of `cargo build` and says where the programs are. Progress goes to standard error.
pub(crate) fn build(arguments: &[&str]) -> Result<Programs> {
    let output = cargo()
        .arg("build")
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo build")?;
    if !output.status.success() {
        bail!("cargo build {} failed", arguments.join(" "));
    }
    Ok(programs(&String::from_utf8(output.stdout)?))
}

/// Builds the product as it is shipped.
pub(crate) fn build_release() -> Result<Programs> {
    build(&["--release", "--package", "tombolo-server", "--package", "tombolo-cli"])
}

/// The server among built programs.
pub(crate) fn tombolod(programs: &Programs) -> Result<&Path> {
    programs.get("tombolod").map(PathBuf::as_path).context("the build made no `tombolod`")
}

/// The commit that is checked out, with `+` when there are changes beyond it; `unknown` outside a clone.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => commit + "+",
        (None, _) => "unknown".to_owned(),
    }
}

/// Reads the programs out of cargo's messages. Test executables carry their package's name too and are left out.
fn programs(messages: &str) -> Programs {
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] == true {
            return None;
        }
        let name = message["target"]["name"].as_str()?;
        Some((name.to_owned(), PathBuf::from(message["executable"].as_str()?)))
    };
    messages.lines().filter_map(artifact).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{programs, tombolod};

    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"tombolo_crdt"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tombolod"},"profile":{"test":false},"executable":"out/debug/tombolod"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tombolod"},"profile":{"test":true},"executable":"out/debug/deps/tombolod-1"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn a_program_is_found_where_cargo_says_it_built_it_and_not_where_its_tests_are() {
        let programs = programs(MESSAGES);
        assert_eq!(programs.len(), 1);
        assert_eq!(tombolod(&programs).unwrap(), Path::new("out/debug/tombolod"));
    }

    #[test]
    fn a_build_without_the_server_is_an_error_that_names_it() {
        assert!(tombolod(&programs("")).unwrap_err().to_string().contains("tombolod"));
    }
}
