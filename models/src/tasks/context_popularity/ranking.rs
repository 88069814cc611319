//! The fitted model of popularity in context, and how it ranks items.

use crate::algorithms::popular::PopularModel;
use crate::error::Result;
use crate::tasks::context_popularity::daypart::{DAYPARTS, daypart_code};
use crate::tasks::context_popularity::{Context, ContextValues, Dimension, parent_value};
use crate::weights::{Tensor, Weights};
use aisle_data::IdMap;
use aisle_math::array::Array;
use aisle_retrieval::index::Eligible;
use aisle_retrieval::top_k::{Scored, TopK};
use std::ops::Range;

/// The least lift that is given as a reason.
const MIN_REASON_LIFT: f32 = 1.25;

/// An item as it ranks in a context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContextualItem {
    /// Item row.
    pub item: u32,
    /// The item's decayed sales times its lifts: how likely it is bought in this context, on the
    /// scale of [`PopularModel::sales`].
    pub score: f32,
    /// The number of the dimension that lifts the item most ([`ContextModel::dimension`] names it),
    /// if it does by a quarter or more and enough distinct shoppers bought the item there.
    pub dimension: Option<usize>,
    /// p(j|c) / p(j) of that dimension: how many times more often the item is bought there than in
    /// the whole shop; 1 where no dimension is named.
    pub lift: f32,
}

/// The cells of one dimension.
pub(super) struct DimensionCells {
    /// The number of the first cell.
    first: usize,
    /// The values in the order of their cells.
    values: IdMap,
}

impl DimensionCells {
    /// Numbers the cells through all dimensions.
    pub(super) fn of(dimensions: &[Dimension]) -> Vec<Self> {
        let mut cells = 0;
        let number = |dimension: &Dimension| {
            let first = cells;
            cells += dimension.values.len();
            let values = dimension.values.iter().map(String::as_str).collect();
            Self { first, values }
        };
        dimensions.iter().map(number).collect()
    }

    /// The number of a value's cell; `None` if the value has none.
    fn number(&self, value: &str) -> Option<usize> {
        Some(self.first + self.values.get(value)? as usize)
    }
}

/// The cells of all dimensions, with what sells in them.
pub struct ContextModel {
    pub(super) settings: Context,
    pub(super) dimensions: Vec<Dimension>,
    /// For each dimension its cells.
    pub(super) cells: Vec<DimensionCells>,
    /// `cells + 1` positions into `items`, `log_lifts` and `shoppers`.
    pub(super) offsets: Array<u64>,
    /// Item rows, ascending in each cell.
    pub(super) items: Array<u32>,
    /// ln p(j|c) / p(j).
    pub(super) log_lifts: Array<f32>,
    /// Distinct shoppers who bought the item in the cell.
    pub(super) shoppers: Array<u32>,
    /// For each cell ln p(j|c) / p(j) of the items that it does not keep.
    pub(super) other_log_lifts: Array<f32>,
}

/// A cell that a context selects, with what it keeps.
#[derive(Clone, Copy)]
struct ActiveCell<'a> {
    /// The number of its dimension.
    dimension: usize,
    items: &'a [u32],
    log_lifts: &'a [f32],
    shoppers: &'a [u32],
    other_log_lift: f32,
}

impl ActiveCell<'_> {
    /// ln p(j|c) / p(j) of an item. O(log entries).
    fn log_lift(&self, item: u32) -> f32 {
        self.items
            .binary_search(&item)
            .map_or(self.other_log_lift, |at| self.log_lifts[at])
    }
}

impl ContextModel {
    /// Reads a model from the arrays of a version.
    pub(crate) fn load(
        settings: &Context,
        dimensions: &[Dimension],
        items: usize,
        weights: &mut Weights,
    ) -> Result<Self> {
        settings.validate()?;
        let cells: usize = dimensions
            .iter()
            .map(|dimension| dimension.values.len())
            .sum();
        let (offsets, entries) = weights.offsets("context.offsets", cells)?;
        let model = Self {
            settings: settings.clone(),
            cells: DimensionCells::of(dimensions),
            dimensions: dimensions.to_vec(),
            offsets,
            items: weights.rows("context.items", entries, items)?,
            log_lifts: weights.reals("context.lifts", entries)?,
            shoppers: weights.rows("context.shoppers", entries, u32::MAX as usize)?,
            other_log_lifts: weights.reals("context.rests", cells)?,
        };
        let with_repeated_value = (model.cells.iter().zip(dimensions))
            .find(|(cells, dimension)| cells.values.len() != dimension.values.len());
        if let Some((_, dimension)) = with_repeated_value {
            return Err(weights.damaged(
                "context",
                format!("a value of '{}' twice", dimension.name),
                "distinct values".into(),
            ));
        }
        let is_ascending = |cell: usize| model.items[model.range(cell)].is_sorted_by(|a, b| a < b);
        if let Some(cell) = (0..cells).find(|&cell| !is_ascending(cell)) {
            return Err(weights.damaged(
                "context.items",
                format!("cell {cell} out of order"),
                "ascending items in each cell".into(),
            ));
        }
        Ok(model)
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let cells = self.other_log_lifts.len();
        vec![
            Tensor::u64("context.offsets", &self.offsets),
            Tensor::u32("context.items", &self.items),
            Tensor::f32("context.lifts", &[self.log_lifts.len()], &self.log_lifts),
            Tensor::u32("context.shoppers", &self.shoppers),
            Tensor::f32("context.rests", &[cells], &self.other_log_lifts),
        ]
    }

    /// The positions of a cell's entries.
    fn range(&self, cell: usize) -> Range<usize> {
        self.offsets[cell] as usize..self.offsets[cell + 1] as usize
    }

    /// The dimensions that a context may name, with their values. [`ContextualItem::dimension`] is
    /// a place in them.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The name of a dimension; empty for a number that is not one of a dimension.
    pub fn dimension(&self, number: usize) -> &str {
        self.dimensions
            .get(number)
            .map_or("", |dimension| &dimension.name)
    }

    /// The value whose cell a context selects in a dimension: the value of the context or, where
    /// that has no cell, the nearest one above it in a path. `None` if neither has a cell.
    pub fn value<'a>(&self, context: &'a ContextValues, number: usize) -> Option<&'a str> {
        let cells = self.cells.get(number)?;
        let mut value = context.get(self.dimension(number)).map(String::as_str)?;
        while cells.number(value).is_none() {
            value = parent_value(value)?;
        }
        Some(value)
    }

    /// The part of the day, for example `weekday morning`: night from 0, morning from 6, midday
    /// from 11, afternoon from 15, evening from 18 to 24 o'clock, of a weekday or a weekend.
    /// `millis` is milliseconds since 1970 on the shopper's clock.
    pub fn daypart(millis: i64) -> &'static str {
        DAYPARTS[daypart_code(millis) as usize]
    }

    /// A shopper is lapsed if the last event is more than this many days ago, see
    /// [`visitor_state`](super::visitor_state()).
    pub fn lapsed_days(&self) -> f32 {
        self.settings.lapsed_days
    }

    /// The cells that a context selects, at most one for each dimension.
    fn active_cells(&self, context: &ContextValues) -> Vec<ActiveCell<'_>> {
        let active_cell = |dimension: usize| {
            let number = self.cells[dimension].number(self.value(context, dimension)?)?;
            let range = self.range(number);
            Some(ActiveCell {
                dimension,
                items: &self.items[range.clone()],
                log_lifts: &self.log_lifts[range.clone()],
                shoppers: &self.shoppers[range],
                other_log_lift: self.other_log_lifts[number],
            })
        };
        (0..self.dimensions.len()).filter_map(active_cell).collect()
    }

    /// The best `k` eligible items in a context, best first, ties by row: exactly min(k, eligible)
    /// items. Dimensions and values without a cell do not count; where none has a cell this is the
    /// order of best sellers. O(entries of the active cells + k).
    pub fn ranked(
        &self,
        context: &ContextValues,
        popular: &PopularModel,
        k: usize,
        eligible: Eligible,
    ) -> Vec<ContextualItem> {
        let cells = self.active_cells(context);
        let gamma = self.settings.agreement;
        let other_log_lift: f32 = cells.iter().map(|cell| cell.other_log_lift).sum();
        let mut top = TopK::new(k);
        let mut kept_items: Vec<u32> =
            Vec::with_capacity(cells.iter().map(|cell| cell.items.len()).sum());
        // Merges the ascending items of the cells.
        let mut positions = vec![0usize; cells.len()];
        while let Some(item) = cells
            .iter()
            .zip(&positions)
            .filter_map(|(cell, &at)| cell.items.get(at).copied())
            .min()
        {
            let mut log_lift = other_log_lift;
            for (cell, at) in cells.iter().zip(&mut positions) {
                if cell.items.get(*at) == Some(&item) {
                    log_lift += cell.log_lifts[*at] - cell.other_log_lift;
                    *at += 1;
                }
            }
            kept_items.push(item);
            if eligible.contains(item) {
                top.offer(item, popular.sales(item) * (gamma * log_lift).exp());
            }
        }
        // All other items have the same lift: no more than the first k best sellers among them can
        // be among the best.
        let others = popular
            .ranked(eligible)
            .filter(|item| kept_items.binary_search(item).is_err())
            .take(k);
        let other_lift = (gamma * other_log_lift).exp();
        others.for_each(|item| top.offer(item, popular.sales(item) * other_lift));
        let with_reason = |Scored { item, score }| {
            let (dimension, lift) = self.reason(&cells, item);
            ContextualItem {
                item,
                score,
                dimension,
                lift,
            }
        };
        top.into_sorted().into_iter().map(with_reason).collect()
    }

    /// The dimension that lifts an item most and its lift; no dimension and 1 if none is a reason.
    fn reason(&self, cells: &[ActiveCell], item: u32) -> (Option<usize>, f32) {
        let mut best: Option<(usize, f32)> = None;
        for cell in cells {
            let Ok(at) = cell.items.binary_search(&item) else {
                continue;
            };
            let log_lift = cell.log_lifts[at];
            let is_better = match best {
                None => log_lift >= MIN_REASON_LIFT.ln(),
                Some((_, best_log_lift)) => log_lift > best_log_lift,
            };
            if is_better && cell.shoppers[at] >= self.settings.min_shoppers {
                best = Some((cell.dimension, log_lift));
            }
        }
        match best {
            Some((dimension, log_lift)) => (Some(dimension), log_lift.exp()),
            None => (None, 1.0),
        }
    }

    /// What the context says for or against each item: ln Π (p(j|c) / p(j))^γ, 0 where no dimension
    /// has a cell. O(items · dimensions · log entries).
    pub fn prior(&self, context: &ContextValues, items: &[u32]) -> Vec<f32> {
        let cells = self.active_cells(context);
        let log_lift = |&item: &u32| {
            let lifts = cells.iter().map(|cell| cell.log_lift(item));
            self.settings.agreement * lifts.sum::<f32>()
        };
        items.iter().map(log_lift).collect()
    }
}
