//! Sites on hosts of their own, with the kernel's network between them: its packet filter cuts links and loses packets, its token
//! bucket makes links narrow, a relay makes them long, processes are killed, and still nothing is lost and all sites end up equal.
//!
//! It needs root and network namespaces, and is skipped with a printed line where there are none. `TOMBOLO_KILL_ROUNDS` sets the rounds.

use anyhow::Result;
use tombolo_rig::{
    hosts::Hosts,
    process::Server,
    random::{seeds, size},
    storm::Storm,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_behind_a_packet_filter_lose_nothing_and_converge() -> Result<()> {
    for seed in seeds(&[1]) {
        let Some(hosts) = Hosts::make(3)? else { return Ok(()) };
        let mut storm = Storm::start_on(hosts, &Server::tombolo(), seed).await?;
        for _ in 0..size("TOMBOLO_KILL_ROUNDS", 2) {
            storm.round().await?;
            let tally = storm.verify().await?;
            println!("{tally:?}");
            assert!(tally.acknowledged > 100, "too few writes to prove anything: {tally:?}");
        }
        assert!(
            storm.mesh.traffic().packets > 1_000,
            "the sites have not talked over the links: {:?}",
            storm.mesh.traffic()
        );
    }
    Ok(())
}
