//! Settings of a run: config file < `AISLE_SECTION__KEY` environment < `--set`, read once into one
//! checked struct.

use aisle_data::{Clean, Columns, DataConfig, EventRule};
use aisle_models::{
    Als, Blend, BuyAgain, Complements, Content, Device, Ease, Hyperparameters, ItemKnn,
    LinearFilter, LocalRidge, LowPass, Personal, Popular, Segments, SessionKnn, TwoTower, Upsell,
};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Personal algorithms by their command-line names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Implicit alternating least squares: vectors, folds in new shoppers.
    #[default]
    Als,
    /// Truncated SVD of the degree-normalised matrix: vectors, folds in new shoppers without a
    /// solve.
    LowPass,
    /// A random walk from items to shoppers and back.
    LinearFilter,
    /// Regression of each item on its nearest neighbours.
    LocalRidge,
    /// Regression of each item on all others: small catalogues.
    Ease,
    /// Vectors by contrast, from features too: new items and shoppers have a vector; on a GPU where
    /// there is one.
    TwoTower,
    /// A weighted mix of others, weights learned on a validation part.
    Blend,
    /// Item nearest neighbours: alike are items that the same shoppers chose.
    ItemKnn,
    /// Best sellers, time-decayed.
    Popular,
}

impl Algorithm {
    /// The name on the command line, in configs and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Als => "als",
            Algorithm::LowPass => "low-pass",
            Algorithm::LinearFilter => "linear-filter",
            Algorithm::LocalRidge => "local-ridge",
            Algorithm::Ease => "ease",
            Algorithm::TwoTower => "two-tower",
            Algorithm::Blend => "blend",
            Algorithm::ItemKnn => "item-knn",
            Algorithm::Popular => "popular",
        }
    }

    /// Some baselines, then the other algorithms that were asked for.
    pub fn with_baselines(baselines: &[Algorithm], asked: &[Algorithm]) -> Vec<Algorithm> {
        let others = asked.iter().filter(|other| !baselines.contains(other));
        baselines.iter().chain(others).copied().collect()
    }
}

/// `[blend]`: which models, each with the settings of its own section, and how they are mixed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlendSettings {
    /// Algorithms, each at most once.
    pub members: Vec<Algorithm>,
    /// One weight a member; empty = learned.
    pub weights: Vec<f32>,
    /// The split that weights are learned on: validation, last-order, time:0.9.
    pub split: String,
    /// Items that each member proposes.
    pub candidates: usize,
}

impl Default for BlendSettings {
    fn default() -> Self {
        Self {
            members: vec![
                Algorithm::LowPass,
                Algorithm::LocalRidge,
                Algorithm::Als,
                Algorithm::Popular,
            ],
            weights: Vec::new(),
            split: "validation".into(),
            candidates: 200,
        }
    }
}

/// Everything a config file may hold. Sections that are absent have their defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The personal algorithm, where the command line names none.
    pub algorithm: Algorithm,
    /// `[columns]`.
    pub columns: Columns,
    /// `[events.TYPE]`.
    pub events: BTreeMap<String, EventRule>,
    /// `[clean]`.
    pub clean: Clean,
    /// `[als]`.
    pub als: Als,
    /// `[low-pass]`.
    pub low_pass: LowPass,
    /// `[linear-filter]`.
    pub linear_filter: LinearFilter,
    /// `[local-ridge]`.
    pub local_ridge: LocalRidge,
    /// `[ease]`.
    pub ease: Ease,
    /// `[two-tower]`.
    pub two_tower: TwoTower,
    /// `[blend]`.
    pub blend: BlendSettings,
    /// `[item-knn]`.
    pub item_knn: ItemKnn,
    /// `[popular]`.
    pub popular: Popular,
    /// `[cross-sell]`.
    pub cross_sell: Complements,
    /// `[upsell]`.
    pub upsell: Upsell,
    /// `[session]`.
    pub session: SessionKnn,
    /// `[buy-again]`.
    pub buy_again: BuyAgain,
    /// `[context]`.
    pub context: aisle_models::Context,
    /// `[content]`.
    pub content: Content,
    /// `[segments]`.
    pub segments: Segments,
    /// File, environment and flags as one table, before defaults.
    #[serde(skip)]
    pub source: Table,
    /// Where to compute; not a part of configs.
    #[serde(skip)]
    pub device: Device,
}

impl Settings {
    /// Reads the file (if any), then the environment, then `key=value` pairs. A key without a dot
    /// belongs to the section of `algorithm`, one with a dot names its section:
    /// `cross-sell.min_shoppers=3`.
    ///
    /// # Errors
    /// Names the file or key, what was found, and what is known.
    pub fn read(
        file: Option<&Path>,
        algorithm: Option<Algorithm>,
        pairs: &[String],
    ) -> Result<Self> {
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the config {}", path.display()))?;
                text.parse::<Table>()
                    .with_context(|| format!("{} is not a TOML config", path.display()))?
            }
        };
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        for (name, value) in std::env::vars_os().filter_map(text) {
            if let Some((section, key)) = name
                .strip_prefix("AISLE_")
                .and_then(|rest| rest.split_once("__"))
            {
                let section = section.to_lowercase().replace('_', "-");
                put(&mut table, &section, &key.to_lowercase(), &value)
                    .with_context(|| format!("environment variable {name}"))?;
            }
        }
        if let Some(algorithm) = algorithm {
            table.insert("algorithm".into(), Value::String(algorithm.name().into()));
        }
        let section = table
            .get("algorithm")
            .and_then(Value::as_str)
            .unwrap_or(Algorithm::default().name())
            .to_string();
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set {pair}: expected key=value, for example --set factors=128");
            };
            let (section, key) = key.trim().split_once('.').unwrap_or((&section, key.trim()));
            put(&mut table, section, key, value.trim()).with_context(|| format!("--set {pair}"))?;
        }
        Self::of(table).with_context(|| match file {
            Some(path) => format!(
                "a setting of {}, the environment or --set is not known or has the wrong type",
                path.display()
            ),
            None => "a setting of the environment or --set is not known or has the wrong type"
                .to_string(),
        })
    }

    /// From one merged table.
    fn of(table: Table) -> Result<Self> {
        let source = table.clone();
        let mut settings: Settings = Value::Table(table).try_into()?;
        settings.data().validate()?;
        settings.segments.validate()?;
        settings.source = source;
        Ok(settings)
    }

    /// These settings with some of an algorithm's replaced, as `key=value` pairs.
    ///
    /// # Errors
    /// Names the key.
    pub fn with(&self, algorithm: Algorithm, pairs: &[String]) -> Result<Self> {
        let mut table = self.source.clone();
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            put(&mut table, algorithm.name(), key, value)
                .with_context(|| format!("setting {pair}"))?;
        }
        let settings = Self::of(table).with_context(|| format!("setting {}", pairs.join(" ")))?;
        Ok(Self {
            device: self.device,
            ..settings
        })
    }

    /// The settings in force of one algorithm, by key.
    ///
    /// # Errors
    /// If they cannot be written as TOML.
    pub fn section(&self, algorithm: Algorithm) -> Result<Table> {
        let table = Table::try_from(self.personal(algorithm))?;
        Ok(table
            .into_iter()
            .next()
            .and_then(|(_, section)| section.as_table().cloned())
            .unwrap_or_default())
    }

    /// What concerns reading.
    pub fn data(&self) -> DataConfig {
        DataConfig {
            columns: self.columns.clone(),
            events: self.events.clone(),
            clean: self.clean.clone(),
        }
    }

    /// What concerns fitting.
    pub fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            personal: self.personal(self.algorithm),
            popular: self.popular.clone(),
            cross_sell: self.cross_sell.clone(),
            upsell: self.upsell.clone(),
            session: self.session.clone(),
            buy_again: self.buy_again.clone(),
            context: self.context.clone(),
            content: self.content.clone(),
            segments: self.segments.clone(),
        }
    }

    /// One algorithm with its section's settings.
    pub fn personal(&self, algorithm: Algorithm) -> Personal {
        match algorithm {
            Algorithm::Als => Personal::Als(self.als.clone()),
            Algorithm::LowPass => Personal::LowPass(self.low_pass.clone()),
            Algorithm::LinearFilter => Personal::LinearFilter(self.linear_filter.clone()),
            Algorithm::LocalRidge => Personal::LocalRidge(self.local_ridge.clone()),
            Algorithm::Ease => Personal::Ease(self.ease.clone()),
            Algorithm::TwoTower => Personal::TwoTower(self.two_tower.clone()),
            Algorithm::Blend => {
                let BlendSettings {
                    members,
                    weights,
                    split,
                    candidates,
                } = &self.blend;
                let mix = |members| Blend {
                    members,
                    weights: weights.clone(),
                    split: split.clone(),
                    candidates: *candidates,
                };
                // A blend in a blend is refused when it is fitted; here it must only not recurse.
                let member = |&algorithm: &Algorithm| match algorithm {
                    Algorithm::Blend => Personal::Blend(mix(Vec::new())),
                    other => self.personal(other),
                };
                Personal::Blend(mix(members.iter().map(member).collect()))
            }
            Algorithm::ItemKnn => Personal::ItemKnn(self.item_knn.clone()),
            Algorithm::Popular => Personal::Popular(self.popular.clone()),
        }
    }
}

/// Puts one value into a section; it is read as TOML where it is, and as a string where it is not.
pub(crate) fn put(table: &mut Table, section: &str, key: &str, value: &str) -> Result<()> {
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"));
    let value = parsed.unwrap_or_else(|| Value::String(value.into()));
    let entry = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    match entry.as_table_mut() {
        Some(section) => {
            section.insert(key.into(), value);
            Ok(())
        }
        None => bail!("'{section}' is a value, not a section"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aisle.toml");
        std::fs::write(
            &file,
            "[als]\nfactors = 16\nseed = 7\n[cross-sell]\nmin_shoppers = 2\n",
        )
        .unwrap();
        let pairs = [
            "factors=32".to_string(),
            "cross-sell.min_shoppers=9".to_string(),
            "scaling=binary".to_string(),
        ];
        let settings = Settings::read(Some(&file), Some(Algorithm::Als), &pairs).unwrap();
        assert_eq!(
            (
                settings.als.factors,
                settings.als.seed,
                settings.cross_sell.min_shoppers
            ),
            (32, 7, 9)
        );
        assert_eq!(settings.als.scaling, aisle_models::Scaling::Binary);
    }

    #[test]
    fn a_misspelt_key_is_named_with_those_there_are() {
        let error = Settings::read(None, None, &["factor=3".to_string()]).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("factor") && text.contains("regularization"),
            "{text}"
        );
    }
}
