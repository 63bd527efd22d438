//! Words that have no place in the tree: notes to oneself, debugging aids, and paths of one machine.
//!
//! The words are put together from parts, so that this file does not find itself.

use super::{Finding, source};
use crate::folder::TextFile;

/// Everywhere, comments and documents included.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// In code, tests included.
const DEBUGGING: [&str; 1] = [concat!("db", "g!(")];
/// Everywhere: no reader has these folders.
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
/// Everywhere but in tests: a program asks the system for a temporary folder.
const TEMPORARY: [&str; 1] = [concat!("/t", "mp/")];

/// Every such word, with its line.
pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path != "LICENSE" && file.path != "Cargo.lock") {
        for word in NOTES {
            let note = |line: &str| has_word(line, word);
            findings.extend(lines(file, &file.text, note, || {
                format!("`{word}`: do it, or write it where work is planned")
            }));
        }
        for path in MACHINE {
            findings.extend(lines(
                file,
                &file.text,
                |line| line.contains(path),
                || format!("`{path}` is a path of one machine"),
            ));
        }
        if !file.is_test() {
            let tests = if file.is_rust() { source::tests(&source::code(&file.text)) } else { Vec::new() };
            let text = source::without(&file.text, &tests);
            for path in TEMPORARY {
                findings.extend(lines(file, &text, |line| line.contains(path), || format!("`{path}` outside a test")));
            }
        }
        if file.is_rust() {
            for word in DEBUGGING {
                let code = source::code(&file.text);
                findings.extend(lines(
                    file,
                    &code,
                    |line| line.contains(word),
                    || format!("`{word}…)` is for debugging"),
                ));
            }
        }
    }
    findings
}

fn lines(file: &TextFile, text: &str, hit: impl Fn(&str) -> bool, message: impl Fn() -> String) -> Vec<Finding> {
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| hit(line));
    numbered.map(|(number, _)| Finding::new(&file.path, number, message())).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::{DEBUGGING, MACHINE, NOTES, TEMPORARY, check};
    use crate::tidy::{file, messages};

    #[test]
    fn notes_are_found_in_comments_and_documents_but_not_inside_longer_words() {
        let note = NOTES[0];
        let files = [
            file("a.rs", &format!("//! Head.\n// {note}: later\n")),
            file("b.md", &format!("{note}\n")),
            file("c.md", &format!("A{note}S and {note}_LIST are other words.\n")),
        ];
        let messages = messages(&check(&files));
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("a.rs:2") && messages[1].starts_with("b.md:1"));
    }

    #[test]
    fn a_path_of_one_machine_is_found_even_in_a_test() {
        let files = [file("crates/a/tests/b.rs", &format!("//! Head.\nconst A: &str = \"{}x\";\n", MACHINE[0]))];
        assert_eq!(check(&files).len(), 1);
    }

    #[test]
    fn a_temporary_path_is_fine_in_tests_alone() {
        let path = format!("\"{}x\"", TEMPORARY[0]);
        let files = [
            file("crates/a/tests/b.rs", &format!("const A: &str = {path};\n")),
            file("crates/a/src/c.rs", &format!("#[cfg(test)]\nmod tests {{\n    const A: &str = {path};\n}}\n")),
            file("crates/a/src/d.rs", &format!("const A: &str = {path};\n")),
            file(".ci/run", &format!("cd {path}\n")),
        ];
        let messages = messages(&check(&files));
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("crates/a/src/d.rs:1") && messages[1].starts_with(".ci/run:1"));
    }

    #[test]
    fn debugging_is_found_in_code_and_may_be_spoken_of() {
        let word = DEBUGGING[0];
        let files = [file("a.rs", &format!("// {word}) is for debugging\nfn f() {{ {word}x); }}\n"))];
        assert_eq!(messages(&check(&files)), [format!("a.rs:2 `{word}…)` is for debugging")]);
    }
}
