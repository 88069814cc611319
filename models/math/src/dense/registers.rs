//! What faer leaves behind in the vector registers.

/// Clears the upper halves of the vector registers when it is dropped.
///
/// The kernels of faer leave them in use, and until they are cleared every scalar instruction that
/// follows on the thread is up to ten times slower on Intel processors (Intel 64 and IA-32
/// Architectures Optimization Reference Manual, "Mixing Intel AVX and Intel SSE instructions"). So
/// every function that calls faer holds one of these on the thread that does.
pub(super) struct ClearRegisters;

impl Drop for ClearRegisters {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx")]
            fn clear() {
                std::arch::x86_64::_mm256_zeroupper();
            }
            if is_x86_feature_detected!("avx") {
                // SAFETY: the processor has AVX.
                unsafe { clear() }
            }
        }
    }
}
