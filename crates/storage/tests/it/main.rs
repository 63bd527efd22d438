//! The store's tests through its public interface, as one binary.

mod compaction;
mod engine;
mod folders;
mod memory;
mod store;
mod support;
