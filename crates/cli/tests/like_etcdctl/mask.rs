//! Takes out of an output what differs from run to run, and nothing else.

/// Revisions become relative to `start`, and the id of `lease` a word.
pub(crate) fn stdout(text: &str, start: i64, lease: i64) -> String {
    let mut masked = relative_revisions(text, start);
    if lease != 0 {
        masked = masked.replace(&format!("{lease:016x}"), "<lease>").replace(&lease.to_string(), "<lease>");
    }
    masked
}

/// The text of the error that a run of etcdctl ended with; the lines of its logger are no errors.
pub(crate) fn error(stderr: &str) -> String {
    let error = stderr.lines().rev().find_map(|line| line.strip_prefix("Error: "));
    // Go's parser names itself.
    let error = error.unwrap_or_default().replace("strconv.ParseInt: ", "").replace("strconv.ParseUint: ", "");
    // An error that etcd's client library has no name for is shown with its code.
    match error.strip_prefix("rpc error: code = ").and_then(|coded| coded.split_once(" desc = ")) {
        Some((_, text)) => text.to_owned(),
        None => error,
    }
}

/// Every number after a name that ends in "revision" becomes the distance from `start`.
fn relative_revisions(text: &str, start: i64) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("evision\"") {
        let (before, after) = rest.split_at(found + "evision\"".len());
        masked.push_str(before);
        let digits = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (separator, number) = after.split_at(digits);
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        masked.push_str(separator);
        match number.parse::<i64>() {
            Ok(revision) if revision >= start => masked.push_str(&format!("+{}", revision - start)),
            _ => masked.push_str(number),
        }
        rest = after;
    }
    masked + rest
}

/// Replaces what follows each of `marks`, up to the first character of `ends`, by a word.
pub(crate) fn after(text: &str, marks: &[&str], ends: &[char]) -> String {
    marks.iter().fold(text.to_owned(), |text, mark| {
        let mut parts = text.split(mark);
        let mut masked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(ends).unwrap_or(part.len());
            masked = masked + mark + "<some>" + &part[end..];
        }
        masked
    })
}

#[test]
fn revisions_are_relative_and_other_numbers_stay() {
    let json =
        r#"{"header":{"cluster_id":70,"revision":12},"kvs":[{"create_revision":3,"mod_revision":11,"version":70}]}"#;
    let masked =
        r#"{"header":{"cluster_id":70,"revision":+2},"kvs":[{"create_revision":3,"mod_revision":+1,"version":70}]}"#;
    assert_eq!(stdout(json, 10, 0), masked);
    assert_eq!(stdout("\"ModRevision\" : 11\n\"Version\" : 11\n", 10, 0), "\"ModRevision\" : +1\n\"Version\" : 11\n");
}

#[test]
fn only_the_last_error_line_is_the_error() {
    let stderr = "{\"level\":\"warn\"}\nError: bad TTL (strconv.ParseInt: parsing \"x\": invalid syntax)\n";
    assert_eq!(error(stderr), "bad TTL (parsing \"x\": invalid syntax)");
    assert_eq!(error("a remark\n"), "");
}

#[test]
fn what_follows_a_mark_is_replaced_up_to_its_end() {
    assert_eq!(after("took = 1.5ms\ntook = 2s\n", &["took = "], &['\n']), "took = <some>\ntook = <some>\n");
}
