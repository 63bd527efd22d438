//! A peer as the tree sees it.

use super::TreePolicy;
use crate::{Link, LinkReport, Moment};

/// What is known of a connected peer.
#[derive(Debug, Default)]
pub(crate) struct Neighbour {
    /// What it said last of the link, and when.
    pub(crate) heard: Option<(Moment, Link)>,
    /// What we said last.
    pub(crate) said: Option<(Moment, Link)>,
    pub(crate) report: LinkReport,
}

/// What each link costs beside its round trip, so that a way of few links is better than one of many.
const HOP_COST: u64 = 16;

impl Neighbour {
    pub(crate) fn is_crowded(&self) -> bool {
        self.heard.as_ref().is_some_and(|(_, link)| link.is_crowded)
    }

    /// What it says, if that is not too old.
    pub(crate) fn says(&self, now: Moment, policy: &TreePolicy) -> Option<&Link> {
        let (at, link) = self.heard.as_ref()?;
        (now.since(*at) < policy.heard_ms).then_some(link)
    }

    /// Whether it hangs on us.
    pub(crate) fn is_below(&self, now: Moment, policy: &TreePolicy) -> bool {
        self.says(now, policy).is_some_and(|link| link.is_below_you)
    }

    /// What it costs to send something by it. Round trips are rounded, so that their wavering makes no difference.
    pub(crate) fn cost(&self) -> u64 {
        HOP_COST + self.report.rtt_ms.clamp(1, 1 << 20).next_power_of_two()
    }
}
