//! Users, roles and permissions as values: who may do what, judged by what a request reads, writes and reveals.
//!
//! A [`Policy`] is read from registers that a store replicates, and is never changed. It [`judge`](Policy::judge)s whether a [`Caller`] may do what
//! [`Needs`] say. A [`Change`] is planned against a policy as a list of [`Write`]s for the store to commit as one unit; the policy that is read
//! afterwards has it. Rules and order of all of it are etcd's.
//!
//! There is no clock, no socket and no store in here, and no randomness but the salt of a password's hash and of a token's signature.

pub use caller::{Caller, Concerned, Denied, Needs};
pub use change::{Change, Refused};
pub use fact::{PREFIX, Register, Write};
pub use password::{COST_DEFAULT, COST_MAX, COST_MIN, HashError, PASSWORD_BYTES_MAX, Password, PasswordHash, verify};
pub use permission::{Access, Permission, ROOT};
pub use policy::{Policy, Role, User};
pub use span::Span;
pub use token::{Jwt, JwtError, JwtMethod, SignError, SimpleTokens, UnknownMethod};

mod caller;
mod change;
mod coverage;
mod fact;
mod fields;
mod password;
mod permission;
mod policy;
mod span;
mod token;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
