//! The gRPC call that a request stands for. Messages are encoded already, so one codec serves all calls: it copies bytes.

use std::{future::Future, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::Stream;
use http::{Extensions, HeaderMap, uri::PathAndQuery};
use tokio::time::{self, Instant};
use tombolo_proto::Method;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};

use super::metadata;
use crate::{etcd::status::gateway as fault, front::Calls};

/// All of a call but its messages.
pub(super) struct Outgoing {
    metadata: MetadataMap,
    extensions: Extensions,
    deadline: Deadline,
}

impl Outgoing {
    /// The connection's extensions say who its client is; the headers say what the client says.
    pub(super) fn new(headers: &HeaderMap, extensions: Extensions) -> Result<Self, Status> {
        let deadline = Deadline::after(metadata::timeout(headers)?);
        Ok(Self { metadata: metadata::inward(headers), extensions, deadline })
    }

    /// A call of one message and one answer.
    pub(super) async fn unary(self, calls: Calls, method: Method, message: Bytes) -> Result<Response<Bytes>, Status> {
        let request = Request::from_parts(self.metadata, self.extensions, message);
        let path = PathAndQuery::from_static(method.path());
        let mut grpc = unlimited(calls);
        self.deadline.within(grpc.unary(request, path, Raw)).await?
    }

    /// A call of any number of messages and answers.
    pub(super) async fn stream(
        self,
        calls: Calls,
        method: Method,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Answers>, Status> {
        let request = Request::from_parts(self.metadata, self.extensions, messages);
        let path = PathAndQuery::from_static(method.path());
        let mut grpc = unlimited(calls);
        let response = self.deadline.within(grpc.streaming(request, path, Raw)).await??;
        Ok(response.map(|messages| Answers { messages, deadline: self.deadline }))
    }
}

/// A call's answers as they come.
pub(super) struct Answers {
    messages: Streaming<Bytes>,
    deadline: Deadline,
}

impl Answers {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        self.deadline.within(self.messages.message()).await?
    }
}

/// What the services may decode bounds requests; answers have no bound, as for gRPC.
fn unlimited(calls: Calls) -> Grpc<Calls> {
    Grpc::new(calls).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
}

/// When the client stops waiting, if it said so.
#[derive(Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    async fn within<T>(self, work: impl Future<Output = T>) -> Result<T, Status> {
        let Some(deadline) = self.0 else { return Ok(work.await) };
        // A timer goes off at the next full millisecond at the earliest, and nothing is begun for who waits no more.
        if Instant::now() >= deadline {
            return Err(fault::too_late());
        }
        time::timeout_at(deadline, work).await.map_err(|_| fault::too_late())
    }
}

/// Messages as the bytes that they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
