//! A disk that fills up: writes are refused while there is still room to be safe, reads and deletes go on, nothing that was
//! acknowledged is lost, and writing resumes by itself when there is room again.
//!
//! The disk is a small file system in memory, which only root may mount.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::etcdserverpb::{AlarmRequest, AlarmType, DeleteRangeRequest, PutRequest, PutResponse, RangeRequest};
use tombolo_rig::{connect::Connection, process::Server};
use tonic::{Code, Status};

/// A mounted file system of its own, gone when dropped.
struct SmallDisk {
    at: TempDir,
}

impl SmallDisk {
    /// `None` where it cannot be mounted.
    fn mount(megabytes: u64) -> Result<Option<Self>> {
        let at = tempfile::tempdir()?;
        let options = format!("size={megabytes}m,mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tombolo-rig"]).arg(at.path()).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then_some(Self { at }))
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// Takes so many megabytes away, and returns the file that does.
    fn fill(&self, megabytes: u64) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = File::create(&path)?;
        for _ in 0..megabytes {
            file.write_all(&vec![1; 1 << 20])?;
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left mounted disappears with the machine; there is nobody to tell.
        let _ = Command::new("umount").arg("--lazy").arg(self.at.path()).output();
    }
}

async fn put(connection: &mut Connection, key: &str, value: Bytes) -> Result<PutResponse, Status> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Ok(connection.kv.put(PutRequest { key, value, ..Default::default() }).await?.into_inner())
}

async fn get(connection: &mut Connection, key: &str) -> Result<Option<Bytes>> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let answer = connection.kv.range(RangeRequest { key, ..Default::default() }).await?.into_inner();
    Ok(answer.kvs.into_iter().next().map(|pair| pair.value))
}

async fn alarms(connection: &mut Connection) -> Result<Vec<AlarmType>> {
    let answer = connection.maintenance.alarm(AlarmRequest::default()).await?.into_inner();
    Ok(answer.alarms.into_iter().map(|alarm| alarm.alarm()).collect())
}

/// The server looks at the disk a few times a second.
async fn look_again() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_nothing() -> Result<()> {
    let Some(disk) = SmallDisk::mount(384)? else {
        println!("skipped: no file system can be mounted here (needs root)");
        return Ok(());
    };
    let folder = disk.path().join("data").display().to_string();
    let mut server = Server::tombolo().with("--data-dir", &folder).start().await?;
    let mut connection = server.connect().await?;
    put(&mut connection, "before", Bytes::from_static(b"1")).await?;
    put(&mut connection, "doomed", Bytes::from_static(b"1")).await?;
    assert_eq!(alarms(&mut connection).await?, []);

    let ballast = disk.fill(300)?;
    look_again().await;
    let refused = put(&mut connection, "during", Bytes::from_static(b"1")).await.expect_err("the disk is full");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
    );
    assert_eq!(alarms(&mut connection).await?, [AlarmType::Nospace]);
    assert_eq!(get(&mut connection, "during").await?, None);
    assert_eq!(get(&mut connection, "before").await?.as_deref(), Some(b"1".as_slice()));
    let key = Bytes::from_static(b"doomed");
    let deleted = connection.kv.delete_range(DeleteRangeRequest { key, ..Default::default() }).await?.into_inner();
    assert_eq!(deleted.deleted, 1, "deletes make room and are taken");

    // A kill in this state is a kill like any other.
    server.restart().await?;
    let mut connection = server.connect().await?;
    assert_eq!(get(&mut connection, "before").await?.as_deref(), Some(b"1".as_slice()));
    assert_eq!(get(&mut connection, "doomed").await?, None);
    let refused = put(&mut connection, "during", Bytes::from_static(b"1")).await.expect_err("the disk is full");
    assert_eq!(refused.code(), Code::ResourceExhausted);

    fs::remove_file(ballast)?;
    look_again().await;
    let written = put(&mut connection, "after", Bytes::from_static(b"1")).await?;
    let revision = written.header.context("a put has a header")?.revision;
    ensure!(
        revision == 5,
        "two puts, a delete and this one make five, not {revision}: the refused ones changed nothing"
    );
    assert_eq!(alarms(&mut connection).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_until_the_disk_is_full_never_poisons_the_store() -> Result<()> {
    let Some(disk) = SmallDisk::mount(320)? else {
        println!("skipped: no file system can be mounted here (needs root)");
        return Ok(());
    };
    let folder = disk.path().join("data").display().to_string();
    let mut server = Server::tombolo().with("--data-dir", &folder).start().await?;
    let mut connection = server.connect().await?;
    let value = Bytes::from(vec![7; 1 << 20]);
    let mut acknowledged = 0;
    let refused = loop {
        match put(&mut connection, &format!("k{acknowledged}"), value.clone()).await {
            Ok(_) => acknowledged += 1,
            Err(refused) => break refused,
        }
        ensure!(acknowledged < 320, "a disk of 320 MiB took {acknowledged} MiB");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    server.restart().await?;
    let mut connection = server.connect().await?;
    for number in 0..acknowledged {
        ensure!(get(&mut connection, &format!("k{number}")).await?.as_ref() == Some(&value), "k{number} is lost");
    }
    Ok(())
}
