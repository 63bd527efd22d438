//! Whom a server lets in that asks for certificates. Everything here holds for a real etcd too, where there is one.

use anyhow::Result;
use tombolo_rig::{
    pki::{Authority, Purpose},
    process::{Launch, Server},
    secure::Trust,
};

use crate::support::{Place, gets_answer, gets_page, text};

fn both() -> impl Iterator<Item = (Launch, &'static str)> {
    let etcd = Server::etcd().map(|etcd| (etcd, "etcd"));
    std::iter::once((Server::tombolo(), "tombolod")).chain(etcd)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_cas_alone_demands_a_certificate() -> Result<()> {
    for (launch, name) in both() {
        let place = Place::new()?;
        let server = place.for_guests(launch).start().await?;
        let other = Authority::root("Rig Root")?;
        let forged = place.stranger().showing(&other.client("someone")?);
        let expired = place.authority.issue(Purpose::ExpiredClient, "someone", &[])?;
        let (below, _) = place.authority.below("Rig Branch")?;
        for (trust, who, is_let_in) in [
            (place.guest(), "a client of the CA", true),
            (place.guest().old(), "a client of the CA with TLS 1.2", true),
            (place.stranger().showing(&below.client("branch")?), "one of an authority below it", true),
            (place.stranger(), "one without a certificate", false),
            (place.stranger().old(), "one without a certificate with TLS 1.2", false),
            (forged, "one of another CA of that name", false),
            (place.stranger().showing(&expired), "one whose time is over", false),
        ] {
            assert_eq!(gets_answer(&trust, server.address()).await, is_let_in, "{name}: {who}");
            assert_eq!(
                gets_page(&trust, server.address(), "/version").await,
                is_let_in,
                "{name}: {who}, over HTTP/1.1"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_names_that_are_allowed_are_let_in() -> Result<()> {
    for (launch, name) in both() {
        let place = Place::new()?;
        let issue = |common_name: &str, names: &[&str]| place.authority.issue(Purpose::Client, common_name, names);
        let allowed = place.stranger().showing(&issue("x", &["a.rig.example", "other.example"])?);
        let launch = place.for_guests(launch).with("--client-cert-allowed-hostname", "a.rig.example");
        let server = launch.secured(allowed.clone()).start().await?;
        for (trust, who, is_let_in) in [
            (allowed, "the name among others", true),
            (place.stranger().showing(&issue("x", &["*.rig.example"])?), "a pattern that fits", true),
            (place.stranger().showing(&issue("x", &["b.rig.example"])?), "another name", false),
            (place.stranger().showing(&issue("x", &["*.example"])?), "a pattern that does not", false),
            (place.stranger().showing(&issue("a.rig.example", &[])?), "a common name alone", false),
            (place.stranger().showing(&issue("x", &["127.0.0.1"])?), "an address", false),
        ] {
            assert_eq!(gets_answer(&trust, server.address()).await, is_let_in, "{name}: {who}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_for_metrics_demands_the_same() -> Result<()> {
    for (launch, name) in both() {
        let place = Place::new()?;
        let mut server = place.for_guests(launch).start().await?;
        server.set("--listen-metrics-urls", &format!("https://{}", server.metrics_address()));
        server.restart().await?;
        for path in ["/metrics", "/health"] {
            assert!(gets_page(&place.guest(), server.metrics_address(), path).await, "{name} {path}");
            assert!(!gets_page(&place.stranger(), server.metrics_address(), path).await, "{name} {path}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_that_would_protect_less_than_was_asked_for_do_not_start() -> Result<()> {
    let place = Place::new()?;
    let (cert, key) = (text(&place.server.cert), text(&place.server.key));
    let stranger = Authority::root("Stranger")?.local_server()?.write(place.folder.path(), "stranger")?;
    let empty = place.write("empty", "")?;
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "--cert-file, --key-file"),
        (&[("--cert-file", &cert)], "together"),
        (&[("--cert-file", &cert), ("--key-file", &text(&stranger.key))], "cannot be used together"),
        (&[("--cert-file", &cert), ("--key-file", &cert)], "no private key"),
        (&[("--cert-file", &cert), ("--key-file", "/nonexistent")], "/nonexistent"),
        (&[("--cert-file", &cert), ("--key-file", &key), ("--trusted-ca-file", &empty)], "no certificate"),
    ];
    for (flags, named) in cases {
        let mut launch = Server::tombolo().secured(Trust::in_ca(""));
        for (flag, value) in flags {
            launch = launch.with(flag, value);
        }
        let mut server = launch.prepare()?;
        let refusal = server.refusal()?;
        assert!(!refusal.status.success() && refusal.output.contains(named), "{flags:?}: {}", refusal.output);
        assert!(!server.folder().join("MANIFEST").exists(), "nothing was founded: {flags:?}");
    }
    Ok(())
}
