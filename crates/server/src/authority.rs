//! Lets HTTP/2 clients in whose `:authority` is not one.
//!
//! Older etcd clients put a whole URL (`http://127.0.0.1:2379`) into `:authority` when they dial a named endpoint: `endpoint
//! status`, `endpoint hashkv`, `defrag` and `move-leader` do. The HTTP/2 library answers such a request with PROTOCOL_ERROR.
//! [`MendAuthority`] stands between socket and library. On a connection that begins with the HTTP/2 preface it walks the
//! frames up to the first block of header fields and, where the value of `:authority` is malformed, writes a valid one over it. A sound
//! connection is passed through untouched from there on; one that had to be mended is walked to its end.
//!
//! Why this is sound: the new value takes exactly the bytes of the old one, so every length and every frame stays. Header compression
//! keeps a table of recent fields at both ends, limited by the sum of *decoded* lengths. A plain value of n bytes decodes to n bytes, and
//! a Huffman-coded one of n bytes to at least n (an encoder chooses it only to save space; should it not, the value is left alone). So the decoder's
//! entry is never larger than the encoder believes, the decoder evicts no entry that the encoder still counts on, and since entries are numbered
//! from the newest, every later index means the same field at both ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::walk::Walk;

mod block;
mod huffman;
mod walk;

/// Bytes read from the socket at a time while frames are walked.
const READ_BYTES: usize = 4096;

/// A connection whose first bytes are looked at. See the head of this file.
pub(crate) struct MendAuthority<T> {
    inner: T,
    /// `None` once nothing has to be looked at any more.
    walk: Option<Box<Walk>>,
}

impl<T> MendAuthority<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, walk: Some(Box::default()) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for MendAuthority<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some(walk) = &mut this.walk {
            if walk.deliver(out) || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if walk.is_over() {
                this.walk = None;
                break;
            }
            let mut space = [0; READ_BYTES];
            let mut chunk = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            match chunk.filled() {
                [] => walk.give_up(),
                bytes => walk.push(bytes),
            }
        }
        Pin::new(&mut this.inner).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for MendAuthority<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{walk::tests::*, *};

    /// What the library would read when the client's bytes arrive in pieces of `step` bytes.
    async fn read_through(bytes: &[u8], step: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(step);
        let sent = bytes.to_vec();
        let writer = tokio::spawn(async move { client.write_all(&sent).await });
        let mut read = Vec::new();
        MendAuthority::new(server).read_to_end(&mut read).await.unwrap();
        writer.await.unwrap().unwrap();
        read
    }

    #[tokio::test]
    async fn a_split_anywhere_gives_the_same_bytes() {
        let sent =
            [PREFACE, &settings(), &headers(1, &bad_block()), &data(1, b"body"), &headers(3, &bad_block())].concat();
        let mended =
            [PREFACE, &settings(), &headers(1, &mended_block()), &data(1, b"body"), &headers(3, &mended_block())]
                .concat();
        for step in 1..sent.len() {
            assert_eq!(read_through(&sent, step).await, mended, "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn other_protocols_pass_untouched() {
        for sent in [&b"GET /health HTTP/1.1\r\nHost: a//b\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nnope", b"P", b""] {
            assert_eq!(read_through(sent, 3).await, sent);
        }
    }
}
