//! Which items are eligible for a request: one set, made before the first candidate is proposed and
//! never widened.
//!
//! Availability, the request's filter, its exclusions and the rules all narrow this set; every
//! source of candidates, fallbacks included, searches inside it.

use crate::fitted_models::FittedModels;
use crate::pipeline::live_state::LiveState;
use crate::pipeline::request::ItemFilter;
use crate::pipeline::rules::compiled::ActiveRules;
use crate::pipeline::rules::fields::RuleContext;
use crate::tasks::order_history::days_since_epoch;
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::index::Eligible;

/// Up to so many exclusions are checked candidate by candidate; more are removed from the set.
const FEW_EXCLUSIONS: usize = 16;

/// The items that a request accepts.
#[derive(Clone)]
pub(crate) struct EligibleItems {
    /// One bit an item.
    pub allowed: Bitmap,
    /// Items left out beside it, ascending and few.
    except: Vec<u32>,
}

impl EligibleItems {
    /// Applies stock and a filter with its exclusions, and leaves out the items of `except` too.
    /// O(items / 64 + items of the categories named + exclusions).
    pub fn new(
        models: &FittedModels,
        live: &LiveState,
        filter: &ItemFilter,
        mut except: Vec<u32>,
    ) -> Self {
        let mut allowed = match filter.include_unavailable {
            true => Bitmap::filled(models.items.len(), true),
            false => live.catalog.available().clone(),
        };
        let facets = &models.indexes.facets;
        if !filter.categories.is_empty() {
            facets.keep_categories(&filter.categories, &mut allowed);
        }
        for category in &filter.exclude_categories {
            facets.drop_category(category, &mut allowed);
        }
        if filter.min_price.is_some() || filter.max_price.is_some() {
            let min = filter.min_price.unwrap_or(f32::NEG_INFINITY);
            let max = filter.max_price.unwrap_or(f32::INFINITY);
            // The index knows the prices of the version; those that changed since are checked one
            // by one.
            let changed: Vec<(u32, f32)> = live
                .catalog
                .changed_prices()
                .filter(|&(item, _)| allowed.contains(item))
                .collect();
            facets.keep_prices(min, max, &mut allowed);
            for (item, price) in changed {
                if (min..=max).contains(&price) {
                    allowed.insert(item)
                } else {
                    allowed.remove(item)
                }
            }
        }
        if let Some(currency) = &filter.currency {
            facets.keep_currency(&models.catalog, currency, &mut allowed);
        }
        if let Some(condition) = &filter.condition {
            allowed.intersect(condition);
        }
        except.extend(&filter.exclude);
        if except.len() > FEW_EXCLUSIONS {
            except.drain(..).for_each(|item| allowed.remove(item));
        }
        except.sort_unstable();
        except.dedup();
        Self { allowed, except }
    }

    /// The items of `allowed`, a subset of this set, less the exclusions.
    pub fn within<'a>(&'a self, allowed: &'a Bitmap) -> Eligible<'a> {
        Eligible::without(allowed, &self.except)
    }

    /// All of them.
    pub fn all(&self) -> Eligible<'_> {
        self.within(&self.allowed)
    }

    /// Those that the personal model can recommend.
    pub fn recommendable(&self, models: &FittedModels) -> Bitmap {
        let mut recommendable = self.allowed.clone();
        recommendable.intersect(models.recommendable());
        recommendable
    }

    /// Narrows the set to what the rules that hold for a request leave, and returns these rules.
    pub fn apply_rules<'a>(
        &mut self,
        models: &FittedModels,
        live: &'a LiveState,
        asked: &RuleContext,
    ) -> ActiveRules<'a> {
        let active = live.rules.active(models, &live.catalog, asked);
        active
            .only
            .iter()
            .for_each(|set| self.allowed.intersect(set));
        active
            .exclude
            .iter()
            .for_each(|set| self.allowed.subtract(set));
        if let (Some(user), false) = (asked.user, active.bought.is_empty()) {
            let history = models.order_history.purchase_history(
                user,
                &[],
                asked.context.time.map(days_since_epoch),
            );
            for bought in &history.items {
                let days = history.now - bought.last;
                let leaves_out = |rule: &(f32, Option<&Bitmap>)| {
                    days <= rule.0 && rule.1.is_none_or(|set| set.contains(bought.item))
                };
                if active.bought.iter().any(leaves_out) {
                    self.allowed.remove(bought.item);
                }
            }
        }
        active
    }

    /// Keeps only some items.
    pub fn keep(&mut self, items: impl Iterator<Item = u32>) {
        let mut kept = Bitmap::filled(self.allowed.len(), false);
        items.for_each(|item| kept.insert(item));
        self.allowed.intersect(&kept);
    }
}
