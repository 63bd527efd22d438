//! Length is ratcheted: a function fits a glance, a file holds one idea.
//!
//! What is rightly long stands in the list of [`allowed`] with its reason.

use super::{Finding, allowed, source};
use crate::folder::TextFile;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Functions and files that are too long and not allowed to be, and allowances that nobody needs any more.
pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let (allowances, mut findings) = allowed::read(files);
    let mut used = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for long in too_long(file) {
            match allowances.iter().find(|allowance| allowance.covers(&long)) {
                Some(allowance) => used.push(allowance.line),
                None => findings.push(Finding::new(&long.path, long.line, long.message())),
            }
        }
    }
    findings.extend(allowances.iter().filter(|allowance| !used.contains(&allowance.line)).map(|allowance| {
        Finding::new(
            allowed::PATH,
            allowance.line,
            format!("`{}` is not too long any more: drop the line", allowance.what),
        )
    }));
    findings
}

/// A function, or a whole file, beyond its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Long {
    pub(crate) path: String,
    /// The function; `None` for the file.
    pub(crate) function: Option<String>,
    line: usize,
    lines: usize,
}

impl Long {
    fn message(&self) -> String {
        match &self.function {
            Some(name) => format!("`{name}` has {} lines, more than {FUNCTION_LINES_MAX}", self.lines),
            None => format!("{} lines, more than {FILE_LINES_MAX}", self.lines),
        }
    }
}

fn too_long(file: &TextFile) -> Vec<Long> {
    let lines = file.text.lines().count();
    let whole = (lines > FILE_LINES_MAX).then(|| Long { path: file.path.clone(), function: None, line: 0, lines });
    let functions = functions(&source::code(&file.text)).into_iter().filter(|found| found.lines > FUNCTION_LINES_MAX);
    let functions = functions.map(|found| Long {
        path: file.path.clone(),
        function: Some(found.name),
        line: found.line,
        lines: found.lines,
    });
    whole.into_iter().chain(functions).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every named function of blanked code, nested ones too, counted from the line of `fn` to that of its last brace.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|character: char| character.is_alphanumeric() || character == '_') {
            continue;
        }
        let item = &code[at..];
        let name: String =
            item[3..].chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
        if name.is_empty() {
            continue;
        }
        let lines = item[..source::item_end(item)].lines().count();
        found.push(Function { name, line: code[..at].matches('\n').count() + 1, lines });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Function, check, functions};
    use crate::tidy::{allowed, file, messages};

    fn long_function(name: &str, lines: usize) -> String {
        format!("//! Doc.\nfn {name}() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn functions_are_counted_from_their_first_line_to_their_last_brace() {
        let code =
            "\npub(crate) fn one(a: [u8; 3]) -> u8 {\n    a[0]\n}\ntrait T { fn two(&self); }\nlet f: fn (u8) = g;\n";
        let expected = [("one", 2, 3), ("two", 5, 1)];
        let expected = expected.map(|(name, line, lines)| Function { name: name.to_owned(), line, lines });
        assert_eq!(functions(code), expected);
    }

    #[test]
    fn seventy_lines_pass_and_one_more_does_not() {
        let files = [file("a.rs", &long_function("fits", 70)), file("b.rs", &long_function("grows", 71))];
        assert_eq!(messages(&check(&files)), ["b.rs:2 `grows` has 71 lines, more than 70"]);
    }

    #[test]
    fn an_allowed_function_passes_and_an_allowance_too_many_does_not() {
        let list = "b.rs grows: one match over every call\nb.rs shrank: was long once\n";
        let files = [file(allowed::PATH, list), file("b.rs", &long_function("grows", 71))];
        let expected = format!("{}:2 `b.rs shrank` is not too long any more: drop the line", allowed::PATH);
        assert_eq!(messages(&check(&files)), [expected]);
    }

    #[test]
    fn a_file_of_more_than_five_hundred_lines_is_found() {
        let files = [file("c.rs", &"//! Doc.\n".repeat(501))];
        assert_eq!(messages(&check(&files)), ["c.rs:0 501 lines, more than 500"]);
    }
}
