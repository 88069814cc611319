//! One immutable exported version: everything an answer needs, written once, verified at every load.

use crate::answer::Answer;
use crate::apart::apart;
use crate::bitmap::Bitmap;
use crate::buy_again::{self, BuyAgainModel};
use crate::complements::ComplementsModel;
use crate::condition::{Condition, ConditionError};
use crate::content::{Content, Newcomers};
use crate::context::ContextModel;
use crate::cross_sell::{self, CrossSellModel};
use crate::facets::Facets;
use crate::groups::Groups;
use crate::habits::Habits;
use crate::index::Eligible;
use crate::lists::Retrieval;
use crate::manifest::{Counts, FORMAT, FileEntry, Golden, Hyperparameters, Lineage, Manifest};
use crate::measures::Measures;
use crate::popular::PopularModel;
use crate::questions::{ForAgain, ForCart, ForItem, ForSession, ForUser};
use crate::recommend::{Fit, History, Recommend, Training, Watch};
use crate::rules::{Compendium, RuleSet};
use crate::segments::{SegmentList, SegmentsModel};
use crate::session_knn::SessionModel;
use crate::shelf::{ItemChanges, Shelf};
use crate::tables::{write_items, write_users};
use crate::upsell::{self, UpsellModel};
use crate::weights::{self, Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Catalog, Dataset, EventLog, EventRole, IdMap, Interactions, Labels, NONE, Orders, Split, day_of};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

const WEIGHTS: &str = "weights.safetensors";
const ITEMS: &str = "items.parquet";
const USERS: &str = "users.parquet";
const MANIFEST: &str = "manifest.json";
/// Conditions of requests whose items are remembered.
const REMEMBERED: usize = 256;
/// Shoppers that retrieval is measured on.
const SAMPLE: usize = 1000;
/// Longest manifest that is read.
const MAX_MANIFEST: u64 = 16 << 20;

/// Rows of items, one row a user.
#[derive(Default)]
struct UserRows {
    offsets: Array<u64>,
    items: Array<u32>,
}

impl UserRows {
    fn range(&self, user: u32) -> std::ops::Range<usize> {
        let at = |row: usize| self.offsets.get(row).map_or(self.items.len(), |&position| position as usize);
        at(user as usize)..at(user as usize + 1)
    }

    /// A user's items, and what `values` has for each.
    fn with<'a>(&'a self, values: &'a [f32], user: u32) -> (&'a [u32], &'a [f32]) {
        let range = self.range(user);
        (&self.items[range.clone()], &values[range])
    }
}

/// A version in memory.
pub struct Bundle {
    /// Its name in the registry; empty before it is published.
    pub version: String,
    /// What it is.
    pub manifest: Manifest,
    /// Shoppers.
    pub users: Arc<IdMap>,
    /// Items.
    pub items: Arc<IdMap>,
    /// What is known of the items.
    pub catalog: Arc<Catalog>,
    user_attributes: Vec<(String, Labels)>,
    personal: Box<dyn Recommend>,
    popular: PopularModel,
    cross_sell: CrossSellModel,
    habits: Habits,
    upsell: UpsellModel,
    session: SessionModel,
    buy_again: BuyAgainModel,
    context: ContextModel,
    segments: SegmentsModel,
    history: UserRows,
    history_values: Array<f32>,
    bought: UserRows,
    /// Distinct users (or orders) of each item.
    item_users: Array<u32>,
    shelf: RwLock<Arc<Shelf>>,
    rules: RwLock<Arc<Compendium>>,
    /// The items of conditions that requests sent lately.
    chosen: RwLock<BTreeMap<String, Arc<Bitmap>>>,
    trained: Bitmap,
    /// Of these, what somebody touched.
    touched: Bitmap,
    of_catalog: Arc<OfCatalog>,
}

/// What follows from a catalogue alone.
#[derive(Default)]
struct OfCatalog {
    facets: Facets,
    groups: Groups,
    measures: Measures,
    /// The middle price of each item's category.
    middle_prices: Vec<f32>,
}

impl OfCatalog {
    fn of(catalog: &Catalog, category_levels: usize) -> Self {
        let groups = Groups::of(catalog, category_levels);
        Self {
            facets: Facets::of(catalog),
            measures: Measures::of(catalog),
            middle_prices: middle_prices(catalog, &groups),
            groups,
        }
    }
}

impl Bundle {
    /// Fits every model of a version. The catalogue's missing prices are filled from the log.
    ///
    /// # Errors
    /// What the fits return.
    pub fn fit(data: &Dataset, config: &aisle_data::DataConfig, parameters: Hyperparameters, watch: &dyn Watch) -> Result<Self> {
        let log = data.log.with_min_users(config.clean.min_users_per_item);
        let mut catalog = data.catalog.clone();
        Dataset::fill_prices(&mut catalog, &log);
        let interactions = Interactions::of(&log);
        let orders = Orders::of(&log);
        let training =
            Training { log: &log, interactions: &interactions, orders: &orders, catalog: &catalog, users: &data.user_attributes };
        parameters.segments.check(training.users)?;
        // The manifest holds what was fitted, not what was left to choose.
        let parameters = Hyperparameters { personal: parameters.personal.resolved(&training, watch)?, ..parameters };
        let days = [parameters.cross_sell.learn_days, parameters.upsell.learn_days, parameters.buy_again.learn_days];
        let [carts, steps, reorders] = days.map(|days| days > 0.0);
        let (carts, steps, reorders) = match cut(&log, days.into_iter().fold(0.0, f32::max)) {
            None => (None, None, None),
            Some((earlier, later)) => {
                let interactions = Interactions::of(&earlier);
                let orders = Orders::of(&earlier);
                let earlier = Training { log: &earlier, interactions: &interactions, orders: &orders, ..training };
                // What nobody bought yet teaches nothing.
                let content = Content { share: 0.0, ..parameters.content.clone() };
                let past = Self::of(data, config, &earlier, Hyperparameters { content, ..parameters.clone() }, watch)?;
                let later = Orders::of(&later);
                let carts = if carts { cross_sell::learn(&past, &later, watch) } else { None };
                let steps = if steps { upsell::learn(&past, &later) } else { None };
                let reorders = if reorders { buy_again::learn(&past, &later) } else { None };
                (carts, steps, reorders)
            }
        };
        let mut bundle = Self::of(data, config, &training, parameters, watch)?;
        bundle.cross_sell = bundle.cross_sell.with_weights(carts);
        bundle.upsell = bundle.upsell.with_weights(steps);
        bundle.buy_again = bundle.buy_again.with_weights(reorders);
        bundle.segments = bundle.manifest.hyperparameters.segments.fit(&training, bundle.personal(), watch)?;
        bundle.manifest.segments = bundle.segments.list().clone();
        bundle.partition(watch);
        bundle.store_neighbours(watch);
        Ok(bundle)
    }

    /// Finds the neighbours of the best sellers.
    fn store_neighbours(&mut self, watch: &dyn Watch) {
        let all = Bitmap::filled(self.items.len(), true);
        let sellers: Vec<u32> = self.popular.ranked(Eligible::new(&all)).collect();
        self.personal.store_neighbours(&sellers);
        watch.step("neighbours", 1, 1);
    }

    /// Lets the personal model look at lists of its items where that pays, measured on shoppers.
    fn partition(&mut self, watch: &dyn Watch) {
        let shoppers = self.history.offsets.len().saturating_sub(1);
        let step = shoppers.div_ceil(SAMPLE).max(1);
        let histories = (0..shoppers as u32).step_by(step).map(|user| {
            let (items, values) = self.history.with(&self.history_values, user);
            History { items, values, user: Some(user) }
        });
        let histories: Vec<History> = histories.filter(|history| !history.items.is_empty()).collect();
        let measured = self.personal.partition(&histories);
        if let Some(Retrieval { recall, share, .. }) = measured.as_ref().filter(|measured| !measured.pays()) {
            let (recall, share) = (100.0 * recall, 100.0 * share);
            watch.say(&format!(
                "exact search stays: lists of items would find {recall:.1} % of the best and read {share:.0} % of the items with a vector"
            ));
        }
        self.manifest.retrieval = measured.filter(Retrieval::pays);
    }

    /// Fits every model to one part of the data; how their evidence weighs is not learned.
    fn of(
        data: &Dataset,
        config: &aisle_data::DataConfig,
        training: &Training,
        parameters: Hyperparameters,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let &Training { log, interactions, orders, catalog, .. } = training;
        let mut personal = parameters.personal.fit(training, watch)?;
        let cold = parameters.content.introduce(training, &data.log, personal.as_mut())?;
        let popular = parameters.popular.fit(training, &())?;
        let complements = parameters.cross_sell.fit(training, watch)?;
        let upsell = parameters.upsell.fit(training, watch)?;
        let session = parameters.session.fit(training, watch)?;
        parameters.buy_again.validate()?;
        let buy_again = BuyAgainModel::new(parameters.buy_again.clone());
        let context = parameters.context.fit(&parameters.popular, training, watch)?;

        let span = log.span();
        let counts = Counts {
            users: log.users.len(),
            items: log.items.len(),
            rows: interactions.users(),
            interactions: interactions.nnz(),
            orders: orders.len(),
            cold_items: cold.items,
            cold_scale: cold.scale,
            complement_pairs: complements.pairs(),
            suppressed_pairs: complements.suppressed,
        };
        let manifest = Manifest {
            format: FORMAT,
            model: String::new(),
            algorithm: parameters.personal.algorithm().into(),
            hyperparameters: parameters,
            lineage: Lineage {
                inputs: data.inputs.clone(),
                rows: data.report.rows,
                events: log.len() as u64,
                first_day: span.map(|(first, _)| day_of(first)),
                last_day: span.map(|(_, last)| day_of(last)),
                config: config.clone(),
            },
            counts,
            context: context.dimensions().to_vec(),
            metrics: BTreeMap::new(),
            segments: SegmentList::default(),
            retrieval: None,
            memory_bytes: 0,
            created_by: format!("aisle {}", env!("CARGO_PKG_VERSION")),
            files: Vec::new(),
            golden: Vec::new(),
        };
        // Rows of orders are not users: a log without users has no histories to store.
        let named = !interactions.rows_are_orders;
        let by_user = if named {
            interactions.by_user.clone()
        } else {
            aisle_data::Csr { offsets: vec![0; log.users.len() + 1], ..Default::default() }
        };
        let mut purchases: Vec<(u32, u32)> = (0..log.len())
            .filter(|&event| log.type_of(event).role == EventRole::Purchase && log.user_of(event) != NONE)
            .map(|event| (log.user_of(event), log.item[event]))
            .collect();
        purchases.sort_unstable();
        purchases.dedup();
        let mut bought_offsets = vec![0u64; log.users.len() + 1];
        purchases.iter().for_each(|&(user, _)| bought_offsets[user as usize + 1] += 1);
        (0..log.users.len()).for_each(|user| bought_offsets[user + 1] += bought_offsets[user]);
        let item_users: Vec<u32> = (0..log.items.len()).map(|item| interactions.by_item.columns(item).len() as u32).collect();
        let cross_sell = CrossSellModel::fit(&manifest.hyperparameters.cross_sell, complements, training, watch)?;
        let mut bundle = Bundle {
            version: String::new(),
            manifest,
            users: log.users.clone(),
            items: log.items.clone(),
            catalog: Arc::new(catalog.clone()),
            user_attributes: data.user_attributes.clone(),
            personal,
            popular,
            cross_sell,
            habits: Habits::of(orders, log.users.len()),
            upsell,
            session,
            buy_again,
            context,
            segments: SegmentsModel::none(log.users.len()),
            history: UserRows {
                offsets: by_user.offsets.iter().map(|&at| at as u64).collect::<Vec<_>>().into(),
                items: by_user.indices.into(),
            },
            history_values: by_user.values.into(),
            bought: UserRows {
                offsets: bought_offsets.into(),
                items: purchases.into_iter().map(|(_, item)| item).collect::<Vec<_>>().into(),
            },
            item_users: item_users.into(),
            shelf: RwLock::default(),
            rules: RwLock::default(),
            chosen: RwLock::default(),
            trained: Bitmap::default(),
            touched: Bitmap::default(),
            of_catalog: Arc::default(),
        };
        bundle.derive(&[]);
        Ok(bundle)
    }

    /// What follows from the rest: sets of items. What follows from the catalogue alone is shared with a version that has the same.
    fn derive(&mut self, beside: &[&Bundle]) {
        let same =
            |other: &&&Bundle| Arc::ptr_eq(&other.catalog, &self.catalog) && other.category_levels() == self.category_levels();
        self.of_catalog = match beside.iter().find(same) {
            Some(other) => other.of_catalog.clone(),
            None => Arc::new(apart(|| OfCatalog::of(&self.catalog, self.category_levels()))),
        };
        self.touched = Bitmap::of(self.items.len(), |item| self.item_users[item as usize] > 0);
        self.cross_sell.describe(&self.popular);
        self.open_up();
    }

    /// What follows from which items the personal model knows, and which can be bought.
    fn open_up(&mut self) {
        self.trained = Bitmap::of(self.items.len(), |item| self.touched.contains(item) || self.personal.knows(item));
        self.shelve(&ItemChanges::default());
    }

    /// Writes the files of a version into an empty folder and syncs them. Returns the finished manifest.
    ///
    /// # Errors
    /// [`ModelError::Io`] and [`ModelError::Table`].
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        write_items(&folder.join(ITEMS), &self.items, &self.catalog)?;
        write_users(&folder.join(USERS), &self.users, &self.user_attributes)?;
        let mut tensors = self.personal.tensors();
        for tensor in self.popular.tensors() {
            if tensors.iter().all(|known| known.name() != tensor.name()) {
                tensors.push(tensor);
            }
        }
        tensors.extend(self.cross_sell.tensors());
        tensors.extend(self.habits.tensors());
        tensors.extend(self.upsell.tensors());
        tensors.extend(self.session.tensors());
        tensors.extend(self.buy_again.tensors());
        tensors.extend(self.context.tensors());
        tensors.extend(self.segments.tensors());
        tensors.push(Tensor::u64("history.offsets", &self.history.offsets));
        tensors.push(Tensor::u32("history.items", &self.history.items));
        tensors.push(Tensor::f32("history.values", &[self.history_values.len()], &self.history_values));
        tensors.push(Tensor::u64("bought.offsets", &self.bought.offsets));
        tensors.push(Tensor::u32("bought.items", &self.bought.items));
        tensors.push(Tensor::u32("item.users", &self.item_users));
        weights::write(&folder.join(WEIGHTS), tensors)?;
        self.manifest.files = [ITEMS, USERS, WEIGHTS].iter().map(|name| entry(folder, name)).collect::<Result<_>>()?;
        // Tables unpack to several times their size, vectors have codes beside them, items have sets, cards and remembered neighbours.
        let size = |name: &str| self.manifest.files.iter().find(|file| file.name == name).map_or(0, |file| file.bytes);
        self.manifest.memory_bytes = 3 * size(WEIGHTS) + 8 * (size(ITEMS) + size(USERS)) + (16 << 20);
        self.manifest.golden = self.golden();
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&self.manifest)
            .map_err(|error| ModelError::Table { path: path.clone(), detail: error.to_string() })?;
        std::fs::write(&path, text + "\n").map_err(ModelError::io("cannot write", &path))?;
        for name in [ITEMS, USERS, WEIGHTS, MANIFEST] {
            let path = folder.join(name);
            File::open(&path).and_then(|file| file.sync_all()).map_err(ModelError::io("cannot sync", &path))?;
        }
        Ok(())
    }

    /// The digest of a version's manifest, which in turn holds the digests of its files: 12 hexadecimal digits.
    pub(crate) fn digest(folder: &Path) -> Result<String> {
        let path = folder.join(MANIFEST);
        let bytes = read_small(&path)?;
        Ok(blake3::hash(&bytes).to_hex()[..12].to_string())
    }

    /// Reads the manifest alone, its digest checked against the version's name.
    ///
    /// # Errors
    /// [`ModelError::Damaged`], [`ModelError::TooNew`], [`ModelError::TooOld`].
    pub fn read_manifest(folder: &Path, version: &str) -> Result<Manifest> {
        let damaged = |what: &str, found: String, expected: String| ModelError::Damaged {
            path: folder.to_path_buf(),
            what: what.into(),
            found,
            expected,
        };
        let bytes = read_small(&folder.join(MANIFEST))?;
        let digest = blake3::hash(&bytes).to_hex()[..12].to_string();
        if !version.ends_with(&digest) {
            return Err(damaged("manifest.json", format!("digest {digest}"), format!("the end of the version's name, {version}")));
        }
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        let json = |error: serde_json::Error| damaged("manifest.json", error.to_string(), "a manifest of Aisle".into());
        let format: Format = serde_json::from_slice(&bytes).map_err(json)?;
        if format.format > FORMAT {
            return Err(ModelError::TooNew { path: folder.to_path_buf(), found: format.format, supported: FORMAT });
        }
        if format.format < FORMAT {
            return Err(ModelError::TooOld { path: folder.to_path_buf(), found: format.format, supported: FORMAT });
        }
        serde_json::from_slice(&bytes).map_err(json)
    }

    /// Loads a version: digests, shapes, ranges, finiteness and ids are checked; the golden requests are not replayed yet.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] names the part, what was found and what was expected.
    pub fn open(folder: &Path, version: &str) -> Result<Self> {
        Self::open_with(folder, version, &ItemChanges::default(), &[])
    }

    /// The same with rows for the items that came since and that the version does not know. They cannot be bought before
    /// [`Bundle::welcome`]. What is known of the items is shared with a version of `beside` that was made of the same: reading and
    /// ordering it is more than half of a load.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn open_with(folder: &Path, version: &str, changes: &ItemChanges, beside: &[&Bundle]) -> Result<Self> {
        let manifest = Self::read_manifest(folder, version)?;
        let damaged = |what: &str, found: String, expected: String| ModelError::Damaged {
            path: folder.to_path_buf(),
            what: what.into(),
            found,
            expected,
        };
        let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
        if names != [ITEMS, USERS, WEIGHTS] {
            return Err(damaged("file list", names.join(", "), [ITEMS, USERS, WEIGHTS].join(", ")));
        }
        for expected in &manifest.files {
            let path = folder.join(&expected.name);
            let about = std::fs::symlink_metadata(&path).map_err(ModelError::io("cannot read", &path))?;
            if !about.is_file() {
                return Err(damaged(&expected.name, "a link or a special file".into(), "a plain file".into()));
            }
            if about.len() != expected.bytes {
                return Err(damaged(&expected.name, format!("{} bytes", about.len()), format!("{} bytes", expected.bytes)));
            }
            let found = entry(folder, &expected.name)?;
            if found.blake3 != expected.blake3 {
                return Err(damaged(&expected.name, format!("BLAKE3 {}", found.blake3), expected.blake3.clone()));
            }
        }
        let path_of = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let same = beside.iter().find(|other| !other.has_arrivals() && other.manifest.files.first() == manifest.files.first());
        let (mut items, mut catalog) = match same {
            Some(other) => (other.items.clone(), other.catalog.clone()),
            None => {
                // It may outlive this version.
                let (items, catalog) = apart(|| Catalog::read(&path_of(ITEMS)))?;
                (Arc::new(items), Arc::new(catalog))
            }
        };
        let users = IdMap::read(&path_of(USERS), "user_id")?;
        for (what, found, expected) in
            [("items", items.len(), manifest.counts.items), ("users", users.len(), manifest.counts.users)]
        {
            if found != expected {
                return Err(damaged(what, format!("{found} distinct ids"), expected.to_string()));
            }
        }
        let known = items.len();
        for (id, item) in &changes.new {
            if items.get(id).is_none() {
                Arc::make_mut(&mut items).intern(id);
                Arc::make_mut(&mut catalog).push(item, changes.items.get(id).and_then(|change| change.price));
            }
        }
        let rows = items.len();
        let open = || Ok::<_, ModelError>(Weights::open(&folder.join(WEIGHTS))?.grow(known, rows));
        let mut weights = open()?;
        let parameters = &manifest.hyperparameters;
        let personal = parameters.personal.load((manifest.counts.rows, rows), &mut weights)?;
        let lists = |told: Option<(usize, usize)>| {
            told.map_or("none".into(), |(lists, probes)| format!("{lists} lists, of which a search looks at {probes}"))
        };
        let told = manifest.retrieval.as_ref().map(|retrieval| (retrieval.lists, retrieval.probes));
        if personal.lists() != told {
            return Err(damaged("lists of items", lists(personal.lists()), format!("{}, as the manifest says", lists(told))));
        }
        // The personal model may be, or hold, the best sellers themselves: then their scores are stored once.
        let popular = match weights.has("popular.scores") {
            true => PopularModel::load(rows, &mut weights)?,
            false => PopularModel::load(rows, &mut open()?)?,
        };
        let cross_sell = CrossSellModel::load(&parameters.cross_sell, rows, &mut weights)?;
        let habits = Habits::load(users.len(), rows, &mut weights)?;
        let upsell = UpsellModel::load(parameters.upsell.clone(), rows, &mut weights)?;
        let session = SessionModel::load(&parameters.session, rows, &mut weights)?;
        let buy_again = BuyAgainModel::load(parameters.buy_again.clone(), &mut weights)?;
        let context = ContextModel::load(&parameters.context, &manifest.context, rows, &mut weights)?;
        let segments = SegmentsModel::load(&manifest.segments, users.len(), &mut weights)?;
        let (history, entries) = weights.offsets("history.offsets", users.len())?;
        let history = UserRows { offsets: history, items: weights.rows("history.items", entries, rows)? };
        let history_values = weights.reals("history.values", entries)?;
        let (bought, entries) = weights.offsets("bought.offsets", users.len())?;
        let bought = UserRows { offsets: bought, items: weights.rows("bought.items", entries, rows)? };
        let item_users = weights.rows("item.users", rows, u32::MAX as usize)?;
        weights.finish()?;
        let mut bundle = Bundle {
            version: version.into(),
            manifest,
            users: Arc::new(users),
            items,
            catalog,
            user_attributes: Vec::new(),
            personal,
            popular,
            cross_sell,
            habits,
            upsell,
            session,
            buy_again,
            context,
            segments,
            history,
            history_values,
            bought,
            item_users,
            shelf: RwLock::default(),
            rules: RwLock::default(),
            chosen: RwLock::default(),
            trained: Bitmap::default(),
            touched: Bitmap::default(),
            of_catalog: Arc::default(),
        };
        bundle.derive(beside);
        Ok(bundle)
    }

    /// Whether it has rows for items that came since it was made.
    fn has_arrivals(&self) -> bool {
        self.items.len() > self.manifest.counts.items
    }

    /// Whether an item was there when the version was made.
    pub fn is_learned(&self, id: &str) -> bool {
        self.items.get(id).is_some_and(|item| (item as usize) < self.manifest.counts.items)
    }

    /// Gives the items that came since a place by what is known of them, as a fit does with items without events, and lets them be bought. A
    /// model without a way to place them leaves them to filters and best sellers. O(features of all items · dimension).
    ///
    /// # Errors
    /// [`ModelError::Hyperparameter`] of `content`.
    pub fn welcome(&mut self) -> Result<()> {
        let items = self.items.len();
        let first = self.manifest.counts.items;
        if !self.has_arrivals() {
            return Ok(());
        }
        Arc::make_mut(&mut self.catalog).available[first..].fill(true);
        let content = self.manifest.hyperparameters.content.clone();
        content.validate()?;
        let placed: Vec<bool> = (0..items as u32).map(|item| self.personal.knows(item)).collect();
        let users = &self.item_users;
        let fresh = |item: u32| item as usize >= first || placed[item as usize];
        if let Some(newcomers) = Newcomers::of(&content, &self.catalog, &|item| users[item as usize] as usize, &fresh) {
            let (rows, values) = (&self.history, &self.history_values);
            let of = |user: u32| {
                let (items, values) = rows.with(values, user);
                History { items, values, user: Some(user) }
            };
            let histories: Vec<History> =
                (0..self.users.len() as u32).map(of).filter(|history| !history.items.is_empty()).collect();
            // A log without shoppers stores no histories: the scale of the fit stands.
            newcomers.enter(&histories, (items, self.manifest.counts.cold_scale), self.personal.as_mut());
        }
        self.open_up();
        self.upsell.settle(first, &self.of_catalog.groups);
        Ok(())
    }

    /// Makes what first answers would otherwise wait for.
    pub fn warm(&self) {
        self.personal.warm();
    }

    /// Asks the golden requests again. Scores may differ by rounding between processors, ranks only where scores nearly tie.
    ///
    /// # Errors
    /// [`ModelError::GoldenMismatch`] with the first answer that differs.
    pub fn replay(&self) -> Result<()> {
        for golden in &self.manifest.golden {
            let found = self.ask(&golden.task, &golden.ids, golden.expect.len().max(1));
            let same = found.len() == golden.expect.len()
                && found.iter().zip(&golden.expect).all(|((item, score), (expected, expected_score))| {
                    let tolerance = 1e-4 * (1.0 + expected_score.abs());
                    // Another processor may round a near-tie the other way, at the last place even with an item not listed.
                    let last = golden.expect.last().is_some_and(|(_, last)| (last - score).abs() <= 2.0 * tolerance);
                    (score - expected_score).abs() <= tolerance
                        && (item == expected
                            || last
                            || golden.expect.iter().any(|(other, s)| other == item && (s - score).abs() <= 2.0 * tolerance))
                });
            if !same {
                return Err(ModelError::GoldenMismatch {
                    version: self.version.clone(),
                    request: format!("{} for {}", golden.task, golden.ids.join(", ")),
                    found: format!("{found:?}"),
                    expected: format!("{:?}", golden.expect),
                });
            }
        }
        Ok(())
    }

    /// Questions that touch every model, chosen evenly over users and items.
    fn golden(&self) -> Vec<Golden> {
        const EACH: usize = 8;
        let spread = |count: usize| (0..EACH.min(count)).map(move |step| (step * count / EACH.min(count)) as u32);
        let users = spread(self.users.len()).map(|user| ("personal", vec![self.users.id(user).to_string()]));
        let sellers: Vec<u32> = self.trained.iter().collect();
        let items: Vec<u32> = spread(sellers.len()).map(|at| sellers[at as usize]).collect();
        let of_items = |task: &'static str| items.iter().map(move |&item| (task, vec![self.items.id(item).to_string()]));
        let reorders = spread(self.users.len()).map(|user| ("buy-again", vec![self.users.id(user).to_string()]));
        let carts = items.chunks(2).map(|cart| ("cross-sell", cart.iter().map(|&item| self.items.id(item).to_string()).collect()));
        users
            .chain(of_items("similar"))
            .chain(carts)
            .chain(of_items("upsell"))
            .chain(of_items("session"))
            .chain(reorders)
            .map(|(task, ids)| Golden { task: task.into(), expect: self.ask(task, &ids, 10), ids })
            .collect()
    }

    fn ask(&self, task: &str, ids: &[String], k: usize) -> Vec<(String, f32)> {
        let rows: Vec<u32> = ids.iter().filter_map(|id| self.items.get(id)).collect();
        let first = rows.first().copied();
        let answer: Option<Answer> = match task {
            "personal" => {
                let user = ids.first().and_then(|id| self.users.get(id));
                Some(self.for_user(&ForUser { user, k, exclude_bought: true, ..ForUser::default() }))
            }
            "buy-again" => {
                let user = ids.first().and_then(|id| self.users.get(id));
                Some(self.buy_again(&ForAgain { user, k, ..ForAgain::default() }))
            }
            "similar" => first.map(|item| self.similar(&ForItem { item, k, ..ForItem::default() })),
            "cross-sell" => Some(self.cross_sell(&ForCart { cart: rows, k, ..ForCart::default() })),
            "session" => Some(self.for_session(&ForSession { clicks: rows, k, ..ForSession::default() })),
            "upsell" => first.map(|item| self.upsell(&ForItem { item, k, ..ForItem::default() })),
            _ => None,
        };
        answer.map_or_else(Vec::new, |answer| {
            answer.items.iter().map(|ranked| (self.items.id(ranked.item).to_string(), ranked.score)).collect()
        })
    }

    /// The personal model.
    pub fn personal(&self) -> &dyn Recommend {
        self.personal.as_ref()
    }

    /// Best sellers.
    pub fn popular(&self) -> &PopularModel {
        &self.popular
    }

    /// What goes with what.
    pub fn complements(&self) -> &ComplementsModel {
        &self.cross_sell.complements
    }

    /// The missing line of a cart.
    pub fn cross_sell_model(&self) -> &CrossSellModel {
        &self.cross_sell
    }

    /// What shoppers ordered and when.
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// Numbers in titles.
    pub(crate) fn measures(&self) -> &Measures {
        &self.of_catalog.measures
    }

    /// The middle price of each item's category; NaN where nothing is priced.
    pub(crate) fn middle_prices(&self) -> &[f32] {
        &self.of_catalog.middle_prices
    }

    /// Groups of items.
    pub(crate) fn groups(&self) -> &Groups {
        &self.of_catalog.groups
    }

    /// Takes the items of an item's category, as cross-selling sees it, out of a set.
    pub(crate) fn drop_category_of(&self, item: u32, allowed: &mut Bitmap) {
        if let Some(category) = self.catalog.category_at(item, self.category_levels()) {
            self.facets().drop_category(category, allowed);
        }
    }

    /// Steps up.
    pub fn upsell_model(&self) -> &UpsellModel {
        &self.upsell
    }

    /// Visits.
    pub fn session_model(&self) -> &SessionModel {
        &self.session
    }

    /// Reorders.
    pub fn buy_again_model(&self) -> &BuyAgainModel {
        &self.buy_again
    }

    /// Circumstances.
    pub fn context_model(&self) -> &ContextModel {
        &self.context
    }

    /// Groups of shoppers.
    pub fn segments(&self) -> &SegmentsModel {
        &self.segments
    }

    /// Prices and stock as the next answer sees them.
    pub fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Prices and stock from now on: those of the version's catalogue with these changes. Rules that look at them are looked at again.
    pub fn shelve(&self, changes: &ItemChanges) {
        let shelf = Arc::new(Shelf::of(&self.catalog, &self.items, changes));
        replace(&self.shelf, shelf);
        replace(&self.chosen, BTreeMap::new());
        let rules = self.compendium();
        if rules.by_shelf {
            self.rule(rules.set());
        }
    }

    /// The rules from now on. O(conditions · items).
    pub fn rule(&self, set: &Arc<RuleSet>) {
        replace(&self.rules, Arc::new(Compendium::of(self, set, &self.shelf())));
    }

    /// The rules as they stand.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.compendium().set().clone()
    }

    pub(crate) fn compendium(&self) -> Arc<Compendium> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The items for which a condition on `item.…` holds now. Of the last conditions asked for they are remembered; else O(items · tests).
    ///
    /// # Errors
    /// [`ConditionError`] says where the condition is wrong.
    pub fn chosen(&self, text: &str) -> std::result::Result<Arc<Bitmap>, ConditionError> {
        if let Some(known) = self.chosen.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(known.clone());
        }
        let condition = Condition::parse(text, &self.item_schema())?;
        let shelf = self.shelf();
        let items = Arc::new(self.items_where(&condition, &shelf));
        if !Arc::ptr_eq(&shelf, &self.shelf()) {
            // Prices or stock changed meanwhile: right for this request, and not to be remembered.
            return Ok(items);
        }
        if self.chosen.read().unwrap_or_else(PoisonError::into_inner).len() >= REMEMBERED {
            replace(&self.chosen, BTreeMap::new());
        }
        self.chosen.write().unwrap_or_else(PoisonError::into_inner).insert(text.to_string(), items.clone());
        Ok(items)
    }

    /// What is known of shoppers, by attribute.
    pub(crate) fn user_attributes(&self) -> &[(String, Labels)] {
        &self.user_attributes
    }

    /// The names of the segments that a shopper is in.
    pub(crate) fn segments_of(&self, user: u32) -> Vec<&str> {
        let name = |&segment: &u32| self.segments.describe(segment).map(|segment| segment.name.as_str());
        self.segments.of(user).iter().filter_map(name).collect()
    }

    /// Items that the personal model can recommend: it learned about them, or about what is known of them.
    pub fn trained(&self) -> &Bitmap {
        &self.trained
    }

    /// Items that somebody touched in the log: what is weighed by learned weights is one of them, for such were learned from.
    pub(crate) fn touched(&self) -> &Bitmap {
        &self.touched
    }

    /// Whether the personal model can recommend an item.
    pub fn is_trained(&self, item: u32) -> bool {
        self.trained.contains(item)
    }

    /// Items by what filters ask.
    pub(crate) fn facets(&self) -> &Facets {
        &self.of_catalog.facets
    }

    /// Items of a category path and below it, ascending; empty for an unknown path.
    pub fn in_category(&self, path: &str) -> &[u32] {
        self.of_catalog.facets.category(path).unwrap_or(&[])
    }

    /// Whether a category path exists.
    pub fn has_category(&self, path: &str) -> bool {
        self.of_catalog.facets.category(path).is_some()
    }

    /// Levels of the path that make a category for cross-selling; 0 = the whole path.
    pub fn category_levels(&self) -> usize {
        self.manifest.hyperparameters.cross_sell.category_levels
    }

    /// Items and confidence of a user's history.
    pub fn history(&self, user: u32) -> (&[u32], &[f32]) {
        self.history.with(&self.history_values, user)
    }

    /// Items that a user bought, ascending.
    pub fn bought(&self, user: u32) -> &[u32] {
        &self.bought.items[self.bought.range(user)]
    }
}

/// Puts a value in the place of another, which is freed after the lock that every answer takes.
fn replace<T>(place: &RwLock<T>, value: T) {
    let _before = std::mem::replace(&mut *place.write().unwrap_or_else(PoisonError::into_inner), value);
}

/// A log cut in what weights are learned by, and the last days that they are learned on; without times, each shopper's last order. `None` if
/// nothing is to be learned, or the log is too short.
fn cut(log: &EventLog, days: f32) -> Option<(EventLog, EventLog)> {
    if days == 0.0 {
        return None;
    }
    match log.span() {
        Some((first, last)) => {
            // Never more than a quarter of a short log.
            let cut = last - ((f64::from(days) * 86_400_000.0) as i64).min((last - first) / 4);
            Some((log.select(|event| log.time[event] <= cut), log.select(|event| log.time[event] > cut)))
        }
        None => Split::LastOrder.apply(log).or_else(|_| Split::Validation.apply(log)).ok(),
    }
    .filter(|(earlier, later)| !earlier.is_empty() && !later.is_empty())
}

/// The median price of each item's category path.
fn middle_prices(catalog: &Catalog, groups: &Groups) -> Vec<f32> {
    let mut priced: Vec<(u32, f32)> = (0..catalog.len() as u32)
        .map(|item| (groups.path_of(item), catalog.price[item as usize]))
        .filter(|pair| !pair.1.is_nan())
        .collect();
    priced.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let middles: BTreeMap<u32, f32> = priced.chunk_by(|a, b| a.0 == b.0).map(|of| (of[0].0, of[of.len() / 2].1)).collect();
    (0..catalog.len() as u32).map(|item| middles.get(&groups.path_of(item)).copied().unwrap_or(f32::NAN)).collect()
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    let about = std::fs::symlink_metadata(path).map_err(ModelError::io("cannot read", path))?;
    if !about.is_file() || about.len() > MAX_MANIFEST {
        return Err(ModelError::Damaged {
            path: path.to_path_buf(),
            what: "manifest.json".into(),
            found: format!("{} bytes", about.len()),
            expected: format!("a plain file of at most {MAX_MANIFEST} bytes"),
        });
    }
    std::fs::read(path).map_err(ModelError::io("cannot read", path))
}

fn entry(folder: &Path, name: &str) -> Result<FileEntry> {
    let path = folder.join(name);
    let mut hasher = blake3::Hasher::new();
    let file = File::open(&path).map_err(ModelError::io("cannot open", &path))?;
    hasher.update_reader(file).map_err(ModelError::io("cannot read", &path))?;
    Ok(FileEntry { name: name.into(), bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
}
