//! A table whose keys are never given out twice: what names an entry that is gone finds nothing, ever.
//!
//! Finding an entry costs an array access, not a hash: dispatch does it for every watcher an event concerns.

/// Names one entry. Keys of one table order by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotKey {
    serial: u64,
    place: usize,
}

/// Entries by [`SlotKey`].
pub(crate) struct Slots<T> {
    entries: Vec<Option<(u64, T)>>,
    free: Vec<usize>,
    next_serial: u64,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), next_serial: 1 }
    }

    pub(crate) fn insert(&mut self, value: T) -> SlotKey {
        let serial = self.next_serial;
        self.next_serial += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place] = Some((serial, value));
                place
            }
            None => {
                self.entries.push(Some((serial, value)));
                self.entries.len() - 1
            }
        };
        SlotKey { serial, place }
    }

    pub(crate) fn get(&self, key: SlotKey) -> Option<&T> {
        match self.entries.get(key.place)? {
            Some((serial, value)) if *serial == key.serial => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: SlotKey) -> Option<&mut T> {
        match self.entries.get_mut(key.place)? {
            Some((serial, value)) if *serial == key.serial => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: SlotKey) -> Option<T> {
        self.get(key)?;
        let (_, value) = self.entries[key.place].take()?;
        self.free.push(key.place);
        Some(value)
    }

    /// All entries, in no order that matters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotKey, &T)> {
        let named = |(place, entry): (usize, &'_ Option<(u64, T)>)| {
            entry.as_ref().map(|(serial, _)| SlotKey { serial: *serial, place })
        };
        let keys = self.entries.iter().enumerate().filter_map(named);
        keys.filter_map(|key| Some((key, self.get(key)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_removed_entry_does_not_find_its_successor() {
        let mut slots = Slots::new();
        let first = slots.insert("a");
        assert_eq!(slots.remove(first), Some("a"));
        let second = slots.insert("b");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"b"));
        assert!(first < second);
        assert_eq!(slots.len(), 1);
    }
}
