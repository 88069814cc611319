//! What sells under which circumstances: on this device, in this place, at this time of day, to a first visit or a customer.
//!
//! Each value of each dimension is a cell with its own best sellers, drawn towards those of its parent, the more the less was bought in it:
//! p(j|c) = (n_cj + κ p(j|parent)) / (n_c + κ), so that thin cells do not shout. The parent of the place `UK > London` is `UK`, of
//! all others the whole shop. It is the mean of a multinomial's posterior whose Dirichlet prior is centred on the parent (MacKay and Peto,
//! "A hierarchical Dirichlet language model", Natural Language Engineering 1, 1995, equation 17; the m-estimate of Cestnik, "Estimating
//! probabilities: a crucial task in machine learning", ECAI 1990). Several dimensions speak as in naive Bayes, p(j) Π (p(j|c) / p(j))^γ; γ below 1
//! because what they say overlaps (Hand and Yu, "Idiot's Bayes: not so stupid after all?", International Statistical Review 69, 2001).
//!
//! A cell keeps its most likely items; for all others it knows one constant, which makes its shares add up to one (the back-off of Katz, IEEE
//! Transactions on Acoustics, Speech and Signal Processing 35, 1987). So items that no asked cell holds stay in the shop's own order, and a
//! ranking is a merge: it costs what the asked cells hold, whatever the size of the catalogue.

use crate::Result;
use crate::index::Eligible;
use crate::popular::{Popular, PopularModel};
use crate::recommend::{Training, Watch, hyperparameter};
use crate::top_k::TopK;
use crate::weights::{Array, Tensor, Weights};
use aisle_data::{EventLog, EventRole, IdMap, NONE};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a moment, dimension → value: `device` → `mobile`, `location` → `UK > London`, `daypart` → `weekday morning`.
pub type Circumstances = BTreeMap<String, String>;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// κ: so many purchases elsewhere weigh as much as those in a cell, above 0.
    pub shrinkage: f32,
    /// γ: how much several dimensions are believed, each as if it were alone at 1, none at 0.
    pub agreement: f32,
    /// Cells with fewer purchases are left out.
    pub min_events: u32,
    /// Cells with fewer distinct shoppers are left out, and no item is said to be liked in a cell where fewer bought it; 2 or more.
    pub min_shoppers: u32,
    /// Items that a cell keeps, the most likely; 1 to 100,000.
    pub items: usize,
    /// A shopper is lapsed whose last event is longer ago than so many days.
    pub lapsed_days: f32,
}

impl Default for Context {
    fn default() -> Self {
        Self { shrinkage: 200.0, agreement: 1.0, min_events: 50, min_shoppers: 5, items: 2000, lapsed_days: 90.0 }
    }
}

/// One dimension of a version and the values that have a cell: what the manifest says of `context.*` in the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its name, as asked.
    pub name: String,
    /// Its values, ascending: one cell each, numbered on from the last of the dimension before.
    pub values: Vec<String>,
}

/// An item as it ranks under some circumstances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InContext {
    /// Its row.
    pub item: u32,
    /// Its decayed sales times its lifts: how likely it is bought here, on the scale of [`PopularModel::sales`].
    pub score: f32,
    /// The number of the asked dimension that lifts it most ([`ContextModel::dimension`] names it), if it does by a quarter or more and enough
    /// distinct shoppers bought the item there.
    pub because: Option<usize>,
    /// p(j|c) / p(j) of that dimension, how many times more often it is bought there than in the whole shop; 1 where none is named.
    pub lift: f32,
}

/// Least lift that is told as a reason.
const TOLD: f32 = 1.25;
const DAY: i64 = 86_400_000;
/// After so long without an event a visit is over, where no order or session says so.
const PAUSE: i64 = 30 * 60 * 1000;
/// The dimensions that follow from times and users.
const DAYPART: &str = "daypart";
const VISITOR_STATE: &str = "visitor_state";

const DAYPARTS: [&str; 10] = [
    "weekday night",
    "weekday morning",
    "weekday midday",
    "weekday afternoon",
    "weekday evening",
    "weekend night",
    "weekend morning",
    "weekend midday",
    "weekend afternoon",
    "weekend evening",
];
const STATES: [&str; 4] = ["first-visit", "returning", "customer", "lapsed"];

/// One event of a shopper's past, for [`visitor_states`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The shopper, [`NONE`] = anonymous.
    pub user: u32,
    /// Milliseconds.
    pub time: i64,
    /// The order or session; `None` = not known.
    pub order: Option<u64>,
    /// Whether it was a purchase.
    pub bought: bool,
}

/// What a shopper is to the shop at the start of a visit: `first-visit`, `returning` (seen before, never bought), `customer` (bought before),
/// `lapsed` (not seen for `lapsed_days`).
pub fn visitor_state(last_event: Option<i64>, ever_bought: bool, now: i64, lapsed_days: f32) -> &'static str {
    STATES[state(last_event, ever_bought, now, lapsed_days)]
}

fn state(last_event: Option<i64>, ever_bought: bool, now: i64, lapsed_days: f32) -> usize {
    match last_event {
        None => 0,
        Some(last) if (now - last) as f64 > f64::from(lapsed_days) * DAY as f64 => 3,
        Some(_) if ever_bought => 2,
        Some(_) => 1,
    }
}

/// The visitor state of each event by what its shopper did before the visit that it belongs to: an order or session, or events with less than
/// half an hour between them. Nothing is known of the time before the log, so a shopper first seen in its first quarter, or in its
/// first `lapsed_days` if these are fewer, has none until the next visit. O(n log n).
pub fn visitor_states(marks: &[Mark], lapsed_days: f32) -> Vec<Option<&'static str>> {
    states(marks, lapsed_days).into_iter().map(|state| STATES.get(state as usize).copied()).collect()
}

fn states(marks: &[Mark], lapsed_days: f32) -> Vec<u32> {
    let times = marks.iter().map(|mark| mark.time);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return Vec::new() };
    let unknown_until = first + ((f64::from(lapsed_days) * DAY as f64) as i64).min((last - first) / 4);
    let mut order: Vec<u32> = (0..marks.len() as u32).filter(|&at| marks[at as usize].user != NONE).collect();
    order.par_sort_unstable_by_key(|&at| {
        let Mark { user, time, order, .. } = marks[at as usize];
        (user, time, order, at)
    });
    let mut states = vec![NONE; marks.len()];
    for shopper in order.chunk_by(|&a, &b| marks[a as usize].user == marks[b as usize].user) {
        let mut bought = false;
        // Its last event, and its state.
        let mut visit: Option<(Mark, u32)> = None;
        for &at in shopper {
            let mark = marks[at as usize];
            let same = visit.filter(|(last, _)| {
                let together = last.order.is_some() && last.order == mark.order;
                together || mark.time - last.time < PAUSE
            });
            let state = match same {
                Some((_, state)) => state,
                None if visit.is_none() && mark.time < unknown_until => NONE,
                None => state(visit.map(|(last, _)| last.time), bought, mark.time, lapsed_days) as u32,
            };
            bought |= mark.bought;
            visit = Some((mark, state));
            states[at as usize] = state;
        }
    }
    states
}

/// The marks of a log.
pub fn marks(log: &EventLog) -> Vec<Mark> {
    let mark = |event| Mark {
        user: log.user_of(event),
        time: log.time_of(event),
        order: (log.order_of(event) != NONE).then(|| u64::from(log.order_of(event))),
        bought: log.type_of(event).role == EventRole::Purchase,
    };
    (0..log.len()).map(mark).collect()
}

/// The value from which a value's evidence is drawn: a path without its last level.
fn parent(value: &str) -> Option<&str> {
    value.rsplit_once(" > ").map(|(parent, _)| parent)
}

impl Context {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("shrinkage", self.shrinkage, 1e-3..=f32::MAX)?;
        hyperparameter("agreement", self.agreement, 0.0..=1.0)?;
        hyperparameter("min_shoppers", self.min_shoppers, 2..=u32::MAX)?;
        hyperparameter("items", self.items, 1..=100_000)?;
        hyperparameter("lapsed_days", self.lapsed_days, 0.0..=f32::MAX)
    }

    /// Counts the purchases of each cell, fading as those of `popular` do, and once a shopper, item and day as there.
    /// O(dimensions · events log events).
    ///
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`].
    pub fn fit(&self, popular: &Popular, training: &Training, watch: &dyn Watch) -> Result<ContextModel> {
        self.validate()?;
        let log = training.log;
        let sales = Sales::of(log, popular);
        let mut columns: Vec<(String, Vec<String>, Vec<u32>)> = Vec::new();
        for column in &log.context {
            let values = column.values.iter().map(str::to_string).collect();
            columns.push((column.name.clone(), values, sales.events.iter().map(|&event| column.value[event as usize]).collect()));
        }
        // A log that tells them itself knows better.
        let given = |name: &str| log.context.iter().any(|column| column.name == name);
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        if !log.time.is_empty() && !given(DAYPART) {
            let codes = sales.events.iter().map(|&event| daypart_code(log.time[event as usize]));
            columns.push((DAYPART.into(), owned(&DAYPARTS), codes.collect()));
        }
        if !log.time.is_empty() && !log.user.is_empty() && !given(VISITOR_STATE) {
            let states = states(&marks(log), self.lapsed_days);
            let codes = sales.events.iter().map(|&event| states[event as usize]);
            columns.push((VISITOR_STATE.into(), owned(&STATES), codes.collect()));
        }
        columns.sort_by(|a, b| a.0.cmp(&b.0));
        let mut model = Parts::default();
        let steps = columns.len().max(1);
        for (step, (name, values, codes)) in columns.into_iter().enumerate() {
            let cells = self.cells(&sales, &values, &codes);
            if !cells.is_empty() {
                model.push(name, cells);
            }
            watch.step("context", step + 1, steps);
        }
        Ok(model.finish(self.clone()))
    }

    /// The cells of one dimension, by value.
    fn cells(&self, sales: &Sales, values: &[String], codes: &[u32]) -> BTreeMap<String, Cell> {
        let mut known = IdMap::new();
        values.iter().for_each(|value| _ = known.intern(value));
        // A purchase in London is one in the UK too.
        let mut above: Vec<Option<u32>> = Vec::new();
        while above.len() < known.len() {
            let value = known.id(above.len() as u32).to_string();
            above.push(parent(&value).map(|parent| known.intern(parent)));
        }
        let mut lines: Vec<(u32, u32, u64, i32)> = Vec::new();
        for (&code, line) in codes.iter().zip(&sales.lines).filter(|(code, _)| **code != NONE) {
            let mut value = Some(code);
            while let Some(cell) = value {
                lines.push((cell, line.item, line.shopper, line.day));
                value = above[cell as usize];
            }
        }
        lines.par_sort_unstable();
        lines.dedup();
        let mut counted: Vec<Option<Counted>> = (0..known.len()).map(|_| None).collect();
        for lines in lines.chunk_by(|a, b| a.0 == b.0) {
            let mut shoppers: Vec<u64> = lines.iter().map(|line| line.2).collect();
            shoppers.sort_unstable();
            shoppers.dedup();
            if lines.len() < self.min_events as usize || shoppers.len() < self.min_shoppers as usize {
                continue;
            }
            let item = |lines: &[(u32, u32, u64, i32)]| Bought {
                item: lines[0].1,
                sales: lines.iter().map(|line| sales.worth(line.3)).sum(),
                shoppers: lines.chunk_by(|a, b| a.2 == b.2).count() as u32,
            };
            let items: Vec<Bought> = lines.chunk_by(|a, b| a.1 == b.1).map(item).collect();
            counted[lines[0].0 as usize] = Some(Counted { total: items.iter().map(|bought| bought.sales).sum(), items });
        }
        let mut order: Vec<u32> = (0..known.len() as u32).filter(|&value| counted[value as usize].is_some()).collect();
        // Parents first: a path is longer than its beginning.
        order.sort_by_key(|&value| (known.id(value).len(), value));
        let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
        for value in order {
            let Some(counted) = counted[value as usize].take() else { continue };
            let mut above = parent(known.id(value));
            while above.is_some_and(|name| !cells.contains_key(name)) {
                above = above.and_then(parent);
            }
            let cell = self.cell(sales, counted, above.and_then(|name| cells.get(name)));
            cells.insert(known.id(value).to_string(), cell);
        }
        cells
    }

    /// A cell drawn towards its parent, or the whole shop.
    fn cell(&self, sales: &Sales, counted: Counted, parent: Option<&Cell>) -> Cell {
        let (kappa, total) = (f64::from(self.shrinkage), counted.total);
        let mut bought = counted.items;
        if let Some(parent) = parent {
            // What the parent knows better than the whole shop counts here too.
            let missing = parent.lines.iter().filter(|line| bought.binary_search_by_key(&line.item, |bought| bought.item).is_err());
            let missing: Vec<Bought> = missing.map(|line| Bought { item: line.item, sales: 0.0, shoppers: 0 }).collect();
            bought.extend(missing);
            bought.sort_unstable_by_key(|bought| bought.item);
        }
        let mut shares: Vec<(f64, f64, Line)> = bought
            .into_iter()
            .filter_map(|Bought { item, sales: here, shoppers }| {
                let shop = sales.share(item);
                let share =
                    (here + kappa * shop * parent.map_or(1.0, |parent| f64::from(parent.lift(item)).exp())) / (total + kappa);
                let lift = (share / shop).ln() as f32;
                (shop > 0.0 && lift.is_finite()).then_some((share, shop, Line { item, lift, shoppers }))
            })
            .collect();
        shares.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.item.cmp(&b.2.item)));
        shares.truncate(self.items);
        let here: f64 = shares.iter().map(|line| line.0).sum();
        let shop: f64 = shares.iter().map(|line| line.1).sum();
        let rest = match ((1.0 - here) / (1.0 - shop)).ln() as f32 {
            // What is left is too little to tell, or nothing: an item that was not bought here.
            rest if !rest.is_finite() || 1.0 - here < 1e-6 || 1.0 - shop < 1e-6 => (kappa / (total + kappa)).ln() as f32,
            rest => rest,
        };
        let mut lines: Vec<Line> = shares.into_iter().map(|line| line.2).collect();
        lines.sort_unstable_by_key(|line| line.item);
        Cell { lines, rest }
    }
}

/// The purchases that count, as the best sellers count them.
struct Sales {
    /// The event of each.
    events: Vec<u32>,
    lines: Vec<Sale>,
    /// Decayed share of each item in all sales.
    shares: Vec<f64>,
    /// Days since 1970 of the latest, and days after which a purchase counts half.
    latest: i32,
    half_life: f64,
}

struct Sale {
    item: u32,
    /// The user, or the order of an anonymous one.
    shopper: u64,
    day: i32,
}

impl Sales {
    fn of(log: &EventLog, popular: &Popular) -> Self {
        let bought = log.has_purchases();
        let counts = |&event: &u32| match log.type_of(event as usize).role {
            EventRole::Purchase => true,
            EventRole::Return => false,
            _ => !bought,
        };
        let events: Vec<u32> = (0..log.len() as u32).filter(counts).collect();
        let day = |time: i64| time.div_euclid(DAY) as i32;
        let sale = |&event: &u32| {
            let event = event as usize;
            let shopper = match log.user_of(event) {
                NONE => (1 << 32) | u64::from(log.order_of(event)),
                user => u64::from(user),
            };
            Sale { item: log.item[event], shopper, day: day(log.time_of(event)) }
        };
        let lines: Vec<Sale> = events.iter().map(sale).collect();
        let fades = popular.half_life_days > 0.0 && !log.time.is_empty();
        let half_life = if fades { f64::from(popular.half_life_days) } else { f64::INFINITY };
        let latest = log.span().map_or(0, |(_, last)| day(last));
        let mut sales = Self { events, lines, shares: vec![0.0; log.items.len()], latest, half_life };
        let mut distinct: Vec<(u32, u64, i32)> = sales.lines.iter().map(|line| (line.item, line.shopper, line.day)).collect();
        distinct.par_sort_unstable();
        distinct.dedup();
        for &(item, _, day) in &distinct {
            sales.shares[item as usize] += sales.worth(day);
        }
        let total: f64 = sales.shares.iter().sum();
        sales.shares.iter_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        sales
    }

    fn worth(&self, day: i32) -> f64 {
        (-f64::from(self.latest - day) / self.half_life).exp2()
    }

    fn share(&self, item: u32) -> f64 {
        self.shares[item as usize]
    }
}

/// What was bought in a cell.
struct Counted {
    total: f64,
    /// Ascending by item.
    items: Vec<Bought>,
}

struct Bought {
    item: u32,
    sales: f64,
    shoppers: u32,
}

/// A cell as it is kept.
struct Cell {
    /// Ascending by item.
    lines: Vec<Line>,
    /// ln p(j|c) / p(j) of all other items.
    rest: f32,
}

#[derive(Clone, Copy)]
struct Line {
    item: u32,
    /// ln p(j|c) / p(j).
    lift: f32,
    shoppers: u32,
}

impl Cell {
    fn lift(&self, item: u32) -> f32 {
        self.lines.binary_search_by_key(&item, |line| line.item).map_or(self.rest, |at| self.lines[at].lift)
    }
}

/// A model that grows cell by cell.
#[derive(Default)]
struct Parts {
    dimensions: Vec<Dimension>,
    offsets: Vec<u64>,
    items: Vec<u32>,
    lifts: Vec<f32>,
    shoppers: Vec<u32>,
    rests: Vec<f32>,
}

impl Parts {
    fn push(&mut self, name: String, cells: BTreeMap<String, Cell>) {
        let mut values = Vec::new();
        for (value, cell) in cells {
            values.push(value);
            self.offsets.push(self.items.len() as u64);
            self.items.extend(cell.lines.iter().map(|line| line.item));
            self.lifts.extend(cell.lines.iter().map(|line| line.lift));
            self.shoppers.extend(cell.lines.iter().map(|line| line.shoppers));
            self.rests.push(cell.rest);
        }
        self.dimensions.push(Dimension { name, values });
    }

    fn finish(mut self, settings: Context) -> ContextModel {
        self.offsets.push(self.items.len() as u64);
        ContextModel {
            settings,
            numbers: numbers(&self.dimensions),
            dimensions: self.dimensions,
            offsets: self.offsets.into(),
            items: self.items.into(),
            lifts: self.lifts.into(),
            shoppers: self.shoppers.into(),
            rests: self.rests.into(),
        }
    }
}

/// For each dimension the number of its first cell, and its values.
fn numbers(dimensions: &[Dimension]) -> Vec<(usize, IdMap)> {
    let mut first = 0;
    let mut number = |dimension: &Dimension| {
        let begins = first;
        first += dimension.values.len();
        (begins, dimension.values.iter().map(String::as_str).collect::<IdMap>())
    };
    dimensions.iter().map(&mut number).collect()
}

/// Cells with what sells in them.
pub struct ContextModel {
    settings: Context,
    dimensions: Vec<Dimension>,
    numbers: Vec<(usize, IdMap)>,
    /// `cells + 1` positions into the next three.
    offsets: Array<u64>,
    /// Item rows, ascending in each cell.
    items: Array<u32>,
    /// ln p(j|c) / p(j).
    lifts: Array<f32>,
    /// Distinct shoppers who bought the item in the cell.
    shoppers: Array<u32>,
    /// ln p(j|c) / p(j) of the items that a cell does not hold.
    rests: Array<f32>,
}

/// An asked cell.
#[derive(Clone, Copy)]
struct Asked<'a> {
    dimension: usize,
    items: &'a [u32],
    lifts: &'a [f32],
    shoppers: &'a [u32],
    rest: f32,
}

impl ContextModel {
    pub(crate) fn load(settings: &Context, dimensions: &[Dimension], items: usize, weights: &mut Weights) -> Result<Self> {
        settings.validate()?;
        let cells: usize = dimensions.iter().map(|dimension| dimension.values.len()).sum();
        let (offsets, lines) = weights.offsets("context.offsets", cells)?;
        let model = Self {
            settings: settings.clone(),
            numbers: numbers(dimensions),
            dimensions: dimensions.to_vec(),
            offsets,
            items: weights.rows("context.items", lines, items)?,
            lifts: weights.reals("context.lifts", lines)?,
            shoppers: weights.rows("context.shoppers", lines, u32::MAX as usize)?,
            rests: weights.reals("context.rests", cells)?,
        };
        let repeated =
            (model.numbers.iter().zip(dimensions)).find(|((_, values), dimension)| values.len() != dimension.values.len());
        if let Some((_, dimension)) = repeated {
            return Err(weights.damaged("context", format!("a value of '{}' twice", dimension.name), "distinct values".into()));
        }
        if let Some(cell) = (0..cells).find(|&cell| !model.cell(cell).is_sorted_by(|a, b| a < b)) {
            return Err(weights.damaged(
                "context.items",
                format!("cell {cell} out of order"),
                "ascending items in each cell".into(),
            ));
        }
        Ok(model)
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("context.offsets", &self.offsets),
            Tensor::u32("context.items", &self.items),
            Tensor::f32("context.lifts", &[self.lifts.len()], &self.lifts),
            Tensor::u32("context.shoppers", &self.shoppers),
            Tensor::f32("context.rests", &[self.rests.len()], &self.rests),
        ]
    }

    fn range(&self, cell: usize) -> std::ops::Range<usize> {
        self.offsets[cell] as usize..self.offsets[cell + 1] as usize
    }

    fn cell(&self, cell: usize) -> &[u32] {
        &self.items[self.range(cell)]
    }

    /// Dimensions that can be asked, with their values, in the order that [`InContext::because`] counts in.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The name of a dimension.
    pub fn dimension(&self, number: usize) -> &str {
        self.dimensions.get(number).map_or("", |dimension| &dimension.name)
    }

    /// The value whose cell speaks for an asked dimension: the asked one or, where its cell was too thin, the nearest above it in a path.
    pub fn value<'a>(&self, asked: &'a Circumstances, number: usize) -> Option<&'a str> {
        let (_, values) = self.numbers.get(number)?;
        let mut value = asked.get(self.dimension(number)).map(String::as_str)?;
        while values.get(value).is_none() {
            value = parent(value)?;
        }
        Some(value)
    }

    /// When it is: night 0 to 6, morning to 11, midday to 15, afternoon to 18, evening to 24, weekday or weekend, by the clock that
    /// milliseconds since 1970 are read on, for example `weekday morning`.
    pub fn daypart(millis: i64) -> &'static str {
        DAYPARTS[daypart_code(millis) as usize]
    }

    /// After so many days without an event a shopper is lapsed; for [`visitor_state`].
    pub fn lapsed_days(&self) -> f32 {
        self.settings.lapsed_days
    }

    fn asked(&self, asked: &Circumstances) -> Vec<Asked<'_>> {
        let cell = |dimension: usize| {
            let (first, values) = &self.numbers[dimension];
            let number = first + values.get(self.value(asked, dimension)?)? as usize;
            let range = self.range(number);
            Some(Asked {
                dimension,
                items: &self.items[range.clone()],
                lifts: &self.lifts[range.clone()],
                shoppers: &self.shoppers[range],
                rest: self.rests[number],
            })
        };
        (0..self.dimensions.len()).filter_map(cell).collect()
    }

    /// The best `k` eligible items under some circumstances, best first, ties by row: exactly min(k, eligible). Dimensions and values that
    /// are not known count for nothing; where none is known this is the order of best sellers. O(entries of the asked cells + k).
    pub fn ranked(&self, asked: &Circumstances, popular: &PopularModel, k: usize, eligible: Eligible) -> Vec<InContext> {
        let cells = self.asked(asked);
        let gamma = self.settings.agreement;
        let rest: f32 = cells.iter().map(|cell| cell.rest).sum();
        let mut top = TopK::new(k);
        let mut held: Vec<u32> = Vec::with_capacity(cells.iter().map(|cell| cell.items.len()).sum());
        let mut at = vec![0usize; cells.len()];
        while let Some(item) = cells.iter().zip(&at).filter_map(|(cell, &at)| cell.items.get(at).copied()).min() {
            let mut lift = rest;
            for (cell, at) in cells.iter().zip(&mut at) {
                if cell.items.get(*at) == Some(&item) {
                    lift += cell.lifts[*at] - cell.rest;
                    *at += 1;
                }
            }
            held.push(item);
            if eligible.contains(item) {
                top.offer(item, popular.sales(item) * (gamma * lift).exp());
            }
        }
        // All others stand in the shop's own order: of these no more than k can be among the best.
        let others = popular.ranked(eligible).filter(|item| held.binary_search(item).is_err()).take(k);
        let constant = (gamma * rest).exp();
        others.for_each(|item| top.offer(item, popular.sales(item) * constant));
        top.into_sorted()
            .into_iter()
            .map(|scored| {
                let (because, lift) = self.reason(&cells, scored.item);
                InContext { item: scored.item, score: scored.score, because, lift }
            })
            .collect()
    }

    /// The asked dimension that lifts an item most, if it is to be told.
    fn reason(&self, cells: &[Asked], item: u32) -> (Option<usize>, f32) {
        let mut best = (None, TOLD.ln());
        for cell in cells {
            let Ok(at) = cell.items.binary_search(&item) else { continue };
            let told = cell.shoppers[at] >= self.settings.min_shoppers;
            if told && (cell.lifts[at] > best.1 || (best.0.is_none() && cell.lifts[at] == best.1)) {
                best = (Some(cell.dimension), cell.lifts[at]);
            }
        }
        (best.0, if best.0.is_some() { best.1.exp() } else { 1.0 })
    }

    /// What the circumstances say for or against each item: ln Π (p(j|c) / p(j))^γ, 0 where nothing is known.
    /// O(items · dimensions · log(entries)).
    pub fn prior(&self, asked: &Circumstances, items: &[u32]) -> Vec<f32> {
        let cells = self.asked(asked);
        let lift = |cell: &Asked, item: u32| cell.items.binary_search(&item).map_or(cell.rest, |at| cell.lifts[at]);
        items.iter().map(|&item| self.settings.agreement * cells.iter().map(|cell| lift(cell, item)).sum::<f32>()).collect()
    }
}

fn daypart_code(millis: i64) -> u32 {
    let part = match millis.rem_euclid(DAY) / 3_600_000 {
        0..6 => 0,
        6..11 => 1,
        11..15 => 2,
        15..18 => 3,
        _ => 4,
    };
    // 1970 began on a Thursday.
    let weekend = (millis.div_euclid(DAY) + 3).rem_euclid(7) >= 5;
    part + if weekend { 5 } else { 0 }
}
