//! Writers that write as fast as they are answered, until the server is killed under them.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use super::{client::Client, continuity::Acknowledged};
use crate::process::Server;

/// Writers that run at the same time, each with a connection of its own.
pub(crate) const WRITERS: usize = 8;

/// Lets the writers run for a while, kills the server in the middle, and returns all that was acknowledged.
pub(crate) async fn until_killed(server: &mut Server, duration: Duration) -> Result<Vec<Acknowledged>> {
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = Client::connect(&server.url()).await?;
        writers.spawn(write(client, writer, Arc::clone(&acknowledged)));
    }
    sleep(duration).await;
    server.kill()?;
    writers.join_all().await;
    let acknowledged = acknowledged.lock().await;
    Ok(acknowledged.clone())
}

/// Writes one key after another; the first error is the end of the server.
async fn write(mut client: Client, writer: usize, acknowledged: Arc<Mutex<Vec<Acknowledged>>>) {
    for number in 0_u64.. {
        let key = format!("/boats/{writer}/{number:06}");
        let value = format!("{writer}.{number}");
        let Ok(revision) = client.put(&key, &value).await else { return };
        acknowledged.lock().await.push(Acknowledged { key, value, revision });
    }
}
