//! A transaction is one unit wherever it is seen: in reads at every site, and in what watching clients put together.
//!
//! Whoever sees one key as a record wrote it sees every other key that the record wrote at least as new: never as something
//! that happened before that record. It is judged from values and records alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Dot, Operation};
use tombolo_storage::KeyRange;

use super::{Claim, Violation, records::Records};

/// Keys with values, as somebody sees them at one moment.
pub type Picture = BTreeMap<Bytes, Bytes>;

/// Holds a picture of a range against the transactions that it shows something of. Keys that are ever removed are asked for
/// less: only that their value, when there is one, is not too old.
///
/// # Errors
///
/// A transaction of which a part is missing.
pub fn check(site: usize, records: &Records, range: &KeyRange, picture: &Picture) -> Result<(), Violation> {
    let shown = |key: &Bytes| Some(records.element_of(picture.get(key)?)?.dot);
    let mut judged: Vec<Dot> = Vec::new();
    for dot in picture.keys().filter_map(shown) {
        if judged.contains(&dot) {
            continue;
        }
        judged.push(dot);
        let Some(record) = records.get(dot) else { continue };
        for operation in &record.operations {
            let Operation::Put { key, .. } = operation else { continue };
            if !range.contains(key) {
                continue;
            }
            let is_torn = match shown(key) {
                Some(other) => records.is_before(other, dot),
                None => key.starts_with(NEVER_REMOVED),
            };
            if is_torn {
                let other = shown(key).map_or_else(|| "nothing".to_owned(), |other| other.to_string());
                let text = format!("a part of {dot} is seen, and of {key:?}, which it wrote, {other}");
                return Err(Violation::at(site, Claim::Atomicity, text));
            }
        }
    }
    Ok(())
}

/// Keys that are only ever put.
const NEVER_REMOVED: &[u8] = b"r/";

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Hlc, Record, RecordHeader, ReplicaId, VersionVector};

    use super::*;

    /// Two transactions of one author, each of which puts `r/1`, `r/2` and `k`.
    fn records() -> Records {
        let mut records = Records::default();
        let mut chain = Chain::BEGINNING;
        for seq in 1..=2 {
            let dot = Dot::new(ReplicaId::new(1).expect("not 0"), seq);
            let header = RecordHeader { dot, hlc: Hlc::from_millis(seq), context_delta: VersionVector::new(), chain };
            let put = |key: &'static str| {
                let value = Bytes::from(format!("{key}{seq}"));
                Operation::Put { key: key.into(), value, lease: None, supersedes: vec![] }
            };
            let (bytes, next) = Record { header, operations: ["r/1", "r/2", "k"].map(put).to_vec() }.encode(&chain);
            records.note(0, &bytes).expect("it follows");
            chain = next;
        }
        records
    }

    fn picture(pairs: &[(&'static str, &'static str)]) -> Picture {
        pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
    }

    fn judge(pairs: &[(&'static str, &'static str)]) -> bool {
        check(0, &records(), &KeyRange::all(), &picture(pairs)).is_ok()
    }

    #[test]
    fn a_transaction_is_seen_whole_or_not_at_all() {
        assert!(judge(&[]));
        assert!(judge(&[("r/1", "r/11"), ("r/2", "r/21"), ("k", "k1")]));
        assert!(judge(&[("r/1", "r/12"), ("r/2", "r/22"), ("k", "k2")]));
        assert!(!judge(&[("r/1", "r/12"), ("r/2", "r/21"), ("k", "k2")]), "r/2 is too old");
        assert!(!judge(&[("r/1", "r/11")]), "r/2 is missing");
    }

    #[test]
    fn what_may_have_been_removed_may_be_missing() {
        assert!(judge(&[("r/1", "r/12"), ("r/2", "r/22")]));
        assert!(!judge(&[("r/1", "r/12"), ("r/2", "r/22"), ("k", "k1")]));
    }

    #[test]
    fn only_the_range_counts() {
        let one = picture(&[("r/1", "r/12")]);
        assert!(check(0, &records(), &KeyRange::single("r/1".into()), &one).is_ok());
        assert!(check(0, &records(), &KeyRange::before("r/".into(), "r0".into()), &one).is_err());
    }
}
