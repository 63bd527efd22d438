//! The stream of a removed site ends at one record, the same wherever it is asked, and nobody takes what comes after it.
//!
//! Fed with the roster that a site believes, and where the site stands. The end is where the removed one's entry was when some
//! site first held it to be complete: from then on it is so for ever and for everybody.

use std::collections::BTreeMap;

use tombolo_crdt::{ReplicaId, VersionVector};

use super::{Claim, Violation};

/// Where the streams of removed sites end.
#[derive(Debug, Default)]
pub struct Ends(BTreeMap<ReplicaId, (usize, u64)>);

impl Ends {
    /// A site that stands at `frontier` holds the stream of a removed one to be complete.
    ///
    /// # Errors
    ///
    /// Another site has another end of it.
    pub fn complete(&mut self, site: usize, removed: ReplicaId, frontier: &VersionVector) -> Result<(), Violation> {
        let seq = frontier.seq(removed);
        let (first, end) = *self.0.entry(removed).or_insert((site, seq));
        if end == seq {
            return Ok(());
        }
        let text = format!("the records of {removed} end with {seq} here, and with {end} at s{first}");
        Err(Violation::at(site, Claim::Membership, text))
    }

    /// A site that was not removed stands at `frontier`.
    ///
    /// # Errors
    ///
    /// It has taken something beyond an end.
    pub fn check(&self, site: usize, frontier: &VersionVector) -> Result<(), Violation> {
        let beyond = |(removed, (_, end)): &(&ReplicaId, &(usize, u64))| frontier.seq(**removed) > *end;
        match self.0.iter().find(beyond) {
            None => Ok(()),
            Some((removed, (first, end))) => {
                let seq = frontier.seq(*removed);
                let text = format!("record {seq} of {removed} was taken, which ended with {end}, as s{first} knows");
                Err(Violation::at(site, Claim::Membership, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    fn id() -> ReplicaId {
        ReplicaId::new(7).expect("not 0")
    }

    fn at(seq: u64) -> VersionVector {
        (seq > 0).then(|| Dot::new(id(), seq)).into_iter().collect()
    }

    #[test]
    fn an_end_is_the_same_everywhere_and_nobody_goes_beyond_it() {
        let mut ends = Ends::default();
        assert_eq!(ends.check(0, &at(9)), Ok(()), "nobody knows of an end");
        ends.complete(0, id(), &at(3)).expect("it is the first");
        ends.complete(1, id(), &at(3)).expect("it is the same");
        assert_eq!(ends.complete(2, id(), &at(2)).unwrap_err().claim, Claim::Membership);
        assert_eq!((ends.check(1, &at(2)), ends.check(1, &at(3))), (Ok(()), Ok(())));
        assert_eq!(ends.check(1, &at(4)).unwrap_err().site, Some(1));
    }
}
