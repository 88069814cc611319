//! Which alias a user belongs to, so that several versions can serve beside each other.
//!
//! The hash is that of GrowthBook's SDKs, version 2:
//! `fnv32a(decimal(fnv32a(seed + value))) % 10000`, so other tools can reproduce an assignment. The
//! same user, seed and weights give the same alias on every server at any time.

use std::collections::BTreeMap;

fn fnv32a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Returns the bucket of a user id under a seed: one of 10,000 numbers in [0, 1).
pub fn bucket(seed: &str, user: &str) -> f64 {
    let inner = fnv32a(&format!("{seed}{user}"));
    f64::from(fnv32a(&inner.to_string()) % 10_000) / 10_000.0
}

/// The shares of traffic of aliases, as ranges of buckets in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficSplit {
    seed: String,
    /// Each alias with the upper end of its range of buckets, which is 1 for the last.
    ranges: Vec<(String, f64)>,
}

impl TrafficSplit {
    /// Splits traffic by weights of any scale. The alias `first` (usually `stable`) takes the
    /// lowest buckets, so raising the weight of one other alias moves users to that alias only. No
    /// weights, or none above 0, send all traffic to `first`.
    ///
    /// # Errors
    /// Says which weight is not a number of 0 or more.
    pub fn new(seed: &str, first: &str, weights: &BTreeMap<String, f64>) -> Result<Self, String> {
        let is_wrong = |weight: f64| !(weight.is_finite() && weight >= 0.0);
        if let Some((alias, weight)) = weights.iter().find(|(_, weight)| is_wrong(**weight)) {
            return Err(format!(
                "split.{alias} = {weight}: expected a number of 0 or more"
            ));
        }
        let total: f64 = weights.values().sum();
        if total <= 0.0 {
            return Ok(Self::everything(first));
        }
        let mut order: Vec<(&String, &f64)> = weights
            .iter()
            .filter(|(_, weight)| **weight > 0.0)
            .collect();
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
        Ok(Self {
            seed: seed.into(),
            ranges,
        })
    }

    /// Sends all traffic to one alias.
    pub fn everything(alias: &str) -> Self {
        Self {
            seed: String::new(),
            ranges: vec![(alias.into(), 1.0)],
        }
    }

    /// The alias of a user id. An empty id gets the alias of the lowest buckets.
    pub fn alias(&self, user: &str) -> &str {
        let bucket = if user.is_empty() {
            0.0
        } else {
            bucket(&self.seed, user)
        };
        let range = self.ranges.iter().find(|(_, end)| bucket < *end);
        range
            .or(self.ranges.last())
            .map_or("", |(alias, _)| alias.as_str())
    }

    /// The aliases that take traffic, those of lower buckets first.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|(alias, _)| alias.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_growthbook() {
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
        pairs
            .iter()
            .map(|(alias, weight)| (alias.to_string(), *weight))
            .collect()
    }

    #[test]
    fn a_tenth_goes_to_the_canary_and_stays_there() {
        let split = TrafficSplit::new(
            "shop",
            "stable",
            &weights(&[("canary", 10.0), ("stable", 90.0)]),
        )
        .unwrap();
        let canary = (0..100_000)
            .filter(|user| split.alias(&format!("user-{user}")) == "canary")
            .count();
        assert!((9_700..10_300).contains(&canary), "{canary}");
        assert_eq!(split.alias(""), "stable");
        let wider = TrafficSplit::new(
            "shop",
            "stable",
            &weights(&[("canary", 50.0), ("stable", 50.0)]),
        )
        .unwrap();
        for user in (0..10_000).map(|user| format!("user-{user}")) {
            assert_eq!(split.alias(&user), split.alias(&user));
            assert!(
                split.alias(&user) == "stable" || wider.alias(&user) == "canary",
                "raising the canary moved {user} out of it"
            );
        }
    }

    #[test]
    fn a_negative_weight_is_refused() {
        assert!(TrafficSplit::new("s", "stable", &weights(&[("stable", -1.0)])).is_err());
    }
}
