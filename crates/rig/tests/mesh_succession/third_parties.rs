//! Sites that hold different records of somebody else under one name: they stop talking, both say so, and neither takes anything from the
//! other.

use anyhow::{Context, Result};
use tombolo_rig::http::Page;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sites_with_different_records_of_a_third_one_exchange_nothing() -> Result<()> {
    let (mut factory, mut ship) = pair(launch()).await?;
    let mut office = launch().with("--name", "office").with("--join", &invite(&factory).await?).start().await?;
    put(&ship, "common", "1").await?;
    in_step(&factory, &ship).await?;
    in_step(&factory, &office).await?;
    ship.stop()?;
    let earlier = ship.folder().with_extension("earlier");
    folder::copy(&ship.folder(), &earlier)?;
    // One hears of the one past, and the other of the other.
    office.stop()?;
    ship.restart().await?;
    put(&ship, "k", "as the factory heard it").await?;
    in_step(&factory, &ship).await?;
    ship.stop()?;
    factory.stop()?;
    set_back(&ship, &earlier)?;
    office.restart().await?;
    ship.restart().await?;
    put(&ship, "k", "as the office heard it").await?;
    in_step(&office, &ship).await?;
    let author = status(&ship).await?.replica;
    ship.stop()?;
    factory.restart().await?;

    let names = [status(&factory).await?.replica, status(&office).await?.replica];
    for (site, peer) in [(&factory, names[1]), (&office, names[0])] {
        until("it says that their records differ", || async {
            let alarms = status(site).await?.alarms;
            Ok(alarms.iter().any(|alarm| {
                let names_the_author = alarm.text.contains(&format!("{author:016x}"));
                alarm.kind() == MeshAlarmKind::Forked && alarm.peer == peer && names_the_author
            }))
        })
        .await?;
    }
    put(&factory, "of the factory", "1").await?;
    put(&office, "of the office", "1").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (site, heard, own, other) in [
        (&factory, "as the factory heard it", "of the factory", "of the office"),
        (&office, "as the office heard it", "of the office", "of the factory"),
    ] {
        assert_eq!(get(site, "k").await?.context("k")?.value, heard);
        assert!(get(site, own).await?.is_some() && get(site, other).await?.is_none(), "nothing is merged");
    }
    // An operator chooses: with the other site out of the mesh there is nothing to dispute.
    assert_ne!(Page::get(factory.address(), "/health")?.status, 200);
    let office_name = format!("{:016x}", names[1]);
    let removed = tombolo(&["--endpoints", &factory.endpoint(), "mesh", "remove", &office_name])?;
    ensure!(removed.status.success(), "{removed:?}");
    until("the alarm ends", || async { Ok(status(&factory).await?.alarms.is_empty()) }).await?;
    assert_eq!(Page::get(factory.address(), "/health")?.status, 200);
    Ok(())
}
