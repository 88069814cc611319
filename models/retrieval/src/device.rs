//! Where numbers are computed. Beside `on_device/cuda.rs` the only file that knows CUDA.

use crate::error::{Result, RetrievalError};
use std::str::FromStr;

/// A processor to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The cores of this machine.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number, from 0. Only in builds with the feature `cuda`.
    Cuda(usize),
}

impl Device {
    /// Opens the device for candle.
    ///
    /// # Errors
    /// [`RetrievalError::Device`] if there is no usable GPU of that number.
    pub fn open(self) -> Result<candle_core::Device> {
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            // All threads share one stream: the work of one must not overtake that of another.
            Device::Cuda(number) => {
                candle_core::Device::new_cuda_with_stream(number).map_err(RetrievalError::from)
            }
        }
    }
}

impl FromStr for Device {
    type Err = RetrievalError;

    /// Reads `cpu`, `cuda` (the GPU 0) or `cuda:1`.
    fn from_str(name: &str) -> Result<Self> {
        let number = match name {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            other => other
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok()),
        };
        let unknown = || RetrievalError::UnknownDevice { found: name.into() };
        let number = number.ok_or_else(unknown)?;
        if cfg!(feature = "cuda") {
            Ok(Device::Cuda(number))
        } else {
            Err(RetrievalError::NoCuda)
        }
    }
}
