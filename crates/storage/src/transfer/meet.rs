//! Whether two replicas hold the same of what both have applied, although each has applied more.
//!
//! One says where it stands. The other answers with the meet of both frontiers and its digest there; the first makes its own of the same cut, and
//! compares. Nothing is held on to, and what is written meanwhile does no harm. It says whether, and not where: that is for an
//! [`Examination`](super::Examination), which needs both at one frontier.

use bytes::Bytes;
use tombolo_crdt::VersionVector;

use super::{
    Refusal, TransferFault,
    body::{Ask, Page},
};
use crate::{ReadError, Store};

/// A comparison that was asked for.
pub struct Meet {
    store: Store,
    frontier: VersionVector,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// Both hold the same.
    Same,
    /// They do not.
    Differs {
        /// Where both were compared.
        cut: VersionVector,
        /// The digest here.
        own: u128,
        /// The digest there.
        theirs: u128,
    },
    /// What both have lies further back than one of them can tell.
    OutOfReach,
}

impl Meet {
    /// A comparison of this store as far as it stands now.
    pub fn of(store: &Store) -> Self {
        Self { frontier: store.frontier(), store: store.clone() }
    }

    /// What is to be sent; its answer goes to [`take`](Self::take).
    pub fn ask(&self) -> Bytes {
        Ask::Meet(self.frontier.clone()).encode()
    }

    /// Takes the answer, and compares. It reads the log from the meet on.
    ///
    /// # Errors
    ///
    /// The provider refuses, or says what answers nothing that was asked; a row of this store cannot be read.
    pub fn take(self, page: Bytes) -> Result<Met, TransferFault> {
        let (cut, theirs) = match Page::decode(page)? {
            Page::Meet { cut, digest } if self.frontier.includes(&cut) => (cut, digest),
            Page::Refusal(Refusal::OutOfReach) => return Ok(Met::OutOfReach),
            Page::Refusal(why) => return Err(TransferFault::Refused(why)),
            _ => return Err(TransferFault::WrongAnswer),
        };
        Ok(match self.store.digest_at(&cut)? {
            None => Met::OutOfReach,
            Some(own) if own == theirs => Met::Same,
            Some(own) => Met::Differs { cut, own, theirs },
        })
    }
}

/// What is answered to somebody who stands at `frontier`.
pub(super) fn page(store: &Store, frontier: &VersionVector) -> Result<Page, ReadError> {
    let cut = store.frontier().meet(frontier);
    // Of nothing at all there is nothing to compare.
    let digest = if cut.is_empty() { None } else { store.digest_at(&cut)? };
    Ok(digest.map_or(Page::Refusal(Refusal::OutOfReach), |digest| Page::Meet { cut, digest }))
}
