//! Makes an index: orders the items by list and length, and codes them in that order.

use super::Exact;
use crate::encoding::{EncodedItems, Vectors};
use crate::int8::{GROUP, Level};
use crate::inverted_lists::InvertedLists;
use crate::length::{has_direction, length_of};
use aisle_math::array::Array;
use rayon::prelude::*;
use std::ops::Range;

/// Stands for a position that no item has.
pub(super) const NO_ITEM: u32 = u32::MAX;

impl Exact {
    /// Makes an index whose codes are multiplied by the given instructions.
    pub(super) fn with_level(
        rows: Array<f32>,
        depth: usize,
        lists: Option<InvertedLists>,
        level: Level,
    ) -> Self {
        let items = rows.len().checked_div(depth).unwrap_or(0);
        let lengths_f64: Vec<f64> = rows.par_chunks(depth.max(1)).map(length_of).collect();
        // What is not a number counts as infinitely long: it is looked at, and never returned.
        let lengths: Vec<f32> = lengths_f64[..items]
            .iter()
            .map(|&length| or_infinite(length) as f32)
            .collect();
        let Order {
            items: order,
            groups_of_lists,
        } = order_by_length(&lengths_f64[..items], lists.as_ref());
        let vectors = Vectors {
            rows: &rows,
            depth,
            lengths: &lengths_f64,
        };
        let encoded = EncodedItems::new(&order, vectors, level);
        let length_at = |&item: &u32| lengths.get(item as usize).copied().unwrap_or(0.0);
        let is_directed = |&&length: &&f32| has_direction(f64::from(length));
        Self {
            encoded,
            lengths_by_position: order.iter().map(length_at).collect(),
            order,
            lists,
            groups_of_lists,
            with_direction: lengths.iter().filter(is_directed).count(),
            lengths,
            rows,
            depth,
        }
    }
}

fn or_infinite(length: f64) -> f64 {
    if length.is_nan() {
        f64::INFINITY
    } else {
        length
    }
}

/// In which order a search walks the items.
struct Order {
    /// The item at each position; whole groups, [`NO_ITEM`] at the end of each list.
    items: Vec<u32>,
    /// The groups of each list.
    groups_of_lists: Vec<Range<usize>>,
}

/// Orders the items by list, then descending length, then row. Without lists all items are in one.
fn order_by_length(lengths: &[f64], lists: Option<&InvertedLists>) -> Order {
    let length_of_item = |item: u32| or_infinite(lengths[item as usize]);
    let list_of_item = |item: u32| lists.map_or(0, |lists| lists.items()[item as usize]);
    let mut sorted: Vec<u32> = (0..lengths.len() as u32).collect();
    sorted.par_sort_unstable_by(|&a, &b| {
        list_of_item(a)
            .cmp(&list_of_item(b))
            .then(length_of_item(b).total_cmp(&length_of_item(a)))
            .then(a.cmp(&b))
    });
    let mut order = Order {
        items: Vec::with_capacity(lengths.len().next_multiple_of(GROUP)),
        groups_of_lists: Vec::new(),
    };
    let mut rest = sorted.as_slice();
    for list in 0..lists.map_or(1, InvertedLists::len) as u32 {
        let end = rest.partition_point(|&item| list_of_item(item) <= list);
        let (of_list, others) = rest.split_at(end);
        let from = order.items.len() / GROUP;
        order.items.extend_from_slice(of_list);
        let whole_groups = order.items.len().next_multiple_of(GROUP);
        order.items.resize(whole_groups, NO_ITEM);
        order.groups_of_lists.push(from..whole_groups / GROUP);
        rest = others;
    }
    order
}
