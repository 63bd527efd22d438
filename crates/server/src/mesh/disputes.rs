//! What is made of a fault that says that records, or a name, are disputed: whoever met with it, a session or a transfer.

use tombolo_crdt::{Dot, ReplicaId};
use tombolo_net::{Fault, Quarantined};
use tombolo_proto::v1::MeshAlarmKind;

use super::Mesh;
use crate::replica::Replica;

/// Raises the alarm for a fault that says that records or names are disputed. Of the two sides one finds it first, and the
/// other is told. When it is our own records that are disputed, none is written any more: under their names there would be two.
pub(super) fn dispute(replica: &Replica, peer: ReplicaId, fault: &Fault) {
    let mesh = &replica.mesh;
    if let Fault::AheadOfUs { dot, .. } = fault
        && dot.replica == mesh.own()
        && replica.store.frontier().covers(*dot)
    {
        // The session had not heard of it yet.
        return;
    }
    let advice = "a folder was copied or set back; nothing is exchanged until one of the two is replaced";
    let (kind, text) = match fault {
        Fault::Forked { dot } => {
            let (author, own) = (mesh.call(dot.replica), mesh.own());
            (MeshAlarmKind::Forked, format!("it has another record {dot} of {author} than {own} does: {advice}"))
        }
        Fault::Equivocated { dot, evidence } => {
            let text = format!(
                "{} has written two histories, which part at {dot} or before it, and has signed both: {evidence}: {advice}",
                mesh.call(dot.replica)
            );
            (MeshAlarmKind::Forked, text)
        }
        Fault::AheadOfUs { dot, known } => {
            let text = format!(
                "it has our record {dot}, and ours end at {known}: this folder was set back; no writes are taken \
                 before it goes on under another name"
            );
            (MeshAlarmKind::AheadOfUs, text)
        }
        Fault::Frozen { dot, last } => {
            let text = format!(
                "it has {dot} of a removed site, whose records end at {last}: enter them with `tombolo mesh enter`, and \
                 replace the folder of this peer"
            );
            (MeshAlarmKind::Late, text)
        }
        Fault::PeerClosed { code, text } if [FORKED, EQUIVOCATED].contains(code) => {
            (MeshAlarmKind::Forked, format!("it says of us: {text}: {advice}"))
        }
        _ => return,
    };
    mesh.alarms.lock().raise(kind, peer, text, replica.uptime.now());
    match fault {
        Fault::AheadOfUs { dot, .. } if dot.replica == mesh.own() => {
            mesh.lose_name(replica, peer, *dot, false);
        }
        Fault::Forked { dot } | Fault::Equivocated { dot, .. } if mesh.is_ours(dot.replica) => {
            mesh.lose_name(replica, peer, *dot, true);
        }
        Fault::PeerClosed { code, text } if [FORKED, EQUIVOCATED].contains(code) => {
            if let Some(dot) = named_in(text).filter(|dot| mesh.is_ours(dot.replica)) {
                mesh.lose_name(replica, peer, dot, true);
            }
        }
        _ => {}
    }
}

/// The record that a peer's words for [`Fault::Forked`] name.
fn named_in(text: &str) -> Option<Dot> {
    text.split_whitespace().find_map(|word| {
        let (replica, seq) = word.strip_prefix('r')?.split_once(':')?;
        let replica = ReplicaId::new(u64::from_str_radix(replica, 16).ok().filter(|_| replica.len() == 16)?)?;
        Some(Dot::new(replica, seq.parse().ok().filter(|seq| *seq > 0)?))
    })
}

impl Mesh {
    /// Raises the alarm for a peer that sent what nobody may send. It is lowered when that is [forgotten](Mesh::alarms).
    pub(super) fn quarantined(&self, told: &Quarantined, now: std::time::Duration) {
        let Quarantined { replica, times, left, why } = told;
        let text = format!(
            "it has sent what nobody may send ({why}), {times} times lately, and is not spoken with for {}s; `tombolo mesh remove` ends it for good",
            left.as_secs()
        );
        self.alarms.lock().raise(MeshAlarmKind::Quarantined, *replica, text, now);
    }
}

/// [`Fault::Forked`]'s code.
const FORKED: u16 = 10;
/// [`Fault::Equivocated`]'s code.
const EQUIVOCATED: u16 = 34;

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, SignedHead};
    use tombolo_net::Equivocation;

    use super::*;

    #[test]
    fn the_record_that_a_peer_disputes_is_read_from_its_words() {
        let dot = Dot::new(ReplicaId::new(0xab).unwrap(), 17);
        assert_eq!(named_in(&Fault::Forked { dot }.to_string()), Some(dot));
        for words in ["", "r00ab:17", "another record r00000000000000ab:0", "rxx:1"] {
            assert_eq!(named_in(words), None, "{words}");
        }
    }

    #[test]
    fn codes_are_those_of_their_faults() {
        let dot = Dot::new(ReplicaId::new(1).unwrap(), 1);
        assert_eq!(Fault::Forked { dot }.code(), FORKED);
        let signature = [0; SignedHead::SIGNATURE_LEN];
        let head = SignedHead { dot, chain: Chain::BEGINNING, signer: dot.replica, signature };
        let evidence = Box::new(Equivocation { ours: head, theirs: head });
        assert_eq!(Fault::Equivocated { dot, evidence }.code(), EQUIVOCATED);
    }
}
