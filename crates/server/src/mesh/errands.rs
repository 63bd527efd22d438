//! What a client asks of us and another site has to do: a lease's time is counted at its home alone.
//!
//! The question goes over the connection that there is, or not at all: nothing is queued for a site out of reach, and nothing is asked twice.
//! The bytes are ours; the protocol between replicas carries them unread. A site that does not know a question answers with nothing.
//!
//! Question: kind (1) ‖ lease (8), and for an end what the asker has seen (version vector). Answer: kind (1) ‖ what belongs to it,
//! integers big-endian. `docs/protocol.md` has the table.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;
use tombolo_crdt::{ReplicaId, VersionVector, codec::Reader};
use tombolo_net::AskError;
use tombolo_storage::{Request, RequestError};

use super::{Link, Mesh};
use crate::{committer::Refusal, replica::Replica};

/// A question about a lease that is at home where it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Start its time again.
    Renew { id: i64 },
    /// End it, once what the asker has seen is here too: keys that were put elsewhere with the lease go with the others.
    Revoke { id: i64, seen: VersionVector },
    /// How much time is left.
    TimeToLive { id: i64 },
}

/// What the home says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// There is no such lease, or none any more.
    Gone,
    /// Its time has begun again, so many seconds.
    Renewed { ttl_s: i64 },
    /// It has ended, with everything up to this record of the home.
    Revoked { seq: u64 },
    /// Seconds left of seconds granted.
    Left { remaining_s: i64, granted_s: i64 },
    /// The home cannot do it now.
    Refused { why: String },
}

/// Why an errand came to nothing, as far as is known.
#[derive(Debug, Error)]
pub(crate) enum ErrandError {
    /// We have no connections at all.
    #[error("{why}")]
    Down { why: String },
    /// The home was not asked, or did not answer.
    #[error("it is out of reach: {0}")]
    Ask(#[from] AskError),
    /// The home did not do it.
    #[error("it says: {why}")]
    Refused { why: String },
    /// The answer is none.
    #[error("its answer cannot be read")]
    Unreadable,
    /// It was done there, and has not come back here in time.
    #[error("it was done there, and is under way to this site")]
    NotHereYet,
}

/// Has a lease's home do something.
pub(crate) async fn run(mesh: &Mesh, home: ReplicaId, errand: Errand) -> Result<Word, ErrandError> {
    let asking = match &*mesh.link.read() {
        Link::Up(node) => node.ask(home, errand.encode(), errand.patience()),
        Link::Down(why) => return Err(ErrandError::Down { why: why.clone() }),
    };
    match Word::decode(asking.await?) {
        Some(Word::Refused { why }) => Err(ErrandError::Refused { why }),
        Some(word) => Ok(word),
        None => Err(ErrandError::Unreadable),
    }
}

/// What is applied here and a peer is not known to have.
pub(crate) fn unknown_to(mesh: &Mesh, peer: ReplicaId) -> VersionVector {
    let view = mesh.peers().into_iter().find(|view| view.replica == peer);
    let theirs = view.map(|view| view.status.frontier).unwrap_or_default();
    let own = mesh.standing.borrow().clone();
    // Its own records it has, or we would not.
    own.frontier.iter().filter(|dot| dot.replica != peer && !theirs.covers(*dot)).collect()
}

/// Waits until what the home did is here too: only then may a client be told, who could read the contrary otherwise.
pub(crate) async fn arrived(mesh: &Mesh, home: ReplicaId, seq: u64) -> Result<(), ErrandError> {
    let mut standing = mesh.standing.subscribe();
    let waited = timeout(ARRIVAL_MAX, standing.wait_for(|standing| standing.frontier.seq(home) >= seq)).await;
    waited.map(drop).map_err(|_| ErrandError::NotHereYet)
}

/// What this replica, the home, does for another site. Nothing is said to what is no question that we know.
pub(super) async fn answer(replica: &Arc<Replica>, question: Bytes) -> Bytes {
    match Errand::decode(question) {
        Some(errand) => perform(replica, errand).await.encode(),
        None => Bytes::new(),
    }
}

async fn perform(replica: &Replica, errand: Errand) -> Word {
    match errand {
        Errand::Renew { id } => replica.leases.renew(id).map_or(Word::Gone, |ttl_s| Word::Renewed { ttl_s }),
        Errand::TimeToLive { id } => replica
            .leases
            .time_to_live(id)
            .map_or(Word::Gone, |time| Word::Left { remaining_s: time.remaining_s, granted_s: time.granted_s }),
        Errand::Revoke { id, .. } if replica.store.lease_home(id) != Some(replica.mesh.own()) => Word::Gone,
        Errand::Revoke { id, seen } => revoke(replica, id, &seen).await,
    }
}

async fn revoke(replica: &Replica, id: i64, seen: &VersionVector) -> Word {
    let mut standing = replica.mesh.standing.subscribe();
    let caught_up = standing.wait_for(|standing| standing.frontier.includes(seen));
    if timeout(CATCH_UP_MAX, caught_up).await.is_err() {
        let why = "it has not caught up with this site yet, and nothing was revoked: try again";
        return Word::Refused { why: why.to_owned() };
    }
    match replica.commit(Request::LeaseRevoke { id }, 0).await {
        Ok(_) => Word::Revoked { seq: replica.store.frontier().seq(replica.mesh.own()) },
        Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseNotFound { .. }) => Word::Gone,
        Err(why) => Word::Refused { why: why.to_string() },
    }
}

/// How long a home is waited for: less than clients usually wait for us.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an end waits at the home for what the asker has seen.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long what was done at the home may take to come back.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);

impl Errand {
    /// How long the home is waited for.
    fn patience(&self) -> Duration {
        match self {
            Self::Revoke { .. } => CATCH_UP_MAX + PATIENCE,
            Self::Renew { .. } | Self::TimeToLive { .. } => PATIENCE,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let (kind, id) = match self {
            Self::Renew { id } => (RENEW, id),
            Self::Revoke { id, .. } => (REVOKE, id),
            Self::TimeToLive { id } => (TIME_TO_LIVE, id),
        };
        let mut out = [&[kind][..], &id.to_be_bytes()].concat();
        if let Self::Revoke { seen, .. } = self {
            seen.encode(&mut out);
        }
        out.into()
    }

    /// `None` for what a later version may ask.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("errand").ok()?;
        let id = i64::from_be_bytes(reader.array("lease").ok()?);
        let errand = match kind {
            RENEW => Self::Renew { id },
            REVOKE => Self::Revoke { id, seen: VersionVector::decode(&mut reader).ok()? },
            TIME_TO_LIVE => Self::TimeToLive { id },
            _ => return None,
        };
        reader.finish("errand").ok()?;
        Some(errand)
    }
}

impl Word {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Gone => vec![GONE],
            Self::Renewed { ttl_s } => [&[RENEWED][..], &ttl_s.to_be_bytes()].concat(),
            Self::Revoked { seq } => [&[REVOKED][..], &seq.to_be_bytes()].concat(),
            Self::Left { remaining_s, granted_s } => {
                [&[LEFT][..], &remaining_s.to_be_bytes(), &granted_s.to_be_bytes()].concat()
            }
            Self::Refused { why } => {
                let mut why: String = why.chars().filter(|c| !c.is_control()).collect();
                why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
                [&[REFUSED][..], why.as_bytes()].concat()
            }
        }
        .into()
    }

    /// `None` for what is no answer to any question of ours.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("word").ok()?;
        let mut number = || reader.array("number").ok().map(i64::from_be_bytes);
        let word = match kind {
            GONE => Self::Gone,
            RENEWED => Self::Renewed { ttl_s: number()? },
            REVOKED => Self::Revoked { seq: number()?.cast_unsigned() },
            LEFT => Self::Left { remaining_s: number()?, granted_s: number()? },
            REFUSED => {
                let why = String::from_utf8(reader.rest().to_vec()).ok()?;
                // It ends up in logs and on terminals.
                let is_plain = why.len() <= WHY_BYTES_MAX && !why.chars().any(char::is_control);
                return is_plain.then_some(Self::Refused { why });
            }
            _ => return None,
        };
        reader.finish("word").ok()?;
        Some(word)
    }
}

const RENEW: u8 = 1;
const REVOKE: u8 = 2;
const TIME_TO_LIVE: u8 = 3;

const GONE: u8 = 1;
const RENEWED: u8 = 2;
const REVOKED: u8 = 3;
const LEFT: u8 = 4;
const REFUSED: u8 = 5;

/// Bytes of a reason: as much as a person reads.
const WHY_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    #[test]
    fn questions_and_answers_read_back_as_written_and_nothing_else_reads() {
        let seen = [Dot::new(ReplicaId::new(0xa1).unwrap(), 300)].into_iter().collect();
        for errand in [
            Errand::Renew { id: 7 },
            Errand::Revoke { id: -1, seen },
            Errand::Revoke { id: 1, seen: VersionVector::new() },
            Errand::TimeToLive { id: i64::MAX },
        ] {
            let bytes = errand.encode();
            assert_eq!(Errand::decode(bytes.clone()), Some(errand));
            for len in 0..bytes.len() {
                assert_eq!(Errand::decode(bytes.slice(..len)), None);
            }
            assert_eq!(Errand::decode([&bytes[..], &[0]].concat().into()), None);
        }
        for word in [
            Word::Gone,
            Word::Renewed { ttl_s: 60 },
            Word::Revoked { seq: u64::MAX },
            Word::Left { remaining_s: 3, granted_s: 60 },
        ] {
            let bytes = word.encode();
            assert_eq!(Word::decode(bytes.clone()), Some(word));
            for len in 0..bytes.len() {
                assert_eq!(Word::decode(bytes.slice(..len)), None);
            }
            assert_eq!(Word::decode([&bytes[..], &[0]].concat().into()), None);
        }
        assert_eq!(Errand::decode(vec![9; 9].into()), None, "a later version may ask more");
        assert_eq!(Word::decode(vec![9].into()), None);
    }

    /// Sites of other versions read them.
    #[test]
    fn questions_and_answers_have_the_bytes_they_had() {
        let seen = [Dot::new(ReplicaId::new(0xa1).unwrap(), 300)].into_iter().collect();
        let errands: [(Errand, &[u8]); 3] = [
            (Errand::Renew { id: 0x2a }, b"\x01\0\0\0\0\0\0\0\x2a"),
            (Errand::Revoke { id: -1, seen }, b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\xa1\xac\x02"),
            (Errand::TimeToLive { id: 0x2a }, b"\x03\0\0\0\0\0\0\0\x2a"),
        ];
        for (errand, bytes) in errands {
            assert_eq!(errand.encode(), bytes);
        }
        let words: [(Word, &[u8]); 5] = [
            (Word::Gone, b"\x01"),
            (Word::Renewed { ttl_s: 300 }, b"\x02\0\0\0\0\0\0\x01\x2c"),
            (Word::Revoked { seq: 7 }, b"\x03\0\0\0\0\0\0\0\x07"),
            (Word::Left { remaining_s: 1, granted_s: 2 }, b"\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02"),
            (Word::Refused { why: "no".to_owned() }, b"\x05no"),
        ];
        for (word, bytes) in words {
            assert_eq!(word.encode(), bytes);
        }
    }

    #[test]
    fn whatever_is_read_has_one_encoding() {
        let seen = [Dot::new(ReplicaId::new(0xa1).unwrap(), 300)].into_iter().collect();
        let left = Word::Left { remaining_s: 1, granted_s: 2 };
        let whole = [Errand::Revoke { id: 7, seen }.encode(), Errand::Renew { id: 7 }.encode(), left.encode()];
        let changed = whole.iter().flat_map(|bytes| {
            (0..bytes.len()).flat_map(|at| (0..=255).map(move |to| (at, to))).map(|(at, to)| {
                let mut changed = bytes.to_vec();
                changed[at] = to;
                Bytes::from(changed)
            })
        });
        for bytes in changed {
            assert!(Errand::decode(bytes.clone()).is_none_or(|errand| errand.encode() == bytes), "{bytes:?}");
            assert!(Word::decode(bytes.clone()).is_none_or(|word| word.encode() == bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let why = "é".repeat(WHY_BYTES_MAX);
        let read = Word::decode(Word::Refused { why: why.clone() }.encode());
        let Some(Word::Refused { why: read }) = read else { panic!("{read:?}") };
        assert!(why.starts_with(&read) && read.len() == WHY_BYTES_MAX, "{}", read.len());
        assert_eq!(Word::decode(vec![REFUSED, 0xff].into()), None);
        assert_eq!(Word::Refused { why: "a\u{1b}\nb".to_owned() }.encode(), b"\x05ab"[..]);
        assert_eq!(Word::decode(vec![REFUSED, 0x1b].into()), None, "nothing that moves a terminal");
    }
}
