//! A peer's claim against a replica's own records, marked in the folder by whoever runs there, for the next opening to act on.
//!
//! The mark is the file `DISPUTE`, written in one step. It names the replica whose records are disputed: once the folder is a successor's, it
//! says nothing any more.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use tombolo_crdt::{Dot, ReplicaId};

use crate::{
    IdentityLoss, OpenError,
    folder::{damaged, io_error},
    manifest,
};

const NAME: &str = "DISPUTE";
const TITLE: &str = "tombolo dispute";

/// A peer's claim that it has records of a replica which that one does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The replica whose records are disputed.
    pub replica: ReplicaId,
    /// The seq up to which its records are known to be those that everybody has; 0 when nothing is known.
    pub common: u64,
    /// The seq of the disputed record.
    pub seq: u64,
    /// Under which name the disputed record was written: the replica's, or one that it had before.
    pub stream: ReplicaId,
    /// Whether there is another record of that name, and not only more of them: then what is here is set aside.
    pub is_fork: bool,
    /// Who disputes it.
    pub by: ReplicaId,
    /// A revision that the replica may have given out before it forgot: its successor counts above it.
    pub above: i64,
}

impl Dispute {
    /// Marks a folder: the next opening finds the claim, and its replica's name is not used again. When this returns the mark is durable. Only
    /// whoever has the store open may do this.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn mark(&self, folder: &Path) -> io::Result<()> {
        let claim = self.with(Self::load(folder).ok().flatten());
        let draft = folder.join("DISPUTE.new");
        let mut file = File::create(&draft)?;
        file.write_all(claim.render().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    /// Of this claim and one that was marked before, the worse.
    pub(crate) fn with(&self, before: Option<Self>) -> Self {
        let mut claim = self.clone();
        if let Some(before) = before.filter(|before| before.replica == self.replica) {
            claim.common = claim.common.min(before.common);
            claim.above = claim.above.max(before.above);
            claim.is_fork |= before.is_fork;
        }
        claim
    }

    /// The mark of a folder, if it has one.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, OpenError> {
        match fs::read_to_string(folder.join(NAME)) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| damaged(format!("{NAME} is not readable"))),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(io_error("read", folder, NAME)(why)),
        }
    }

    pub(crate) fn loss(&self) -> IdentityLoss {
        IdentityLoss::Disputed { dot: Dot::new(self.stream, self.seq), by: self.by }
    }

    fn render(&self) -> String {
        let Self { replica, common, seq, stream, is_fork, by, above } = self;
        let text = format!(
            "{TITLE}\nformat 1\nreplica {:016x}\ncommon {common}\nseq {seq}\nstream {:016x}\nfork {}\nby {:016x}\nabove {above}\n",
            replica.get(),
            stream.get(),
            u8::from(*is_fork),
            by.get(),
        );
        manifest::sealed(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = manifest::unsealed(text)?.strip_prefix(TITLE)?;
        let number = |name| manifest::field(text, name).and_then(|value| value.parse::<u64>().ok());
        let replica = |name| manifest::replica(manifest::field(text, name)?);
        (number("format")? == 1).then_some(())?;
        Some(Self {
            replica: replica("replica")?,
            common: number("common")?,
            seq: number("seq").filter(|seq| *seq > 0)?,
            stream: replica("stream")?,
            is_fork: number("fork")? == 1,
            by: replica("by")?,
            above: i64::try_from(number("above")?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(common: u64, above: i64) -> Dispute {
        let id = |bits| ReplicaId::new(bits).unwrap();
        Dispute { replica: id(7), common, seq: 9, stream: id(7), is_fork: false, by: id(8), above }
    }

    #[test]
    fn of_two_marks_the_worse_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Dispute::load(folder.path()).unwrap(), None);
        claim(5, 10).mark(folder.path()).unwrap();
        claim(8, 20).mark(folder.path()).unwrap();
        assert_eq!(Dispute::load(folder.path()).unwrap(), Some(claim(5, 20)));
        // A claim against somebody else has nothing to do with it.
        let other = Dispute { replica: ReplicaId::new(1).unwrap(), ..claim(9, 1) };
        other.mark(folder.path()).unwrap();
        assert_eq!(Dispute::load(folder.path()).unwrap(), Some(other));
    }

    #[test]
    fn no_changed_byte_is_taken_for_a_mark() {
        let folder = tempfile::tempdir().unwrap();
        claim(5, 10).mark(folder.path()).unwrap();
        let text = fs::read(folder.path().join(NAME)).unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            fs::write(folder.path().join(NAME), changed).unwrap();
            assert!(Dispute::load(folder.path()).is_err(), "byte {at}");
        }
    }
}
