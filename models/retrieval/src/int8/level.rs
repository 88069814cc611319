//! Which instructions multiply the codes.

/// The instructions in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Whatever the compiler's baseline has.
    Portable,
    /// Multiplies bytes and adds pairs of products in 16 bits, 32 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Multiplies bytes and adds four products in 32 bits, 64 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// Multiplies bytes in 16 bits and adds pairs of pairs of products, 16 bytes at once.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Multiplies bytes and adds four products in 32 bits, 16 bytes at once.
    #[cfg(target_arch = "aarch64")]
    Dot,
}

impl Level {
    /// The best that this processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512f")
            {
                return Level::Vnni;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                return Level::Dot;
            }
            if std::arch::is_aarch64_feature_detected!("neon") {
                return Level::Neon;
            }
        }
        Level::Portable
    }

    /// The largest code of a query. Where pairs of products are added in 16 bits, 2 · 255 · 64 must
    /// not overflow them.
    pub fn largest_code(self) -> f32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 63.0,
            _ => 127.0,
        }
    }

    /// Every level that this processor has, from the narrowest to the widest. Names on stderr the
    /// ones that tests skip because the processor lacks them.
    #[cfg(test)]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        match Level::best() {
            Level::Vnni => levels.extend([Level::Avx2, Level::Vnni]),
            Level::Avx2 => {
                levels.push(Level::Avx2);
                eprintln!("skipped: this processor has no AVX-512 with VNNI");
            }
            Level::Portable => {
                eprintln!("skipped: this processor has neither AVX2 nor AVX-512 with VNNI");
            }
        }
        #[cfg(target_arch = "aarch64")]
        match Level::best() {
            Level::Dot => levels.extend([Level::Neon, Level::Dot]),
            _ => {
                levels.push(Level::Neon);
                eprintln!("skipped: this processor has no instructions for dot products");
            }
        }
        levels
    }
}
