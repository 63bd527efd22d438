//! What was acknowledged to a client or told to a peer is there, after every crash and in the end everywhere.
//!
//! A disk that loses what it had synced takes what nobody else has along: that is lost for good, and nothing can be promised of it. What somebody
//! else has comes back, by the end.

use bytes::Bytes;
use tombolo_crdt::{Dot, VersionVector};

use super::{Claim, Violation, records::Records};

/// What one site has given its word for.
#[derive(Clone, Debug)]
pub struct Promises {
    site: usize,
    /// Values whose writes were acknowledged.
    acknowledged: Vec<Bytes>,
    /// Everything that peers were told is here.
    told: VersionVector,
    /// Everything that they were ever told, whatever the disk has lost since.
    ever_told: VersionVector,
    /// What the disk has lost and others have.
    due_back: VersionVector,
}

impl Promises {
    /// A site that has promised nothing.
    pub fn new(site: usize) -> Self {
        let none = VersionVector::new;
        Self { site, acknowledged: Vec::new(), told: none(), ever_told: none(), due_back: none() }
    }

    /// A client was answered that a value is written.
    pub fn acknowledged(&mut self, value: Bytes) {
        self.acknowledged.push(value);
    }

    /// Peers are told that the site has applied this, while it shows `published`.
    ///
    /// # Errors
    ///
    /// It is not all there, or was more once.
    pub fn told(&mut self, frontier: &VersionVector, published: &VersionVector) -> Result<(), Violation> {
        if let Some(dot) = frontier.iter().find(|dot| !published.covers(*dot)) {
            let text = format!("peers are told of {dot}, but the store stands at {published:?}");
            return Err(Violation::at(self.site, Claim::Durability, text));
        }
        self.told.join(frontier);
        self.ever_told.join(frontier);
        Ok(())
    }

    /// Whether peers were told, at some time, that this record is here.
    pub fn has_told(&self, dot: Dot) -> bool {
        self.ever_told.covers(dot)
    }

    /// The site's disk has lost what it stood for, and stands at `frontier` now. What others have is `left`.
    pub fn set_back(&mut self, frontier: &VersionVector, left: &VersionVector) {
        self.due_back.join(left);
        let left = self.told.iter().map(|dot| Dot::new(dot.replica, dot.seq.min(frontier.seq(dot.replica))));
        self.told = left.filter(|dot| dot.seq > 0).collect();
    }

    /// Some disk was lost, and `left` is what there is anywhere: an acknowledged write that is not in it had reached nobody else, and is gone. Returns how
    /// many were.
    pub fn forget_beyond(&mut self, records: &Records, left: &VersionVector) -> usize {
        let before = self.acknowledged.len();
        let is_left = |value: &Bytes| records.element_of(value).is_none_or(|element| left.covers_element(element));
        self.acknowledged.retain(is_left);
        before - self.acknowledged.len()
    }

    /// The site has been opened again, or the run is over.
    ///
    /// # Errors
    ///
    /// Something is missing.
    pub fn check(&self, records: &Records, frontier: &VersionVector) -> Result<(), Violation> {
        if let Some(dot) = self.told.iter().find(|dot| !frontier.covers(*dot)) {
            let text = format!("peers were told of {dot}, and it is gone: the store stands at {frontier:?}");
            return Err(Violation::at(self.site, Claim::Durability, text));
        }
        let mut expected = frontier.clone();
        expected.join(&self.due_back);
        self.check_acknowledged(records, &expected)
    }

    /// Holds the acknowledged writes against a frontier, of this site or of another one.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn check_acknowledged(&self, records: &Records, frontier: &VersionVector) -> Result<(), Violation> {
        for value in &self.acknowledged {
            match records.element_of(value) {
                Some(element) if frontier.covers_element(element) => {}
                found => {
                    let found = found.map_or_else(|| "no store has it".to_owned(), |at| format!("it was {}", at.dot));
                    let text = format!("{value:?} was acknowledged and is lost ({found}; {frontier:?})");
                    return Err(Violation::at(self.site, Claim::Durability, text));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Hlc, Operation, Record, RecordHeader, ReplicaId};

    use super::*;

    fn dot(seq: u64) -> Dot {
        Dot::new(ReplicaId::new(1).expect("not 0"), seq)
    }

    fn records() -> Records {
        let header = RecordHeader {
            dot: dot(1),
            hlc: Hlc::from_millis(1),
            context_delta: VersionVector::new(),
            chain: Chain::BEGINNING,
        };
        let put = Operation::Put { key: "k".into(), value: "v1".into(), lease: None, supersedes: vec![] };
        let mut records = Records::default();
        let bytes = Record { header, operations: vec![put] }.encode(&Chain::BEGINNING).0;
        records.note(0, &bytes).expect("it is the first");
        records
    }

    fn at(seq: u64) -> VersionVector {
        (seq > 0).then(|| dot(seq)).into_iter().collect()
    }

    #[test]
    fn an_acknowledged_write_must_be_covered() {
        let mut promises = Promises::new(0);
        promises.acknowledged("v1".into());
        assert_eq!(promises.check(&records(), &at(1)), Ok(()));
        assert!(promises.check(&records(), &at(0)).is_err());
        assert!(promises.check(&Records::default(), &at(1)).is_err());
    }

    #[test]
    fn a_lost_disk_takes_only_what_nobody_else_has() {
        let mut promises = Promises::new(0);
        promises.acknowledged("v1".into());
        promises.told(&at(1), &at(1)).expect("it is there");
        assert_eq!(promises.forget_beyond(&records(), &at(1)), 0);
        assert!(promises.check(&records(), &at(0)).is_err());
        promises.set_back(&at(0), &at(1));
        assert_eq!(promises.check(&records(), &at(0)), Ok(()), "somebody else has it");
        assert!(promises.check_acknowledged(&records(), &at(0)).is_err(), "it has to come back");
        assert_eq!(promises.forget_beyond(&records(), &at(0)), 1);
        assert_eq!(promises.check(&records(), &at(0)), Ok(()));
        assert!(promises.has_told(dot(1)), "it may still be under way");
    }

    #[test]
    fn what_peers_were_told_must_stay() {
        let mut promises = Promises::new(0);
        assert!(!promises.has_told(dot(1)));
        promises.told(&at(1), &at(1)).expect("it is there");
        assert!(promises.has_told(dot(1)) && !promises.has_told(dot(2)));
        assert_eq!(promises.check(&Records::default(), &at(2)), Ok(()));
        assert!(promises.check(&Records::default(), &at(0)).is_err());
        assert!(promises.told(&at(2), &at(1)).is_err(), "it is told ahead");
    }
}
