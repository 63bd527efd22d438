//! The judge: what the watchers of all sites saw, and what every site holds at the end, against what was acknowledged.
//!
//! Pure: evidence in, the first thing wrong out, so that each is proved to be found by forging it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::{acknowledged::Acknowledged, follower::Seen};

/// Where every write has a key of its own, so that none can supersede another.
pub(crate) const OWN_KEYS: &str = "/log/";

/// Checks all that one site's watcher was told, over all its connections.
///
/// Every write of the demo is about one key, so every revision of a site has one event, and the writes of one writer
/// come in the order in which it made them.
pub(crate) fn stream(site: usize, seen: &[Seen], acknowledged: &[Acknowledged]) -> Result<()> {
    let first = seen.first().map_or(0, |event| event.revision);
    let mut told = HashMap::new();
    for (expected, event) in (first..).zip(seen) {
        ensure!(event.revision >= expected, "revision {} came again, or late", event.revision);
        ensure!(event.revision == expected, "the watch jumped from before {expected} to {}", event.revision);
        told.insert(event.revision, event);
    }
    for write in acknowledged.iter().filter(|write| write.site == site) {
        let event = told.get(&write.revision);
        let is_it = event.is_some_and(|event| event.key == write.key && event.value.as_ref() == Some(&write.value));
        let revision = write.revision;
        ensure!(is_it, "revision {revision} is {} to its writer and {event:?} to the watcher", write.key);
    }
    each_once_and_in_order(seen, acknowledged)
}

fn each_once_and_in_order(seen: &[Seen], acknowledged: &[Acknowledged]) -> Result<()> {
    let mut places = HashMap::new();
    for (place, event) in seen.iter().enumerate().filter(|(_, event)| event.key.starts_with(OWN_KEYS)) {
        let before = places.insert(event.key.as_str(), (place, event.value.as_deref()));
        ensure!(before.is_none(), "{} was told twice", event.key);
    }
    let mut newest: HashMap<&str, (usize, &str)> = HashMap::new();
    // The notes of one writer are in the order of its writes.
    for write in acknowledged.iter().filter(|write| write.key.starts_with(OWN_KEYS)) {
        let (place, value) = places.get(write.key.as_str()).with_context(|| format!("{} was never told", write.key))?;
        ensure!(*value == Some(write.value.as_str()), "{} was told as {value:?}", write.key);
        let writer = write.key.rsplit_once('/').map_or("", |(writer, _)| writer);
        if let Some((before, key)) = newest.insert(writer, (*place, &write.key)) {
            ensure!(before < *place, "{} was told before {key}, which is its cause", write.key);
        }
    }
    Ok(())
}

/// Of these acknowledged writes, those that a site does not hold. `held` is its content below the keys of their own.
pub(crate) fn lost<'a>(acknowledged: &'a [Acknowledged], held: &HashMap<String, String>) -> Vec<&'a Acknowledged> {
    let is_own = |write: &&Acknowledged| write.key.starts_with(OWN_KEYS);
    acknowledged.iter().filter(is_own).filter(|write| held.get(&write.key) != Some(&write.value)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Acknowledged, Seen, lost, stream};

    fn key(number: i64) -> String {
        format!("/log/ship/0/{number:06}")
    }

    fn write(number: i64) -> Acknowledged {
        Acknowledged { site: 1, key: key(number), value: number.to_string(), revision: number }
    }

    fn seen(revision: i64, number: i64) -> Seen {
        Seen { revision, key: key(number), value: Some(number.to_string()) }
    }

    fn complaint(site: usize, seen: &[Seen], acknowledged: &[Acknowledged]) -> String {
        stream(site, seen, acknowledged).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_stream_holds_at_the_site_of_the_writer_and_elsewhere() {
        let writes = [write(2), write(3), write(4)];
        stream(1, &[seen(2, 2), seen(3, 3), seen(4, 4)], &writes).unwrap();
        stream(0, &[seen(70, 2), seen(71, 3), seen(72, 4)], &writes).unwrap();
    }

    #[test]
    fn a_gap_and_a_repeat_are_each_named() {
        let gap = complaint(1, &[seen(2, 2), seen(4, 4)], &[]);
        assert!(gap.contains("jumped from before 3 to 4"), "{gap}");
        let repeat = complaint(1, &[seen(2, 2), seen(3, 3), seen(3, 3)], &[]);
        assert!(repeat.contains("revision 3 came again"), "{repeat}");
        let twice = complaint(0, &[seen(2, 2), seen(3, 2)], &[]);
        assert!(twice.contains("told twice"), "{twice}");
    }

    #[test]
    fn a_write_that_the_watcher_was_not_told_of_is_named_on_every_site() {
        let own = complaint(1, &[seen(2, 2), seen(3, 3)], &[write(2), write(3), write(4)]);
        assert!(own.contains("revision 4"), "{own}");
        let other = complaint(0, &[seen(70, 2), seen(71, 3)], &[write(2), write(3), write(4)]);
        assert!(other.contains("000004 was never told"), "{other}");
    }

    #[test]
    fn an_effect_before_its_cause_is_named() {
        let complaint = complaint(0, &[seen(70, 3), seen(71, 2)], &[write(2), write(3)]);
        assert!(complaint.contains("000003 was told before"), "{complaint}");
    }

    #[test]
    fn another_value_than_was_acknowledged_is_found() {
        let mut events = [seen(70, 2), seen(71, 3)];
        events[1].value = None;
        assert!(stream(0, &events, &[write(2), write(3)]).is_err());
        assert!(stream(1, &[seen(2, 3)], &[write(2)]).is_err());
    }

    #[test]
    fn what_a_site_does_not_hold_is_lost() {
        let held = HashMap::from([(key(2), "2".to_owned()), (key(3), "another".to_owned())]);
        let writes = [write(2), write(3), write(4)];
        assert_eq!(lost(&writes, &held), [&writes[1], &writes[2]]);
    }
}
