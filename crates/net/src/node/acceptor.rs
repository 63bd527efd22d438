//! The accepting side: from a first packet to a peer, or to a newcomer's answer, or to a refusal.

use std::{sync::Arc, time::Instant};

use quinn::Incoming;
use tokio::time::timeout;

use super::{HANDSHAKE_MAX, Shared, connection, endpoint, handshakes::Place, stream::Stream};
use crate::{
    Host, JoinRefusal, JoinRequest, PeerError, PeerRefusal, Refusal, Report, Welcome,
    handshake::{Greeting, Message},
    tls,
};

/// Answers one incoming connection, and runs its session if it is a peer's. It keeps its place among the handshakes until it is let in.
pub(crate) async fn answer<H: Host>(shared: Arc<Shared<H>>, incoming: Incoming, place: Place) {
    // Who does not get as far as saying something has no name to report.
    let Ok(Ok((stream, message))) = timeout(HANDSHAKE_MAX, listen(incoming)).await else { return };
    match message {
        Ok(Message::Greeting(greeting)) => greet(&shared, stream, &greeting, place).await,
        Ok(Message::Join(request)) => admit(&shared, stream, request).await,
        Ok(Message::Welcome(_) | Message::Refused(_)) | Err(_) => {
            turn_away(&shared, stream, Refusal::Peer(PeerRefusal::Malformed)).await;
        }
    }
}

/// Waits for the first message; what cannot be read as one is an answer, too.
async fn listen(incoming: Incoming) -> Result<(Stream, Result<Message, PeerError>), PeerError> {
    let connection = incoming.accept()?.await?;
    // TLS has demanded a key; without one there is no connection.
    let key = tls::proven_key(&connection).ok_or(PeerError::NoGreeting)?;
    let mut stream = Stream::accept(connection, key).await?;
    let message = stream.hear().await;
    match message {
        Err(error @ (PeerError::BadHandshake(_) | PeerError::LongHandshake(_))) => Ok((stream, Err(error))),
        Err(error) => Err(error),
        Ok(message) => Ok((stream, Ok(message))),
    }
}

async fn greet<H: Host>(shared: &Shared<H>, mut stream: Stream, greeting: &Greeting, place: Place) {
    let roster = shared.host.roster().borrow().clone();
    if let Err(refusal) = shared.gate(&roster).check(greeting, stream.key) {
        return turn_away(shared, stream, Refusal::Peer(refusal)).await;
    }
    if shared.peers.quarantine.until(&stream.key, shared.peers.now()).is_some() {
        return turn_away(shared, stream, Refusal::Peer(PeerRefusal::Quarantined)).await;
    }
    let own = Message::Greeting(shared.greeting(&roster));
    if let Ok(Ok(())) = timeout(HANDSHAKE_MAX, stream.say(&own)).await {
        drop(place);
        endpoint::let_in(&stream.connection);
        let peer = shared.peers.peer(greeting.replica);
        connection::run(shared, &peer, stream, false).await;
    }
}

async fn admit<H: Host>(shared: &Shared<H>, stream: Stream, request: JoinRequest) {
    if !shared.attempts.take(Instant::now()) {
        return turn_away(shared, stream, Refusal::Join(JoinRefusal::TooManyAttempts)).await;
    }
    match shared.host.redeem(request).await {
        Ok(admission) => {
            let roster = shared.host.roster().borrow().clone();
            let issuer_chain = shared.greeting(&roster).chain;
            stream.say_last(&Message::Welcome(Welcome { admission, issuer_chain }), 0).await;
        }
        Err(refusal) => turn_away(shared, stream, Refusal::Join(refusal)).await,
    }
}

async fn turn_away<H: Host>(shared: &Shared<H>, stream: Stream, refusal: Refusal) {
    let (address, key) = (stream.connection.remote_address(), stream.key);
    shared.host.report(Report::TurnedAway { address, key, refusal: refusal.clone() });
    stream.refuse(refusal).await;
}
