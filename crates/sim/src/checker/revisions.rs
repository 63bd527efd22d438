//! Revisions only grow, also over a crash: whatever a client has been told of is never taken back.

use tombolo_storage::Revision;

use super::{Claim, Violation};

/// The greatest revision that anyone was told of at one site.
#[derive(Clone, Copy, Debug)]
pub struct Revisions {
    site: usize,
    told: Revision,
}

impl Revisions {
    /// A site that begins at this revision.
    pub fn new(site: usize, beginning: Revision) -> Self {
        Self { site, told: beginning }
    }

    /// A client was told a revision in the answer to a write.
    pub fn told(&mut self, revision: Revision) {
        self.told = self.told.max(revision);
    }

    /// A client was told that this is the current revision.
    ///
    /// # Errors
    ///
    /// A greater one was told before.
    pub fn current(&mut self, revision: Revision, where_seen: &str) -> Result<(), Violation> {
        if revision < self.told {
            let text = format!("{where_seen} says revision {revision}, and {} was told before", self.told);
            return Err(Violation::at(self.site, Claim::Revisions, text));
        }
        self.told = revision;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tombolo_storage::Slot;

    use super::*;

    #[test]
    fn a_revision_that_sinks_is_found() {
        let beginning = Slot::FIRST.beginning();
        let next = beginning.next().expect("there is a next one");
        let mut revisions = Revisions::new(0, beginning);
        revisions.current(next, "a read").expect("it grows");
        revisions.current(next, "a read").expect("it stays");
        assert_eq!(revisions.current(beginning, "a reopened store").unwrap_err().claim, Claim::Revisions);
        let mut revisions = Revisions::new(0, beginning);
        revisions.told(next);
        assert!(revisions.current(beginning, "a reopened store").is_err());
    }
}
