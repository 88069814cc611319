//! Fits popularity in context: counts the purchases of each cell and draws them towards its parent.

use crate::algorithms::popular::Popular;
use crate::algorithms::recommend::{Progress, Training};
use crate::error::Result;
use crate::tasks::context_popularity::ranking::{ContextModel, DimensionCells};
use crate::tasks::context_popularity::visitor_state::{
    self, STATES, visitor_events, visitor_state_codes,
};
use crate::tasks::context_popularity::{Context, Dimension, daypart, parent_value};
use aisle_data::{DAY_MILLIS, EventLog, EventRole, IdMap, NONE};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A dimension of the context, with the value that it has at each purchase.
struct ContextDimension {
    name: String,
    values: Vec<String>,
    /// The place in `values` of each purchase's value; [`NONE`] = not known.
    codes: Vec<u32>,
}

impl Context {
    /// Counts the purchases of each cell. Like [`Popular`], it counts a shopper, item and day once,
    /// and lets purchases decay with the half-life of `popular`. O(dimensions · events log events).
    ///
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`].
    pub fn fit(
        &self,
        popular: &Popular,
        training: &Training,
        progress: &dyn Progress,
    ) -> Result<ContextModel> {
        self.validate()?;
        let purchases = Purchases::of(training.log, popular);
        let dimensions = self.dimensions(training.log, &purchases);
        let mut builder = ModelBuilder::default();
        let steps = dimensions.len().max(1);
        for (step, dimension) in dimensions.into_iter().enumerate() {
            let cells = self.fit_cells(&purchases, &dimension);
            if !cells.is_empty() {
                builder.push(dimension.name, cells);
            }
            progress.step("context", step + 1, steps);
        }
        Ok(builder.finish(self.clone()))
    }

    /// The context columns of a log and the dimensions that follow from its times and users, by
    /// name. A column of the log takes precedence over a derived dimension of the same name.
    fn dimensions(&self, log: &EventLog, purchases: &Purchases) -> Vec<ContextDimension> {
        let at_purchases = |code: &dyn Fn(usize) -> u32| -> Vec<u32> {
            let events = purchases.events.iter();
            events.map(|&event| code(event as usize)).collect()
        };
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let mut dimensions: Vec<ContextDimension> = log
            .context
            .iter()
            .map(|column| ContextDimension {
                name: column.name.clone(),
                values: column.values.iter().map(str::to_string).collect(),
                codes: at_purchases(&|event| column.value[event]),
            })
            .collect();
        let has_column = |name: &str| log.context.iter().any(|column| column.name == name);
        if !log.time.is_empty() && !has_column(daypart::DIMENSION) {
            dimensions.push(ContextDimension {
                name: daypart::DIMENSION.into(),
                values: owned(&daypart::DAYPARTS),
                codes: at_purchases(&|event| daypart::daypart_code(log.time[event])),
            });
        }
        if !log.time.is_empty() && !log.user.is_empty() && !has_column(visitor_state::DIMENSION) {
            let states = visitor_state_codes(&visitor_events(log), self.lapsed_days);
            dimensions.push(ContextDimension {
                name: visitor_state::DIMENSION.into(),
                values: owned(&STATES),
                codes: at_purchases(&|event| states[event]),
            });
        }
        dimensions.sort_by(|a, b| a.name.cmp(&b.name));
        dimensions
    }

    /// The cells of one dimension, by value.
    fn fit_cells(
        &self,
        purchases: &Purchases,
        dimension: &ContextDimension,
    ) -> BTreeMap<String, Cell> {
        let (values, mut counts) = self.count_cells(purchases, dimension);
        let mut order: Vec<u32> = (0..values.len() as u32)
            .filter(|&value| counts[value as usize].is_some())
            .collect();
        // Parents first: a path is longer than its beginning.
        order.sort_by_key(|&value| (values.id(value).len(), value));
        let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
        for value in order {
            let Some(counts) = counts[value as usize].take() else {
                continue;
            };
            let mut parent = parent_value(values.id(value));
            while parent.is_some_and(|name| !cells.contains_key(name)) {
                parent = parent.and_then(parent_value);
            }
            let parent = parent.and_then(|name| cells.get(name));
            let cell = self.shrink_to_parent(purchases, counts, parent);
            cells.insert(values.id(value).to_string(), cell);
        }
        cells
    }

    /// The values of a dimension with those above them, and what was bought at each; `None` where
    /// there are too few purchases or shoppers.
    fn count_cells(
        &self,
        purchases: &Purchases,
        dimension: &ContextDimension,
    ) -> (IdMap, Vec<Option<CellCounts>>) {
        let mut values = IdMap::new();
        let names = dimension.values.iter();
        names.for_each(|value| _ = values.intern(value));
        // A purchase in London is a purchase in the UK too.
        let mut parents: Vec<Option<u32>> = Vec::new();
        while parents.len() < values.len() {
            let value = values.id(parents.len() as u32).to_string();
            parents.push(parent_value(&value).map(|parent| values.intern(parent)));
        }
        let mut counted: Vec<CountedPurchase> = Vec::new();
        for (&code, purchase) in dimension.codes.iter().zip(&purchases.purchases) {
            let mut value = Some(code).filter(|&code| code != NONE);
            while let Some(cell) = value {
                counted.push(CountedPurchase {
                    cell,
                    purchase: *purchase,
                });
                value = parents[cell as usize];
            }
        }
        counted.par_sort_unstable();
        counted.dedup();
        let mut cells: Vec<Option<CellCounts>> = (0..values.len()).map(|_| None).collect();
        for of_cell in counted.chunk_by(|a, b| a.cell == b.cell) {
            let mut shoppers: Vec<u64> = of_cell.iter().map(|one| one.purchase.shopper).collect();
            shoppers.sort_unstable();
            shoppers.dedup();
            let enough_events = of_cell.len() >= self.min_events as usize;
            if enough_events && shoppers.len() >= self.min_shoppers as usize {
                cells[of_cell[0].cell as usize] = Some(CellCounts::of(of_cell, purchases));
            }
        }
        (values, cells)
    }

    /// A cell whose shares are drawn towards those of its parent, or of the whole shop.
    fn shrink_to_parent(
        &self,
        purchases: &Purchases,
        counts: CellCounts,
        parent: Option<&Cell>,
    ) -> Cell {
        let (kappa, total) = (f64::from(self.shrinkage), counts.total_sales);
        let mut items = counts.items;
        if let Some(parent) = parent {
            add_items_of_parent(&mut items, parent);
        }
        struct ItemShare {
            in_cell: f64,
            in_shop: f64,
            entry: CellEntry,
        }
        let share = |counted: ItemCounts| {
            let in_shop = purchases.share(counted.item);
            let parent_lift =
                parent.map_or(1.0, |parent| f64::from(parent.log_lift(counted.item)).exp());
            let in_cell = (counted.sales + kappa * in_shop * parent_lift) / (total + kappa);
            let log_lift = (in_cell / in_shop).ln() as f32;
            let entry = CellEntry {
                item: counted.item,
                log_lift,
                shoppers: counted.shoppers,
            };
            (in_shop > 0.0 && log_lift.is_finite()).then_some(ItemShare {
                in_cell,
                in_shop,
                entry,
            })
        };
        let mut shares: Vec<ItemShare> = items.into_iter().filter_map(share).collect();
        shares.sort_by(|a, b| {
            b.in_cell
                .total_cmp(&a.in_cell)
                .then(a.entry.item.cmp(&b.entry.item))
        });
        shares.truncate(self.items);
        let kept_in_cell: f64 = shares.iter().map(|share| share.in_cell).sum();
        let kept_in_shop: f64 = shares.iter().map(|share| share.in_shop).sum();
        let (other_in_cell, other_in_shop) = (1.0 - kept_in_cell, 1.0 - kept_in_shop);
        let other_log_lift = match (other_in_cell / other_in_shop).ln() as f32 {
            // Too little is left to divide: the other items get the lift of one that was not bought
            // in the cell.
            lift if !lift.is_finite() || other_in_cell < 1e-6 || other_in_shop < 1e-6 => {
                (kappa / (total + kappa)).ln() as f32
            }
            lift => lift,
        };
        let mut entries: Vec<CellEntry> = shares.into_iter().map(|share| share.entry).collect();
        entries.sort_unstable_by_key(|entry| entry.item);
        Cell {
            entries,
            other_log_lift,
        }
    }
}

/// Adds the items that the parent keeps and nobody bought in the cell: there, what the parent knows
/// of them is better than what the whole shop knows.
fn add_items_of_parent(items: &mut Vec<ItemCounts>, parent: &Cell) {
    let not_bought = |entry: &&CellEntry| {
        items
            .binary_search_by_key(&entry.item, |counted| counted.item)
            .is_err()
    };
    let missing: Vec<ItemCounts> = parent
        .entries
        .iter()
        .filter(not_bought)
        .map(|entry| ItemCounts {
            item: entry.item,
            sales: 0.0,
            shoppers: 0,
        })
        .collect();
    items.extend(missing);
    items.sort_unstable_by_key(|counted| counted.item);
}

/// The purchases of a log, counted as best sellers count them; all events but returns in a log
/// without purchases.
struct Purchases {
    /// The event of each purchase.
    events: Vec<u32>,
    purchases: Vec<Purchase>,
    /// The share of each item in the decayed sales of the whole shop.
    shares: Vec<f64>,
    /// The day of the latest event, in days since 1970.
    latest_day: i32,
    /// Days after which a purchase counts half; infinite = purchases do not decay.
    half_life_days: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Purchase {
    item: u32,
    /// The user, or the order of an anonymous purchase, see [`EventLog::shopper_key`].
    shopper: u64,
    /// Days since 1970.
    day: i32,
}

/// A purchase as it counts in one cell. The order is that in which cells add them up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CountedPurchase {
    cell: u32,
    purchase: Purchase,
}

impl Purchases {
    fn of(log: &EventLog, popular: &Popular) -> Self {
        let has_purchases = log.has_purchases();
        let counts = |&event: &u32| match log.type_of(event as usize).role {
            EventRole::Purchase => true,
            EventRole::Return => false,
            _ => !has_purchases,
        };
        let events: Vec<u32> = (0..log.len() as u32).filter(counts).collect();
        let day = |time: i64| time.div_euclid(DAY_MILLIS) as i32;
        let purchase = |&event: &u32| {
            let event = event as usize;
            Purchase {
                item: log.item[event],
                shopper: log.shopper_key(event),
                day: day(log.time_of(event)),
            }
        };
        let decays = popular.half_life_days > 0.0 && !log.time.is_empty();
        let mut purchases = Self {
            purchases: events.iter().map(purchase).collect(),
            events,
            shares: vec![0.0; log.items.len()],
            latest_day: log.span().map_or(0, |(_, last)| day(last)),
            half_life_days: if decays {
                f64::from(popular.half_life_days)
            } else {
                f64::INFINITY
            },
        };
        let mut distinct = purchases.purchases.clone();
        distinct.par_sort_unstable();
        distinct.dedup();
        for purchase in &distinct {
            purchases.shares[purchase.item as usize] += purchases.decay(purchase.day);
        }
        let total: f64 = purchases.shares.iter().sum();
        let shares = purchases.shares.iter_mut();
        shares.for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        purchases
    }

    /// What a purchase of a day counts, 0 to 1.
    fn decay(&self, day: i32) -> f64 {
        (-f64::from(self.latest_day - day) / self.half_life_days).exp2()
    }

    /// p(j) of an item in the whole shop.
    fn share(&self, item: u32) -> f64 {
        self.shares[item as usize]
    }
}

/// What was bought in a cell.
struct CellCounts {
    /// The decayed sales of all items.
    total_sales: f64,
    /// Ascending by item.
    items: Vec<ItemCounts>,
}

/// What was bought of one item in a cell.
struct ItemCounts {
    item: u32,
    /// Decayed sales.
    sales: f64,
    /// Distinct shoppers.
    shoppers: u32,
}

impl CellCounts {
    /// Counts the purchases of one cell, in ascending order.
    fn of(counted: &[CountedPurchase], purchases: &Purchases) -> Self {
        let of_item = |counted: &[CountedPurchase]| ItemCounts {
            item: counted[0].purchase.item,
            sales: counted
                .iter()
                .map(|one| purchases.decay(one.purchase.day))
                .sum(),
            shoppers: counted
                .chunk_by(|a, b| a.purchase.shopper == b.purchase.shopper)
                .count() as u32,
        };
        let items: Vec<ItemCounts> = counted
            .chunk_by(|a, b| a.purchase.item == b.purchase.item)
            .map(of_item)
            .collect();
        Self {
            total_sales: items.iter().map(|counted| counted.sales).sum(),
            items,
        }
    }
}

/// A fitted cell.
struct Cell {
    /// The items that the cell keeps, ascending.
    entries: Vec<CellEntry>,
    /// ln p(j|c) / p(j) of all other items.
    other_log_lift: f32,
}

/// An item that a cell keeps.
#[derive(Clone, Copy)]
struct CellEntry {
    item: u32,
    /// ln p(j|c) / p(j).
    log_lift: f32,
    /// Distinct shoppers who bought the item in the cell.
    shoppers: u32,
}

impl Cell {
    /// ln p(j|c) / p(j) of an item.
    fn log_lift(&self, item: u32) -> f32 {
        self.entries
            .binary_search_by_key(&item, |entry| entry.item)
            .map_or(self.other_log_lift, |at| self.entries[at].log_lift)
    }
}

/// The arrays of a model, to which one dimension after the other is added.
#[derive(Default)]
struct ModelBuilder {
    dimensions: Vec<Dimension>,
    offsets: Vec<u64>,
    items: Vec<u32>,
    log_lifts: Vec<f32>,
    shoppers: Vec<u32>,
    other_log_lifts: Vec<f32>,
}

impl ModelBuilder {
    fn push(&mut self, name: String, cells: BTreeMap<String, Cell>) {
        let mut values = Vec::new();
        for (value, cell) in cells {
            values.push(value);
            self.offsets.push(self.items.len() as u64);
            for entry in &cell.entries {
                self.items.push(entry.item);
                self.log_lifts.push(entry.log_lift);
                self.shoppers.push(entry.shoppers);
            }
            self.other_log_lifts.push(cell.other_log_lift);
        }
        self.dimensions.push(Dimension { name, values });
    }

    fn finish(mut self, settings: Context) -> ContextModel {
        self.offsets.push(self.items.len() as u64);
        ContextModel {
            settings,
            cells: DimensionCells::of(&self.dimensions),
            dimensions: self.dimensions,
            offsets: self.offsets.into(),
            items: self.items.into(),
            log_lifts: self.log_lifts.into(),
            shoppers: self.shoppers.into(),
            other_log_lifts: self.other_log_lifts.into(),
        }
    }
}
