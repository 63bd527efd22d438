//! How well this node is placed to be a root: by the round trip to the peers in its middle.
//!
//! Everything passes the root's links, so that a ship at the end of a satellite link is not to be one because its name comes first. Ranks
//! are coarse and change seldom: a new root is a new tree.

use crate::Moment;

/// How well this node is placed; less is better.
#[derive(Debug)]
pub(crate) struct Rank {
    is_limited: bool,
    /// Since when it has been what it is.
    measured: Option<(Moment, u8)>,
}

/// A rank holds for at least so long.
const HELD_MS: u64 = 10_000;
/// What is added for a node whose bytes are counted.
const LIMITED: u8 = 16;

impl Rank {
    pub(crate) fn new(is_limited: bool) -> Self {
        Self { is_limited, measured: None }
    }

    pub(crate) fn get(&self) -> u8 {
        self.measured.map_or(0, |(_, rank)| rank) + if self.is_limited { LIMITED } else { 0 }
    }

    pub(crate) fn measure(&mut self, now: Moment, rtts_ms: impl Iterator<Item = u64>) {
        let mut rtts: Vec<u64> = rtts_ms.collect();
        let middle = rtts.len() / 2;
        if rtts.is_empty() {
            return;
        }
        let (_, &mut rtt_ms, _) = rtts.select_nth_unstable(middle);
        let Some((at, rank)) = self.measured else {
            self.measured = Some((now, bucket(rtt_ms)));
            return;
        };
        // Well above or below, so that it does not waver at the border of two ranks.
        let has_changed = bucket(rtt_ms.saturating_mul(2) / 3) > rank || bucket(rtt_ms.saturating_mul(3) / 2) < rank;
        if has_changed && now.since(at) >= HELD_MS {
            self.measured = Some((now, bucket(rtt_ms)));
        }
    }
}

/// 0 below 16 ms, 1 below 64 ms, 2 below 256 ms, and so on.
fn bucket(rtt_ms: u64) -> u8 {
    let bits = u64::BITS - (rtt_ms / 16).leading_zeros();
    u8::try_from(bits.div_ceil(2)).unwrap_or(LIMITED).min(LIMITED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_powers_of_four() {
        let ranks = [0, 15, 16, 63, 64, 255, 256, 600, 1_024].map(bucket);
        assert_eq!(ranks, [0, 0, 1, 1, 2, 2, 3, 3, 4]);
        assert!(bucket(u64::MAX) < LIMITED);
    }

    #[test]
    fn a_rank_follows_the_middle_slowly_and_does_not_waver() {
        let mut rank = Rank::new(false);
        let mut at = |seconds: u64, rtts: &[u64]| {
            rank.measure(Moment(seconds * 1_000), rtts.iter().copied());
            rank.get()
        };
        assert_eq!(at(0, &[3, 600, 12]), 0, "one bad link does not make a bad place");
        assert_eq!(at(20, &[20, 20, 20]), 0);
        assert_eq!(at(21, &[40, 40, 40]), 1);
        assert_eq!(at(22, &[600]), 1, "not so soon");
        assert_eq!(at(32, &[600]), 3);
        assert_eq!(at(50, &[]), 3);
    }

    #[test]
    fn who_counts_its_bytes_comes_after_all_others() {
        let mut rank = Rank::new(true);
        rank.measure(Moment(0), [1].into_iter());
        assert!(rank.get() > bucket(u64::MAX));
    }
}
