//! Users and roles in a snapshot, as a real etcd reads them; and the pieces in which a snapshot comes.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tombolo_proto::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{AuthRoleGetRequest, AuthUserAddRequest, PutRequest, SnapshotRequest},
};
use tombolo_rig::{
    connect::Connection,
    process::Server,
    request::{
        Request,
        auth::{AuthAnswer, AuthRequest, Sender},
    },
    requirement::Tool,
};

use super::calls::{DENIED, furnish, get, grant, log_in, must, permit, put, refusal, role_add, roles, tombolo};

/// A furnished server and its snapshot in a file.
async fn saved(folder: &TempDir) -> Result<(Server, String)> {
    let server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    for request in [role_add("s"), permit("s", b'x')] {
        must(&mut connection, "", request).await?;
    }
    furnish(&mut connection).await?;
    log_in(&mut connection, "root", "master").await?;
    let options = Some(UserAddOptions { no_password: true });
    let machine = AuthUserAddRequest { name: "machine".into(), options, ..Default::default() };
    must(&mut connection, "root", AuthRequest::UserAdd(machine)).await?;
    for role in ["r", "s"] {
        must(&mut connection, "root", grant("machine", role)).await?;
    }
    // More than goes into one piece.
    let large = PutRequest { key: "a1".into(), value: vec![7; 100_000].into(), ..Default::default() };
    assert_eq!(refusal(&mut connection, "root", Request::Put(large)).await?, "");
    connection.wallet.show(Some(&Sender::User("root".to_owned())));
    let request = connection.wallet.sign(SnapshotRequest {})?;
    let mut stream = connection.maintenance.snapshot(request).await?.into_inner();
    let (mut content, mut left) = (Vec::new(), None);
    while let Some(piece) = stream.message().await? {
        ensure!(piece.header.is_none() && piece.version == "3.5.0", "{:?} {}", piece.header, piece.version);
        let bytes = piece.blob.len() as u64;
        // The checksum comes after what is counted.
        let is_checksum = left == Some(0);
        ensure!(is_checksum || left.is_none_or(|left| left == piece.remaining_bytes + bytes), "{left:?} {bytes}");
        ensure!(!is_checksum || (bytes, piece.remaining_bytes) == (32, 0), "{bytes} bytes of a checksum");
        left = Some(piece.remaining_bytes);
        content.extend_from_slice(&piece.blob);
    }
    ensure!(left == Some(0) && content.len() > 100_000, "{left:?} after {} bytes", content.len());
    let path = folder.path().join("snapshot.db");
    fs::write(&path, content)?;
    Ok((server, path.to_str().context("a path of text")?.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_in_pieces_that_say_how_much_is_left() -> Result<()> {
    saved(&TempDir::new()?).await.map(drop)
}

async fn permissions(connection: &mut Connection, role: &str) -> Result<Vec<Permission>> {
    match must(connection, "root", AuthRequest::RoleGet(AuthRoleGetRequest { role: role.to_owned() })).await? {
        AuthAnswer::RoleGet(role) => Ok(role.perm),
        other => bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_judges_by_the_users_of_a_snapshot() -> Result<()> {
    let (Some(etcd), Some(etcdctl)) = (Server::etcd_in_path(), Tool::Etcdctl.find_in_path()) else { return Ok(()) };
    let folder = TempDir::new()?;
    let (ours, path) = saved(&folder).await?;
    let mut restored = etcd.in_memory().prepare()?;
    let peer = format!("http://{}", restored.peer_address());
    let (cluster, data) = (format!("rig={peer}"), restored.folder());
    let mut command = Command::new(etcdctl);
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore", &path, "--name", "rig", "--data-dir"]).arg(data);
    let made = command.args(["--initial-cluster", &cluster, "--initial-advertise-peer-urls", &peer]).output()?;
    ensure!(made.status.success(), "{made:?}");
    restored.restart().await?;

    let (mut here, mut there) = (ours.connect().await?, restored.connect().await?);
    for connection in [&mut here, &mut there] {
        ensure!(!refusal(connection, "", get("a1")).await?.is_empty(), "nobody is judged");
        log_in(connection, "root", "master").await?;
        log_in(connection, "ann", "window").await?;
        ensure!(log_in(connection, "ann", "master").await.is_err() && log_in(connection, "machine", "").await.is_err());
        assert_eq!(refusal(connection, "ann", put("a1")).await?, "");
        assert_eq!(refusal(connection, "ann", put("x1")).await?, DENIED);
        assert_eq!(roles(connection, "machine").await?, ["r", "s"]);
    }
    for role in ["r", "s"] {
        assert_eq!(permissions(&mut here, role).await?, permissions(&mut there, role).await?);
    }
    Ok(())
}
