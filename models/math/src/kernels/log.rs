//! The natural logarithm of many numbers at once.

use super::simd::{dispatch, multiply_add};

dispatch! {
    /// Replaces each number by its natural logarithm, to a relative error of 10⁻⁶. The numbers must
    /// be positive and normal. The method is that of `logf` in the Cephes library (Moshier).
    ln, ln_body, (values: &mut [f32])
}

#[inline(always)]
fn ln_body<const FMA: bool, const WIDE: bool>(values: &mut [f32]) {
    /// The bits of √½: a number is 2^e · m with m from √½ to √2.
    const SQRT_HALF: u32 = 0x3F35_04F3;
    /// Of the polynomial p in ln m = x − x²/2 + x³ · p(x), x = m − 1; the highest power first.
    const COEFFICIENTS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    for value in values {
        let exponent = value.to_bits().wrapping_sub(SQRT_HALF) as i32 >> 23;
        let mantissa = f32::from_bits(value.to_bits().wrapping_sub((exponent << 23) as u32));
        let exponent = exponent as f32;
        let x = mantissa - 1.0;
        let square = x * x;
        let polynomial = COEFFICIENTS
            .iter()
            .skip(1)
            .fold(COEFFICIENTS[0], |sum, &coefficient| {
                multiply_add::<FMA>(sum, x, coefficient)
            });
        // ln 2 is added in two parts, so that e · ln 2 loses nothing.
        let correction = multiply_add::<FMA>(
            -0.5,
            square,
            multiply_add::<FMA>(exponent, -2.121_944_4e-4, polynomial * x * square),
        );
        *value = multiply_add::<FMA>(exponent, 355.0 / 512.0, x + correction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Simd;

    #[test]
    fn logarithms_are_those_of_the_standard_library() {
        let numbers: Vec<f32> = (0..200_000)
            .map(|at| 1.0001f32.powi(at - 100_000) * 1.3)
            .filter(|value| value.is_normal())
            .collect();
        for simd in Simd::available() {
            let mut found = numbers.clone();
            found.extend([1.0, f32::MIN_POSITIVE, f32::MAX]);
            let expected: Vec<f32> = found.iter().map(|value| value.ln()).collect();
            ln(simd, &mut found);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 1e-6 * expected.abs().max(0.1),
                    "{simd:?}: {found} for {expected}"
                );
            }
        }
    }
}
