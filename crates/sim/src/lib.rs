//! A mesh in one thread: real stores and sessions on a virtual network and clock.
//!
//! A seed decides everything: who there is, what clients do, what goes wrong, and when. [`run`] plays it, with the product's
//! own stores, sessions and watch hubs, and holds what was seen at their seams against the promises in [`checker`]. It promises:
//!
//! * **the same seed gives the same trace**, on every machine: no wall time, no threads in what matters, no order of hash maps;
//! * **every checker can go red**: each [`Plant`] makes one part around the stores do its work wrongly, and is found.
//!
//! It is not a model of the product: a store that answers wrongly is the real one.

pub use history::{Access, History, Transaction};
pub use marks::{Mark, Marks};
pub use model::{Expected, Met, Model};
pub use plan::{EngineKind, Plan, Removal, Size, Topology, Troubles};
pub use plant::{Plant, UnknownPlant};
pub use random::Random;
pub use run::{Options, Outcome, run};
pub use simulation::Counts;
pub use time::{MS, S, Time};
pub use trace::Trace;

mod agenda;
pub mod checker;
mod client;
mod disk;
mod history;
mod keys;
mod marks;
mod model;
mod network;
mod plan;
mod plant;
mod random;
mod rows;
mod run;
mod simulation;
mod site;
mod time;
mod trace;
mod trouble;
mod watching;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
