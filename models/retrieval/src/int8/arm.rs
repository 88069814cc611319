//! The kernels for NEON, and for the dot products that most 64-bit ARM processors since 2018 have.
//!
//! Both multiply signed bytes only. So the codes of the items are made signed as they are read,
//! which takes their 128 away.

use super::codes::{CodeLine, ItemCodes, PANELS, QueryCodes, ScoreLimit, ZERO};
use super::kernel::ScanKernel;
use super::stages::scan_stages;
use super::survivors::Survivors;
use aisle_math::kernels::LANES;
use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_f32, vaddvq_u32, vandq_u32, vcgeq_f32, vcvtq_f32_s32,
    vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, vdupq_n_u32, veorq_u8, vget_low_s8,
    vget_low_u8, vget_low_u16, vld1q_s32, vld1q_u8, vld1q_u32, vmovl_high_u8, vmovl_high_u16,
    vmovl_u8, vmovl_u16, vmull_high_s8, vmull_s8, vmulq_f32, vorrq_u32, vpadalq_s16, vpaddq_s16,
    vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshlq_n_u32, vst1q_s32,
};
use std::arch::asm;
use std::ops::Range;

/// Vectors of four sums in a panel.
const QUARTERS: usize = LANES / 4;

/// Adds to each sum the products of the codes of four items and those of a query.
///
/// # Safety
/// The processor has NEON, and with `DOT` the instructions for dot products.
#[inline(always)]
unsafe fn dot<const DOT: bool>(sum: int32x4_t, items: int8x16_t, codes: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's.
    unsafe {
        if DOT {
            return sdot(sum, items, codes);
        }
        // Pairs are added in 16 bits: 2 · 128 · 127 does not overflow them.
        let pairs = vpaddq_s16(
            vmull_s8(vget_low_s8(items), vget_low_s8(codes)),
            vmull_high_s8(items, codes),
        );
        vpadalq_s16(sum, pairs)
    }
}

/// Does what `vdotq_s32` does, which is not stable in Rust 1.97 yet.
///
/// # Safety
/// The processor has the instructions for dot products.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn sdot(mut sum: int32x4_t, items: int8x16_t, codes: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled here, and nothing but the register of the sum is written.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {items:v}.16b, {codes:v}.16b",
            sum = inout(vreg) sum,
            items = in(vreg) items,
            codes = in(vreg) codes,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Adds the products of one panel, for each query.
///
/// # Safety
/// The processor has NEON, and with `DOT` the instructions for dot products.
#[inline(always)]
unsafe fn add_panel<const DOT: bool, const Q: usize>(
    lines: &[CodeLine],
    quads: [&[i32]; Q],
    sums: &mut [[int32x4_t; QUARTERS]; Q],
) {
    assert!(quads.iter().all(|quads| quads.len() == lines.len()));
    for (quad, line) in lines.iter().enumerate() {
        // SAFETY: the caller has the features; the four loads make one line, and each query has a
        // quad for it.
        unsafe {
            let signed = |quarter| {
                veorq_u8(
                    vld1q_u8(line.0.as_ptr().add(16 * quarter)),
                    vdupq_n_u8(ZERO),
                )
            };
            let items: [int8x16_t; QUARTERS] =
                std::array::from_fn(|quarter| vreinterpretq_s8_u8(signed(quarter)));
            for (sums, quads) in sums.iter_mut().zip(quads) {
                let codes = vreinterpretq_s8_s32(vdupq_n_s32(*quads.get_unchecked(quad)));
                for (sum, items) in sums.iter_mut().zip(items) {
                    *sum = dot::<DOT>(*sum, items, codes);
                }
            }
        }
    }
}

/// NEON, with or without the instruction for dot products.
struct Neon<const DOT: bool>;

// SAFETY, of all that follows: the caller has the features, and the loads and stores of a function
// are together as wide as the array it is given.
impl<const DOT: bool> ScanKernel for Neon<DOT> {
    type Sums = [int32x4_t; QUARTERS];

    #[inline(always)]
    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums {
        // SAFETY: as above.
        std::array::from_fn(|quarter| unsafe { vld1q_s32(sums.as_ptr().add(4 * quarter)) })
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]) {
        for (quarter, sums) in sums.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { vst1q_s32(out.as_mut_ptr().add(4 * quarter), sums) }
        }
    }

    #[inline(always)]
    unsafe fn start_stage(sums: Self::Sums, _: i32) -> Self::Sums {
        sums
    }

    #[inline(always)]
    unsafe fn add(lines: &[CodeLine], quads: &[i32], sums: Self::Sums) -> Self::Sums {
        let mut sums = [sums];
        // SAFETY: as above.
        unsafe { add_panel::<DOT, 1>(lines, [quads], &mut sums) };
        sums[0]
    }

    #[inline(always)]
    unsafe fn add_group<const Q: usize>(
        lines: &[CodeLine],
        quads: [&[i32]; Q],
        sums: &mut [[Self::Sums; PANELS]; Q],
    ) {
        for (panel, lines) in lines.chunks_exact(lines.len() / PANELS).enumerate() {
            let mut panel_sums = std::array::from_fn(|at| sums[at][panel]);
            // SAFETY: as above.
            unsafe { add_panel::<DOT, Q>(lines, quads, &mut panel_sums) };
            sums.iter_mut()
                .zip(panel_sums)
                .for_each(|(sums, added)| sums[panel] = added);
        }
    }

    #[inline(always)]
    unsafe fn reaching(
        sums: Self::Sums,
        tails: Option<&[u8; LANES]>,
        tail: f32,
        limit: f32,
    ) -> u16 {
        // SAFETY: as above.
        unsafe {
            let mut best = sums.map(|sums| vcvtq_f32_s32(sums));
            if let Some(tails) = tails {
                let tails = vld1q_u8(tails.as_ptr());
                let (low, high) = (vmovl_u8(vget_low_u8(tails)), vmovl_high_u8(tails));
                let quarters = [
                    vmovl_u16(vget_low_u16(low)),
                    vmovl_high_u16(low),
                    vmovl_u16(vget_low_u16(high)),
                    vmovl_high_u16(high),
                ];
                for (best, lengths) in best.iter_mut().zip(quarters) {
                    *best = vaddq_f32(*best, vmulq_f32(vcvtq_f32_u32(lengths), vdupq_n_f32(tail)));
                }
            }
            let (mut mask, mut bits) = (vdupq_n_u32(0), vld1q_u32([1, 2, 4, 8].as_ptr()));
            for best in best {
                mask = vorrq_u32(mask, vandq_u32(vcgeq_f32(best, vdupq_n_f32(limit)), bits));
                bits = vshlq_n_u32::<4>(bits);
            }
            vaddvq_u32(mask) as u16
        }
    }
}

/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn scan_neon<const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    // SAFETY: the feature is enabled here.
    unsafe { scan_stages::<Neon<false>, Q>(items, queries, groups, survivors) }
}

/// # Safety
/// The processor has NEON and the instructions for dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn scan_dot<const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    // SAFETY: the features are enabled here.
    unsafe { scan_stages::<Neon<true>, Q>(items, queries, groups, survivors) }
}

#[cfg(test)]
mod tests {
    use super::super::portable::Portable;
    use super::*;

    fn sums_of<K: ScanKernel>(line: CodeLine, codes: [i8; 4]) -> [i32; LANES] {
        let (start, mut sums) = (
            -i32::from(ZERO) * codes.iter().map(|&code| i32::from(code)).sum::<i32>(),
            [7; LANES],
        );
        let quads = [i32::from_le_bytes(codes.map(|code| code as u8)); 2];
        // SAFETY: the tests call the kernels that this processor has.
        unsafe {
            K::store(
                K::add(
                    &[line; 2],
                    &quads,
                    K::start_stage(K::load(&sums), 2 * start),
                ),
                &mut sums,
            )
        };
        sums
    }

    #[test]
    fn the_largest_codes_add_up_as_in_plain_rust() {
        // 16 items and 16 queries: every way four codes can be at one end or the other.
        let end = |set: usize, at: usize| set >> at & 1 == 1;
        let line = CodeLine(std::array::from_fn(|at| {
            if end(at / 4, at % 4) { 255 } else { 0 }
        }));
        for query in 0..16 {
            let codes = std::array::from_fn(|at| if end(query, at) { 127 } else { -127 });
            let expected = sums_of::<Portable>(line, codes);
            assert_eq!(sums_of::<Neon<false>>(line, codes), expected);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                assert_eq!(sums_of::<Neon<true>>(line, codes), expected);
            } else {
                eprintln!("skipped: this processor has no instructions for dot products");
            }
        }
    }

    #[test]
    fn a_limit_is_reached_as_in_plain_rust() {
        let sums = std::array::from_fn(|at| 12 * at as i32 - 90);
        let (lengths, tail) = (std::array::from_fn(|at| 251 - 13 * at as u8), 0.37f32);
        for (at, tails) in (0..LANES).flat_map(|at| [(at, None), (at, Some(&lengths))]) {
            // One item reaches it to the last bit.
            let limit = sums[at] as f32 + tails.map_or(0.0, |tails| f32::from(tails[at]) * tail);
            // SAFETY: 64-bit ARM has NEON.
            let reached =
                unsafe { Neon::<false>::reaching(Neon::<false>::load(&sums), tails, tail, limit) };
            // SAFETY: needs no features.
            assert_eq!(reached, unsafe {
                Portable::reaching(sums, tails, tail, limit)
            });
        }
    }
}
