//! What can go wrong while searching: only devices fail.

/// A device that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// The name of a device is not one.
    #[error("device = {found}: expected cpu, cuda or cuda:1")]
    UnknownDevice {
        /// The name that was given.
        found: String,
    },
    /// CUDA was requested from a build that does not have it.
    #[error(
        "device 'cuda' was requested from a build for the CPU: build with --features cuda where \
         the CUDA toolkit is installed, or use --device cpu"
    )]
    NoCuda,
    /// The device refused to compute.
    #[error(
        "the device cannot compute: {detail}; if memory ran out, lower batch or negatives, else \
         try --device cpu"
    )]
    Device {
        /// What the library said, its first line.
        detail: String,
    },
}

impl From<candle_core::Error> for RetrievalError {
    fn from(error: candle_core::Error) -> Self {
        // The lines after the first may be a backtrace.
        RetrievalError::Device {
            detail: error.to_string().lines().next().unwrap_or_default().into(),
        }
    }
}

/// The result of what a device may refuse.
pub type Result<T, E = RetrievalError> = std::result::Result<T, E>;
