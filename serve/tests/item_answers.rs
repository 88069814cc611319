//! What is answered about an item or a cart, by a real server for a real client.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_models::{ItemRequest, LiveState, attribute_deltas, upsell};
use aisle_proto::reason::Kind;
use aisle_proto::{
    CrossSellRequest, RecommendResponse, RequestOptions, SimilarItemsRequest, UpsellRequest,
};
use common::{
    CAKESTAND, CART, SHOPPER, cart_of, client, ids, learned_shop, options, price, scored,
    without_reasons,
};
use std::collections::BTreeSet;
use tonic::Code;

fn similar(item_id: &str, page_size: u32) -> SimilarItemsRequest {
    SimilarItemsRequest {
        options: options("", page_size),
        item_id: item_id.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_items_never_hold_the_item_itself() {
    let server = learned_shop().serve().await;
    let request = similar(CAKESTAND, 30);
    let answer = client(&server).await.similar_items(request).await;
    let answer = answer.unwrap().into_inner();
    assert!(answer.items.len() == 30 && !ids(&answer).contains(&CAKESTAND.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_item_gives_an_empty_answer_that_names_it() {
    let server = learned_shop().serve().await;
    let request = similar("nope", 0);
    let answer = client(&server).await.similar_items(request).await;
    let answer = answer.unwrap().into_inner();
    assert!(answer.items.is_empty() && answer.serving.unwrap().unknown_item_ids == ["nope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_completed_from_other_categories() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let answer = client(&server).await.cross_sell(cart_of("", 40)).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.items.len(), 40);
    let category = |id: &&str| shop.version.models.catalog.category.get(shop.row(id));
    let in_cart: BTreeSet<&str> = CART.iter().filter_map(category).collect();
    for item in &answer.items {
        assert!(!in_cart.contains(item.category.as_str()));
        assert!(!CART.contains(&item.item_id.as_str()));
    }
    assert!(answer.items.iter().any(|item| item.substitute_score > 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_orders_is_told_only_above_the_privacy_floor() {
    let server = learned_shop().serve().await;
    let answer = client(&server).await.cross_sell(cart_of("", 40)).await;
    let answer = answer.unwrap().into_inner();
    let reasons = answer.items.iter().flat_map(|item| &item.reasons);
    for reason in reasons {
        assert!(reason.kind() != Kind::BoughtTogether || reason.count >= 5);
    }
    assert_eq!(answer.items[0].reasons[0].kind(), Kind::BoughtTogether);
}

#[tokio::test(flavor = "multi_thread")]
async fn omitting_reasons_of_a_cart_leaves_out_what_is_told_of_its_items() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let full = client.cross_sell(cart_of("", 40)).await.unwrap();
    let request = CrossSellRequest {
        options: without_reasons("", 40),
        ..cart_of("", 40)
    };
    let bare = client.cross_sell(request).await.unwrap().into_inner();
    assert_eq!(scored(&bare), scored(full.get_ref()));
    for item in &bare.items {
        assert!(item.reasons.is_empty() && item.substitute_score == 0.0);
        assert!(!item.title.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cart_of_a_known_shopper_holds_what_they_come_back_for() {
    let server = learned_shop().serve().await;
    let mut client = client(&server).await;
    let known = client.cross_sell(cart_of(SHOPPER, 20)).await.unwrap();
    let stranger = client.cross_sell(cart_of("", 20)).await.unwrap();
    let bought_before = |answer: &RecommendResponse| {
        let reasons = answer.items.iter().flat_map(|item| &item.reasons);
        let before = reasons.filter(|reason| reason.kind() == Kind::BoughtBefore);
        before.count()
    };
    assert!(bought_before(known.get_ref()) > 5);
    assert_eq!(bought_before(stranger.get_ref()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsell_is_of_the_category_and_in_the_price_band() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let request = UpsellRequest {
        options: options("", 100),
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    let answer = client(&server).await.upsell(request).await;
    let answer = answer.unwrap().into_inner();
    let catalog = &shop.version.models.catalog;
    let anchor = catalog.price[shop.row(CAKESTAND) as usize];
    let category = catalog.category.get(shop.row(CAKESTAND)).unwrap();
    assert!(!answer.items.is_empty());
    let eligible = answer.serving.unwrap().eligible_count;
    assert_eq!(answer.items.len() as u32, eligible.min(100));
    for item in &answer.items {
        let price = price(item);
        assert!(price >= anchor * 1.05 && price <= anchor * 4.0 && item.category == category);
        let delta = item.price_delta.as_ref().unwrap().to_price();
        assert!((delta - (price - anchor)).abs() < 0.01);
        assert!((item.price_ratio - price / anchor).abs() < 1e-3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upsell_scores_are_probabilities_of_one_choice() {
    let server = learned_shop().serve().await;
    let request = UpsellRequest {
        options: options("", 100),
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    let answer = client(&server).await.upsell(request).await;
    let answer = answer.unwrap().into_inner();
    for item in &answer.items {
        assert!((0.0..=1.0).contains(&item.score));
        let delta = item.price_delta.as_ref().unwrap().to_price();
        let value = item.expected_value.as_ref().unwrap().to_price();
        assert!((value - item.score * delta).abs() < 1e-3);
    }
    let total: f32 = answer.items.iter().map(|item| item.score).sum();
    assert!(total < 1.0, "a step is taken once or not at all: {total}");
}

/// An item whose best upsell differs from it in an attribute that both have.
fn item_with_attribute_deltas() -> u32 {
    let models = &learned_shop().version.models;
    let live = LiveState::unchanged(models);
    let has_deltas = |&item: &u32| {
        let request = ItemRequest {
            item,
            k: 1,
            ..ItemRequest::default()
        };
        let first = upsell(models, &live, &request).items.first().cloned();
        first.is_some_and(|first| !attribute_deltas(models, item, first.item).is_empty())
    };
    models.recommendable().iter().find(has_deltas).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsell_says_what_there_is_more_of() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let from = item_with_attribute_deltas();
    let request = UpsellRequest {
        options: options("", 1),
        item_id: shop.version.models.items.id(from).into(),
        ..Default::default()
    };
    let answer = client(&server).await.upsell(request).await;
    let first = answer.unwrap().into_inner().items.remove(0);
    let expected = attribute_deltas(&shop.version.models, from, shop.row(&first.item_id));
    assert_eq!(first.attribute_deltas.len(), expected.len());
    for (found, expected) in first.attribute_deltas.iter().zip(&expected) {
        assert!(found.name == expected.name && found.to == expected.to);
    }
    assert!(!first.reasons.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn omitting_reasons_of_an_upsell_keeps_its_price_and_score() {
    let shop = learned_shop();
    let server = shop.serve().await;
    let mut client = client(&server).await;
    let request = UpsellRequest {
        options: options("", 1),
        item_id: shop
            .version
            .models
            .items
            .id(item_with_attribute_deltas())
            .into(),
        ..Default::default()
    };
    let full = client.upsell(request.clone()).await.unwrap();
    let request = UpsellRequest {
        options: without_reasons("", 1),
        ..request
    };
    let bare = client.upsell(request).await.unwrap();
    let (full, bare) = (&full.get_ref().items[0], &bare.get_ref().items[0]);
    assert!(bare.reasons.is_empty() && bare.attribute_deltas.is_empty());
    assert_eq!(
        (&bare.item_id, &bare.price_delta, bare.score),
        (&full.item_id, &full.price_delta, full.score)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_loaded_is_refused_with_a_stable_reason() {
    let server = learned_shop().serve().await;
    let request = SimilarItemsRequest {
        options: Some(RequestOptions {
            selector: common::by_version("none-such"),
            ..Default::default()
        }),
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    let refused = client(&server).await.similar_items(request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(common::reason_of(&refused), "VERSION_NOT_LOADED");
}
