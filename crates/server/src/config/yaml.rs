//! The YAML of etcd's configuration file: keys with plain or quoted values, lists of such values, and one level of sections.
//!
//! That is all that its keys need. What is YAML and not this (anchors, blocks of text, deeper levels) is refused with its line, not guessed at.

use thiserror::Error;

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub(super) struct YamlError {
    line: usize,
    what: &'static str,
}

/// Reads keys with their values, in order; lists are joined by commas, as flags are. A key of a section has the name that its flag has.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, YamlError> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut section = None;
    // The key above, while it has no value: it begins a section or a list.
    let mut open: Option<String> = None;
    for (at, line) in text.lines().enumerate() {
        let fail = |what| YamlError { line: at + 1, what };
        let content = without_comment(line).trim_end();
        if content.trim().is_empty() || content == "---" {
            continue;
        }
        let is_inner = content.starts_with([' ', '\t']);
        let content = content.trim_start();
        if let Some(item) = content.strip_prefix("- ") {
            let key = open.clone().ok_or_else(|| fail("an item of no list"))?;
            let item = scalar(item.trim()).map_err(fail)?;
            match entries.last_mut().filter(|(last, _)| *last == key) {
                Some((_, value)) => *value = format!("{value},{item}"),
                None => entries.push((key, item)),
            }
            continue;
        }
        let (key, value) = content.split_once(':').ok_or_else(|| fail("neither a key with a value nor an item"))?;
        let key = scalar(key.trim()).map_err(fail)?;
        let value = value.trim();
        if is_inner {
            section = section.or_else(|| open.take());
        } else {
            section = None;
        }
        let name = match (&section, is_inner) {
            (Some(section), true) => within(section, &key).ok_or_else(|| fail("a section that is not known"))?,
            (None, true) => return Err(fail("a key that is set in from nothing")),
            (_, false) => key,
        };
        open = None;
        match value {
            "" => open = Some(name),
            _ => entries.push((name, value_of(value).map_err(fail)?)),
        }
    }
    Ok(entries)
}

/// The flag of a key in one of etcd's two sections.
fn within(section: &str, key: &str) -> Option<String> {
    match (section, key) {
        ("client-transport-security", "allowed-hostname") => Some("client-cert-allowed-hostname".to_owned()),
        ("client-transport-security", key) => Some(key.to_owned()),
        ("peer-transport-security", "allowed-hostname" | "allowed-cn") => Some(format!("peer-cert-{key}")),
        ("peer-transport-security", key) => Some(format!("peer-{key}")),
        _ => None,
    }
}

fn value_of(text: &str) -> Result<String, &'static str> {
    let Some(list) = text.strip_prefix('[') else { return scalar(text) };
    let list = list.strip_suffix(']').ok_or("a list without an end")?;
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(scalar);
    Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
}

fn scalar(text: &str) -> Result<String, &'static str> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            let inner = rest.strip_suffix(quote).ok_or("a quote without an end")?;
            let is_plain = !inner.contains(quote) && !inner.contains('\\');
            return if is_plain { Ok(inner.to_owned()) } else { Err("a quoted value with a quote or a backslash") };
        }
    }
    if text.starts_with(['&', '*', '|', '>', '{', '!', '%', '@', '`']) {
        return Err("YAML that this file has no need of");
    }
    // As flags, a value that is not there is empty.
    Ok(if matches!(text, "~" | "null") { String::new() } else { text.to_owned() })
}

/// The line up to a `#` that begins a comment: one outside quotes with white space before it.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, char) in line.char_indices() {
        match quote {
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if char == '#' && before.is_whitespace() => return &line[..at],
            None if (char == '"' || char == '\'') && (before.is_whitespace() || before == '[' || before == ',') => {
                quote = Some(char);
            }
            None => {}
        }
        before = char;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_etcd_ships_it_is_read() {
        let text = "
# This is the configuration file for the etcd server.
---
name: 'default'   # Human-readable name
data-dir:
quota-backend-bytes: 0
listen-client-urls: http://localhost:2379,http://[::1]:2379
discovery-fallback: \"proxy\"
client-transport-security:
  # Path to the client server TLS cert file.
  cert-file: /etc/pki/a#b.pem
  client-cert-auth: false
peer-transport-security:
  key-file:
  trusted-ca-file: ca.pem
self-signed-cert-validity: 1
log-outputs: [stderr, 'a b']
cipher-suites:
  - TLS_A
  - TLS_B
initial-cluster-token: ~
";
        let wanted = [
            ("name", "default"),
            ("quota-backend-bytes", "0"),
            ("listen-client-urls", "http://localhost:2379,http://[::1]:2379"),
            ("discovery-fallback", "proxy"),
            ("cert-file", "/etc/pki/a#b.pem"),
            ("client-cert-auth", "false"),
            ("peer-trusted-ca-file", "ca.pem"),
            ("self-signed-cert-validity", "1"),
            ("log-outputs", "stderr,a b"),
            ("cipher-suites", "TLS_A,TLS_B"),
            ("initial-cluster-token", ""),
        ];
        assert_eq!(read(text).unwrap(), wanted.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("a: 1\nb\n", 2),
            ("- a\n", 1),
            ("  a: 1\n", 1),
            ("section:\n  a: 1\n", 2),
            ("a: [b\n", 1),
            ("a: 'b\n", 1),
            ("a: |\n  text\n", 1),
            ("a: &anchor b\n", 1),
            ("a: {b: c}\n", 1),
        ] {
            assert_eq!(read(text).map_err(|why| why.line), Err(line), "{text:?}");
        }
    }
}
