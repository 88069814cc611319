//! Shops, and everything that requests to them can say; which items are then eligible.

use crate::common::algorithms::fast_algorithms;
use crate::common::home_and_tools::{ITEMS, USERS, fit_shop};
use crate::common::served::{ServedVersion, items_of};
use aisle_models::{
    Answer, Boost, CartRequest, Controls, FittedModels, ItemFilter, ItemRequest, Pin,
    ReorderRequest, RepeatPolicy, RequestContext, Rule, SessionRequest, UserRequest,
};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Every fast algorithm on the shop, fitted once for all tests of this file; the first is ALS.
static SHOPS: LazyLock<Vec<ServedVersion>> = LazyLock::new(|| {
    let shops = fast_algorithms().into_iter().map(fit_shop);
    shops.map(ServedVersion::new).collect()
});

/// Highest price that the rule of a scenario lets through.
const RULE_MAX_PRICE: f32 = 1.8;
/// Highest price that the condition of a scenario lets through.
const CONDITION_MAX_PRICE: f32 = 1.6;

/// A shop and everything that requests to it can say.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Which of [`SHOPS`] answers beside the first.
    pub shop: usize,
    pub filter: ItemFilter,
    pub k: usize,
    /// The known shopper of the request.
    pub user: Option<u32>,
    /// The item that a request is about, or that a shopper touched recently.
    pub item: u32,
    /// A cart, or the clicks of a visit.
    pub items: Vec<u32>,
    pub controls: Controls,
    pub repeats: RepeatPolicy,
    pub exclude_purchased: bool,
    pub same_category: bool,
    pub popular_only: bool,
    pub omit_reasons: bool,
    /// Whether requests say their context and time.
    pub has_context: bool,
    /// Whether a rule that does everything at once is in force.
    pub has_rule: bool,
    /// Whether the filter has a condition.
    pub has_condition: bool,
}

fn filter() -> impl Strategy<Value = ItemFilter> {
    let paths = ["Home", "Home > Cups", "Tools > Nails", "None"].map(String::from);
    let paths = prop::sample::subsequence(paths.to_vec(), 0..3);
    let price = prop::option::of(0.5f32..3.0);
    let exclude = prop::collection::vec(0..ITEMS, 0..8);
    let fields = (
        (paths.clone(), paths),
        (price.clone(), price),
        any::<bool>(),
        exclude,
    );
    fields.prop_map(
        |(categories, prices, include_unavailable, exclude)| ItemFilter {
            categories: categories.0,
            exclude_categories: categories.1,
            min_price: prices.0,
            max_price: prices.1,
            currency: None,
            include_unavailable,
            exclude,
            condition: None,
        },
    )
}

pub fn scenario() -> impl Strategy<Value = Scenario> {
    let shop = 0..fast_algorithms().len();
    let user = prop::option::of(0..USERS);
    let items = prop::collection::vec(0..ITEMS, 0..4);
    let repeats = prop::sample::select(vec![
        RepeatPolicy::All,
        RepeatPolicy::AllButLast,
        RepeatPolicy::None,
    ]);
    let controls = (
        prop::option::of(Just(0.4f32)),
        prop::option::of(Just(0.7f32)),
    );
    let flags = any::<[bool; 7]>();
    let request = (filter(), 0usize..30, user, 0..ITEMS, items);
    (shop, request, repeats, controls, flags).prop_map(
        |(shop, (filter, k, user, item, items), repeats, (diversity, rotation), flags)| {
            let [
                exclude_purchased,
                same_category,
                popular_only,
                omit_reasons,
                ..,
            ] = flags;
            let [.., has_context, has_rule, has_condition] = flags;
            let controls = Controls {
                diversity,
                rotation,
                ..Controls::default()
            };
            Scenario {
                shop,
                filter,
                k,
                user,
                item,
                items,
                controls,
                repeats,
                exclude_purchased,
                same_category,
                popular_only,
                omit_reasons,
                has_context,
                has_rule,
                has_condition,
            }
        },
    )
}

/// A rule that excludes, boosts and pins; one pin names no item, one stands behind most answers.
fn rule() -> Rule {
    let pin = |item_id: &str, position| Pin {
        item_id: item_id.into(),
        position,
    };
    Rule {
        name: "all at once".into(),
        exclude: Some(format!("item.price > {RULE_MAX_PRICE}")),
        boost: Some(Boost {
            items: "item.category : Tools".into(),
            factor: 5.0,
        }),
        pins: vec![
            pin("i0012", 2),
            pin("i0003", 1),
            pin("i0007", 1),
            pin("gone", 3),
            pin("i0001", 9),
        ],
        ..Rule::default()
    }
}

pub fn category(models: &FittedModels, item: u32) -> &str {
    models.catalog.category.get(item).unwrap()
}

fn is_below(path: &str, of: &str) -> bool {
    path == of || path.starts_with(&format!("{of} > "))
}

impl Scenario {
    /// The first shop and the one of this scenario, under its rule.
    pub fn shops(&self) -> Vec<ServedVersion> {
        let rules = || self.has_rule.then(rule).into_iter().collect();
        let shops = [0, self.shop].into_iter();
        shops.map(|shop| SHOPS[shop].with_rules(rules())).collect()
    }

    fn filter(&self, shop: &ServedVersion) -> ItemFilter {
        let text = format!("item.price <= {CONDITION_MAX_PRICE}");
        let condition = || shop.live.items_matching(shop.models(), &text).unwrap();
        ItemFilter {
            condition: self.has_condition.then(condition),
            ..self.filter.clone()
        }
    }

    fn context(&self) -> RequestContext {
        let daypart = ("daypart".to_string(), "weekday night".to_string());
        RequestContext {
            controls: self.controls,
            values: self.has_context.then_some(daypart).into_iter().collect(),
            time: Some(5),
            omit_reasons: self.omit_reasons,
            ..RequestContext::default()
        }
    }

    /// The time of a request, in days since 1970.
    fn now(&self) -> Option<f32> {
        self.has_context.then_some(2.0)
    }

    /// The shopper of a request that need not have one.
    pub fn shopper(&self) -> Option<u32> {
        self.user.filter(|_| self.has_context)
    }

    pub fn user_request(&self, shop: &ServedVersion) -> UserRequest {
        UserRequest {
            user: self.user,
            recent: vec![(self.item, 1.0)],
            k: self.k,
            filter: self.filter(shop),
            exclude_purchased: self.exclude_purchased,
            popular_only: self.popular_only,
            context: self.context(),
        }
    }

    pub fn item_request(&self, shop: &ServedVersion) -> ItemRequest {
        ItemRequest {
            item: self.item,
            k: self.k,
            filter: self.filter(shop),
            band: None,
            user: self.shopper(),
            now: self.now(),
            popular_only: self.popular_only,
            context: self.context(),
        }
    }

    pub fn cart_request(&self, shop: &ServedVersion) -> CartRequest {
        CartRequest {
            cart: self.items.clone(),
            k: self.k,
            filter: self.filter(shop),
            same_category: self.same_category,
            user: self.shopper(),
            now: self.now(),
            exclude_purchased: self.exclude_purchased,
            only_with_evidence: false,
            popular_only: self.popular_only,
            context: self.context(),
        }
    }

    pub fn session_request(&self, shop: &ServedVersion) -> SessionRequest {
        SessionRequest {
            clicks: self.items.clone(),
            k: self.k,
            filter: self.filter(shop),
            repeats: self.repeats,
            user: self.shopper(),
            popular_only: self.popular_only,
            context: self.context(),
        }
    }

    pub fn reorder_request(&self, shop: &ServedVersion) -> ReorderRequest {
        ReorderRequest {
            user: self.user,
            k: self.k,
            filter: self.filter(shop),
            now: self.now(),
            days: None,
            context: self.context(),
        }
    }

    /// Whether stock, filter and rule let an item through.
    fn lets_through(&self, models: &FittedModels, item: u32) -> bool {
        let catalog = &models.catalog;
        let price = catalog.price[item as usize];
        let is_in = |path: &String| is_below(category(models, item), path);
        let filter = &self.filter;
        (filter.include_unavailable || catalog.available[item as usize])
            && (filter.categories.is_empty() || filter.categories.iter().any(is_in))
            && !filter.exclude_categories.iter().any(is_in)
            && filter.min_price.is_none_or(|min| price >= min)
            && filter.max_price.is_none_or(|max| price <= max)
            && !filter.exclude.contains(&item)
            && (!self.has_rule || price <= RULE_MAX_PRICE)
            && (!self.has_condition || price <= CONDITION_MAX_PRICE)
    }

    /// The items that pass the filter and a further test.
    pub fn eligible(&self, models: &FittedModels, is_eligible: impl Fn(u32) -> bool) -> Vec<u32> {
        let passes = |&item: &u32| self.lets_through(models, item) && is_eligible(item);
        (0..ITEMS).filter(passes).collect()
    }

    /// Whether a request leaves out an item because the shopper bought it.
    pub fn is_purchased(&self, models: &FittedModels, user: Option<u32>, item: u32) -> bool {
        let has_bought = |user| models.purchased(user).contains(&item);
        self.exclude_purchased && user.is_some_and(has_bought)
    }

    /// The better versions of the item that are eligible: in its category, and if there are none,
    /// in the whole branch of the category tree.
    pub fn better_versions(&self, models: &FittedModels) -> Vec<u32> {
        let own = category(models, self.item);
        let branch = own.split(" > ").next().unwrap();
        let price = |item: u32| models.catalog.price[item as usize];
        let is_better = |other: u32| {
            let ratio = price(other) / price(self.item);
            other != self.item && (1.05..=4.0).contains(&ratio)
        };
        let better_below = |path: &str| {
            self.eligible(models, |other| {
                is_better(other) && is_below(category(models, other), path)
            })
        };
        let of_category = better_below(own);
        match of_category.is_empty() {
            true => better_below(branch),
            false => of_category,
        }
    }

    /// Checks that an answer holds min(k, eligible) items of `eligible`, and what holds for every
    /// answer.
    pub fn check(&self, answer: &Answer, eligible: &[u32]) -> Result<(), TestCaseError> {
        prop_assert_eq!(answer.eligible, eligible.len());
        let items = items_of(answer);
        prop_assert!(
            items.iter().all(|item| eligible.contains(item)),
            "{items:?}"
        );
        self.check_form(answer)
    }

    /// Checks that an answer holds as many items as it says are eligible, up to k, none of them
    /// twice, and all with a finite score.
    pub fn check_form(&self, answer: &Answer) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            answer.items.len(),
            self.k.min(answer.eligible),
            "min(k, eligible)"
        );
        prop_assert!(answer.items.iter().all(|ranked| ranked.score.is_finite()));
        let mut items = items_of(answer);
        items.sort_unstable();
        items.dedup();
        prop_assert_eq!(items.len(), answer.items.len(), "no item twice");
        Ok(())
    }

    /// Checks that nothing says why it is in the answer, if the request leaves that out.
    pub fn check_reasons(&self, answer: &Answer) -> Result<(), TestCaseError> {
        let has_reasons = answer.items.iter().any(|ranked| !ranked.reasons.is_empty());
        prop_assert!(!self.omit_reasons || !has_reasons);
        Ok(())
    }
}
