//! What a folder says of its replica beside the rows, where there is no folder: for simulation.
//!
//! It is the manifest, the fence and the mark of a dispute, in memory. A store that is opened with them goes on under another name, or refuses to, for
//! the same reasons as in a folder. A write is durable when it returns; where a machine has stopped nothing is written any more.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Dispute, fence::Fence, folder::Owner};

/// The papers of one replica. Clones are the same papers; a [copy](Self::copy) is another's.
#[derive(Clone, Debug, Default)]
pub struct Papers(Arc<Mutex<Written>>);

#[derive(Clone, Debug, Default)]
struct Written {
    owner: Option<Owner>,
    fence: Option<Fence>,
    /// Counts the writings of the fence.
    generation: u64,
    dispute: Option<Dispute>,
    is_copy: bool,
    has_stopped: bool,
}

impl Papers {
    /// Papers of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The papers as they are now, as a machine has them whose disks are set back to this moment: they are not known to be a copy.
    pub fn image(&self) -> Self {
        Self(Arc::new(Mutex::new(Written { has_stopped: false, ..self.0.lock().clone() })))
    }

    /// A copy of them, which is found to be one.
    pub fn copy(&self) -> Self {
        let copy = self.image();
        copy.0.lock().is_copy = true;
        copy
    }

    /// Nothing is written from here on: the machine has stopped. Whoever opens the [image](Self::image) finds what was written before.
    pub fn stop(&self) {
        self.0.lock().has_stopped = true;
    }

    /// Marks a dispute: see [`Dispute::mark`].
    pub fn mark(&self, dispute: &Dispute) {
        self.write(|written| {
            let before = written.dispute.take();
            written.dispute = Some(dispute.with(before));
        });
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        self.0.lock().owner.clone()
    }

    pub(crate) fn is_original(&self) -> bool {
        !self.0.lock().is_copy
    }

    pub(crate) fn dispute(&self) -> Option<Dispute> {
        self.0.lock().dispute.clone()
    }

    pub(crate) fn fence(&self) -> Option<(u64, Fence)> {
        let written = self.0.lock();
        written.fence.map(|fence| (written.generation, fence))
    }

    /// From here on the rows are its owner's, and these are the papers that they were written as.
    pub(crate) fn seal(&self, owner: &Owner) {
        self.write(|written| (written.owner, written.is_copy) = (Some(owner.clone()), false));
    }

    pub(crate) fn set_fence(&self, fence: &Fence, generation: u64) {
        self.write(|written| (written.fence, written.generation) = (Some(*fence), generation));
    }

    fn write(&self, change: impl FnOnce(&mut Written)) {
        let mut written = self.0.lock();
        if !written.has_stopped {
            change(&mut written);
        }
    }
}
