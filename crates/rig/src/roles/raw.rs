//! Any call of any contract, as bytes: so that every method is called in one way, and every byte of an answer can be looked through.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tokio_stream::{Stream, StreamExt as _};
use tombolo_proto::{Kind, Method};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// What came back from a call: the answers that were sent, and how it ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The messages, as they were encoded.
    pub messages: Vec<Bytes>,
    /// How it ended: `Ok` also for a stream that was left while it was open.
    pub status: Status,
}

impl Answer {
    /// Whether these bytes occur anywhere in what was sent.
    #[must_use]
    pub fn tells(&self, secret: &[u8]) -> bool {
        let head = format!("{:?}{:?}", self.status.metadata(), self.status.message());
        let parts = self.messages.iter().map(Bytes::as_ref).chain([head.as_bytes(), self.status.details()]);
        parts.into_iter().any(|part| part.windows(secret.len()).any(|window| window == secret))
    }

    /// The only message, decoded.
    ///
    /// # Errors
    ///
    /// The status, when the call failed.
    pub fn decode<T: Message + Default>(self) -> Result<T, Status> {
        if self.status.code() != tonic::Code::Ok {
            return Err(self.status);
        }
        let Some(message) = self.messages.into_iter().next() else {
            return Err(Status::deadline_exceeded("no answer came"));
        };
        T::decode(message).map_err(|why| Status::internal(why.to_string()))
    }
}

/// Makes calls over one connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Raw(pub Channel);

impl Raw {
    /// Calls a method with these messages: one for a unary call, and as many as there are for a stream of requests, which is then kept open. Of a stream
    /// of answers the first is taken, if it comes soon.
    pub async fn call(&self, method: Method, messages: Vec<Bytes>, token: Option<&str>) -> Answer {
        match tokio::time::timeout(PATIENCE, self.first(method, messages, token)).await {
            Ok(Ok(message)) => Answer { messages: message.into_iter().collect(), status: Status::ok("") },
            Ok(Err(status)) => Answer { messages: Vec::new(), status },
            // It waits, as a lock does that somebody else holds: it was let through.
            Err(_) => Answer { messages: Vec::new(), status: Status::ok("") },
        }
    }

    /// Calls a unary method.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn ask<T: Message + Default>(
        &self,
        method: Method,
        message: &impl Message,
        token: Option<&str>,
    ) -> Result<T, Status> {
        self.call(method, vec![message.encode_to_vec().into()], token).await.decode()
    }

    async fn first(&self, method: Method, messages: Vec<Bytes>, token: Option<&str>) -> Result<Option<Bytes>, Status> {
        let mut answers = self.open(method, messages, token).await?;
        match answers.message().await? {
            Some(message) => Ok(Some(message)),
            None => answers.trailers().await.map(|_| None),
        }
    }

    /// Makes a call and hands out the stream of its answers; for a unary one it has one.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn open(
        &self,
        method: Method,
        messages: Vec<Bytes>,
        token: Option<&str>,
    ) -> Result<Streaming<Bytes>, Status> {
        let messages = tokio_stream::iter(messages);
        if matches!(method.kind(), Kind::ClientStream | Kind::BidiStream) {
            // A stream of requests that ended would end a watch.
            return self.converse(method, messages.chain(tokio_stream::pending()), token).await;
        }
        self.converse(method, messages.take(1), token).await
    }

    /// Makes a call with a stream of requests.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn converse(
        &self,
        method: Method,
        messages: impl Stream<Item = Bytes> + Send + 'static,
        token: Option<&str>,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut request = Request::new(messages);
        if let Some(token) = token {
            let token = token.parse().map_err(|_| Status::internal("a token is text"))?;
            request.metadata_mut().insert("token", token);
        }
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
        let path = PathAndQuery::from_static(method.path());
        Ok(grpc.streaming(request, path, Bytewise).await?.into_inner())
    }
}

/// How long an answer may take that is going to come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Messages as they are on the wire.
#[derive(Clone, Copy, Debug, Default)]
struct Bytewise;

impl Codec for Bytewise {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytewise {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Bytewise {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
