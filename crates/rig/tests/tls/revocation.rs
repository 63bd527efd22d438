//! Certificates that were revoked: on every listener, for every certificate of the chain, also for those who are connected.

use std::fs;

use anyhow::Result;
use rustls::pki_types::pem::PemObject as _;
use tombolo_rig::{
    pki::{Authority, ListAge},
    process::{Launch, Server},
};

use crate::support::{Place, eventually, gets_answer, gets_page, metric, put, text};

/// A server whose list names these numbers, and which asks for certificates at its metrics too.
async fn with_list(place: &Place, launch: Launch, list: &str) -> Result<Server> {
    let path = place.write("revoked.crl", list)?;
    let mut server = place.for_guests(launch).with("--client-crl-file", &path).start().await?;
    server.set("--listen-metrics-urls", &format!("https://{}", server.metrics_address()));
    server.restart().await?;
    Ok(server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_client_gets_in_nowhere() -> Result<()> {
    let place = Place::new()?;
    let revoked = place.authority.client("revoked")?;
    let list = place.authority.revoke(&[revoked.serial], ListAge::Current)?;
    let server = with_list(&place, Server::tombolo(), &list).await?;
    for trust in [place.stranger().showing(&revoked), place.stranger().showing(&revoked).old()] {
        assert!(!gets_answer(&trust, server.address()).await);
        assert!(!gets_page(&trust, server.address(), "/version").await);
        assert!(!gets_page(&trust, server.metrics_address(), "/metrics").await);
    }
    assert!(gets_answer(&place.guest(), server.address()).await);
    assert!(gets_page(&place.guest(), server.metrics_address(), "/metrics").await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_authority_takes_its_clients_with_it() -> Result<()> {
    let place = Place::new()?;
    let (branch, serial) = place.authority.below("Rig Branch")?;
    let (other, _) = place.authority.below("Rig Other Branch")?;
    let list = place.authority.revoke(&[serial], ListAge::Current)?;
    let server = with_list(&place, Server::tombolo(), &list).await?;
    assert!(!gets_answer(&place.stranger().showing(&branch.client("a")?), server.address()).await);
    assert!(gets_answer(&place.stranger().showing(&other.client("a")?), server.address()).await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_several_authorities_hold_each_for_its_own() -> Result<()> {
    let place = Place::new()?;
    let (branch, _) = place.authority.below("Rig Branch")?;
    let (good, bad) = (branch.client("good")?, branch.client("bad")?);
    // The root revokes a number that is not its own: that says nothing of the branch's certificate of that number.
    let lists =
        place.authority.revoke(&[good.serial], ListAge::Current)? + &branch.revoke(&[bad.serial], ListAge::Current)?;
    let server = with_list(&place, Server::tombolo(), &lists).await?;
    assert!(gets_answer(&place.stranger().showing(&good), server.address()).await, "{}", server.output());
    assert!(!gets_answer(&place.stranger().showing(&bad), server.address()).await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_list_holds_and_is_remarked() -> Result<()> {
    let place = Place::new()?;
    let revoked = place.authority.client("revoked")?;
    let path = place.write("revoked.crl", &place.authority.revoke(&[revoked.serial], ListAge::Overdue)?)?;
    let server = place.for_guests(Server::tombolo()).with("--client-crl-file", &path).start().await?;
    assert!(!gets_answer(&place.stranger().showing(&revoked), server.address()).await);
    assert!(gets_answer(&place.guest(), server.address()).await, "a cut link to the CA must not lock everybody out");
    assert!(server.output().contains("should have been replaced"), "{}", server.output());
    // The first second of 2021.
    assert_eq!(metric(&server, "tombolo_crl_next_update_timestamp_seconds")?, 1_609_459_200.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_the_authority_has_not_signed_is_no_list() -> Result<()> {
    let place = Place::new()?;
    let forger = Authority::root("Rig Root")?;
    let path = place.write("revoked.crl", &forger.revoke(&[], ListAge::Current)?)?;
    let mut server = place.for_guests(Server::tombolo()).with("--client-crl-file", &path).prepare()?;
    let refusal = server.refusal()?;
    assert!(refusal.output.contains("not signed by it"), "{}", refusal.output);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_branch_has_to_be_signed_by_the_branch_that_clients_show() -> Result<()> {
    let place = Place::new()?;
    let (branch, _) = place.authority.below("Rig Branch")?;
    let forger = Authority::root("Rig Branch")?;
    let path = place.write("revoked.crl", &forger.revoke(&[], ListAge::Current)?)?;
    let server = place.for_guests(Server::tombolo()).with("--client-crl-file", &path).start().await?;
    assert!(!gets_answer(&place.stranger().showing(&branch.client("a")?), server.address()).await);
    assert!(gets_answer(&place.guest(), server.address()).await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_while_connected_is_cut() -> Result<()> {
    let place = Place::new()?;
    let path = place.write("revoked.crl", &place.authority.revoke(&[], ListAge::Current)?)?;
    let server = place.for_guests(Server::tombolo()).with("--client-crl-file", &path).start().await?;
    let mut guest = server.connect().await?;
    put(&mut guest, "before").await?;
    let other = place.stranger().showing(&place.authority.client("other")?);
    fs::write(place.path("revoked.crl"), place.authority.revoke(&[place.client.serial], ListAge::Current)?)?;
    // Somebody else's handshake is what makes the server look.
    let after = eventually("the revoked client is turned away", async || {
        assert!(gets_answer(&other, server.address()).await);
        !gets_answer(&place.guest(), server.address()).await
    });
    println!("turned away after {:?}", after.await?);
    eventually("the open connection is cut", async || put(&mut guest, "after").await.is_err()).await?;
    assert!(server.output().lines().all(|line| !line.contains("panic")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_turns_a_revoked_client_away_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let place = Place::new()?;
    let revoked = place.authority.client("revoked")?;
    // Its newer releases read DER alone.
    let list = place.authority.revoke(&[revoked.serial], ListAge::Current)?;
    let list = rustls::pki_types::CertificateRevocationListDer::from_pem_slice(list.as_bytes())?;
    fs::write(place.path("revoked.crl"), &list)?;
    for launch in [etcd, Server::tombolo()] {
        let crl = text(&place.path("revoked.crl"));
        let server = place.for_guests(launch).with("--client-crl-file", &crl).start().await?;
        assert!(!gets_page(&place.stranger().showing(&revoked), server.address(), "/version").await);
        assert!(gets_page(&place.guest(), server.address(), "/version").await);
    }
    Ok(())
}
