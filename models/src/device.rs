//! Where numbers are crunched. Beside `cuda.rs` the only file that knows CUDA.

use crate::{ModelError, Result};

/// A processor to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This machine's cores.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number; only in builds with the feature `cuda`.
    Cuda(usize),
}

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// [`ModelError::Device`] without a usable GPU of that number.
    pub(crate) fn open(self) -> Result<candle_core::Device> {
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            // One stream for all threads: work of several must not overtake each other.
            Device::Cuda(number) => candle_core::Device::new_cuda_with_stream(number).map_err(ModelError::device),
        }
    }
}

impl std::str::FromStr for Device {
    type Err = ModelError;

    /// `cpu`, `cuda` or `cuda:1`.
    fn from_str(name: &str) -> Result<Self> {
        let number = match name {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        let expected =
            || ModelError::Hyperparameter { name: "device".into(), found: name.into(), expected: "cpu, cuda or cuda:1".into() };
        let number = number.ok_or_else(expected)?;
        if cfg!(feature = "cuda") { Ok(Device::Cuda(number)) } else { Err(ModelError::NoCuda) }
    }
}
