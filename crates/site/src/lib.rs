//! What one site does with its store, as values without sockets, threads or clocks: the watch [`Hub`], the [`LeaseTable`],
//! and the lines of locks and elections.
//!
//! All are driven from outside. The hub's contract:
//!
//! > After every call that takes `&mut Hub`, drain [`Hub::poll`] until it answers `None` before the next call, and pass on
//! > what it answers in that order.
//!
//! One step of a driver, be it the server, a simulator or a test:
//!
//! 1. Wait for one input: commits from the committer, a client's watch, cancel or progress request, the answer to a load,
//!    items taken from a stream's queue, or the deadline of [`Hub::next_deadline`].
//! 2. Make the one call that stands for it, with the moment it happened.
//! 3. `while let Some(output) = hub.poll()`: append what is for a subscriber to its stream's queue, start the loads.
//! 4. Go to 1. Every [`Load`] is answered by one [`Hub::replayed`], every cost of an output returns by [`Hub::drained`].
//!
//! The lease table answers at once and has no outputs; what is due is asked for with [`LeaseTable::due`] when
//! [`LeaseTable::next_deadline`] has come. It deletes nothing: an expiry is a request to the committer like any other, and a
//! lease ends when its commit says so. So it is with compactions: [`AutoCompaction::look`] says which is due.
//!
//! A [`Turn`] is a place in a lock's or an election's line, a [`Leader`] what those see who follow an election: both say what to read and
//! what to watch, and the driver does it.
//!
//! Moments are [`Duration`](std::time::Duration)s since one fixed point of the driver's monotonic clock.

pub use auto_compaction::{AutoCompaction, CompactionMode, ParseRetentionError, Retention};
pub use leader::{Heard, Leader};
pub use lease::{LEASE_TTL_MAX_S, LEASE_TTL_MIN_S, LeaseTable, TimeToLive, TtlTooLarge, admit_ttl};
pub use turn::{Entry, Place, Turn};
pub use watch::{
    Credit, Delivery, EndCause, Ending, Hub, HubOptions, HubStats, Load, Matched, Output, Progress, SubscriberId,
    WatchError, WatchSpec, WatcherId,
};

mod auto_compaction;
mod leader;
mod lease;
mod turn;
mod watch;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
