//! `snapshot save`: a copy from one replica into a file that is whole or not there, or to standard output.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use tombolo_proto::{etcdserverpb::SnapshotRequest, v1::BackupSaveRequest};

use super::bar::Bar;
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// The file to make, or `-` for standard output
    file: PathBuf,
    /// A database file of etcd's instead, as etcdctl gets it: for etcd and its tools
    #[arg(long)]
    database: bool,
}

pub(super) async fn run(context: &Context, args: &SaveArgs) -> Result<(), Failure> {
    let mut target = Target::open(&args.file)?;
    let refused = |status| context.explain(status);
    let mut bar = Bar::begin("saved", 0);
    if args.database {
        let request = context.client.maintenance().snapshot(SnapshotRequest {}).await;
        let mut stream = request.map_err(refused)?.into_inner();
        let mut done = 0;
        while let Some(message) = stream.message().await.map_err(refused)? {
            done += message.blob.len() as u64;
            bar.expect(done + message.remaining_bytes);
            bar.add(message.blob.len());
            target.write(&message.blob)?;
        }
    } else {
        let request = context.client.backup().save(BackupSaveRequest {}).await;
        let mut stream = request.map_err(refused)?.into_inner();
        while let Some(message) = stream.message().await.map_err(refused)? {
            bar.expect(message.expected_bytes);
            bar.add(message.piece.len());
            target.write(&message.piece)?;
        }
    }
    bar.end();
    target.finish()
}

/// Where a copy goes.
enum Target {
    Screen,
    File { part: PathBuf, path: PathBuf, file: File },
}

impl Target {
    /// A file is written beside its name, for its owner alone: it holds everything, users included.
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Screen);
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.map_err(|why| Failure::new(Exit::Io, format!("cannot write {}: {why}", part.display())))?;
        Ok(Self::File { part, path: path.to_owned(), file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Screen => io::stdout().write_all(bytes)?,
            Self::File { file, .. } => file.write_all(bytes)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let Self::File { part, path, file } = self else { return Ok(io::stdout().flush()?) };
        file.sync_all()?;
        fs::rename(part, &path)?;
        Ok(writeln!(io::stdout(), "Snapshot saved at {}", path.display())?)
    }
}
