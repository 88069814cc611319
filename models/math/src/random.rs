//! Random numbers that are the same on every machine and in every release: what is drawn from a
//! seed does not change with a library.

/// Sebastiano Vigna's SplitMix64. It holds the state, which may start at any number, the seed.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// Returns the next number, all 64 bits of it random.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to 1, 1 excluded, evenly distributed.
    pub fn uniform(&mut self) -> f32 {
        (self.draw() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Returns a number of mean 0 and deviation 1: the sum of 12 uniform numbers less 6. That is
    /// close enough to a normal distribution for a random start, and needs no function that differs
    /// between libraries.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Returns a hash of a number: the first draw of a [`SplitMix`] that starts with it.
pub fn mix(number: u64) -> u64 {
    SplitMix(number).draw()
}
