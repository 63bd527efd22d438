//! Holds the notes of all writers and watchers against what every site says it has.
//!
//! Pure: evidence in, faults out, so that each fault is proved to be found by forging it. The own put of a write can lose
//! against no other, so each history shows it exactly once; its place there is the place of the write. Program order and
//! what was read then give the order that every history must respect.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use bytes::Bytes;
use tombolo_proto::mvccpb::{Event, event::EventType};

use super::ledger::{Attempt, Ledger};
use crate::kill::{
    history::{Evidence, revision_of},
    verdict::{Fault as StreamFault, Told, streams},
};

/// What one site says, and what was told there.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Its state and its history.
    pub evidence: Evidence,
    /// What its watchers were told.
    pub told: Vec<Told>,
    /// Its history as it was read the last time.
    pub before: Vec<Event>,
    /// Records of its own that the mesh knows.
    pub records: u64,
}

/// Something that must not be, at a site.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the variants are explained, and their fields are sites, revisions, keys and values")]
pub enum Fault {
    /// A stream or the state contradicts the site's own history.
    Stream { site: usize, fault: StreamFault },
    /// The history jumps over a revision.
    Gap { site: usize, after: i64, revision: i64 },
    /// An acknowledged write is not in the history.
    Lost { site: usize, value: Bytes },
    /// A write is in the history of some sites alone.
    Partial { site: usize, value: Bytes },
    /// A write is in the history twice.
    Repeated { site: usize, value: Bytes },
    /// Its own site shows a write at another revision than the acknowledged one.
    Moved { site: usize, acknowledged: i64, found: i64 },
    /// A revision holds parts of several writes, or at the writer's site not all of one.
    Torn { site: usize, revision: i64, value: Bytes },
    /// A value that nobody wrote, or not to this key, or a deletion of a key that nobody deletes.
    Unknown { site: usize, key: Bytes, value: Bytes },
    /// A write is shown before one that its writer had made or read before.
    EffectFirst { site: usize, effect: Bytes, cause: Bytes },
    /// Sites that have converged show different values.
    Differs { site: usize, key: Bytes },
    /// The mesh knows fewer records of a site than the site acknowledged: a dot was used twice.
    DotsMissing { site: usize, records: u64, acknowledged: usize },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

/// Where a site's history shows a write: the index of the event, and the revision.
type Places<'a> = HashMap<&'a Bytes, (usize, i64)>;

/// Every fault in the evidence of sites that have converged, and how many puts lost against concurrent ones somewhere.
#[must_use]
pub fn judge(ledger: &Ledger, sites: &[Site]) -> (Vec<Fault>, usize) {
    let (mut faults, mut beaten) = (Vec::new(), 0);
    let mut places = Vec::new();
    for (number, site) in sites.iter().enumerate() {
        let mut of_streams = Vec::new();
        streams(&site.evidence, &site.told, &site.before, ledger.seen_revisions[number], &mut of_streams);
        faults.extend(of_streams.into_iter().map(|fault| Fault::Stream { site: number, fault }));
        gaps(number, &site.evidence.history, &mut faults);
        places.push(writes(ledger, number, &site.evidence.history, &mut faults, &mut beaten));
        let acknowledged = ledger.acknowledged_by(number);
        if site.records < acknowledged as u64 {
            faults.push(Fault::DotsMissing { site: number, records: site.records, acknowledged });
        }
    }
    for (site, places) in places.iter().enumerate() {
        for attempt in ledger.attempts.values() {
            place(site, attempt, places, &mut faults);
        }
    }
    partial(ledger, &places, &mut faults);
    differences(sites, &mut faults);
    (faults, beaten)
}

fn gaps(site: usize, history: &[Event], faults: &mut Vec<Fault>) {
    for pair in history.windows(2) {
        let (after, revision) = (revision_of(&pair[0]), revision_of(&pair[1]));
        if revision > after + 1 {
            faults.push(Fault::Gap { site, after, revision });
        }
    }
}

/// Each revision shows one write, as much of it as won; at its own site that is all.
fn writes<'a>(
    ledger: &'a Ledger,
    site: usize,
    history: &[Event],
    faults: &mut Vec<Fault>,
    beaten: &mut usize,
) -> Places<'a> {
    let mut places = Places::new();
    let mut at = 0;
    for group in history.chunk_by(|left, right| revision_of(left) == revision_of(right)) {
        let (first, revision) = (at, revision_of(&group[0]));
        at += group.len();
        let mut author: Option<&Attempt> = None;
        let mut shown = 0;
        let deleted = group.iter().filter(|event| event.r#type() == EventType::Delete);
        let wrongly = deleted.filter_map(|event| event.kv.as_ref()).filter(|pair| !is_fleeting(&pair.key));
        faults.extend(wrongly.map(|pair| Fault::Unknown { site, key: pair.key.clone(), value: Bytes::new() }));
        for pair in group.iter().filter(|event| event.r#type() == EventType::Put).filter_map(|event| event.kv.as_ref())
        {
            let known = ledger.attempts.get(&pair.value).filter(|attempt| attempt.may_have_put(&pair.key));
            let Some(attempt) = known else {
                faults.push(Fault::Unknown { site, key: pair.key.clone(), value: pair.value.clone() });
                continue;
            };
            if is_fleeting(&pair.key) {
                continue;
            }
            if author.is_some_and(|author| author.value != attempt.value) {
                faults.push(Fault::Torn { site, revision, value: attempt.value.clone() });
            }
            shown += usize::from(attempt.own != pair.key);
            author = Some(attempt);
            if attempt.own == pair.key && places.insert(&attempt.value, (first, revision)).is_some() {
                faults.push(Fault::Repeated { site, value: attempt.value.clone() });
            }
        }
        let Some(author) = author else { continue };
        *beaten += author.shared.len().saturating_sub(shown);
        let is_whole = places.get(&author.value).is_some_and(|(place, _)| *place == first)
            && (author.site != site || shown == author.shared.len());
        if !is_whole {
            faults.push(Fault::Torn { site, revision, value: author.value.clone() });
        }
    }
    places
}

/// An acknowledged write is there, at its own site with its revision, and behind its causes.
fn place(site: usize, attempt: &Attempt, places: &Places<'_>, faults: &mut Vec<Fault>) {
    let Some((place, revision)) = places.get(&attempt.value) else {
        if attempt.acknowledged.is_some() {
            faults.push(Fault::Lost { site, value: attempt.value.clone() });
        }
        return;
    };
    if let Some(acknowledged) = attempt.acknowledged
        && attempt.site == site
        && acknowledged != *revision
    {
        faults.push(Fault::Moved { site, acknowledged, found: *revision });
    }
    for cause in attempt.after.iter().chain(&attempt.saw) {
        if places.get(cause).is_none_or(|(cause, _)| cause >= place) {
            faults.push(Fault::EffectFirst { site, effect: attempt.value.clone(), cause: cause.clone() });
        }
    }
}

/// What was not acknowledged may be there or not, but at all sites alike.
fn partial(ledger: &Ledger, places: &[Places<'_>], faults: &mut Vec<Fault>) {
    for attempt in ledger.attempts.values().filter(|attempt| attempt.acknowledged.is_none()) {
        let is_somewhere = places.iter().any(|places| places.contains_key(&attempt.value));
        let missing = places.iter().position(|places| !places.contains_key(&attempt.value));
        if let (true, Some(site)) = (is_somewhere, missing) {
            faults.push(Fault::Partial { site, value: attempt.value.clone() });
        }
    }
}

/// Every site shows the same keys with the same values.
fn differences(sites: &[Site], faults: &mut Vec<Fault>) {
    let content = |site: &Site| -> BTreeMap<Bytes, Bytes> {
        site.evidence.state.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
    };
    let Some(first) = sites.first().map(content) else { return };
    for (number, site) in sites.iter().enumerate().skip(1) {
        let here = content(site);
        let differs = |key: &&Bytes| first.get(*key) != here.get(*key);
        let key = first.keys().find(differs).or_else(|| here.keys().find(differs));
        faults.extend(key.map(|key| Fault::Differs { site: number, key: key.clone() }));
    }
}

impl Attempt {
    fn may_have_put(&self, key: &Bytes) -> bool {
        *key == self.own || self.shared.contains(key) || is_fleeting(key)
    }
}

fn is_fleeting(key: &Bytes) -> bool {
    key.starts_with(b"fleeting/")
}

#[cfg(test)]
mod tests;
