//! Where two replicas differ that have applied the same records and hold different data.
//!
//! An examination asks what a transfer asks, of the same [`Provider`](super::Provider), and takes nothing: it compares the live elements of
//! two moments range by range, and so finds one of millions with a few dozen kilobytes. It says where to look, and not who is right.

use bytes::Bytes;
use tombolo_crdt::VersionVector;

use super::{
    ElementRange, TransferFault,
    body::{Ask, Half, Page},
    compare::{Comparison, Question},
    header::Header,
    list::{Listed, Moment},
};
use crate::{ReadError, Store};

/// A comparison of one moment of a store with one of a peer's. Holds no connection, and asks one thing at a time.
pub struct Examination {
    vector: VersionVector,
    own: Vec<Listed>,
    step: Step,
}

enum Step {
    Opening,
    Comparing { snapshot: u64, comparison: Box<Comparison>, asked: Option<Question> },
    Over { snapshot: u64, found: Examined },
}

/// What an examination came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Examined {
    /// One of the two had applied other records than the other by the time it was asked: nothing can be said.
    Apart,
    /// Both hold the same.
    Same,
    /// They do not.
    Differs(Disagreement),
}

/// In what two replicas differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The first range of elements that is not the same. Of what is there alone the bounds may be those of what is told about as a whole.
    pub first: ElementRange,
    /// Elements that are here alone.
    pub only_here: u64,
    /// Elements that are there alone.
    pub only_there: u64,
    /// Elements that hold something else here than there.
    pub differing: u64,
}

impl Examination {
    /// Begins with what is published now: half a microsecond for each key, in stretches.
    ///
    /// # Errors
    ///
    /// This store's own elements do not add up to its digest, or cannot be read: the fault is here.
    pub fn begin(store: &Store) -> Result<Self, ReadError> {
        let Moment { vector, elements, .. } = Moment::of(store)?;
        Ok(Self { vector, own: elements, step: Step::Opening })
    }

    /// What is to be sent next; its answer goes to [`take`](Self::take). `None` when it is [over](Self::examined).
    pub fn ask(&mut self) -> Option<Bytes> {
        let ask = match &mut self.step {
            Step::Opening => Ask::Open(self.vector.clone()),
            Step::Comparing { snapshot, comparison, asked } => {
                let question = comparison.ask()?;
                *asked = Some(question.clone());
                question.ask(*snapshot, Half::Within)
            }
            Step::Over { .. } => return None,
        };
        Some(ask.encode())
    }

    /// Takes an answer.
    ///
    /// # Errors
    ///
    /// The provider refuses, or says what answers nothing that was asked. The examination is of no use after that.
    pub fn take(&mut self, page: Bytes) -> Result<(), TransferFault> {
        match (&mut self.step, Page::decode(page)?) {
            (_, Page::Refusal(why)) => return Err(TransferFault::Refused(why)),
            (Step::Opening, Page::Header { snapshot, header }) => self.open(snapshot, &header)?,
            (Step::Comparing { snapshot, comparison, asked }, answer) => {
                let question = asked.take().ok_or(TransferFault::WrongAnswer)?;
                comparison.answer(question, *snapshot, answer)?;
            }
            _ => return Err(TransferFault::WrongAnswer),
        }
        self.conclude();
        Ok(())
    }

    /// What it came to, once it is over.
    pub fn examined(&self) -> Option<Examined> {
        match self.step {
            Step::Over { found, .. } => Some(found),
            _ => None,
        }
    }

    /// What tells the provider that nothing more will be asked, so that it lets go of its moment. Nobody needs the answer.
    pub fn farewell(&self) -> Option<Bytes> {
        match self.step {
            Step::Opening => None,
            Step::Comparing { snapshot, .. } | Step::Over { snapshot, .. } => Some(Ask::Close(snapshot).encode()),
        }
    }

    fn open(&mut self, snapshot: u64, header: &Header) -> Result<(), TransferFault> {
        header.check()?;
        if header.asked != self.vector || header.snapshot() != snapshot {
            return Err(TransferFault::WrongAnswer);
        }
        self.step = if header.vector == self.vector {
            let comparison = Comparison::new(std::mem::take(&mut self.own), header.within);
            Step::Comparing { snapshot, comparison: Box::new(comparison), asked: None }
        } else {
            Step::Over { snapshot, found: Examined::Apart }
        };
        Ok(())
    }

    fn conclude(&mut self) {
        let Step::Comparing { snapshot, comparison, .. } = &self.step else { return };
        let Some(found) = comparison.done() else { return };
        let only_there = found.only_there.iter().map(|(from, to)| to - from).sum();
        let disagreement = comparison.first().map(|first| Disagreement {
            first,
            only_here: found.only_here.len() as u64,
            only_there,
            differing: found.differing.len() as u64,
        });
        let found = disagreement.map_or(Examined::Same, Examined::Differs);
        self.step = Step::Over { snapshot: *snapshot, found };
    }
}
