//! A new name for a replica that must not write under its own any more, in the same folder.
//!
//! Whoever forgets what it wrote, or may have, would give the same dot to two records. So it becomes somebody else, who goes on with what the
//! log holds: the records of before are foreign ones now, what was lost comes back from peers as theirs does, and nobody writes under the old
//! name again. Both layers get new names. Revisions go on in the same slot, above everything that the predecessor may have given out; what it
//! holds for certain stays readable, and what lies between is nobody's. Its leases are counted on.
//!
//! All of it is one rename: that of the manifest. Before it nothing has changed, and the next opening finds the same loss; after it the folder
//! is the successor's, whose manifest says which writings of the fence are not its own.

use tombolo_crdt::ReplicaId;

use crate::{
    IdentityLoss, OpenError, OpenOptions, Predecessor, Revision,
    folder::{Folder, Owner, mint_replica},
    head::Head,
    lineage::{Forebear, Lineage, Numbers},
};

pub(crate) mod dispute;
mod restamp;

/// What the log of a replica that loses its name holds.
pub(crate) struct Estate<'a> {
    pub(crate) head: &'a Head,
    /// The revision up to which it is known to be what was given out.
    pub(crate) certain: Revision,
}

/// Makes the folder the successor's, durably. Its rows are on disk already.
pub(crate) fn succeed(
    folder: &mut Folder,
    loss: &IdentityLoss,
    estate: &Estate<'_>,
    options: &OpenOptions,
) -> Result<(), OpenError> {
    let exhausted = || OpenError::NeedsNewIdentity { cause: loss.clone() };
    let begins = begins(folder, estate).ok_or_else(exhausted)?;
    let owner = &folder.owner;
    let (mesh, private) = names(owner, estate.head, &options.entropy);
    let Numbers { slot, begins: began, lineage } = &owner.numbers;
    let old = owner.identity.replica;
    let certain = match loss {
        // The log is not the one that the fence was written for: which of its revisions anybody has seen is not known.
        IdentityLoss::ForkedLog { .. } => *began,
        _ => estate.certain.max(*began),
    };
    let mut forebears = lineage.forebears().to_vec();
    forebears.push(Forebear { replica: old, first: *began, last: certain });
    let mut bequeathers = lineage.bequeathers().to_vec();
    bequeathers.push(old);
    let mut predecessors = lineage.predecessors().to_vec();
    predecessors.push(Predecessor { replica: old, cause: loss.word().to_owned() });
    let lineage = Lineage::new(forebears, bequeathers, predecessors);
    let numbers = Numbers { slot: *slot, begins, lineage };
    let mut identity = owner.identity;
    identity.replica = mesh;
    folder.owner = Owner { identity, private, numbers, inherited_fence: folder.fence_file.generation() };
    folder.seal()?;
    folder.fence = crate::fence::Fence::new(begins);
    (folder.loss, folder.dispute) = (None, None);
    Ok(())
}

/// The first revision that nobody can have been given; `None` when the slot has none left.
fn begins(folder: &Folder, estate: &Estate<'_>) -> Option<Revision> {
    let claimed = folder.dispute.as_ref().map_or(0, |dispute| dispute.above);
    let given = [folder.fence.reserved, folder.fence.revision, estate.head.revision.get(), claimed];
    let highest = given.into_iter().max().and_then(Revision::new)?;
    highest.next().filter(|begins| begins.slot() == folder.owner.identity.slot)
}

/// Names for both layers that nobody in the log has.
fn names(owner: &Owner, head: &Head, entropy: &[u8; 32]) -> (ReplicaId, ReplicaId) {
    // However poor the randomness, who was once named by it is not named so again.
    let mut hasher = blake3::Hasher::new_derive_key("tombolo successor");
    hasher.update(entropy);
    hasher.update(&owner.identity.replica.get().to_be_bytes());
    hasher.update(&owner.private.get().to_be_bytes());
    let mut draws = hasher.finalize_xof();
    let known = |replica: ReplicaId| {
        let logs = [&head.mesh, &head.private];
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
