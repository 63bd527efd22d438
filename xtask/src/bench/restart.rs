//! Restart: from the start of the process to the first answered read, with many keys in the folder.
//!
//! Once after a clean stop and once after a kill in each round. Every key was written by a put of its own, so that there are as
//! many commits as keys. The files are in the system's cache: a machine that was
//! itself restarted reads them from its disk first.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tokio::runtime;

use super::{Effort, contender::Contender, gauge::mebibytes, load::Load, series::median};
use crate::process::Program;

/// One server over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) keys: u64,
    /// Seconds until the first answered read, after a clean stop.
    pub(crate) stopped_s: Vec<f64>,
    /// The same after a kill.
    pub(crate) killed_s: Vec<f64>,
    /// Resident memory of the server after each restart that followed a kill.
    pub(crate) resident_mib: Vec<f64>,
}

impl Row {
    /// The median of one of the series.
    pub(crate) fn median(&self, series: fn(&Self) -> &Vec<f64>) -> f64 {
        median(series(self).iter().copied())
    }
}

/// Fills each server in turn and restarts it.
pub(crate) fn measure(programs: &[Program], folder: &Path, effort: Effort) -> Result<Vec<Row>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for program in programs {
        let home = tempfile::tempdir_in(folder)?;
        rows.push(runtime.block_on(restarts(program, home.path(), effort))?);
    }
    Ok(rows)
}

async fn restarts(program: &Program, home: &Path, effort: Effort) -> Result<Row> {
    let mut contender = Contender::start(program, home, 8).await?;
    contender.gauge.warm(Load::put_each(effort.restart_keys)).await?;
    let mut row = Row {
        server: contender.server.name().to_owned(),
        keys: effort.restart_keys,
        stopped_s: Vec::new(),
        killed_s: Vec::new(),
        resident_mib: Vec::new(),
    };
    for _ in 0..effort.rounds {
        contender.server.stop()?;
        row.stopped_s.push(contender.restart().await?.as_secs_f64());
        contender.server.kill()?;
        row.killed_s.push(contender.restart().await?.as_secs_f64());
        row.resident_mib.push(mebibytes(contender.gauge.usage()?.resident));
    }
    Ok(row)
}
