//! Slots: the shares of the revision space, and how they are handed down.
//!
//! A mesh's first replica owns all slots and counts in the first. Every invitation carries some of the inviter's free ones, so
//! that replicas which cannot reach each other never count in the same slot.

/// Slots in a row, at least one where slots are owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    /// The first slot: the one that its owner counts in.
    pub first: u16,
    /// How many there are.
    pub count: u16,
}

impl SlotRange {
    /// All slots: what fits fifteen bits.
    pub const ALL: Self = Self { first: 0, count: 1 << 15 };

    /// The first slot beyond.
    pub const fn end(self) -> u32 {
        self.first as u32 + self.count as u32
    }

    /// Whether all slots of `other` are among these.
    pub const fn includes(self, other: Self) -> bool {
        self.first <= other.first && other.end() <= self.end()
    }

    /// Whether the two have a slot in common.
    pub const fn overlaps(self, other: Self) -> bool {
        (self.first as u32) < other.end() && (other.first as u32) < self.end()
    }

    /// The slots that the owner of these may give away next, having given away `handed`: a quarter of the free ones, at least
    /// one, from the upper end; fewer, if the uppermost free ones in a row are fewer. `None` when none is free. The first
    /// slot is never free.
    pub fn share(self, handed: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut handed: Vec<Self> = handed.into_iter().filter(|range| self.overlaps(*range)).collect();
        handed.sort_unstable();
        let (mut free, mut last_run, mut from) = (0, None, u32::from(self.first) + 1);
        for (start, end) in
            handed.iter().map(|range| (range.first.into(), range.end())).chain([(self.end(), self.end())])
        {
            if start > from {
                free += start - from;
                last_run = Some(from..start);
            }
            from = from.max(end);
        }
        let run = last_run?;
        let count = (free / 4).max(1).min(run.end - run.start);
        Some(Self { first: u16::try_from(run.end - count).ok()?, count: u16::try_from(count).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, count: u16) -> SlotRange {
        SlotRange { first, count }
    }

    #[test]
    fn a_share_is_a_quarter_from_the_upper_end() {
        assert_eq!(SlotRange::ALL.share([]), Some(range(32768 - 8191, 8191)));
        assert_eq!(range(8, 9).share([]), Some(range(15, 2)));
        assert_eq!(range(8, 9).share([range(15, 2)]), Some(range(14, 1)));
    }

    #[test]
    fn an_owner_keeps_its_own_slot() {
        assert_eq!(range(7, 1).share([]), None);
        assert_eq!(range(7, 2).share([]), Some(range(8, 1)));
        assert_eq!(range(7, 2).share([range(8, 1)]), None);
    }

    #[test]
    fn what_came_back_is_given_again() {
        let handed = [range(2, 4), range(10, 6)];
        assert_eq!(range(0, 16).share(handed), Some(range(9, 1)), "of 1 and 6 to 9 one is a quarter");
    }

    #[test]
    fn shares_never_overlap_and_run_out_in_the_end() {
        let owner = range(100, 57);
        let mut handed = Vec::new();
        while let Some(share) = owner.share(handed.iter().copied()) {
            assert!(owner.includes(share) && share.count > 0 && share.first > owner.first);
            assert!(handed.iter().all(|other| !share.overlaps(*other)));
            handed.push(share);
        }
        assert_eq!(handed.iter().map(|range| range.count).sum::<u16>(), 56);
    }
}
