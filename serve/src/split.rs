//! Which alias answers a user: the first stone of A/B tests.
//!
//! The hash is that of GrowthBook's SDKs, version 2: `fnv32a(decimal(fnv32a(seed + value))) % 10000`, so an assignment can be
//! reproduced by other tools. The same user, seed and weights give the same alias on every server, for ever.

use std::collections::BTreeMap;

fn fnv32a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A number in [0, 1) for a unit under a seed.
pub fn bucket(seed: &str, unit: &str) -> f64 {
    let inner = fnv32a(&format!("{seed}{unit}"));
    f64::from(fnv32a(&inner.to_string()) % 10_000) / 10_000.0
}

/// Shares of traffic by alias, in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    seed: String,
    /// Alias and the upper end of its range of buckets; the last is 1.
    ranges: Vec<(String, f64)>,
}

impl Split {
    /// From weights of any scale. The alias `first` (usually `stable`) takes the lowest buckets, so that raising another's
    /// weight moves users to it and none between the others of two.
    ///
    /// # Errors
    /// Says which weight is wrong.
    pub fn new(seed: &str, first: &str, weights: &BTreeMap<String, f64>) -> Result<Self, String> {
        if let Some((alias, weight)) = weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(format!("split.{alias} = {weight}: expected a number of 0 or more"));
        }
        let total: f64 = weights.values().sum();
        if weights.is_empty() || total <= 0.0 {
            return Ok(Self::everything(first));
        }
        let mut order: Vec<(&String, &f64)> = weights.iter().filter(|(_, weight)| **weight > 0.0).collect();
        order.sort_by_key(|(alias, _)| (alias.as_str() != first, alias.as_str()));
        let mut end = 0.0;
        let mut ranges: Vec<(String, f64)> = order
            .into_iter()
            .map(|(alias, weight)| {
                end += weight / total;
                (alias.clone(), end)
            })
            .collect();
        if let Some(last) = ranges.last_mut() {
            last.1 = 1.0;
        }
        Ok(Self { seed: seed.into(), ranges })
    }

    /// All traffic to one alias.
    pub fn everything(alias: &str) -> Self {
        Self { seed: String::new(), ranges: vec![(alias.into(), 1.0)] }
    }

    /// The alias of a user; that of the lowest buckets for a request without one.
    pub fn alias(&self, user: &str) -> &str {
        let at = if user.is_empty() { 0.0 } else { bucket(&self.seed, user) };
        let found = self.ranges.iter().find(|(_, end)| at < *end).or(self.ranges.last());
        found.map_or("", |(alias, _)| alias.as_str())
    }

    /// The aliases that take traffic.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|(alias, _)| alias.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_growthbooks() {
        // Version 2 cases of the GrowthBook SDK specification (MIT): seed, value, expected.
        let cases = [
            ("seed", "a", 0.0505),
            ("seed", "b", 0.2696),
            ("foo", "ab", 0.2575),
            ("foo", "def", 0.2019),
            ("89123klj", "8952klfjas09ujkasdf", 0.124),
            ("90850943850283058242805", "123", 0.7516),
            ("()**(%$##$%#$#", "___)((*\":&", 0.0128),
        ];
        for (seed, value, expected) in cases {
            assert_eq!(bucket(seed, value), expected, "{seed} {value}");
        }
    }

    fn weights(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(alias, weight)| (alias.to_string(), *weight)).collect()
    }

    #[test]
    fn a_tenth_goes_to_the_canary_and_stays_there() {
        let split = Split::new("shop", "stable", &weights(&[("canary", 10.0), ("stable", 90.0)])).unwrap();
        let canary = (0..100_000).filter(|user| split.alias(&format!("user-{user}")) == "canary").count();
        assert!((9_700..10_300).contains(&canary), "{canary}");
        assert_eq!(split.alias(""), "stable");
        let wider = Split::new("shop", "stable", &weights(&[("canary", 50.0), ("stable", 50.0)])).unwrap();
        for user in (0..10_000).map(|user| format!("user-{user}")) {
            assert_eq!(split.alias(&user), split.alias(&user));
            assert!(split.alias(&user) == "stable" || wider.alias(&user) == "canary", "raising the canary moved {user} out of it");
        }
    }

    #[test]
    fn a_negative_weight_is_refused() {
        assert!(Split::new("s", "stable", &weights(&[("stable", -1.0)])).is_err());
    }
}
