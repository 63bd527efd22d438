//! How far the commit rows of this replica are bound: its records each to the one before, by a chain, and rows to their numbers, by a hash.
//!
//! Both take a third of what executing a put takes, and nothing that is executed needs them. So a record is executed, and its row written to a
//! sheet, with room for them, and whoever writes the sheet to the engine fills them in: on a thread that would otherwise wait
//! for work. Rows are bound in the order of their commits, and none comes to the engine before it is.

use tombolo_crdt::{Chain, Record};

use super::commit::Layer;

/// Where the row stands that was bound last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    mesh: Chain,
    private: Chain,
    /// The hashes of all rows that were bound since the store was opened, in sum.
    pub(crate) hashes: u128,
}

impl Bound {
    /// Nothing is bound yet after records with these chains, of the mesh layer and of the private one.
    pub(crate) fn after([mesh, private]: [Chain; 2]) -> Self {
        Self { mesh, private, hashes: 0 }
    }

    /// The chains of the last records, of the mesh layer and of the private one.
    pub(crate) fn chains(&self) -> [Chain; 2] {
        [self.mesh, self.private]
    }

    /// Binds a layer's next record.
    pub(super) fn record(&mut self, layer: Layer, bytes: &mut [u8]) {
        let chain = match layer {
            Layer::Mesh => &mut self.mesh,
            Layer::Private => &mut self.private,
        };
        *chain = Record::bind(bytes, chain);
    }

    /// Binds the row with this number, its records being bound.
    pub(super) fn row(&mut self, row: &mut [u8], number: u64) {
        self.hashes = self.hashes.wrapping_add(super::fill_hash(row, number).into());
    }
}
