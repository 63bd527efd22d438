//! What is going to happen, in the order of virtual time.
//!
//! Things that happen at the same microsecond happen in the order in which they were decided.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    Time,
    network::{ConnectionId, End},
    trouble::Trouble,
};

/// The future.
#[derive(Default)]
pub(crate) struct Agenda {
    ahead: BTreeMap<(Time, u64), Happening>,
    decided: u64,
}

/// Something that happens at a moment. Whatever concerns a site's process names its life: a process that has stopped since
/// is not concerned any more.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A client takes its next step.
    Client { client: usize },
    /// The group that was on its way to the disk is there.
    Persisted { site: usize, life: u64 },
    /// What needed no disk is answered.
    Ready { site: usize, life: u64 },
    /// Clients are told, after the disk has been made sure of by a later sync.
    Synced { site: usize, life: u64 },
    /// Sessions are told where the store stands.
    Told { site: usize, life: u64 },
    /// A session's deadline comes, unless another was asked for since.
    Deadline { site: usize, connection: ConnectionId, ticket: u64 },
    /// The log is read for a session.
    Load { site: usize, connection: ConnectionId },
    /// The oldest parcel under way in a connection arrives at this end, unless the pipe was broken since.
    Parcel { connection: ConnectionId, at: End, turn: u64 },
    /// A site may need a transfer of state.
    TransferDue { site: usize, life: u64 },
    /// The next step of a join that is being prepared.
    Prepare { site: usize, life: u64 },
    /// A page that a peer pulls is read.
    Page { site: usize, connection: ConnectionId, id: u64, body: Bytes },
    /// A site tries to reach another one.
    Dial { from: usize, to: usize, ticket: u64 },
    /// A dialled site hears of the connection.
    Accepted { connection: ConnectionId },
    /// The dialling site hears that it was accepted.
    Opened { connection: ConnectionId },
    /// A watching client takes what was delivered to it.
    Drain { watcher: usize, life: u64 },
    /// A watching client asks for its watch again.
    Rewatch { watcher: usize },
    /// History is read for the watch hub.
    Replay { site: usize, life: u64 },
    /// A lease may have run out.
    LeasesDue { site: usize, life: u64 },
    /// A site does its housekeeping.
    Housekeeping { site: usize, life: u64 },
    /// A site does what is due by where the members stand.
    Upkeep { site: usize, life: u64 },
    /// Something goes wrong, or right again.
    Trouble(Trouble),
    /// The next trouble is chosen.
    NextTrouble,
    /// The troubles end.
    Calm,
    /// Somebody looks whether all is quiet.
    Look,
}

impl Agenda {
    /// Decides on something.
    pub(crate) fn at(&mut self, time: Time, happening: Happening) {
        self.decided += 1;
        self.ahead.insert((time, self.decided), happening);
    }

    /// The next thing to happen.
    pub(crate) fn next(&mut self) -> Option<(Time, Happening)> {
        self.ahead.pop_first().map(|((time, _), happening)| (time, happening))
    }
}
