//! Accepts connections and serves each with explicit bounds.
//!
//! Binding and listening are two steps: the address is taken before the store is opened, so that a taken one is an early error, but nobody can
//! connect before the store can answer. Clients back off when they cannot connect, not when they can and are refused.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    sync::{Semaphore, mpsc},
    time,
};
use tracing::{debug, warn};

pub(crate) use self::greeting::Protection;
use self::{
    arrivals::Arrivals,
    greeting::{Greeted, greet},
    service::OfConnection,
};
use crate::{
    authority::MendAuthority, front::Front, limits, metered::Metered, metrics::Metrics, stopping::Stopping,
    tls::Standing,
};

mod arrivals;
mod greeting;
mod service;
mod stream;

/// An address that is taken but not listened on.
pub(crate) struct Bound {
    socket: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Bound {
    /// Takes every address of `host:port`. A name may stand for addresses that this machine does not have, such as `localhost` where there is
    /// no IPv6: one that it has is enough.
    pub(crate) async fn all(host_and_port: &str) -> io::Result<Vec<Self>> {
        let mut bound = Vec::new();
        let mut foreign = None;
        for address in lookup_host(host_and_port).await? {
            match Self::one(address) {
                Ok(taken) => bound.push(taken),
                Err(why) if is_foreign(&why) => foreign = Some(why),
                Err(why) => return Err(why),
            }
        }
        match foreign {
            Some(why) if bound.is_empty() => Err(why),
            _ => Ok(bound),
        }
    }

    fn one(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restarted server must not wait for the connections of the one before to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)
    }
}

/// Whether the machine has no such address, or no such kind of address.
fn is_foreign(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::AddrNotAvailable || why.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Linux's number for a family of addresses that is switched off.
const EAFNOSUPPORT: i32 = 97;

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1_024;

/// What all listeners of a server share.
#[derive(Clone)]
pub(crate) struct Reception {
    places: Arc<Semaphore>,
    arrivals: Arrivals,
    builder: auto::Builder<TokioExecutor>,
    metrics: Arc<Metrics>,
    stopping: Stopping,
    /// Held by every connection: when all are gone, so is the last of these.
    present: mpsc::Sender<()>,
}

/// How connections are kept alive, and how much one may ask for at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_concurrent_streams: u32,
}

impl Reception {
    /// The receiver yields `None` once the reception and all its connections are gone.
    pub(crate) fn new(terms: Terms, metrics: Arc<Metrics>, stopping: Stopping) -> (Self, mpsc::Receiver<()>) {
        let (present, gone) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        let arrivals = Arrivals::new(limits::ARRIVALS_MAX);
        (Self { places, arrivals, builder: builder(terms), metrics, stopping, present }, gone)
    }

    /// The same with places of its own for connections.
    pub(crate) fn with_places(&self, places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), arrivals: Arrivals::new(places / 2), ..self.clone() }
    }

    /// Accepts connections until the server stops.
    pub(crate) async fn receive(self, listener: TcpListener, protection: Protection, front: Front) {
        let mut stopping = self.stopping.clone();
        let accept = async {
            loop {
                // An error would mean that the semaphore was closed, which nobody does.
                let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let connection = self.clone().welcome(stream, peer, protection.clone(), front.clone());
                        tokio::spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(why) => {
                        // Out of file descriptors, most likely: closing connections will mend that, trying at once will not.
                        warn!(%why, "a connection was not accepted");
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = stopping.told() => {}
        }
    }

    async fn welcome(mut self, stream: TcpStream, peer: SocketAddr, protection: Protection, front: Front) {
        // Small answers must leave at once: with the delay, a client and a server wait 40 ms for each other.
        if let Err(why) = stream.set_nodelay(true) {
            debug!(%why, "a connection was gone before it began");
            return;
        }
        let mut arrival = self.arrivals.begin();
        let greeted = tokio::select! {
            greeted = greet(stream, peer, &protection, &self.metrics) => greeted,
            () = arrival.displaced() => None,
            () = self.stopping.told() => None,
        };
        drop(arrival);
        if let Some(greeted) = greeted {
            self.serve(greeted, front).await;
        }
    }

    async fn serve(mut self, greeted: Greeted, front: Front) {
        let Greeted { stream, client, mut standing } = greeted;
        let io = TokioIo::new(MendAuthority::new(Metered::new(stream, Arc::clone(&self.metrics))));
        let connection = self.builder.serve_connection(io, OfConnection { front, client });
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = lost(standing.as_mut()) => return,
            () = self.stopping.told() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(why) = ended {
            debug!(why, "a connection ended with an error");
        }
        drop(self.present);
    }
}

/// Returns when the client's certificate does not count any more.
async fn lost(standing: Option<&mut Standing>) {
    match standing {
        Some(standing) => standing.lost().await,
        None => std::future::pending().await,
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn builder(terms: Terms) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::FIRST_BYTE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(terms.max_concurrent_streams)
        .max_pending_accept_reset_streams(limits::PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::ERROR_RESETS_MAX)
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .keep_alive_interval((!terms.keepalive_interval.is_zero()).then_some(terms.keepalive_interval))
        .keep_alive_timeout(terms.keepalive_timeout);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_can_connect_to_an_address_that_is_only_taken() {
        let mut bound = Bound::all("127.0.0.1:0").await.unwrap();
        let bound = bound.pop().unwrap();
        let address = bound.address;
        assert!(TcpStream::connect(address).await.is_err());
        let _listener = bound.listen().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
        assert!(Bound::all(&address.to_string()).await.is_err(), "nobody takes what is listened on");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_cannot_be_taken() {
        assert!(Bound::all("192.0.2.1:0").await.is_err());
    }
}
