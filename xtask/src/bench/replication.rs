//! Sites of one mesh: how soon a write is at another site, what a peer costs the one that writes, and whether distance
//! shows at home.
//!
//! All sites share the processors of this machine with the load generator, which they would not do elsewhere: a site that
//! applies what another one writes takes time from it. That is why 100 ms of distance are compared with none, where
//! both have a peer, and not only with a site that is alone. The sites of a table are measured in turn, round by round.

use std::path::Path;

use anyhow::Result;
use tokio::runtime;
use tombolo_rig::process::{Launch, Server};

use super::{
    Effort,
    load::{Kind, Load},
    report::Report,
    series::Row,
    traffic::CLIENTS,
};

use round::Round;
use sites::Sites;

pub(crate) mod lag;
pub(crate) mod round;
mod sites;
mod wire;

/// The delay of each packet between sites that are far apart.
pub(crate) const FAR_MS: u64 = 100;

/// Measures everything of this file, reporting each part as soon as it is done.
pub(crate) fn measure(tombolod: &Path, folder: &Path, effort: Effort, report: &Report<'_>) -> Result<()> {
    let home = tempfile::tempdir_in(folder)?;
    let launch = Server::tombolo_at(tombolod).at_home_in(home.path());
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let alone = Sites::connected(&launch, 1, effort).await?;
        peers(&launch, &alone, effort, report).await?;
        distance(&launch, &alone, effort, report).await
    })
}

/// Sites that talk to each other directly.
async fn peers(launch: &Launch, alone: &Sites, effort: Effort, report: &Report<'_>) -> Result<()> {
    let two = Sites::connected(launch, 2, effort).await?;
    report.lag(&lag::measure(&two, effort).await?)?;
    let three = Sites::connected(launch, 3, effort).await?;
    let rows = in_turn(&[("no peer", alone), ("1 peer", &two), ("2 peers", &three)], effort).await?;
    report.peers(&rows)
}

/// Sites with a relay between them, that delays packets or does not.
async fn distance(launch: &Launch, alone: &Sites, effort: Effort, report: &Report<'_>) -> Result<()> {
    let near = Sites::apart(launch, 0, effort).await?;
    let far = Sites::apart(launch, FAR_MS, effort).await?;
    let rows = in_turn(&[("no peer", alone), ("0 ms away", &near), ("100 ms away", &far)], effort).await?;
    report.distance(&rows)
}

/// Measures round by round. Each round begins with another one, because what was done just before is felt.
async fn in_turn<const N: usize>(sites: &[(&str, &Sites); N], effort: Effort) -> Result<[Row<Round>; N]> {
    let mut rows = sites.map(|(name, _)| Row::new(name));
    for round in 0..effort.rounds {
        let seed = (round as u64 + 1) << 32;
        let load = Load { kind: Kind::Put, clients: CLIENTS, operations: effort.operations, keys: effort.keys, seed };
        for turn in 0..N {
            let place = (round + turn) % N;
            rows[place].rounds.push(round::measure(sites[place].1, load).await?);
        }
    }
    Ok(rows)
}
