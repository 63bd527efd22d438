//! Runs `tombolo` and etcd's own `etcdctl` side by side on one real server and compares what they print and how they
//! end, command for command and format for format.
//!
//! Standard output must be equal byte for byte. What cannot be equal is masked, and only that: revisions are taken
//! relative to the start of a case, ids of leases and times are replaced by a word. Exit codes must be equal, and the
//! text of etcdctl's error must be part of tombolo's. The few deliberate differences have tests of their own, in
//! `own_ways.rs`.
//!
//! The reference is etcdctl 3.5.1. With an etcdctl of 3.4 the cases in which 3.4 differs say so and are not compared.
//! Without etcd or etcdctl nothing is compared and a line says so, unless `TOMBOLO_REQUIRE` names them.

mod accounts;
mod endpoints;
mod lifetimes;
mod lines;
mod mask;
mod own_ways;
mod pairs;
mod running;
mod side_by_side;
mod signing_in;
mod terminal;
mod transactions;
mod upkeep;
mod usage;
mod users;
mod watching;
