//! One holder at a time, among callers of the service and real `etcdctl`s at once, first come first served.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tombolo_rig::{
    process::{Launch, Server},
    requirement::Tool,
};

use super::site::Site;

const CALLERS: i64 = 12;
const ROUNDS: usize = 5;
const PROGRAMS: usize = 6;

/// What everybody writes who holds the lock: their name when they come, and again when they go.
#[derive(Clone)]
struct Book(Arc<PathBuf>);

impl Book {
    fn write(&self, name: &str) -> Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&*self.0)?;
        writeln!(file, "{name}")?;
        Ok(())
    }

    /// Whoever came went before anybody else came.
    fn check(&self, visits: usize) -> Result<()> {
        let text = fs::read_to_string(&*self.0)?;
        let names: Vec<&str> = text.lines().collect();
        ensure!(names.len() == 2 * visits, "{} lines for {visits} visits", names.len());
        for pair in names.chunks(2) {
            ensure!(pair[0] == pair[1], "two at once: {pair:?} in {names:?}");
        }
        Ok(())
    }
}

async fn visits(site: Site, lease: i64, book: Book) -> Result<()> {
    for _ in 0..ROUNDS {
        let key = site.lock("door", lease).await?.key;
        book.write(&format!("caller {lease}"))?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        book.write(&format!("caller {lease}"))?;
        site.unlock(&key).await?;
    }
    Ok(())
}

fn program(etcdctl: &Path, server: &Server, number: usize, book: &Book) -> Result<Child> {
    let line = format!("echo program {number} >> \"$BOOK\"");
    let script = format!("{line}; sleep 0.01; {line}");
    let mut command = Command::new(etcdctl);
    command.env("ETCDCTL_API", "3").env("BOOK", &*book.0).stdout(Stdio::null()).stderr(Stdio::null());
    command.arg("--endpoints").arg(server.address().to_string()).args(["lock", "door", "--", "sh", "-c", &script]);
    command.spawn().context("etcdctl runs")
}

async fn crowd(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let folder = tempfile::tempdir()?;
    let book = Book(Arc::new(folder.path().join("book")));
    let etcdctl = Tool::Etcdctl.find();
    let mut programs = Vec::new();
    for number in 0..if etcdctl.is_some() { PROGRAMS } else { 0 } {
        programs.push(program(etcdctl.as_deref().context("it was found")?, &server, number, &book)?);
    }
    let mut callers = Vec::new();
    for lease in 1..=CALLERS {
        // Half of them share a connection.
        let site = Site::of(&server).await?;
        site.grant(lease, 60).await?;
        callers.push(tokio::spawn(visits(site, lease, book.clone())));
    }
    for caller in callers {
        caller.await??;
    }
    let visits = CALLERS as usize * ROUNDS + programs.len();
    for mut program in programs {
        ensure!(program.wait()?.success(), "an etcdctl failed");
    }
    book.check(visits)?;
    let left = Site::of(&server).await?.pairs("door/").await?;
    ensure!(left.is_empty(), "somebody left a key: {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_a_lock_at_a_time() -> Result<()> {
    crowd(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_a_lock_at_a_time_on_etcd_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    crowd(etcd).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_wait_in_the_order_in_which_they_came() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let site = Site::of(&server).await?;
    const WAITERS: i64 = 300;
    for lease in 1..=WAITERS {
        site.grant(lease, 600).await?;
    }
    let mut held = site.lock("door", 1).await?.key;
    let mut waiting = Vec::new();
    for lease in 2..=WAITERS {
        waiting.push(site.wait_for_lock("door", lease).await?);
    }
    for (place, waiter) in waiting.into_iter().enumerate() {
        site.unlock(&held).await?;
        held = waiter.await??.key;
        ensure!(held == format!("door/{:x}", place + 2), "{place}: {held:?}");
    }
    Ok(())
}
