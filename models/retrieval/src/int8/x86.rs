//! The kernels for AVX2, and for AVX-512 with VNNI.

use super::codes::{CodeLine, ItemCodes, PANELS, QueryCodes, ScoreLimit};
use super::kernel::ScanKernel;
use super::stages::scan_stages;
use super::survivors::Survivors;
use aisle_math::kernels::LANES;
use std::arch::x86_64::{
    __m256i, __m512i, _CMP_GE_OQ, _MM_HINT_T0, _mm_loadu_si64, _mm_loadu_si128, _mm_prefetch,
    _mm256_add_epi32, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps,
    _mm256_load_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_movemask_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_storeu_si256,
    _mm512_add_epi32, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::ops::Range;

/// Lines are requested from memory so many bytes before they are read.
const PREFETCH_BYTES: usize = 2048;

/// AVX-512 with VNNI: four products of bytes are added in one instruction.
struct Vnni;

// SAFETY, of all that follows: the caller has the features, and each load and store is as wide as
// the array it is given.
impl ScanKernel for Vnni {
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
    }

    #[inline(always)]
    unsafe fn start_stage(sums: Self::Sums, start: i32) -> Self::Sums {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(sums, _mm512_set1_epi32(start)) }
    }

    #[inline(always)]
    unsafe fn add(lines: &[CodeLine], quads: &[i32], sums: Self::Sums) -> Self::Sums {
        // SAFETY: as above. There are two chains of sums, because one would wait for itself.
        unsafe {
            let (mut sums, mut other) = (sums, _mm512_setzero_si512());
            let (twos, last) = lines.as_chunks::<2>();
            for (two, quads) in twos.iter().zip(quads.chunks_exact(2)) {
                sums = _mm512_dpbusd_epi32(
                    sums,
                    _mm512_load_si512(two[0].0.as_ptr().cast()),
                    _mm512_set1_epi32(quads[0]),
                );
                other = _mm512_dpbusd_epi32(
                    other,
                    _mm512_load_si512(two[1].0.as_ptr().cast()),
                    _mm512_set1_epi32(quads[1]),
                );
            }
            if let ([last], Some(&quad)) = (last, quads.last()) {
                other = _mm512_dpbusd_epi32(
                    other,
                    _mm512_load_si512(last.0.as_ptr().cast()),
                    _mm512_set1_epi32(quad),
                );
            }
            _mm512_add_epi32(sums, other)
        }
    }

    #[inline(always)]
    unsafe fn add_group<const Q: usize>(
        lines: &[CodeLine],
        quads: [&[i32]; Q],
        sums: &mut [[Self::Sums; PANELS]; Q],
    ) {
        let size = quads.first().map_or(0, |quads| quads.len());
        assert!(lines.len() == PANELS * size && quads.iter().all(|quads| quads.len() == size));
        for quad in 0..size {
            // SAFETY: the lines are four panels of `size`; a prefetch beyond them is harmless.
            unsafe {
                let mut panels = [_mm512_setzero_si512(); PANELS];
                for (panel, line) in panels.iter_mut().enumerate() {
                    let at = lines.as_ptr().add(panel * size + quad);
                    _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(PREFETCH_BYTES));
                    *line = _mm512_load_si512(at.cast());
                }
                for (sums, quads) in sums.iter_mut().zip(quads) {
                    let codes = _mm512_set1_epi32(*quads.get_unchecked(quad));
                    for (sum, line) in sums.iter_mut().zip(panels) {
                        *sum = _mm512_dpbusd_epi32(*sum, line, codes);
                    }
                }
            }
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
            let mut best = _mm512_cvtepi32_ps(sums);
            if let Some(tails) = tails {
                let lengths = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(
                    tails.as_ptr().cast(),
                )));
                best = _mm512_fmadd_ps(lengths, _mm512_set1_ps(tail), best);
            }
            _mm512_cmp_ps_mask::<_CMP_GE_OQ>(best, _mm512_set1_ps(limit))
        }
    }
}

/// # Safety
/// The processor has AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn scan_vnni<const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    // SAFETY: the features are enabled here.
    unsafe { scan_stages::<Vnni, Q>(items, queries, groups, survivors) }
}

/// AVX2: pairs of products of bytes are added in 16 bits, then in 32.
struct Avx2;

// SAFETY, of all that follows: as for the other kernel.
impl ScanKernel for Avx2 {
    type Sums = [__m256i; 2];

    #[inline(always)]
    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_loadu_si256(sums.as_ptr().cast()),
                _mm256_loadu_si256(sums.as_ptr().add(8).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }

    #[inline(always)]
    unsafe fn start_stage(sums: Self::Sums, start: i32) -> Self::Sums {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_set1_epi32(start)),
                _mm256_add_epi32(sums[1], _mm256_set1_epi32(start)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(lines: &[CodeLine], quads: &[i32], mut sums: Self::Sums) -> Self::Sums {
        for (&quad, line) in quads.iter().zip(lines) {
            // SAFETY: as above; the two loads make one line.
            unsafe {
                let (codes, ones) = (_mm256_set1_epi32(quad), _mm256_set1_epi16(1));
                for (half, sum) in sums.iter_mut().enumerate() {
                    let items = _mm256_load_si256(line.0.as_ptr().add(32 * half).cast());
                    *sum = _mm256_add_epi32(
                        *sum,
                        _mm256_madd_epi16(_mm256_maddubs_epi16(items, codes), ones),
                    );
                }
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
        let mut mask = 0u16;
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above; 8 bytes are loaded from one half of the tails.
            let reached = unsafe {
                let mut best = _mm256_cvtepi32_ps(sum);
                if let Some(tails) = tails {
                    let lengths =
                        _mm256_cvtepu8_epi32(_mm_loadu_si64(tails.as_ptr().add(8 * half).cast()));
                    best = _mm256_fmadd_ps(_mm256_cvtepi32_ps(lengths), _mm256_set1_ps(tail), best);
                }
                _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(best, _mm256_set1_ps(limit)))
            };
            mask |= (reached as u16) << (8 * half);
        }
        mask
    }
}

/// # Safety
/// The processor has AVX2 and fused multiply-add.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn scan_avx2<const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    // SAFETY: the features are enabled here.
    unsafe { scan_stages::<Avx2, Q>(items, queries, groups, survivors) }
}
