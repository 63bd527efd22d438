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
    /// The round trip that is reckoned with, in sixty-fourths of a millisecond; nothing before one was measured.
    rtt: Option<u64>,
}

/// What each link costs beside its round trip, so that a way of few links is better than one of many.
const HOP_COST: u64 = 16;

impl Neighbour {
    /// Takes note of how the link does. A shorter round trip is believed at once and a longer one slowly: a busy moment is no reason to move.
    pub(crate) fn measured(&mut self, report: LinkReport) {
        let measured = report.rtt_ms.clamp(1, 1 << 20) * 64;
        let known = self.rtt.unwrap_or(measured);
        self.rtt = Some(measured.min(known + (measured.saturating_sub(known)) / 64));
        self.report = report;
    }

    pub(crate) fn rtt_ms(&self) -> u64 {
        self.rtt.map_or(1, |rtt| rtt.div_ceil(64))
    }

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
        HOP_COST + self.rtt_ms().next_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_moment_makes_no_link_longer_and_a_longer_way_does() {
        let mut neighbour = Neighbour::default();
        let mut after = |ticks: usize, rtt_ms| {
            (0..ticks).for_each(|_| neighbour.measured(LinkReport { rtt_ms, ..LinkReport::default() }));
            neighbour.cost() - HOP_COST
        };
        assert_eq!(after(1, 9), 16);
        assert_eq!(after(1, 300), 16, "one bad measure in between");
        assert_eq!(after(1, 9), 16);
        assert_eq!(after(300, 200), 256, "a minute of it");
        assert_eq!(after(1, 3), 4, "the way is short again");
    }
}
