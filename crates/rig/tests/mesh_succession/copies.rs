//! Folders that are copies, or restored from a backup: they come into the mesh as somebody new, or go their own way.

use anyhow::{Context, Result};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_folder_joins_as_somebody_new_with_a_ticket_alone() -> Result<()> {
    let (host, joined) = pair(launch()).await?;
    put(&joined, "k", "1").await?;
    in_step(&host, &joined).await?;
    let mut copy = launch().with("--name", "copy").prepare()?;
    folder::copy(&joined.folder(), &copy.folder())?;
    let refusal = copy.refusal()?;
    assert!(
        !refusal.status.success() && refusal.output.contains("--join") && refusal.output.contains("--sole"),
        "{}",
        refusal.output
    );
    copy.set("--join", &invite(&host).await?);
    copy.restart().await?;
    in_step(&host, &copy).await?;
    assert_eq!(get(&copy, "k").await?.context("k")?.value, "1");
    let (first, second) = (status(&host).await?.replica, status(&joined).await?.replica);
    let third = status(&copy).await?.replica;
    assert!(first != second && second != third && third != first);
    put(&joined, "original", "goes on").await?;
    in_step(&joined, &copy).await?;
    let aside = copy.folder().join(format!("aside-{second:016x}"));
    assert!(aside.join("MANIFEST").exists() && aside.join("KEY").exists());
    copy.restart().await?;
    assert_eq!(status(&copy).await?.replica, third);
    in_step(&host, &copy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_folder_goes_its_own_way_with_sole() -> Result<()> {
    let (host, joined) = pair(launch()).await?;
    let last = put(&joined, "k", "1").await?;
    hold(&joined, 4711, "held").await?;
    in_step(&host, &joined).await?;
    let mut copy = launch().with("--name", "copy").with("--sole", "true").prepare()?;
    folder::copy(&joined.folder(), &copy.folder())?;
    copy.restart().await?;
    let (original, own) = (status(&joined).await?, status(&copy).await?);
    assert!(own.mesh != original.mesh && own.replica != original.replica && own.peers.is_empty());
    assert_eq!(get(&copy, "k").await?.context("k")?.mod_revision, last, "its past is the original's");
    assert!(put(&copy, "k", "copy").await? > last);
    let left = copy.connect().await?.lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 4711, keys: true }).await?;
    assert!(left.into_inner().ttl > 0);
    // Others join it; the original's mesh has heard of nothing.
    let third = launch().with("--name", "office").with("--join", &invite(&copy).await?).start().await?;
    in_step(&copy, &third).await?;
    copy.restart().await?;
    assert_eq!(status(&copy).await?.replica, own.replica);
    put(&joined, "after", "1").await?;
    in_step(&host, &joined).await?;
    assert_eq!(get(&host, "k").await?.context("k")?.value, "1");
    assert_eq!((members(&host).await?.len(), status(&host).await?.alarms.len()), (2, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_restored_from_a_backup_comes_back_into_its_mesh_and_gets_what_it_wrote_after() -> Result<()> {
    let (host, mut joined) = pair(launch()).await?;
    put(&joined, "k", "in the backup").await?;
    put(&host, "h", "1").await?;
    in_step(&host, &joined).await?;
    let place = tempfile::TempDir::new()?;
    let backup = place.path().join("backup").to_str().context("a name")?.to_owned();
    let saved = tombolo(&["--endpoints", &joined.endpoint(), "snapshot", "save", &backup])?;
    ensure!(saved.status.success(), "{saved:?}");
    let last = put(&joined, "k", "after the backup").await?;
    in_step(&host, &joined).await?;
    let old = status(&joined).await?.replica;
    joined.stop()?;
    let mut mesh = MeshClient::new(host.connect().await?.channel);
    mesh.remove(MeshRemoveRequest { member: old }).await?;
    until("its records have ended", || async { Ok(member(&members(&host).await?, old)?.ends_at.is_some()) }).await?;

    let mut back = launch().with("--name", "ship").prepare()?;
    let data = back.folder().to_str().context("a name")?.to_owned();
    let made = tombolo(&["snapshot", "restore", &backup, "--data-dir", &data])?;
    ensure!(made.status.success(), "{made:?}");
    back.set("--join", &invite(&host).await?);
    back.restart().await?;
    in_step(&host, &back).await?;
    let found = get(&back, "k").await?.context("k")?;
    assert_eq!(found.value, "after the backup", "the mesh has it, and the backup does not");
    assert_ne!(status(&back).await?.replica, old);
    // Its clients have seen numbers of the one before: all that they see now are above them.
    assert!(put(&back, "again", "1").await? > last && found.mod_revision > last);
    assert!(!swap(&back, "k", last).await?, "that number is nobody's here");
    in_step(&host, &back).await?;
    assert_eq!((status(&host).await?.alarms, status(&back).await?.alarms), (vec![], vec![]));
    // The ticket stays in its command line.
    back.restart().await?;
    in_step(&host, &back).await
}
