//! The weather between the sites: which directions are cut, and how bad the others are.
//!
//! With three sites there are 64 ways to cut some of the six directions; the turns go through all of them, in an order
//! that the seed decides, before one comes again. Links that the mesh does not have stay cut whatever the weather.

use std::time::Duration;

use anyhow::Result;

use crate::{mesh::Mesh, random::Random, relay::Conditions};

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
    ///
    /// # Errors
    ///
    /// When a link cannot be changed.
    pub fn turn(&mut self, mesh: &Mesh) -> Result<()> {
        let sites = 0..mesh.shape().sites();
        let directions = sites.clone().flat_map(|from| sites.clone().map(move |to| (from, to)));
        let pattern = self.pattern(directions.filter(|(from, to)| mesh.shape().links(*from, *to)).count());
        let mut bit = 0;
        mesh.change_links(|_, _, conditions| {
            let cut = pattern & (1 << bit) != 0;
            *conditions = Conditions { cut, ..self.quality() };
            bit += 1;
        })
    }

    /// All links that there are come back, and are good.
    ///
    /// # Errors
    ///
    /// When a link cannot be changed.
    pub fn clear(&self, mesh: &Mesh) -> Result<()> {
        mesh.change_links(|_, _, conditions| *conditions = Conditions::default())
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
