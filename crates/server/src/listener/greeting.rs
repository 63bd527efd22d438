//! The beginning of a connection, before anything is served: its first byte, and its handshake where there is TLS.
//!
//! Both have their time, and there is a bound on how many are at it (see [`Arrivals`](super::arrivals::Arrivals)). What fails is counted, and
//! named in the log now and then: strangers must not fill it.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{net::TcpStream, time};
use tracing::warn;

use super::stream::Stream;
use crate::{
    config::Security,
    limits,
    metrics::Metrics,
    tls::{ClientCertificate, Standing, Tls},
};

/// Whether connections to a listener have TLS.
#[derive(Clone)]
pub(crate) enum Protection {
    Plain,
    Tls(Arc<Tls>),
    /// The first byte tells.
    Either(Arc<Tls>),
}

impl Protection {
    /// What a configured listener needs of `tls`, which is there whenever one needs it.
    pub(crate) fn of(security: Security, tls: Option<&Arc<Tls>>) -> Self {
        match (security, tls) {
            (Security::Tls, Some(tls)) => Self::Tls(Arc::clone(tls)),
            (Security::Either, Some(tls)) => Self::Either(Arc::clone(tls)),
            (_, None) | (Security::Plain, _) => Self::Plain,
        }
    }
}

/// A connection that has got through.
pub(super) struct Greeted {
    pub(super) stream: Stream,
    pub(super) client: Option<ClientCertificate>,
    pub(super) standing: Option<Standing>,
}

/// Waits for the first byte and shakes hands. `None`: there is nobody to serve.
pub(super) async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    protection: &Protection,
    metrics: &Metrics,
) -> Option<Greeted> {
    let mut first = [0; 1];
    if !matches!(time::timeout(limits::FIRST_BYTE_TIMEOUT, stream.peek(&mut first)).await, Ok(Ok(1))) {
        return None;
    }
    let tls = match protection {
        Protection::Plain => None,
        Protection::Tls(tls) => Some(tls),
        Protection::Either(tls) => (first[0] == HANDSHAKE_RECORD).then_some(tls),
    };
    let Some(tls) = tls else {
        return Some(Greeted { stream: Stream::Plain(stream), client: None, standing: None });
    };
    let handshake = time::timeout(limits::HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    match handshake.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it was not done in time"))) {
        Ok(secured) => {
            let (client, standing) = (secured.client, Some(secured.standing));
            Some(Greeted { stream: Stream::Tls(Box::new(secured.stream)), client, standing })
        }
        Err(why) => {
            metrics.tls.handshakes_failed.add(1);
            report(peer, &why);
            None
        }
    }
}

/// The first byte of TLS: a record of the handshake. No request begins with it, in HTTP/1.1 or HTTP/2.
const HANDSHAKE_RECORD: u8 = 0x16;

/// One line for the first failure, and then at most one a minute.
fn report(peer: SocketAddr, why: &io::Error) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock();
    if last.is_none_or(|last| last.elapsed() > REPORT_INTERVAL) {
        *last = Some(Instant::now());
        warn!(%peer, %why, "a TLS handshake failed; tombolo_tls_handshakes_failed_total counts those that are not named");
    }
}

const REPORT_INTERVAL: Duration = Duration::from_secs(60);
