//! etcd's own command line on Tombolo: the scenarios beside this file are what it must print, word for word.
//!
//! Each scenario is played on a real etcd too, so that its expectations are etcd's and not ours.

use anyhow::Result;
use tombolo_rig::{
    etcdctl::{Etcdctl, first_difference, wanted},
    process::{Launch, Server},
};

macro_rules! scenarios {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> Result<()> {
                let scenario = include_str!(concat!("etcdctl/", $file));
                if let Some(etcd) = Server::etcd() {
                    play("etcd", etcd, scenario).await?;
                }
                play("tombolod", Server::tombolo(), scenario).await
            }
        )*
    };
}

scenarios! {
    puts_and_gets_print_what_etcd_prints: "put_and_get.txt",
    sorted_gets_print_what_etcd_prints: "sort.txt",
    deletes_print_what_etcd_prints: "delete.txt",
    transactions_print_what_etcd_prints: "txn.txt",
    watches_print_what_etcd_prints: "watch.txt",
    leases_print_what_etcd_prints: "lease.txt",
    compactions_print_what_etcd_prints: "compaction.txt",
    counts_print_what_etcd_prints: "count_only.txt",
    the_state_of_the_cluster_prints_as_etcd_prints_it: "cluster.txt",
}

async fn play(name: &str, launch: Launch, scenario: &str) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let Some(mut etcdctl) = Etcdctl::of(&server) else { return Ok(()) };
    if scenario.contains("--count-only") && !etcdctl.knows("get", "--count-only")? {
        println!("skipped: this etcdctl has no --count-only");
        return Ok(());
    }
    let played = etcdctl.play(scenario)?;
    if let Some(difference) = first_difference(&wanted(scenario), &played) {
        panic!("{name}: {difference}\n\nplayed:\n{}", played.join("\n"));
    }
    Ok(())
}
