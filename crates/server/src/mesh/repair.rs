//! What replicas give one another to mend rotten rows: single records, out of their logs, and signed heads.
//!
//! It travels as a pull and its page. Pull: `2` for a record or `3` for a head ‖ replica (8) ‖ seq (8). Page: the same byte ‖ material or head, or nothing
//! when it is not there. A pull that begins otherwise is one of a transfer.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use tombolo_crdt::{Dot, ReplicaId, SignedHead, codec::Reader};
use tombolo_net::{AskError, Node, PAGE_BODY_BYTES_MAX};
use tombolo_storage::ReadError;
use tracing::warn;

use super::{Link, Mesh};
use crate::replica::Replica;

/// What is asked for: how bodies of a repair begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A record.
    Record = 2,
    /// The signed head of its author at it.
    Head = 3,
}
/// How long a peer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the peers that are connected have of a record, those that have it.
pub(crate) async fn ask_all(mesh: &Mesh, dot: Dot) -> Vec<Bytes> {
    let asked = match &*mesh.link.read() {
        Link::Up(node) => ask_each(node, What::Record, dot),
        Link::Down(_) => return Vec::new(),
    };
    answered(asked, What::Record).await
}

/// The head at a record, from its author or a peer that was given it, if one of those that are connected has it and it proves what it says.
pub(crate) async fn ask_head(mesh: &Mesh, dot: Dot) -> Option<SignedHead> {
    let asked = match &*mesh.link.read() {
        Link::Up(node) => ask_each(node, What::Head, dot),
        Link::Down(_) => return None,
    };
    let told = answered(asked, What::Head).await;
    let mut heads = told.into_iter().filter_map(|told| {
        let mut reader = Reader::new(told);
        let head = SignedHead::decode(&mut reader).ok()?;
        reader.finish("head").ok().map(|()| head)
    });
    heads.find(|head| head.dot == dot && mesh.roster().judge_head(mesh.id(), head).is_ok())
}

/// The same of a node that is not the mesh's: see [`salvage`](super::salvage).
pub(super) async fn ask_all_of(node: &Node, dot: Dot) -> Vec<Bytes> {
    answered(ask_each(node, What::Record, dot), What::Record).await
}

fn ask_each(node: &Node, what: What, dot: Dot) -> Vec<impl Future<Output = Result<Bytes, AskError>> + Send + use<>> {
    let peers = node.peers().into_iter().filter(|view| view.status.is_established);
    peers.map(|view| node.pull(view.replica, ask(what, dot), PATIENCE)).collect()
}

async fn answered(asked: Vec<impl Future<Output = Result<Bytes, AskError>> + Send>, what: What) -> Vec<Bytes> {
    let mut found = Vec::new();
    for asking in asked {
        // Who is away, or of an earlier version, has nothing.
        found.extend(asking.await.ok().and_then(|page| told(what, page)));
    }
    found
}

/// Whether a pull is one of a repair.
pub(super) fn is_repair(pull: &[u8]) -> bool {
    pull.first().is_some_and(|first| What::of(*first).is_some())
}

/// What this replica has for another's repair. Rot is not handed on.
pub(super) async fn answer(replica: &Arc<Replica>, pull: Bytes) -> Bytes {
    let Some((what, dot)) = asked(pull) else { return Bytes::new() };
    let found = match what {
        What::Record => replica.reads.for_repair(move |store| store.material(dot)).await,
        What::Head => head(replica, dot).await,
    };
    let found = found.unwrap_or_else(|why| {
        warn!(%dot, %why, "a peer was not given a record: it cannot be read here");
        None
    });
    let told = found.map(|found| [&[what as u8][..], &found].concat());
    told.filter(|told| told.len() <= PAGE_BODY_BYTES_MAX).map_or_else(Bytes::new, Bytes::from)
}

/// The head at a record: the one that came with it, if it is the newest of its author, or one of ours, for whom we speak for.
async fn head(replica: &Arc<Replica>, dot: Dot) -> Result<Option<Bytes>, ReadError> {
    let known = replica.store.signed_head(dot.replica).filter(|head| head.dot == dot);
    let head = match known {
        Some(head) => Some(head),
        // The log is not read for whom nobody here can sign.
        None if !replica.mesh.signer.speaks_for(&replica.mesh.roster(), dot.replica) => None,
        None => {
            let chain = replica.reads.for_repair(move |store| store.chain_of(dot)).await?;
            chain.and_then(|chain| replica.mesh.signer.sign(&replica.mesh.roster(), dot, chain))
        }
    };
    Ok(head.map(|head| {
        let mut out = Vec::new();
        head.encode(&mut out);
        out.into()
    }))
}

impl What {
    fn of(first: u8) -> Option<Self> {
        [Self::Record, Self::Head].into_iter().find(|what| *what as u8 == first)
    }
}

fn ask(what: What, dot: Dot) -> Bytes {
    let mut body = vec![what as u8];
    body.put_u64(dot.replica.get());
    body.put_u64(dot.seq);
    body.into()
}

fn asked(mut pull: Bytes) -> Option<(What, Dot)> {
    if pull.len() != 17 {
        return None;
    }
    let what = What::of(pull.get_u8())?;
    let replica = ReplicaId::new(pull.get_u64())?;
    let seq = pull.get_u64();
    (1..=Dot::SEQ_MAX).contains(&seq).then(|| (what, Dot::new(replica, seq)))
}

fn told(what: What, mut page: Bytes) -> Option<Bytes> {
    (page.len() > 1 && page.get_u8() == what as u8).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_as_written_and_nothing_else_reads() {
        let dot = Dot::new(ReplicaId::new(7).unwrap(), 9);
        assert_eq!(asked(ask(What::Head, dot)), Some((What::Head, dot)));
        let body = ask(What::Record, dot);
        assert_eq!(body, &b"\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09"[..]);
        assert!(is_repair(&body));
        assert_eq!(asked(body.clone()), Some((What::Record, dot)));
        for len in 0..body.len() {
            assert_eq!(asked(body.slice(..len)), None);
        }
        assert_eq!(asked([&body[..], &[0]].concat().into()), None);
        assert_eq!(asked(Bytes::from_static(b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09")), None, "nobody has that name");
        assert_eq!(
            asked(Bytes::from_static(b"\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0")),
            None,
            "there is no such record"
        );
        let record = |page| told(What::Record, Bytes::from_static(page));
        assert_eq!(record(b"\x02x"), Some(Bytes::from_static(b"x")));
        assert_eq!((record(b""), record(b"\x01x"), record(b"\x03x")), (None, None, None));
    }
}
