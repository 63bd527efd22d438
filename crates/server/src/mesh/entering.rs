//! Enters a tail as new writes: what a replica wrote under a name under which it does not count, and the mesh does not have.
//!
//! It is that of a removed replica, brought by an operator, or of a replica that goes on under another name because its own was disputed, which
//! enters it by itself ([`aside`](super::aside)); anybody else may do so too. The tail is held against what is here before anything is
//! written. It is written in a few records, ascending by key, each of which also says how far it has come: entering the same tail
//! again, here or at another site, goes on from there, or changes nothing.

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{DecodeError, RECORD_OPERATIONS_MAX, ReplicaId, codec::Reader};
use tombolo_net::SystemKey;
use tombolo_storage::{
    Entered, Outcome, Request, RequestError, SystemWrite, Tail, TailError, TailLeases, TailStream, TailWrite,
};
use tracing::info;

use crate::{committer::Refusal, replica::Replica};

/// What came of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) author: ReplicaId,
    /// Its last record.
    pub(crate) last: u64,
    /// Records of it that were not here.
    pub(crate) records: u64,
    pub(crate) entered: Entered,
    /// Keys left out because their value hung on a lease.
    pub(crate) leased: u64,
    /// Writes of users, roles and members, which are not entered.
    pub(crate) system: u64,
    /// Whether it had been entered before.
    pub(crate) was_entered: bool,
}

/// Why a tail is not entered.
#[derive(Debug, Error)]
pub(crate) enum EnterError {
    /// The tail is none, or does not follow what is here.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// Its author is a member, and its records come by themselves.
    #[error("{author} is a member, whose records come by themselves: remove it first")]
    Member { author: ReplicaId },
    /// It is not settled where its author's records end.
    #[error("it is not settled yet where the records of {author} end: see `tombolo mesh members`")]
    Open { author: ReplicaId },
    /// It is our own.
    #[error("the tail is this replica's own")]
    Own,
    /// Not all of it was written; what was stays, and it can be entered again.
    #[error(transparent)]
    Commit(#[from] Refusal),
}

/// Who enters a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// An operator, who says what becomes of values that hung on a lease. Users and roles are not entered: that is not for a replica
    /// to say that was removed.
    Operator(TailLeases),
    /// The replica that wrote it, under its next name: its clients are there with their leases, and its users are the mesh's.
    Heir,
}

/// How far a tail has been entered: the value under [`SystemKey::Entered`] or [`SystemKey::EnteredFork`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// The last record of which everything is entered.
    last: u64,
    /// A tail that is being entered: its last record, and the last key of it that is.
    under_way: Option<(u64, Bytes)>,
}

/// Whether records of this author may be entered here.
pub(crate) fn check(replica: &Replica, author: ReplicaId) -> Result<(), EnterError> {
    let (mesh, roster) = (&replica.mesh, replica.mesh.roster());
    match roster.member(author) {
        _ if author == mesh.own() => Err(EnterError::Own),
        // What it wrote under a name that it has given up may be anybody's by now, and does not come by itself if it is apart.
        Some(member) if member.successor.is_some() => Ok(()),
        Some(member) if !member.is_removed() => Err(EnterError::Member { author }),
        Some(_) if !roster.frozen().contains(&author) => Err(EnterError::Open { author }),
        // Whom a removed member has let in, and nobody else has heard of, is no member either.
        Some(_) | None => Ok(()),
    }
}

/// Enters a tail.
pub(crate) async fn enter(replica: &Replica, tail: Tail, by: By) -> Result<Done, EnterError> {
    let _turn = replica.mesh.entering.lock().await;
    for stream in &tail.streams {
        check(replica, stream.author)?;
    }
    let Some(&TailStream { author, last, .. }) = tail.streams.last() else {
        return Err(TailError::Damaged { what: "nobody's records" }.into());
    };
    let (key, records) = (mark_key(&tail, author), tail.records);
    let mark = Mark::read(replica, &key);
    let (leases, mut system) = match by {
        By::Operator(leases) => (leases, Vec::new()),
        By::Heir => (TailLeases::Kept, heritable(tail.outcome.system())),
    };
    let system_writes = tail.outcome.system_writes().saturating_sub(system.len() as u64);
    let grants: Vec<_> = tail.outcome.grants().filter(|_| leases == TailLeases::Kept).collect();
    let (mut writes, leased) = tail.outcome.settle(&replica.store, leases);
    let mut done =
        Done { author, last, records, entered: Entered::default(), leased, system: system_writes, was_entered: false };
    if mark.last >= last || writes.is_empty() && records == 0 {
        done.was_entered = true;
        return Ok(done);
    }
    for (id, ttl_s) in grants {
        grant(replica, id, ttl_s).await?;
    }
    if let Some((_, key)) = mark.under_way.filter(|(under_way, _)| *under_way == last) {
        writes.retain(|write| write.key > key);
    }
    let mut rest = writes.into_iter().peekable();
    loop {
        let (mut part, mut bytes) = (Vec::new(), system.iter().map(cost).sum());
        while let Some(next) = rest.next_if(|next| part.is_empty() || fits(part.len(), bytes, next)) {
            bytes += cost(&next);
            part.push(next);
        }
        let reached = part.last().map(|write| write.key.clone());
        let mark = match reached.filter(|_| rest.peek().is_some()) {
            Some(key) => Mark { last: mark.last, under_way: Some((last, key)) },
            None => Mark { last, under_way: None },
        };
        let is_whole = mark.under_way.is_none();
        let mark = SystemWrite::Put { key: key.to_string().into(), value: mark.encode().into() };
        let request = Request::Enter { writes: part, system: std::mem::take(&mut system), mark: vec![mark] };
        if let Outcome::Entered(Entered { put, removed, outdone }) = replica.commit(request, bytes).await?.outcome {
            done.entered.put += put;
            done.entered.removed += removed;
            done.entered.outdone += outdone;
        }
        if is_whole {
            info!(%author, last, ?done, "entered what a replica had written under a name that does not count any more");
            return Ok(done);
        }
    }
}

/// Where it is written how far a tail has come. A replica's stream goes on in one way, and may have forked in several.
fn mark_key(tail: &Tail, author: ReplicaId) -> SystemKey {
    if tail.streams.iter().all(|stream| stream.apart.is_none()) {
        return SystemKey::Entered(author);
    }
    let chain = tail.chain.as_bytes().first_chunk().map_or(0, |chain| u64::from_be_bytes(*chain));
    SystemKey::EnteredFork(author, chain)
}

/// Users and roles. What is said of members counts only from the hand that said it, and under the name that it had.
fn heritable(mut system: Vec<TailWrite>) -> Vec<TailWrite> {
    system.retain(|write| SystemKey::parse(&write.key).is_none());
    system
}

/// Grants a lease again, unless there is one of that number.
async fn grant(replica: &Replica, id: i64, ttl_s: u64) -> Result<(), EnterError> {
    let ttl_s = i64::try_from(ttl_s).unwrap_or(i64::MAX);
    match replica.commit(Request::LeaseGrant { id, ttl_s }, LEASE_BYTES).await {
        Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseExists { .. }) => Ok(()),
        granted => Ok(granted.map(drop)?),
    }
}

fn fits(count: usize, bytes: usize, next: &TailWrite) -> bool {
    count < RECORD_OPERATIONS_MAX / 2 && bytes + cost(next) <= PART_BYTES_MAX
}

/// About what a write takes in a record.
fn cost(write: &TailWrite) -> usize {
    let value = write.value.as_ref().map_or(0, |(value, _)| value.len());
    64 + write.key.len() + value + 16 * write.seen.len()
}

/// About what the grant of a lease takes in the queue.
const LEASE_BYTES: usize = 64;
/// Bytes of one record, about: half of what one may have.
const PART_BYTES_MAX: usize = 4 << 20;

impl Mark {
    /// How far anybody has come, here or elsewhere, as far as is known here.
    fn read(replica: &Replica, key: &SystemKey) -> Self {
        let key = key.to_string();
        let found = replica.store.system(key.as_bytes()).into_iter().filter(|entry| entry.key == key.as_bytes());
        let marks = found.flat_map(|entry| entry.siblings).filter_map(|sibling| Self::decode(sibling.value).ok());
        marks.max_by_key(|mark| (mark.last, mark.under_way.clone())).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.last.to_be_bytes());
        if let Some((last, key)) = &self.under_way {
            out.extend_from_slice(&last.to_be_bytes());
            out.extend_from_slice(key);
        }
        out
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("mark version")? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        let last = reader.u64("last")?;
        if reader.remaining() == 0 {
            return Ok(Self { last, under_way: None });
        }
        let under_way = reader.u64("under way")?;
        Ok(Self { last, under_way: Some((under_way, reader.rest())) })
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_written() {
        for under_way in [None, Some((9, Bytes::from_static(b"key"))), Some((9, Bytes::new()))] {
            let mark = Mark { last: 7, under_way };
            assert_eq!(Mark::decode(mark.encode().into()), Ok(mark));
        }
        assert!(Mark::decode(Bytes::from_static(&[2])).is_err());
        assert!(Mark::decode(Bytes::from_static(&[1, 0, 0])).is_err());
    }
}
