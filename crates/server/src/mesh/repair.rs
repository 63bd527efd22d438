//! What replicas give one another to mend rotten rows: single records, out of their logs.
//!
//! It travels as a pull and its page. Pull: `2` ‖ replica (8) ‖ seq (8). Page: `2` ‖ material, or nothing when it is not there. A pull that begins
//! otherwise is one of a transfer.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use tombolo_crdt::{Dot, ReplicaId};
use tombolo_net::{AskError, Node, PAGE_BODY_BYTES_MAX};
use tracing::warn;

use super::{Link, Mesh};
use crate::replica::Replica;

/// How bodies of a repair begin.
const REPAIR: u8 = 2;
/// How long a peer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the peers that are connected have of a record, those that have it.
pub(crate) async fn ask_all(mesh: &Mesh, dot: Dot) -> Vec<Bytes> {
    let asked = match &*mesh.link.read() {
        Link::Up(node) => ask_each(node, dot),
        Link::Down(_) => return Vec::new(),
    };
    answered(asked).await
}

/// The same of a node that is not the mesh's: see [`salvage`](super::salvage).
pub(super) async fn ask_all_of(node: &Node, dot: Dot) -> Vec<Bytes> {
    answered(ask_each(node, dot)).await
}

fn ask_each(node: &Node, dot: Dot) -> Vec<impl Future<Output = Result<Bytes, AskError>> + Send + use<>> {
    let peers = node.peers().into_iter().filter(|view| view.status.is_established);
    peers.map(|view| node.pull(view.replica, ask(dot), PATIENCE)).collect()
}

async fn answered(asked: Vec<impl Future<Output = Result<Bytes, AskError>> + Send>) -> Vec<Bytes> {
    let mut found = Vec::new();
    for asking in asked {
        // Who is away, or of an earlier version, has nothing.
        found.extend(asking.await.ok().and_then(told));
    }
    found
}

/// Whether a pull is one of a repair.
pub(super) fn is_repair(pull: &[u8]) -> bool {
    pull.first() == Some(&REPAIR)
}

/// What this replica has for another's repair. Rot is not handed on.
pub(super) async fn answer(replica: &Arc<Replica>, pull: Bytes) -> Bytes {
    let Some(dot) = asked(pull) else { return Bytes::new() };
    let material = match replica.reads.apart(move |store| store.material(dot)).await {
        Ok(material) => material,
        Err(why) => {
            warn!(%dot, %why, "a peer was not given a record: it cannot be read here");
            None
        }
    };
    let told = material.map(|material| [&[REPAIR][..], &material].concat());
    told.filter(|told| told.len() <= PAGE_BODY_BYTES_MAX).map_or_else(Bytes::new, Bytes::from)
}

fn ask(dot: Dot) -> Bytes {
    let mut body = vec![REPAIR];
    body.put_u64(dot.replica.get());
    body.put_u64(dot.seq);
    body.into()
}

fn asked(mut pull: Bytes) -> Option<Dot> {
    if pull.len() != 17 || pull.get_u8() != REPAIR {
        return None;
    }
    let replica = ReplicaId::new(pull.get_u64())?;
    let seq = pull.get_u64();
    (1..=Dot::SEQ_MAX).contains(&seq).then(|| Dot::new(replica, seq))
}

fn told(mut page: Bytes) -> Option<Bytes> {
    (page.len() > 1 && page.get_u8() == REPAIR).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_as_written_and_nothing_else_reads() {
        let dot = Dot::new(ReplicaId::new(7).unwrap(), 9);
        let body = ask(dot);
        assert_eq!(body, &b"\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09"[..]);
        assert!(is_repair(&body));
        assert_eq!(asked(body.clone()), Some(dot));
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
        assert_eq!(told(Bytes::from_static(b"\x02x")), Some(Bytes::from_static(b"x")));
        assert_eq!((told(Bytes::new()), told(Bytes::from_static(b"\x01x"))), (None, None));
    }
}
