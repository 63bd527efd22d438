//! Compares two messages field by field, without a list of fields that could forget one.
//!
//! The derived pretty `Debug` form of a message names every field on a line of its own. Turned into `(path, value)`
//! pairs, two forms are compared and each difference is named by its path, such as `Range.kvs[2].mod_revision`.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

/// One field in which two messages differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// Where it is.
    pub path: String,
    /// What the reference said; `None` when it has no such field.
    pub expected: Option<String>,
    /// What the server under test said.
    pub got: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let absent = "(absent)".to_owned();
        let expected = self.expected.as_ref().unwrap_or(&absent);
        let got = self.got.as_ref().unwrap_or(&absent);
        write!(out, "{}: expected {expected}, got {got}", self.path)
    }
}

/// Every field in which `got` differs from `expected`.
pub fn differences<T: Debug>(expected: &T, got: &T) -> Vec<Difference> {
    let expected = fields(expected);
    let got = fields(got);
    let mut paths: Vec<&String> = expected.keys().chain(got.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| expected.get(*path) != got.get(*path))
        .map(|path| Difference {
            path: path.clone(),
            expected: expected.get(path).cloned(),
            got: got.get(path).cloned(),
        })
        .collect()
}

/// The leaves of a pretty `Debug` form by path. A list also has a leaf with its length.
fn fields(message: &impl Debug) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut open: Vec<Level> = Vec::new();
    for line in format!("{message:#?}").lines() {
        let line = line.trim().trim_end_matches(',');
        if matches!(line, "}" | "]" | ")" | "},") {
            let closed = open.pop();
            if let Some(Level { path, next: Some(length) }) = closed {
                leaves.insert(format!("{path}.len"), length.to_string());
            }
            continue;
        }
        let (name, rest) = name_and_rest(line);
        let path = child(&mut open, name, rest);
        match rest.chars().last() {
            Some('{' | '(') => open.push(Level { path, next: None }),
            Some('[') => open.push(Level { path, next: Some(0) }),
            _ => drop(leaves.insert(path, rest.to_owned())),
        }
    }
    leaves
}

/// An open brace or bracket: its path, and the next index when it is a list.
struct Level {
    path: String,
    next: Option<usize>,
}

/// Splits `field: value`; a line without a field name is an element of a list or the inside of a variant.
fn name_and_rest(line: &str) -> (Option<&str>, &str) {
    match line.split_once(": ") {
        Some((name, rest)) if name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') => {
            (Some(name), rest)
        }
        _ => (None, line),
    }
}

fn child(open: &mut [Level], name: Option<&str>, rest: &str) -> String {
    let Some(parent) = open.last_mut() else {
        return rest.trim_end_matches(['{', '(', '[', ' ']).to_owned();
    };
    if let Some(index) = &mut parent.next {
        let path = format!("{}[{index}]", parent.path);
        *index += 1;
        return path;
    }
    match name {
        Some(name) => format!("{}.{name}", parent.path),
        // `Some(` and the names of variants and messages add nothing to a path, but a different variant must show.
        None => match rest.trim_end_matches(['{', '(', '[', ' ']) {
            "" | "Some" => parent.path.clone(),
            variant if rest.ends_with(['{', '(', '[']) => format!("{}<{variant}>", parent.path),
            _ => parent.path.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_proto::{
        etcdserverpb::{
            DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse,
            response_op::Response,
        },
        mvccpb::KeyValue,
    };

    use super::{differences, fields};

    type Alteration = fn(&mut RangeResponse);

    fn txn() -> TxnResponse {
        let header = ResponseHeader { revision: 7, ..Default::default() };
        let kv = |key: &'static str| KeyValue {
            key: Bytes::from(key),
            value: Bytes::from("x, y: { \"z\" ["),
            mod_revision: 6,
            ..Default::default()
        };
        let range = RangeResponse { kvs: vec![kv("a"), kv("b")], count: 2, more: false, header: Some(header) };
        let put = PutResponse { header: Some(header), prev_kv: Some(kv("c")) };
        let op = |response| ResponseOp { response: Some(response) };
        TxnResponse {
            header: Some(header),
            succeeded: true,
            responses: vec![op(Response::ResponseRange(range)), op(Response::ResponsePut(put))],
        }
    }

    /// Applies one alteration and returns the paths that the comparer reports.
    fn paths_after(alter: impl FnOnce(&mut TxnResponse)) -> Vec<String> {
        let mut altered = txn();
        alter(&mut altered);
        differences(&txn(), &altered).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn equal_messages_have_no_difference() {
        assert_eq!(paths_after(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_altered_field_is_named() {
        let range = |txn: &mut TxnResponse, alter: Alteration| match &mut txn.responses[0].response {
            Some(Response::ResponseRange(range)) => alter(range),
            other => panic!("{other:?}"),
        };
        let base = "TxnResponse.responses[0].response<ResponseRange><RangeResponse>";
        let cases: [(Alteration, &str); 6] = [
            (|range| range.kvs[1].mod_revision = 5, ".kvs[1].mod_revision"),
            (|range| range.kvs[0].lease = 1, ".kvs[0].lease"),
            (|range| range.kvs[0].value = Bytes::new(), ".kvs[0].value"),
            (|range| range.count = 3, ".count"),
            (|range| range.more = true, ".more"),
            (|range| range.kvs[0].version = 9, ".kvs[0].version"),
        ];
        for (alter, tail) in cases {
            assert_eq!(paths_after(|txn| range(txn, alter)), [format!("{base}{tail}")]);
        }
        assert_eq!(paths_after(|txn| txn.succeeded = false), ["TxnResponse.succeeded"]);
    }

    #[test]
    fn a_missing_element_a_missing_header_and_another_variant_are_seen() {
        let missing = paths_after(|txn| drop(txn.responses.pop()));
        assert!(missing.contains(&"TxnResponse.responses.len".to_owned()), "{missing:?}");
        assert!(!paths_after(|txn| txn.header = None).is_empty());
        let variant = paths_after(|txn| {
            txn.responses[1].response = Some(Response::ResponseDeleteRange(DeleteRangeResponse::default()));
        });
        assert!(!variant.is_empty());
    }

    #[test]
    fn each_field_of_a_message_is_a_leaf() {
        let leaves = fields(&KeyValue::default());
        let names: Vec<&str> = leaves.keys().filter_map(|path| path.strip_prefix("KeyValue.")).collect();
        assert_eq!(names, ["create_revision", "key", "lease", "mod_revision", "value", "version"]);
    }
}
