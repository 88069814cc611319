//! What rules do to answers: for which requests they hold, and how they narrow and pin.

use crate::common::branded_shop::{
    IN_STOCK, SHOPPER, SPOONS, USERS, recommend, recommended_items, served_shop, shop_with_rule,
};
use crate::common::served::{cart_request, item_request, items_of, user_request};
use aisle_data::{DAY_MILLIS, parse_time};
use aisle_models::{
    Answer, Boost, CandidateSource, ExcludeBought, ItemRequest, Pin, Reason, RequestContext, Rule,
    UserRequest,
};

/// The first shopper without the tier `gold`.
const WITHOUT_GOLD: u32 = 33;

/// Whether a rule, made to let only spoons through, holds for a request of a shopper. The answer
/// must then hold spoons alone, and say that the rule was applied exactly if it does.
fn holds(rule: Rule, user: u32, context: RequestContext) -> bool {
    let shop = shop_with_rule(Rule {
        only: Some("item.category : Spoons".into()),
        ..rule
    });
    let answer = shop.recommend_for_user(&UserRequest {
        context,
        ..user_request(user, 5)
    });
    let is_spoon = |item: u32| item % 3 == SPOONS;
    let are_spoons = items_of(&answer).into_iter().all(is_spoon);
    assert_eq!(are_spoons, answer.rules.names().eq(["tested"]));
    are_spoons
}

fn at_placement(placement: &str) -> RequestContext {
    RequestContext {
        placement: placement.into(),
        ..RequestContext::default()
    }
}

fn on_device(device: &str) -> RequestContext {
    RequestContext {
        values: [("device".into(), device.into())].into(),
        ..RequestContext::default()
    }
}

fn at_time(text: &str) -> RequestContext {
    let time = parse_time(text);
    assert!(time.is_some(), "{text} is a time");
    RequestContext {
        time,
        ..RequestContext::default()
    }
}

fn for_placement(placement: &str) -> Rule {
    Rule {
        placements: vec![placement.into()],
        ..Rule::default()
    }
}

fn when(condition: &str) -> Rule {
    Rule {
        when: Some(condition.into()),
        ..Rule::default()
    }
}

#[test]
fn a_rule_without_conditions_holds_everywhere() {
    assert!(holds(Rule::default(), SHOPPER, RequestContext::default()));
}

#[test]
fn a_rule_for_a_placement_holds_there_alone() {
    let rule = for_placement("home");
    assert!(holds(rule.clone(), SHOPPER, at_placement("home")));
    assert!(!holds(rule, SHOPPER, at_placement("cart")));
}

#[test]
fn a_rule_for_a_call_holds_for_it_at_any_placement() {
    assert!(holds(
        for_placement("personal"),
        SHOPPER,
        at_placement("anywhere")
    ));
    assert!(!holds(for_placement("upsell"), SHOPPER, at_placement("")));
}

#[test]
fn a_rule_for_a_user_attribute_holds_for_users_who_have_it() {
    let rule = when("user.tier = gold");
    assert!(holds(rule.clone(), SHOPPER, at_placement("")));
    assert!(!holds(rule, WITHOUT_GOLD, at_placement("")));
}

#[test]
fn a_rule_for_a_context_does_not_hold_where_the_context_is_unknown() {
    let rule = when("context.device = mobile AND user.known = true");
    assert!(holds(rule.clone(), SHOPPER, on_device("mobile")));
    assert!(!holds(rule.clone(), SHOPPER, on_device("desktop")));
    assert!(!holds(rule, SHOPPER, at_placement("")));
}

#[test]
fn a_rule_with_a_time_span_holds_before_its_end_and_never_without_a_time() {
    let rule = Rule {
        from: Some("2026-12-01".into()),
        until: Some("2026-12-25T00:00:00Z".into()),
        ..Rule::default()
    };
    assert!(holds(rule.clone(), SHOPPER, at_time("2026-12-24")));
    assert!(!holds(rule.clone(), SHOPPER, at_time("2026-12-25")));
    assert!(!holds(rule, SHOPPER, RequestContext::default()));
}

#[test]
fn a_rule_that_was_taken_away_has_no_effect() {
    let shop = shop_with_rule(Rule {
        only: Some("item.category : Spoons".into()),
        ..Rule::default()
    });
    let without_rule = recommended_items(&shop.with_rules(Vec::new()), 5);
    assert_eq!(without_rule, recommended_items(&served_shop(), 5));
}

/// The shoppers for whom a rule with this condition on their segments holds.
fn shoppers_in(segment: &str) -> Vec<u32> {
    let shop = shop_with_rule(Rule {
        diversity: Some(0.1),
        ..when(&format!("user.segments : \"{segment}\""))
    });
    let holds = |&user: &u32| {
        let answer = shop.recommend_for_user(&user_request(user, 5));
        answer.rules.applied.len() == 1
    };
    (0..USERS).filter(holds).collect()
}

#[test]
fn a_rule_for_a_named_segment_holds_for_its_shoppers() {
    assert!(shoppers_in("early").into_iter().eq(0..30));
}

#[test]
fn a_rule_for_a_learned_segment_holds_for_its_shoppers() {
    let shop = served_shop();
    let segments = &shop.models().segments;
    let named = segments.number("early");
    let learned = (0..USERS)
        .flat_map(|user| segments.of(user))
        .copied()
        .find(|&number| Some(number) != named)
        .unwrap();
    let name = &segments.describe(learned).unwrap().name;
    assert_eq!(shoppers_in(name), segments.members(learned));
}

fn with_pins(pins: &[(&str, u32)]) -> Rule {
    let pin = |&(item_id, position): &(&str, u32)| Pin {
        item_id: item_id.into(),
        position,
    };
    Rule {
        pins: pins.iter().map(pin).collect(),
        ..Rule::default()
    }
}

/// Item 9 cannot be bought, item 99 does not exist, and position 40 is behind the answer.
const PINS: [(&str, u32); 5] = [("i20", 3), ("i09", 1), ("i99", 2), ("i21", 1), ("i22", 40)];

fn answer_with_pins() -> Answer {
    let shop = shop_with_rule(with_pins(&PINS));
    recommend(&shop, 6, RequestContext::default())
}

#[test]
fn pinned_items_stand_at_their_positions() {
    let items = items_of(&answer_with_pins());
    assert_eq!((items[0], items[2], items.len()), (21, 20, 6));
}

#[test]
fn a_pinned_item_says_so_and_leaves_the_source_of_the_answer() {
    let answer = answer_with_pins();
    let sources = (answer.items[0].source, answer.source);
    assert_eq!(
        sources,
        (CandidateSource::Pinned, CandidateSource::Personal)
    );
}

#[test]
fn a_pin_behind_the_end_of_an_answer_pins_nothing() {
    let answer = answer_with_pins();
    let is_pinned = |item| {
        let ranked = answer.items.iter().find(|ranked| ranked.item == item);
        ranked.is_some_and(|ranked| ranked.source == CandidateSource::Pinned)
    };
    assert!(is_pinned(21) && !is_pinned(22));
}

#[test]
fn a_pin_brings_in_nothing_of_a_category_that_the_cart_holds() {
    let answer = shop_with_rule(with_pins(&PINS)).cross_sell(&cart_request(&[2], 6));
    let items = items_of(&answer);
    assert!(items.iter().all(|item| item % 3 != SPOONS), "{items:?}");
    assert_eq!(items[0], 21);
}

/// A response takes the price difference from this reason, so an upsell always has it.
#[test]
fn a_pinned_upsell_says_what_it_costs_more() {
    let shop = shop_with_rule(with_pins(&[("i12", 1)]));
    for omit_reasons in [false, true] {
        let context = RequestContext {
            omit_reasons,
            ..RequestContext::default()
        };
        let answer = shop.upsell(&ItemRequest {
            context,
            ..item_request(3, 3)
        });
        let first = &answer.items[0];
        assert_eq!((first.item, first.source), (12, CandidateSource::Pinned));
        let is_step =
            |reason: &Reason| matches!(reason, Reason::SteppedUp(step) if step.price_delta == 9.0);
        assert!(first.reasons.iter().any(is_step), "{first:?}");
    }
}

/// The rank from 0 of an item that is boosted by a factor.
fn rank_with_boost(item: u32, factor: f32) -> usize {
    let boost = Boost {
        items: format!("item.id = i{item:02}"),
        factor,
    };
    let shop = shop_with_rule(Rule {
        boost: Some(boost),
        ..Rule::default()
    });
    let items = recommended_items(&shop, IN_STOCK);
    items.iter().position(|&other| other == item).unwrap()
}

/// The item at rank 6 without a boost.
fn item_at_rank_6() -> u32 {
    recommended_items(&served_shop(), IN_STOCK)[6]
}

#[test]
fn a_boost_above_one_lifts_an_item() {
    assert_eq!(rank_with_boost(item_at_rank_6(), 100.0), 0);
}

#[test]
fn a_boost_below_one_buries_an_item() {
    assert!(rank_with_boost(item_at_rank_6(), 0.01) > 6);
}

#[test]
fn a_boost_of_one_changes_nothing() {
    assert_eq!(rank_with_boost(item_at_rank_6(), 1.0), 6);
}

/// How many of `items` are recommended on day 161, if those are left out that the shopper bought
/// within some days. The shopper bought items 1 and 2 on day 100, 5 and 10 on day 120, 17 and 26 on
/// day 140, 7 and 20 on day 160.
fn recommended_of(items: &[u32], days: f32, condition: Option<&str>) -> usize {
    let exclude_bought = ExcludeBought {
        days,
        items: condition.map(str::to_string),
    };
    let shop = shop_with_rule(Rule {
        exclude_bought: Some(exclude_bought),
        ..Rule::default()
    });
    let context = RequestContext {
        time: Some(161 * DAY_MILLIS),
        ..RequestContext::default()
    };
    let answer = items_of(&recommend(&shop, IN_STOCK, context));
    items.iter().filter(|item| answer.contains(item)).count()
}

#[test]
fn what_was_bought_within_the_days_stays_out() {
    assert_eq!(recommended_of(&[7, 20], 10.0, None), 0);
    assert_eq!(
        recommended_of(&[1, 2, 5, 7, 10, 17, 20, 26], 1000.0, None),
        0
    );
}

#[test]
fn what_was_bought_before_the_days_comes_back() {
    assert_eq!(recommended_of(&[1, 2, 5, 10, 17, 26], 10.0, None), 6);
}

#[test]
fn only_what_was_bought_of_a_condition_stays_out() {
    let spoons = Some("item.category = Spoons");
    assert_eq!(recommended_of(&[7, 20], 10.0, spoons), 1);
}
