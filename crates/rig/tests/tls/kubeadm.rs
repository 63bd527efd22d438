//! The static pod of a recent kubeadm, with files of its own making: it starts, is healthy, and answers its probes.

use std::process::Command;

use anyhow::Result;
use tombolo_rig::{
    http::Page,
    pki::{Authority, Purpose},
    process::Server,
    requirement::Tool,
};

use crate::support::{Place, gets_answer, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_starts_is_healthy_and_answers_its_probes() -> Result<()> {
    let place = Place::new()?;
    let pki = place.folder.path();
    let peer = Authority::root("peers")?.issue(Purpose::Server, "node", &["127.0.0.1"])?.write(pki, "peer")?;
    let health = place.authority.issue(Purpose::Client, "kube-etcd-healthcheck-client", &[])?;
    let health_files = health.write(pki, "healthcheck-client")?;
    let trust = place.stranger().showing(&health);
    let mut server = Server::tombolo().secured(trust.clone()).prepare()?;
    let ca = text(&place.path("ca.crt"));
    let (client, peers) = (server.address(), server.peer_address());
    for (flag, value) in [
        ("--advertise-client-urls", format!("https://{client}")),
        ("--cert-file", text(&place.server.cert)),
        ("--client-cert-auth", "true".to_owned()),
        ("--feature-gates", "InitialCorruptCheck=true".to_owned()),
        ("--initial-advertise-peer-urls", format!("https://{peers}")),
        ("--initial-cluster", format!("node=https://{peers}")),
        ("--key-file", text(&place.server.key)),
        ("--listen-client-urls", format!("https://{client}")),
        ("--listen-metrics-urls", format!("http://{}", server.metrics_address())),
        ("--listen-peer-urls", format!("https://{peers}")),
        ("--name", "node".to_owned()),
        ("--peer-cert-file", text(&peer.cert)),
        ("--peer-client-cert-auth", "true".to_owned()),
        ("--peer-key-file", text(&peer.key)),
        ("--peer-trusted-ca-file", ca.clone()),
        ("--snapshot-count", "10000".to_owned()),
        ("--trusted-ca-file", ca.clone()),
        ("--watch-progress-notify-interval", "5s".to_owned()),
    ] {
        server.set(flag, &value);
    }
    server.restart().await?;

    // The probes, of this release and of those before.
    for path in ["/livez", "/readyz", "/health?exclude=NOSPACE&serializable=true", "/health?serializable=false"] {
        assert_eq!(Page::get(server.metrics_address(), path)?.status, 200, "{path}");
    }
    let output = server.output();
    assert!(output.contains("pinned keys") && output.contains("--peer-trusted-ca-file"), "{output}");
    assert!(!gets_answer(&place.stranger(), client).await, "without a certificate");

    let Some(etcdctl) = Tool::Etcdctl.find() else { return Ok(()) };
    let mut command = Command::new(etcdctl);
    command.env("ETCDCTL_API", "3").arg("--endpoints").arg(format!("https://{client}"));
    command.args(["--cacert", &ca, "--cert", &text(&health_files.cert), "--key", &text(&health_files.key)]);
    let checked = command.args(["endpoint", "health"]).output()?;
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("is healthy"), "{said}");
    Ok(())
}
