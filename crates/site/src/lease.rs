//! The leases whose home this site is, and when each of them runs out.
//!
//! The table answers keep-alives and questions, and says which leases are due. It deletes nothing: what is due is a request
//! to the committer, and a lease is here from the commit that grants it to the commit that ends it. A lease that has run out
//! stays out: no keep-alive revives it, whether or not its end is committed yet.
//!
//! Remaining time is known here alone. When the site opens, every lease starts anew with its full time to live.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

pub use ttl::{LEASE_TTL_MAX_S, LEASE_TTL_MIN_S, TtlTooLarge, admit_ttl};

use tombolo_storage::{Commit, LeaseChange};

mod ttl;

/// The leases of one site. Moments are those of one monotonic clock.
#[derive(Default)]
pub struct LeaseTable {
    /// Only looked up, never walked: its order is random.
    leases: HashMap<i64, Lease>,
    /// Every lease once, by when it has to be looked at.
    agenda: BTreeSet<(Duration, i64)>,
}

struct Lease {
    granted_s: i64,
    /// When it runs out, or ran out.
    expiry: Duration,
    /// Its place in the agenda; `None` while its revocation is under way.
    agenda: Option<Duration>,
}

/// How long a lease has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Whole seconds left, rounded down; 0 also when it has run out and is not ended yet.
    pub remaining_s: i64,
    /// Seconds it was granted for.
    pub granted_s: i64,
}

impl LeaseTable {
    /// A table without leases.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes on a lease, with its full time to live from `now` on.
    pub fn granted(&mut self, id: i64, ttl_s: i64, now: Duration) {
        self.ended(id);
        let expiry = now.saturating_add(seconds(ttl_s));
        self.leases.insert(id, Lease { granted_s: ttl_s, expiry, agenda: Some(expiry) });
        self.agenda.insert((expiry, id));
    }

    /// Forgets a lease.
    pub fn ended(&mut self, id: i64) {
        if let Some(Lease { agenda: Some(moment), .. }) = self.leases.remove(&id) {
            self.agenda.remove(&(moment, id));
        }
    }

    /// Keeps exactly these leases, given with their seconds to live: forgets all others, and takes on those that are new with their
    /// full time.
    pub fn settle(&mut self, live: &[(i64, i64)], now: Duration) {
        let wanted: HashSet<i64> = live.iter().map(|(id, _)| *id).collect();
        let gone: Vec<i64> = self.leases.keys().copied().filter(|id| !wanted.contains(id)).collect();
        gone.into_iter().for_each(|id| self.ended(id));
        for &(id, ttl_s) in live {
            if !self.leases.contains_key(&id) {
                self.granted(id, ttl_s, now);
            }
        }
    }

    /// Takes what a group of published commits changed among the leases.
    pub fn apply(&mut self, commits: &[Arc<Commit>], now: Duration) {
        for change in commits.iter().flat_map(|commit| &commit.leases) {
            match *change {
                LeaseChange::Granted { id, ttl_s } => self.granted(id, ttl_s, now),
                LeaseChange::Ended { id } => self.ended(id),
            }
        }
    }

    /// Gives a lease its full time to live again and answers that, in seconds. `None`: there is no such lease, or it has run
    /// out, whether or not its revocation has begun.
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        if lease.expiry <= now {
            return None;
        }
        self.agenda.remove(&(lease.agenda?, id));
        lease.expiry = now.saturating_add(seconds(lease.granted_s));
        lease.agenda = Some(lease.expiry);
        self.agenda.insert((lease.expiry, id));
        Some(lease.granted_s)
    }

    /// How long a lease has left; `None` when there is no such lease.
    pub fn time_to_live(&self, id: i64, now: Duration) -> Option<TimeToLive> {
        let lease = self.leases.get(&id)?;
        let remaining_s = i64::try_from(lease.expiry.saturating_sub(now).as_secs()).unwrap_or(i64::MAX);
        Some(TimeToLive { remaining_s, granted_s: lease.granted_s })
    }

    /// The leases to revoke now, the longest overdue first. Each is handed out once: what becomes of it is told by
    /// [`LeaseTable::ended`] or [`LeaseTable::revoke_failed`]. What does not fit one answer is due at once again.
    pub fn due(&mut self, now: Duration) -> Vec<i64> {
        let mut due = Vec::new();
        while due.len() < DUE_MAX
            && let Some(&(moment, id)) = self.agenda.first()
            && moment <= now
        {
            self.agenda.pop_first();
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.agenda = None;
                due.push(id);
            }
        }
        due
    }

    /// Puts back a lease whose revocation was refused: it is due again after a pause.
    pub fn revoke_failed(&mut self, id: i64, now: Duration) {
        if let Some(lease) = self.leases.get_mut(&id)
            && lease.agenda.is_none()
        {
            let moment = now.saturating_add(REVOKE_RETRY);
            lease.agenda = Some(moment);
            self.agenda.insert((moment, id));
        }
    }

    /// When [`LeaseTable::due`] has something to say. It may lie in the past.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.agenda.first().map(|(moment, _)| *moment)
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// All leases, the first to run out first.
    pub fn ids(&self) -> Vec<i64> {
        let mut by_expiry: Vec<_> = self.leases.iter().map(|(id, lease)| (lease.expiry, *id)).collect();
        by_expiry.sort_unstable();
        by_expiry.into_iter().map(|(_, id)| id).collect()
    }
}

fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0))
}

/// Leases handed out at once: all leases of a site that was down expire together, and each is a commit of its own.
const DUE_MAX: usize = 500;

/// A revocation fails when the store takes no writes. Asking again at once would only keep it busy.
const REVOKE_RETRY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
