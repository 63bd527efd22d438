//! What can be wrong with a transfer, by name.

use thiserror::Error;
use tombolo_crdt::{Chain, DecodeError, Dot, Element, ReplicaId};

use crate::ReadError;

/// Why a body was not taken. Nothing has changed.
#[derive(Debug, Error)]
pub enum TransferFault {
    /// The bytes are no body.
    #[error("the bytes are no body of a transfer")]
    Malformed(#[from] DecodeError),
    /// A page came that was not asked for.
    #[error("page {pull} was not asked for")]
    Unasked {
        /// The pull it is said to answer.
        pull: u64,
    },
    /// A page answers another question than the one that was asked.
    #[error("a page answers another question than was asked")]
    WrongAnswer,
    /// The provider does not answer.
    #[error("the provider refuses: {0}")]
    Refused(Refusal),
    /// The provider knows records of ours that we do not have.
    #[error("the provider's vector holds {dot}, which is ours and beyond what we wrote")]
    AheadOfUs {
        /// The last of them.
        dot: Dot,
    },
    /// The provider holds another record than we do under the same name.
    #[error("the stream of {dot} is forked: its chain is {ours} here and {theirs} at the provider")]
    Forked {
        /// The record.
        dot: Dot,
        /// Our chain.
        ours: Chain,
        /// The provider's.
        theirs: Chain,
    },
    /// The header's streams are not those of its vector, or know more than it.
    #[error("the header contradicts itself about {replica}")]
    Contradiction {
        /// The author.
        replica: ReplicaId,
    },
    /// An element is not one of those that were asked for.
    #[error("element {element} is outside of what was asked for")]
    OutOfPlace {
        /// The element.
        element: Element,
    },
    /// An element came twice.
    #[error("element {element} came twice")]
    Twice {
        /// The element.
        element: Element,
    },
    /// An element holds something else here than at the provider: one of the two is corrupt.
    #[error("element {element} holds something else here than at the provider")]
    Differs {
        /// The element.
        element: Element,
    },
    /// What came is not what the header promised.
    #[error("what came adds up to {found:?}, and {promised:?} was promised")]
    Fingerprint {
        /// What was promised.
        promised: super::Fingerprint,
        /// What it is.
        found: super::Fingerprint,
    },
    /// The rows of this store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a provider does not answer. It says so in a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It does not hold on to that moment any more: ask anew.
    #[error("it does not hold on to that moment any more")]
    Gone,
    /// It holds on to as many moments as it may: ask later.
    #[error("it serves others")]
    Busy,
    /// A row of its own is damaged: ask somebody else.
    #[error("a row of its own is damaged")]
    Damaged,
}
