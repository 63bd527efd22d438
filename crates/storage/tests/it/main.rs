//! The store's tests through its public interface, as one binary.

mod compaction;
mod convergence;
mod engine;
mod folders;
mod memory;
mod merge;
mod mesh;
mod random;
mod store;
mod support;
