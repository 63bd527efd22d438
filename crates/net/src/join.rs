//! Joining a mesh: a ticket goes to its issuer, an admission comes back.
//!
//! The issuer's key is pinned before the secret is sent. Asking again with the same ticket, replica and key is safe: it gets
//! the same admission, so that a newcomer that crashed after asking can go on.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use quinn::{Endpoint, VarInt};
use thiserror::Error;
use tokio::time::timeout;
use tombolo_crdt::ReplicaId;

use crate::{
    Announcement, ChainFault, JoinRefusal, JoinRequest, KeyPair, PeerError, Refusal, StartError, Ticket, Welcome,
    admission::check_links,
    handshake::Message,
    node::{dialer, endpoint, stream::Stream},
    tls,
};

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The replica that it will be: minted at random, written down before asking.
    pub replica: ReplicaId,
    /// What it says of itself.
    pub announcement: Announcement,
}

/// Why a replica has not joined. Nothing has changed at the newcomer; with [`JoinError::Lost`] it may have at the issuer.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The issuer was reached at none of its addresses.
    #[error("the ticket's issuer cannot be reached: {0}")]
    Unreachable(PeerError),
    /// The issuer will not have us.
    #[error("the ticket's issuer refuses: {0}")]
    Refused(JoinRefusal),
    /// The issuer has nothing to do with newcomers, or answers as this version does not understand.
    #[error("the ticket's issuer refuses: {0}")]
    Other(Refusal),
    /// The connection was lost between question and answer. Ask again, as the same replica with the same key.
    #[error("no answer came from the ticket's issuer, who may have admitted us: {0}")]
    Lost(PeerError),
    /// The answer is an admission of somebody else, or to something else.
    #[error("the issuer's answer is not for us")]
    NotForUs,
    /// The answer's signatures do not hold.
    #[error("the issuer's answer proves nothing: {0}")]
    Unproven(#[from] ChainFault),
    /// This machine does not let us ask.
    #[error(transparent)]
    Local(#[from] StartError),
}

/// Redeems `ticket` for `candidate`. Tries the ticket's addresses in turn; within a tokio runtime.
pub async fn join(ticket: &Ticket, key: &KeyPair, candidate: Candidate) -> Result<Welcome, JoinError> {
    let mut last = PeerError::NoAddress;
    for address in &ticket.addresses {
        let resolved = match dialer::resolve(address, false).await {
            Ok(resolved) => resolved,
            Err(cause) => {
                last = PeerError::Unresolved { address: address.clone(), cause };
                continue;
            }
        };
        for to in resolved {
            let endpoint = match socket(to) {
                Ok(endpoint) => endpoint,
                // A machine without that family, such as one with IPv6 switched off: the next address may be of the other.
                Err(why) => {
                    last =
                        PeerError::Unresolved { address: address.clone(), cause: format!("no socket for {to}: {why}") };
                    continue;
                }
            };
            let answer = match reach(&endpoint, ticket, key, address, to).await {
                Ok(stream) => Some(ask(stream, ticket, &candidate).await),
                Err(ReachError::Local(error)) => return Err(error.into()),
                Err(ReachError::Peer(error)) => {
                    last = error;
                    None
                }
            };
            endpoint.close(VarInt::from_u32(0), b"");
            // Until the last packet is out; nobody has to hear it.
            let _ = timeout(LINGER_MAX, endpoint.wait_idle()).await;
            if let Some(answer) = answer {
                return answer.and_then(|answer| check(answer, ticket, key, &candidate));
            }
        }
    }
    Err(JoinError::Unreachable(last))
}

enum ReachError {
    Local(StartError),
    Peer(PeerError),
}

/// A socket of the family of `to`, at any port.
fn socket(to: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::client(match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    })
}

/// Connects to the ticket's issuer, and to nobody else.
async fn reach(
    endpoint: &Endpoint,
    ticket: &Ticket,
    key: &KeyPair,
    address: &str,
    to: SocketAddr,
) -> Result<Stream, ReachError> {
    let config = endpoint::dialing(key, ticket.issuer_key).map_err(ReachError::Local)?;
    let failed = |cause: String| ReachError::Peer(PeerError::Transport { cause });
    let connecting = endpoint.connect_with(config, to, tls::SERVER_NAME).map_err(|error| failed(error.to_string()))?;
    match timeout(dialer::ANSWER_MAX, connecting).await {
        Ok(Ok(connection)) => Stream::open(connection, ticket.issuer_key).await.map_err(ReachError::Peer),
        Ok(Err(error)) => Err(ReachError::Peer(PeerError::of_dial(error, address))),
        Err(_) => Err(ReachError::Peer(PeerError::NoAnswer { address: address.to_owned() })),
    }
}

async fn ask(mut stream: Stream, ticket: &Ticket, candidate: &Candidate) -> Result<Welcome, JoinError> {
    let request = JoinRequest {
        ticket: ticket.id,
        secret: ticket.secret,
        replica: candidate.replica,
        // Not sent: the issuer knows it from TLS.
        key: stream.key,
        announcement: candidate.announcement.clone(),
    };
    let heard = async {
        stream.say(&Message::Join(request)).await?;
        stream.hear().await
    };
    match timeout(REDEEM_MAX, heard).await {
        Ok(Ok(Message::Welcome(welcome))) => Ok(welcome),
        Ok(Ok(Message::Refused(Refusal::Join(refusal)))) => Err(JoinError::Refused(refusal)),
        Ok(Ok(Message::Refused(refusal))) => Err(JoinError::Other(refusal)),
        Ok(Ok(Message::Greeting(_) | Message::Join(_))) => Err(JoinError::Lost(PeerError::NoGreeting)),
        Ok(Err(error)) => Err(JoinError::Lost(error)),
        Err(_) => Err(JoinError::Lost(PeerError::SlowHandshake)),
    }
}

/// Whether the welcome is ours, from the issuer that the ticket named, and holds.
fn check(welcome: Welcome, ticket: &Ticket, key: &KeyPair, candidate: &Candidate) -> Result<Welcome, JoinError> {
    let terms = &welcome.admission.terms;
    let ours = (terms.mesh, terms.replica, terms.key, terms.ticket, terms.issuer)
        == (ticket.mesh, candidate.replica, key.public(), ticket.id, ticket.issuer);
    let issuer = welcome.issuer_chain.first().map(|issuer| (issuer.terms.replica, issuer.terms.key));
    if !ours || issuer != Some((ticket.issuer, ticket.issuer_key)) {
        return Err(JoinError::NotForUs);
    }
    check_links(ticket.mesh, &welcome.chain())?;
    Ok(welcome)
}

/// How long the issuer may take: it writes to its disk, and may have others to answer first.
const REDEEM_MAX: Duration = Duration::from_secs(15);
/// How long the last packet may take.
const LINGER_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Admission, AdmissionTerms, Secret, SlotRange, TicketId};

    const MESH: u128 = 7;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn key(bits: u64) -> KeyPair {
        KeyPair::from_seed(&[bits as u8; 32]).unwrap()
    }

    fn terms(replica: u64, issuer: u64) -> AdmissionTerms {
        AdmissionTerms {
            mesh: MESH,
            replica: id(replica),
            key: key(replica).public(),
            slots: SlotRange { first: 100, count: 10 },
            ticket: TicketId(5),
            issuer: id(issuer),
        }
    }

    /// What replica 3 makes of `admission` and the chain of its ticket's issuer, replica 2.
    fn checked(admission: Admission, issuer_chain: Vec<Admission>) -> Result<Welcome, JoinError> {
        let ticket = Ticket {
            mesh: MESH,
            issuer: id(2),
            issuer_key: key(2).public(),
            id: TicketId(5),
            secret: Secret([0; 16]),
            expires_ms: 0,
            addresses: Vec::new(),
        };
        let candidate = Candidate { replica: id(3), announcement: Announcement::default() };
        check(Welcome { admission, issuer_chain }, &ticket, &key(3), &candidate)
    }

    fn chain() -> Vec<Admission> {
        let wide = AdmissionTerms { slots: SlotRange { first: 50, count: 100 }, ..terms(2, 1) };
        vec![Admission::sign(wide, &key(1)), Admission::founder(MESH, id(1), &key(1))]
    }

    #[test]
    fn a_welcome_that_is_ours_and_holds_is_taken() {
        let admission = Admission::sign(terms(3, 2), &key(2));
        assert_eq!(checked(admission, chain()).unwrap().chain().len(), 3);
    }

    #[test]
    fn an_admission_of_somebody_else_is_not_ours() {
        let changes: [fn(&mut AdmissionTerms); 5] = [
            |terms| terms.mesh += 1,
            |terms| terms.replica = id(4),
            |terms| terms.key = key(4).public(),
            |terms| terms.ticket.0 += 1,
            |terms| terms.issuer = id(1),
        ];
        for change in changes {
            let mut terms = terms(3, 2);
            change(&mut terms);
            let answer = checked(Admission::sign(terms, &key(2)), chain());
            assert!(matches!(answer, Err(JoinError::NotForUs)), "{terms:?}: {answer:?}");
        }
    }

    #[test]
    fn the_chain_is_the_ticket_issuers_and_holds_up_to_a_founder() {
        let admission = Admission::sign(terms(3, 2), &key(2));
        assert!(matches!(checked(admission, Vec::new()), Err(JoinError::NotForUs)));
        assert!(matches!(checked(admission, chain()[1..].to_vec()), Err(JoinError::NotForUs)));
        let answer = checked(admission, chain()[..1].to_vec());
        assert!(matches!(answer, Err(JoinError::Unproven(ChainFault::NoEnd { .. }))), "{answer:?}");
        let forged = Admission { signature: chain()[0].signature, ..admission };
        let answer = checked(forged, chain());
        assert!(matches!(answer, Err(JoinError::Unproven(ChainFault::Forged { .. }))), "{answer:?}");
        let mut false_founder = chain();
        false_founder[1].signature.0[0] ^= 1;
        let answer = checked(admission, false_founder);
        assert!(matches!(answer, Err(JoinError::Unproven(ChainFault::Forged { .. }))), "{answer:?}");
    }
}
