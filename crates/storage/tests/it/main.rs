//! The store's tests through its public interface, as one binary.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod against_model;
mod compaction;
mod convergence;
mod crowds;
mod defragment;
mod engine;
mod faults;
mod folder;
mod folders;
mod format_v1;
mod format_v4;
mod founding;
mod gate;
mod groups;
mod import;
mod kept;
mod leases;
mod meet;
mod members;
mod memory;
mod merge;
mod mesh;
mod model;
mod outbox;
mod quota;
mod random;
mod restore;
mod rot;
mod rot_kinds;
mod salvage;
mod signed;
mod standing;
mod store;
mod succession;
mod support;
mod system;
mod tail;
mod transfer;
mod transfer_beside;
mod transfer_crash;
mod transfer_engine;
mod transfer_examine;
mod transfer_laws;
mod transfer_rot;
