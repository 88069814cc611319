//! From a question to an answer: the ladder of rungs, and the gate that stands before every one of them.
//!
//! A rung ranks the items it has an opinion on; what it leaves of `k` the next rung fills, and the last, popularity, has an
//! opinion on every item. So an answer holds exactly min(k, eligible) items. The gate (availability, filters, exclusions)
//! is one set of eligible items, made before the first rung and never widened.

use crate::answer::{Answer, Applied, AttributeDelta, Ranked, Reason, Rung, SteppedUp};
use crate::arrange::Pool;
use crate::bundle::Bundle;
use crate::context::InContext;
use crate::cross_sell::Cart;
use crate::gate::Gate;
use crate::habits::Past;
use crate::index::found;
use crate::questions::{Again, ForAgain, ForCart, ForItem, ForSession, ForUser};
use crate::recommend::History;
use crate::rules::{Asked, Ruling, Scene};
use crate::top_k::{Scored, TopK};
use crate::upsell::Anchor;
use std::collections::BTreeMap;

/// Why best sellers answer where there is no time for more.
const HURRY: &str = "the deadline leaves no time for more than best sellers";

/// Distinct shoppers below which a count is not told.
const PRIVACY_FLOOR: u32 = 5;

/// A count as it may be told.
fn told(count: u32) -> u32 {
    if count >= PRIVACY_FLOOR { count } else { 0 }
}

/// Where something is boosted, so many of the best are looked at.
const BOOSTED: usize = 1000;
/// Where bounds leave an answer short, so many of the best at most.
const DEEPEST: usize = 5000;

/// Makes an answer inside a gate.
type Make<'a> = dyn Fn(&Gate, Wanted) -> Answer + 'a;

/// What an answer is to be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    scene: &'a Scene,
    k: usize,
    reasons: bool,
}

impl<'a> Wanted<'a> {
    fn of(scene: &'a Scene, k: usize) -> Self {
        Self { scene, k, reasons: !scene.without_reasons }
    }
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
        let asked = Asked { call: "personal", scene: &ask.scene, user: ask.user, anchor: None };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, except));
        let ruling = gate.ruled(self, &rules, &asked);
        let why = if items.is_empty() { "no history of this shopper" } else { "the personal model ranks fewer items than asked" };
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let mut climb = Climb::new(self, gate, wanted, Rung::Personal);
            if ask.hurry {
                return climb.fill_popular(HURRY);
            }
            let trained = gate.trained(self);
            let found = found(|found| self.personal().recommend(history, wanted.k, gate.eligible(&trained), found));
            let sources = match wanted.reasons {
                false => Vec::new(),
                true => self.personal().explain(history, &found.iter().map(|scored| scored.item).collect::<Vec<_>>()),
            };
            let reason = |source: &Option<u32>| source.map(|item| Reason::BecauseOf { item });
            climb.take(&found, |rank, _| sources.get(rank).and_then(reason).into_iter().collect());
            climb.fill_popular(why)
        })
    }

    /// What comes next in a visit. Ladder: visits like this one → the personal model, to which the clicks are a history → popular.
    pub fn for_session(&self, ask: &ForSession) -> Answer {
        let mut except = ask.filter.exclude.clone();
        match ask.again {
            Again::Nothing => except.extend(&ask.clicks),
            Again::Earlier => except.extend(ask.clicks.last()),
            Again::Anything => {}
        }
        let asked = Asked { call: "session", scene: &ask.scene, user: ask.user, anchor: ask.clicks.last().copied() };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, except));
        let ruling = gate.ruled(self, &rules, &asked);
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let mut climb = Climb::new(self, gate, wanted, Rung::Session);
            if ask.hurry {
                return climb.fill_popular(HURRY);
            }
            let mut visits = Vec::new();
            let next =
                found(|found| visits = self.session_model().next(&ask.clicks, wanted.k, gate.eligible(&gate.allowed), found));
            climb.take(&next, |rank, _| vec![Reason::InVisits { visits: told(visits[rank]) }]);
            if next.len() < wanted.k && !ask.clicks.is_empty() {
                let mut distinct = ask.clicks.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let ones = vec![1.0; distinct.len()];
                let mut left = gate.trained(self);
                next.iter().for_each(|scored| left.remove(scored.item));
                let history = History { items: &distinct, values: &ones, user: None };
                let more = found(|found| self.personal().recommend(history, wanted.k - next.len(), gate.eligible(&left), found));
                climb.asked = Rung::Personal;
                climb.take(&more, |_, _| Vec::new());
                climb.asked = Rung::Session;
            }
            climb.fill_popular(if ask.clicks.is_empty() { "no known item was clicked" } else { "too few visits are like this one" })
        })
    }

    /// What a shopper may buy again, by the probability that they do; of what they had and nothing else, so the answer may be empty. One rung.
    pub fn buy_again(&self, ask: &ForAgain) -> Answer {
        let asked = Asked { call: "buy-again", scene: &ask.scene, user: ask.user, anchor: None };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, ask.filter.exclude.clone()));
        let ruling = gate.ruled(self, &rules, &asked);
        let days = ask.days.unwrap_or_else(|| self.buy_again_model().horizon());
        let mut due = ask.user.map(|user| self.due(user, ask.now, days)).unwrap_or_default();
        due.retain(|due| gate.eligible(&gate.allowed).contains(due.item));
        gate.keep(due.iter().map(|due| due.item));
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let mut top = TopK::new(wanted.k);
            due.iter().filter(|due| gate.allowed.contains(due.item)).for_each(|due| top.offer(due.item, due.probability));
            let items = top.into_sorted().into_iter().filter_map(|Scored { item, score }| {
                let due = due.binary_search_by_key(&item, |due| due.item).ok().map(|at| due[at])?;
                let reason = Reason::Due { orders: due.orders, days: due.since as u32, due_in: due.due_in as i32 };
                let reasons = wanted.reasons.then_some(reason).into_iter().collect();
                Some(Ranked { item, score, source: Rung::BuyAgain, reasons, substitute: 0.0 })
            });
            Answer { items: items.collect(), eligible: due.len(), rung: Rung::BuyAgain, fallback: None, rules: Applied::default() }
        })
    }

    /// Items like one item. Ladder: the personal model's similarity → popular.
    pub fn similar(&self, ask: &ForItem) -> Answer {
        let mut except = ask.filter.exclude.clone();
        except.push(ask.item);
        let asked = Asked { call: "similar", scene: &ask.scene, user: ask.user, anchor: Some(ask.item) };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, except));
        let ruling = gate.ruled(self, &rules, &asked);
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let mut climb = Climb::new(self, gate, wanted, Rung::Similar);
            if ask.hurry {
                return climb.fill_popular(HURRY);
            }
            let trained = gate.trained(self);
            let found = match self.personal().algorithm() {
                "popular" => Vec::new(),
                _ => found(|found| self.personal().similar_items(ask.item, wanted.k, gate.eligible(&trained), found)),
            };
            climb.take(&found, |_, scored| vec![Reason::Like { item: ask.item, similarity: scored.score }]);
            climb.fill_popular("nothing is known to be like this item")
        })
    }

    /// What completes a cart: never an item of it, never of its categories (unless asked), never a substitute.
    /// Ladder: complements of the whole cart → popular among what is eligible.
    pub fn cross_sell(&self, ask: &ForCart) -> Answer {
        let mut except = ask.filter.exclude.clone();
        except.extend(&ask.cart);
        if ask.exclude_bought {
            except.extend(ask.user.map_or(&[][..], |user| self.bought(user)));
        }
        let asked = Asked { call: "cross-sell", scene: &ask.scene, user: ask.user, anchor: ask.cart.last().copied() };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, except));
        if ask.same_category {
            self.substitutes(&ask.cart).into_iter().for_each(|other| gate.allowed.remove(other));
        } else {
            ask.cart.iter().for_each(|&item| self.drop_category_of(item, &mut gate.allowed));
        }
        let ruling = gate.ruled(self, &rules, &asked);
        let mut lines = ask.cart.clone();
        lines.sort_unstable();
        lines.dedup();
        let past = match ask.hurry {
            true => Past::default(),
            false => ask.user.map(|user| self.habits().past(user, &lines, ask.now)).unwrap_or_default(),
        };
        let cart = Cart { items: &lines, user: ask.user, past: &past, only_new: ask.exclude_bought };
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let mut climb = Climb::new(self, gate, wanted, Rung::CrossSell);
            if ask.hurry {
                return climb.fill_popular(HURRY);
            }
            let found =
                if lines.is_empty() { Vec::new() } else { self.missing_lines(cart, wanted.k, gate.eligible(&gate.allowed)) };
            climb.take(&found, |_, scored| {
                let before = past
                    .of(scored.item)
                    .map(|habit| Reason::BoughtBefore { orders: habit.orders, days: (past.now - habit.last).max(0.0) as u32 });
                let together = self.complements().evidence(&lines, scored.item).into_iter().map(Reason::BoughtTogether);
                before.into_iter().chain(together).take(2).collect()
            });
            let mut answer = climb.fill_popular(match lines.is_empty() {
                true => "the cart holds no known item",
                false => "too few items are known to go with this cart",
            });
            if wanted.reasons {
                let items: Vec<u32> = answer.items.iter().map(|ranked| ranked.item).collect();
                let scores = self.substitute_scores(&lines, &items);
                answer.items.iter_mut().zip(scores).for_each(|(ranked, score)| ranked.substitute = score);
            }
            answer
        })
    }

    /// The better version of an item: its category (the deepest level with candidates), its currency, a price in the band.
    /// Nothing outside them is ever returned, so the answer may be empty. One rung.
    pub fn upsell(&self, ask: &ForItem) -> Answer {
        let none = || Answer { items: Vec::new(), eligible: 0, rung: Rung::Upsell, fallback: None, rules: Applied::default() };
        let (min, max) = ask.band.unwrap_or_else(|| self.upsell_model().band());
        let Some(path) = self.catalog.category.get(ask.item) else { return none() };
        let mut except = ask.filter.exclude.clone();
        except.push(ask.item);
        let asked = Asked { call: "upsell", scene: &ask.scene, user: ask.user, anchor: Some(ask.item) };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, except));
        let ruling = gate.ruled(self, &rules, &asked);
        let shelf = gate.shelf.clone();
        let price = |item: u32| shelf.price(&self.catalog, item);
        let anchor = price(ask.item);
        if anchor.is_nan() {
            return none();
        }
        let currency = self.catalog.currency.code(ask.item);
        let eligible = gate.eligible(&gate.allowed);
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
        let Some(candidates) = candidates else { return none() };
        gate.keep(candidates.iter().copied());
        let past = ask.user.map(|user| self.habits().past(user, &[], ask.now)).filter(|past| past.orders > 0);
        let from = Anchor { item: ask.item, shopper: ask.user.zip(past.as_ref()) };
        let odds = self.step_odds(&from, &candidates, &price);
        // The step is the reason, and what its prices are told from.
        let wanted = Wanted { reasons: true, ..Wanted::of(&ask.scene, ask.k) };
        self.arrange(&gate, &ruling, wanted, &|gate, wanted| {
            let mut top = TopK::new(wanted.k);
            let within = candidates.iter().zip(&odds).filter(|candidate| gate.allowed.contains(*candidate.0));
            within.for_each(|(&item, &odds)| top.offer(item, odds));
            let step = |Scored { item, score }| {
                let shoppers = told(self.upsell_model().shoppers(ask.item, item));
                let price_delta = price(item) - anchor;
                let step = SteppedUp { item: ask.item, shoppers, price_delta, price_ratio: price(item) / anchor };
                Ranked { item, score, source: Rung::Upsell, reasons: vec![Reason::SteppedUp(step)], substitute: 0.0 }
            };
            let items = top.into_sorted().into_iter().map(step).collect();
            Answer { items, eligible: candidates.len(), rung: Rung::Upsell, fallback: None, rules: Applied::default() }
        })
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
        let asked = Asked { call: "rank", scene: &ask.scene, user: ask.user, anchor: None };
        let (rules, mut gate) = (self.compendium(), Gate::new(self, &ask.filter, ask.filter.exclude.clone()));
        gate.keep(items.iter().copied());
        let ruling = gate.ruled(self, &rules, &asked);
        self.arrange(&gate, &ruling, Wanted::of(&ask.scene, ask.k), &|gate, wanted| {
            let asked: Vec<u32> = gate.allowed.iter().filter(|&item| gate.eligible(&gate.allowed).contains(item)).collect();
            let mut top = TopK::new(wanted.k);
            for (&item, score) in asked.iter().zip(self.personal().score(history, &asked)) {
                if let Some(score) = score.filter(|_| self.is_trained(item)) {
                    top.offer(item, score);
                }
            }
            let mut climb = Climb::new(self, gate, wanted, Rung::Personal);
            climb.take(&top.into_sorted(), |_, _| Vec::new());
            climb.fill_popular(match history.items.is_empty() {
                true => "no history of this shopper",
                false => "some items are new to the personal model",
            })
        })
    }

    /// Makes an answer and arranges it as the rules and the request want it.
    fn arrange(&self, gate: &Gate, ruling: &Ruling, wanted: Wanted, make: &Make) -> Answer {
        let mut answer = match ruling.arranges() {
            false => make(gate, wanted),
            true => self.rearranged(gate, ruling, &wanted, make),
        };
        answer.rules = ruling.applied.clone();
        answer
    }

    fn rearranged(&self, gate: &Gate, ruling: &Ruling, wanted: &Wanted, make: &Make) -> Answer {
        let eligible = gate.eligible(&gate.allowed);
        let mut pins: Vec<(usize, u32)> = Vec::new();
        for &(place, item) in ruling.pins.iter().filter(|pin| pin.0 <= wanted.k && eligible.contains(pin.1)) {
            if pins.iter().all(|known| known.1 != item) {
                pins.push((place, item));
            }
        }
        let mut depth = if ruling.boosts.is_empty() { (4 * wanted.k).max(100) } else { BOOSTED.max(wanted.k) };
        let (mut items, pool) = loop {
            let mut pool = make(gate, Wanted { k: depth, reasons: false, ..*wanted });
            let candidates = std::mem::take(&mut pool.items);
            let whole = candidates.len() < depth || ruling.controls.min_relevance.is_some_and(|least| least > 0.0);
            let items = self.arranged(Pool { items: candidates, pins: &pins, k: wanted.k }, ruling, wanted.scene);
            if items.len() >= wanted.k || whole || depth >= DEEPEST {
                break (items, pool);
            }
            depth = (depth * 8).min(DEEPEST);
        };
        if wanted.reasons {
            // Asked again of those alone that were chosen.
            let mut chosen = gate.clone();
            chosen.keep(items.iter().map(|ranked| ranked.item));
            let mut told: BTreeMap<u32, Ranked> =
                make(&chosen, Wanted { k: items.len(), ..*wanted }).items.into_iter().map(|ranked| (ranked.item, ranked)).collect();
            for ranked in &mut items {
                if let Some(Ranked { reasons, substitute, .. }) = told.remove(&ranked.item) {
                    (ranked.reasons, ranked.substitute) = (reasons, substitute);
                }
            }
        }
        let by_model = |ranked: &&Ranked| ranked.source != Rung::Pinned;
        Answer {
            eligible: if items.len() < wanted.k { items.len() } else { pool.eligible },
            rung: items.iter().find(by_model).map_or(pool.rung, |first| first.source),
            fallback: pool.fallback.filter(|_| items.iter().any(|ranked| ranked.source == Rung::Popular)),
            items,
            rules: Applied::default(),
        }
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

/// An answer in the making.
struct Climb<'a> {
    bundle: &'a Bundle,
    gate: &'a Gate,
    wanted: Wanted<'a>,
    asked: Rung,
    items: Vec<Ranked>,
}

impl<'a> Climb<'a> {
    fn new(bundle: &'a Bundle, gate: &'a Gate, wanted: Wanted<'a>, asked: Rung) -> Self {
        Self { bundle, gate, wanted, asked, items: Vec::with_capacity(wanted.k.min(1024)) }
    }

    fn take(&mut self, scored: &[Scored], reasons: impl Fn(usize, Scored) -> Vec<Reason>) {
        let (source, told) = (self.asked, self.wanted.reasons);
        let ranked = scored.iter().enumerate().map(|(rank, &scored)| Ranked {
            item: scored.item,
            score: scored.score,
            source,
            reasons: if told { reasons(rank, scored) } else { Vec::new() },
            substitute: 0.0,
        });
        self.items.extend(ranked);
    }

    /// Best sellers as they sell under the circumstances of the question, and as they sell anywhere where nothing is known of it.
    fn fill_popular(mut self, why: &'static str) -> Answer {
        let mut fallback = None;
        if self.items.len() < self.wanted.k {
            let mut left = self.gate.allowed.clone();
            self.items.iter().for_each(|ranked| left.remove(ranked.item));
            let context = self.bundle.context_model();
            let asked = &self.wanted.scene.circumstances;
            let missing = self.wanted.k - self.items.len();
            for found in context.ranked(asked, self.bundle.popular(), missing, self.gate.eligible(&left)) {
                fallback = Some(why);
                let here = found.because.and_then(|dimension| {
                    let value = context.value(asked, dimension)?;
                    Some(Reason::PopularHere { place: format!("{}: {value}", context.dimension(dimension)), lift: found.lift })
                });
                let reason = (self.wanted.reasons && found.score > 0.0).then(|| here.unwrap_or(Reason::BestSeller));
                let InContext { item, score, .. } = found;
                let reasons = reason.into_iter().collect();
                self.items.push(Ranked { item, score, source: Rung::Popular, reasons, substitute: 0.0 });
            }
        }
        let eligible = self.gate.eligible(&self.gate.allowed).count();
        let rung = self.items.first().map_or(self.asked, |first| first.source);
        Answer { items: self.items, eligible, rung, fallback, rules: Applied::default() }
    }
}
