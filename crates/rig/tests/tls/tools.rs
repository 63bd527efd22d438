//! Command lines as clients with TLS: etcd's own, and ours by the same words.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::Result;
use tombolo_rig::{
    process::Server,
    requirement::{self, Tool},
};

use crate::support::{Place, text};

/// Both command lines, as far as they are there.
fn tools() -> Vec<(PathBuf, bool)> {
    let own = requirement::tombolod().with_file_name("tombolo");
    let own = own.is_file().then_some((own, true));
    if own.is_none() {
        requirement::skip("tombolo", "no tombolo beside tombolod (run `cargo build -p tombolo-cli`)");
    }
    own.into_iter().chain(Tool::Etcdctl.find().map(|etcdctl| (etcdctl, false))).collect()
}

fn run(tool: &PathBuf, endpoint: &str, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(tool);
    command.env_remove("SSL_CERT_FILE").env("ETCDCTL_API", "3");
    Ok(command
        .args(["--endpoints", endpoint, "--dial-timeout", "1s", "--command-timeout", "1s"])
        .args(words)
        .output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_let_in_with_the_right_files_and_only_then() -> Result<()> {
    let place = Place::new()?;
    let server = place.for_guests(Server::tombolo()).start().await?;
    let files = place.client.write(place.folder.path(), "client")?;
    let (cacert, cert, key) = (text(&place.path("ca.crt")), text(&files.cert), text(&files.key));
    let all = ["--cacert", &cacert, "--cert", &cert, "--key", &key];
    let bare = server.address().to_string();
    for (tool, _) in tools() {
        for endpoint in [server.endpoint(), bare.clone()] {
            let put = run(&tool, &endpoint, &[&all[..], &["put", "a", "1"]].concat())?;
            assert!(put.status.success() && said(&put) == "OK\n", "{endpoint}: {}", said(&put));
            let got = run(&tool, &endpoint, &[&all[..], &["get", "a"]].concat())?;
            assert_eq!(said(&got), "a\n1\n", "{endpoint}");
        }
        let refused: [(&[&str], &str); 5] = [
            (&[], "no CA and no certificate"),
            (&["--cacert", &cacert], "no certificate"),
            (&["--cert", &cert, "--key", &key], "no CA"),
            (&["--cacert", &cacert, "--cert", &cert], "no key"),
            (&["--cacert", "/nonexistent", "--cert", &cert, "--key", &key], "a missing file"),
        ];
        for (flags, why) in refused {
            let refused = run(&tool, &server.endpoint(), &[flags, &["get", "a"]].concat())?;
            assert!(!refused.status.success(), "{}: {why}: {}", tool.display(), said(&refused));
        }
        let plain = run(&tool, &bare, &["get", "a"])?;
        assert!(!plain.status.success(), "plaintext: {}", said(&plain));
        let dropped = run(&tool, &format!("http://{bare}"), &[&all[..], &["get", "a"]].concat())?;
        assert!(!dropped.status.success(), "http:// is plaintext whatever the flags say: {}", said(&dropped));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_can_be_skipped_and_the_environment_says_what_flags_do() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    for (tool, is_own) in tools() {
        let skipping = ["--insecure-transport=false", "--insecure-skip-tls-verify", "put", "a", "1"];
        let skipped = run(&tool, &server.endpoint(), &skipping)?;
        assert!(skipped.status.success(), "{}", said(&skipped));
        let checked = run(&tool, &server.endpoint(), &["--insecure-transport=false", "get", "a"])?;
        assert!(!checked.status.success(), "the system does not know this CA: {}", said(&checked));
        if is_own {
            assert!(said(&checked).contains("--cacert"), "it says what to try: {}", said(&checked));
        }
        let mut command = Command::new(&tool);
        command.env("ETCDCTL_API", "3").env("ETCDCTL_CACERT", place.path("ca.crt"));
        let got = command.env("ETCDCTL_ENDPOINTS", server.endpoint()).args(["get", "a"]).output()?;
        assert_eq!(said(&got), "a\n1\n", "{}", tool.display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_server_s_own_making_is_kept() -> Result<()> {
    let mut server = Server::tombolo().in_memory().prepare()?;
    server.set("--auto-tls", "true");
    let endpoint = format!("https://{}", server.address());
    server.set("--listen-client-urls", &endpoint);
    server.set("--advertise-client-urls", &endpoint);
    server.start_without_waiting()?;
    let cert = server.folder().join("client-tls").join("cert.pem");
    crate::support::eventually("it answers", async || {
        tombolo_rig::http::Page::get(server.metrics_address(), "/readyz").is_ok()
    })
    .await?;
    let first = std::fs::read_to_string(&cert)?;
    for (tool, _) in tools() {
        let trusted = run(&tool, &endpoint, &["--cacert", &text(&cert), "put", "a", "1"])?;
        assert!(trusted.status.success(), "{}: {}", tool.display(), said(&trusted));
    }
    server.kill()?;
    server.start_without_waiting()?;
    crate::support::eventually("it answers again", async || {
        tombolo_rig::http::Page::get(server.metrics_address(), "/readyz").is_ok()
    })
    .await?;
    assert_eq!(std::fs::read_to_string(&cert)?, first);
    Ok(())
}
