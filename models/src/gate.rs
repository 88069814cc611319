//! The gate: which items a request accepts, as one set that is made before the first rung and never widened.

use crate::bitmap::Bitmap;
use crate::bundle::Bundle;
use crate::index::Eligible;
use crate::questions::ItemFilter;
use crate::rules::{Asked, Compendium, Ruling};
use crate::shelf::Shelf;
use std::sync::Arc;

/// Items of a list that is looked at, and not taken out of the set.
const SHORT: usize = 16;

/// The items that a request accepts.
#[derive(Clone)]
pub(crate) struct Gate {
    pub allowed: Bitmap,
    /// Ascending, and few.
    except: Vec<u32>,
    /// Prices and stock of this answer.
    pub shelf: Arc<Shelf>,
}

impl Gate {
    pub fn new(bundle: &Bundle, filter: &ItemFilter, mut except: Vec<u32>) -> Self {
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
        if let Some(condition) = &filter.condition {
            allowed.intersect(condition);
        }
        // A short list is looked at for candidates only; a long one is cheaper taken out of the set.
        if except.len() > SHORT {
            except.drain(..).for_each(|item| allowed.remove(item));
        }
        except.sort_unstable();
        except.dedup();
        Self { allowed, except, shelf }
    }

    pub fn eligible<'a>(&'a self, allowed: &'a Bitmap) -> Eligible<'a> {
        Eligible::without(allowed, &self.except)
    }

    /// Those of the allowed items that the personal model learned about: a vector of zeros has no opinion.
    pub fn trained(&self, bundle: &Bundle) -> Bitmap {
        let mut trained = self.allowed.clone();
        trained.intersect(bundle.trained());
        trained
    }

    /// Narrows the gate to what the rules that hold for a question leave, and returns them.
    pub fn ruled<'a>(&mut self, bundle: &Bundle, rules: &'a Compendium, asked: &Asked) -> Ruling<'a> {
        let ruling = rules.ruling(bundle, asked);
        ruling.only.iter().for_each(|set| self.allowed.intersect(set));
        ruling.exclude.iter().for_each(|set| self.allowed.subtract(set));
        if let (Some(user), false) = (asked.user, ruling.bought.is_empty()) {
            let now = asked.scene.time.map(crate::habits::day);
            let past = bundle.habits().past(user, &[], now);
            for habit in &past.habits {
                let days = past.now - habit.last;
                let lately =
                    |bought: &(f32, Option<&Bitmap>)| days <= bought.0 && bought.1.is_none_or(|set| set.contains(habit.item));
                if ruling.bought.iter().any(lately) {
                    self.allowed.remove(habit.item);
                }
            }
        }
        ruling
    }

    /// Keeps some items only.
    pub fn keep(&mut self, items: impl Iterator<Item = u32>) {
        let mut kept = Bitmap::filled(self.allowed.len(), false);
        items.for_each(|item| kept.insert(item));
        self.allowed.intersect(&kept);
    }
}
