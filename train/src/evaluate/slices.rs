//! Parts of the questions that an average hides: shoppers with short and long histories, head and tail items, cheap and dear ones.

use super::Reached;
use aisle_data::{Catalog, Interactions};
use aisle_models::metrics::score;
use aisle_models::{Scored, SegmentsModel};

/// A slice: for each question the relevant items that belong to it; none = the question is not in it.
pub struct Slice {
    name: String,
    relevant: Vec<Vec<u32>>,
}

/// The slices of a run: thirds of the shoppers by history length, head items (the most popular that make half of all interactions)
/// and tail items, thirds of the relevant items by price where prices are known.
pub fn of(questions: &[(u32, Vec<u32>)], interactions: &Interactions, catalog: &Catalog) -> Vec<Slice> {
    let length = |user: u32| interactions.by_user.columns(user as usize).len();
    let mut lengths: Vec<usize> = questions.iter().map(|&(user, _)| length(user)).collect();
    lengths.sort_unstable();
    let cut = |third: usize| lengths[(lengths.len() * third / 3).min(lengths.len() - 1)];
    let (short, long) = (cut(1), cut(2));
    let shoppers = |name: String, within: &dyn Fn(usize) -> bool| Slice {
        name,
        relevant: questions.iter().map(|(user, items)| if within(length(*user)) { items.clone() } else { Vec::new() }).collect(),
    };
    let items = |name: String, within: &dyn Fn(u32) -> bool| Slice {
        name,
        relevant: questions.iter().map(|(_, items)| items.iter().copied().filter(|&item| within(item)).collect()).collect(),
    };
    let mut slices = vec![
        shoppers(format!("history up to {short} items"), &|n| n <= short),
        shoppers(format!("history of {} to {long}", short + 1), &|n| n > short && n <= long),
        shoppers(format!("history above {long}"), &|n| n > long),
    ];
    let users =
        |item: u32| if (item as usize) < interactions.items() { interactions.by_item.columns(item as usize).len() } else { 0 };
    let mut popular: Vec<u32> = (0..interactions.items() as u32).collect();
    popular.sort_by_key(|&item| std::cmp::Reverse(users(item)));
    let mut left = interactions.nnz() / 2;
    let edge = popular.iter().map(|&item| users(item)).find(|&count| {
        left = left.saturating_sub(count);
        left == 0
    });
    let edge = edge.unwrap_or(1);
    slices.push(items(format!("head items, {edge} shoppers or more"), &|item| users(item) >= edge));
    slices.push(items(format!("tail items, below {edge}"), &|item| users(item) < edge));
    let price = |item: u32| catalog.price.get(item as usize).copied().filter(|price| !price.is_nan());
    let mut prices: Vec<f32> = questions.iter().flat_map(|(_, items)| items.iter().filter_map(|&item| price(item))).collect();
    if !prices.is_empty() {
        prices.sort_by(f32::total_cmp);
        let (cheap, dear) = (prices[prices.len() / 3], prices[prices.len() * 2 / 3]);
        slices.push(items(format!("price up to {cheap:.2}"), &|item| price(item).is_some_and(|price| price <= cheap)));
        slices.push(items(format!("price above {cheap:.2} to {dear:.2}"), &|item| {
            price(item).is_some_and(|price| price > cheap && price <= dear)
        }));
        slices.push(items(format!("price above {dear:.2}"), &|item| price(item).is_some_and(|price| price > dear)));
    }
    slices.retain(|slice| slice.relevant.iter().any(|items| !items.is_empty()));
    slices
}

/// What the shopper had before, and what is new to them.
pub fn repeats(questions: &[(u32, Vec<u32>)], interactions: &Interactions) -> [Slice; 2] {
    [("repeats", true), ("new to the shopper", false)].map(|(name, repeated)| Slice {
        name: name.into(),
        relevant: questions
            .iter()
            .map(|(user, items)| {
                let past = interactions.by_user.columns(*user as usize);
                items.iter().copied().filter(|item| past.binary_search(item).is_ok() == repeated).collect()
            })
            .collect(),
    })
}

/// With more segments than this, none is a slice.
const SEGMENTS: usize = 12;

/// The segments of the shoppers, if there are not too many of them.
pub fn segments(questions: &[(u32, Vec<u32>)], segments: &SegmentsModel) -> Vec<Slice> {
    if segments.len() > SEGMENTS {
        return Vec::new();
    }
    let slice = |(name, number): (&str, u32)| Slice {
        name: format!("segment {name}"),
        relevant: questions
            .iter()
            .map(|(user, items)| if segments.of(*user).contains(&number) { items.clone() } else { Vec::new() })
            .collect(),
    };
    let mut slices: Vec<Slice> = segments.names().zip(0..).map(slice).collect();
    slices.retain(|slice| slice.relevant.iter().any(|items| !items.is_empty()));
    slices
}

impl Slice {
    /// Means over the questions of the slice.
    pub fn reached(&self, answers: &[Vec<Scored>], k: usize) -> Reached {
        let (mut recall, mut ndcg, mut questions) = (0.0, 0.0, 0usize);
        for (answer, relevant) in answers.iter().zip(&self.relevant).filter(|(_, relevant)| !relevant.is_empty()) {
            let items: Vec<u32> = answer.iter().map(|scored| scored.item).collect();
            let [found, _, _, gain, _, _] = score(&items, relevant, k);
            recall += found;
            ndcg += gain;
            questions += 1;
        }
        let each = questions.max(1) as f64;
        Reached { slice: self.name.clone(), questions, recall: recall / each, ndcg: ndcg / each }
    }
}
