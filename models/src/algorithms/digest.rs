//! Short digests that tell fits of different data or hyperparameters apart.

/// Hexadecimal digits of a digest: 64 bits, too many for two fits to share by accident.
const DIGITS: usize = 16;

/// Returns the first 16 hexadecimal digits of the hash of everything that `hasher` was given.
pub(crate) fn short_digest(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..DIGITS].to_string()
}
