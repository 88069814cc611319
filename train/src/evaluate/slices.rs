//! Parts of the questions that an average hides: shoppers with short and long histories, head and
//! tail items, low and high prices.

use super::SliceResult;
use aisle_data::{Catalog, Interactions};
use aisle_models::metrics::score;
use aisle_models::{Scored, SegmentsModel};

/// With more segments than this, segments are no slices.
const MAX_SEGMENTS: usize = 12;

/// Shoppers with the items that are relevant to them, ascending.
pub(super) type Questions<'a> = &'a [(u32, Vec<u32>)];

/// A slice: for each question the relevant items that belong to it; without any, the question is
/// not in the slice.
pub(super) struct Slice {
    name: String,
    relevant: Vec<Vec<u32>>,
}

impl Slice {
    /// The slice of all questions of some shoppers.
    fn of_users(name: String, questions: Questions, contains: impl Fn(u32) -> bool) -> Self {
        let relevant = questions.iter().map(|(user, items)| match contains(*user) {
            true => items.clone(),
            false => Vec::new(),
        });
        Self {
            name,
            relevant: relevant.collect(),
        }
    }

    /// The slice of some shoppers' relevant items.
    fn of_items(name: String, questions: Questions, contains: impl Fn(u32, u32) -> bool) -> Self {
        let relevant = questions.iter().map(|(user, items)| {
            let items = items.iter().copied();
            items.filter(|&item| contains(*user, item)).collect()
        });
        Self {
            name,
            relevant: relevant.collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.relevant.iter().all(Vec::is_empty)
    }

    /// The means over the questions of the slice, at cut-off `k`.
    pub(super) fn measure(&self, answers: &[Vec<Scored>], k: usize) -> SliceResult {
        let (mut recall, mut ndcg, mut questions) = (0.0, 0.0, 0usize);
        for (answer, relevant) in answers.iter().zip(&self.relevant) {
            if relevant.is_empty() {
                continue;
            }
            let items: Vec<u32> = answer.iter().map(|scored| scored.item).collect();
            let [recall_of_one, _, _, ndcg_of_one, _, _] = score(&items, relevant, k);
            recall += recall_of_one;
            ndcg += ndcg_of_one;
            questions += 1;
        }
        let count = questions.max(1) as f64;
        SliceResult {
            slice: self.name.clone(),
            questions,
            recall: recall / count,
            ndcg: ndcg / count,
        }
    }
}

/// The slices of a run: thirds of the shoppers by history length, head items (the most popular that
/// make half of all interactions) and tail items, thirds of the relevant items by price where
/// prices are known.
pub(super) fn of(
    questions: Questions,
    interactions: &Interactions,
    catalog: &Catalog,
) -> Vec<Slice> {
    let mut slices = Vec::from(by_history_length(questions, interactions));
    slices.extend(by_popularity(questions, interactions));
    slices.extend(by_price(questions, catalog));
    slices.retain(|slice| !slice.is_empty());
    slices
}

/// Thirds of the shoppers by the number of items in their histories.
fn by_history_length(questions: Questions, interactions: &Interactions) -> [Slice; 3] {
    let length = |user: u32| interactions.by_user.columns(user as usize).len();
    let mut lengths: Vec<usize> = questions.iter().map(|&(user, _)| length(user)).collect();
    lengths.sort_unstable();
    let end_of_third = |third: usize| lengths[(lengths.len() * third / 3).min(lengths.len() - 1)];
    let (short, long) = (end_of_third(1), end_of_third(2));
    let slice = |name: String, lengths: std::ops::RangeInclusive<usize>| {
        Slice::of_users(name, questions, |user| lengths.contains(&length(user)))
    };
    [
        slice(format!("history up to {short} items"), 0..=short),
        slice(
            format!("history of {} to {long}", short + 1),
            short + 1..=long,
        ),
        slice(format!("history above {long}"), long + 1..=usize::MAX),
    ]
}

/// Head items, the most popular that make half of all interactions, and the tail.
fn by_popularity(questions: Questions, interactions: &Interactions) -> [Slice; 2] {
    let users_of = |item: u32| match (item as usize) < interactions.items() {
        true => interactions.by_item.columns(item as usize).len(),
        false => 0,
    };
    let mut counts: Vec<usize> = (0..interactions.items() as u32).map(users_of).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = interactions.nnz() / 2;
    let fewest_in_head = counts.into_iter().find(|&count| {
        left = left.saturating_sub(count);
        left == 0
    });
    let edge = fewest_in_head.unwrap_or(1);
    let head = format!("head items, {edge} shoppers or more");
    [
        Slice::of_items(head, questions, |_, item| users_of(item) >= edge),
        Slice::of_items(format!("tail items, below {edge}"), questions, |_, item| {
            users_of(item) < edge
        }),
    ]
}

/// Thirds of the relevant items by price; none without prices.
fn by_price(questions: Questions, catalog: &Catalog) -> Vec<Slice> {
    let price = |item: u32| {
        let price = catalog.price.get(item as usize).copied();
        price.filter(|price| !price.is_nan())
    };
    let items = questions.iter().flat_map(|(_, items)| items);
    let mut prices: Vec<f32> = items.filter_map(|&item| price(item)).collect();
    if prices.is_empty() {
        return Vec::new();
    }
    prices.sort_by(f32::total_cmp);
    let (low, high) = (prices[prices.len() / 3], prices[prices.len() * 2 / 3]);
    let slice = |name: String, contains: &dyn Fn(f32) -> bool| {
        Slice::of_items(name, questions, |_, item| price(item).is_some_and(contains))
    };
    vec![
        slice(format!("price up to {low:.2}"), &|price| price <= low),
        slice(format!("price above {low:.2} to {high:.2}"), &|price| {
            price > low && price <= high
        }),
        slice(format!("price above {high:.2}"), &|price| price > high),
    ]
}

/// What the shopper had before, and what is new to them.
pub(super) fn repeats(questions: Questions, interactions: &Interactions) -> [Slice; 2] {
    let is_repeat = |user: u32, item: u32| {
        let history = interactions.by_user.columns(user as usize);
        history.binary_search(&item).is_ok()
    };
    [
        Slice::of_items("repeats".into(), questions, is_repeat),
        Slice::of_items("new to the shopper".into(), questions, |user, item| {
            !is_repeat(user, item)
        }),
    ]
}

/// The segments of the shoppers, if there are not too many of them.
pub(super) fn segments(questions: Questions, segments: &SegmentsModel) -> Vec<Slice> {
    if segments.len() > MAX_SEGMENTS {
        return Vec::new();
    }
    let slice = |(name, number): (&str, u32)| {
        Slice::of_users(format!("segment {name}"), questions, |user| {
            segments.of(user).contains(&number)
        })
    };
    let mut slices: Vec<Slice> = segments.names().zip(0..).map(slice).collect();
    slices.retain(|slice| !slice.is_empty());
    slices
}
