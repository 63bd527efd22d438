//! Spellings that etcdctl's users know from Go: durations, quoted strings, sizes, integers.
//!
//! Each file reads or writes one of them exactly as Go does, because the output is compared byte for byte.

pub(crate) mod duration;
pub(crate) mod integer;
pub(crate) mod quote;
pub(crate) mod size;
pub(crate) mod span;
pub(crate) mod unquote;
