//! Compiles the contracts in `proto/` with a compiler written in Rust, so that nobody needs `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const CONTRACTS: [&str; 3] = ["etcd/mvcc.proto", "etcd/rpc.proto", "tombolo/v1/mesh.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(CONTRACTS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Keys and values travel from socket to engine and back without a copy.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
