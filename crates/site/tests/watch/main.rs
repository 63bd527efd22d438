//! The watch hub from outside: scenarios that read as what they prove, and random interleavings against a model.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

mod history;
mod model;
mod progress;
mod random;
mod scenarios;
mod stream;
