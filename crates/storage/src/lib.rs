//! The log-structured store of one replica.
//!
//! A [`Store`] keeps a replica's records, and through them every key's value and history, in one data folder. It promises:
//!
//! * **after [`Committer::commit`] returns**, everything executed before is on disk (under [`Durability::Fsync`]) and
//!   visible to readers, as whole transactions, in order;
//! * **after a crash** at any moment, opening the folder shows every commit that had returned, and of the others a prefix;
//! * **a dot, a commit number and a revision are never given out twice.** A folder that cannot promise this does not open.
//!
//! It knows no peer, no socket, no runtime and no clock: time and randomness are arguments.
//!
//! One side writes, the other reads. [`Store`] is the reading side, a cheap clone of shared state, usable from any thread.
//! [`Committer`] is the writing side; there is one, and the queue and the thread that feed it belong to the caller.

pub use answer::{Answer, DeleteAnswer, Entered, KeyValue, OpAnswer, Outcome, PutAnswer, RangeAnswer, TxnAnswer};
pub use arrivals::{Arrival, ArrivalBudget, Arrivals, ArrivalsError};
pub use backup::{BACKUP_MAGIC, Backup};
pub use batch::RefusedBatch;
pub use committer::Committer;
pub use disk::Disk;
pub use durability::Durability;
pub use error::{CommitError, IdentityLoss, IngestError, OpenError, ReadError, RequestError};
pub use event::{Commit, Event, LeaseChange};
pub use group::Group;
pub use health::{Health, Shortage};
pub use history::{HistoryBudget, HistoryChunk, SiblingValue};
pub use import::{Import, ImportEnd, ImportFault, ImportedChange, ImportedLease, ImportedPair, ImportedTransaction};
pub use kept::{Below, Kept, KeptSpan};
pub use key_range::{KeyRange, RangeEnd};
pub use lineage::Predecessor;
pub use log_held::{HeldBack, LOG_HELD_BYTES_MAX};
pub use mend::{MendError, MendedRow, Mending};
pub use options::{Founding, OnLoss, OpenOptions, WallTime};
pub use papers::Papers;
pub use request::{
    Comparison, Delete, Guard, Op, Operand, Order, Put, RangeQuery, Request, SortTarget, SystemWrite, Transaction,
};
pub use revision::{Revision, Slot, is_foreign};
pub use rot::{RotCounts, RottenRow};
pub use salvage::{Salvage, SalvageError, SystemRemnant};
pub use scrub::{ScrubPass, ScrubStep, Scrubber};
pub use standing::Standing;
pub use store::{Identity, MeshId, Published, Sizes, Store};
pub use succession::{aside::Aside, dispute::Dispute};
pub use system::{SystemEntry, SystemSibling};
pub use tail::{
    Piece, SetAside, TAIL_MAGIC, Tail, TailChange, TailError, TailIntake, TailLeases, TailOutcome, TailReader,
    TailStream, TailWrite,
};
pub use transfer::{
    BroughtSystem, CollectedTransfer, CompleteTransfer, Disagreement, ElementRange, Examination, Examined, Fingerprint,
    Meet, MendCounts, Met, Preparation, Provider, PublishedTransfer, Pull, Receiver, Refusal, StagedPage,
    TransferError, TransferFault, TransferProgress,
};

mod answer;
mod arrivals;
mod backup;
mod bases;
mod batch;
mod committer;
mod compaction;
mod digest;
mod disk;
mod durability;
pub mod engine;
mod error;
mod event;
mod fence;
mod folder;
mod group;
mod head;
mod heads;
mod health;
mod history;
mod import;
mod index;
mod kept;
mod key_range;
mod lease_homes;
mod lineage;
mod log;
mod log_held;
mod manifest;
mod mend;
mod merge;
mod milestones;
mod options;
mod orphans;
mod outbox;
mod papers;
mod plan;
mod query;
mod quota;
mod recover;
mod request;
pub mod restore;
mod revision;
mod rot;
mod row;
mod rows;
mod salvage;
mod scrub;
mod since_base;
mod space;
mod standing;
mod store;
mod succession;
mod system;
mod tail;
mod transfer;
mod view;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
