//! Disks that rot under a site: nothing wrong is ever served or passed on, the scrubber finds it, and a peer puts it back.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use tombolo_proto::{
    etcdserverpb::{DefragmentRequest, PutRequest, RangeRequest, maintenance_client::MaintenanceClient},
    v1::{MeshAlarmKind, MeshStatusResponse},
};
use tombolo_rig::{
    connect::Connection,
    folder,
    http::Page,
    mesh::{Mesh, Shape},
    process::{Launch, Server},
};
use tombolo_storage::engine::{Change, Engine as _, Persist, fjall::FjallEngine};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);
/// Keys that every site has before anything happens, and those that come after.
const EARLY: usize = 300;
const KEYS: usize = 600;

fn launch() -> Launch {
    Server::tombolo().in_memory().with("--scrub-rate", "1073741824")
}

fn key(index: usize) -> String {
    format!("k{index:04}")
}

/// Some hundred bytes that do not compress.
fn value(index: usize) -> String {
    let mut state = index as u64 + 1;
    let digits = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    });
    digits.take(20).collect()
}

async fn fill(server: &Server, keys: std::ops::Range<usize>) -> Result<()> {
    let mut connection = server.connect().await?;
    for index in keys {
        let put = PutRequest { key: key(index).into(), value: value(index).into(), ..Default::default() };
        connection.kv.put(put).await?;
    }
    Ok(())
}

/// What came of reading every key once.
#[derive(Debug, Default)]
struct Read {
    right: usize,
    absent: usize,
    refused: usize,
}

/// Reads every key by itself. A wrong value, and a refusal that does not name its cause, is an error at once.
async fn read_all(connection: &mut Connection) -> Result<Read> {
    let mut read = Read::default();
    for index in 0..KEYS {
        let request = RangeRequest { key: key(index).into(), ..Default::default() };
        match connection.kv.range(request).await {
            Ok(answer) => match answer.into_inner().kvs.first() {
                Some(pair) => {
                    ensure!(pair.value == value(index), "{} is {:?}", key(index), pair.value);
                    read.right += 1;
                }
                None => read.absent += 1,
            },
            Err(why) => {
                ensure!(why.code() == Code::DataLoss && why.message().contains("corrupt"), "{why}");
                read.refused += 1;
            }
        }
    }
    Ok(read)
}

fn metric(server: &Server, name: &str) -> Result<u64> {
    let page = Page::get(server.address(), "/metrics")?.body;
    let line =
        page.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !holds().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("never: {what}"))?
}

/// Has everything a site holds written to a table, and returns that one.
async fn table(server: &Server) -> Result<PathBuf> {
    MaintenanceClient::new(server.connect().await?.channel).defragment(DefragmentRequest {}).await?;
    let files = folder::files(&server.folder().join("engine/keyspaces/1/tables"))?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    files.into_iter().max_by_key(number).context("rows are in a table")
}

/// Turns bits in the rows of a table, at these hundredths of it.
fn rot(table: &PathBuf, hundredths: &[u64]) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(table)?;
    let len = file.metadata()?.len();
    for hundredth in hundredths {
        let (at, mut byte) = (len * hundredth / 100, [0]);
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 0x10], at)?;
    }
    Ok(())
}

fn names_rot(status: &MeshStatusResponse) -> bool {
    let is_rot =
        |text: &str| text.contains("is rotten on this disk") && text.contains("commit") && text.contains("\"k0");
    status.alarms.iter().any(|alarm| alarm.kind() == MeshAlarmKind::Corrupt && is_rot(&alarm.text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_under_a_running_site_is_not_served_not_passed_on_and_comes_back_from_a_peer() -> Result<()> {
    // The ship hears of the factory through the pier alone, and the pier's disk rots.
    let mut mesh = Mesh::prepare(&launch(), &["factory", "pier", "ship"], Shape::chain(3), 7)?;
    mesh.start().await?;
    fill(&mesh.sites()[0], 0..EARLY).await?;
    mesh.converge(PATIENCE).await?;
    mesh.site(2).stop()?;
    fill(&mesh.sites()[0], EARLY..KEYS).await?;
    let mut pier = mesh.sites()[1].connect().await?;
    until("the pier has everything", async || Ok(read_all(&mut pier).await?.right == KEYS)).await?;
    mesh.isolate(0)?;
    rot(&table(&mesh.sites()[1]).await?, &[10, 25, 40])?;
    let read = read_all(&mut pier).await?;
    ensure!(read.refused > 0 && read.absent == 0 && read.right > 0, "{read:?}");
    let pier_site = &mesh.sites()[1];
    until("the scrubber counts it", async || Ok(metric(pier_site, "tombolo_rotten_rows")? > 0)).await?;
    until("an alarm names it", async || Ok(names_rot(&mesh.status(1).await?))).await?;
    mesh.site(2).restart().await?;
    let mut ship = mesh.sites()[2].connect().await?;
    until("the ship is connected", async || Ok(mesh.sites()[1].output().contains("the log cannot be read for a peer")))
        .await?;
    let read = read_all(&mut ship).await?;
    ensure!(
        read.refused == 0 && read.right >= EARLY && read.right < KEYS,
        "rot was passed on, or went nowhere: {read:?}"
    );
    // The factory is there again.
    mesh.heal()?;
    let pier_site = &mesh.sites()[1];
    until("everything is put back", async || Ok(metric(pier_site, "tombolo_rotten_rows")? == 0)).await?;
    let (found, mended) =
        (metric(pier_site, "tombolo_rotten_rows_found_total")?, metric(pier_site, "tombolo_rotten_rows_mended_total")?);
    ensure!(found > 0 && found == mended, "{mended} of {found} were put back");
    until("the alarm ends", async || Ok(mesh.status(1).await?.alarms.is_empty())).await?;
    mesh.converge(PATIENCE).await?;
    for site in mesh.sites() {
        ensure!(read_all(&mut site.connect().await?).await?.right == KEYS);
    }
    ensure!(mesh.alarms().await?.is_empty(), "{:?}", mesh.alarms().await?);
    // What was put back is there at the next start as well.
    mesh.site(1).restart().await?;
    ensure!(read_all(&mut mesh.sites()[1].connect().await?).await?.right == KEYS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_rotted_while_it_was_closed_is_mended_by_a_peer_before_anything_is_served() -> Result<()> {
    let mut mesh = Mesh::prepare(&launch(), &["factory", "pier"], Shape::full(2), 8)?;
    mesh.start().await?;
    fill(&mesh.sites()[0], 0..EARLY).await?;
    mesh.converge(PATIENCE).await?;
    fill(&mesh.sites()[1], EARLY..KEYS).await?;
    let standing = mesh.converge(PATIENCE).await?;
    let (name, revision) = (mesh.status(1).await?.replica, last_revision(&mesh.sites()[1]).await?);
    let table = table(&mesh.sites()[1]).await?;
    mesh.site(1).stop()?;
    rot(&table, &[10, 25, 40])?;
    // Nobody is there whom it could ask, and it waits.
    mesh.isolate(1)?;
    mesh.site(1).start_without_waiting()?;
    let pier = &mesh.sites()[1];
    until("it says what is wrong", async || Ok(pier.output().contains("rows are rotten on this disk"))).await?;
    ensure!(pier.connect().await.is_err(), "nothing may be served");
    mesh.heal()?;
    until("it serves", async || Ok(mesh.sites()[1].connect().await.is_ok())).await?;
    ensure!(read_all(&mut mesh.sites()[1].connect().await?).await?.right == KEYS);
    ensure!(mesh.converge(PATIENCE).await? == standing, "nothing was written for it");
    ensure!(mesh.status(1).await?.replica == name, "it goes on under its name");
    ensure!(last_revision(&mesh.sites()[1]).await? == revision, "revisions are what they were");
    ensure!(mesh.alarms().await?.is_empty(), "{:?}", mesh.alarms().await?);
    // No damaged table is left: all of it is merged, and opened again.
    self::table(&mesh.sites()[1]).await?;
    fill(&mesh.sites()[1], 0..1).await?;
    mesh.site(1).restart().await?;
    ensure!(read_all(&mut mesh.sites()[1].connect().await?).await?.right == KEYS);
    mesh.converge(PATIENCE).await?;
    Ok(())
}

async fn last_revision(server: &Server) -> Result<i64> {
    let request = RangeRequest { key: key(KEYS - 1).into(), ..Default::default() };
    let answer = server.connect().await?.kv.range(request).await?.into_inner();
    Ok(answer.kvs.first().context("the last key")?.mod_revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_rotted_where_nobody_else_has_it_says_which_row_and_what_to_do() -> Result<()> {
    let mut server = launch().start().await?;
    fill(&server, 0..EARLY).await?;
    let table = table(&server).await?;
    server.stop()?;
    rot(&table, &[30])?;
    let refusal = server.refusal()?;
    ensure!(!refusal.status.success());
    for words in ["the row of commit", "no other site is known", "restore a backup", "nothing was changed"] {
        ensure!(refusal.output.contains(words), "{words:?} is not said: {}", refusal.output);
    }
    Ok(())
}

/// Turns a bit in the newest row of signatures of a site that is not running.
fn rot_signatures(server: &Server) -> Result<()> {
    let engine = FjallEngine::open(&server.folder().join("engine"))?;
    let (key, row) = engine.snapshot().last(b"g", b"h")?.context("records came from a peer")?;
    let mut row = row.to_vec();
    let at = row.len() / 2;
    row[at] ^= 0x10;
    engine.write(vec![Change::Put(key, row.into())], Persist::Disk)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_rotted_are_asked_for_again_and_nothing_is_passed_on_without_them() -> Result<()> {
    // The ship hears of the factory through the pier alone, whose proof of what the factory wrote last is gone.
    let mut mesh = Mesh::prepare(&launch(), &["factory", "pier", "ship"], Shape::chain(3), 9)?;
    mesh.start().await?;
    fill(&mesh.sites()[0], 0..EARLY).await?;
    mesh.converge(PATIENCE).await?;
    mesh.site(2).stop()?;
    fill(&mesh.sites()[0], EARLY..KEYS).await?;
    let mut pier = mesh.sites()[1].connect().await?;
    until("the pier has everything", async || Ok(read_all(&mut pier).await?.right == KEYS)).await?;
    mesh.isolate(0)?;
    mesh.site(1).stop()?;
    rot_signatures(&mesh.sites()[1])?;
    mesh.site(1).restart().await?;
    ensure!(read_all(&mut mesh.sites()[1].connect().await?).await?.right == KEYS, "no value is lost");
    let is_named = |status: MeshStatusResponse| {
        let mut corrupt = status.alarms.iter().filter(|alarm| alarm.kind() == MeshAlarmKind::Corrupt);
        corrupt.any(|alarm| alarm.text.contains("the signatures that came with commit"))
    };
    until("an alarm names it", async || Ok(is_named(mesh.status(1).await?))).await?;
    mesh.site(2).restart().await?;
    let mut ship = mesh.sites()[2].connect().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(read_all(&mut ship).await?.right < KEYS, "the last of it was passed on without a proof");
    mesh.heal()?;
    mesh.converge(PATIENCE).await?;
    ensure!(read_all(&mut ship).await?.right == KEYS);
    let pier = &mesh.sites()[1];
    until("they are sound", async || Ok(metric(pier, "tombolo_rotten_rows")? == 0)).await?;
    until("the alarm ends", async || Ok(mesh.alarms().await?.is_empty())).await?;
    mesh.site(1).restart().await?;
    ensure!(metric(&mesh.sites()[1], "tombolo_rotten_rows")? == 0);
    Ok(())
}
