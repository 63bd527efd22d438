//! Planted bugs: each makes one part beside the stores and sessions do its work wrongly, so that a checker must go red.
//!
//! Most sit where the simulation stands in for a host, an engine, a disk or a client library. Those that cannot are switched on
//! inside the product's crates, which only a build with the feature `museum` can do.

use std::{fmt, str::FromStr};

use tombolo_crdt::mutation::Mutation;

use crate::disk::Habit;

/// A bug that is switched on by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// The host reads the log newest first.
    NewestFirst,
    /// The host leaves the last record of a load out, and says that it was looked at.
    ForgottenRecord,
    /// Clients are answered when their write was executed, before it is on disk.
    AckBeforeDurable,
    /// Groups are shown and offered to peers before they are synced; only clients wait for the sync.
    OfferBeforeDurable,
    /// The disk loses the last rows that were synced when the machine stops.
    LostSuffix,
    /// A site that comes back opens a backup of its rows under the same identity.
    RestoredBackup,
    /// The host enters the records of peers as writes of its own.
    Reauthored,
    /// The host drops records whose stamp is older than what it shows, and reports them taken.
    ClockBeforeCausality,
    /// The host drops the records of a peer while a group is on its way to the disk, and reports them taken.
    DroppedWhenBusy,
    /// The host tells a frontier that includes what it is about to apply.
    FrontierAhead,
    /// A transaction's events are delivered to watchers in two pieces, one of which a reconnect may lose.
    TornWatch,
    /// A watcher that comes back asks from the last revision it saw, not from the one after it.
    RepeatedEvents,
    /// The watch hub is not told of the commits of peers.
    SilentMerge,
    /// Reads are answered from a revision behind the newest one.
    StaleRead,
    /// A read of several keys is put together from two moments.
    FracturedRead,
    /// A client goes on at another site as if it were the same one.
    MovingClient,
    /// Compacted history is dropped while a peer still needs it, and the peer takes no state instead.
    EarlyTruncation,
    /// A lease that runs out deletes the keys it was attached to, whoever wrote them since.
    LeaseExpiryByKey,
    /// A site runs on a copy of another one's disk.
    ClonedDisk,
    /// Revisions of another site are compared by their ordinals alone.
    NumericCompare,
    /// A client that moves is answered at once, whatever it has seen elsewhere.
    TokenIgnored,
    /// A batch is half there when the machine stops in the middle of it.
    TornBatch,
    /// The disk says that it has synced, and it has not.
    LyingSync,
    /// The host reads the log author by author, and the gate is off.
    GateOff,
    /// The host takes the order of stamps for the order of causes, and reads the log so.
    StampOrder,
    /// The host remembers removals by the millisecond, and drops what was put no later.
    TombstoneByTime,
    /// A client that gets no answer asks again, under no name that would tell the second write from the first.
    BlindRetry,
    /// Stability is taken from what peers say they have, and not from what they had when they wrote.
    StabilityFromAcks,
    /// The host passes a record on without what it cannot make sense of.
    FilteredRelay,
    /// The host tells peers the same digest always, so that all comparisons pass, while a digest drifts.
    DigestsPass,
    /// A stamp from the far future draws a clock along, however far.
    UnboundedClock,
    /// Of concurrent values the one that arrived last is shown.
    LastArrivalWins,
    /// A record that is applied already is applied again.
    DuplicatesApplied,
    /// Damaged rows are served and passed on, whatever their hashes say.
    RowsUnverified,
    /// The frontier moves when a group is closed, not when it is on disk and shown.
    VectorBeforeData,
    /// Compaction drops rows in one batch, and says so in another one.
    SweptInPieces,
    /// The removal of a range also takes what its author had not seen.
    RangeRemovesUnseen,
    /// What a replica wrote itself stays in its digest when it is removed.
    DigestDrifts,
    /// A write replaces only the value that clients are shown.
    SiblingsLeft,
    /// What a transfer had joined when the machine stopped is shown, without the rest.
    HalfJoinVisible,
    /// A staged element is joined although the state of the moment covers it, and lacks it.
    StagedBlindly,
    /// What a transfer's provider lacks counts as removed, whether the provider knew of it or not.
    AbsentMeansRemoved,
    /// Of each record a transfer takes only one element away.
    DotsForElements,
    /// A transfer's vector is of a later moment than its elements.
    VectorAheadOfState,
    /// A transfer changes what clients see at the revision that they were shown already.
    JoinTakesNoRevision,
    /// A site that has lost the end of its log counts on from what is left, under its new name.
    NumbersAgain,
    /// A site that goes on under another name does not count the leases of the old one.
    LeasesLeftBehind,
    /// One site goes on taking records from a site that was removed, and has said that it does not.
    TakenBeyondTheEnd,
    /// What is left of a log is told as if it were all of it, to whoever comes back after its parking.
    RestForWhole,
    /// Stability is taken from what members said they have received, not from what this replica has applied of it.
    HeartbeatsCountAtOnce,
}

impl Plant {
    /// All planted bugs.
    pub const ALL: [Self; 50] = [
        Self::NewestFirst,
        Self::ForgottenRecord,
        Self::AckBeforeDurable,
        Self::OfferBeforeDurable,
        Self::LostSuffix,
        Self::RestoredBackup,
        Self::Reauthored,
        Self::ClockBeforeCausality,
        Self::DroppedWhenBusy,
        Self::FrontierAhead,
        Self::TornWatch,
        Self::RepeatedEvents,
        Self::SilentMerge,
        Self::StaleRead,
        Self::FracturedRead,
        Self::MovingClient,
        Self::EarlyTruncation,
        Self::LeaseExpiryByKey,
        Self::ClonedDisk,
        Self::NumericCompare,
        Self::HeartbeatsCountAtOnce,
        Self::TokenIgnored,
        Self::TornBatch,
        Self::LyingSync,
        Self::GateOff,
        Self::StampOrder,
        Self::TombstoneByTime,
        Self::BlindRetry,
        Self::StabilityFromAcks,
        Self::FilteredRelay,
        Self::DigestsPass,
        Self::UnboundedClock,
        Self::LastArrivalWins,
        Self::DuplicatesApplied,
        Self::RowsUnverified,
        Self::VectorBeforeData,
        Self::SweptInPieces,
        Self::RangeRemovesUnseen,
        Self::DigestDrifts,
        Self::SiblingsLeft,
        Self::HalfJoinVisible,
        Self::StagedBlindly,
        Self::AbsentMeansRemoved,
        Self::DotsForElements,
        Self::VectorAheadOfState,
        Self::JoinTakesNoRevision,
        Self::NumbersAgain,
        Self::LeasesLeftBehind,
        Self::TakenBeyondTheEnd,
        Self::RestForWhole,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewestFirst => "newest-first",
            Self::ForgottenRecord => "forgotten-record",
            Self::AckBeforeDurable => "ack-before-durable",
            Self::OfferBeforeDurable => "offer-before-durable",
            Self::LostSuffix => "lost-suffix",
            Self::RestoredBackup => "restored-backup",
            Self::Reauthored => "reauthored",
            Self::ClockBeforeCausality => "clock-before-causality",
            Self::DroppedWhenBusy => "dropped-when-busy",
            Self::FrontierAhead => "frontier-ahead",
            Self::TornWatch => "torn-watch",
            Self::RepeatedEvents => "repeated-events",
            Self::SilentMerge => "silent-merge",
            Self::StaleRead => "stale-read",
            Self::FracturedRead => "fractured-read",
            Self::MovingClient => "moving-client",
            Self::EarlyTruncation => "early-truncation",
            Self::LeaseExpiryByKey => "lease-expiry-by-key",
            Self::ClonedDisk => "cloned-disk",
            Self::NumericCompare => "numeric-compare",
            Self::HeartbeatsCountAtOnce => "heartbeats-count-at-once",
            Self::TokenIgnored => "token-ignored",
            Self::TornBatch => "torn-batch",
            Self::LyingSync => "lying-sync",
            Self::GateOff => "gate-off",
            Self::StampOrder => "stamp-order",
            Self::TombstoneByTime => "tombstone-by-time",
            Self::BlindRetry => "blind-retry",
            Self::StabilityFromAcks => "stability-from-acks",
            Self::FilteredRelay => "filtered-relay",
            Self::DigestsPass => "digests-pass",
            Self::UnboundedClock => "unbounded-clock",
            Self::LastArrivalWins => "last-arrival-wins",
            Self::DuplicatesApplied => "duplicates-applied",
            Self::RowsUnverified => "rows-unverified",
            Self::VectorBeforeData => "vector-before-data",
            Self::SweptInPieces => "swept-in-pieces",
            Self::RangeRemovesUnseen => "range-removes-unseen",
            Self::DigestDrifts => "digest-drifts",
            Self::SiblingsLeft => "siblings-left",
            Self::HalfJoinVisible => "half-join-visible",
            Self::StagedBlindly => "staged-blindly",
            Self::AbsentMeansRemoved => "absent-means-removed",
            Self::DotsForElements => "dots-for-elements",
            Self::VectorAheadOfState => "vector-ahead-of-state",
            Self::JoinTakesNoRevision => "join-takes-no-revision",
            Self::NumbersAgain => "numbers-again",
            Self::LeasesLeftBehind => "leases-left-behind",
            Self::TakenBeyondTheEnd => "taken-beyond-the-end",
            Self::RestForWhole => "rest-for-whole",
        }
    }
}

impl Plant {
    /// What it makes of the disks.
    pub(crate) fn habit(self) -> Habit {
        match self {
            Self::TornBatch => Habit::Tears,
            Self::LyingSync => Habit::Lies,
            _ => Habit::Sound,
        }
    }
}

impl Plant {
    /// What it switches on inside the product's crates, when it sits there.
    pub fn mutation(self) -> Option<Mutation> {
        match self {
            Self::GateOff => Some(Mutation::GateOff),
            Self::UnboundedClock => Some(Mutation::UnboundedClock),
            Self::LastArrivalWins => Some(Mutation::LastArrivalWins),
            Self::DuplicatesApplied => Some(Mutation::DuplicatesApplied),
            Self::RowsUnverified => Some(Mutation::RowsUnverified),
            Self::VectorBeforeData => Some(Mutation::VectorBeforeData),
            Self::SweptInPieces => Some(Mutation::SweptInPieces),
            Self::RangeRemovesUnseen => Some(Mutation::RangeRemovesUnseen),
            Self::DigestDrifts | Self::DigestsPass => Some(Mutation::DigestDrifts),
            Self::SiblingsLeft => Some(Mutation::SiblingsLeft),
            Self::HalfJoinVisible => Some(Mutation::HalfJoinVisible),
            Self::StagedBlindly => Some(Mutation::StagedBlindly),
            Self::AbsentMeansRemoved => Some(Mutation::AbsentMeansRemoved),
            Self::DotsForElements => Some(Mutation::DotsForElements),
            Self::VectorAheadOfState => Some(Mutation::VectorAheadOfState),
            Self::JoinTakesNoRevision => Some(Mutation::JoinTakesNoRevision),
            Self::NumbersAgain => Some(Mutation::NumbersAgain),
            Self::LeasesLeftBehind => Some(Mutation::LeasesLeftBehind),
            _ => None,
        }
    }

    /// Whether this build can plant it: bugs inside the product's crates need the feature `museum`.
    pub fn is_possible(self) -> bool {
        self.mutation().is_none() || tombolo_crdt::mutation::ARE_POSSIBLE
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no planted bug has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no planted bug is called `{name}`; there are {}", Plant::ALL.map(Plant::name).join(", "))]
pub struct UnknownPlant {
    /// The name.
    pub name: String,
}

impl FromStr for Plant {
    type Err = UnknownPlant;

    fn from_str(name: &str) -> Result<Self, UnknownPlant> {
        let found = Self::ALL.into_iter().find(|plant| plant.name() == name);
        found.ok_or_else(|| UnknownPlant { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::Plant;

    #[test]
    fn names_read_back_and_are_told_apart() {
        for plant in Plant::ALL {
            assert_eq!(plant.to_string().parse(), Ok(plant));
        }
        assert!("none".parse::<Plant>().unwrap_err().to_string().contains("newest-first"));
    }
}
