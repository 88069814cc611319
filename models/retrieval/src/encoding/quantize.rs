//! From numbers to codes of 8 bits.

/// Sums of squares, in units of the codes.
#[derive(Clone, Copy, Default)]
pub(super) struct Squares {
    /// Of the differences between values and codes.
    pub errors: f64,
    /// Of the codes.
    pub codes: f64,
}

/// The nearest whole number of a value up to ±127, as the low byte and as f32: adding 1.5 · 2²³
/// leaves it in the last bits.
#[inline]
fn nearest_code(value: f32) -> (u8, f32) {
    const MAGIC: f32 = 12_582_912.0;
    let sum = value + MAGIC;
    (sum.to_bits() as u8, sum - MAGIC)
}

/// Codes values, each times `inverse_scale`, and hands each position and its code to `put`.
pub(super) fn quantize(
    values: &[f32],
    inverse_scale: f32,
    mut put: impl FnMut(usize, u8),
) -> Squares {
    let mut squares = Squares::default();
    for (at, &value) in values.iter().enumerate() {
        let (byte, code) = nearest_code(value * inverse_scale);
        let error = f64::from(value) * f64::from(inverse_scale) - f64::from(code);
        squares.errors += error * error;
        squares.codes += f64::from(code) * f64::from(code);
        put(at, byte);
    }
    squares
}
