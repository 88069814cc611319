//! The settings of the server. A flag wins over the environment (`AISLE_…`), which wins over the
//! config file; all of them are checked once, before the server starts.

use crate::versions::traffic::TrafficSplit;
use aisle_models::{Rule, RuleSet, Schema};
use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::builder::BoolishValueParser;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Answer product recommendation requests over gRPC from the versions that aisle-train publishes.
#[derive(Parser, Debug, Default)]
#[command(name = "aisle-serve", version, max_term_width = 100)]
pub struct Cli {
    /// The folder of all models.
    #[arg(long, env = "AISLE_REGISTRY")]
    registry: Option<PathBuf>,
    /// Where to listen for gRPC [default: 127.0.0.1:50051].
    #[arg(long, env = "AISLE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where to listen for Prometheus, for example 127.0.0.1:9464 [default: off].
    #[arg(long, env = "AISLE_METRICS")]
    metrics: Option<SocketAddr>,
    /// The model to serve [default: the registry's only one].
    #[arg(long, env = "AISLE_MODEL")]
    model: Option<String>,
    /// The alias to follow [default: stable].
    #[arg(long, env = "AISLE_ALIAS")]
    alias: Option<String>,
    /// Shares of traffic by alias, for example stable=90,canary=10.
    #[arg(
        long,
        env = "AISLE_SPLIT",
        value_delimiter = ',',
        value_name = "ALIAS=WEIGHT"
    )]
    split: Vec<String>,
    /// The most requests at once; under load the limit is lower: as many as are answered within 5
    /// ms. More are refused with RESOURCE_EXHAUSTED [default: 512].
    #[arg(long, env = "AISLE_MAX_CONCURRENT_REQUESTS")]
    max_concurrent_requests: Option<usize>,
    /// The most connections at once; more are closed as they come [default: 4096].
    #[arg(long, env = "AISLE_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// Milliseconds that a request without a deadline may take [default: 1000].
    #[arg(long, env = "AISLE_DEFAULT_DEADLINE_MILLIS")]
    default_deadline_millis: Option<u64>,
    /// Milliseconds between looks at the registry [default: 500].
    #[arg(long, env = "AISLE_POLL_MILLIS")]
    poll_millis: Option<u64>,
    /// Write logs as JSON.
    #[arg(
        long,
        env = "AISLE_LOG_JSON",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    log_json: Option<bool>,
    /// A TOML file with any of these settings, underscores for dashes, a [split] table, and
    /// [[rule]]s.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
}

const DEFAULT_ALIAS: &str = "stable";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051);
const DEFAULT_MAX_CONCURRENT_REQUESTS: usize = 512;
const DEFAULT_MAX_CONNECTIONS: usize = 4096;
const DEFAULT_DEADLINE_MILLIS: u64 = 1000;
const DEFAULT_POLL_MILLIS: u64 = 500;
/// The seed of the split where the config names none.
const DEFAULT_SPLIT_SEED: &str = "aisle";

/// The config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    registry: Option<PathBuf>,
    listen: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    model: Option<String>,
    alias: Option<String>,
    split: BTreeMap<String, f64>,
    split_seed: Option<String>,
    max_concurrent_requests: Option<usize>,
    max_connections: Option<usize>,
    default_deadline_millis: Option<u64>,
    poll_millis: Option<u64>,
    log_json: bool,
    rule: Vec<Rule>,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of all models.
    pub registry: PathBuf,
    /// The address to listen on for gRPC.
    pub listen: SocketAddr,
    /// The address to serve Prometheus metrics on; `None` = no metrics.
    pub metrics: Option<SocketAddr>,
    /// The name of the model; `None` = the only one of the registry.
    pub model: Option<String>,
    /// The alias that the server follows.
    pub alias: String,
    /// The shares of traffic of aliases.
    pub split: TrafficSplit,
    /// The most requests at once.
    pub max_concurrent_requests: usize,
    /// The most connections at once.
    pub max_connections: usize,
    /// The deadline of a request that names none.
    pub default_deadline: Duration,
    /// Time between looks at the registry.
    pub poll: Duration,
    /// Whether logs are written as JSON.
    pub log_json: bool,
    /// Rules that always apply, before those of the registry.
    pub rules: RuleSet,
}

impl Config {
    /// The defaults for a registry, on a free port of the loopback interface.
    pub fn local(registry: impl Into<PathBuf>) -> Self {
        Self {
            registry: registry.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            metrics: None,
            model: None,
            split: TrafficSplit::everything(DEFAULT_ALIAS),
            alias: DEFAULT_ALIAS.into(),
            max_concurrent_requests: DEFAULT_MAX_CONCURRENT_REQUESTS,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            default_deadline: Duration::from_millis(DEFAULT_DEADLINE_MILLIS),
            poll: Duration::from_millis(DEFAULT_POLL_MILLIS),
            log_json: false,
            rules: RuleSet::default(),
        }
    }

    /// Reads the settings of the command line, the environment and the config file.
    ///
    /// # Errors
    /// Names the setting, what was found, and what was expected.
    pub fn read(cli: Cli) -> Result<Self> {
        let file = match &cli.config {
            None => Settings::default(),
            Some(path) => read_file(path)?,
        };
        let registry = checked_registry(cli.registry.or(file.registry))?;
        let alias = cli.alias.or(file.alias);
        let alias = alias.unwrap_or_else(|| DEFAULT_ALIAS.into());
        let weights = if cli.split.is_empty() {
            file.split
        } else {
            split_weights(&cli.split)?
        };
        let seed = file.split_seed.as_deref().unwrap_or(DEFAULT_SPLIT_SEED);
        let split = TrafficSplit::new(seed, &alias, &weights).map_err(anyhow::Error::msg)?;
        let max_concurrent_requests = cli
            .max_concurrent_requests
            .or(file.max_concurrent_requests)
            .unwrap_or(DEFAULT_MAX_CONCURRENT_REQUESTS);
        if max_concurrent_requests == 0 {
            bail!("max_concurrent_requests = 0: expected 1 or more");
        }
        let max_connections = cli
            .max_connections
            .or(file.max_connections)
            .unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if max_connections == 0 {
            bail!("max_connections = 0: expected 1 or more");
        }
        let deadline_millis = cli
            .default_deadline_millis
            .or(file.default_deadline_millis)
            .unwrap_or(DEFAULT_DEADLINE_MILLIS);
        if !(1..=60_000).contains(&deadline_millis) {
            bail!("default_deadline_millis = {deadline_millis}: expected 1 to 60000");
        }
        let poll_millis = cli
            .poll_millis
            .or(file.poll_millis)
            .unwrap_or(DEFAULT_POLL_MILLIS);
        if !(10..=3_600_000).contains(&poll_millis) {
            bail!("poll_millis = {poll_millis}: expected 10 to 3600000");
        }
        Ok(Self {
            registry,
            listen: cli.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            metrics: cli.metrics.or(file.metrics),
            model: cli.model.or(file.model),
            alias,
            split,
            max_concurrent_requests,
            max_connections,
            default_deadline: Duration::from_millis(deadline_millis),
            poll: Duration::from_millis(poll_millis),
            log_json: cli.log_json.unwrap_or(file.log_json),
            rules: checked_rules(file.rule)?,
        })
    }
}

fn read_file(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the config {}", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("{} is not a config of aisle-serve", path.display()))
}

fn checked_registry(registry: Option<PathBuf>) -> Result<PathBuf> {
    let Some(registry) = registry else {
        bail!(
            "no registry: give --registry FOLDER (the folder that aisle-train fit --registry wrote \
             to)"
        );
    };
    if registry.exists() && !registry.is_dir() {
        bail!(
            "--registry {}: a file, expected a folder",
            registry.display()
        );
    }
    Ok(registry)
}

/// Reads shares of traffic as `ALIAS=WEIGHT`.
fn split_weights(shares: &[String]) -> Result<BTreeMap<String, f64>> {
    let mut weights = BTreeMap::new();
    for share in shares {
        let parsed = share
            .split_once('=')
            .and_then(|(alias, weight)| Some((alias.trim(), weight.trim().parse::<f64>().ok()?)));
        let Some((alias, weight)) = parsed else {
            bail!("--split {share}: expected ALIAS=WEIGHT, for example stable=90,canary=10")
        };
        weights.insert(alias.into(), weight);
    }
    Ok(weights)
}

/// Checks how the conditions of rules are written. Which fields there are is only known with the
/// first version, so any field passes.
fn checked_rules(rules: Vec<Rule>) -> Result<RuleSet> {
    let rules = RuleSet { revision: 0, rules };
    let any_of = |prefixes: &[&'static str]| {
        let schema = Schema::default();
        prefixes
            .iter()
            .fold(schema, |schema, prefix| schema.with_prefix(prefix))
    };
    rules
        .check(
            &any_of(&["item."]),
            &any_of(&["user.", "context.", "anchor."]),
        )
        .context("a [[rule]] of the config")?;
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a config file with this text, and these flags.
    fn read(text: &str, flags: &[&str]) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("serve.toml");
        std::fs::write(&file, text).unwrap();
        let config = ["aisle-serve", "--config", file.to_str().unwrap()];
        Config::read(Cli::parse_from([&config[..], flags].concat()))
    }

    #[test]
    fn flags_win_over_the_file() {
        let text = "registry = \"/models\"\nlisten = \"127.0.0.1:7000\"\n";
        let config = read(text, &["--listen", "127.0.0.1:7001"]).unwrap();
        assert_eq!(config.listen.port(), 7001);
        assert_eq!(config.registry, Path::new("/models"));
    }

    #[test]
    fn the_file_says_how_traffic_is_split() {
        let text = "registry = \"/models\"\n[split]\nstable = 9\ncanary = 1\n";
        let config = read(text, &[]).unwrap();
        let aliases: Vec<_> = config.split.aliases().collect();
        assert_eq!(aliases, ["stable", "canary"]);
    }

    #[test]
    fn a_split_without_a_weight_is_refused_with_an_example() {
        let flags = ["--registry", "/x", "--split", "canary"];
        let error = read("", &flags).unwrap_err();
        assert!(error.to_string().contains("stable=90,canary=10"));
    }

    #[test]
    fn a_flag_without_a_value_is_true() {
        let with = |text: &str, flags: &[&str]| read(text, flags).unwrap().log_json;
        let text = "registry = \"/models\"\n";
        assert!(!with(text, &[]));
        assert!(with(text, &["--log-json"]));
        let text = "registry = \"/models\"\nlog_json = true\n";
        assert!(with(text, &[]));
        assert!(!with(text, &["--log-json=no"]));
    }

    #[test]
    fn an_unknown_key_of_the_file_is_named() {
        let error = read("registy = \"/models\"\n", &[]).unwrap_err();
        assert!(format!("{error:#}").contains("registy"), "{error:#}");
    }

    #[test]
    fn the_guide_names_every_setting() {
        use clap::CommandFactory;
        let guide = include_str!("../README.md");
        for argument in Cli::command().get_arguments() {
            let (Some(flag), Some(variable)) = (argument.get_long(), argument.get_env()) else {
                continue;
            };
            let variable = variable.to_str().unwrap();
            let row = format!("| `--{flag}` | `{variable}` |");
            assert!(
                guide.contains(&row),
                "no row of the guide begins with {row}"
            );
        }
    }
}
