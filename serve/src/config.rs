//! Settings: config file < `AISLE_*` environment < flag, checked once.

use crate::split::Split;
use aisle_models::{Rule, RuleSet, Schema};
use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::builder::BoolishValueParser;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    #[arg(long, env = "AISLE_SPLIT", value_delimiter = ',', value_name = "ALIAS=WEIGHT")]
    split: Vec<String>,
    /// Requests inside at once, at most; under load the limit is lower, as many as are answered within 5 ms. More are refused with
    /// RESOURCE_EXHAUSTED [default: 512].
    #[arg(long, env = "AISLE_MAX_CONCURRENT_REQUESTS")]
    max_concurrent_requests: Option<usize>,
    /// Connections open at once; more are closed as they come [default: 4096].
    #[arg(long, env = "AISLE_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// Milliseconds that a request without a deadline may take [default: 1000].
    #[arg(long, env = "AISLE_DEFAULT_DEADLINE_MILLIS")]
    default_deadline_millis: Option<u64>,
    /// Milliseconds between looks at the registry [default: 500].
    #[arg(long, env = "AISLE_POLL_MILLIS")]
    poll_millis: Option<u64>,
    /// Use huge pages where the system allows: up to a sixth more answers, for half again the memory.
    #[arg(long, env = "AISLE_HUGE_PAGES", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    huge_pages: Option<bool>,
    /// Write logs as JSON.
    #[arg(long, env = "AISLE_LOG_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    log_json: Option<bool>,
    /// A TOML file with any of these settings, underscores for dashes, a [split] table, and [[rule]]s.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
}

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
    huge_pages: bool,
    log_json: bool,
    rule: Vec<Rule>,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of all models.
    pub registry: PathBuf,
    /// gRPC address.
    pub listen: SocketAddr,
    /// Prometheus address.
    pub metrics: Option<SocketAddr>,
    /// The model; `None` = the registry's only one.
    pub model: Option<String>,
    /// The alias that answers where nothing else is said.
    pub alias: String,
    /// Shares of traffic.
    pub split: Split,
    /// Requests inside at once, at most.
    pub max_concurrent_requests: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// The deadline of a request that names none.
    pub default_deadline: Duration,
    /// Time between looks at the registry.
    pub poll: Duration,
    /// Whether memory may be in huge pages. `aisle-serve` sees to it before anything else; [`crate::Running`] takes the process as it is.
    pub huge_pages: bool,
    /// Logs as JSON.
    pub log_json: bool,
    /// Rules that always hold.
    pub rules: RuleSet,
}

impl Config {
    /// The defaults for a registry, on a free loopback port.
    pub fn local(registry: impl Into<PathBuf>) -> Self {
        let alias = "stable".to_string();
        Self {
            registry: registry.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: None,
            model: None,
            split: Split::everything(&alias),
            alias,
            max_concurrent_requests: 512,
            max_connections: 4096,
            default_deadline: Duration::from_secs(1),
            poll: Duration::from_millis(500),
            huge_pages: false,
            log_json: false,
            rules: RuleSet::default(),
        }
    }

    /// From the command line, the environment, and the config file.
    ///
    /// # Errors
    /// Names the setting, what was found, and what was expected.
    pub fn read(cli: Cli) -> Result<Self> {
        let file: Settings = match &cli.config {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the config {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not a config of aisle-serve", path.display()))?
            }
        };
        let Some(registry) = cli.registry.or(file.registry) else {
            bail!("no registry: give --registry FOLDER (the folder that aisle-train fit --registry wrote to)");
        };
        if registry.exists() && !registry.is_dir() {
            bail!("--registry {}: a file, expected a folder", registry.display());
        }
        let mut weights = file.split;
        if !cli.split.is_empty() {
            weights.clear();
        }
        for share in &cli.split {
            let parsed = share.split_once('=').and_then(|(alias, weight)| Some((alias.trim(), weight.trim().parse::<f64>().ok()?)));
            let Some((alias, weight)) = parsed else {
                bail!("--split {share}: expected ALIAS=WEIGHT, for example stable=90,canary=10")
            };
            weights.insert(alias.into(), weight);
        }
        let alias = cli.alias.or(file.alias).unwrap_or_else(|| "stable".into());
        let split = Split::new(file.split_seed.as_deref().unwrap_or("aisle"), &alias, &weights).map_err(anyhow::Error::msg)?;
        let max_concurrent_requests = cli.max_concurrent_requests.or(file.max_concurrent_requests).unwrap_or(512);
        if max_concurrent_requests == 0 {
            bail!("max_concurrent_requests = 0: expected 1 or more");
        }
        let max_connections = cli.max_connections.or(file.max_connections).unwrap_or(4096);
        if max_connections == 0 {
            bail!("max_connections = 0: expected 1 or more");
        }
        let default_deadline_millis = cli.default_deadline_millis.or(file.default_deadline_millis).unwrap_or(1000);
        if !(1..=60_000).contains(&default_deadline_millis) {
            bail!("default_deadline_millis = {default_deadline_millis}: expected 1 to 60000");
        }
        let poll_millis = cli.poll_millis.or(file.poll_millis).unwrap_or(500);
        if !(10..=3_600_000).contains(&poll_millis) {
            bail!("poll_millis = {poll_millis}: expected 10 to 3600000");
        }
        let rules = RuleSet { revision: 0, rules: file.rule };
        // What items and shoppers have is known with the first version; how conditions are written, now.
        let [items, askers] = [&["item."][..], &["user.", "context.", "anchor."]]
            .map(|starts| starts.iter().fold(Schema::default(), |schema, start| schema.with_any(start)));
        rules.check(&items, &askers).context("a [[rule]] of the config")?;
        Ok(Self {
            rules,
            registry,
            listen: cli.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 50051))),
            metrics: cli.metrics.or(file.metrics),
            model: cli.model.or(file.model),
            alias,
            split,
            max_concurrent_requests,
            max_connections,
            default_deadline: Duration::from_millis(default_deadline_millis),
            poll: Duration::from_millis(poll_millis),
            huge_pages: cli.huge_pages.unwrap_or(file.huge_pages),
            log_json: cli.log_json.unwrap_or(file.log_json),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("serve.toml");
        std::fs::write(&file, "registry = \"/models\"\nlisten = \"127.0.0.1:7000\"\n[split]\nstable = 9\ncanary = 1\n").unwrap();
        let path = file.to_str().unwrap();
        let config = Config::read(Cli::parse_from(["aisle-serve", "--config", path, "--listen", "127.0.0.1:7001"])).unwrap();
        assert_eq!(config.listen.port(), 7001);
        assert_eq!(config.split.aliases().collect::<Vec<_>>(), ["stable", "canary"]);
        let error = Config::read(Cli::parse_from(["aisle-serve", "--registry", "/x", "--split", "canary"])).unwrap_err();
        assert!(error.to_string().contains("stable=90,canary=10"));
        std::fs::write(&file, "registry = \"/models\"\nhuge_pages = true\n").unwrap();
        let with = |flags: &[&str]| {
            let config = Config::read(Cli::parse_from([&["aisle-serve", "--config", path], flags].concat())).unwrap();
            (config.huge_pages, config.log_json)
        };
        assert_eq!(with(&[]), (true, false));
        assert_eq!(with(&["--huge-pages=no", "--log-json"]), (false, true));
        std::fs::write(&file, "registy = \"/models\"\n").unwrap();
        let error = Config::read(Cli::parse_from(["aisle-serve", "--config", path])).unwrap_err();
        assert!(format!("{error:#}").contains("registy"), "{error:#}");
    }
}
