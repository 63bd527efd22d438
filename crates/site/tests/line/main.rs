//! Lines of locks and elections on a real store and its hub: random comings and goings, and what they may never lead to.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

mod leaders;
mod site;
mod turns;
