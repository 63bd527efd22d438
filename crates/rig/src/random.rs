//! A small seeded generator (xoshiro256**), so that a failure is replayed from one number.
//!
//! It promises the same sequence for the same seed on every machine and in every release of this crate's tests; it is
//! not for secrets.

use std::{env, time::SystemTime};

/// A stream of choices that its seed determines.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let state = [(); 4].map(|()| {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = mixer;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self { state }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// A number of the inclusive range.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = (high - low) as u64 + 1;
        low + (self.word() % width) as i64
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The seeds of a run: the one that `TOMBOLO_SEED` names, or `usual` ones. `TOMBOLO_SEED=random` takes the clock.
#[must_use]
pub fn seeds(usual: &[u64]) -> Vec<u64> {
    match env::var("TOMBOLO_SEED") {
        Err(_) => usual.to_vec(),
        Ok(word) if word == "random" => vec![clock()],
        Ok(word) => vec![word.parse().expect("TOMBOLO_SEED is a number or `random`")],
    }
}

/// A number from the environment, for the sizes of a run.
#[must_use]
pub fn size(variable: &str, usual: usize) -> usize {
    env::var(variable).map_or(usual, |word| word.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
    now.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn equal_seeds_give_equal_streams_and_others_do_not() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.word())
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(1);
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[random.between(0, 4) as usize] = true;
            assert!(random.below(3) < 3);
        }
        assert_eq!(seen, [true; 5]);
    }
}
