//! A new name for a replica that must not write under its own any more, in the same folder.
//!
//! Whoever forgets what it wrote, or may have, would give the same dot to two records. So it becomes somebody else, who goes on with what the
//! log holds: the records of before are foreign ones now, what was lost comes back from peers as theirs does, and nobody writes under the old
//! name again. Both layers get new names. Revisions go on in the same slot, above everything that the predecessor may have given out; what it
//! holds for certain stays readable, and what lies between is nobody's. Its leases are counted on.
//!
//! All of it is one rename: that of the manifest. Before it nothing has changed, and the next opening finds the same loss; after it the folder
//! is the successor's, whose manifest says which writings of the fence are not its own.

use tombolo_crdt::{ReplicaId, mutation::Mutation};

use self::aside::Aside;
use crate::{
    Identity, IdentityLoss, MeshId, OpenError, OpenOptions, Predecessor, Revision, Slot,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
    folder::{Folder, Owner, mint_replica},
    head::Head,
    lineage::{Forebear, Lineage, Numbers},
    log::Log,
    row::Kind,
};

pub(crate) mod aside;
pub(crate) mod dispute;
mod restamp;

/// What the log of a replica that loses its name holds.
pub(crate) struct Estate<'a> {
    pub(crate) head: &'a Head,
    /// The revision up to which it is known to be what was given out.
    pub(crate) certain: Revision,
    /// The revision after its last row; `None` where it has none.
    pub(crate) logged: Option<Revision>,
}

impl Estate<'_> {
    /// The past of a replica that counted from `first` to `last`, as far as the rows still hold it. An end that was lost may reach behind where
    /// somebody's own counting began: then nothing of it is left, and what its forebears counted is known only up to there.
    fn past(&self, lineage: &Lineage, replica: ReplicaId, first: Revision, last: Revision) -> Vec<Forebear> {
        let all = lineage.forebears().iter().copied().chain([Forebear { replica, first, last }]);
        let held = |forebear: Forebear| {
            let last = forebear.last.min(self.logged?);
            (forebear.first <= last).then_some(Forebear { last, ..forebear })
        };
        all.filter_map(held).collect()
    }
}

/// Makes the folder the successor's, durably. Its rows are on disk already.
pub(crate) fn succeed(
    folder: &mut Folder,
    loss: &IdentityLoss,
    estate: &Estate<'_>,
    options: &OpenOptions,
) -> Result<(), OpenError> {
    let exhausted = || OpenError::NeedsNewIdentity { cause: loss.clone() };
    let begins = begins(folder, estate.head.revision.get()).ok_or_else(exhausted)?;
    let owner = &folder.owner;
    let (mesh, private) = names(owner, &[&estate.head.mesh, &estate.head.private], &options.entropy);
    let Numbers { slot, begins: began, lineage } = &owner.numbers;
    let old = owner.identity.replica;
    let certain = match loss {
        // The log is not the one that the fence was written for: which of its revisions anybody has seen is not known.
        IdentityLoss::ForkedLog { .. } => *began,
        _ => estate.certain.max(*began),
    };
    let forebears = estate.past(lineage, old, *began, certain);
    let mut bequeathers = lineage.bequeathers().to_vec();
    bequeathers.push(old);
    let mut predecessors = lineage.predecessors().to_vec();
    predecessors.push(Predecessor { replica: old, cause: loss.word().to_owned() });
    let lineage = Lineage::new(forebears, bequeathers, predecessors);
    let numbers = Numbers { slot: *slot, begins, lineage };
    let mut identity = owner.identity;
    identity.replica = mesh;
    let (engine, aside, origin) = (owner.engine.clone(), owner.aside.clone(), owner.origin);
    let inherited_fence = folder.fence_file.generation();
    folder.owner = Owner { identity, private, numbers, inherited_fence, engine, aside, origin };
    folder.seal()?;
    folder.fence = crate::fence::Fence::new(begins);
    (folder.loss, folder.dispute) = (None, None);
    Ok(())
}

/// Makes the folder that of a successor that has nothing, durably: its own records are not those that the mesh has. The rows stay where they
/// are, to be gone through when the mesh has given back what it has. A step that is cut short leaves a folder that nobody names, and is begun again.
pub(crate) fn start_over(mut folder: Folder, options: &OpenOptions) -> Result<(), OpenError> {
    let (Some(loss), Some(dispute)) = (folder.loss.clone(), folder.dispute.clone()) else { return Ok(()) };
    // Nothing was given out above the reservation: the rows need not be read for it.
    let begins = begins(&folder, 0).ok_or(OpenError::NeedsNewIdentity { cause: loss.clone() })?;
    let owner = &folder.owner;
    let (mesh, private) = names(owner, &[], &options.entropy);
    let engine = format!("engine-{:016x}", mesh.get());
    if folder.papers.is_none() {
        drop(FjallEngine::open(&folder.path.join(&engine))?);
    }
    let old = owner.identity.replica;
    let lineage = &owner.numbers.lineage;
    let bequeathers = lineage.bequeathers().iter().copied().chain([old]).collect();
    let lost = Predecessor { replica: old, cause: loss.word().to_owned() };
    let predecessors = lineage.predecessors().iter().cloned().chain([lost]).collect();
    // Nothing of the past is here any more: no revision of it can be read.
    let lineage = Lineage::new(Vec::new(), bequeathers, predecessors);
    let numbers = Numbers { slot: owner.numbers.slot, begins, lineage };
    let mut identity = owner.identity;
    identity.replica = mesh;
    let aside = Aside { engine: owner.engine.clone(), stream: dispute.stream, seq: dispute.seq };
    // What an earlier start had set aside and nobody has gone through yet is lost sight of only with the folder: its rows are there no more.
    let inherited_fence = folder.fence_file.generation();
    let aside = Some(owner.aside.clone().unwrap_or(aside));
    let origin = owner.origin;
    folder.owner = Owner { identity, private, numbers, inherited_fence, engine, aside, origin };
    folder.seal()
}

/// Makes a copy a store of its own, durably: in a mesh of its own, with the same past, as one that is restored from a backup. It counts in
/// the next slot, and all leases.
pub(crate) fn go_own_way(
    folder: &mut Folder,
    engine: &dyn Engine,
    estate: &Estate<'_>,
    options: &OpenOptions,
) -> Result<(), OpenError> {
    let (owner, head) = (&folder.owner, estate.head);
    let Numbers { slot, begins, lineage } = &owner.numbers;
    let slots = lineage.forebears().iter().map(|forebear| forebear.last.slot()).chain([*slot]);
    let highest = slots.map(Slot::number).max().unwrap_or_default();
    let exhausted = || OpenError::NeedsNewIdentity { cause: IdentityLoss::Copied };
    let slot = highest.checked_add(1).and_then(Slot::new).ok_or_else(exhausted)?;
    // They were signed for the mesh that is left behind.
    let heads = engine.snapshot().scan(&Kind::Heads.key(0), &Kind::Heads.end()).collect::<Result<Vec<_>, _>>()?;
    engine.write(heads.into_iter().map(|(key, _)| Change::Remove(key)).collect(), Persist::Disk)?;
    let old = owner.identity.replica;
    let forebears = estate.past(lineage, old, *begins, head.revision);
    let authors = head.mesh.frontier().iter().map(|dot| dot.replica);
    let bequeathers = lineage.bequeathers().iter().copied().chain(authors).chain([old]).collect();
    let numbers = Numbers { lineage: Lineage::new(forebears, bequeathers, Vec::new()), ..slot.into() };
    // However poor the randomness, it is not the mesh that it leaves.
    let mut hasher = blake3::Hasher::new_derive_key("tombolo own way");
    hasher.update(&options.entropy);
    hasher.update(&owner.identity.mesh.0.to_be_bytes());
    let mut own_mesh = [0; 16];
    hasher.finalize_xof().fill(&mut own_mesh);
    let (replica, private) = names(owner, &[&head.mesh, &head.private], &options.entropy);
    let identity = Identity { mesh: MeshId(u128::from_be_bytes(own_mesh)), replica, slot };
    let (engine, inherited_fence) = (owner.engine.clone(), folder.fence_file.generation());
    let origin = Some(owner.identity.mesh);
    folder.owner = Owner { identity, private, numbers, inherited_fence, engine, aside: None, origin };
    folder.seal()?;
    folder.fence = crate::fence::Fence::new(slot.beginning());
    (folder.loss, folder.dispute) = (None, None);
    Ok(())
}

/// The first revision that nobody can have been given; `None` when the slot has none left.
fn begins(folder: &Folder, logged: i64) -> Option<Revision> {
    if Mutation::NumbersAgain.is_on() {
        return Revision::new(logged).and_then(Revision::next);
    }
    let claimed = folder.dispute.as_ref().map_or(0, |dispute| dispute.above);
    let given = [folder.fence.reserved, folder.fence.revision, logged, claimed];
    let highest = given.into_iter().max().and_then(Revision::new)?;
    highest.next().filter(|begins| begins.slot() == folder.owner.identity.slot)
}

/// Names for both layers that nobody in the log has.
fn names(owner: &Owner, logs: &[&Log], entropy: &[u8; 32]) -> (ReplicaId, ReplicaId) {
    // However poor the randomness, who was once named by it is not named so again.
    let mut hasher = blake3::Hasher::new_derive_key("tombolo successor");
    hasher.update(entropy);
    hasher.update(&owner.identity.replica.get().to_be_bytes());
    hasher.update(&owner.private.get().to_be_bytes());
    let mut draws = hasher.finalize_xof();
    let known = |replica: ReplicaId| {
        let is_author = logs.iter().any(|log| log.frontier().seq(replica) > 0);
        is_author || [owner.identity.replica, owner.private].contains(&replica)
    };
    let mut draw = |taken: Option<ReplicaId>| {
        loop {
            let mut word = [0; 8];
            draws.fill(&mut word);
            let replica = mint_replica(u64::from_be_bytes(word));
            if !known(replica) && taken != Some(replica) {
                return replica;
            }
        }
    };
    let mesh = draw(None);
    (mesh, draw(Some(mesh)))
}

#[cfg(test)]
mod tests;
