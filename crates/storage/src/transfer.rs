//! Transfers of state: what a replica that is too far behind for the log takes from a peer instead of it.
//!
//! A transfer is *pulled*. The receiver sends bodies ([`Receiver::next_pulls`]), the provider answers each with one
//! ([`Provider::answer`]), and whoever carries them needs to know nothing of what is in them. What comes is staged durably, out
//! of sight ([`Committer::stage`](crate::Committer::stage)), and when all is there it is joined with the state of that moment, in one
//! step as far as anybody can tell ([`Committer::publish_transfer`](crate::Committer::publish_transfer)). What is much is
//! [prepared](Preparation) for that beside everything else.
//!
//! A checkpoint is the same thing for a receiver that has nothing. The provider holds on to one moment of its store and
//! remembers nothing else; a receiver that was cut off, or restarted, goes on with what it has staged, at the same provider or at another.
//! `docs/format.md` has the bytes. Only the mesh layer is transferred.

pub use self::{
    collected::{BroughtSystem, CollectedTransfer, CompleteTransfer},
    examine::{Disagreement, Examination, Examined},
    fault::{Refusal, TransferFault},
    fingerprint::{ElementRange, Fingerprint},
    meet::{Meet, Met},
    mending::MendCounts,
    prepare::Preparation,
    provider::Provider,
    publish::{PublishedTransfer, TransferError},
    receiver::{Pull, Receiver, TransferProgress},
    staging::StagedPage,
};

mod body;
mod collected;
mod compare;
mod examine;
mod fault;
mod fingerprint;
mod fragment;
mod header;
mod join;
pub(crate) mod list;
mod material;
mod meet;
mod mending;
pub(crate) mod prepare;
mod provider;
mod publish;
mod receiver;
pub(crate) mod staging;
pub(crate) mod unfinished;

#[cfg(test)]
mod tests;

/// Bytes of a page above which nothing is added to it. One element may be larger.
pub(crate) const PAGE_BYTES: usize = 1 << 20;
