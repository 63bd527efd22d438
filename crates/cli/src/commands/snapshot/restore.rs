//! `snapshot restore`: a data folder for a new replica, in a mesh of its own.

use std::{
    io::{self, BufReader, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use clap::Args;
use tombolo_storage::{
    Revision, WallTime,
    restore::{RestoreOptions, restore},
};

use super::{
    bar::{Bar, Watched},
    status::{is_ours, open},
};
use crate::exit::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file that `tombolo snapshot save` made
    file: PathBuf,
    /// The folder to make, absent or empty
    #[arg(long)]
    data_dir: PathBuf,
    /// Count above this revision: the last one that was seen of the replica that is replaced, or of one restored before
    #[arg(long, value_name = "REVISION")]
    above: Option<i64>,
}

pub(super) fn run(args: &RestoreArgs) -> Result<(), Failure> {
    if !is_ours(&args.file)? {
        return Err(Failure::new(Exit::Error, format!("{} is not a snapshot of tombolo", args.file.display())).hint(
            "a snapshot of etcd is read by `tombolo import --from-snapshot`, into a server on a fresh --data-dir",
        ));
    }
    let above = args.above.map(|number| {
        Revision::new(number).ok_or_else(|| Failure::arguments(format!("--above: {number} is no revision")))
    });
    let mut entropy = [0; 32];
    rand::fill(&mut entropy).map_err(|_| Failure::new(Exit::Error, "the system has no randomness"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let wall = WallTime(u64::try_from(now).unwrap_or(u64::MAX));
    let (file, bytes) = open(&args.file)?;
    let mut source = Watched { source: BufReader::with_capacity(1 << 20, file), bar: Bar::begin("restored", bytes) };
    let restored = restore(&args.data_dir, &mut source, &RestoreOptions { entropy, above: above.transpose()?, wall });
    source.bar.end();
    let restored = restored.map_err(|why| Failure::new(Exit::Error, why.to_string()))?;
    let (was, now) = (restored.summary.facts, restored.identity);
    Ok(writeln!(
        io::stdout(),
        "restored {} from a snapshot of replica {} at revision {}\nit is replica {} of a mesh of its own; its revisions go on above {}",
        args.data_dir.display(),
        was.replica,
        was.revision,
        now.replica,
        now.slot.beginning(),
    )?)
}
