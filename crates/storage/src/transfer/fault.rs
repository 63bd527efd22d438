//! What can be wrong with a transfer, by name.

use thiserror::Error;
use tombolo_crdt::{Chain, DecodeError, Dot, Element, ReplicaId, SignedHead};

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
        /// What is said to be our signature of it. It is for the caller to verify.
        head: Box<SignedHead>,
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
    /// The header does not say who signed what it brings.
    #[error("the header has no signature of {dot} by its author")]
    Unsigned {
        /// The last record of the author.
        dot: Dot,
    },
    /// The header holds a signature of something that it does not bring.
    #[error("the header has a signature of {dot}, which it does not bring")]
    StrayHead {
        /// What it is said to be of.
        dot: Dot,
    },
    /// An element is not one of those that were asked for.
    #[error("element {element} is outside of what was asked for")]
    OutOfPlace {
        /// The element.
        element: Element,
    },
    /// More is said to be there than the header promised: it would never end.
    #[error("there is more than the {promised} elements that the header promised")]
    TooMuch {
        /// How many it promised.
        promised: u64,
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
    /// The provider has not applied all that is to be mended here.
    #[error("the provider has not applied all that is applied here")]
    Behind,
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
    /// It holds records that came to it without their author's signature: ask somebody else.
    #[error("it cannot prove who wrote all that it holds")]
    Unproven,
    /// What it has in common with the asker lies further back than it can tell: ask later.
    #[error("what both have lies too far back")]
    OutOfReach,
}
