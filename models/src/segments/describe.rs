//! What a segment is like compared with all shoppers, and the names of learned segments.

use crate::segments::model::{FavouriteCategory, Segment};
use crate::segments::profiles::ShopperProfiles;

/// Most favourite categories of a segment.
const MAX_FAVOURITES: usize = 3;
/// A category is a favourite if its share is at least this many times that of all shoppers.
const MIN_FAVOURITE_LIFT: f64 = 1.1;

/// All shoppers who ever ordered: what each segment is compared with.
pub(super) struct Population {
    /// Days since the last order, ascending.
    days_since: Vec<f64>,
    /// Orders, ascending.
    orders: Vec<f64>,
    /// Spend, ascending.
    spend: Vec<f64>,
    /// The mean share of each top category.
    category_shares: Vec<f64>,
}

/// A segment without a name, and the words to make a name of.
pub(super) struct SegmentDescription {
    pub segment: Segment,
    /// Words for recency, frequency and spend.
    words: Vec<&'static str>,
}

impl SegmentDescription {
    /// The words and up to so many favourite categories, as a name.
    fn name(&self, categories: usize) -> String {
        let mut parts: Vec<String> = self.words.iter().map(|word| word.to_string()).collect();
        let favourites = self.segment.favourites.iter().take(categories);
        let favourites: Vec<&str> = favourites
            .map(|favourite| favourite.category.as_str())
            .collect();
        if !favourites.is_empty() {
            parts.push(favourites.join(" and "));
        }
        if parts.is_empty() {
            "others".to_string()
        } else {
            parts.join(", ")
        }
    }
}

/// Medians of the members of a segment; `None` where nothing is known of any of them.
struct Medians {
    orders: f64,
    days_since: Option<f64>,
    /// Days from the first order to the end of the log.
    days_known: Option<f64>,
    spend: Option<f64>,
}

impl Medians {
    fn of(members: &[u32], shoppers: &ShopperProfiles) -> Self {
        let median_of = |fact: &dyn Fn(u32) -> Option<f64>| {
            median(&sorted(members.iter().filter_map(|&user| fact(user))))
        };
        let days_known = |user: u32| {
            let days = shoppers.get(user).order_days;
            Some(shoppers.days_since(user)? + days.map_or(0.0, |(first, last)| last - first))
        };
        let orders = |user: u32| Some(f64::from(shoppers.get(user).orders));
        Self {
            orders: median_of(&orders).unwrap_or(0.0),
            days_since: median_of(&|user| shoppers.days_since(user)),
            days_known: median_of(&days_known),
            spend: median_of(&|user| shoppers.get(user).spend),
        }
    }
}

impl Population {
    pub(super) fn of(shoppers: &ShopperProfiles) -> Self {
        let customers: Vec<u32> = (0..shoppers.len() as u32)
            .filter(|&user| shoppers.get(user).orders > 0)
            .collect();
        let users = || customers.iter().copied();
        Self {
            days_since: sorted(users().filter_map(|user| shoppers.days_since(user))),
            orders: sorted(users().map(|user| f64::from(shoppers.get(user).orders))),
            spend: sorted(users().filter_map(|user| shoppers.get(user).spend)),
            category_shares: mean_category_shares(&customers, shoppers),
        }
    }

    /// Describes the segment of some shoppers.
    pub(super) fn describe(
        &self,
        members: &[u32],
        shoppers: &ShopperProfiles,
    ) -> SegmentDescription {
        let medians = Medians::of(members, shoppers);
        let segment = Segment {
            name: String::new(),
            condition: None,
            shoppers: members.len(),
            orders: medians.orders,
            days_since: medians.days_since.map(round_to_cents),
            spend: medians.spend.map(round_to_cents),
            favourites: self.favourites(members, shoppers),
        };
        let lapsed = members
            .iter()
            .filter(|&&user| shoppers.lapsed(user) == Some(true));
        let most_lapsed = 2 * lapsed.count() > members.len();
        let words = self.words(&medians, most_lapsed, shoppers.span);
        SegmentDescription { segment, words }
    }

    /// The categories that set a segment apart, the one that does most first.
    fn favourites(&self, members: &[u32], shoppers: &ShopperProfiles) -> Vec<FavouriteCategory> {
        let own_shares = mean_category_shares(members, shoppers);
        // The terms of the Kullback-Leibler divergence from all shoppers: large for a category that
        // is both a large part of the segment and larger than usual.
        let mut terms: Vec<(f64, u32)> = (own_shares.iter().zip(&self.category_shares).zip(0..))
            .filter(|((own, all), _)| **all > 0.0 && **own >= MIN_FAVOURITE_LIFT * **all)
            .map(|((own, all), category)| (own * (own / all).ln(), category))
            .collect();
        terms.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let favourite = |&(_, category): &(f64, u32)| {
            let share = own_shares[category as usize];
            let share_of_all = self.category_shares[category as usize];
            FavouriteCategory {
                category: shoppers.category(category).into(),
                share: round_to_cents(share),
                lift: round_to_cents(share / share_of_all),
            }
        };
        terms.iter().take(MAX_FAVOURITES).map(favourite).collect()
    }

    /// Words for how lately, how often and for how much the members of a segment buy. `span` is the
    /// days that the log covers.
    fn words(&self, medians: &Medians, most_lapsed: bool, span: f64) -> Vec<&'static str> {
        let is_new = medians.days_known.is_some_and(|days| days < span / 4.0);
        let orders_rank = rank_among(medians.orders, &self.orders);
        let days_rank = medians
            .days_since
            .map_or(0.5, |days| rank_among(days, &self.days_since));
        let frequency = if medians.orders == 1.0 && orders_rank < 0.4 {
            Some("one order")
        } else {
            word_for_outer_third(orders_rank, ["occasional", "frequent"])
        };
        let recency = match (most_lapsed, is_new) {
            (true, _) => Some("lapsed"),
            (_, true) => Some("new"),
            // Frequent shoppers were seen lately anyway.
            _ if frequency == Some("frequent") => None,
            _ if days_rank > 5.0 / 6.0 => Some("not seen lately"),
            _ => Some("recent").filter(|_| days_rank < 1.0 / 3.0),
        };
        let spend = medians.spend.map(|spend| {
            let rank = rank_among(spend, &self.spend);
            word_for_outer_third(rank, ["low spend", "high spend"]).unwrap_or("medium spend")
        });
        recency.into_iter().chain(frequency).chain(spend).collect()
    }
}

/// A name for each learned segment: its words and its first favourite category; of two with the
/// same name the second category too, then a number. No name is one of `taken`.
pub(super) fn unique_names(
    descriptions: &[&SegmentDescription],
    mut taken: Vec<String>,
) -> Vec<String> {
    let short_names: Vec<String> = descriptions
        .iter()
        .map(|described| described.name(1))
        .collect();
    let mut names = Vec::new();
    for (described, short_name) in descriptions.iter().zip(&short_names) {
        let same = short_names.iter().filter(|other| *other == short_name);
        let base = if same.count() == 1 {
            short_name.clone()
        } else {
            described.name(2)
        };
        let mut name = base.clone();
        let mut number = 2;
        while taken.contains(&name) {
            name = format!("{base} {number}");
            number += 1;
        }
        taken.push(name.clone());
        names.push(name);
    }
    names
}

/// The share of each top category in a shopper's lines, as a mean over shoppers with lines.
fn mean_category_shares(users: &[u32], shoppers: &ShopperProfiles) -> Vec<f64> {
    let mut sums = vec![0f64; shoppers.categories()];
    let mut count = 0.0;
    for &user in users {
        let mut has_lines = false;
        for (category, share) in shoppers.category_shares(user) {
            sums[category as usize] += share;
            has_lines = true;
        }
        count += if has_lines { 1.0 } else { 0.0 };
    }
    sums.into_iter()
        .map(|sum| if count > 0.0 { sum / count } else { 0.0 })
        .collect()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of ascending values, of two the upper one.
fn median(ascending: &[f64]) -> Option<f64> {
    ascending.get(ascending.len() / 2).copied()
}

/// Rounds to two decimals: the manifest holds no more, and so a loaded version equals a fitted one.
fn round_to_cents(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The rank of a value among ascending ones, 0 to 1: the share of those below it and half of those
/// equal to it.
fn rank_among(value: f64, ascending: &[f64]) -> f64 {
    let below = ascending.partition_point(|&other| other < value);
    let up_to = ascending.partition_point(|&other| other <= value);
    (below + up_to) as f64 / 2.0 / ascending.len().max(1) as f64
}

/// The first word for a rank in the lowest third, the second for one in the highest third.
fn word_for_outer_third(rank: f64, [low, high]: [&'static str; 2]) -> Option<&'static str> {
    match rank {
        rank if rank < 1.0 / 3.0 => Some(low),
        rank if rank > 2.0 / 3.0 => Some(high),
        _ => None,
    }
}
