//! Segments of shoppers: those that a shop names by a condition, and those that are found in its log.
//!
//! Rules, lists and reports speak of groups and not of rows. A named segment is a condition on what is known of a shopper (`shoppers.rs`); a
//! learned one is a cluster (`clusters.rs`) under a name made of what sets it apart. Whose segment has too few shoppers is in none of that name:
//! so few are neither a crowd to hide in nor a number to decide by.

use crate::clusters;
use crate::condition::{Condition, Schema};
use crate::recommend::{Recommend, Training, Watch, hyperparameter};
use crate::shoppers::{Shoppers, schema};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{IdMap, Labels};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Segments {
    /// Segments to find, 0 to 64; 0 = none.
    pub learned: usize,
    /// A segment with fewer shoppers is not published.
    pub min_shoppers: usize,
    /// Of the starts of the search.
    pub seed: u64,
    /// Conditions on shoppers by the name of their segment, such as `user.orders >= 5 AND user.days_since < 60`. Beside the columns of the users
    /// file there are `orders`, `days_since` (the last order), `spend`, `items`, `mean_price`, `gap_days`, `lapsed`, `price_band` (low, middle,
    /// high: of most of their items, within each item's category), and `favourite_category`, all as the log ends.
    pub named: BTreeMap<String, String>,
}

impl Default for Segments {
    fn default() -> Self {
        Self { learned: 8, min_shoppers: 50, seed: 42, named: BTreeMap::new() }
    }
}

/// Longest name of a segment, in characters.
const LONGEST_NAME: usize = 100;
/// Categories told of a segment.
const CATEGORIES: usize = 3;
/// So many times the share of all shoppers makes a category one that sets a segment apart.
const APART: f64 = 1.1;

impl Segments {
    /// Checks ranges, names, and conditions as far as they can be without the users file: any further `user.` field may be a column of it.
    ///
    /// # Errors
    /// [`ModelError::Hyperparameter`], and [`ModelError::Segment`] with the column of a mistake.
    pub fn validate(&self) -> Result<()> {
        hyperparameter("segments.learned", self.learned, 0..=64)?;
        self.parsed(&schema(None)).map(|_| ())
    }

    /// The same with the columns of the users file.
    pub(crate) fn check(&self, attributes: &[(String, Labels)]) -> Result<()> {
        hyperparameter("segments.learned", self.learned, 0..=64)?;
        self.parsed(&schema(Some(attributes))).map(|_| ())
    }

    /// The named ones in the order of their names.
    fn parsed(&self, schema: &Schema) -> Result<Vec<(&str, Condition)>> {
        let mut parsed = Vec::new();
        for (name, text) in &self.named {
            if name.trim() != name || name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(char::is_control) {
                return Err(ModelError::Hyperparameter {
                    name: "segments.named".into(),
                    found: format!("'{}'", name.escape_debug()),
                    expected: format!("a name of 1 to {LONGEST_NAME} characters without spaces around it"),
                });
            }
            let fault = |fault| ModelError::Segment { name: name.clone(), fault };
            parsed.push((name.as_str(), Condition::parse(text, schema).map_err(fault)?));
        }
        Ok(parsed)
    }

    /// Puts the shoppers of a log into segments. Vectors are asked of the personal model, if it has them.
    ///
    /// # Errors
    /// As [`Segments::validate`], against the columns of the users file.
    pub fn fit(&self, training: &Training, personal: &dyn Recommend, watch: &dyn Watch) -> Result<SegmentsModel> {
        self.check(training.users)?;
        let shoppers = Shoppers::of(training);
        let crowd = Crowd::of(&shoppers);
        let mut found: Vec<(Segment, Vec<u32>)> = Vec::new();
        let mut withheld = Withheld::default();
        for (name, condition) in self.parsed(&schema(Some(training.users)))? {
            let holds = |&user: &u32| condition.holds(&|field| shoppers.value(user, field));
            let members: Vec<u32> = (0..shoppers.len() as u32).into_par_iter().filter(holds).collect();
            if members.len() < self.min_shoppers.max(1) {
                withheld.named.push(name.into());
                continue;
            }
            let described = crowd.describe(&members, &shoppers);
            found.push((Segment { name: name.into(), condition: Some(condition.text().into()), ..described.segment }, members));
        }
        let clusters = clusters::find(self, &shoppers, training, personal)?;
        watch.step("segments", 1, 1);
        let mut learned: Vec<(Described, Vec<u32>)> =
            clusters.into_iter().map(|members| (crowd.describe(&members, &shoppers), members)).collect();
        let before = learned.len();
        learned.retain(|(_, members)| members.len() >= self.min_shoppers);
        withheld.learned = before - learned.len();
        // The best customers first.
        let worth = |segment: &Segment| (segment.spend.unwrap_or(0.0), segment.orders);
        learned.sort_by(|(a, ours), (b, others)| {
            let ((spend, orders), (other_spend, other_orders)) = (worth(&a.segment), worth(&b.segment));
            other_spend.total_cmp(&spend).then(other_orders.total_cmp(&orders)).then(ours.cmp(others))
        });
        let mut taken: Vec<String> = found.iter().map(|(segment, _)| segment.name.clone()).collect();
        let names = names(&learned.iter().map(|(described, _)| described).collect::<Vec<_>>(), &mut taken);
        found.extend(
            learned.into_iter().zip(names).map(|((described, members), name)| (Segment { name, ..described.segment }, members)),
        );
        Ok(SegmentsModel::new(found, withheld, shoppers.len()))
    }
}

/// What a segment is like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Unique within a version.
    pub name: String,
    /// Who is in it; none of a learned one.
    pub condition: Option<String>,
    /// How many they are.
    pub shoppers: usize,
    /// Median orders.
    pub orders: f64,
    /// Median days from the last order to the end of the log; none without times.
    pub days_since: Option<f64>,
    /// Median spend; none without prices.
    pub spend: Option<f64>,
    /// The top categories that set it apart, the one that does most first.
    pub favourites: Vec<Favourite>,
}

/// A top category that shoppers of a segment buy more of than others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Favourite {
    /// Its name.
    pub category: String,
    /// Its mean share of a shopper's lines.
    pub share: f64,
    /// How many times that of all shoppers.
    pub times: f64,
}

/// Segments with fewer shoppers than a version tells of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Withheld {
    /// Names of named ones.
    pub named: Vec<String>,
    /// How many learned ones.
    pub learned: usize,
}

/// The segments of a version, as its manifest tells of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentList {
    /// The named ones by name, then the learned ones by descending spend.
    pub published: Vec<Segment>,
    /// Those with too few shoppers.
    pub withheld: Withheld,
}

/// All shoppers who ever ordered, as the measure of each segment.
struct Crowd {
    /// Ascending.
    days_since: Vec<f64>,
    orders: Vec<f64>,
    spend: Vec<f64>,
    /// Mean share of each top category.
    shares: Vec<f64>,
}

/// A segment, and the words for it.
struct Described {
    segment: Segment,
    words: Vec<&'static str>,
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// To two decimals: the manifest says no more, and reads back what it says.
fn cents(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn median(values: &[f64]) -> Option<f64> {
    values.get(values.len() / 2).copied()
}

/// The share of ascending values that lies below one, half of those equal to it included.
fn standing(value: f64, among: &[f64]) -> f64 {
    let below = among.partition_point(|&other| other < value);
    let up_to = among.partition_point(|&other| other <= value);
    (below + up_to) as f64 / 2.0 / among.len().max(1) as f64
}

/// One of the words if a value is in the lowest or the highest third of all.
fn outer(standing: f64, [low, high]: [&'static str; 2]) -> Option<&'static str> {
    match standing {
        at if at < 1.0 / 3.0 => Some(low),
        at if at > 2.0 / 3.0 => Some(high),
        _ => None,
    }
}

impl Crowd {
    fn of(shoppers: &Shoppers) -> Self {
        let all: Vec<u32> = (0..shoppers.len() as u32).filter(|&user| shoppers.get(user).orders > 0).collect();
        Self {
            days_since: sorted(all.iter().filter_map(|&user| shoppers.days_since(user))),
            orders: sorted(all.iter().map(|&user| f64::from(shoppers.get(user).orders))),
            spend: sorted(all.iter().filter_map(|&user| shoppers.get(user).spend)),
            shares: shares(&all, shoppers),
        }
    }

    fn describe(&self, members: &[u32], shoppers: &Shoppers) -> Described {
        let of = |fact: &dyn Fn(u32) -> Option<f64>| median(&sorted(members.iter().filter_map(|&user| fact(user))));
        let days_since = of(&|user| shoppers.days_since(user));
        let orders = of(&|user| Some(f64::from(shoppers.get(user).orders))).unwrap_or(0.0);
        let spend = of(&|user| shoppers.get(user).spend);
        let own = shares(members, shoppers);
        // The parts of the Kullback-Leibler divergence from all shoppers: large for what is both much of the segment and more than usual.
        let mut parts: Vec<(f64, u32)> = (own.iter().zip(&self.shares).zip(0..))
            .filter(|((own, all), _)| **all > 0.0 && **own >= APART * **all)
            .map(|((own, all), category)| (own * (own / all).ln(), category))
            .collect();
        parts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let favourite = |&(_, category): &(f64, u32)| {
            let (share, all) = (own[category as usize], self.shares[category as usize]);
            Favourite { category: shoppers.category(category).into(), share: cents(share), times: cents(share / all) }
        };
        let favourites = parts.iter().take(CATEGORIES).map(favourite).collect();

        let most = |holds: &dyn Fn(u32) -> bool| 2 * members.iter().filter(|&&user| holds(user)).count() > members.len();
        let lapsed = most(&|user| shoppers.lapsed(user) == Some(true));
        let new = of(&|user| Some(shoppers.days_since(user)? + shoppers.get(user).days.map_or(0.0, |(first, last)| last - first)));
        let new = new.is_some_and(|days| days < shoppers.span / 4.0);
        let often = standing(orders, &self.orders);
        let lately = days_since.map_or(0.5, |days| standing(days, &self.days_since));
        let once = orders == 1.0 && often < 0.4;
        let frequency = if once { Some("one order") } else { outer(often, ["occasional", "frequent"]) };
        let recency = match (lapsed, new) {
            (true, _) => Some("lapsed"),
            (_, true) => Some("new"),
            // Who comes often was here lately.
            _ if frequency == Some("frequent") => None,
            _ if lately > 5.0 / 6.0 => Some("not seen lately"),
            _ => Some("recent").filter(|_| lately < 1.0 / 3.0),
        };
        let money = spend.map(|spend| outer(standing(spend, &self.spend), ["low spend", "high spend"]).unwrap_or("medium spend"));
        let words = recency.into_iter().chain(frequency).chain(money).collect();
        let segment = Segment {
            name: String::new(),
            condition: None,
            shoppers: members.len(),
            orders,
            days_since: days_since.map(cents),
            spend: spend.map(cents),
            favourites,
        };
        Described { segment, words }
    }
}

/// The mean share of each top category of the lines of some shoppers.
fn shares(users: &[u32], shoppers: &Shoppers) -> Vec<f64> {
    let mut sums = vec![0f64; shoppers.categories()];
    let mut count = 0.0;
    for &user in users {
        let mut any = false;
        for (category, share) in shoppers.shares(user) {
            sums[category as usize] += share;
            any = true;
        }
        count += if any { 1.0 } else { 0.0 };
    }
    sums.into_iter().map(|sum| if count > 0.0 { sum / count } else { 0.0 }).collect()
}

/// A name for each learned segment: its words and the category that sets it apart most; where two are equal the next category too, then a
/// number.
fn names(described: &[&Described], taken: &mut Vec<String>) -> Vec<String> {
    let name = |described: &Described, categories: usize| {
        let mut parts: Vec<String> = described.words.iter().map(|word| word.to_string()).collect();
        let favourites: Vec<&str> =
            described.segment.favourites.iter().take(categories).map(|favourite| favourite.category.as_str()).collect();
        if !favourites.is_empty() {
            parts.push(favourites.join(" and "));
        }
        if parts.is_empty() { "others".to_string() } else { parts.join(", ") }
    };
    let short: Vec<String> = described.iter().map(|described| name(described, 1)).collect();
    let mut names = Vec::new();
    for (described, short_name) in described.iter().zip(&short) {
        let alone = short.iter().filter(|other| *other == short_name).count() == 1;
        let base = if alone { short_name.clone() } else { name(described, 2) };
        let mut unique = base.clone();
        let mut number = 2;
        while taken.contains(&unique) {
            unique = format!("{base} {number}");
            number += 1;
        }
        taken.push(unique.clone());
        names.push(unique);
    }
    names
}

/// Who is in which segment.
pub struct SegmentsModel {
    list: SegmentList,
    /// `users + 1` positions into `segments`.
    offsets: Array<u64>,
    /// Segment numbers, ascending within a user.
    segments: Array<u32>,
}

impl Default for SegmentsModel {
    fn default() -> Self {
        Self { list: SegmentList::default(), offsets: vec![0].into(), segments: Array::default() }
    }
}

impl SegmentsModel {
    /// Of `users` shoppers without a segment.
    pub(crate) fn none(users: usize) -> Self {
        Self::new(Vec::new(), Withheld::default(), users)
    }

    fn new(found: Vec<(Segment, Vec<u32>)>, withheld: Withheld, users: usize) -> Self {
        let mut pairs: Vec<(u32, u32)> =
            found.iter().zip(0..).flat_map(|((_, members), number)| members.iter().map(move |&user| (user, number))).collect();
        pairs.sort_unstable();
        let mut offsets = vec![0u64; users + 1];
        pairs.iter().for_each(|pair| offsets[pair.0 as usize + 1] += 1);
        (0..users).for_each(|user| offsets[user + 1] += offsets[user]);
        let published = found.into_iter().map(|(segment, _)| segment).collect();
        Self {
            list: SegmentList { published, withheld },
            offsets: offsets.into(),
            segments: pairs.into_iter().map(|pair| pair.1).collect::<Vec<_>>().into(),
        }
    }

    /// From the arrays of a version of `users` shoppers and what its manifest tells of their segments.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] if the two do not agree.
    pub(crate) fn load(list: &SegmentList, users: usize, weights: &mut Weights) -> Result<Self> {
        let (offsets, entries) = weights.offsets("segments.offsets", users)?;
        let segments = weights.rows("segments.numbers", entries, list.published.len())?;
        let mut sizes = vec![0usize; list.published.len()];
        for (user, range) in offsets.windows(2).enumerate() {
            let own = &segments[range[0] as usize..range[1] as usize];
            if own.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(weights.damaged("segments.numbers", format!("{own:?} of shopper {user}"), "ascending numbers".into()));
            }
            own.iter().for_each(|&segment| sizes[segment as usize] += 1);
        }
        for (segment, size) in list.published.iter().zip(sizes) {
            if segment.shoppers != size {
                let what = format!("segment '{}'", segment.name);
                return Err(weights.damaged(&what, format!("{size} shoppers"), format!("{} as in the manifest", segment.shoppers)));
            }
        }
        let names: IdMap = list.published.iter().map(|segment| segment.name.as_str()).collect();
        if names.len() != list.published.len() {
            return Err(weights.damaged("segments", "two of the same name".into(), "different names".into()));
        }
        Ok(Self { list: list.clone(), offsets, segments })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::u64("segments.offsets", &self.offsets), Tensor::u32("segments.numbers", &self.segments)]
    }

    /// The segments and what they are like: the named ones by name, then the learned ones by descending spend.
    pub fn list(&self) -> &SegmentList {
        &self.list
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.published.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.published.is_empty()
    }

    /// Their names, by number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.published.iter().map(|segment| segment.name.as_str())
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names().position(|known| known == name).map(|at| at as u32)
    }

    /// The numbers of the segments that a user is in, ascending; none of a user who is not known. O(1).
    pub fn of(&self, user: u32) -> &[u32] {
        match (self.offsets.get(user as usize), self.offsets.get(user as usize + 1)) {
            (Some(&from), Some(&to)) => self.segments.get(from as usize..to as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The users in a segment, ascending. O(users).
    pub fn members(&self, segment: u32) -> Vec<u32> {
        (0..self.offsets.len().saturating_sub(1) as u32).filter(|&user| self.of(user).binary_search(&segment).is_ok()).collect()
    }

    /// What a segment is like.
    pub fn describe(&self, segment: u32) -> Option<&Segment> {
        self.list.published.get(segment as usize)
    }
}
