//! A loaded server is killed and started again: everything is there, and the time to the first answered read is printed.
//!
//! `TOMBOLO_RESTART_KEYS` sets the number of keys of 256 bytes; acceptance loads 1,000,000. Times are printed, never
//! asserted, for they belong to a quiet machine.

use std::time::{Duration, Instant};

use anyhow::Result;
use tombolo_rig::{load, process::Server, random::size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loaded_server_restarts_with_everything() -> Result<()> {
    let keys = size("TOMBOLO_RESTART_KEYS", 20_000);
    let mut server = Server::tombolo().patience(Duration::from_secs(120)).start().await?;
    let started = Instant::now();
    load::fill(&server.connect().await?, keys).await?;
    println!("{keys} keys of 256 bytes loaded in {:?}", started.elapsed());
    server.restart().await?;
    println!("first read after kill -9 answered in {:?}", server.ready_after());
    load::check(&mut server.connect().await?, keys).await?;
    server.stop()?;
    server.restart().await?;
    println!("first read after an orderly stop answered in {:?}", server.ready_after());
    load::check(&mut server.connect().await?, keys).await
}
