//! From a question to an answer: the ladder of rungs, and the gate that stands before every one of them.
//!
//! A rung ranks the items it has an opinion on; what it leaves of `k` the next rung fills, and the last, popularity, has an
//! opinion on every item. So an answer holds exactly min(k, eligible) items. The gate (availability, filters, exclusions)
//! is one set of eligible items, made before the first rung and never widened.

use crate::bitmap::Bitmap;
use crate::bundle::Bundle;
use crate::complements::Together;
use crate::cross_sell::Cart;
use crate::index::{Eligible, Found};
use crate::recommend::History;
use crate::shelf::Shelf;
use crate::top_k::{Scored, TopK};
use crate::upsell::Anchor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which items a request accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemFilter {
    /// Category paths; an item of a path below one of them passes. Empty = any.
    pub categories: Vec<String>,
    /// Category paths whose items do not pass.
    pub exclude_categories: Vec<String>,
    /// Least price; an item of unknown price does not pass if this or `max_price` is set.
    pub min_price: Option<f32>,
    /// Largest price.
    pub max_price: Option<f32>,
    /// Only items priced in this currency; matters where a price is asked for.
    pub currency: Option<String>,
    /// Also items that cannot be bought now.
    pub include_unavailable: bool,
    /// Item rows that do not pass, in any order.
    pub exclude: Vec<u32>,
}

/// The part of the ladder that an item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// The personal model.
    Personal,
    /// Items like the given one.
    Similar,
    /// Complements of the cart.
    CrossSell,
    /// Dearer items of the category.
    Upsell,
    /// Visits like this one.
    Session,
    /// What the shopper had before.
    BuyAgain,
    /// Best sellers.
    Popular,
}

impl Rung {
    /// Its name in logs, metrics and responses.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Personal => "personal",
            Rung::Similar => "similar",
            Rung::CrossSell => "cross-sell",
            Rung::Upsell => "upsell",
            Rung::Session => "session",
            Rung::BuyAgain => "buy-again",
            Rung::Popular => "popular",
        }
    }
}

/// Why an item is in an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Of the shopper's history, this item speaks for it most.
    BecauseOf {
        /// The item of the history.
        item: u32,
    },
    /// It is like the item asked about.
    Like {
        /// The item asked about.
        item: u32,
        /// Cosine, or the measure of the algorithm.
        similarity: f32,
    },
    /// It is bought together with an item of the cart.
    BoughtTogether(Together),
    /// The shopper bought it before.
    BoughtBefore {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
    },
    /// Shoppers of the anchor later chose it.
    SteppedUp(SteppedUp),
    /// The shopper bought it before, and usually buys it again by a certain day.
    Due {
        /// Orders that held it.
        orders: u32,
        /// Days since the last of them.
        days: u32,
        /// Days from now; below zero = overdue.
        due_in: i32,
    },
    /// It is in visits like this one.
    InVisits {
        /// How many of the nearest visits hold it; 0 = too few to tell.
        visits: u32,
    },
    /// It sells well.
    BestSeller,
}

/// A step up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteppedUp {
    /// What it is a step up from.
    pub item: u32,
    /// Distinct shoppers who took it; 0 = too few to tell.
    pub shoppers: u32,
    /// Price difference, in the currency of both.
    pub price_delta: f32,
    /// Price as a multiple.
    pub price_ratio: f32,
}

/// What one item has that another has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDelta {
    /// Of the attribute, or a unit that both titles count.
    pub name: String,
    /// Of the first item.
    pub from: String,
    /// Of the second.
    pub to: String,
}

/// One item of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Item row.
    pub item: u32,
    /// Comparable within one source only; finite.
    pub score: f32,
    /// The rung it came from.
    pub source: Rung,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// An answer: exactly min(k, eligible) items, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first.
    pub items: Vec<Ranked>,
    /// How many items passed the gate.
    pub eligible: usize,
    /// The rung that filled the first place, or that was asked if nothing is eligible.
    pub rung: Rung,
    /// Why a lower rung had to help; `None` if it had not.
    pub fallback: Option<&'static str>,
}

/// A question for a shopper.
#[derive(Clone, Debug, Default)]
pub struct ForUser {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// What the shopper did since, or all there is of a stranger: item rows with confidence.
    pub recent: Vec<(u32, f32)>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Leave out what the shopper bought, and what `recent` holds.
    pub exclude_bought: bool,
    /// Do not say why.
    pub without_reasons: bool,
    /// There is no time for more than best sellers.
    pub hurry: bool,
}

/// What a visit may be shown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// What was clicked before the last click.
    #[default]
    Earlier,
    /// The last click too, as the field's benchmarks have it.
    Anything,
    /// Nothing that was clicked.
    Nothing,
}

/// A question for a visit.
#[derive(Clone, Debug, Default)]
pub struct ForSession {
    /// Item rows clicked, oldest first.
    pub clicks: Vec<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Of what was clicked.
    pub again: Again,
    /// There is no time for more than best sellers.
    pub hurry: bool,
}

/// A question for what a shopper may buy again.
#[derive(Clone, Debug, Default)]
pub struct ForAgain {
    /// The shopper's row, if known.
    pub user: Option<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// The moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Days that probabilities are asked for; `None` = the model's.
    pub days: Option<f32>,
}

/// A question for a cart.
#[derive(Clone, Debug, Default)]
pub struct ForCart {
    /// Item rows.
    pub cart: Vec<u32>,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// Also complements from categories that the cart holds; substitutes of its items stay out.
    pub same_category: bool,
    /// Whose cart it is, if known: what they come back for counts.
    pub user: Option<u32>,
    /// The moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// Leave out what this shopper bought before.
    pub exclude_bought: bool,
    /// There is no time for more than best sellers.
    pub hurry: bool,
}

/// A question for one item.
#[derive(Clone, Debug, Default)]
pub struct ForItem {
    /// Item row.
    pub item: u32,
    /// How many items.
    pub k: usize,
    /// The gate.
    pub filter: ItemFilter,
    /// For an upsell: the price band as multiples of the item's price; `None` = the model's.
    pub band: Option<(f32, f32)>,
    /// For an upsell: whose step, if known.
    pub user: Option<u32>,
    /// For an upsell: the moment, in days since 1970; `None` = the end of the log.
    pub now: Option<f32>,
    /// There is no time for more than best sellers. An upsell has no cheaper answer.
    pub hurry: bool,
}

/// Why best sellers answer where there is no time for more.
const HURRY: &str = "the deadline leaves no time for more than best sellers";

/// Distinct shoppers below which a count is not told.
const PRIVACY_FLOOR: u32 = 5;

thread_local! {
    /// A search allocates nothing once its thread has made one.
    static FOUND: RefCell<Found> = RefCell::default();
}

/// What a search finds.
fn found(search: impl FnOnce(&mut Found)) -> Vec<Scored> {
    FOUND.with_borrow_mut(|found| {
        found.items.clear();
        search(found);
        found.items.clone()
    })
}

impl Bundle {
    /// What a shopper would like. Ladder: personal model on history and recent acts → popular.
    pub fn for_user(&self, ask: &ForUser) -> Answer {
        let (items, values, unchanged) = self.history_with(ask);
        let history = History { items: &items, values: &values, user: unchanged.then_some(ask.user).flatten() };
        let mut except = ask.filter.exclude.clone();
        if ask.exclude_bought {
            except.extend(ask.user.map_or(&[][..], |user| self.bought(user)));
            except.extend(ask.recent.iter().map(|&(item, _)| item));
        }
        let gate = Gate::new(self, &ask.filter, except);
        if ask.hurry {
            return Climb::new(self, &gate, ask.k, Rung::Personal).fill_popular(HURRY);
        }
        let trained = gate.trained(self);
        let found = found(|found| self.personal().recommend(history, ask.k, gate.eligible(&trained), found));
        let mut climb = Climb::new(self, &gate, ask.k, Rung::Personal);
        let sources = match ask.without_reasons {
            true => Vec::new(),
            false => self.personal().explain(history, &found.iter().map(|scored| scored.item).collect::<Vec<_>>()),
        };
        let reason = |source: &Option<u32>| source.map(|item| Reason::BecauseOf { item });
        climb.take(&found, |rank, _| sources.get(rank).and_then(reason).into_iter().collect());
        let why = if items.is_empty() { "no history of this shopper" } else { "the personal model ranks fewer items than asked" };
        let mut answer = climb.fill_popular(why);
        if ask.without_reasons {
            answer.items.iter_mut().for_each(|ranked| ranked.reasons.clear());
        }
        answer
    }

    /// What comes next in a visit. Ladder: visits like this one → the personal model, to which the clicks are a history → popular.
    pub fn for_session(&self, ask: &ForSession) -> Answer {
        let mut except = ask.filter.exclude.clone();
        match ask.again {
            Again::Nothing => except.extend(&ask.clicks),
            Again::Earlier => except.extend(ask.clicks.last()),
            Again::Anything => {}
        }
        let gate = Gate::new(self, &ask.filter, except);
        let mut climb = Climb::new(self, &gate, ask.k, Rung::Session);
        if ask.hurry {
            return climb.fill_popular(HURRY);
        }
        let mut visits = Vec::new();
        let next = found(|found| visits = self.session_model().next(&ask.clicks, ask.k, gate.eligible(&gate.allowed), found));
        let told = |visits: u32| if visits >= PRIVACY_FLOOR { visits } else { 0 };
        climb.take(&next, |rank, _| vec![Reason::InVisits { visits: told(visits[rank]) }]);
        if next.len() < ask.k && !ask.clicks.is_empty() {
            let mut distinct = ask.clicks.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let ones = vec![1.0; distinct.len()];
            let mut left = gate.trained(self);
            next.iter().for_each(|scored| left.remove(scored.item));
            let history = History { items: &distinct, values: &ones, user: None };
            let more = found(|found| self.personal().recommend(history, ask.k - next.len(), gate.eligible(&left), found));
            climb.asked = Rung::Personal;
            climb.take(&more, |_, _| Vec::new());
            climb.asked = Rung::Session;
        }
        climb.fill_popular(if ask.clicks.is_empty() { "no known item was clicked" } else { "too few visits are like this one" })
    }

    /// What a shopper may buy again, by the probability that they do; of what they had and nothing else, so the answer may be empty. One rung.
    pub fn buy_again(&self, ask: &ForAgain) -> Answer {
        let gate = Gate::new(self, &ask.filter, ask.filter.exclude.clone());
        let eligible = gate.eligible(&gate.allowed);
        let days = ask.days.unwrap_or_else(|| self.buy_again_model().horizon());
        let mut due = ask.user.map(|user| self.due(user, ask.now, days)).unwrap_or_default();
        due.retain(|due| eligible.contains(due.item));
        let count = due.len();
        let mut top = TopK::new(ask.k);
        due.iter().for_each(|due| top.offer(due.item, due.probability));
        let items = top.into_sorted().into_iter().filter_map(|Scored { item, score }| {
            let due = due.binary_search_by_key(&item, |due| due.item).ok().map(|at| due[at])?;
            let reason = Reason::Due { orders: due.orders, days: due.since as u32, due_in: due.due_in as i32 };
            Some(Ranked { item, score, source: Rung::BuyAgain, reasons: vec![reason] })
        });
        Answer { items: items.collect(), eligible: count, rung: Rung::BuyAgain, fallback: None }
    }

    /// Items like one item. Ladder: the personal model's similarity → popular.
    pub fn similar(&self, ask: &ForItem) -> Answer {
        let mut except = ask.filter.exclude.clone();
        except.push(ask.item);
        let gate = Gate::new(self, &ask.filter, except);
        if ask.hurry {
            return Climb::new(self, &gate, ask.k, Rung::Similar).fill_popular(HURRY);
        }
        let trained = gate.trained(self);
        let found = match self.personal().algorithm() {
            "popular" => Vec::new(),
            _ => found(|found| self.personal().similar_items(ask.item, ask.k, gate.eligible(&trained), found)),
        };
        let mut climb = Climb::new(self, &gate, ask.k, Rung::Similar);
        climb.take(&found, |_, scored| vec![Reason::Like { item: ask.item, similarity: scored.score }]);
        climb.fill_popular("nothing is known to be like this item")
    }

    /// What completes a cart: never an item of it, never of its categories (unless asked), never a substitute.
    /// Ladder: complements of the whole cart → popular among what is eligible.
    pub fn cross_sell(&self, ask: &ForCart) -> Answer {
        let mut except = ask.filter.exclude.clone();
        except.extend(&ask.cart);
        if ask.exclude_bought {
            except.extend(ask.user.map_or(&[][..], |user| self.bought(user)));
        }
        let mut gate = Gate::new(self, &ask.filter, except);
        if ask.same_category {
            self.substitutes(&ask.cart).into_iter().for_each(|other| gate.allowed.remove(other));
        } else {
            ask.cart.iter().for_each(|&item| self.drop_category_of(item, &mut gate.allowed));
        }
        if ask.hurry {
            return Climb::new(self, &gate, ask.k, Rung::CrossSell).fill_popular(HURRY);
        }
        let mut lines = ask.cart.clone();
        lines.sort_unstable();
        lines.dedup();
        let cart = Cart { items: &lines, user: ask.user, now: ask.now, only_new: ask.exclude_bought };
        let found = if ask.cart.is_empty() { Vec::new() } else { self.missing_lines(cart, ask.k, gate.eligible(&gate.allowed)) };
        let past = ask.user.map(|user| self.habits().past(user, &[], ask.now)).unwrap_or_default();
        let mut climb = Climb::new(self, &gate, ask.k, Rung::CrossSell);
        climb.take(&found, |_, scored| {
            let before = past
                .of(scored.item)
                .map(|habit| Reason::BoughtBefore { orders: habit.orders, days: (past.now - habit.last).max(0.0) as u32 });
            let together = self.complements().evidence(&ask.cart, scored.item).into_iter().map(Reason::BoughtTogether);
            before.into_iter().chain(together).take(2).collect()
        });
        let why = if ask.cart.is_empty() { "the cart holds no known item" } else { "too few items are known to go with this cart" };
        climb.fill_popular(why)
    }

    /// The better version of an item: its category (the deepest level with candidates), its currency, a price in the band.
    /// Nothing outside them is ever returned, so the answer may be empty. One rung.
    pub fn upsell(&self, ask: &ForItem) -> Answer {
        let none = |eligible| Answer { items: Vec::new(), eligible, rung: Rung::Upsell, fallback: None };
        let (min, max) = ask.band.unwrap_or_else(|| self.upsell_model().band());
        let Some(path) = self.catalog.category.get(ask.item) else { return none(0) };
        let mut except = ask.filter.exclude.clone();
        except.push(ask.item);
        let gate = Gate::new(self, &ask.filter, except);
        let price = |item: u32| gate.shelf.price(&self.catalog, item);
        let anchor = price(ask.item);
        if anchor.is_nan() {
            return none(0);
        }
        let eligible = gate.eligible(&gate.allowed);
        let currency = self.catalog.currency.code(ask.item);
        let in_band = |&item: &u32| {
            let price = price(item);
            price >= anchor * min
                && price <= anchor * max
                && self.catalog.currency.code(item) == currency
                && eligible.contains(item)
        };
        let levels = path.matches(" > ").count() + 1;
        let candidates = (1..=levels).rev().find_map(|level| {
            let found: Vec<u32> = self.in_category(aisle_data::cut(path, level)).iter().copied().filter(in_band).collect();
            (!found.is_empty()).then_some(found)
        });
        let Some(candidates) = candidates else { return none(0) };
        let steps: BTreeMap<u32, u32> = self.upsell_model().steps(ask.item).collect();
        let past = ask.user.map(|user| self.habits().past(user, &[], ask.now)).filter(|past| past.orders > 0);
        let from = Anchor { item: ask.item, shopper: ask.user.zip(past.as_ref()) };
        let mut top = TopK::new(ask.k);
        candidates.iter().zip(self.step_odds(&from, &candidates, &price)).for_each(|(&item, odds)| top.offer(item, odds));
        let items = top
            .into_sorted()
            .into_iter()
            .map(|Scored { item, score }| {
                let shoppers = steps.get(&item).copied().filter(|&shoppers| shoppers >= PRIVACY_FLOOR).unwrap_or(0);
                let price_delta = price(item) - anchor;
                let step = SteppedUp { item: ask.item, shoppers, price_delta, price_ratio: price(item) / anchor };
                Ranked { item, score, source: Rung::Upsell, reasons: vec![Reason::SteppedUp(step)] }
            })
            .collect();
        Answer { items, eligible: candidates.len(), rung: Rung::Upsell, fallback: None }
    }

    /// What one item has that another has not: numbers of their titles, brand, and attributes, five at most.
    pub fn attribute_deltas(&self, from: u32, to: u32) -> Vec<AttributeDelta> {
        let counted = self.measures().steps(from, to).into_iter().map(|step| AttributeDelta {
            name: step.unit.to_lowercase(),
            from: step.from.to_string(),
            to: step.to.to_string(),
        });
        let labels = std::iter::once(("brand", &self.catalog.brand));
        let labels = labels.chain(self.catalog.attributes.iter().map(|(name, labels)| (name.as_str(), labels)));
        let named = labels.filter(|(_, labels)| labels.code(from) != labels.code(to)).filter_map(|(name, labels)| {
            let (from, to) = (labels.get(from)?, labels.get(to)?);
            Some(AttributeDelta { name: name.to_string(), from: from.to_string(), to: to.to_string() })
        });
        counted.chain(named).take(5).collect()
    }

    /// Given items, best first for a shopper. Those that do not pass the gate are left out; the rest all come back
    /// (up to `ask.k`), those without a personal score last, by sales.
    pub fn rank(&self, ask: &ForUser, items: &[u32]) -> Answer {
        let (history, values, unchanged) = self.history_with(ask);
        let history = History { items: &history, values: &values, user: unchanged.then_some(ask.user).flatten() };
        let mut gate = Gate::new(self, &ask.filter, ask.filter.exclude.clone());
        let mut given = Bitmap::filled(self.items.len(), false);
        items.iter().for_each(|&item| given.insert(item));
        gate.allowed.intersect(&given);
        let asked: Vec<u32> = gate.allowed.iter().filter(|&item| gate.eligible(&gate.allowed).contains(item)).collect();
        let mut top = TopK::new(ask.k);
        for (&item, score) in asked.iter().zip(self.personal().score(history, &asked)) {
            if let Some(score) = score.filter(|_| self.is_trained(item)) {
                top.offer(item, score);
            }
        }
        let mut climb = Climb::new(self, &gate, ask.k, Rung::Personal);
        climb.take(&top.into_sorted(), |_, _| Vec::new());
        climb.fill_popular(if history.items.is_empty() {
            "no history of this shopper"
        } else {
            "some items are new to the personal model"
        })
    }

    /// The stored history and the recent acts as one, and whether it is the stored one alone.
    fn history_with(&self, ask: &ForUser) -> (Vec<u32>, Vec<f32>, bool) {
        let (items, values) = ask.user.map_or((&[][..], &[][..]), |user| self.history(user));
        if ask.recent.is_empty() {
            return (items.to_vec(), values.to_vec(), true);
        }
        let mut sums: BTreeMap<u32, f32> = items.iter().copied().zip(values.iter().copied()).collect();
        for &(item, value) in &ask.recent {
            *sums.entry(item).or_insert(0.0) += value;
        }
        sums.retain(|_, value| *value > 0.0);
        (sums.keys().copied().collect(), sums.values().copied().collect(), false)
    }

    /// Items that serve the same need as one of a cart: the same category path, and not bought together with it more often
    /// than by chance. O(cart · neighbours + items of the categories).
    fn substitutes(&self, cart: &[u32]) -> Vec<u32> {
        let mut by_path: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for &item in cart {
            if let Some(path) = self.catalog.category.get(item) {
                by_path.entry(path).or_default().push(item);
            }
        }
        let mut substitutes = Vec::new();
        for (path, held) in by_path {
            // With how many of the cart's items of this category an item is bought more often than by chance.
            let mut together: BTreeMap<u32, usize> = BTreeMap::new();
            for &item in &held {
                for (other, lift) in self.complements().lifts(item) {
                    if lift > 1.0 {
                        *together.entry(other).or_default() += 1;
                    }
                }
            }
            let needed = held.len();
            substitutes.extend(
                self.in_category(path).iter().copied().filter(|other| together.get(other).is_none_or(|&count| count < needed)),
            );
        }
        substitutes
    }
}

/// The items that a request accepts.
struct Gate {
    allowed: Bitmap,
    except: Vec<u32>,
    /// Prices and stock of this answer.
    shelf: Arc<Shelf>,
}

impl Gate {
    fn new(bundle: &Bundle, filter: &ItemFilter, mut except: Vec<u32>) -> Self {
        let shelf = bundle.shelf();
        let mut allowed = match filter.include_unavailable {
            true => Bitmap::filled(bundle.items.len(), true),
            false => shelf.available().clone(),
        };
        let facets = bundle.facets();
        if !filter.categories.is_empty() {
            facets.keep_categories(&filter.categories, &mut allowed);
        }
        for category in &filter.exclude_categories {
            facets.drop_category(category, &mut allowed);
        }
        if filter.min_price.is_some() || filter.max_price.is_some() {
            let (min, max) = (filter.min_price.unwrap_or(f32::NEG_INFINITY), filter.max_price.unwrap_or(f32::INFINITY));
            let changed: Vec<(u32, f32)> = shelf.new_prices().filter(|&(item, _)| allowed.contains(item)).collect();
            facets.keep_prices(min, max, &mut allowed);
            for (item, price) in changed {
                if (min..=max).contains(&price) { allowed.insert(item) } else { allowed.remove(item) }
            }
        }
        if let Some(currency) = &filter.currency {
            facets.keep_currency(&bundle.catalog, currency, &mut allowed);
        }
        except.sort_unstable();
        except.dedup();
        Self { allowed, except, shelf }
    }

    fn eligible<'a>(&'a self, allowed: &'a Bitmap) -> Eligible<'a> {
        Eligible::without(allowed, &self.except)
    }

    /// Those of the allowed items that the personal model learned about: a vector of zeros has no opinion.
    fn trained(&self, bundle: &Bundle) -> Bitmap {
        let mut trained = self.allowed.clone();
        trained.intersect(bundle.trained());
        trained
    }
}

/// An answer in the making.
struct Climb<'a> {
    bundle: &'a Bundle,
    gate: &'a Gate,
    k: usize,
    asked: Rung,
    items: Vec<Ranked>,
}

impl<'a> Climb<'a> {
    fn new(bundle: &'a Bundle, gate: &'a Gate, k: usize, asked: Rung) -> Self {
        Self { bundle, gate, k, asked, items: Vec::with_capacity(k.min(1024)) }
    }

    fn take(&mut self, scored: &[Scored], reasons: impl Fn(usize, Scored) -> Vec<Reason>) {
        let source = self.asked;
        let ranked = scored.iter().enumerate().map(|(rank, &scored)| Ranked {
            item: scored.item,
            score: scored.score,
            source,
            reasons: reasons(rank, scored),
        });
        self.items.extend(ranked);
    }

    fn fill_popular(mut self, why: &'static str) -> Answer {
        let eligible = self.gate.eligible(&self.gate.allowed);
        let mut fallback = None;
        if self.items.len() < self.k {
            let mut taken: Vec<u32> = self.items.iter().map(|ranked| ranked.item).collect();
            taken.sort_unstable();
            let popular = self.bundle.popular();
            for item in popular.ranked(eligible).filter(|item| taken.binary_search(item).is_err()).take(self.k - self.items.len()) {
                fallback = Some(why);
                let sales = popular.sales(item);
                let reasons = if sales > 0.0 { vec![Reason::BestSeller] } else { Vec::new() };
                self.items.push(Ranked { item, score: sales, source: Rung::Popular, reasons });
            }
        }
        let rung = self.items.first().map_or(self.asked, |first| first.source);
        Answer { items: self.items, eligible: eligible.count(), rung, fallback }
    }
}

/// Days as a shopper would say them.
fn ago(days: u32) -> String {
    match days {
        0 => "today".into(),
        1 => "yesterday".into(),
        _ => format!("{days} days ago"),
    }
}

impl Reason {
    /// A sentence for a shopper.
    pub fn words(&self, bundle: &Bundle) -> String {
        let name = |item: u32| bundle.catalog.title.get(item).unwrap_or_else(|| bundle.items.id(item)).to_string();
        match self {
            Reason::BecauseOf { item } => format!("because of {}", name(*item)),
            Reason::Like { item, .. } => format!("like {}", name(*item)),
            Reason::BoughtTogether(pair) => {
                let often =
                    if pair.lift >= 1.5 { format!(", {:.0} times more often than by chance", pair.lift) } else { String::new() };
                format!("bought together with {} in {} orders{often}", name(pair.item), pair.orders)
            }
            Reason::BoughtBefore { orders: 1, days } => format!("bought before, {}", ago(*days)),
            Reason::BoughtBefore { orders, days } => format!("bought {orders} times, last {}", ago(*days)),
            Reason::SteppedUp(SteppedUp { item, shoppers: 0, .. }) => format!("a step up from {}", name(*item)),
            Reason::SteppedUp(SteppedUp { item, shoppers, .. }) => {
                format!("{shoppers} shoppers of {} went on to this", name(*item))
            }
            Reason::Due { orders, days, due_in } => {
                let often = if *orders == 1 { "once".to_string() } else { format!("{orders} times, last") };
                let due = match due_in {
                    i32::MIN..=-1 => format!("was due {}", ago(due_in.unsigned_abs())),
                    0 => "due today".to_string(),
                    1 => "due tomorrow".to_string(),
                    _ => format!("due in {due_in} days"),
                };
                format!("bought {often} {}, {due}", ago(*days))
            }
            Reason::InVisits { visits: 0 } => "in visits like this one".to_string(),
            Reason::InVisits { visits } => format!("in {visits} visits like this one"),
            Reason::BestSeller => "a best seller".to_string(),
        }
    }
}
