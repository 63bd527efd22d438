//! `mesh export|enter`: what a removed site wrote beyond its end, out of its folder into a file, and from there into the mesh as new
//! writes. The first touches the folder itself, where no server runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use clap::Args;
use tombolo_proto::v1::MeshEnterRequest;
use tombolo_storage::{Committer, Store, TAIL_MAGIC, TailFacts, WallTime};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Answer,
};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to make, or `-` for standard output
    file: PathBuf,
    /// The data folder of the removed site; its server is stopped
    #[arg(long)]
    data_dir: PathBuf,
    /// Leave out its records up to this one, where the others agree that they end: see `mesh members`. Without it the file holds all that
    /// the folder's log still has
    #[arg(long, value_name = "SEQ")]
    beyond: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct EnterArgs {
    /// The file that `tombolo mesh export` made
    file: PathBuf,
    /// Write what hung on a lease, too, without it; whoever held it has long let go
    #[arg(long)]
    leased: bool,
}

pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let (store, committer) = open(&args.data_dir)?;
    let exported = write(&store, args);
    // The folder is left as a server leaves it.
    let closed =
        committer.close().map_err(|why| Failure::new(Exit::Error, format!("failed to close the folder: {why}")));
    let facts = exported?;
    closed?;
    let TailFacts { author, first, last, .. } = facts;
    let said = match last.checked_sub(first) {
        Some(more) => format!("{} records of {author}, {first} to {last}", more + 1),
        None => format!("no records of {author}: it has none beyond {last}"),
    };
    // Standard output may be the file.
    Ok(writeln!(io::stderr(), "exported {said}")?)
}

fn open(folder: &Path) -> Result<(Store, Committer), Failure> {
    let failed = |why: String| Failure::new(Exit::Error, format!("{}: {why}", folder.display()));
    // Opening would make a new one where there is none.
    match Store::peek(folder) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(failed("there is no data folder".to_owned())),
        Err(why) => return Err(failed(why.to_string())),
    }
    let mut entropy = [0; 32];
    rand::fill(&mut entropy).map_err(|_| Failure::new(Exit::Error, "the system has no randomness"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let wall = WallTime(u64::try_from(now).unwrap_or(u64::MAX));
    Store::open(folder, &tombolo_storage::OpenOptions::new(wall, entropy)).map_err(|why| failed(why.to_string()))
}

/// A file is written beside its name, for its owner alone.
fn write(store: &Store, args: &ExportArgs) -> Result<TailFacts, Failure> {
    let failed = |why: tombolo_storage::TailError| Failure::new(Exit::Error, why.to_string());
    if args.file == Path::new("-") {
        return store.export_tail(args.beyond, &mut io::stdout().lock()).map_err(failed);
    }
    let mut part = args.file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.map_err(|why| Failure::new(Exit::Io, format!("cannot write {}: {why}", part.display())))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let facts = store.export_tail(args.beyond, &mut out).map_err(failed)?;
    out.into_inner().map_err(|why| Failure::new(Exit::Io, why.to_string()))?.sync_all()?;
    fs::rename(part, &args.file)?;
    Ok(facts)
}

pub(super) async fn enter(context: &Context, args: &EnterArgs) -> Result<(), Failure> {
    let mut file = read(&args.file)?;
    let leased = args.leased;
    let (sender, pieces) = tokio::sync::mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || {
        loop {
            let mut data = Vec::with_capacity(PIECE_BYTES);
            let read = io::Read::by_ref(&mut file).take(PIECE_BYTES as u64).read_to_end(&mut data);
            // Whoever listened has got its answer by then.
            if !matches!(read, Ok(1..)) || sender.blocking_send(MeshEnterRequest { data: data.into(), leased }).is_err()
            {
                return read.map(drop);
            }
        }
    });
    let pieces = tokio_stream::wrappers::ReceiverStream::new(pieces);
    let entered = context.client.mesh().enter(pieces).await;
    let response = entered.map_err(|status| context.explain(status))?.into_inner();
    reading.await.map_err(|why| Failure::new(Exit::Io, why.to_string()))??;
    context.printer.print(&Answer::MeshEntered(&response))
}

fn read(path: &Path) -> Result<File, Failure> {
    let cannot = |why: io::Error| Failure::new(Exit::Io, format!("cannot read {}: {why}", path.display()));
    let mut begin = Vec::new();
    File::open(path).map_err(cannot)?.take(TAIL_MAGIC.len() as u64).read_to_end(&mut begin).map_err(cannot)?;
    if begin != TAIL_MAGIC {
        return Err(Failure::new(Exit::Error, format!("{} is not a tail of tombolo", path.display()))
            .hint("it is made by `tombolo mesh export`"));
    }
    File::open(path).map_err(cannot)
}

/// Bytes of the file in one message.
const PIECE_BYTES: usize = 256 << 10;
