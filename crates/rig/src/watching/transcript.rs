//! What the watchers of one stream were told, in the form in which two servers can be compared.
//!
//! The events of a watcher are concatenated: how a server groups them into responses is its own affair, but for the rules
//! that [`check`] holds it to. Revisions in headers of events are not compared, for they depend on when a watcher caught
//! up; nor is the header of a cancellation by compaction, which etcd leaves at 0. A watcher that was refused has no id: old etcds give it the one that was
//! asked for, new ones -1.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tombolo_proto::{etcdserverpb::WatchResponse, mvccpb::Event};

/// The story of each watcher of a stream, by id.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Transcript {
    watchers: BTreeMap<i64, Vec<Entry>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Entry {
    Created {
        revision: i64,
    },
    Refused {
        revision: i64,
        reason: String,
    },
    Told(String),
    Cancelled {
        reason: String,
    },
    Compacted {
        revision: i64,
        reason: String,
    },
    /// The stream has told everything up to here.
    Progress {
        revision: i64,
    },
}

impl Transcript {
    /// Sorts the responses of one stream by watcher.
    #[must_use]
    pub fn of(responses: &[WatchResponse]) -> Self {
        let mut transcript = Self::default();
        transcript.add(responses);
        transcript
    }

    /// Goes on with what was said since.
    pub fn add(&mut self, responses: &[WatchResponse]) {
        for response in responses {
            let is_refused = response.created && response.canceled;
            let id = if is_refused { NONE } else { response.watch_id };
            let entries = self.watchers.entry(id).or_default();
            let revision = response.header.as_ref().map_or(0, |header| header.revision);
            let reason = reason(&response.cancel_reason);
            match (response.created, response.canceled, response.compact_revision) {
                (true, true, _) => entries.push(Entry::Refused { revision, reason }),
                (true, false, _) => entries.push(Entry::Created { revision }),
                (false, true, 0) => entries.push(Entry::Cancelled { reason }),
                (false, true, revision) => entries.push(Entry::Compacted { revision, reason }),
                (false, false, _) if id == NONE => entries.push(Entry::Progress { revision }),
                (false, false, _) => (),
            }
            entries.extend(response.events.iter().map(|event| Entry::Told(text(event))));
        }
    }

    /// Watchers that were created and not cancelled, oldest id first.
    pub fn alive(&self) -> impl Iterator<Item = i64> + '_ {
        let is_alive = |entries: &[Entry]| {
            let last = entries.iter().rev().find(|entry| !matches!(entry, Entry::Told(_)));
            matches!(last, Some(Entry::Created { .. }))
        };
        self.watchers.iter().filter(move |(_, entries)| is_alive(entries)).map(|(id, _)| *id)
    }

    /// Whether the stream's first watcher, the rig's own, was told of `revision`.
    #[must_use]
    pub fn has_told(&self, revision: i64) -> bool {
        let needle = format!("mod_revision: {revision},");
        let sentinel = self.watchers.iter().find(|(id, _)| **id >= 0);
        sentinel.is_some_and(|(_, entries)| {
            entries.iter().rev().any(|entry| matches!(entry, Entry::Told(event) if event.contains(&needle)))
        })
    }

    /// Watchers created, events told, watchers cancelled by the server, watchers refused.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let count = |wanted: fn(&Entry) -> bool| self.watchers.values().flatten().filter(|entry| wanted(entry)).count();
        (
            count(|entry| matches!(entry, Entry::Created { .. })),
            count(|entry| matches!(entry, Entry::Told(_))),
            count(|entry| matches!(entry, Entry::Compacted { .. })),
            count(|entry| matches!(entry, Entry::Refused { .. })),
        )
    }
}

/// The id that stands for the stream itself.
const NONE: i64 = -1;

/// Why a watcher ended. Early releases of etcd 3.5 said nothing but that something is not permitted, to nobody too.
fn reason(told: &str) -> String {
    told.replace(
        "code = InvalidArgument desc = etcdserver: user name is empty",
        "code = PermissionDenied desc = etcdserver: permission denied",
    )
}

/// An event as text, with the length and a sum in the place of a large value.
fn text(event: &Event) -> String {
    let mut event = event.clone();
    for kv in event.kv.iter_mut().chain(&mut event.prev_kv) {
        if kv.value.len() > LARGE_BYTES {
            let sum = kv.value.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            kv.value = format!("{} bytes {sum:x}", kv.value.len()).into();
        }
    }
    format!("{event:?}")
}

const LARGE_BYTES: usize = 10_000;

/// The rules of a stream that need no second server.
///
/// # Errors
///
/// Naming the first response that breaks one.
pub fn check(responses: &[WatchResponse]) -> Result<()> {
    let mut told: BTreeMap<i64, (i64, bool)> = BTreeMap::new();
    for response in responses {
        let header = response.header.as_ref().map_or(0, |header| header.revision);
        if response.created {
            ensure!(
                !response.canceled || response.events.is_empty(),
                "a refused watcher was told events: {response:?}"
            );
            if !response.canceled {
                told.insert(response.watch_id, (0, false));
            }
            continue;
        }
        if response.events.is_empty() {
            continue;
        }
        let Some((last, in_fragment)) = told.get_mut(&response.watch_id) else {
            anyhow::bail!("events before `created`: {response:?}");
        };
        for (index, event) in response.events.iter().enumerate() {
            let revision = revision_of(event);
            let continues = revision == *last && (index > 0 || *in_fragment);
            ensure!(revision > *last || continues, "revision {revision} after {last}: {response:?}");
            ensure!(revision <= header, "header {header} below an event of {revision}: {response:?}");
            *last = revision;
        }
        *in_fragment = response.fragment;
    }
    Ok(())
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

#[cfg(test)]
mod tests {
    use tombolo_proto::{
        etcdserverpb::{ResponseHeader, WatchResponse},
        mvccpb::{Event, KeyValue},
    };

    use super::{Transcript, check};

    fn created() -> WatchResponse {
        WatchResponse { created: true, ..told(&[]) }
    }

    fn told(revisions: &[i64]) -> WatchResponse {
        let event = |revision: &i64| Event {
            kv: Some(KeyValue { mod_revision: *revision, ..Default::default() }),
            ..Default::default()
        };
        WatchResponse {
            header: Some(ResponseHeader { revision: 100, ..Default::default() }),
            events: revisions.iter().map(event).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn grouping_does_not_matter_and_content_does() {
        let of = |responses: &[WatchResponse]| Transcript::of(responses);
        assert_eq!(of(&[created(), told(&[2, 3]), told(&[4])]), of(&[created(), told(&[2]), told(&[3, 4])]));
        assert_ne!(of(&[created(), told(&[2, 3])]), of(&[created(), told(&[2])]));
        assert_ne!(of(&[created(), told(&[2, 3])]), of(&[created(), told(&[3, 2])]));
    }

    #[test]
    fn a_revision_is_never_split_repeated_or_told_too_early() {
        assert!(check(&[created(), told(&[2, 2]), told(&[3])]).is_ok());
        assert!(check(&[created(), told(&[2, 2]), told(&[2])]).is_err());
        assert!(check(&[created(), told(&[3]), told(&[2])]).is_err());
        assert!(check(&[created(), told(&[101])]).is_err());
        assert!(check(&[told(&[2]), created()]).is_err());
        let fragment = WatchResponse { fragment: true, ..told(&[2]) };
        assert!(check(&[created(), fragment, told(&[2])]).is_ok());
    }

    #[test]
    fn a_cancelled_watcher_is_not_alive() {
        let cancelled = WatchResponse { canceled: true, ..told(&[]) };
        assert_eq!(Transcript::of(&[created(), told(&[2])]).alive().count(), 1);
        assert_eq!(Transcript::of(&[created(), cancelled]).alive().count(), 0);
    }
}
