//! The session against itself over links that misbehave, and against peers that do.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod mesh;
    pub(crate) mod script;
    pub(crate) mod toy_store;
    pub(crate) mod trees;
}

mod asks;
mod convergence;
mod digests;
mod faults;
mod flow;
mod links;
mod liveness;
mod messages;
mod packing;
mod refusals;
mod rows;
mod transfers;
mod tree;
