//! A lean client connection: one HTTP/2 connection under tonic's generated clients, without the layers of its channel.
//!
//! It counts the bytes that came in, because a server's socket writes must be told apart from its file writes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tombolo_proto::{
    etcdserverpb::{kv_client::KvClient, watch_client::WatchClient},
    v1::mesh_client::MeshClient,
};
use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{self, Uri},
    },
};

/// etcd's KV calls over one connection. Clones share the connection.
pub(crate) type Kv = KvClient<Link>;

/// Bytes received, over all connections that share it.
pub(crate) type Received = Arc<AtomicU64>;

/// The service that tonic's clients stand on. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: SendRequest<Body>,
    origin: Uri,
}

impl Link {
    /// Opens a connection to `host:port`.
    pub(crate) async fn open(address: &str, received: Received) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(Counted { stream, received })).await?;
        tokio::spawn(async move {
            // A broken connection shows in the requests that it breaks.
            let _ = connection.await;
        });
        let origin = Uri::builder().scheme("http").authority(address).path_and_query("/").build()?;
        Ok(Self { requests, origin })
    }

    /// Keys and values.
    pub(crate) fn kv(&self) -> Kv {
        KvClient::with_origin(self.clone(), self.origin.clone())
    }

    /// Watches.
    pub(crate) fn watch(&self) -> WatchClient<Self> {
        WatchClient::with_origin(self.clone(), self.origin.clone())
    }

    /// The mesh.
    pub(crate) fn mesh(&self) -> MeshClient<Self> {
        MeshClient::with_origin(self.clone(), self.origin.clone())
    }
}

impl Service<http::Request<Body>> for Link {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

/// A stream that counts what it reads.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    received: Received,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.received.fetch_add((into.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
