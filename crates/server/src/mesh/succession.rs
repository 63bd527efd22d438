//! Losing one's name, and telling the mesh under which one this replica goes on.
//!
//! The store has the new name when it is opened. What the mesh is told is the admission of each name by the one before it, from the last that the
//! mesh knows: signed with the folder's key, written behind this replica's proof, and presented in the handshake until it is there.

use std::time::Duration;

use tombolo_crdt::{Dot, ReplicaId};
use tombolo_net::{Admission, KeyPair, Roster, SecondSuccessor, SystemKey};
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Dispute, Store, SystemWrite};
use tracing::{error, info, warn};

use super::{Mesh, MeshError, invitations};
use crate::replica::Replica;

/// All names that a store's replica has had in this mesh, the present one last.
pub(super) fn names(store: &Store) -> Vec<ReplicaId> {
    let before = store.predecessors().iter().map(|before| before.replica);
    before.chain([store.identity().replica]).collect()
}

/// The admissions that lead from the last name that the roster knows to the present one, that one's first; none when it is known.
/// `joined` says that the first name had joined the mesh, and has not founded it.
pub(super) fn admissions(
    mesh: u128,
    names: &[ReplicaId],
    key: &KeyPair,
    roster: &Roster,
    joined: bool,
    wall_ms: u64,
) -> Result<Vec<Admission>, MeshError> {
    let Some((own, before)) = names.split_last() else { return Ok(Vec::new()) };
    let known = names.iter().rposition(|name| roster.member(*name).is_some());
    if let Some(member) = known.and_then(|at| roster.member(names[at]))
        && let Some(successor) = member.successor
    {
        return Err(MeshError::Succeeded { replica: member.replica(), successor });
    }
    if before.is_empty() || roster.member(*own).is_some() {
        return Ok(Vec::new());
    }
    let mut admissions = Vec::new();
    let (from, mut terms) = match known.and_then(|at| Some((at, roster.terms(names[at])?))) {
        Some(known) => known,
        None if joined => return Err(MeshError::Mixed { replica: *own, found: names[0] }),
        // A founder that had told nobody yet, or has lost the record in which it had.
        None => {
            let founder = Admission::founder(mesh, names[0], key);
            admissions.push(founder);
            (0, founder.terms)
        }
    };
    for (at, name) in names.iter().enumerate().skip(from + 1) {
        let admission = Admission::succession(&terms, *name, key, wall_ms.saturating_add(at as u64));
        terms = admission.terms;
        admissions.push(admission);
    }
    admissions.reverse();
    Ok(admissions)
}

/// Tells the mesh of the present name, if it does not know it. Without room for that it is presented to each peer all the same.
pub(super) async fn tell(replica: &Replica) {
    let mesh = &replica.mesh;
    let put =
        |admission: &Admission| invitations::put(SystemKey::Admission(admission.terms.replica), admission.encode());
    let writes: Vec<SystemWrite> = mesh.succession.iter().map(put).collect();
    if writes.is_empty() {
        return;
    }
    match invitations::write(replica, writes).await {
        Ok(()) => info!(replica = %mesh.own(), "told the mesh under which name this replica goes on"),
        Err(why) => warn!(%why, "the mesh was not told yet under which name this replica goes on"),
    }
}

impl Mesh {
    /// Whether this replica has to be opened anew, under another name. Becomes true once.
    pub(crate) async fn name_lost(&self) {
        // The sender is ours.
        let _ = self.name_lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// A peer has records under a name of ours that we do not have; other ones than we do, if it `is_fork`. Nothing more is written; the folder is
    /// marked, and the replica opened anew.
    pub(super) fn lose_name(&self, replica: &Replica, by: ReplicaId, dot: Dot, is_fork: bool) {
        if self.disown() {
            return;
        }
        let taken = replica.store.predecessors().iter().filter(|before| before.cause == DISPUTED).count();
        if taken >= DISPUTES_MAX {
            error!(%by, "this replica's records were disputed {taken} times before: it takes no further name by itself");
            return;
        }
        let published = replica.store.published();
        let missing = self.peers().iter().map(|peer| peer.status.own_behind.records).max().unwrap_or(0);
        let unknown = dot.seq.saturating_add(missing).min(1 << 32).cast_signed();
        let above = published.revision.get().saturating_add(unknown).saturating_add(MARGIN);
        // Since when the folder is not what it was is not known: no revision of this name is certain.
        let dispute = Dispute { replica: self.own(), common: 0, seq: dot.seq, stream: dot.replica, is_fork, by, above };
        match dispute.mark(&replica.facts.data_dir) {
            Ok(()) => {
                warn!(by = %self.call(by), %dot, "this replica goes on under another name: its own is disputed");
                self.name_lost.send_replace(true);
            }
            Err(why) => {
                error!(%why, "the folder could not be marked: no writes are taken until the server is started anew")
            }
        }
    }

    /// Whether this replica has, or had, this name.
    pub(super) fn is_ours(&self, name: ReplicaId) -> bool {
        self.names.contains(&name)
    }

    /// Says who has taken whose place, once, and what is wrong with that.
    pub(super) fn note_successions(&self, before: &Roster, now: &Roster, at: Duration) {
        for member in now.succeeded() {
            let Some(successor) = member.successor else { continue };
            let old = member.replica();
            if before.heir(old) == now.heir(old) {
                continue;
            }
            info!(predecessor = %old, successor = %successor, name = %self.call(old), "a replica goes on under another name");
            self.alarms.lock().forget(old);
            self.away.forget(old);
        }
        for &SecondSuccessor { predecessor, first, second } in now.second_successors() {
            let text = format!(
                "{second} says to be the successor of {predecessor}, and {first} is: a folder was copied; \
                 start the copy with --join and a ticket, or remove it"
            );
            self.alarms.lock().raise(MeshAlarmKind::SecondSuccessor, second, text, at);
        }
    }

    /// The chain that proves us, and that we believe: what the roster has of it.
    pub(super) fn chain(&self) -> Vec<Admission> {
        self.roster().chain_for(self.own())
    }
}

/// What such a loss is called in the folder.
const DISPUTED: &str = "disputed";
/// A member that lies can take a name from us; not endlessly many.
const DISPUTES_MAX: usize = 8;
/// Revisions that the replica may have given out, and no peer knows anything of.
const MARGIN: i64 = 1 << 22;

#[cfg(test)]
mod tests {
    use tombolo_net::{RosterEntry, SlotRange, TicketId};

    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn roster(admissions: &[Admission]) -> Roster {
        let entry = |admission: &Admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            seq: 1,
            author: admission.terms.issuer,
            value: admission.encode().into(),
        };
        Roster::new(7, admissions.iter().map(entry))
    }

    #[test]
    fn every_name_since_the_last_one_known_is_admitted_and_holds_together() {
        let (_, key) = KeyPair::generate().unwrap();
        let founder = Admission::founder(7, id(1), &key);
        let names = [id(1), id(2), id(3)];
        let told = admissions(7, &names, &key, &roster(&[founder]), false, 100).unwrap();
        assert_eq!(told.iter().map(|a| a.terms.replica).collect::<Vec<_>>(), [id(3), id(2)]);
        let known = roster(&[&[founder][..], &told].concat());
        assert_eq!((known.heir(id(1)), known.members().count()), (id(3), 1));
        assert_eq!(admissions(7, &names, &key, &known, false, 100).unwrap(), []);
        // A founder whom nobody has heard of proves itself from its first name on; whoever joined cannot.
        let told = admissions(7, &names, &key, &Roster::default(), false, 100).unwrap();
        assert_eq!(roster(&told).heir(id(1)), id(3));
        let refused = admissions(7, &names, &key, &Roster::default(), true, 100);
        assert!(matches!(refused, Err(MeshError::Mixed { .. })));
        assert_eq!(admissions(7, &names[..1], &key, &Roster::default(), false, 100).unwrap(), []);
    }

    #[test]
    fn a_copy_whose_original_has_a_successor_is_told_so() {
        let (_, key) = KeyPair::generate().unwrap();
        let founder = Admission::founder(7, id(1), &key);
        let successor = Admission::succession(&founder.terms, id(9), &key, 5);
        let known = roster(&[founder, successor]);
        for names in [&[id(1), id(2)][..], &[id(1)]] {
            let refused = admissions(7, names, &key, &known, false, 100);
            assert!(
                matches!(refused, Err(MeshError::Succeeded { successor, .. }) if successor == id(9)),
                "{refused:?}"
            );
        }
        let terms = tombolo_net::AdmissionTerms {
            slots: SlotRange { first: 9, count: 1 },
            ticket: TicketId(1),
            ..founder.terms
        };
        assert!(!terms.succeeds(&founder.terms));
    }
}
