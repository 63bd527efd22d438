//! The judge of a watch across a crash: two stretches of events must join without a gap and without a repeat.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use super::follower::Seen;

/// A write that the server acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) revision: i64,
}

/// Checks the events of a watch over all keys, those before the crash and those after, against what was acknowledged.
///
/// Every write of the demo takes one revision and this replica is alone, so every revision in between has its event.
pub(crate) fn check(before: &[Seen], after: &[Seen], acknowledged: &[Acknowledged]) -> Result<()> {
    let mut values = HashMap::new();
    let first = before.first().map_or(0, |event| event.revision);
    for (expected, event) in (first..).zip(before.iter().chain(after)) {
        ensure!(event.revision >= expected, "revision {} came again, or late", event.revision);
        ensure!(event.revision == expected, "the watch jumped from before {expected} to {}", event.revision);
        values.insert(event.revision, (event.key.as_str(), event.value.as_deref()));
    }
    for write in acknowledged {
        let event = values.get(&write.revision);
        let wanted = (write.key.as_str(), Some(write.value.as_str()));
        ensure!(
            event == Some(&wanted),
            "revision {} is {} to its writer and {event:?} to the watcher",
            write.revision,
            write.key
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Acknowledged, Seen, check};

    fn seen(revisions: impl IntoIterator<Item = i64>) -> Vec<Seen> {
        let event = |revision| Seen { revision, key: "k".to_owned(), value: Some(revision.to_string()) };
        revisions.into_iter().map(event).collect()
    }

    fn acknowledged(revision: i64) -> Vec<Acknowledged> {
        vec![Acknowledged { key: "k".to_owned(), value: revision.to_string(), revision }]
    }

    #[test]
    fn two_stretches_that_join_hold() {
        check(&seen(2..5), &seen(5..9), &acknowledged(6)).unwrap();
    }

    #[test]
    fn a_gap_a_repeat_and_a_lost_write_are_each_named() {
        let gap = check(&seen(2..5), &seen(6..9), &[]).unwrap_err().to_string();
        assert!(gap.contains("jumped from before 5 to 6"), "{gap}");
        let repeat = check(&seen(2..5), &seen(4..9), &[]).unwrap_err().to_string();
        assert!(repeat.contains("revision 4 came again"), "{repeat}");
        let lost = check(&seen(2..5), &seen(5..9), &acknowledged(9)).unwrap_err().to_string();
        assert!(lost.contains("revision 9"), "{lost}");
    }

    #[test]
    fn an_event_with_another_value_than_was_acknowledged_is_found() {
        let mut events = seen(2..5);
        events[1].value = None;
        assert!(check(&events, &[], &acknowledged(3)).is_err());
    }
}
