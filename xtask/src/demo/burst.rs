//! Writers that write one key after another at one site, until they are asked to stop or the site is killed under them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{task::JoinSet, time::sleep};

use super::{acknowledged::Acknowledged, client::Client};

/// Writers of one burst.
pub(crate) const WRITERS: usize = 4;
/// A breath between two writes: this is a story and not a benchmark.
const BREATH: Duration = Duration::from_millis(1);

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Burst {
    writers: JoinSet<Result<Written>>,
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// How long each answer took.
    pub(crate) took: Vec<Duration>,
}

impl Burst {
    /// Starts writing below `/log/<name>/`.
    pub(crate) fn start(client: &Client, site: usize, name: &'static str) -> Self {
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let folder = format!("/log/{name}/{writer}");
            writers.spawn(write(client.clone(), site, folder, Arc::clone(&over), Arc::clone(&count)));
        }
        Self { writers, over, count }
    }

    /// Writes acknowledged so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// From now on an error is the end of a writer, and not of the story: the site is about to be killed.
    pub(crate) fn expect_the_end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Asks the writers to stop and returns all that was acknowledged. Fails if a write was refused before.
    pub(crate) async fn stop(mut self) -> Result<Written> {
        self.expect_the_end();
        let mut written = Written::default();
        while let Some(one) = self.writers.join_next().await {
            let one = one.context("a writer broke off")??;
            written.acknowledged.extend(one.acknowledged);
            written.took.extend(one.took);
        }
        Ok(written)
    }
}

async fn write(
    mut client: Client,
    site: usize,
    folder: String,
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Result<Written> {
    let mut written = Written::default();
    for number in 0_u64.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let (key, value) = (format!("{folder}/{number:06}"), number.to_string());
        let asked = Instant::now();
        match client.put(&key, &value).await {
            Ok(revision) => {
                written.took.push(asked.elapsed());
                written.acknowledged.push(Acknowledged { site, key, value, revision });
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if over.load(Ordering::SeqCst) => break,
            Err(error) => return Err(error.context(format!("the put of {key} was refused"))),
        }
        sleep(BREATH).await;
    }
    Ok(written)
}
