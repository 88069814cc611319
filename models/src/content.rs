//! A place for items that nobody has touched yet, by what is known of them: category, brand, title, price.
//!
//! Gantner, Drumond, Freudenthaler, Rendle and Schmidt-Thieme, "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations"
//! (ICDM 2010), once for each shape of model. Vectors: a ridge regression from features to the vectors of the items that shoppers know,
//! (FᵀWF + λI) B = FᵀWV by conjugate gradients (their section 4.2, in closed form's stead), and a new item's vector is its row of F B. Item-item
//! rows: the rows and columns of the items nearest in content, averaged (their section 4.1), and these items themselves; how much the
//! two count is fitted on items whose weights are known. What was learned from shoppers stays as it was, to the bit.

use crate::Result;
use crate::bitmap::Bitmap;
use crate::index::Eligible;
use crate::kernels::product;
use crate::neighbours::{Neighbours, Sums};
use crate::recommend::{History, Recommend, Training, hyperparameter};
use crate::top_k::{Scored, TopK};
use aisle_data::{Catalog, Csr, EventLog, cut};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Hyperparameters of items without events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Content {
    /// Of what shoppers are shown, at most this share is new items, 0 to 1: what content gave is scaled down until it is so for a sample of
    /// shoppers. 0 = items without events are never recommended by taste.
    pub share: f32,
    /// λ above 0 of the regression, in items.
    pub regularization: f32,
    /// Shoppers of an item at which it counts half in the regression; 0 or more.
    pub known: f32,
    /// Items nearest in content that item-item weights are taken from, 1 to 1000.
    pub neighbours: usize,
    /// Days after its first event during which an item that `clean.min_users_per_item` leaves out still counts as new; 0 or more.
    pub days: f32,
    /// Further columns of the items file that say what an item is.
    pub attributes: Vec<String>,
}

impl Default for Content {
    fn default() -> Self {
        Self { share: 0.05, regularization: 3.0, known: 50.0, neighbours: 5, days: 28.0, attributes: Vec::new() }
    }
}

/// What became of items without events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Introduced {
    /// How many have a place by their content.
    pub items: usize,
    /// What their scores were multiplied by.
    pub scale: f32,
}

impl Content {
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`].
    pub fn validate(&self) -> Result<()> {
        hyperparameter("share", self.share, 0.0..=1.0)?;
        hyperparameter("days", self.days, 0.0..=f32::MAX)?;
        hyperparameter("regularization", self.regularization, 1e-3..=f32::MAX)?;
        hyperparameter("known", self.known, 0.0..=f32::MAX)?;
        hyperparameter("neighbours", self.neighbours, 1..=1000)
    }

    /// Gives new items a place in a fitted model: those that it did not learn about, and that `log`, from which the training data were
    /// cleaned, does not know either or since a few days.
    ///
    /// # Errors
    /// As [`Content::validate`].
    pub fn introduce(&self, training: &Training, log: &EventLog, model: &mut dyn Recommend) -> Result<Introduced> {
        self.validate()?;
        let by_item = &training.interactions.by_item;
        let old = old(log, self.days);
        let users = |item: u32| by_item.columns(item as usize).len();
        let Some(newcomers) = Newcomers::of(self, training.catalog, &users, &|item| !old.contains(item)) else {
            return Ok(Introduced { items: 0, scale: 1.0 });
        };
        let by_user = &training.interactions.by_user;
        let of = |user: usize| {
            let (items, values) = by_user.row(user);
            History { items, values, user: (!training.interactions.rows_are_orders).then_some(user as u32) }
        };
        let histories: Vec<History> = (0..by_user.rows()).map(of).filter(|history| !history.items.is_empty()).collect();
        let scale = newcomers.enter(&histories, (training.interactions.items(), 1.0), model);
        Ok(Introduced { items: newcomers.items.iter().filter(|&&item| model.knows(item)).count(), scale })
    }
}

/// Fewest priced items of a category whose prices are cut into steps.
const PRICED: usize = 20;
/// Price steps of a category.
const STEPS: usize = 5;
/// Letters of a stem.
const STEM: usize = 5;
/// A feature that more than one in so many items have finds no neighbours: it says too little for what it costs.
const COMMON: usize = 8;
/// Columns solved for at once.
const WIDTH: usize = 64;
/// Share of the first residual, squared, at which the conjugate gradients end: a thousandth of a vector.
const ENOUGH: f64 = 1e-6;
/// Most of their steps.
const ITERATIONS: usize = 40;
/// Items whose known weights say how far an average of neighbours can be trusted.
const SAMPLE: usize = 2000;
/// Shoppers whose answers say how much new items must be scaled down, and the answers of each, at most.
const SHOPPERS: usize = 500;
const ANSWERS: usize = 20;
/// New items are never scaled down more than this: among themselves they must stay in order.
const MOST_MODEST: f32 = 0.01;
/// Weights kept into and out of an item without events.
const KEPT: usize = 50;

/// One thing that may be known of an item.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Category,
    Brand,
    BrandIn,
    Word,
    Stem,
    Price,
    Attribute(usize),
}

/// What is known of each item: one row an item, ones where it has a feature. Features that no known item has, or only one item at all, teach
/// nothing and are left out.
pub struct ContentFeatures {
    matrix: Csr,
    count: usize,
}

impl ContentFeatures {
    /// Of a catalogue; `known` says whether an item has events. O(text of the catalogue).
    pub fn of(catalog: &Catalog, attributes: &[String], known: impl Fn(u32) -> bool) -> Self {
        let mut holders: BTreeMap<(Kind, String), Vec<u32>> = BTreeMap::new();
        let mut hold = |kind: Kind, text: String, item: u32| {
            let items = holders.entry((kind, text)).or_default();
            if items.last() != Some(&item) {
                items.push(item);
            }
        };
        let steps = price_steps(catalog);
        for item in 0..catalog.len() as u32 {
            let path = catalog.category.get(item);
            if let Some(path) = path {
                let levels = path.matches(" > ").count() + 1;
                (1..=levels).for_each(|level| hold(Kind::Category, cut(path, level).into(), item));
            }
            if let Some(brand) = catalog.brand.get(item) {
                hold(Kind::Brand, brand.into(), item);
                path.into_iter().for_each(|path| hold(Kind::BrandIn, format!("{brand} > {path}"), item));
            }
            for word in catalog.title.get(item).into_iter().flat_map(words) {
                let stem: String = word.chars().take(STEM).collect();
                if stem.len() < word.len() {
                    hold(Kind::Stem, stem, item);
                }
                hold(Kind::Word, word, item);
            }
            if let Some((path, step)) = &steps[item as usize] {
                hold(Kind::Price, format!("{path} > {step}"), item);
            }
            for (number, (name, labels)) in catalog.attributes.iter().enumerate() {
                let text = labels.get(item).filter(|_| attributes.contains(name));
                text.into_iter().for_each(|text| hold(Kind::Attribute(number), text.into(), item));
            }
        }
        let mut triples = Vec::new();
        let mut count = 0;
        for items in holders.into_values() {
            if items.len() > 1 && items.len() < catalog.len() && items.iter().any(|&item| known(item)) {
                triples.extend(items.into_iter().map(|item| (item, count, 1.0)));
                count += 1;
            }
        }
        Self { matrix: Csr::from_triples(catalog.len(), triples), count: count as usize }
    }

    /// Numbers of an item's features, ascending.
    pub fn item(&self, item: u32) -> &[u32] {
        self.matrix.columns(item as usize)
    }

    /// The number of features.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is known of any item.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The words of a title, lower case.
fn words(title: &str) -> impl Iterator<Item = String> + '_ {
    title.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1).map(str::to_lowercase)
}

/// For each priced item the deepest of its categories that holds enough prices, and its fifth among them.
fn price_steps(catalog: &Catalog) -> Vec<Option<(String, usize)>> {
    let paths = |item: u32| {
        let path = catalog.category.get(item).unwrap_or_default();
        let levels = if path.is_empty() { 0 } else { path.matches(" > ").count() + 1 };
        (1..=levels).rev().map(move |level| cut(path, level)).chain([""])
    };
    let mut prices: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let priced = |item: &u32| catalog.price[*item as usize].is_finite();
    for item in (0..catalog.len() as u32).filter(priced) {
        paths(item).for_each(|path| prices.entry(path).or_default().push(catalog.price[item as usize]));
    }
    prices.values_mut().for_each(|prices| prices.sort_by(f32::total_cmp));
    let step = |item: u32| {
        let path = paths(item).find(|path| prices.get(path).is_some_and(|prices| prices.len() >= PRICED))?;
        let prices = prices.get(path)?;
        let below = prices.partition_point(|&price| price < catalog.price[item as usize]);
        Some((path.to_string(), below * STEPS / prices.len()))
    };
    (0..catalog.len() as u32).map(|item| priced(&item).then(|| step(item)).flatten()).collect()
}

/// Likeness in content: the cosine of rows of features, each weighted ln(1 + N / n), n of N known items having it.
pub struct ContentCosine {
    features: ContentFeatures,
    by_feature: Csr,
    rarity: Vec<f32>,
    lengths: Vec<f32>,
    common: usize,
}

impl ContentCosine {
    /// `known`: the items that can be found, ascending.
    pub fn new(features: ContentFeatures, known: &[u32]) -> Self {
        let mut triples = Vec::new();
        known.iter().for_each(|&item| triples.extend(features.item(item).iter().map(|&feature| (feature, item, 1.0))));
        let by_feature = Csr::from_triples(features.len(), triples);
        let holders = |feature: usize| by_feature.columns(feature).len().max(1) as f32;
        let rarity: Vec<f32> = (0..features.len()).map(|feature| (known.len() as f32 / holders(feature)).ln_1p()).collect();
        let square = |item: u32| features.item(item).iter().map(|&feature| rarity[feature as usize].powi(2)).sum::<f32>();
        let lengths = (0..features.matrix.rows() as u32).map(|item| square(item).sqrt()).collect();
        Self { by_feature, rarity, lengths, common: (known.len() / COMMON).max(PRICED), features }
    }

    /// The nearest known items of an item, itself left out, best first; scores from 0 to 1.
    fn near(&self, item: u32, k: usize, sums: &mut Sums) -> Vec<Scored> {
        sums.begin(self.lengths.len());
        for &feature in self.features.item(item) {
            let holders = self.by_feature.columns(feature as usize);
            if holders.len() <= self.common {
                let part = self.rarity[feature as usize].powi(2);
                holders.iter().for_each(|&other| sums.add(other, part));
            }
        }
        let mut top = TopK::new(k);
        for &other in sums.touched.iter().filter(|&&other| other != item) {
            top.offer(other, sums.values[other as usize] / (self.lengths[other as usize] * self.lengths[item as usize]));
        }
        top.into_sorted()
    }

    /// How like the items of a history, weighted, each of `items` is: cosines with the sum of the history's rows of length 1.
    pub fn profile(&self, history: (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let mut profile = vec![0f32; self.features.len()];
        for (&item, &value) in history.0.iter().zip(history.1) {
            for &feature in self.features.item(item) {
                profile[feature as usize] += value * self.rarity[feature as usize] / self.lengths[item as usize];
            }
        }
        let like = |&item: &u32| {
            let parts = self.features.item(item).iter().map(|&feature| profile[feature as usize] * self.rarity[feature as usize]);
            parts.sum::<f32>() / self.lengths[item as usize].max(f32::MIN_POSITIVE)
        };
        items.iter().map(like).collect()
    }
}

/// Items without events of which something is known, and what the others teach about them.
pub struct Newcomers<'a> {
    /// Ascending.
    items: Vec<u32>,
    /// Items with events, ascending.
    known: Vec<u32>,
    /// √ of how much each known item counts.
    weights: Vec<f32>,
    cosine: ContentCosine,
    content: &'a Content,
    near: OnceLock<Vec<Vec<Scored>>>,
}

impl<'a> Newcomers<'a> {
    /// Of a catalogue, `users` shoppers having chosen each item. `None` if content is switched off, or if no item without shoppers is `fresh` and
    /// has something in common with others. O(text of the catalogue).
    pub(crate) fn of(
        content: &'a Content,
        catalog: &Catalog,
        users: &dyn Fn(u32) -> usize,
        fresh: &dyn Fn(u32) -> bool,
    ) -> Option<Self> {
        let rows = catalog.len() as u32;
        let known: Vec<u32> = (0..rows).filter(|&item| users(item) > 0).collect();
        if content.share == 0.0 || known.is_empty() || known.len() == rows as usize {
            return None;
        }
        let features = ContentFeatures::of(catalog, &content.attributes, |item| users(item) > 0);
        let new = |&item: &u32| users(item) == 0 && fresh(item) && !features.item(item).is_empty();
        let items: Vec<u32> = (0..rows).filter(new).collect();
        if items.is_empty() {
            return None;
        }
        let weight = |&item: &u32| (users(item) as f32 / (users(item) as f32 + content.known)).sqrt();
        let weights = known.iter().map(weight).collect();
        let cosine = ContentCosine::new(features, &known);
        Some(Self { items, known, weights, cosine, content, near: OnceLock::new() })
    }

    /// Gives the items a place in a model of so many items, and scales them down as the answers to some histories ask for, but to `most` at
    /// most. Returns the scale.
    pub(crate) fn enter(&self, histories: &[History], (items, most): (usize, f32), model: &mut dyn Recommend) -> f32 {
        model.introduce(self);
        let scale = self.modesty(histories, items, model).min(most);
        if scale < 1.0 {
            model.soften(scale);
        }
        scale
    }

    /// The items, ascending.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Rows of a table of `depth` numbers an item for the newcomers, from those of the known items. Deterministic at any number of threads.
    /// O(iterations · features of all items · depth).
    pub(crate) fn vectors(&self, values: &[f32], depth: usize) -> Vec<f32> {
        let features = &self.cosine.features;
        // The last column is one for every item.
        let rows = |items: &[u32], weights: &dyn Fn(usize) -> f32| {
            let mut csr = Csr { offsets: vec![0], ..Csr::default() };
            for (at, &item) in items.iter().enumerate() {
                csr.indices.extend_from_slice(features.item(item));
                csr.indices.push(features.len() as u32);
                csr.values.resize(csr.indices.len(), weights(at));
                csr.offsets.push(csr.indices.len());
            }
            csr
        };
        let system = rows(&self.known, &|at| self.weights[at]);
        let by_feature = system.transposed(features.len() + 1);
        let asked = rows(&self.items, &|_| 1.0);
        let mut found = vec![0f32; self.items.len() * depth];
        for from in (0..depth).step_by(WIDTH) {
            let width = WIDTH.min(depth - from);
            let mut targets = vec![0f32; self.known.len() * width];
            for ((target, &item), weight) in targets.chunks_mut(width).zip(&self.known).zip(&self.weights) {
                let row = &values[item as usize * depth + from..][..width];
                target.iter_mut().zip(row).for_each(|(target, value)| *target = weight * value);
            }
            let solved = ridge((&system, &by_feature), &targets, width, self.content.regularization);
            let predicted = product(&asked, &solved, width);
            for (row, predicted) in found.chunks_mut(depth).zip(predicted.chunks(width)) {
                row[from..from + width].copy_from_slice(predicted);
            }
        }
        found
    }

    /// Writes the rows of [`Newcomers::vectors`] into a copy of a table.
    pub(crate) fn placed(&self, values: &[f32], depth: usize) -> Vec<f32> {
        let mut table = values.to_vec();
        for (row, &item) in self.vectors(values, depth).chunks(depth).zip(&self.items) {
            table[item as usize * depth..][..depth].copy_from_slice(row);
        }
        table
    }

    /// What scores of new items are to be multiplied by, at most 1, so that no more than their share of the answers of a sample of shoppers
    /// is theirs.
    fn modesty(&self, histories: &[History], items: usize, model: &dyn Recommend) -> f32 {
        let step = histories.len().div_ceil(SHOPPERS).max(1);
        let histories: Vec<History> = histories.iter().copied().step_by(step).collect();
        let k = (self.known.len() / 10).clamp(1, ANSWERS);
        let answers = |chosen: &[u32]| {
            let allowed = Bitmap::of(items, |item| chosen.binary_search(&item).is_ok());
            let eligible: Vec<Eligible> = histories.iter().map(|history| Eligible::without(&allowed, history.items)).collect();
            model.recommend_batch(&histories, k, &eligible)
        };
        // The n-th best new item is among the k best once its score, scaled, is above that of the (k − n + 1)-th best known one.
        let mut enough: Vec<f32> = Vec::new();
        for (known, new) in answers(&self.known).iter().zip(answers(&self.items)) {
            for (rank, new) in new.iter().enumerate().filter(|(_, new)| new.score > 0.0) {
                let rival = known.get(k - 1 - rank).map_or(0.0, |known| known.score);
                enough.push((rival / new.score).max(0.0));
            }
        }
        let admitted = (self.content.share * (k * histories.len()) as f32) as usize;
        enough.sort_by(f32::total_cmp);
        enough.get(admitted).map_or(1.0, |&modesty| modesty.clamp(MOST_MODEST, 1.0))
    }

    fn nearest(&self, items: &[u32]) -> Vec<Vec<Scored>> {
        items.par_iter().map_init(Sums::default, |sums, &item| self.cosine.near(item, self.content.neighbours, sums)).collect()
    }

    /// Item-item rows with those of the newcomers, and with their places in the others'.
    pub(crate) fn rows(&self, neighbours: &Neighbours) -> Neighbours {
        let items = neighbours.offsets.len().saturating_sub(1);
        let outward = Csr {
            offsets: neighbours.offsets.iter().map(|&at| at as usize).collect(),
            indices: neighbours.items.to_vec(),
            values: neighbours.scores.to_vec(),
        };
        let inward = outward.transposed(items);
        let near = self.near.get_or_init(|| self.nearest(&self.items));
        let step = self.known.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<u32> = self.known.iter().copied().step_by(step).collect();
        let near_sample = self.nearest(&sample);
        let predict = |rows: &Csr| -> Vec<Vec<Scored>> {
            let trust = trust(rows, &sample, &near_sample);
            let blend = |sums: &mut Sums, near: &Vec<Scored>| average(rows, near, trust, sums);
            near.par_iter().map_init(Sums::default, blend).collect()
        };
        let (into, out) = (predict(&inward), predict(&outward));
        let mut all: Vec<Vec<Scored>> = (0..items as u32).map(|item| neighbours.row(item).collect()).collect();
        for (&item, row) in self.items.iter().zip(out) {
            all[item as usize] = row;
        }
        for (&item, column) in self.items.iter().zip(into) {
            column.iter().for_each(|source| all[source.item as usize].push(Scored { item, score: source.score }));
        }
        all.par_iter_mut().for_each(|row| row.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item))));
        Neighbours::from_rows(all)
    }
}

/// Items that a log knows, and not only since its last days.
fn old(log: &EventLog, days: f32) -> Bitmap {
    let fresh = log.span().map_or(i64::MAX, |(_, last)| last - (f64::from(days) * 86_400_000.0) as i64);
    let mut old = Bitmap::filled(log.items.len(), false);
    (0..log.len()).filter(|&event| log.time_of(event) < fresh).for_each(|event| old.insert(log.item[event]));
    old
}

/// (FᵀF + λI) X = FᵀT for all columns of T at once, by conjugate gradients preconditioned with the diagonal (Golub and Van Loan, "Matrix
/// Computations", 4th edition, algorithm 11.5.1). `matrix` is F, by row and by column.
fn ridge((by_row, by_column): (&Csr, &Csr), targets: &[f32], width: usize, penalty: f32) -> Vec<f32> {
    let rows = by_column.rows();
    let diagonal: Vec<f32> =
        (0..rows).map(|row| penalty + by_column.row(row).1.iter().map(|value| value * value).sum::<f32>()).collect();
    let scaled = |residual: &[f32]| -> Vec<f32> {
        residual.chunks(width).zip(&diagonal).flat_map(|(row, &scale)| row.iter().map(move |value| value / scale)).collect()
    };
    let columns = |a: &[f32], b: &[f32]| {
        let mut sums = vec![0f64; width];
        for (a, b) in a.chunks(width).zip(b.chunks(width)) {
            sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += f64::from(*a) * f64::from(*b));
        }
        sums
    };
    let add = |to: &mut [f32], from: &[f32], scales: &[f32]| {
        to.chunks_mut(width).zip(from.chunks(width)).for_each(|(to, from)| {
            to.iter_mut().zip(from).zip(scales).for_each(|((to, from), scale)| *to += scale * from);
        });
    };
    let share = |above: &[f64], below: &[f64]| -> Vec<f32> {
        above.iter().zip(below).map(|(above, below)| if *below > 0.0 { (above / below) as f32 } else { 0.0 }).collect()
    };
    let mut solution = vec![0f32; rows * width];
    let mut residual = product(by_column, targets, width);
    let mut direction = scaled(&residual);
    let mut steep = columns(&residual, &direction);
    let enough: Vec<f64> = steep.iter().map(|first| first * ENOUGH).collect();
    for _ in 0..ITERATIONS {
        if steep.iter().zip(&enough).all(|(now, enough)| now <= enough) {
            break;
        }
        let mut image = product(by_column, &product(by_row, &direction, width), width);
        add(&mut image, &direction, &vec![penalty; width]);
        let far = share(&steep, &columns(&direction, &image));
        add(&mut solution, &direction, &far);
        add(&mut residual, &image, &far.iter().map(|far| -far).collect::<Vec<_>>());
        let next = scaled(&residual);
        let steeper = columns(&residual, &next);
        let keep = share(&steeper, &steep);
        direction.chunks_mut(width).zip(next.chunks(width)).for_each(|(direction, next)| {
            direction.iter_mut().zip(next).zip(&keep).for_each(|((value, next), keep)| *value = next + keep * *value);
        });
        steep = steeper;
    }
    solution
}

/// Adds up the rows of the nearest, as a weighted mean, into `sums`.
fn mean(rows: &Csr, near: &[Scored], sums: &mut Sums) {
    sums.begin(rows.rows());
    let total: f32 = near.iter().map(|near| near.score).sum::<f32>().max(f32::MIN_POSITIVE);
    for near in near {
        let (items, values) = rows.row(near.item as usize);
        items.iter().zip(values).for_each(|(&item, &value)| sums.add(item, near.score / total * value));
    }
}

/// How much of the mean of the nearest items' rows, and of the nearest themselves by likeness, makes a row: least squares on items whose rows
/// are known.
fn trust(rows: &Csr, sample: &[u32], near: &[Vec<Scored>]) -> [f32; 2] {
    let mut sums = Sums::default();
    // Of (mean, likeness): squares, product, and products with the truth.
    let (mut aa, mut bb, mut ab, mut at, mut bt) = (0f64, 0f64, 0f64, 0f64, 0f64);
    for (&item, near) in sample.iter().zip(near) {
        mean(rows, near, &mut sums);
        let value = |sums: &Sums, other: u32| f64::from(sums.get(other).unwrap_or(0.0));
        for &other in sums.touched.iter().filter(|&&other| other != item) {
            aa += value(&sums, other).powi(2);
        }
        let (others, truths) = rows.row(item as usize);
        others.iter().zip(truths).for_each(|(&other, &truth)| at += value(&sums, other) * f64::from(truth));
        for near in near {
            let likeness = f64::from(near.score);
            bb += likeness * likeness;
            ab += likeness * value(&sums, near.item);
            let truth = others.iter().position(|&other| other == near.item).map_or(0.0, |place| f64::from(truths[place]));
            bt += likeness * truth;
        }
    }
    let determinant = aa * bb - ab * ab;
    if determinant <= 1e-9 * aa * bb {
        return [0.0, if bb > 0.0 { (bt / bb).max(0.0) as f32 } else { 0.0 }];
    }
    let of_mean = ((at * bb - bt * ab) / determinant).clamp(0.0, 1.0);
    [of_mean as f32, ((bt - of_mean * ab) / bb).max(0.0) as f32]
}

/// A row from the nearest items: the largest weights of a mean of their rows and themselves.
fn average(rows: &Csr, near: &[Scored], [of_mean, of_likeness]: [f32; 2], sums: &mut Sums) -> Vec<Scored> {
    mean(rows, near, sums);
    for item in &sums.touched {
        sums.values[*item as usize] *= of_mean;
    }
    near.iter().for_each(|near| sums.add(near.item, of_likeness * near.score));
    let mut top = TopK::new(KEPT);
    sums.touched.iter().for_each(|&item| top.offer(item, sums.values[item as usize].abs()));
    let kept = top.into_sorted().into_iter().filter(|scored| scored.score > 0.0);
    kept.map(|scored| Scored { item: scored.item, score: sums.values[scored.item as usize] }).collect()
}
