//! Random numbers that are the same everywhere, for ever: starts, draws and resamples do not change with a library.

/// Sebastiano Vigna's SplitMix64: a state, and a generator of 64-bit numbers.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number, all 64 bits of it.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn uniform(&mut self) -> f32 {
        (self.draw() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// The sum of 12 uniform numbers less 6: normal enough for a start, and free of library functions that differ.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Scrambles a number.
pub fn mix(number: u64) -> u64 {
    SplitMix(number).draw()
}
