//! `compaction`: gives up the history before a revision.

use std::io::{self, Write as _};

use clap::Args;
use tombolo_proto::etcdserverpb::CompactionRequest;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::integer,
};

#[derive(Debug, Args)]
pub(crate) struct CompactionArgs {
    /// The oldest revision that stays readable
    #[arg(value_name = "REVISION")]
    args: Vec<String>,
    /// Wait for compaction to physically remove all old revisions
    #[arg(long)]
    physical: bool,
}

pub(crate) async fn run(context: &Context, args: &CompactionArgs) -> Result<(), Failure> {
    let [revision] = args.args.as_slice() else {
        return Err(Failure::arguments("compaction command needs 1 argument"));
    };
    let revision = integer::parse(revision, 10).map_err(|error| Failure::new(Exit::Error, error.to_string()))?;
    context.call(context.client.kv().compact(CompactionRequest { revision, physical: args.physical })).await?;
    // The answer is this line in every format.
    Ok(writeln!(io::stdout(), "compacted revision {revision}")?)
}
