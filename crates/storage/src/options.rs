//! How a store is opened, and the moment at which things happen to it.

use crate::Durability;

/// A moment of the wall clock: milliseconds since the Unix epoch. The store never looks at a clock; callers say what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// What [`Store::open`](crate::Store::open) needs to know besides the folder.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// When a commit counts as done.
    pub durability: Durability,
    /// The moment of opening.
    pub wall: WallTime,
    /// Fresh randomness, from which the identity of a new folder is minted. Opening an existing folder does not use it.
    pub entropy: [u8; 32],
}

impl OpenOptions {
    /// The default: fsync before a commit counts as done.
    pub fn new(wall: WallTime, entropy: [u8; 32]) -> Self {
        Self { durability: Durability::Fsync, wall, entropy }
    }
}
