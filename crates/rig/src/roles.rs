//! The role matrix: every call of every contract, made by every kind of caller, and what became of it.
//!
//! Rows come from the list of methods that the contracts generate: a call without a row does not compile. Columns are callers, from nobody to
//! `root`. A cell says whether the call is refused, with which code and text; besides, whoever may not read the secret keys is never sent
//! a byte of them or of their values, in whatever answer, and a call that is refused changes nothing.
//!
//! The expectation is written down here a second time, from etcd's rules, and is not taken from the server's own table.

pub use self::{
    caller::Caller,
    differences::{Difference, difference},
    expectation::{Needs, expected},
    matrix::{Cell, Matrix, fill},
    raw::{Answer, Raw},
    rows::{Shape, shapes},
    verdict::Verdict,
    world::World,
};

mod caller;
mod differences;
mod expectation;
mod matrix;
mod raw;
mod rows;
mod verdict;
pub mod world;
