//! The store's tests through its public interface, as one binary.

mod store;
mod support;
