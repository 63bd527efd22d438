//! One connection at a time, chosen from the list of endpoints when a call needs it.
//!
//! A call goes out on the connection that is open. If there is none, the endpoints are tried in turn, beginning with the
//! one used last, and the first that accepts is kept. When a call fails in the transport the connection is given up, so
//! that the next call chooses anew; the failed call itself is not repeated, because the server may have acted on it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Mutex;
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    transport::{self, Channel},
};

use crate::{
    ClientOptions, Endpoint, TlsError,
    connector::Connector,
    error::{FailedAttempt, Unreachable, refused_handshake, root_cause},
    sign_in::SignIn,
};

/// The service under every stub of a [`Client`](crate::Client); cheap to clone, and all clones share the connection.
#[derive(Clone, Debug)]
pub struct Transport {
    bare: Bare,
    sign_in: Option<Arc<SignIn>>,
}

/// The same without anybody's name on what it sends.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoints: Vec<Endpoint>,
    options: ClientOptions,
    connection: Mutex<Connection>,
}

/// The open connection, if there is one, and the endpoint it leads (or last led) to.
#[derive(Debug, Default)]
struct Connection {
    endpoint: usize,
    channel: Option<Channel>,
    /// Counts connections, so that a failure on an old one does not close its successor.
    generation: u64,
}

impl Transport {
    pub(crate) fn new(endpoints: Vec<Endpoint>, options: ClientOptions) -> Self {
        let sign_in = options.credentials.clone().map(|credentials| Arc::new(SignIn::new(credentials)));
        Self { bare: Bare { shared: Arc::new(Shared { endpoints, options, connection: Mutex::default() }) }, sign_in }
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.bare.shared.endpoints
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { bare, sign_in } = self.clone();
        Box::pin(async move {
            match sign_in {
                Some(sign_in) => sign_in.send(bare, request).await,
                None => bare.send(request).await,
            }
        })
    }
}

impl Bare {
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        self.shared.send(request).await
    }
}

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move { bare.send(request).await })
    }
}

impl Shared {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut channel, generation) = self.connected().await.map_err(unreachable_status)?;
        let answer = match poll_fn(|context| channel.poll_ready(context)).await {
            Ok(()) => channel.call(request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(response) => Ok(response),
            Err(error) => {
                let endpoint = self.give_up(generation).await;
                match (endpoint, refused_handshake(&error)) {
                    // With TLS 1.3 a server says only afterwards that it does not like this client's certificate.
                    (Some(endpoint), Some(reason)) => {
                        let attempts = vec![FailedAttempt { endpoint, reason }];
                        Err(unreachable_status(Unreachable { attempts }))
                    }
                    _ => Err(Status::from_error(Box::new(error))),
                }
            }
        }
    }

    /// The open connection, or a new one. The lock is held while dialling: calls that arrive meanwhile want its outcome.
    async fn connected(&self) -> Result<(Channel, u64), Unreachable> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok((channel.clone(), connection.generation));
        }
        let mut attempts = Vec::new();
        for offset in 0..self.endpoints.len() {
            let index = (connection.endpoint + offset) % self.endpoints.len();
            let endpoint = &self.endpoints[index];
            match self.dial(endpoint).await {
                Ok(channel) => {
                    let generation = connection.generation + 1;
                    *connection = Connection { endpoint: index, channel: Some(channel.clone()), generation };
                    return Ok((channel, generation));
                }
                Err(error) => {
                    let reason = error.reason();
                    attempts.push(FailedAttempt { endpoint: endpoint.clone(), reason });
                }
            }
        }
        Err(Unreachable { attempts })
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Channel, DialError> {
        let dialled = transport::Endpoint::from(endpoint.uri().clone())
            .tcp_nodelay(true)
            .connect_timeout(self.options.connect_timeout)
            .http2_keep_alive_interval(self.options.ping_interval())
            .keep_alive_timeout(self.options.keep_alive_timeout);
        let channel = if endpoint.is_secure(self.options.tls_without_scheme) {
            let connector = Connector::new(self.options.tls.load().map_err(DialError::Tls)?);
            dialled.connect_with_connector(connector).await
        } else {
            dialled.connect().await
        };
        channel.map_err(DialError::Transport)
    }

    /// Forgets the connection, if it is still the one, and tells where it led to.
    async fn give_up(&self, generation: u64) -> Option<Endpoint> {
        let mut connection = self.connection.lock().await;
        let is_same = connection.generation == generation;
        if is_same {
            connection.channel = None;
        }
        is_same.then(|| self.endpoints[connection.endpoint].clone())
    }
}

/// Why an endpoint was not connected to.
enum DialError {
    Tls(TlsError),
    Transport(transport::Error),
}

impl DialError {
    fn reason(&self) -> String {
        match self {
            Self::Tls(error) => error.to_string(),
            Self::Transport(error) => root_cause(error),
        }
    }
}

fn unreachable_status(unreachable: Unreachable) -> Status {
    let mut status = Status::unavailable(unreachable.to_string());
    status.set_source(Arc::new(unreachable));
    status
}
