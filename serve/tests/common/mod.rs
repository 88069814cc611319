//! Versions of the bundled sample, for all tests of the server.

use aisle_data::{Dataset, Tables};
use aisle_models::{Bundle, Registry};
use aisle_serve::config::Config;
use aisle_train::settings::Settings;
use std::path::Path;
use std::time::Duration;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");

/// Fits a small version on the bundled sample, in which nothing is weighed by learning, and publishes it.
pub fn publish(registry: &Path, seed: u64, alias: Option<&str>) -> String {
    let unlearned = ["cross-sell", "upsell", "buy-again"].map(|task| format!("{task}.learn_days=0"));
    let small = ["factors=16".to_string(), "iterations=2".to_string(), "cross-sell.factors=8".to_string(), format!("seed={seed}")];
    publish_with(registry, &[&small[..], &unlearned].concat(), alias)
}

/// Fits a version on the bundled sample and publishes it.
pub fn publish_with(registry: &Path, pairs: &[String], alias: Option<&str>) -> String {
    let settings = Settings::read(Some(&Path::new(SAMPLE).join("aisle.toml")), None, pairs).unwrap();
    let (events, items) = (format!("{SAMPLE}/events.parquet"), format!("{SAMPLE}/items.parquet"));
    let data = Dataset::read(&Tables { events: &events, items: Some(&items), users: None }, &settings.data()).unwrap();
    let mut bundle = Bundle::fit(&data, &settings.data(), settings.hyperparameters(), &()).unwrap();
    let registry = Registry::new(registry);
    let version = registry.publish("shop", &mut bundle).unwrap();
    if let Some(alias) = alias {
        registry.set_alias("shop", alias, &version).unwrap();
    }
    version
}

/// A small version in service by the alias `stable`, and a server's config that looks at the registry often.
pub fn published(registry: &Path) -> Config {
    publish(registry, 1, Some("stable"));
    Config { poll: Duration::from_millis(50), ..Config::local(registry) }
}
