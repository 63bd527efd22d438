//! Tokens: what a user shows instead of a password.
//!
//! [`SimpleTokens`] are random words that mean something to whoever gave them out, and to nobody else. A [`Jwt`] carries the user's name and the
//! policy's revision, signed; everybody with the key can read it.

pub use self::{
    jwt::{Jwt, JwtError, JwtMethod, SignError, UnknownMethod},
    simple::SimpleTokens,
};

mod jwt;
mod simple;
