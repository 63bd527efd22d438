//! Bugs that can be switched on by name, so that a simulator proves that it would find them.
//!
//! Each is a known pitfall of stores like this one, planted where the rule stands that keeps out of it. Without the feature
//! `mutations`, which no shipped program has, nothing can be switched on, asking is a constant, and compilers drop the
//! branch. The place to learn what each does and how it is found is the simulator's museum.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// A stamp from the far future draws the clock along, however far.
    UnboundedClock = 1,
    /// Of concurrent values the one that arrived last is shown.
    LastArrivalWins,
    /// Records are applied before their causes.
    GateOff,
    /// A record that is applied already is applied again.
    DuplicatesApplied,
    /// Stored rows are believed, whatever their hashes say.
    RowsUnverified,
    /// The frontier moves when a group is closed, not when it is on disk and shown.
    VectorBeforeData,
    /// Compaction drops rows in one batch, and says so in another one.
    SweptInPieces,
    /// The removal of a range also takes what its author had not seen.
    RangeRemovesUnseen,
    /// What a replica wrote itself stays in its digest when it is removed.
    DigestDrifts,
    /// A write replaces only the value that clients are shown, and leaves its siblings.
    SiblingsLeft,
    /// What a transfer had joined when the machine stopped is shown, although the rest is not there.
    HalfJoinVisible,
    /// A staged element is joined although the state of the moment covers it, and lacks it.
    StagedBlindly,
    /// What a transfer's provider lacks counts as removed, whether the provider knew of it or not.
    AbsentMeansRemoved,
    /// Of each record a transfer takes only one element away.
    DotsForElements,
    /// A transfer's vector is of a later moment than its elements.
    VectorAheadOfState,
    /// What a transfer brings changes what clients see at the revision that they were shown already.
    JoinTakesNoRevision,
    /// Who goes on under another name counts on from what its log holds, and not from what was given out.
    NumbersAgain,
    /// Who goes on under another name does not count the leases that were granted under the old one.
    LeasesLeftBehind,
}

/// Whether bugs can be switched on in this build. A shipped program refuses to be built so.
pub const ARE_POSSIBLE: bool = cfg!(feature = "mutations");

#[cfg(not(feature = "mutations"))]
impl Mutation {
    /// Whether it is switched on: never.
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(feature = "mutations")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutation;

    /// The one that is on, for the whole process: stores are read on several threads.
    static ON: AtomicU8 = AtomicU8::new(0);

    impl Mutation {
        /// Whether it is switched on.
        pub fn is_on(self) -> bool {
            ON.load(Ordering::Relaxed) == self as u8
        }

        /// Switches one on for the whole process, or all off.
        pub fn switch(mutation: Option<Self>) {
            ON.store(mutation.map_or(0, |mutation| mutation as u8), Ordering::Relaxed);
        }
    }
}
