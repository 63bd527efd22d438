//! How large records are, on the whole: what counts of records are turned into bytes with.

use parking_lot::Mutex;

/// Records that were read or taken lately, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Mutex<(u64, u64)>);

/// Of so many the older half is forgotten: what is written today counts more than what was written long ago.
const RECORDS_MAX: u64 = 1 << 16;

impl Sizes {
    pub(crate) fn note(&self, sizes: impl IntoIterator<Item = usize>) {
        let mut seen = self.0.lock();
        for size in sizes {
            seen.0 += 1;
            seen.1 = seen.1.saturating_add(size as u64);
        }
        if seen.0 > RECORDS_MAX {
            *seen = (seen.0 / 2, seen.1 / 2);
        }
    }

    /// The mean; nothing before a record was seen.
    pub(crate) fn mean(&self) -> Option<u64> {
        let (records, bytes) = *self.0.lock();
        bytes.checked_div(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_records_have_become() {
        let sizes = Sizes::default();
        assert_eq!(sizes.mean(), None);
        sizes.note([100, 300]);
        assert_eq!(sizes.mean(), Some(200));
        (0..1_000).for_each(|_| sizes.note([10_000; 1_000]));
        assert!(sizes.mean() > Some(9_990));
        (0..1_000).for_each(|_| sizes.note([100; 1_000]));
        assert!(sizes.mean() < Some(110));
    }
}
