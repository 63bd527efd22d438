//! A member that breaks rules against a sound one: a real session over a real store, and a peer that a test scripts.
//!
//! Each case is one forgery. It must end in its named fault with the connection closed and the store as it was, row for row; or, where
//! nothing is wrong by the rules, be taken without doing harm. `docs/containment.md` lists them all.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod scene;
mod villain;

mod claims;
mod manners;
mod membership;
mod records;
mod signatures;
mod transfers;
