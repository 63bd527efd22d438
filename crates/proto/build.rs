//! Compiles the contracts in `proto/` with a compiler written in Rust, so that nobody needs `protoc`, and lists their methods.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

mod methods;
mod shapes;

const CONTRACTS: [&str; 9] = [
    "etcd/auth.proto",
    "etcd/authpb.proto",
    "etcd/election.proto",
    "etcd/lock.proto",
    "etcd/mvcc.proto",
    "etcd/rpc.proto",
    "tombolo/v1/backup.proto",
    "tombolo/v1/import.proto",
    "tombolo/v1/mesh.proto",
];

/// The packages whose messages have a form in JSON.
const ETCD: [&str; 5] = ["authpb", "etcdserverpb", "mvccpb", "v3electionpb", "v3lockpb"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=methods.rs");
    println!("cargo::rerun-if-changed=shapes.rs");
    let descriptors = protox::compile(CONTRACTS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("methods.rs"), methods::listed(&descriptors)?)?;
    if env::var_os("CARGO_FEATURE_JSON").is_some() {
        fs::write(out.join("shapes.rs"), shapes::written(&descriptors, &ETCD)?)?;
    }
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Keys and values travel from socket to engine and back without a copy.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
