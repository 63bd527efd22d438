//! Compiles the contracts in `proto/` with a compiler written in Rust, so that nobody needs `protoc`, and lists their methods.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

mod methods;

const CONTRACTS: [&str; 7] = [
    "etcd/auth.proto",
    "etcd/authpb.proto",
    "etcd/election.proto",
    "etcd/lock.proto",
    "etcd/mvcc.proto",
    "etcd/rpc.proto",
    "tombolo/v1/mesh.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=methods.rs");
    let descriptors = protox::compile(CONTRACTS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let encoded = descriptors.encode_to_vec();
    fs::write(out.join("methods.rs"), methods::listed(&descriptors)?)?;
    json(&encoded)?;
    fs::write(out.join("descriptors.bin"), encoded)?;
    tonic_prost_build::configure()
        // Keys and values travel from socket to engine and back without a copy.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Makes the messages of etcd's API readable and writable as proto3 JSON, with names as in the contracts: as etcd's gateway has them.
fn json(descriptors: &[u8]) -> Result<(), Box<dyn Error>> {
    if env::var_os("CARGO_FEATURE_JSON").is_none() {
        return Ok(());
    }
    let packages = [".mvccpb", ".authpb", ".etcdserverpb", ".v3lockpb", ".v3electionpb"];
    pbjson_build::Builder::new().register_descriptors(descriptors)?.preserve_proto_field_names().build(&packages)?;
    Ok(())
}
