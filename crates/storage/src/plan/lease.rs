//! Planning around leases: which one a number means, granting, ending, and what a lease that has ended still holds.

use bytes::Bytes;
use tombolo_crdt::{Element, Hlc, LEASE_TTL_S_MAX, LeaseRef, Operation, RECORD_BYTES_MAX, RECORD_OPERATIONS_MAX};

use super::Plan;
use crate::{
    RequestError,
    index::{KeyEntry, LeaseEntry, Visible, own_key},
    row::commit::Layer,
    view::Rows,
};

/// Keys that the end of a lease removes in one commit, and bytes of them: comfortably what a record can name.
const REVOKED_KEYS_MAX: usize = RECORD_OPERATIONS_MAX / 2;
const REVOKED_BYTES_MAX: usize = RECORD_BYTES_MAX / 4;

impl<R: Rows + ?Sized> Plan<'_, R> {
    /// A lease that exists, by the number clients know it by. One granted here goes before others of the same number; among
    /// others there must be no choice.
    pub(crate) fn lease(&self, id: i64) -> Result<LeaseRef, RequestError> {
        self.index.lease_named(id, |home| self.head.is_home(home))
    }

    /// The lease that a put keeps, which is that of the value on show.
    pub(super) fn kept_lease(
        &self,
        entry: Option<&KeyEntry>,
        visible: Option<Visible>,
    ) -> Result<Option<LeaseRef>, RequestError> {
        let shown = visible.ok_or(RequestError::KeyNotFound)?.shown.at.element;
        let mut siblings = entry.into_iter().flat_map(|entry| entry.register.siblings());
        let lease = siblings.find(|(element, _)| *element == shown).and_then(|(_, sibling)| sibling.value.lease);
        match lease {
            Some(lease) if self.index.lease(lease).is_none_or(|entry| entry.grants.is_empty()) => {
                Err(RequestError::LeaseNotFound { id: lease.id })
            }
            lease => Ok(lease),
        }
    }

    /// Plans the grant of a lease.
    pub(crate) fn grant(&mut self, id: i64, ttl_s: i64) -> Result<(), RequestError> {
        if !self.index.lease_homes(id).is_empty() {
            return Err(RequestError::LeaseExists { id });
        }
        let admitted = u64::try_from(ttl_s).ok().filter(|ttl_s| *ttl_s <= LEASE_TTL_S_MAX);
        let ttl_s = admitted.ok_or(RequestError::LeaseTtl { ttl_s })?;
        self.draft.push(Layer::Mesh, Operation::LeaseGrant { id, ttl_s });
        Ok(())
    }

    /// Plans the end of a lease, and the removal of exactly the elements attached to it. `false` when a record cannot name them
    /// all: then the lease is not ended yet, and the rest is planned after this is carried out.
    pub(crate) fn revoke(&mut self, id: i64) -> Result<bool, RequestError> {
        let lease = self.lease(id)?;
        let Some(entry) = self.index.lease(lease) else { return Err(RequestError::LeaseNotFound { id }) };
        if !self.remove_attached(entry, &mut 0) {
            return Ok(false);
        }
        let mut elements: Vec<Element> = entry.grants.iter().map(|(element, _)| *element).collect();
        elements.sort_unstable();
        self.draft.push(Layer::Mesh, Operation::LeaseEnd { lease, elements });
        Ok(true)
    }

    /// Plans the removal of what is attached to leases of ours that do not exist. Returns the leases that nothing is attached to
    /// any more once this is carried out; the rest is planned after it.
    pub(crate) fn orphans(&mut self) -> Vec<LeaseRef> {
        let (mut settled, mut bytes) = (Vec::new(), 0);
        for &lease in &self.head.orphaned {
            let ended = self.index.lease(lease).filter(|entry| entry.grants.is_empty());
            if ended.is_some_and(|entry| !self.remove_attached(entry, &mut bytes)) {
                return settled;
            }
            settled.push(lease);
        }
        settled
    }

    /// Plans the removal of exactly the elements attached to a lease. `false` when a record cannot name them all.
    fn remove_attached(&mut self, entry: &LeaseEntry, bytes: &mut usize) -> bool {
        for (key, element) in &entry.attached {
            if self.draft.mesh.len() >= REVOKED_KEYS_MAX || *bytes >= REVOKED_BYTES_MAX {
                return false;
            }
            *bytes += key.len();
            let key = own_key(key);
            let sibling = self.index.get(&key).and_then(|e| e.register.siblings().find(|(e, _)| e == element));
            self.draft.floor = self.draft.floor.max(sibling.map_or(Hlc::default(), |(_, sibling)| sibling.hlc));
            // Each layer removes what it added: a record of the one can not name elements of the other.
            let is_private = self.head.private.frontier().covers(element.dot);
            let layer = if is_private { Layer::Private } else { Layer::Mesh };
            self.draft.push(layer, Operation::Remove { key, elements: vec![*element] });
        }
        true
    }

    /// The keys attached to a lease, ascending.
    pub(crate) fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, RequestError> {
        Ok(self.index.keys_of(self.lease(id)?))
    }
}
