//! Known bugs that can be switched on stay out of what is shipped.
//!
//! The feature `mutations` is the core crate's. One crate may turn it on, the simulator, under a feature that is not on by
//! default; and code may ask for it in one file. The server refuses to be built with it besides.

use super::Finding;
use crate::folder::TextFile;

/// Who may name the feature in a manifest, and the line that may.
const MANIFESTS: [(&str, &str); 2] =
    [("crates/crdt/Cargo.toml", "mutations = []"), ("crates/sim/Cargo.toml", "museum = [\"tombolo-crdt/mutations\"]")];
/// The file in which code depends on the feature.
const SWITCH: &str = "crates/crdt/src/mutation.rs";
/// What refuses to be built with it.
const GUARD: (&str, &str) = ("crates/server/src/main.rs", "assert!(!tombolo_crdt::mutation::ARE_POSSIBLE");

/// Every place that could let a known bug be shipped.
pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with("xtask/")) {
        for (line, text) in (1..).zip(file.text.lines()) {
            findings.extend(judge(file, line, text.trim()));
        }
    }
    let has_guard = files.iter().any(|file| file.path == GUARD.0 && file.text.contains(GUARD.1));
    findings.extend((!has_guard).then(|| Finding::whole_file(GUARD.0, "does not refuse to be built with `mutations`")));
    findings
}

fn judge(file: &TextFile, line: usize, text: &str) -> Option<Finding> {
    let is_comment = text.starts_with('#') && !text.starts_with("#[");
    if file.path.ends_with("Cargo.toml") && !is_comment && (text.contains("mutations") || text.contains("\"museum\"")) {
        let is_allowed = MANIFESTS.iter().any(|(path, allowed)| file.path == *path && text == *allowed);
        let message = "names `mutations`: known bugs are for the simulator's museum";
        return (!is_allowed).then(|| Finding::new(&file.path, line, message));
    }
    let asks = file.is_rust() && text.contains("feature = \"mutations\"") && file.path != SWITCH;
    asks.then(|| Finding::new(&file.path, line, "asks for `mutations`: only the core's `mutation.rs` may"))
}

#[cfg(test)]
mod tests {
    use super::{GUARD, check};
    use crate::tidy::{file, messages};

    fn guarded(path: &str, text: &str) -> String {
        messages(&check(&[file(GUARD.0, GUARD.1), file(path, text)])).join("\n")
    }

    #[test]
    fn the_two_manifests_and_the_switch_may_name_it() {
        assert_eq!(guarded("crates/crdt/Cargo.toml", "[features]\n# mutations\nmutations = []\n"), "");
        assert_eq!(guarded("crates/sim/Cargo.toml", "museum = [\"tombolo-crdt/mutations\"]\n"), "");
        assert_eq!(guarded("crates/crdt/src/mutation.rs", "#[cfg(feature = \"mutations\")]\n"), "");
    }

    #[test]
    fn nobody_else_may() {
        let toml = guarded("crates/server/Cargo.toml", "x = { path = \"x\", features = [\"mutations\"] }");
        assert!(toml.contains("server/Cargo.toml:1"), "{toml}");
        let default = guarded("crates/sim/Cargo.toml", "default = [\"museum\"]");
        assert!(default.contains("sim/Cargo.toml:1"), "{default}");
        let code = guarded("crates/storage/src/log.rs", "\n#[cfg(feature = \"mutations\")]");
        assert!(code.contains("log.rs:2"), "{code}");
    }

    #[test]
    fn the_server_must_refuse() {
        assert!(messages(&check(&[file(GUARD.0, "fn main() {}")])).join("").contains("refuse"));
    }
}
