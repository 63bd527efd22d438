//! `mesh export|enter|tail`: what a removed site wrote beyond its end, out of its folder into a file, and from there into the mesh as new
//! writes; and what is in such a file. The first touches the folder itself, where no server runs.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use clap::Args;
use tombolo_proto::v1::MeshEnterRequest;
use tombolo_storage::{Committer, Piece, Store, TAIL_MAGIC, TailChange, TailError, TailReader, TailStream, WallTime};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::quote::Quoted,
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
    /// The file that `tombolo mesh export` made, or TAIL-... of a data folder
    file: PathBuf,
    /// Write what hung on a lease, too, without it; whoever held it has long let go
    #[arg(long)]
    leased: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The file that `tombolo mesh export` made, or TAIL-... of a data folder
    file: PathBuf,
}

pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let (store, committer) = open(&args.data_dir)?;
    let exported = write(&store, args);
    // The folder is left as a server leaves it.
    let closed =
        committer.close().map_err(|why| Failure::new(Exit::Error, format!("failed to close the folder: {why}")));
    let streams = exported?;
    closed?;
    for TailStream { author, first, last, .. } in streams {
        let said = match last.checked_sub(first) {
            Some(more) => format!("{} records of {author}, {first} to {last}", more + 1),
            None => format!("no records of {author}: it has none beyond {last}"),
        };
        // Standard output may be the file.
        writeln!(io::stderr(), "exported {said}")?;
    }
    Ok(())
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
fn write(store: &Store, args: &ExportArgs) -> Result<Vec<TailStream>, Failure> {
    let failed = |why: TailError| Failure::new(Exit::Error, why.to_string());
    if args.file == Path::new("-") {
        return store.export_tail(args.beyond, &mut io::stdout().lock()).map_err(failed);
    }
    let mut part = args.file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.map_err(|why| Failure::new(Exit::Io, format!("cannot write {}: {why}", part.display())))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let streams = store.export_tail(args.beyond, &mut out).map_err(failed)?;
    out.into_inner().map_err(|why| Failure::new(Exit::Io, why.to_string()))?.sync_all()?;
    fs::rename(part, &args.file)?;
    Ok(streams)
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

pub(super) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let mut file = read(&args.file)?;
    let mut out = BufWriter::new(io::stdout().lock());
    list(&mut file, &mut out)?;
    Ok(out.flush()?)
}

/// A line for each change, in the order in which they were made. Those of a damaged file come before the failure.
fn list(file: &mut impl Read, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |why: TailError| Failure::new(Exit::Error, why.to_string());
    let mut reader = TailReader::default();
    let mut data = vec![0; PIECE_BYTES];
    loop {
        while let Some(piece) = reader.next_piece().map_err(failed)? {
            match piece {
                Piece::Record { record, .. } => {
                    let (dot, wall_ms) = (record.header.dot, record.header.hlc.bits() >> 16);
                    for change in TailChange::of(&record) {
                        write_change(out, format_args!("{dot} {wall_ms}"), &change)?;
                    }
                }
                Piece::End => return Ok(()),
                Piece::Mesh(_) | Piece::Stream(_) => {}
            }
        }
        match file.read(&mut data)? {
            0 => return Err(failed(reader.cut_short())),
            read => reader.put(&data[..read]),
        }
    }
}

fn write_change(out: &mut impl Write, at: fmt::Arguments<'_>, change: &TailChange) -> io::Result<()> {
    match change {
        TailChange::Put { key, value } => writeln!(out, "{at} put {} {}", Quoted(key), Quoted(value)),
        TailChange::Remove { key } => writeln!(out, "{at} del {}", Quoted(key)),
        TailChange::RemoveRange { start, end: Some(end) } => {
            writeln!(out, "{at} del {} to {}", Quoted(start), Quoted(end))
        }
        TailChange::RemoveRange { start, end: None } => writeln!(out, "{at} del {} to the last", Quoted(start)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut committer) =
            Store::open(folder.path(), &tombolo_storage::OpenOptions::new(WallTime(5), [7; 32])).unwrap();
        let (lease, previous) = (Some(0), false);
        let put = tombolo_storage::Put { key: "a b".into(), value: Some("1\n".into()), lease, previous };
        committer.execute(WallTime(5), tombolo_storage::Request::Put(put)).unwrap();
        committer.commit().unwrap();
        let mut file = Vec::new();
        store.export_tail(None, &mut file).unwrap();
        let mut out = Vec::new();
        list(&mut &file[..], &mut out).unwrap();
        let expected = format!("{}:1 5 put \"a b\" \"1\\n\"\n", store.identity().replica);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(list(&mut &file[..file.len() - 1], &mut io::sink()).is_err());
    }
}
