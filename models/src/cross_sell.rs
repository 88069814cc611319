//! Cross-sell: the missing line of a cart, by everything that is known of the cart, its shopper, and the items.
//!
//! Candidates come from four sides: what goes with the cart by pairs and, for rare items, by vectors, what the shopper comes back for, and what
//! sells. What the shopper's taste proposes found nothing better beside them on validation weeks, so it is a feature alone. Each is described by
//! some forty features, and how they weigh is learned by conditional logit (`logit.rs`) on the last weeks of the log, by models fitted to what
//! came before: for each line of an order, given its others. There are three sets of weights, for what may be asked: a shopper's cart, a
//! shopper's cart without what they had before, and a stranger's.

use crate::bundle::Bundle;
use crate::complements::{CartEvidence, Complements, ComplementsModel};
use crate::groups::{ByGroup, OfGroup};
use crate::habits::{Habit, LOGS, Past, RHYTHM, day};
use crate::index::{Eligible, found};
use crate::kernels::{dot, ln, simd};
use crate::logit::{Choices, softmax};
use crate::order_vectors::{OrderVectors, by_order};
use crate::popular::PopularModel;
use crate::recommend::{History, Training, Watch};
use crate::top_k::{self, Scored};
use crate::weights::{Array, Tensor, Weights};
use crate::{Bitmap, Result};
use aisle_data::{NONE, Orders, SplitMix};
use rayon::prelude::*;

/// Features of every item.
const COMMON: usize = 27;
/// Further features of an item that the shopper had before.
const OWN: usize = 18;
/// Numbers of a candidate: the features of a new item, or those of one had before.
const WIDTH: usize = COMMON + COMMON + OWN;

/// Candidates from each side, or as many as are asked for. Three times as many found nothing better on validation weeks.
const CANDIDATES: usize = 20;

/// Questions that weights are learned from, at most.
const QUESTIONS: usize = 8000;
/// Alternatives of a question, at most: others are drawn from its candidates.
const ALTERNATIVES: usize = 100;
const RIDGE: f64 = 3.0;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A shopper with a past.
    Shopper,
    /// A shopper with a past that is left out.
    Discoverer,
    /// Nobody known.
    Stranger,
}

/// What the weighing of a cart needs to know of all items.
pub(crate) struct ItemNumbers {
    /// Orders of the last four weeks that hold an item.
    recent: Array<f32>,
    /// Usual days between a shopper's purchases.
    gap: Array<f32>,
    /// Share of its shoppers who came back for it.
    returning: Array<f32>,
}

/// What is known of an item whoever asks, as features.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    /// ln(1 + orders that hold it).
    sold: f32,
    /// ln(1 + those of the last four weeks).
    pub recent: f32,
    /// Share of its shoppers who came back for it.
    pub returning: f32,
    /// ln of the usual days between a shopper's purchases.
    pub gap: f32,
    /// ln(1 + decayed sales).
    pub sales: f32,
}

const RECENT_DAYS: f32 = 28.0;
/// Days between purchases where nobody came back.
const USUAL_GAP: f32 = 60.0;

impl ItemNumbers {
    fn of(orders: &Orders, items: usize) -> Self {
        let timed = orders.time.iter().any(|&time| time != 0);
        let end = orders.time.iter().copied().max().map_or(0.0, day);
        let mut recent = vec![0f32; items];
        let mut bought: Vec<(u32, u32, u32, f32)> = Vec::new();
        for order in 0..orders.len() {
            let moment = day(orders.time[order]);
            for &item in orders.order(order) {
                if !timed || moment > end - RECENT_DAYS {
                    recent[item as usize] += 1.0;
                }
                if orders.user[order] != NONE {
                    bought.push((item, orders.user[order], order as u32, moment));
                }
            }
        }
        bought.par_sort_unstable_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        let mut gap = vec![f32::NAN; items];
        let mut returning = vec![0f32; items];
        let mut all = Vec::new();
        for of_item in bought.chunk_by(|a, b| a.0 == b.0) {
            let mut gaps: Vec<f32> = Vec::new();
            let mut shoppers = 0;
            for own in of_item.chunk_by(|a, b| a.1 == b.1) {
                shoppers += 1;
                if own.len() > 1 {
                    let days = own.iter().map(|line| line.3);
                    let (first, last) = days.fold((f32::MAX, f32::MIN), |(first, last), day| (first.min(day), last.max(day)));
                    gaps.push(((last - first) / (own.len() - 1) as f32).max(0.5));
                }
            }
            returning[of_item[0].0 as usize] = gaps.len() as f32 / (shoppers as f32 + 5.0);
            gaps.sort_by(f32::total_cmp);
            if gaps.len() >= 3 {
                gap[of_item[0].0 as usize] = gaps[gaps.len() / 2];
                all.push(gaps[gaps.len() / 2]);
            }
        }
        all.sort_by(f32::total_cmp);
        let usual = if all.is_empty() { USUAL_GAP } else { all[all.len() / 2] };
        gap.iter_mut().filter(|gap| gap.is_nan()).for_each(|gap| *gap = usual);
        Self { recent: recent.into(), gap: gap.into(), returning: returning.into() }
    }

    fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        Ok(Self {
            recent: weights.reals("items.recent", items)?,
            gap: weights.reals("items.gap", items)?,
            returning: weights.reals("items.returning", items)?,
        })
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let named = [("items.recent", &self.recent), ("items.gap", &self.gap), ("items.returning", &self.returning)];
        named.into_iter().map(|(name, values)| Tensor::f32(name, &[values.len()], values)).collect()
    }
}

/// A cart, and who holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cart<'a> {
    /// Item rows, ascending.
    pub items: &'a [u32],
    /// The shopper.
    pub user: Option<u32>,
    /// What they did before, as this cart sees it; nothing of a stranger.
    pub past: &'a Past,
    /// What the shopper had before is not asked for.
    pub only_new: bool,
}

/// What is known of a candidate for a cart.
struct Features {
    common: [f32; COMMON],
    /// Of what the shopper had before.
    own: Option<[f32; OWN]>,
}

impl Features {
    /// Under weights.
    fn weighed(&self, weights: &[f32]) -> f32 {
        match &self.own {
            None => dot(&self.common, &weights[..COMMON]),
            Some(own) => dot(&self.common, &weights[COMMON..2 * COMMON]) + dot(own, &weights[2 * COMMON..]),
        }
    }

    /// As [`WIDTH`] numbers.
    fn row(&self) -> [f32; WIDTH] {
        let mut row = [0f32; WIDTH];
        match &self.own {
            None => row[..COMMON].copy_from_slice(&self.common),
            Some(own) => {
                row[COMMON..2 * COMMON].copy_from_slice(&self.common);
                row[2 * COMMON..].copy_from_slice(own);
            }
        }
        row
    }
}

/// Candidates of a question, ascending, and what was asked of each.
struct Alternatives<T> {
    asker: Asker,
    items: Vec<u32>,
    told: Vec<T>,
}

/// Fitted: the evidence, and how it weighs.
pub struct CrossSellModel {
    /// Pairs that go together.
    pub complements: ComplementsModel,
    vectors: OrderVectors,
    numbers: ItemNumbers,
    /// What features say of an item whoever asks, see [`CrossSellModel::describe`].
    described: Vec<Described>,
    /// [`WIDTH`] weights for each [`Asker`].
    weights: Array<f32>,
    /// Questions that the weights were learned from; 0 = they were not.
    pub learned_from: usize,
}

impl CrossSellModel {
    /// Everything but the weights, which then let the evidence of pairs decide.
    pub(crate) fn fit(
        settings: &Complements,
        complements: ComplementsModel,
        training: &Training,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let matrix = training.orders.matrix(training.catalog.len(), settings.max_order_items);
        let vectors = OrderVectors::fit(&by_order(training, &matrix), settings.factors, watch)?;
        let mut weights = vec![0f32; 3 * WIDTH];
        for weights in weights.chunks_mut(WIDTH) {
            (weights[CART_EVIDENCE], weights[COMMON + CART_EVIDENCE]) = (1.0, 1.0);
        }
        let numbers = ItemNumbers::of(training.orders, training.catalog.len());
        Ok(Self { complements, vectors, numbers, described: Vec::new(), weights: weights.into(), learned_from: 0 })
    }

    pub(crate) fn load(settings: &Complements, items: usize, weights: &mut Weights) -> Result<Self> {
        Ok(Self {
            complements: ComplementsModel::load(settings, items, weights)?,
            vectors: OrderVectors::load(items, weights)?,
            numbers: ItemNumbers::load(items, weights)?,
            described: Vec::new(),
            weights: weights.reals("cross_sell.weights", 3 * WIDTH)?,
            learned_from: 0,
        })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.complements.tensors();
        tensors.extend(self.vectors.tensors());
        tensors.extend(self.numbers.tensors());
        tensors.push(Tensor::f32("cross_sell.weights", &[self.weights.len()], &self.weights));
        tensors
    }

    /// Takes the logarithms of what is known of each item, once a version and not once a candidate.
    pub(crate) fn describe(&mut self, popular: &PopularModel) {
        let numbers = &self.numbers;
        let of = |item: usize| Described {
            sold: (self.complements.sold(item as u32) as f32).ln_1p(),
            recent: numbers.recent[item].ln_1p(),
            returning: numbers.returning[item],
            gap: numbers.gap[item].max(0.5).ln(),
            sales: popular.sales(item as u32).ln_1p(),
        };
        self.described = (0..numbers.recent.len()).into_par_iter().map(of).collect();
    }

    /// What features say of an item whoever asks.
    pub(crate) fn described(&self, item: u32) -> Described {
        self.described[item as usize]
    }

    fn weights(&self, asker: Asker) -> &[f32] {
        &self.weights[asker as usize * WIDTH..][..WIDTH]
    }
}

/// The place of the pairs' evidence among the common features.
const CART_EVIDENCE: usize = 0;

impl Bundle {
    /// The best for a cart among what is eligible, with the probability that it is the next line, were it one of the candidates.
    pub(crate) fn missing_lines(&self, cart: Cart, k: usize, eligible: Eligible) -> Vec<Scored> {
        let model = self.cross_sell_model();
        let Alternatives { items, told: mut odds, .. } =
            self.alternatives(cart, k, eligible, |asker, features| features.weighed(model.weights(asker)));
        softmax(&mut odds, false);
        let (mut keys, mut best) = (Vec::new(), Vec::new());
        top_k::best(&items, &odds, k, &mut keys, &mut best);
        best
    }

    /// The candidates for a cart, ascending, and what is made of their features.
    fn alternatives<T>(&self, cart: Cart, k: usize, eligible: Eligible, tell: impl Fn(Asker, &Features) -> T) -> Alternatives<T> {
        let model = self.cross_sell_model();
        let past = cart.past;
        let asker = match past.orders {
            0 => Asker::Stranger,
            _ if cart.only_new => Asker::Discoverer,
            _ => Asker::Shopper,
        };
        let mut touched = eligible.allowed.clone();
        touched.intersect(self.touched());
        let eligible = Eligible::without(&touched, eligible.except);
        // A stranger's taste is what the cart says of it.
        let ones = vec![1.0; cart.items.len()];
        let history = match asker {
            Asker::Stranger => History { items: cart.items, values: &ones, user: None },
            _ => {
                let (items, values) = cart.user.map_or((&[][..], &[][..]), |user| self.history(user));
                History { items, values, user: cart.user }
            }
        };
        let k = CANDIDATES.max(k);
        let mut items: Vec<u32> = Vec::with_capacity(past.habits.len() + 5 * k);
        if asker == Asker::Shopper {
            items.extend(past.habits.iter().map(|habit| habit.item).filter(|&item| eligible.contains(item)));
        }
        let of_cart = model.vectors.of(cart.items);
        items.extend(found(|found| of_cart.complete(k, eligible, found)).iter().map(|scored| scored.item));
        items.extend(self.popular().ranked(eligible).take(k));
        let evidence = model.complements.of_cart(cart.items, |touched, evidence| {
            let touched: Vec<u32> = touched.iter().copied().filter(|&item| eligible.contains(item)).collect();
            let all: Vec<CartEvidence> = touched.iter().map(|&item| evidence(item)).collect();
            let (mut scores, mut keys, mut best) = (Vec::with_capacity(all.len()), Vec::new(), Vec::new());
            let parts: [fn(&CartEvidence) -> f32; 3] = [|all| all.together, |all| all.confidence, |all| all.ridge];
            for part in parts {
                scores.clear();
                scores.extend(all.iter().map(part));
                top_k::best(&touched, &scores, k, &mut keys, &mut best);
                items.extend(best.iter().map(|scored| scored.item));
            }
            items.sort_unstable();
            items.dedup();
            items.iter().map(|&item| evidence(item)).collect::<Vec<_>>()
        });
        let near = of_cart.scores(&items);
        let taste = self.personal().standing(history, &items);
        let by_group = ByGroup::of(past, self.groups());
        let size = cart.items.len().max(1) as f32;
        let seen = |(at, &item): (usize, &u32)| {
            let habit = past.of(item);
            Seen { item, evidence: evidence[at], near: near[at], taste: taste[at].unwrap_or(0.0), size, habit }
        };
        let seen: Vec<Seen> = items.iter().enumerate().map(seen).collect();
        let ln_orders = past.ln_orders();
        // All logarithms at once.
        let mut logs: Vec<f32> = Vec::with_capacity(items.len() * (COMMON_LOGS + LOGS + OWN_LOGS));
        seen.iter().for_each(|seen| seen.numbers(past, &mut logs));
        ln(simd(), &mut logs);
        let mut logs = logs.as_slice();
        let tell = |seen: &Seen| {
            let common = model.common(seen, by_group.get(self.groups(), seen.item), take(&mut logs));
            let own = seen.habit.map(|habit| model.own((seen, habit), take(&mut logs), take(&mut logs), ln_orders));
            tell(asker, &Features { common, own })
        };
        let told = seen.iter().map(tell).collect();
        Alternatives { asker, items, told }
    }
}

/// The first numbers of a list, which it loses.
fn take<const N: usize>(from: &mut &[f32]) -> [f32; N] {
    from.split_first_chunk().map_or([0.0; N], |(first, rest)| {
        *from = rest;
        *first
    })
}

/// A candidate as a cart sees it.
struct Seen<'a> {
    item: u32,
    evidence: CartEvidence,
    near: f32,
    taste: f32,
    /// Items of the cart.
    size: f32,
    /// If the shopper had it before.
    habit: Option<&'a Habit>,
}

/// Features that are logarithms of what only this cart knows of a candidate.
const COMMON_LOGS: usize = 2;
/// The same of what the shopper had before, beside [`Habit::numbers`].
const OWN_LOGS: usize = 4;

impl Seen<'_> {
    /// What logarithms are taken of.
    fn numbers(&self, past: &Past, out: &mut Vec<f32>) {
        out.extend([0.05 + self.evidence.together / self.size, 0.01 + self.evidence.confidence / self.size]);
        if let Some(habit) = self.habit {
            out.extend(habit.numbers(past.now));
            let each = habit.alike / (habit.orders as f32).max(1.0);
            out.extend([0.05 + habit.alike, 0.02 + habit.alike_lately, 0.02 + each, 1.0 + habit.beside]);
        }
    }
}

impl CrossSellModel {
    fn common(&self, seen: &Seen, bought: [&OfGroup; 4], [together, confidence]: [f32; COMMON_LOGS]) -> [f32; COMMON] {
        let &Seen { item, evidence, near, taste, size, .. } = seen;
        let [path, category, brand, line] = bought;
        let Described { sold, recent, returning, gap, sales } = self.described(item);
        [
            together,
            (evidence.confidence / size).sqrt(),
            confidence,
            near,
            near.max(0.0).sqrt(),
            evidence.ridge,
            evidence.ridge.max(0.0).sqrt(),
            taste,
            taste.max(0.0).sqrt(),
            sold,
            recent,
            returning,
            gap,
            path.lines,
            path.faded,
            path.since,
            path.share,
            category.lines,
            category.faded,
            category.since,
            category.share,
            brand.lines,
            line.lines,
            line.faded,
            line.since,
            sales,
            path.half - category.lines,
        ]
    }

    fn own(&self, (seen, habit): (&Seen, &Habit), logs: [f32; LOGS], own: [f32; OWN_LOGS], ln_orders: f32) -> [f32; OWN] {
        let [alike, alike_lately, alike_each, beside] = own;
        let gap = if habit.orders > 1 { logs[LOGS - 1] } else { self.described(seen.item).gap };
        let mut features = [0f32; OWN];
        features[..RHYTHM].copy_from_slice(&Habit::rhythm(logs, ln_orders, gap));
        features[RHYTHM..].copy_from_slice(&[
            alike,
            alike_lately,
            beside,
            (habit.beside / (habit.orders as f32).max(1.0)).min(3.0),
            seen.size.ln(),
            ln_orders,
            if habit.orders > 1 { 1.0 } else { 0.0 },
            alike_each,
        ]);
        features
    }
}

/// Learns the weights of a version from the orders that came after what its models were fitted to. `past` is a version fitted to
/// what came before `later`; both have the same rows of users and items. Returns them with the number of questions.
pub(crate) fn learn(past: &Bundle, later: &Orders, watch: &dyn Watch) -> Option<(Vec<f32>, usize)> {
    let items = past.items.len();
    let sold = Bitmap::of(items, |item| past.cross_sell_model().complements.sold(item) > 0 && past.is_trained(item));
    let category = |item: u32| past.groups().category_of(item);
    let mut asked: Vec<(usize, usize)> = Vec::new();
    for order in 0..later.len() {
        let lines: Vec<u32> = later.order(order).iter().copied().filter(|&item| sold.contains(item)).collect();
        if !(3..=200).contains(&lines.len()) {
            continue;
        }
        for (at, &target) in lines.iter().enumerate() {
            let code = category(target);
            let alone = lines.iter().enumerate().all(|(other, &item)| other == at || category(item) != code);
            if code == NONE || alone {
                asked.push((order, at));
            }
        }
    }
    if asked.len() < 50 {
        return None;
    }
    // Spread evenly over orders and lines.
    let mut random = SplitMix(42);
    let mut drawn: Vec<(u64, (usize, usize))> = asked.into_iter().map(|question| (random.draw(), question)).collect();
    drawn.sort_unstable();
    drawn.truncate(4 * QUESTIONS);

    let question = |order: usize, at: usize, asker: Asker| {
        let lines: Vec<u32> = later.order(order).iter().copied().filter(|&item| sold.contains(item)).collect();
        let target = lines[at];
        let rest: Vec<u32> = lines.into_iter().filter(|&item| item != target).collect();
        let user = Some(later.user[order]).filter(|&user| user != NONE && asker != Asker::Stranger);
        let mut except = rest.clone();
        let mut allowed = sold.clone();
        for &item in &rest {
            past.drop_category_of(item, &mut allowed);
        }
        if asker == Asker::Discoverer {
            let own = user.map(|user| past.habits().past(user, &[], None)).unwrap_or_default();
            except.extend(own.habits.iter().map(|habit| habit.item));
            except.sort_unstable();
            except.dedup();
        }
        let now = Some(day(later.time[order]));
        let habits = user.map(|user| past.habits().past(user, &rest, now)).unwrap_or_default();
        let cart = Cart { items: &rest, user, past: &habits, only_new: asker == Asker::Discoverer };
        let Alternatives { asker: asked, items, told: features } =
            past.alternatives(cart, 0, Eligible::without(&allowed, &except), |_, features| features.row());
        // A shopper without a past is a stranger: such questions teach the strangers' weights.
        let chosen = items.binary_search(&target).ok().filter(|_| asked == asker)?;
        // The chosen one first, then others as a hash of the question draws them.
        let mut random = SplitMix(order as u64 ^ (at as u64) << 32);
        let mut others: Vec<(u64, usize)> = (0..items.len()).filter(|&at| at != chosen).map(|at| (random.draw(), at)).collect();
        others.sort_unstable();
        let rows = std::iter::once(chosen).chain(others.into_iter().take(ALTERNATIVES - 1).map(|(_, at)| at));
        Some(rows.flat_map(|at| features[at]).collect::<Vec<f32>>())
    };
    let mut weights = past.cross_sell_model().weights.to_vec();
    let mut learned = 0;
    for (number, asker) in [Asker::Shopper, Asker::Discoverer, Asker::Stranger].into_iter().enumerate() {
        let mut choices = Choices::new(WIDTH, false);
        for block in drawn.chunks(1024) {
            let sets: Vec<_> = block.par_iter().map(|&(_, (order, at))| question(order, at, asker)).collect();
            sets.into_iter().flatten().for_each(|rows| choices.push(&rows, Some(0)));
            if choices.len() >= QUESTIONS {
                break;
            }
        }
        watch.step("cross-sell: learning", number + 1, 3);
        if choices.len() < 50 {
            continue;
        }
        learned += choices.len();
        if let Some(fitted) = choices.fit(RIDGE) {
            weights[asker as usize * WIDTH..][..WIDTH].copy_from_slice(&fitted);
        }
    }
    (learned > 0).then_some((weights, learned))
}

impl CrossSellModel {
    /// With weights that were learned.
    pub(crate) fn with_weights(self, learned: Option<(Vec<f32>, usize)>) -> Self {
        match learned {
            Some((weights, learned_from)) => Self { weights: weights.into(), learned_from, ..self },
            None => self,
        }
    }
}
