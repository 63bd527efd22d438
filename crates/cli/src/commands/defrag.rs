//! `defrag`: has servers give back disk space that they do not use.

use clap::Args;
use tombolo_proto::etcdserverpb::DefragmentRequest;

use super::endpoint;
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

#[derive(Debug, Args)]
pub(crate) struct DefragArgs {
    /// Use all endpoints from the cluster member list
    #[arg(long)]
    cluster: bool,
    #[arg(hide = true)]
    args: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &DefragArgs) -> Result<(), Failure> {
    let endpoints = endpoint::chosen(context, args.cluster).await?;
    let mut failures = 0;
    for endpoint in &endpoints {
        let only = context.only(endpoint)?;
        match only.call(only.client.maintenance().defragment(DefragmentRequest {})).await {
            Ok(_) => context.printer.note(&format!("Finished defragmenting etcd member[{endpoint}]"))?,
            Err(failure) => {
                failures += 1;
                eprintln!("Failed to defragment etcd member[{endpoint}] ({})", failure.message());
            }
        }
    }
    match failures {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Error, format!("{failures} of {} endpoints failed", endpoints.len()))),
    }
}
