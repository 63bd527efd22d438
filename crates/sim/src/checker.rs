//! What must hold, each claim in a file of its own.
//!
//! A checker is fed what was seen at the seams between the stores and everybody else: records, answers, deliveries, frontiers
//! told. It trusts nothing that a store says of itself and nothing that it could have looked up in one.

use std::fmt;

pub mod atomicity;
pub mod causality;
pub mod convergence;
pub mod durability;
pub mod log;
pub mod membership;
pub mod protocol;
pub mod records;
pub mod resurrection;
pub mod revisions;
pub mod sessions;
pub mod watch;

/// What was promised and did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub claim: Claim,
    /// The site at which it showed, if at one.
    pub site: Option<usize>,
    /// What was seen.
    pub text: String,
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Sites that have applied the same show the same, and after the troubles all have.
    Convergence,
    /// No read shows an effect before its cause, and transactions are seen whole.
    Causality,
    /// What was acknowledged, told or shown is there after every crash.
    Durability,
    /// One name, one record, and nobody writes under another one's name.
    Identity,
    /// What a site applies and shows is what the records say, in the order in which causes come first.
    Merge,
    /// Revisions only grow, and a number is not issued twice.
    Revisions,
    /// Every watcher is told everything once, whole and in order.
    Watch,
    /// An expired lease takes what was attached to it, and nothing else.
    Leases,
    /// Sessions between sound sites end for the network's reasons only.
    Protocol,
    /// What counts as stable is applied at every active member.
    Stability,
    /// A client that moves finds what it has seen and done, and goes on after it.
    Sessions,
    /// A transaction is seen whole or not at all.
    Atomicity,
    /// What was removed does not come back.
    Resurrection,
    /// A damaged row is neither served nor passed on, and is named.
    Rot,
    /// Sites that differ say so themselves.
    Silence,
    /// A clock is drawn ahead by a bounded time, whatever stamps others send.
    Clocks,
    /// The stream of a removed site ends where all others agree that it does.
    Membership,
    /// A store answers what it is asked.
    Service,
}

impl Violation {
    /// A promise that did not hold at a site.
    pub fn at(site: usize, claim: Claim, text: impl Into<String>) -> Self {
        Self { claim, site: Some(site), text: text.into() }
    }

    /// A promise of the mesh that did not hold.
    pub fn of_mesh(claim: Claim, text: impl Into<String>) -> Self {
        Self { claim, site: None, text: text.into() }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Convergence => "convergence",
            Self::Causality => "causality",
            Self::Durability => "durability",
            Self::Identity => "identity",
            Self::Merge => "merge",
            Self::Revisions => "revisions",
            Self::Watch => "watch",
            Self::Leases => "leases",
            Self::Protocol => "protocol",
            Self::Stability => "stability",
            Self::Sessions => "sessions",
            Self::Atomicity => "atomicity",
            Self::Resurrection => "resurrection",
            Self::Rot => "rot",
            Self::Silence => "silence",
            Self::Clocks => "clocks",
            Self::Membership => "membership",
            Self::Service => "service",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            Some(site) => write!(f, "{} at s{site}: {}", self.claim, self.text),
            None => write!(f, "{}: {}", self.claim, self.text),
        }
    }
}
