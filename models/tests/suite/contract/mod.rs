//! What every call promises: exactly min(k, eligible) finite items, none twice, nothing that the
//! stock, the request or a rule keeps out. What is eligible is written in `scenario.rs` again in
//! the plainest way.

mod scenario;

use self::scenario::{Scenario, category, scenario};
use crate::common::home_and_tools::ITEMS;
use crate::common::served::{ServedVersion, items_of};
use aisle_models::{Answer, Controls, RepeatPolicy, UserRequest};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_user_is_recommended_exactly_what_is_eligible(scenario in scenario()) {
        for shop in scenario.shops() {
            let models = shop.models();
            let answer = shop.recommend_for_user(&scenario.user_request(&shop));
            let is_touched = |item| scenario.exclude_purchased && item == scenario.item;
            let eligible = scenario.eligible(models, |item| {
                !is_touched(item) && !scenario.is_purchased(models, scenario.user, item)
            });
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    #[test]
    fn similar_items_are_exactly_what_is_eligible(scenario in scenario()) {
        for shop in scenario.shops() {
            let answer = shop.similar_items(&scenario.item_request(&shop));
            let eligible = scenario.eligible(shop.models(), |other| other != scenario.item);
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    /// Upsells say what they cost more even where reasons are left out.
    #[test]
    fn upsells_are_exactly_the_better_versions(scenario in scenario()) {
        for shop in scenario.shops() {
            let answer = shop.upsell(&scenario.item_request(&shop));
            scenario.check(&answer, &scenario.better_versions(shop.models()))?;
        }
    }

    #[test]
    fn a_cart_is_completed_by_exactly_what_is_eligible_in_other_categories(
        scenario in scenario()
    ) {
        let scenario = Scenario { same_category: false, ..scenario };
        for shop in scenario.shops() {
            let models = shop.models();
            let answer = shop.cross_sell(&scenario.cart_request(&shop));
            let is_in_cart = |path| {
                scenario.items.iter().any(|&line| category(models, line) == path)
            };
            let eligible = scenario.eligible(models, |item| {
                !is_in_cart(category(models, item))
                    && !scenario.is_purchased(models, scenario.shopper(), item)
            });
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    /// Which items of the cart's own categories are substitutes depends on what was learned.
    #[test]
    fn a_cart_is_completed_by_nothing_that_is_not_eligible_in_its_categories(
        scenario in scenario()
    ) {
        let scenario = Scenario { same_category: true, ..scenario };
        for shop in scenario.shops() {
            let models = shop.models();
            let answer = shop.cross_sell(&scenario.cart_request(&shop));
            let eligible = scenario.eligible(models, |item| {
                !scenario.items.contains(&item)
                    && !scenario.is_purchased(models, scenario.shopper(), item)
            });
            let items = items_of(&answer);
            prop_assert!(items.iter().all(|item| eligible.contains(item)), "{items:?}");
            scenario.check_form(&answer)?;
            scenario.check_reasons(&answer)?;
        }
    }

    #[test]
    fn a_visit_is_answered_with_exactly_what_is_eligible(scenario in scenario()) {
        for shop in scenario.shops() {
            let answer = shop.recommend_for_session(&scenario.session_request(&shop));
            let clicks = &scenario.items;
            let eligible = scenario.eligible(shop.models(), |item| match scenario.repeats {
                RepeatPolicy::All => true,
                RepeatPolicy::AllButLast => clicks.last() != Some(&item),
                RepeatPolicy::None => !clicks.contains(&item),
            });
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    #[test]
    fn reorders_are_exactly_what_the_shopper_bought_of_the_eligible(scenario in scenario()) {
        for shop in scenario.shops() {
            let models = shop.models();
            let answer = shop.buy_again(&scenario.reorder_request(&shop));
            let has_bought = |user: u32, item| models.purchased(user).contains(&item);
            let eligible = scenario.eligible(models, |item| {
                scenario.user.is_some_and(|user| has_bought(user, item))
            });
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    #[test]
    fn of_given_items_exactly_the_eligible_are_ranked(scenario in scenario()) {
        let given: Vec<u32> = (0..ITEMS).step_by(3).collect();
        for shop in scenario.shops() {
            let request = UserRequest {
                recent: Vec::new(),
                exclude_purchased: false,
                popular_only: false,
                ..scenario.user_request(&shop)
            };
            let answer = shop.rank_items(&request, &given);
            let eligible = scenario.eligible(shop.models(), |item| given.contains(&item));
            scenario.check(&answer, &eligible)?;
            scenario.check_reasons(&answer)?;
        }
    }

    #[test]
    fn a_shorter_answer_is_the_start_of_a_longer_one(scenario in scenario()) {
        // A rule may pin an item at a place that only the longer answer has.
        let scenario = Scenario {
            controls: Controls::default(),
            has_rule: false,
            ..scenario
        };
        let longer = Scenario { k: ITEMS as usize, ..scenario.clone() };
        for shop in scenario.shops() {
            for (call, answer) in CALLS_WITH_PREFIXES {
                let (short, long) = (answer(&scenario, &shop), answer(&longer, &shop));
                let start = &long.items[..short.items.len()];
                prop_assert_eq!(&short.items, start, "{}", call);
            }
        }
    }
}

/// Sends a shop the request that a scenario describes.
type Call = fn(&Scenario, &ServedVersion) -> Answer;

/// The calls whose shorter answers are the start of their longer ones.
const CALLS_WITH_PREFIXES: [(&str, Call); 6] = [
    ("personal", |scenario, shop| {
        shop.recommend_for_user(&scenario.user_request(shop))
    }),
    ("similar", |scenario, shop| {
        shop.similar_items(&scenario.item_request(shop))
    }),
    ("upsell", |scenario, shop| {
        shop.upsell(&scenario.item_request(shop))
    }),
    ("session", |scenario, shop| {
        shop.recommend_for_session(&scenario.session_request(shop))
    }),
    ("buy-again", |scenario, shop| {
        shop.buy_again(&scenario.reorder_request(shop))
    }),
    ("rank", |scenario, shop| {
        shop.rank_items(&scenario.user_request(shop), &[0, 3, 6, 9, 12, 15, 18, 21])
    }),
];
