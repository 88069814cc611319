//! Where numbers are crunched. The only file that knows CUDA.

use crate::{ModelError, Result};

/// A processor to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This machine's cores.
    #[default]
    Cpu,
}

impl std::str::FromStr for Device {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Err(ModelError::NoCuda),
            other => Err(ModelError::Hyperparameter { name: "device".into(), found: other.into(), expected: "cpu".into() }),
        }
    }
}
