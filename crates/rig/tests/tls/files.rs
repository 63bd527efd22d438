//! Files that change under a running server.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use anyhow::Result;
use tombolo_rig::{
    pki::{Authority, Purpose},
    process::Server,
};

use crate::support::{Place, eventually, first_of, gets_answer, metric, put, shown, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_to_the_next_and_open_connections_stay() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    let mut open = server.connect().await?;
    let renewed = place.authority.local_server()?;
    renewed.write(place.folder.path(), "server")?;
    let wanted = first_of(&renewed.cert)?;
    let see = async || shown(&place.stranger(), server.address()).await.is_ok_and(|cert| cert == wanted);
    eventually("the renewed certificate is shown", see).await?;
    put(&mut open, "still").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_pair_keeps_the_old_one_and_is_said_once() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    let old = shown(&place.stranger(), server.address()).await?;
    let renewed = place.authority.local_server()?;
    fs::write(&place.server.cert, &renewed.cert)?;
    let failed = async || metric(&server, "tombolo_tls_reloads_failed_total").is_ok_and(|failed| failed > 0.0);
    let knock = async || {
        assert_eq!(shown(&place.stranger(), server.address()).await.ok(), Some(old.clone()));
        failed().await
    };
    eventually("the half pair is noticed", knock).await?;
    for _ in 0..30 {
        assert_eq!(shown(&place.stranger(), server.address()).await?, old);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let complaints = server.output().matches("the certificates have changed").count();
    assert_eq!(complaints, 1, "{}", server.output());
    fs::write(&place.server.key, &renewed.key)?;
    let wanted = first_of(&renewed.cert)?;
    let see = async || shown(&place.stranger(), server.address()).await.is_ok_and(|cert| cert == wanted);
    eventually("the other half makes it whole", see).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_swapped_behind_a_link_is_noticed() -> Result<()> {
    // As Kubernetes mounts secrets: the names are links into `..data`, which is a link that is replaced.
    let place = Place::new()?;
    let old = place.authority.local_server()?;
    let new = place.authority.local_server()?;
    for (folder, pair) in [("..one", &old), ("..two", &new)] {
        fs::create_dir(place.path(folder))?;
        pair.write(&place.path(folder), "tls")?;
    }
    symlink("..one", place.path("..data"))?;
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), place.path(name))?;
    }
    let launch = place
        .open_to_all(Server::tombolo())
        .with("--cert-file", &text(&place.path("tls.crt")))
        .with("--key-file", &text(&place.path("tls.key")));
    let server = launch.start().await?;
    assert_eq!(shown(&place.stranger(), server.address()).await?, first_of(&old.cert)?);
    symlink("..two", place.path("..next"))?;
    fs::rename(place.path("..next"), place.path("..data"))?;
    let wanted = first_of(&new.cert)?;
    let see = async || shown(&place.stranger(), server.address()).await.is_ok_and(|cert| cert == wanted);
    eventually("the new folder's certificate is shown", see).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_authority_in_the_bundle_lets_its_clients_in_and_one_taken_out_does_not() -> Result<()> {
    let place = Place::new()?;
    let server = place.for_guests(Server::tombolo()).start().await?;
    let other = Authority::root("Rig Second Root")?;
    let newcomer = place.stranger().showing(&other.client("newcomer")?);
    assert!(!gets_answer(&newcomer, server.address()).await);
    fs::write(place.path("ca.crt"), place.authority.pem() + &other.pem())?;
    eventually("the newcomer is let in", async || gets_answer(&newcomer, server.address()).await).await?;
    assert!(gets_answer(&place.guest(), server.address()).await);
    fs::write(place.path("ca.crt"), other.pem())?;
    eventually("the old guest is not", async || !gets_answer(&place.guest(), server.address()).await).await?;
    assert!(gets_answer(&newcomer, server.address()).await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reads_the_files_at_once_and_ends_nothing() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    let before = metric(&server, "tombolo_cert_expiry_timestamp_seconds")?;
    // Nobody connects here: the metrics listener has no TLS.
    let short = place.authority.issue(Purpose::ExpiredClient, "server", &["127.0.0.1"])?;
    short.write(place.folder.path(), "server")?;
    server.signal("HUP")?;
    let told = async || metric(&server, "tombolo_cert_expiry_timestamp_seconds").is_ok_and(|now| now < before);
    let after = eventually("the new expiry is told", told).await?;
    assert!(after < std::time::Duration::from_secs(2), "{after:?}");
    assert!(server.output().contains("is not valid now"), "{}", server.output());

    let mut plain = Server::tombolo().in_memory().start().await?;
    plain.signal("HUP")?;
    put(&mut plain.connect().await?, "still").await?;
    assert!(plain.stop()?.is_some_and(|status| status.success()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_others_can_read_is_remarked() -> Result<()> {
    let place = Place::new()?;
    fs::set_permissions(&place.server.key, fs::Permissions::from_mode(0o644))?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    assert!(server.output().contains("others can read the private key"), "{}", server.output());
    fs::set_permissions(&place.server.key, fs::Permissions::from_mode(0o600))?;
    let quiet = place.open_to_all(Server::tombolo()).start().await?;
    assert!(!quiet.output().contains("others can read"), "{}", quiet.output());
    Ok(())
}
