//! The messages in a request's body: one for most calls, any number one after the other for those that are streams.
//!
//! A body may stay open as long as its client likes; what is held of it is one message.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use tombolo_proto::json::{self, Shape};
use tonic::Status;

use super::value::Boundary;
use crate::etcd::status::gateway as fault;

/// A body that is read message by message.
pub(super) struct Requests {
    body: BodyDataStream,
    held: BytesMut,
    boundary: Boundary,
    shape: &'static Shape,
    bytes_max: usize,
}

impl Requests {
    pub(super) fn new(body: Body, shape: &'static Shape, bytes_max: usize) -> Self {
        let body = body.into_data_stream();
        Self { body, held: BytesMut::new(), boundary: Boundary::default(), shape, bytes_max }
    }

    /// The message of a call that has one. All of the body is read; none at all is the empty message.
    pub(super) async fn only(&mut self) -> Result<Bytes, Status> {
        while self.more().await? {}
        json::read(self.shape, &self.held).map(Bytes::from).map_err(|why| fault::unreadable(&why))
    }

    /// The messages of a stream, once the first is there. After one that cannot be read there are no more, as if the client had stopped; if it
    /// is the first, there is no call at all.
    pub(super) async fn each(mut self) -> Result<impl Stream<Item = Bytes> + Send + use<>, Status> {
        let first = self.next().await?;
        // Without a first message there is no second.
        let later = stream::unfold(first.is_some().then_some(self), |requests| async move {
            let mut requests = requests?;
            let message = requests.next().await.ok()??;
            Some((message, Some(requests)))
        });
        Ok(stream::iter(first).chain(later))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let end = loop {
            if let Some(end) = self.boundary.end(&self.held) {
                break end;
            }
            if !self.more().await? {
                break self.held.len();
            }
        };
        self.boundary = Boundary::default();
        let text = self.held.split_to(end);
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        json::read(self.shape, &text).map(|message| Some(message.into())).map_err(|why| fault::unreadable_stream(&why))
    }

    /// Holds the next piece of the body too; says whether there was one.
    async fn more(&mut self) -> Result<bool, Status> {
        let Some(piece) = self.body.next().await else { return Ok(false) };
        let piece = piece.map_err(|why| fault::broken_body(&why))?;
        if self.held.len().saturating_add(piece.len()) > self.bytes_max {
            return Err(fault::body_too_large(self.bytes_max));
        }
        self.held.extend_from_slice(&piece);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tombolo_proto::{Method, etcdserverpb::LeaseKeepAliveRequest};
    use tonic::Code;

    use super::*;

    fn requests(pieces: &[&'static str]) -> Requests {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, io::Error>(*piece)).collect();
        let shapes = json::call(Method::LeaseKeepAlive).unwrap();
        Requests::new(Body::from_stream(stream::iter(pieces)), shapes.request, 30)
    }

    fn id(message: &Bytes) -> i64 {
        <LeaseKeepAliveRequest as prost::Message>::decode(message.clone()).unwrap().id
    }

    async fn ids(pieces: &[&'static str]) -> Vec<i64> {
        requests(pieces).each().await.unwrap().map(|message| id(&message)).collect().await
    }

    #[tokio::test]
    async fn a_stream_has_as_many_messages_as_values_however_they_come() {
        assert_eq!(ids(&[r#"{"ID":7}{"I"#, r#"D":"8"} "#, "\n", "{}", r#"{"ID":9}"#]).await, [7, 8, 0, 9]);
        assert_eq!(ids(&[r#"{"ID":7}"#, " xx", r#"{"ID":9}"#]).await, [7], "what cannot be read ends it");
        assert_eq!(ids(&[r#"{"ID":7}"#, r#"{"ID":"#]).await, [7]);
        assert!(ids(&[]).await.is_empty() && ids(&["  "]).await.is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_begins_with_nonsense_is_no_call() {
        let code = async |pieces| requests(pieces).each().await.err().map(|status| status.code());
        assert_eq!(code(&["xx"]).await, Some(Code::Unknown));
        assert_eq!(code(&[r#"{"ID":"#]).await, Some(Code::Unknown));
    }

    #[tokio::test]
    async fn a_call_of_one_message_takes_the_first_value() {
        assert_eq!(id(&requests(&[r#"{"ID""#, r#":7}{"ID":8}"#]).only().await.unwrap()), 7);
        assert_eq!(id(&requests(&[]).only().await.unwrap()), 0);
        assert_eq!(requests(&["xx"]).only().await.unwrap_err().code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn no_more_is_held_than_one_message_may_have() {
        let long: &[_] = &[r#"{"ID":7,"x":"0123456789"#, r#"0123456789"}"#];
        assert_eq!(requests(long).only().await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(requests(long).each().await.err().map(|status| status.code()), Some(Code::ResourceExhausted));
        let many = [r#"{"ID":7,"x":"01234"}"#; 9];
        assert_eq!(ids(&many).await, [7; 9], "together they may have more");
    }
}
