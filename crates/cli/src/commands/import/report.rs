//! What is said at the end: which way it went, and how much.

use std::fmt::Write as _;

use tombolo_proto::v1::ImportDone;

use super::accounts::Made;
use crate::{
    exit::Failure,
    output::{Format, Printer, base64},
};

/// Keys that are shown; more are in the machine's formats.
const KEYS_SHOWN_MAX: usize = 10;

pub(super) fn print(printer: &Printer, done: &ImportDone, made: Option<&Made>, is_dry: bool) -> Result<(), Failure> {
    let text = match printer.format {
        Format::Json => json(done, made, is_dry),
        Format::Fields => fields(done, made, is_dry),
        Format::Simple | Format::Table => simple(done, is_dry) + &accounts(made),
    };
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn simple(done: &ImportDone, is_dry: bool) -> String {
    let would = if is_dry { "nothing was written: it would have " } else { "" };
    let mut text = format!("{would}imported {} pairs", done.puts);
    if done.kept_numbers {
        let _ = write!(text, " and {} removals with the revisions that they have", done.removals);
        let _ = write!(text, ": the replica is at revision {}", done.revision);
        if done.compacted_revision > 0 {
            let _ = write!(text, ", compacted at {}", done.compacted_revision);
        }
    } else {
        let _ = write!(text, " under new revisions, because the replica is not empty or not alone in its mesh");
        let _ = write!(text, ": it is at revision {}", done.revision);
    }
    let _ = write!(text, "\n{} leases begin anew", done.leases);
    if done.leases_found > 0 {
        let _ = write!(text, ", {} were there already", done.leases_found);
    }
    if done.unchanged > 0 {
        let _ = write!(text, "\n{} keys hold the same already", done.unchanged);
    }
    if done.conflicts > 0 {
        let _ = write!(text, "\n{} keys hold something else:", done.conflicts);
        for key in done.conflicting_keys.iter().take(KEYS_SHOWN_MAX) {
            let _ = write!(text, "\n  {}", key.escape_ascii());
        }
        if done.conflicts > KEYS_SHOWN_MAX as u64 {
            let _ = write!(text, "\n  …");
        }
    }
    text
}

fn accounts(made: Option<&Made>) -> String {
    let Some(Made { users, roles, left, is_enabled }) = made else { return String::new() };
    let mut text = format!("\n{users} users and {roles} roles were made");
    if !left.is_empty() {
        let _ = write!(text, "; already there, and left as they are: {}", left.join(", "));
    }
    if *is_enabled {
        text.push_str("\nfrom now on requests are judged by who sends them");
    }
    text
}

/// What was made, and what was left, as numbers.
fn made_numbers(made: Option<&Made>) -> [(&'static str, i128); 3] {
    let count = |number: Option<usize>| number.unwrap_or(0) as i128;
    [
        ("users", count(made.map(|made| made.users))),
        ("roles", count(made.map(|made| made.roles))),
        ("accounts_left", count(made.map(|made| made.left.len()))),
    ]
}

/// The numbers by their names, as the contract spells them.
fn numbers(done: &ImportDone) -> [(&'static str, i128); 8] {
    [
        ("revision", done.revision.into()),
        ("compacted_revision", done.compacted_revision.into()),
        ("puts", done.puts.into()),
        ("removals", done.removals.into()),
        ("leases", done.leases.into()),
        ("leases_found", done.leases_found.into()),
        ("unchanged", done.unchanged.into()),
        ("conflicts", done.conflicts.into()),
    ]
}

fn json(done: &ImportDone, made: Option<&Made>, is_dry: bool) -> String {
    let mut text = format!("{{\"kept_numbers\":{},\"dry_run\":{is_dry}", done.kept_numbers);
    for (name, number) in numbers(done).into_iter().chain(made_numbers(made)) {
        let _ = write!(text, ",\"{name}\":{number}");
    }
    let keys: Vec<String> = done.conflicting_keys.iter().map(|key| base64(key)).collect();
    let _ = write!(text, ",\"conflicting_keys\":[{}]}}", keys.join(","));
    text
}

fn fields(done: &ImportDone, made: Option<&Made>, is_dry: bool) -> String {
    let mut text = format!("\"KeptNumbers\" : {}\n\"DryRun\" : {is_dry}", done.kept_numbers);
    for (name, number) in numbers(done).into_iter().chain(made_numbers(made)) {
        let name: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let _ = write!(text, "\n\"{name}\" : {number}");
    }
    for key in &done.conflicting_keys {
        let _ = write!(text, "\n\"ConflictingKey\" : \"{}\"", key.escape_ascii());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_way_it_went_is_said() {
        let kept = ImportDone { kept_numbers: true, puts: 3, removals: 1, revision: 9, ..ImportDone::default() };
        assert!(simple(&kept, false).starts_with("imported 3 pairs and 1 removals with the revisions that they have"));
        let fresh = ImportDone { kept_numbers: false, ..kept };
        assert!(simple(&fresh, true).contains("nothing was written") && simple(&fresh, true).contains("new revisions"));
    }

    #[test]
    fn conflicts_are_named() {
        let done = ImportDone { conflicts: 2, conflicting_keys: vec!["a\n".into(), "b".into()], ..Default::default() };
        assert!(simple(&done, false).ends_with("2 keys hold something else:\n  a\\n\n  b"));
        assert!(json(&done, None, false).ends_with("\"accounts_left\":0,\"conflicting_keys\":[\"YQo=\",\"Yg==\"]}"));
        assert!(fields(&done, None, false).contains("\"CompactedRevision\" : 0"));
    }
}
