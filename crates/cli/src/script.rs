//! The language of lines that `txn` and `watch -i` read from standard input.
//!
//! A line is split into words as a shell would; a compare has a syntax of its own. What is malformed is refused with the
//! line that is, and nothing is sent.

pub(crate) mod compare;
pub(crate) mod operation;
pub(crate) mod words;
