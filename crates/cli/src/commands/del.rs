//! `del`: removes a key or a range of keys.

use std::ffi::OsString;

use clap::Args;
use tombolo_proto::etcdserverpb::DeleteRangeRequest;

use super::selection;
use crate::{context::Context, exit::Failure, output::Answer};

#[derive(Debug, Args)]
#[command(override_usage = "tombolo del [OPTIONS] <KEY> [RANGE_END]")]
pub(crate) struct DelArgs {
    /// The key, and the end of a range
    #[arg(value_name = "KEY RANGE_END")]
    args: Vec<OsString>,
    /// Delete keys with matching prefix
    #[arg(long)]
    prefix: bool,
    /// Return deleted key-value pairs
    #[arg(long)]
    prev_kv: bool,
    /// Delete keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
}

impl DelArgs {
    /// The request these arguments stand for.
    pub(crate) fn request(&self) -> Result<DeleteRangeRequest, Failure> {
        let range = selection::key_range("del", &self.args, self.prefix, self.from_key)?;
        Ok(DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv: self.prev_kv })
    }
}

pub(crate) async fn run(context: &Context, args: &DelArgs) -> Result<(), Failure> {
    let request = args.request()?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.kv().delete_range(request)).await?;
    context.printer.print(&Answer::Del(&response))
}
