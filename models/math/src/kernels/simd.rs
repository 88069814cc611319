//! The vector instructions of this processor, and how a kernel is compiled for each of them.

/// Numbers that a kernel works on side by side: one register of AVX-512, two of AVX2.
pub const LANES: usize = 16;

/// A set of vector instructions that this processor has.
///
/// A value can only come from [`simd`] or [`Simd::available`], which ask the processor. So whoever
/// holds one may run the kernels that were compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd(pub(super) Level);

/// The instruction sets that kernels are compiled for, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Whatever the compiler's baseline has.
    Portable,
    /// 8 lanes with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 16 lanes with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// Every set that this processor has, from the narrowest to the widest. Benchmarks and tests
    /// compare them; all other code takes the widest, which is [`simd`].
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx2() {
                levels.push(Level::Avx2);
            }
            if has_avx512() {
                levels.push(Level::Avx512);
            }
        }
        levels.into_iter().map(Simd).collect()
    }
}

/// The widest vector instructions that this processor has.
pub fn simd() -> Simd {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return Simd(Level::Avx512);
        }
        if has_avx2() {
            return Simd(Level::Avx2);
        }
    }
    Simd(Level::Portable)
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("fma")
}

/// `a · b + sum`, rounded once where the instructions have a fused multiply-add, else twice.
#[inline(always)]
pub(super) fn multiply_add<const FMA: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FMA { a.mul_add(b, sum) } else { a * b + sum }
}

/// Defines a public kernel that runs its `body` compiled for the given [`Simd`].
///
/// The body is an `#[inline(always)]` function with two constant parameters: `FMA`, whether there
/// is a fused multiply-add, and `WIDE`, whether it is compiled for AVX-512. It is inlined into one
/// function for each instruction set, which is how the compiler comes to use these instructions.
macro_rules! dispatch {
    (
        $(#[$doc:meta])*
        $name:ident, $body:ident, ($($arg:ident: $kind:ty),*) $(-> $out:ty)?
    ) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(simd: $crate::kernels::Simd, $($arg: $kind),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::simd::Level;
                #[target_feature(enable = "avx2,fma,popcnt")]
                fn avx2($($arg: $kind),*) $(-> $out)? { $body::<true, false>($($arg),*) }
                #[target_feature(enable = "avx512f,avx512vl,fma")]
                fn avx512($($arg: $kind),*) $(-> $out)? { $body::<true, true>($($arg),*) }
                match simd.0 {
                    // SAFETY: a `Simd` of this level exists only where the processor reports the
                    // features, and the features are the only condition of the bodies, the calls
                    // of `avx512.rs` included.
                    Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Level::Avx2 => return unsafe { avx2($($arg),*) },
                    Level::Portable => {}
                }
            }
            let _ = simd;
            $body::<false, false>($($arg),*)
        }
    };
}
pub(super) use dispatch;
