//! The session guarantees of Terry and others (1994), for clients that move from site to site with what they have seen.
//!
//! They are judged from the records alone. What a client has seen are the records that its reads came from, and what happened
//! before those; what it wrote are its records. A site that answers it must have applied both, must not show it what happened
//! before something it has seen, and must write what it asks for after both.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Dot, VersionVector};

use super::{Claim, Violation, records::Records};

/// What one client has seen and done, wherever it was.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The records it read from, and what happened before them.
    seen: VersionVector,
    /// Its own records.
    written: VersionVector,
    /// The last record of each key that it read from or wrote.
    keys: BTreeMap<Bytes, Dot>,
    /// Moves to another site that it has made.
    moves: u64,
    site: Option<usize>,
}

impl Session {
    /// The client reads some keys at a site that has applied `applied`: monotonic reads, and read your writes.
    ///
    /// # Errors
    ///
    /// The site lacks something, or shows something older than what the client knows.
    pub fn read(
        &mut self,
        site: usize,
        records: &Records,
        applied: &VersionVector,
        shown: &[(Bytes, Option<Bytes>)],
    ) -> Result<(), Violation> {
        self.is_at(site);
        let lacks = |known: &VersionVector| known.iter().find(|dot| !applied.covers(*dot));
        if let Some(dot) = lacks(&self.written) {
            return Err(violation(site, format!("a client reads without its own write {dot}")));
        }
        if let Some(dot) = lacks(&self.seen) {
            return Err(violation(site, format!("a client reads without {dot}, which it has seen")));
        }
        for (key, value) in shown {
            let found = value.as_ref().and_then(|value| records.element_of(value)).map(|element| element.dot);
            if let Some(known) = self.keys.get(key) {
                match found {
                    Some(dot) if records.is_before(dot, *known) => {
                        let text =
                            format!("{key:?} is read from {dot}, and the client knows {known}, which came after");
                        return Err(violation(site, text));
                    }
                    None => return Err(violation(site, format!("{key:?} is gone, and the client knows {known}"))),
                    Some(_) => {}
                }
            }
            if let Some(dot) = found {
                self.see(records, dot);
                self.keys.insert(key.clone(), dot);
            }
        }
        Ok(())
    }

    /// The client's write of some keys was answered: monotonic writes, and writes follow reads.
    ///
    /// # Errors
    ///
    /// Its record does not come after everything that the client has seen and written.
    pub fn wrote(&mut self, site: usize, records: &Records, keys: &[(Bytes, Bytes)]) -> Result<(), Violation> {
        self.is_at(site);
        for (key, value) in keys {
            let Some(dot) = records.element_of(value).map(|element| element.dot) else { continue };
            let before = records.context(dot).cloned().unwrap_or_default();
            let lacks = |known: &VersionVector| known.iter().find(|known| *known != dot && !before.covers(*known));
            if let Some(earlier) = lacks(&self.written) {
                return Err(violation(site, format!("{dot} does not follow {earlier}, which its client wrote before")));
            }
            if let Some(seen) = lacks(&self.seen) {
                return Err(violation(site, format!("{dot} does not follow {seen}, which its client had seen")));
            }
            self.written.raise(dot.replica, dot.seq);
            self.keys.insert(key.clone(), dot);
        }
        Ok(())
    }

    /// Everything that it has seen or written.
    pub fn knows(&self) -> VersionVector {
        let mut known = self.seen.clone();
        known.join(&self.written);
        known
    }

    /// What it knew may be lost: it begins anew.
    pub fn begin_anew(&mut self) {
        *self = Self { moves: self.moves, site: self.site, ..Self::default() };
    }

    /// How often it went on at another site.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    fn see(&mut self, records: &Records, dot: Dot) {
        if let Some(context) = records.context(dot) {
            self.seen.join(context);
        }
        self.seen.raise(dot.replica, dot.seq);
    }

    fn is_at(&mut self, site: usize) {
        let before = self.site.replace(site);
        self.moves += u64::from(before.is_some_and(|before| before != site));
    }
}

fn violation(site: usize, text: String) -> Violation {
    Violation::at(site, Claim::Sessions, text)
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Hlc, Operation, Record, RecordHeader, ReplicaId};

    use super::*;

    fn dot(replica: u64, seq: u64) -> Dot {
        Dot::new(ReplicaId::new(replica).expect("not 0"), seq)
    }

    fn vector(dots: &[(u64, u64)]) -> VersionVector {
        dots.iter().map(|&(replica, seq)| dot(replica, seq)).collect()
    }

    /// `a` by 1, `b` by 2 after it, `c` by 3 beside both.
    fn records() -> Records {
        let mut records = Records::default();
        for (replica, value, context) in [(1, "a", &[][..]), (2, "b", &[(1, 1)][..]), (3, "c", &[][..])] {
            let header = RecordHeader {
                dot: dot(replica, 1),
                hlc: Hlc::from_millis(1),
                context_delta: vector(context),
                chain: Chain::BEGINNING,
            };
            let put = Operation::Put { key: "k".into(), value: value.into(), lease: None, supersedes: vec![] };
            let bytes = Record { header, operations: vec![put] }.encode(&Chain::BEGINNING).0;
            records.note(0, &bytes).expect("it is the first");
        }
        records
    }

    fn shown(value: &'static str) -> [(Bytes, Option<Bytes>); 1] {
        [("k".into(), Some(value.into()))]
    }

    #[test]
    fn a_site_must_have_applied_what_the_client_brings() {
        let records = records();
        let mut session = Session::default();
        session.read(0, &records, &vector(&[(1, 1), (2, 1)]), &shown("b")).expect("it has all");
        let lacking = session.clone().read(1, &records, &vector(&[(2, 1)]), &shown("b")).unwrap_err();
        assert!(lacking.text.contains("has seen"), "what b follows was seen with it: {lacking}");
        session.read(1, &records, &vector(&[(1, 1), (2, 1), (3, 1)]), &shown("c")).expect("c is beside b");
        assert_eq!(session.moves(), 1);
    }

    #[test]
    fn nothing_older_is_shown_and_nothing_vanishes() {
        let records = records();
        let applied = vector(&[(1, 1), (2, 1)]);
        let mut session = Session::default();
        session.read(0, &records, &applied, &shown("b")).expect("it has all");
        let older = session.clone().read(0, &records, &applied, &shown("a")).unwrap_err();
        assert!(older.text.contains("came after"), "{older}");
        assert!(session.read(0, &records, &applied, &[("k".into(), None)]).is_err());
    }

    #[test]
    fn writes_come_after_what_the_client_wrote_and_saw() {
        let records = records();
        let wrote = |value: &'static str| [(Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()))];
        let mut session = Session::default();
        session.wrote(0, &records, &wrote("a")).expect("it is the first");
        session.clone().wrote(1, &records, &wrote("b")).expect("it follows a");
        assert!(session.wrote(1, &records, &wrote("c")).is_err(), "c does not follow a");
        let mut reader = Session::default();
        reader.read(0, &records, &vector(&[(1, 1)]), &shown("a")).expect("it has all");
        assert!(reader.wrote(1, &records, &wrote("c")).is_err());
    }

    #[test]
    fn own_writes_are_read() {
        let records = records();
        let mut session = Session::default();
        session.wrote(0, &records, &[("k".into(), "a".into())]).expect("it is the first");
        let missing = session.read(1, &records, &vector(&[(3, 1)]), &shown("c")).unwrap_err();
        assert!(missing.text.contains("its own write"), "{missing}");
    }
}
