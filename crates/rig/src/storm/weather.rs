//! The weather between the sites: which directions are cut, and how bad the others are.
//!
//! With three sites there are 64 ways to cut some of the six directions; the turns go through all of them, in an order
//! that the seed decides, before one comes again. Links that the mesh does not have stay cut whatever the weather.

use crate::{mesh::Mesh, random::Random, relay::Conditions};
use std::time::Duration;

/// What comes next.
#[derive(Debug)]
pub struct Weather {
    random: Random,
    /// Cut directions as bits; those still to come, the next one last.
    patterns: Vec<u32>,
}

/// Beyond so many directions the patterns are drawn and not counted through.
const COUNTED_MAX: usize = 6;

impl Weather {
    /// The weather of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0x57_04), patterns: Vec::new() }
    }

    /// The weather changes.
    pub fn turn(&mut self, mesh: &Mesh) {
        let pairs: Vec<_> = mesh.relay().pairs().filter(|(from, to)| mesh.shape().links(*from, *to)).collect();
        let pattern = self.pattern(pairs.len());
        for (bit, (from, to)) in pairs.into_iter().enumerate() {
            let quality = self.quality();
            let cut = pattern & (1 << bit) != 0;
            mesh.relay().link(from, to).change(|conditions| *conditions = Conditions { cut, ..quality });
        }
    }

    /// All links that there are come back, and are good.
    pub fn clear(&self, mesh: &Mesh) {
        mesh.relay().change_all(|conditions| *conditions = Conditions::default());
        mesh.heal();
    }

    fn pattern(&mut self, directions: usize) -> u32 {
        if directions > COUNTED_MAX {
            return self.random.word() as u32;
        }
        if self.patterns.is_empty() {
            self.patterns = (0..1 << directions).collect();
            for place in (1..self.patterns.len()).rev() {
                let other = self.random.below(place + 1);
                self.patterns.swap(place, other);
            }
        }
        self.patterns.pop().unwrap_or_default()
    }

    fn quality(&mut self) -> Conditions {
        let (ms, good) = (Duration::from_millis(1), Conditions::default());
        match self.random.below(10) {
            0..5 => good,
            5 => Conditions { loss: 50, ..good },
            6 => Conditions { delay: 20 * ms, jitter: 10 * ms, ..good },
            7 => Conditions { duplication: 100, reordering: 200, ..good },
            8 => Conditions { loss: 20, delay: 5 * ms, duplication: 20, reordering: 50, ..good },
            _ => Conditions { bytes_per_s: Some(200_000), ..good },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Weather;

    #[test]
    fn every_pattern_comes_before_one_comes_again() {
        let mut weather = Weather::new(3);
        for _ in 0..2 {
            let patterns: BTreeSet<u32> = (0..64).map(|_| weather.pattern(6)).collect();
            assert_eq!(patterns.len(), 64);
        }
        assert!((0..100).all(|_| weather.pattern(2) < 64));
    }
}
