//! TLS for clients, seen from outside: handshakes, certificates of clients, revocation, files that change, and the tools that people use.

mod client_certificates;
mod files;
mod handshakes;
mod kubeadm;
mod revocation;
mod support;
mod tools;
