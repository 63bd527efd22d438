//! One server under measurement: its process and the connections to it, through restarts.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    gauge::Gauge,
    load::{Kind, Load},
};
use crate::process::{Program, Server};

/// Long enough for a server that has a million keys to load.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(120);

/// A running server and connections to it.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) server: Server,
    pub(crate) gauge: Gauge,
}

impl Contender {
    /// Starts a server on an empty folder and connects to it.
    pub(crate) async fn start(program: &Program, home: &Path, connections: usize) -> Result<Self> {
        let mut server = Server::prepare(program, home)?;
        server.start()?;
        let gauge = connect(&mut server, connections).await?;
        Ok(Self { server, gauge })
    }

    /// Starts the server again and waits for the first answered read.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.server.start()?;
        self.gauge = connect(&mut self.server, 1).await?;
        let read = Load { kind: Kind::Range, clients: 1, operations: 1, keys: 1, seed: 0 };
        // etcd listens before it can answer.
        while let Err(error) = self.gauge.warm(read).await {
            if started.elapsed() > START_PATIENCE {
                return Err(error.context("no read was answered after the restart"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(started.elapsed())
    }
}

async fn connect(server: &mut Server, connections: usize) -> Result<Gauge> {
    server.wait_until_listening(START_PATIENCE)?;
    let process = server.pid().context("the server is not running")?;
    Gauge::open(process, &server.address(), connections).await
}
