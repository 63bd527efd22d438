//! `Maintenance.Snapshot`: a database file as etcd's members have one, with its checksum behind it. etcd's own tools and a real etcd read it.
//!
//! It holds what etcd has words for: keys with their history above the last compaction, leases, users and roles. It is the way out; a copy from which a
//! replica is made is [`Backup`](crate::v1). The file is built in the data folder, under no name, from one moment of the store, because a database's first
//! page says where its last one is.

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, BufWriter, Read as _, Seek as _, Write as _},
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream::Stream;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::mpsc;
use tombolo_auth::Policy;
use tombolo_bolt::{
    WriteError, Writer,
    etcd::{RevisionKey, auth, bucket, cluster, lease_key, meta},
};
use tombolo_proto::{authpb, etcdserverpb::SnapshotResponse};
use tombolo_storage::{Below, ReadError, Store};
use tonic::Status;
use tracing::info;

use super::table;
use crate::{
    etcd::{CLUSTER_VERSION, status::Fault},
    gate::{Leave, Pass},
    limits,
    replica::RAFT_TERM,
};

/// Why there is no file.
#[derive(Debug, Error)]
enum BuildError {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Write(#[from] WriteError),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// A lease as etcd keeps it.
#[derive(Clone, PartialEq, prost::Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
}

/// Builds the file and sends it.
pub(super) async fn stream(
    leave: Leave,
    pass: Pass,
) -> Result<impl Stream<Item = Result<SnapshotResponse, Status>> + Send, Fault> {
    let replica = Arc::clone(pass.replica());
    let (folder, policy) = (replica.facts.data_dir.clone(), replica.policy.current());
    let built = replica.reads.whole(move |store| build(store, &policy, &folder)).await;
    let (file, bytes) = built.map_err(|why| Fault::Internal { what: format!("no snapshot was made: {why}") })?;
    info!(bytes, "a snapshot is sent");
    let (pieces, waiting) = mpsc::channel(limits::SNAPSHOT_PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || send(file, bytes, &pieces));
    Ok(pass.stream(leave, waiting))
}

/// A database of this moment, and how many bytes it has.
fn build(store: &Store, policy: &Policy, folder: &Path) -> Result<(File, u64), BuildError> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, nameless(folder)?))?;
    empty(&mut writer, bucket::ALARM)?;
    users_and_roles(&mut writer, policy)?;
    writer.begin(bucket::CLUSTER)?;
    writer.put(cluster::VERSION, CLUSTER_VERSION.as_bytes())?;
    writer.end()?;
    writer.begin(bucket::KEY)?;
    let mut failed = None;
    let span = store.kept(0, Below::Readable, &mut |kept| {
        let (key, value) = table::row(kept);
        match writer.put(&key, &value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                failed = Some(why);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    writer.end()?;
    writer.begin(bucket::LEASE)?;
    let mut leases = store.leases();
    leases.sort_unstable_by_key(|(id, _)| lease_key(*id));
    for (id, ttl) in leases {
        writer.put(&lease_key(id), &Lease { id, ttl }.encode_to_vec())?;
    }
    writer.end()?;
    empty(&mut writer, bucket::MEMBERS)?;
    empty(&mut writer, bucket::MEMBERS_REMOVED)?;
    writer.begin(bucket::META)?;
    writer.put(meta::CONSISTENT_INDEX, &span.published.commit.to_be_bytes())?;
    if span.published.compacted > 0 {
        let compacted = RevisionKey::new(span.published.compacted, 0).encode();
        writer.put(meta::FINISHED_COMPACT, &compacted)?;
        writer.put(meta::SCHEDULED_COMPACT, &compacted)?;
    }
    writer.put(meta::TERM, &RAFT_TERM.to_be_bytes())?;
    writer.end()?;
    let finished = writer.finish()?;
    let mut file = finished.sink.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.flush()?;
    file.rewind()?;
    Ok((file, finished.bytes))
}

fn empty(writer: &mut Writer<BufWriter<File>>, name: &[u8]) -> Result<(), WriteError> {
    writer.begin(name)?;
    writer.end()
}

fn users_and_roles(writer: &mut Writer<BufWriter<File>>, policy: &Policy) -> Result<(), WriteError> {
    writer.begin(bucket::AUTH)?;
    writer.put(auth::ENABLED, &[policy.is_enabled().into()])?;
    writer.put(auth::REVISION, &policy.revision().to_be_bytes())?;
    writer.end()?;
    writer.begin(bucket::AUTH_ROLES)?;
    for name in policy.roles() {
        let permissions = policy.role(name).into_iter().flat_map(|role| role.permissions());
        let permission = |found: &tombolo_auth::Permission| authpb::Permission {
            perm_type: found.access.number(),
            key: found.key.clone(),
            range_end: found.range_end.clone(),
        };
        let role = authpb::Role { name: own(name), key_permission: permissions.map(permission).collect() };
        writer.put(name.as_bytes(), &role.encode_to_vec())?;
    }
    writer.end()?;
    writer.begin(bucket::AUTH_USERS)?;
    for name in policy.users() {
        let Some(user) = policy.user(name) else { continue };
        let user = authpb::User {
            name: own(name),
            password: user.password().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).unwrap_or_default(),
            roles: user.roles().map(str::to_owned).collect(),
            options: Some(authpb::UserAddOptions { no_password: user.has_no_password() }),
        };
        writer.put(name.as_bytes(), &user.encode_to_vec())?;
    }
    writer.end()
}

fn own(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A file that goes when nobody has it open any more, also after a crash.
fn nameless(folder: &Path) -> io::Result<File> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let path = folder.join(format!("SNAPSHOT.{}.tmp", MADE.fetch_add(1, Ordering::Relaxed)));
    // One that a crash left between the two calls is taken over.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

type Piece = Result<SnapshotResponse, Fault>;

/// Reads the file as fast as somebody takes it, and the checksum after it.
fn send(mut file: File, bytes: u64, pieces: &mpsc::Sender<Piece>) {
    let mut checksum = digest::Context::new(&digest::SHA256);
    let mut left = bytes;
    while left > 0 {
        let mut blob = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(limits::SNAPSHOT_PIECE_BYTES)];
        let read = file.read_exact(&mut blob);
        left -= blob.len() as u64;
        checksum.update(&blob);
        let failed = read.is_err();
        let lost = |why| Fault::Internal { what: format!("the snapshot was lost: {why}") };
        if pieces.blocking_send(read.map(|()| piece(blob, left)).map_err(lost)).is_err() || failed {
            return;
        }
    }
    // Whoever has gone has no use for it.
    let _ = pieces.blocking_send(Ok(piece(checksum.finish().as_ref().to_vec(), 0)));
}

fn piece(blob: Vec<u8>, remaining_bytes: u64) -> SnapshotResponse {
    SnapshotResponse { header: None, remaining_bytes, blob: blob.into(), version: CLUSTER_VERSION.to_owned() }
}
