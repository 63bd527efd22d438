//! What a run has met: a simulation that never meets a situation proves nothing about it.

use std::fmt;

use tombolo_net::Fault;

/// A situation worth meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A key had concurrent values.
    Conflict,
    /// A key of the system's data had concurrent values.
    SystemConflict,
    /// A removal left an older concurrent value on show.
    Uncovered,
    /// A range was removed.
    RangeRemoval,
    /// A peer's record changed nothing that clients see.
    Loser,
    /// A peer's record changed several keys at once.
    RemoteTransaction,
    /// A record came from somebody other than its author.
    Forwarded,
    /// A lease ran out.
    LeaseExpired,
    /// A write came after its lease had ended, and was removed.
    Orphan,
    /// An answer was lost, and the write had happened.
    LostAndDone,
    /// An answer was lost, and the write had not happened.
    LostAndUndone,
    /// A restart found commits on disk that nobody had been shown.
    UnpublishedFound,
    /// The log was truncated.
    Truncated,
    /// A watch was fed from history.
    Replayed,
    /// A watch went on after its site had stopped.
    Resumed,
    /// A watch was refused, for what it needed was compacted.
    Relisted,
    /// A guard on another site's revision was refused.
    ForeignGuard,
    /// A read at another site's revision was refused.
    ForeignRead,
    /// A watch from another site's revision was refused.
    ForeignWatch,
    /// A read of the past was answered.
    PastRead,
    /// A read at an older cut was answered.
    OlderCut,
    /// A cut link held parcels back.
    HeldBack,
    /// A session ended for silence.
    Silent,
    /// A session ended for want of a hello.
    NoHello,
    /// A newer connection took the place of an older one.
    Superseded,
    /// A session ended because the peer said so.
    PeerClosed,
    /// A site was too busy for a peer's records.
    Busy,
    /// A log could not be read for a peer, for a while.
    Unreadable,
    /// A write to a disk failed, and the store took no more.
    Poisoned,
    /// Something became stable.
    Stable,
    /// A client that moved had to wait for what it had seen elsewhere.
    TokenAwaited,
    /// A client went on at another site.
    Moved,
    /// A machine or process stopped at a call of the engine.
    StoppedInside,
    /// One stopped while its store was opened.
    StoppedOpening,
    /// One stopped in a sweep, between two of its batches or in one.
    StoppedSweeping,
    /// A row was damaged.
    Rotten,
    /// A damaged row was named to whoever wanted it.
    RotNamed,
    /// A store was not opened, for a row of it is damaged.
    RotRefused,
    /// A clock is years away from another one.
    YearsApart,
    /// An element was removed.
    Removed,
    /// A site lacked what is in a peer's log no more.
    LacksState,
    /// A transfer was begun.
    TransferBegun,
    /// A transfer went on with what was staged before the site had stopped.
    TransferResumed,
    /// The provider of a transfer was gone, or gave nothing any more.
    ProviderLost,
    /// What a transfer would have brought came by another way.
    TransferGivenUp,
    /// A delta of state was joined.
    DeltaJoined,
    /// All of a peer's state was joined by a site that had nothing.
    CheckpointJoined,
    /// A machine or process stopped in joining a transfer.
    StoppedJoining,
    /// A restart found a transfer joined that nobody had been shown.
    JoinFound,
    /// Two sites were compared at the meet of their frontiers.
    Met,
    /// Clients wrote while a join was prepared.
    WrittenBesideJoin,
    /// A site went on under another name after a write to its disk had failed.
    RenamedAfterFailure,
    /// A site went on under another name after it had lost the end of its log.
    RenamedAfterLoss,
    /// A site whose folder was a copy joined anew.
    JoinedAnew,
    /// A lost record came back under the name that its author had before.
    CameBack,
    /// An acknowledged write was lost with the only disk that had it.
    LostForGood,
    /// An operator parked a site.
    Parked,
    /// A parked site was back, and had got what it lacked by log.
    ReturnedByLog,
    /// A parked site was back, and had taken a transfer.
    ReturnedByTransfer,
    /// An operator removed a site.
    RemovedSite,
    /// A removed site was refused by one that knew.
    TurnedOut,
    /// A write at a removed site was refused.
    WriteRefused,
    /// A removed site had written what nobody else took.
    BeyondEnd,
    /// A site counted a removed one's leases.
    LeasesInherited,
}

/// How often each was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Mark {
    /// All of them, in order.
    pub const ALL: [Self; 64] = [
        Self::Conflict,
        Self::SystemConflict,
        Self::Uncovered,
        Self::RangeRemoval,
        Self::Loser,
        Self::RemoteTransaction,
        Self::Forwarded,
        Self::LeaseExpired,
        Self::Orphan,
        Self::LostAndDone,
        Self::LostAndUndone,
        Self::UnpublishedFound,
        Self::Truncated,
        Self::Replayed,
        Self::Resumed,
        Self::Relisted,
        Self::ForeignGuard,
        Self::ForeignRead,
        Self::ForeignWatch,
        Self::PastRead,
        Self::OlderCut,
        Self::HeldBack,
        Self::Silent,
        Self::NoHello,
        Self::Superseded,
        Self::PeerClosed,
        Self::Busy,
        Self::Unreadable,
        Self::Poisoned,
        Self::Stable,
        Self::TokenAwaited,
        Self::Moved,
        Self::StoppedInside,
        Self::StoppedOpening,
        Self::StoppedSweeping,
        Self::Rotten,
        Self::RotNamed,
        Self::RotRefused,
        Self::YearsApart,
        Self::Removed,
        Self::LacksState,
        Self::TransferBegun,
        Self::TransferResumed,
        Self::ProviderLost,
        Self::TransferGivenUp,
        Self::DeltaJoined,
        Self::CheckpointJoined,
        Self::StoppedJoining,
        Self::JoinFound,
        Self::Met,
        Self::WrittenBesideJoin,
        Self::RenamedAfterFailure,
        Self::RenamedAfterLoss,
        Self::JoinedAnew,
        Self::CameBack,
        Self::LostForGood,
        Self::Parked,
        Self::ReturnedByLog,
        Self::ReturnedByTransfer,
        Self::RemovedSite,
        Self::TurnedOut,
        Self::WriteRefused,
        Self::BeyondEnd,
        Self::LeasesInherited,
    ];
}

impl Marks {
    pub(crate) fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// Takes note of why a session ended.
    pub(crate) fn hit_fault(&mut self, fault: &Fault) {
        match fault {
            Fault::Silent => self.hit(Mark::Silent),
            Fault::NoHello => self.hit(Mark::NoHello),
            Fault::Superseded => self.hit(Mark::Superseded),
            Fault::PeerClosed { .. } => self.hit(Mark::PeerClosed),
            _ => {}
        }
    }

    pub(crate) fn add(&mut self, mark: Mark, times: u64) {
        self.0[mark as usize] += times;
    }

    /// Adds what another run has met.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, times)| *sum += times);
    }

    /// How often it was met.
    pub fn times(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// What was never met.
    pub fn missed(&self) -> impl Iterator<Item = Mark> + '_ {
        Mark::ALL.into_iter().filter(|mark| self.times(*mark) == 0)
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = Mark::ALL.map(|mark| format!("{mark:?} {}", self.times(mark)));
        f.write_str(&met.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, Marks};

    #[test]
    fn every_mark_has_its_own_place() {
        let mut marks = Marks::default();
        Mark::ALL.into_iter().for_each(|mark| marks.hit(mark));
        assert!(Mark::ALL.into_iter().all(|mark| marks.times(mark) == 1));
        assert_eq!(marks.missed().count(), 0);
    }
}
