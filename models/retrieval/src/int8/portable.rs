//! The kernel in plain Rust.

use super::codes::CodeLine;
use super::kernel::ScanKernel;
use aisle_math::kernels::LANES;

/// Needs no instructions beyond the compiler's baseline.
pub(super) struct Portable;

impl ScanKernel for Portable {
    type Sums = [i32; LANES];

    #[inline(always)]
    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums {
        *sums
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]) {
        *out = sums;
    }

    #[inline(always)]
    unsafe fn start_stage(sums: Self::Sums, start: i32) -> Self::Sums {
        sums.map(|sum| sum + start)
    }

    #[inline(always)]
    unsafe fn add(lines: &[CodeLine], quads: &[i32], mut sums: Self::Sums) -> Self::Sums {
        for (quad, line) in quads.iter().zip(lines) {
            let codes = quad.to_le_bytes().map(|code| i32::from(code as i8));
            for (sum, items) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
                *sum += items
                    .iter()
                    .zip(&codes)
                    .map(|(&item, &code)| i32::from(item) * code)
                    .sum::<i32>();
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn reaching(
        sums: Self::Sums,
        tails: Option<&[u8; LANES]>,
        tail: f32,
        limit: f32,
    ) -> u16 {
        let tails = tails.unwrap_or(&[0; LANES]);
        sums.iter()
            .zip(tails)
            .rev()
            .fold(0, |mask, (&sum, &length)| {
                mask << 1 | u16::from(sum as f32 + f32::from(length) * tail >= limit)
            })
    }
}
