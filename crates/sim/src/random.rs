//! A small seeded generator (xoshiro256**): everything that happens in a simulation is drawn from it.
//!
//! It promises the same sequence for the same seed on every machine. A part of the simulation that draws from a
//! [`fork`](Random::fork) of its own does not shift what the others draw.

/// A stream of choices that its seed determines.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let state = [(); 4].map(|()| {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed(mixer)
        });
        Self { state }
    }

    /// A stream of its own for a part of the simulation.
    #[must_use]
    pub fn fork(&self, part: &str) -> Self {
        let seed = part.bytes().fold(self.state[0] ^ self.state[3], |sum, byte| mixed(sum ^ u64::from(byte)));
        Self::new(seed)
    }

    /// A stream of its own for each of several equal parts.
    #[must_use]
    pub fn nth(&self, part: usize) -> Self {
        Self::new(mixed(self.state[1] ^ part as u64) ^ self.state[2])
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
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.word() % (high - low + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.word() % 100 < percent
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// As many bytes as a store wants to be founded with.
    pub fn entropy(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.word().to_be_bytes()));
        bytes
    }
}

fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn equal_seeds_give_equal_streams_and_others_do_not() {
        let stream = |mut random: Random| [(); 8].map(|()| random.word());
        assert_eq!(stream(Random::new(7)), stream(Random::new(7)));
        assert_ne!(stream(Random::new(7)), stream(Random::new(8)));
        assert_eq!(stream(Random::new(7).fork("network")), stream(Random::new(7).fork("network")));
        assert_ne!(stream(Random::new(7).fork("network")), stream(Random::new(7).fork("clients")));
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(1);
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[random.between(3, 7) as usize - 3] = true;
            assert!(random.below(3) < 3);
        }
        assert_eq!(seen, [true; 5]);
    }
}
