//! A place with an authority, a server's certificate and a client's, and the questions that every test asks.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tombolo_proto::etcdserverpb::{PutRequest, RangeRequest};
use tombolo_rig::{
    connect::Connection,
    pki::{Authority, Files, Pair},
    process::{Launch, Server},
    secure::Trust,
};

/// Certificates in a folder of their own.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    pub(crate) server: Files,
    pub(crate) client: Pair,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tombolo-rig-pki-").tempdir()?;
        let authority = Authority::root("Rig Root")?;
        let server = authority.local_server()?.write(folder.path(), "server")?;
        fs::write(folder.path().join("ca.crt"), authority.pem())?;
        let client = authority.client("someone")?;
        Ok(Self { folder, authority, server, client })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<String> {
        fs::write(self.path(name), content)?;
        Ok(text(&self.path(name)))
    }

    /// Trusts the server and shows nothing.
    pub(crate) fn stranger(&self) -> Trust {
        Trust::in_ca(&self.authority.pem())
    }

    /// Trusts the server and shows this place's client certificate.
    pub(crate) fn guest(&self) -> Trust {
        self.stranger().showing(&self.client)
    }

    /// With this place's server certificate, for everybody.
    pub(crate) fn open_to_all(&self, launch: Launch) -> Launch {
        launch
            .in_memory()
            .with("--cert-file", &text(&self.server.cert))
            .with("--key-file", &text(&self.server.key))
            .secured(self.stranger())
    }

    /// The same for those alone whom the authority has given a certificate.
    pub(crate) fn for_guests(&self, launch: Launch) -> Launch {
        self.open_to_all(launch).with("--trusted-ca-file", &text(&self.path("ca.crt"))).secured(self.guest())
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Whether a page is had over HTTP/1.1.
pub(crate) async fn gets_page(trust: &Trust, address: SocketAddr, path: &str) -> bool {
    let asked = async {
        let mut stream = trust.clone().offering(&["http/1.1"]).connect(address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(10), asked).await, Ok(Ok(true)))
}

/// Whether a read is answered.
pub(crate) async fn gets_answer(trust: &Trust, address: SocketAddr) -> bool {
    let asked = async {
        let mut connection = Connection::open_secure(&format!("https://{address}"), trust).await?;
        let request = RangeRequest { key: Bytes::from_static(b"any"), ..Default::default() };
        anyhow::Ok(connection.kv.range(request).await?)
    };
    matches!(tokio::time::timeout(Duration::from_secs(10), asked).await, Ok(Ok(_)))
}

pub(crate) async fn put(connection: &mut Connection, key: &'static str) -> Result<()> {
    let request = PutRequest { key: Bytes::from_static(key.as_bytes()), ..Default::default() };
    connection.kv.put(request).await?;
    Ok(())
}

/// The certificate that a server shows.
pub(crate) async fn shown(trust: &Trust, address: SocketAddr) -> Result<Vec<u8>> {
    let stream = trust.connect(address).await?;
    let chain = stream.get_ref().1.peer_certificates().context("a server shows a certificate")?;
    Ok(chain.first().context("it is not empty")?.to_vec())
}

/// The first certificate of a text in PEM.
pub(crate) fn first_of(pem: &str) -> Result<Vec<u8>> {
    Ok(CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec())
}

/// Waits until something holds; files are looked at once a second.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<Duration> {
    let since = Instant::now();
    while !holds().await {
        ensure!(since.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(since.elapsed())
}

/// The value of a metric without labels.
pub(crate) fn metric(server: &Server, name: &str) -> Result<f64> {
    let page = tombolo_rig::http::Page::get(server.metrics_address(), "/metrics")?;
    let line = page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("there is no {name}"))?.parse()?)
}
