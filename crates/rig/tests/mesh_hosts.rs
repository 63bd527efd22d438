//! Sites on hosts of their own, with the kernel's network between them: its packet filter cuts links and loses packets,
//! processes are killed, and still nothing is lost and all sites end up equal.
//!
//! It needs root and network namespaces, and is skipped with a printed line where there are none.

use anyhow::Result;
use tombolo_rig::{hosts::Hosts, process::Server, storm::Storm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_behind_a_packet_filter_lose_nothing_and_converge() -> Result<()> {
    let Some(hosts) = Hosts::make(3)? else { return Ok(()) };
    let mut storm = Storm::start_on(hosts, &Server::tombolo(), 1).await?;
    for _ in 0..2 {
        storm.round().await?;
        let tally = storm.verify().await?;
        println!("{tally:?}");
        assert!(tally.acknowledged > 100, "too few writes to prove anything: {tally:?}");
    }
    Ok(())
}
