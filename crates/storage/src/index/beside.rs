//! An index made beside the running one, to take its place: so that a change of a million keys does not stop those who change one.
//!
//! The keys are copied in stretches, each under a short lock. The running index takes note of what changes meanwhile, and whoever makes
//! the other brings those keys up to date, over and over, until few enough are left for a last time during which nothing changes. Leases
//! are not copied: those of the running index stay, and take up what has come.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Index, Keys, own_key};

impl Index {
    /// An empty index that can take this one's place. From now on this one takes note of what changes.
    pub(crate) fn beside(&mut self) -> Self {
        self.touched = Some(HashSet::new());
        Self { keys: Keys::seeded(self.keys.seed()), ..Self::default() }
    }

    /// Copies up to `count` keys above `after` of the running index. Returns the last one, if there may be more.
    pub(crate) fn copy(&mut self, running: &Self, after: Option<&[u8]>, count: usize) -> Option<Bytes> {
        self.keys.copy(&running.keys, after, count).map(|last| own_key(&last))
    }

    /// The keys that were changed since this was last asked.
    pub(crate) fn take_touched(&mut self) -> HashSet<Bytes> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no further note of what changes.
    pub(crate) fn leave_alone(&mut self) {
        self.touched = None;
    }

    /// Takes the place of the running index, and returns that one. O(leases that have come, and what is attached to them).
    pub(crate) fn replace(mut self, running: &mut Self) -> Self {
        self.touched = None;
        self.range_removals = std::mem::take(&mut running.range_removals);
        let gone = std::mem::replace(&mut self.departed, std::mem::take(&mut running.departed));
        gone.into_gone().for_each(|gone| self.departed.note(gone));
        let come = std::mem::replace(&mut self.leases, std::mem::take(&mut running.leases));
        self.homes = std::mem::take(&mut running.homes);
        for (lease, entry) in come {
            for (element, grant) in entry.grants {
                self.grant(lease, element, grant);
            }
            let attached = &mut self.leases.entry(lease).or_default().attached;
            if attached.is_empty() {
                *attached = entry.attached;
            } else {
                attached.extend(entry.attached);
            }
            self.forget_lease_if_empty(lease);
        }
        std::mem::replace(running, self)
    }

    pub(super) fn note_touch(&mut self, key: &[u8]) {
        if let Some(touched) = &mut self.touched {
            touched.insert(own_key(key));
        }
    }
}
