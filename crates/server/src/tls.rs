//! TLS for clients: handshakes with what the files say now.
//!
//! Every listener with TLS shares one [`Tls`], so that a check that one makes is made by all. The files are looked at when somebody connects, at most once
//! a second, and now and then without; when they have changed they are read again, all of them. What cannot be used (a pair of which one
//! half is written) is named once in the log and the old material goes on. SIGHUP reads them at once. A connection whose
//! certificate is revoked later is cut.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::{net::TcpStream, sync::watch, task, time};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

pub(crate) use self::identity::ClientCertificate;
pub use self::{error::TlsError, revocation::CrlError};
use self::{
    material::{Files, Material},
    stamp::Stamps,
};
use crate::{
    config::{Identity, TlsConfig},
    limits,
    metrics::Metrics,
};

mod client_check;
mod error;
mod hostname;
mod identity;
mod material;
mod revocation;
mod self_signed;
mod stamp;

/// What the listeners of a server speak TLS with.
pub(crate) struct Tls {
    settings: TlsConfig,
    files: Files,
    current: watch::Sender<Arc<Material>>,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

/// What was seen of the files.
struct Seen {
    looked: Instant,
    stamps: Stamps,
    /// Why they could not be used, said already.
    trouble: Option<String>,
}

/// A connection whose handshake is done.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// Present when certificates name users.
    pub(crate) client: Option<ClientCertificate>,
    pub(crate) standing: Standing,
}

/// Whether what a client has proved still counts.
pub(crate) struct Standing {
    chain: Vec<CertificateDer<'static>>,
    current: watch::Receiver<Arc<Material>>,
}

impl Tls {
    /// Reads the files. A certificate of our own is made in `data_dir` where none is.
    pub(crate) fn open(settings: &TlsConfig, data_dir: &Path, metrics: &Arc<Metrics>) -> Result<Arc<Self>, TlsError> {
        let (cert, key) = match &settings.identity {
            Identity::Files { cert, key } => (cert.clone(), key.clone()),
            Identity::SelfSigned { years, hosts } => self_signed::files(data_dir, *years, hosts)?,
        };
        let files = Files { cert, key, trusted_ca: settings.trusted_ca.clone(), crl: settings.crl.clone() };
        let stamps = Stamps::of(files.paths());
        let material = files.load(settings)?;
        let seen = Seen { looked: Instant::now(), stamps, trouble: None };
        remark(&material);
        metrics.tls.tell(material.expires, material.revocations.next_update());
        let current = watch::Sender::new(Arc::new(material));
        let (settings, metrics) = (settings.clone(), Arc::clone(metrics));
        Ok(Arc::new(Self { settings, files, current, seen: Mutex::new(seen), metrics }))
    }

    /// The handshake of a new connection. The caller bounds its time.
    pub(crate) async fn accept(self: &Arc<Self>, stream: TcpStream) -> io::Result<Secured> {
        self.refresh(LOOK_INTERVAL).await;
        let mut current = self.current.subscribe();
        let config = Arc::clone(&current.borrow_and_update().config);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
        let named = chain.first().filter(|_| self.settings.names_users);
        let client = named.and_then(ClientCertificate::of);
        Ok(Secured { stream, client, standing: Standing { chain, current } })
    }

    /// Looks at the files now and then although nobody connects, for those who are connected.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            time::sleep(limits::CERTIFICATE_LOOK_INTERVAL).await;
            self.refresh(LOOK_INTERVAL).await;
        }
    }

    /// Reads the files, whether they seem to have changed or not.
    pub(crate) async fn reload(self: &Arc<Self>) {
        self.seen.lock().trouble = None;
        let tls = Arc::clone(self);
        let read = task::spawn_blocking(move || tls.read());
        // It fails only when the runtime ends.
        let _ = read.await;
    }

    /// Reads the files if they have changed and nobody has looked for `interval`. Whoever comes while somebody looks goes on with what is there.
    async fn refresh(self: &Arc<Self>, interval: Duration) {
        {
            let mut seen = self.seen.lock();
            if seen.looked.elapsed() < interval {
                return;
            }
            seen.looked = Instant::now();
        }
        let tls = Arc::clone(self);
        let looked = task::spawn_blocking(move || {
            let now = Stamps::of(tls.files.paths());
            if now.may_differ_from(&tls.seen.lock().stamps) {
                tls.read();
            }
        });
        // It fails only when the runtime ends.
        let _ = looked.await;
    }

    fn read(&self) {
        let stamps = Stamps::of(self.files.paths());
        let loaded = self.files.load(&self.settings);
        let mut seen = self.seen.lock();
        let changed = seen.stamps.differ_from(&stamps);
        seen.stamps = stamps;
        match loaded {
            Ok(material) => {
                let was_in_trouble = seen.trouble.take().is_some();
                if changed || was_in_trouble {
                    info!(cert = %self.files.cert.display(), "read the certificates again");
                    remark(&material);
                }
                self.metrics.tls.tell(material.expires, material.revocations.next_update());
                self.current.send_replace(Arc::new(material));
            }
            Err(why) => {
                let trouble = why.to_string();
                if seen.trouble.as_ref() != Some(&trouble) {
                    self.metrics.tls.reloads_failed.add(1);
                    warn!(why = %trouble, "the certificates have changed and cannot be used; the old ones go on");
                    seen.trouble = Some(trouble);
                }
            }
        }
    }
}

impl Standing {
    /// Returns when a certificate of the client's chain is revoked.
    pub(crate) async fn lost(&mut self) {
        if self.chain.is_empty() {
            return std::future::pending().await;
        }
        loop {
            if self.current.changed().await.is_err() {
                return std::future::pending().await;
            }
            let revocations = Arc::clone(&self.current.borrow_and_update().revocations);
            if let Err(why) = revocations.check(&self.chain) {
                info!(%why, "a connection is cut");
                return;
            }
        }
    }
}

fn remark(material: &Material) {
    for remark in &material.remarks {
        warn!("{remark}");
    }
}

/// As often as that, and no more, handshakes look at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
