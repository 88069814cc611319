//! What is answered to a shopper, a visit or a page, by a real server for a real client.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::reason::Kind;
use aisle_proto::{
    BuyAgainRequest, CandidateSource, CrossSellRequest, Filter, HistoryItem, PageSlot,
    RankItemsRequest, RecommendForSessionRequest, RecommendForUserRequest, RecommendPageRequest,
    RequestOptions, SimilarItemsRequest, UpsellRequest, page_slot,
};
use common::{
    CAKESTAND, SHOPPER, cart_of, client, for_user, ids, learned_shop, options, pounds, price,
    scored, without_reasons,
};
use std::collections::BTreeSet;

fn visit(clicks: &[&str]) -> RecommendForSessionRequest {
    RecommendForSessionRequest {
        options: options("", 30),
        clicked_item_ids: clicks.iter().map(|id| id.to_string()).collect(),
        ..Default::default()
    }
}

fn reorders(user_id: &str, page_size: u32) -> BuyAgainRequest {
    BuyAgainRequest {
        options: options(user_id, page_size),
        ..Default::default()
    }
}

/// A request for what the shopper would like and did not buy.
fn new_to_shopper(page_size: u32) -> RecommendForUserRequest {
    RecommendForUserRequest {
        exclude_purchased: true,
        ..for_user(SHOPPER, page_size)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopper_gets_the_page_size_by_rank_from_one_version() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let request = new_to_shopper(50);
    let answer = client(&server).await.recommend_for_user(request).await;
    let answer = answer.unwrap().into_inner();
    let serving = answer.serving.clone().unwrap();
    assert_eq!(answer.items.len(), 50);
    assert!(serving.known_user && serving.model_version == shop.version.name);
    assert!(serving.alias == "stable" && serving.model == "shop");
    for (item, rank) in answer.items.iter().zip(1..) {
        assert_eq!(item.rank, rank);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopper_gets_nothing_bought_before_or_out_of_stock() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let request = new_to_shopper(50);
    let answer = client(&server).await.recommend_for_user(request).await;
    let answer = answer.unwrap().into_inner();
    let models = &shop.version.models;
    let user = models.users.get(SHOPPER).unwrap();
    assert!(!models.purchased(user).is_empty());
    assert_eq!(answer.items.len(), 50);
    for item in &answer.items {
        assert!(!shop.bought(SHOPPER, &item.item_id));
        assert!(models.catalog.available[shop.row(&item.item_id) as usize]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn omitting_reasons_changes_no_item_and_no_score() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let full = client.recommend_for_user(new_to_shopper(50)).await.unwrap();
    let request = RecommendForUserRequest {
        options: without_reasons(SHOPPER, 50),
        ..new_to_shopper(50)
    };
    let bare = client.recommend_for_user(request).await.unwrap();
    let (full, bare) = (full.into_inner(), bare.into_inner());
    assert_eq!(scored(&bare), scored(&full));
    assert_eq!(bare.items.len(), 50);
    assert!(bare.items.iter().all(|item| item.reasons.is_empty()));
    assert!(full.items.iter().any(|item| !item.reasons.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_by_category_price_and_id() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let answer = client.recommend_for_user(new_to_shopper(50)).await.unwrap();
    let first = answer.into_inner().items[0].clone();
    let filter = Filter {
        categories: vec![first.category.clone()],
        min_price: pounds(1, 0),
        max_price: pounds(3, 500_000_000),
        exclude_item_ids: vec![first.item_id.clone()],
        ..Default::default()
    };
    let narrow = RecommendForUserRequest {
        options: Some(RequestOptions {
            filter: Some(filter),
            ..options(SHOPPER, 1000).unwrap()
        }),
        exclude_purchased: true,
        ..Default::default()
    };
    let narrow = client.recommend_for_user(narrow).await.unwrap();
    let narrow = narrow.into_inner();
    let eligible = narrow.serving.as_ref().unwrap().eligible_count;
    assert_eq!(narrow.items.len() as u32, eligible.min(1000));
    assert!(!narrow.items.is_empty());
    for item in &narrow.items {
        assert!((1.0..=3.5).contains(&price(item)));
        assert!(item.category.starts_with(&first.category));
        assert_ne!(item.item_id, first.item_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_nothing_passes_gives_an_empty_answer() {
    let server = learned_shop().serve().await;
    let nowhere = Filter {
        categories: vec!["No > Such".into()],
        ..Default::default()
    };
    let request = RecommendForUserRequest {
        options: Some(RequestOptions {
            filter: Some(nowhere),
            ..options(SHOPPER, 50).unwrap()
        }),
        exclude_purchased: true,
        ..Default::default()
    };
    let empty = client(&server).await.recommend_for_user(request).await;
    let empty = empty.unwrap().into_inner();
    assert!(empty.items.is_empty() && empty.serving.unwrap().eligible_count == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_a_history_gets_personal_answers() {
    let server = learned_shop().serve().await;
    let event = |item_id: &str, event_type: &str| HistoryItem {
        item_id: item_id.into(),
        event_type: event_type.into(),
    };
    let stranger = RecommendForUserRequest {
        options: options("", 10),
        history: vec![event(CAKESTAND, ""), event("nope", "view")],
        exclude_purchased: true,
    };
    let answer = client(&server).await.recommend_for_user(stranger).await;
    let answer = answer.unwrap().into_inner();
    let serving = answer.serving.unwrap();
    assert_eq!(serving.unknown_item_ids, ["nope"]);
    assert_eq!(serving.source(), CandidateSource::Personal);
    assert_eq!(answer.items[0].reasons[0].item_ids, [CAKESTAND]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_without_a_history_gets_best_sellers_and_is_told_why() {
    let server = learned_shop().serve().await;
    let request = for_user("", 10);
    let answer = client(&server).await.recommend_for_user(request).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.items.len(), 10);
    let serving = answer.serving.unwrap();
    assert_eq!(serving.source(), CandidateSource::Popular);
    assert!(!serving.fallback_reason.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_never_shows_its_last_click() {
    let server = learned_shop().serve().await;
    let request = visit(&["22697", "nope", CAKESTAND]);
    let answer = client(&server).await.recommend_for_session(request).await;
    let answer = answer.unwrap().into_inner();
    assert!(answer.items.len() == 30 && !ids(&answer).contains(&CAKESTAND.to_string()));
    let serving = answer.serving.unwrap();
    assert_eq!(serving.source(), CandidateSource::Session);
    assert_eq!(serving.unknown_item_ids, ["nope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_can_leave_out_all_its_clicks() {
    let server = learned_shop().serve().await;
    let request = RecommendForSessionRequest {
        exclude_clicked: true,
        ..visit(&["22697", CAKESTAND])
    };
    let answer = client(&server).await.recommend_for_session(request).await;
    let answer = answer.unwrap().into_inner();
    assert!(
        !ids(&answer)
            .iter()
            .any(|id| id == "22697" || id == CAKESTAND)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_changes_with_its_clicks() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let one = client.recommend_for_session(visit(&["22697"])).await;
    let two = client
        .recommend_for_session(visit(&["22697", CAKESTAND]))
        .await;
    assert_ne!(ids(one.unwrap().get_ref()), ids(two.unwrap().get_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_without_clicks_gets_best_sellers() {
    let server = learned_shop().serve().await;
    let answer = client(&server)
        .await
        .recommend_for_session(visit(&[]))
        .await;
    let serving = answer.unwrap().into_inner().serving.unwrap();
    assert_eq!(serving.source(), CandidateSource::Popular);
}

#[tokio::test(flavor = "multi_thread")]
async fn buy_again_holds_only_what_the_shopper_had_most_likely_first() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let answer = client(&server).await.buy_again(reorders(SHOPPER, 50)).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.items.len(), 50);
    assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score));
    for item in &answer.items {
        assert!(shop.bought(SHOPPER, &item.item_id) && item.score <= 1.0);
    }
    assert_eq!(answer.items[0].reasons[0].kind(), Kind::Due);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probability_of_a_reorder_grows_with_the_horizon() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let usual = client.buy_again(reorders(SHOPPER, 50)).await.unwrap();
    let request = BuyAgainRequest {
        horizon_days: 3,
        ..reorders(SHOPPER, 50)
    };
    let sooner = client.buy_again(request).await.unwrap();
    assert!(sooner.get_ref().items[0].score < usual.get_ref().items[0].score);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_shopper_has_nothing_to_buy_again() {
    let server = learned_shop().serve().await;
    let answer = client(&server).await.buy_again(reorders("nobody", 0)).await;
    let answer = answer.unwrap().into_inner();
    assert!(answer.items.is_empty() && !answer.serving.unwrap().known_user);
}

fn page(slots: Vec<(&str, page_slot::Call)>) -> RecommendPageRequest {
    let slot = |(placement, call): (&str, page_slot::Call)| PageSlot {
        placement: placement.into(),
        call: Some(call),
    };
    RecommendPageRequest {
        slots: slots.into_iter().map(slot).collect(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_fills_its_slots_in_order_without_repeating_an_item() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let alone = client.buy_again(reorders(SHOPPER, 50)).await.unwrap();
    let request = page(vec![
        ("again", page_slot::Call::BuyAgain(reorders(SHOPPER, 5))),
        ("you", page_slot::Call::ForUser(for_user(SHOPPER, 5))),
        ("cart", page_slot::Call::CrossSell(cart_of(SHOPPER, 20))),
        ("visit", page_slot::Call::ForSession(visit(&[CAKESTAND]))),
    ]);
    let page = client.recommend_page(request).await.unwrap().into_inner();
    let placements: Vec<_> = page
        .slots
        .iter()
        .map(|slot| slot.placement.as_str())
        .collect();
    assert_eq!(placements, ["again", "you", "cart", "visit"]);
    let answers = page.slots.iter().map(|slot| slot.answer.as_ref().unwrap());
    let shown: Vec<String> = answers.flat_map(ids).collect();
    let distinct: BTreeSet<_> = shown.iter().collect();
    assert_eq!((shown.len(), distinct.len()), (60, 60));
    assert_eq!(shown[..5], ids(alone.get_ref())[..5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranking_a_list_gives_the_order_that_recommended_it() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let recommended = client.recommend_for_user(new_to_shopper(50)).await.unwrap();
    let expected = ids(recommended.get_ref());
    let request = RankItemsRequest {
        options: options(SHOPPER, 0),
        item_ids: expected.iter().rev().cloned().collect(),
        ..Default::default()
    };
    let ranked = client.rank_items(request).await.unwrap();
    assert_eq!(ids(ranked.get_ref()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_can_leave_out_what_the_shopper_bought() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let mut client = client(&server).await;
    let models = &shop.version.models;
    let user = models.users.get(SHOPPER).unwrap();
    let bought = models.purchased(user).iter().take(20);
    let mut item_ids: Vec<String> = bought
        .map(|&item| models.items.id(item).to_string())
        .collect();
    let recommended = client.recommend_for_user(new_to_shopper(50)).await.unwrap();
    item_ids.extend(ids(recommended.get_ref()));
    for exclude_purchased in [false, true] {
        let similar = SimilarItemsRequest {
            options: options(SHOPPER, 1000),
            item_id: item_ids[0].clone(),
            exclude_purchased,
        };
        let cross_sell = CrossSellRequest {
            exclude_purchased,
            ..cart_of(SHOPPER, 1000)
        };
        let upsell = UpsellRequest {
            options: options(SHOPPER, 1000),
            item_id: "22697".into(),
            exclude_purchased,
            ..Default::default()
        };
        let rank = RankItemsRequest {
            options: options(SHOPPER, 0),
            item_ids: item_ids.clone(),
            exclude_purchased,
            ..Default::default()
        };
        for answer in [
            client.similar_items(similar).await.unwrap().into_inner(),
            client.cross_sell(cross_sell).await.unwrap().into_inner(),
            client.upsell(upsell).await.unwrap().into_inner(),
            client.rank_items(rank).await.unwrap().into_inner(),
        ] {
            assert!(!answer.items.is_empty());
            let ids = ids(&answer);
            let has_bought = ids.iter().any(|id| shop.bought(SHOPPER, id));
            assert_eq!(has_bought, !exclude_purchased);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_options_is_one_of_a_stranger() {
    let server = learned_shop().serve().await;
    let request = RecommendForUserRequest::default();
    let answer = client(&server).await.recommend_for_user(request).await;
    assert_eq!(answer.unwrap().get_ref().items.len(), 20);
}
