//! Options that several commands share, and how they are read.

use crate::settings::{Algorithm, Settings};
use aisle_data::{Dataset, Tables};
use aisle_models::{Device, Registry};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

/// The files to read.
#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// The interaction log: a Parquet file, a folder, or a glob.
    #[arg(long, env = "AISLE_EVENTS")]
    events: String,
    /// The catalogue.
    #[arg(long, env = "AISLE_ITEMS")]
    items: Option<String>,
    /// Attributes of shoppers.
    #[arg(long, env = "AISLE_USERS")]
    users: Option<String>,
}

impl LogArgs {
    pub(super) fn read(&self, settings: &Settings) -> Result<Dataset> {
        let tables = Tables {
            events: &self.events,
            items: self.items.as_deref(),
            users: self.users.as_deref(),
        };
        Ok(Dataset::read(&tables, &settings.data())?)
    }
}

/// The settings of a run.
#[derive(Args, Debug)]
pub(super) struct SettingArgs {
    /// A TOML config: column names, event weights, cleaning, hyperparameters.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
    /// The personal algorithm; evaluate compares several: als,low-pass,blend.
    #[arg(long, value_enum, value_delimiter = ',', env = "AISLE_ALGORITHM")]
    pub(super) algorithm: Vec<Algorithm>,
    /// A setting, over the config: factors=128 (of the first algorithm) or
    /// cross-sell.min_shoppers=3.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingArgs {
    /// Reads the settings of a command that takes one algorithm.
    pub(super) fn read(&self) -> Result<Settings> {
        if self.algorithm.len() > 1 {
            bail!(
                "--algorithm names {}: only evaluate takes several; to mix them, use blend",
                self.algorithm.len()
            );
        }
        self.read_first()
    }

    /// Reads the settings of a command that takes several: those without a section belong to the
    /// first.
    pub(super) fn read_first(&self) -> Result<Settings> {
        let algorithm = self.algorithm.first().copied();
        Settings::read(self.config.as_deref(), algorithm, &self.set)
    }
}

/// Where to compute.
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Threads; 0 = all cores. The result does not depend on it.
    #[arg(long, default_value_t = 0, env = "AISLE_THREADS")]
    threads: usize,
    /// Where two-tower is fitted and evaluate ranks with vectors: cpu, cuda or cuda:1; everything
    /// else is fast enough on the cores.
    #[arg(long, default_value = "cpu", env = "AISLE_DEVICE")]
    device: Device,
}

impl RunArgs {
    /// Starts the threads, and gives the settings the device.
    pub(super) fn apply(&self, settings: Settings) -> Result<Settings> {
        use_threads(self.threads)?;
        Ok(Settings {
            device: self.device,
            ..settings
        })
    }
}

/// Starts so many threads for everything that follows; 0 = as many as there are cores.
pub(super) fn use_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot start the threads")
}

/// Which model.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    /// The folder of all models.
    #[arg(long, env = "AISLE_REGISTRY")]
    registry: PathBuf,
    /// The model's name.
    #[arg(long, env = "AISLE_MODEL")]
    pub(super) model: String,
}

impl ModelArgs {
    pub(super) fn registry(&self) -> Registry {
        Registry::new(self.registry.clone())
    }
}

/// Which version of a model.
#[derive(Args, Debug)]
pub(super) struct VersionArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// The version; without it, that of --alias.
    #[arg(long)]
    version: Option<String>,
    /// The alias whose version is used.
    #[arg(long, default_value = "stable")]
    alias: String,
}

impl VersionArgs {
    /// The name of the version.
    pub(super) fn resolve(&self) -> Result<String> {
        match &self.version {
            Some(version) => Ok(version.clone()),
            None => {
                let registry = self.model.registry();
                Ok(registry.resolve(&self.model.model, &self.alias)?)
            }
        }
    }
}
