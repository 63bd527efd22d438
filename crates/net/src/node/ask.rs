//! Questions to a peer and their answers, and pulls and their pages, on whatever connection there is.
//!
//! A question goes out once, on the newest connection, and is not sent again when that ends: whether it was acted upon is not
//! known then, and only the host knows whether asking twice is harmless. Questions beyond what a session lets be unanswered wait here, a
//! bounded number and no longer than whoever asks waits.

use std::{collections::HashMap, future::Future, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tombolo_crdt::ReplicaId;

use super::Node;
use crate::{ASK_BODY_BYTES_MAX, AskFailure, PULL_BODY_BYTES_MAX};

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// There is no connection to the peer. It was not asked.
    #[error("it is not connected")]
    NotConnected,
    /// The question is too long. The peer was not asked.
    #[error("the question has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The size allowed.
        max: usize,
    },
    /// Too many questions wait. The peer was not asked.
    #[error("too many questions wait for it")]
    TooMany,
    /// The connection ended before the answer came. Whether the peer did what it was asked for is not known.
    #[error("the connection ended before it answered")]
    Lost,
    /// The peer took too long. Whether it did what it was asked for is not known.
    #[error("it did not answer within {after:?}")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The peer has no answer: it does not know such questions.
    #[error("it has no answer to that")]
    NoAnswer,
}

/// A question on its way to a connection's session.
#[derive(Debug)]
pub(crate) struct Question {
    body: Bytes,
    reply: oneshot::Sender<Result<Bytes, AskError>>,
}

impl Node {
    /// Asks a peer: it is given `body`, at most [`ASK_BODY_BYTES_MAX`], and its host's answer comes back. The future does not
    /// borrow the node. Dropping it, like the end of `patience`, gives up the answer and does not undo the question.
    pub fn ask(
        &self,
        peer: ReplicaId,
        body: Bytes,
        patience: Duration,
    ) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<> {
        let connection = self.peers.find(peer).and_then(|peer| peer.asks());
        put(connection, body, ASK_BODY_BYTES_MAX, patience)
    }

    /// Pulls a page of a peer's state: it is given `body`, at most [`PULL_BODY_BYTES_MAX`], and its host's page comes back. Beyond
    /// [`Limits::pulls_max`](crate::Limits::pulls_max) pulls wait here. Otherwise like [`Node::ask`].
    pub fn pull(
        &self,
        peer: ReplicaId,
        body: Bytes,
        patience: Duration,
    ) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<> {
        let connection = self.peers.find(peer).and_then(|peer| peer.pulls());
        put(connection, body, PULL_BODY_BYTES_MAX, patience)
    }
}

/// Puts a question to a connection, and waits for the answer.
async fn put(
    connection: Option<mpsc::Sender<Question>>,
    body: Bytes,
    max: usize,
    patience: Duration,
) -> Result<Bytes, AskError> {
    let bytes = body.len();
    if bytes > max {
        return Err(AskError::TooLarge { bytes, max });
    }
    let (reply, replied) = oneshot::channel();
    let sent = connection.ok_or(AskError::NotConnected)?.try_send(Question { body, reply });
    sent.map_err(|why| match why {
        mpsc::error::TrySendError::Full(_) => AskError::TooMany,
        mpsc::error::TrySendError::Closed(_) => AskError::NotConnected,
    })?;
    match timeout(patience, replied).await {
        Ok(replied) => replied.unwrap_or(Err(AskError::Lost)),
        Err(_) => Err(AskError::TimedOut { after: patience }),
    }
}

/// A connection's questions of one kind, both ways, beside its session.
pub(crate) struct Asking {
    waiting: mpsc::Receiver<Question>,
    /// Questions that the session has, by token.
    under_way: HashMap<u64, oneshot::Sender<Result<Bytes, AskError>>>,
    under_way_max: usize,
    last_token: u64,
    /// What the host works at for the peer. It ends with the connection.
    at_work: JoinSet<(u64, Bytes)>,
}

/// What the session is to be told.
pub(crate) enum News {
    /// A question of ours: its token and its body.
    Ask(u64, Bytes),
    /// The host's answer to a question of the peer.
    Answer(u64, Bytes),
}

impl Asking {
    /// Questions for a connection come by the sender.
    pub(crate) fn new(under_way_max: usize) -> (mpsc::Sender<Question>, Self) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let (under_way, at_work) = (HashMap::new(), JoinSet::new());
        (sender, Self { waiting, under_way, under_way_max, last_token: 0, at_work })
    }

    /// Waits for the next thing that the session is to be told. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            tokio::select! {
                Some(Question { body, reply }) = self.waiting.recv(), if self.under_way.len() < self.under_way_max => {
                    // Whoever asked may have given up meanwhile.
                    if !reply.is_closed() {
                        self.last_token += 1;
                        self.under_way.insert(self.last_token, reply);
                        return News::Ask(self.last_token, body);
                    }
                }
                Some(done) = self.at_work.join_next() => match done {
                    Ok((id, body)) => return News::Answer(id, body),
                    Err(failure) => {
                        if failure.is_panic() {
                            std::panic::resume_unwind(failure.into_panic());
                        }
                    }
                },
                else => std::future::pending().await,
            }
        }
    }

    /// The host begins to work at a question of the peer.
    pub(crate) fn work(&mut self, id: u64, answer: impl Future<Output = Bytes> + Send + 'static) {
        self.at_work.spawn(async move { (id, answer.await) });
    }

    /// Passes an answer on to whoever asked.
    pub(crate) fn answered(&mut self, token: u64, answer: Result<Bytes, AskFailure>) {
        let answer = match answer {
            Ok(body) if body.is_empty() => Err(AskError::NoAnswer),
            Ok(body) => Ok(body),
            Err(AskFailure::NotEstablished) => Err(AskError::NotConnected),
            Err(AskFailure::TooLarge { bytes, max }) => Err(AskError::TooLarge { bytes, max }),
            Err(AskFailure::TooMany { .. }) => Err(AskError::TooMany),
            Err(AskFailure::Closed) => Err(AskError::Lost),
        };
        if let Some(reply) = self.under_way.remove(&token) {
            // Whoever asked may have given up meanwhile.
            let _ = reply.send(answer);
        }
    }
}

/// Questions that may wait for a connection's session.
const WAITING_MAX: usize = 1_024;
