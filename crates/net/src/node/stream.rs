//! The stream of a connection while its handshake lasts: whole messages in, whole messages out.
//!
//! What arrives behind the last message of the handshake stays in the assembler, for the session.

use std::time::Duration;

use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use crate::{
    PeerError, PublicKey, Refusal,
    framing::{Assembler, header},
    handshake::{HANDSHAKE_BYTES_MAX, Message},
};

/// The most that is taken from a stream at a time.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A connection whose peer has proven a key, and the stream on which it is spoken to.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) connection: Connection,
    pub(crate) key: PublicKey,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) assembler: Assembler,
}

impl Stream {
    /// Opens the stream, as a dialer does.
    pub(crate) async fn open(connection: Connection, key: PublicKey) -> Result<Self, PeerError> {
        let (send, recv) = connection.open_bi().await?;
        Ok(Self::new(connection, key, send, recv))
    }

    /// Waits until the dialer has opened the stream.
    pub(crate) async fn accept(connection: Connection, key: PublicKey) -> Result<Self, PeerError> {
        let (send, recv) = connection.accept_bi().await?;
        Ok(Self::new(connection, key, send, recv))
    }

    fn new(connection: Connection, key: PublicKey, send: SendStream, recv: RecvStream) -> Self {
        Self { connection, key, send, recv, assembler: Assembler::new(HANDSHAKE_BYTES_MAX) }
    }

    /// Sends one message.
    pub(crate) async fn say(&mut self, message: &Message) -> Result<(), PeerError> {
        let payload = message.encode();
        let sent = self.send.write_all_chunks(&mut [header(&payload), payload]).await;
        sent.map_err(|_| self.lost())
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Result<Message, PeerError> {
        loop {
            if let Some(payload) = self.assembler.next()? {
                return Message::decode(payload, self.key).map_err(PeerError::BadHandshake);
            }
            match self.recv.read_chunk(CHUNK_BYTES_MAX, true).await {
                Ok(Some(chunk)) => self.assembler.push(chunk.bytes),
                Ok(None) | Err(ReadError::Reset(_)) => return Err(PeerError::StreamEnded),
                Err(_) => return Err(self.lost()),
            }
        }
    }

    /// Says a last message, waits a moment until it has arrived, and closes.
    pub(crate) async fn say_last(mut self, message: &Message, code: u32) {
        let said = async {
            self.say(message).await.ok()?;
            self.send.finish().ok()?;
            self.send.stopped().await.ok()
        };
        // Whether it arrived or not: there is nothing more to do.
        let _ = timeout(LAST_WORDS, said).await;
        self.connection.close(VarInt::from_u32(code), b"");
    }

    /// Refuses the peer, and says why.
    pub(crate) async fn refuse(self, refusal: Refusal) {
        let code = REFUSED_CODE_FIRST + u32::from(refusal.code());
        self.say_last(&Message::Refused(refusal), code).await;
    }

    /// Why the connection is gone.
    pub(crate) fn lost(&self) -> PeerError {
        self.connection.close_reason().map_or(PeerError::StreamEnded, PeerError::from)
    }
}

/// How long a last message may take to arrive.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// QUIC's close codes: those of sessions' faults come first, refusals from here on.
const REFUSED_CODE_FIRST: u32 = 1 << 16;
