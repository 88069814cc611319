//! Every limit of a request: what is beyond it is INVALID_ARGUMENT and names the field.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::{
    BuyAgainRequest, Controls, CrossSellRequest, Filter, HistoryItem, ItemUpdate, Money, NewItem,
    PageSlot, RankItemsRequest, RecommendForSessionRequest, RecommendForUserRequest,
    RecommendPageRequest, RequestContext, RequestOptions, SimilarItemsRequest, UpsellRequest,
    page_slot,
};
use aisle_serve::Server;
use common::{
    CAKESTAND, Client, client, for_user, model_client, options, pounds, small_shop, update,
};
use prost_types::Timestamp;
use tonic::{Code, Response, Status};

async fn start() -> (Server, Client) {
    let server = small_shop().serve().await;
    let client = client(&server).await;
    (server, client)
}

/// Checks that a response is a refusal of one field.
#[track_caller]
fn expect_refusal<T>(response: Result<Response<T>, Status>, field: &str) {
    assert!(response.is_err(), "{field} was accepted");
    let refused = response.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(common::wrong_field(&refused), field);
}

fn with_options(options: RequestOptions) -> RecommendForUserRequest {
    RecommendForUserRequest {
        options: Some(options),
        ..Default::default()
    }
}

fn with_filter(filter: Filter) -> RecommendForUserRequest {
    with_options(RequestOptions {
        filter: Some(filter),
        ..Default::default()
    })
}

fn with_context(context: RequestContext) -> RecommendForUserRequest {
    with_options(RequestOptions {
        context: Some(context),
        ..Default::default()
    })
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("id{number}")).collect()
}

/// A time that no request may have.
fn before_1970() -> Option<Timestamp> {
    Some(Timestamp {
        seconds: -1,
        nanos: 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn page_size_is_at_most_1000() {
    let (_server, mut client) = start().await;
    assert!(client.recommend_for_user(for_user("", 1000)).await.is_ok());
    let refused = client.recommend_for_user(for_user("", 1001)).await;
    expect_refusal(refused, "options.page_size");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_has_at_most_1000_entries() {
    let (_server, mut client) = start().await;
    let event = HistoryItem {
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    let of = |entries: usize| RecommendForUserRequest {
        history: vec![event.clone(); entries],
        ..Default::default()
    };
    assert!(client.recommend_for_user(of(1000)).await.is_ok());
    expect_refusal(client.recommend_for_user(of(1001)).await, "history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_has_at_most_1000_items() {
    let (_server, mut client) = start().await;
    let cart = |count: usize| CrossSellRequest {
        cart_item_ids: ids(count),
        ..Default::default()
    };
    assert!(client.cross_sell(cart(1000)).await.is_ok());
    expect_refusal(client.cross_sell(cart(1001)).await, "cart_item_ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_1000_items_are_ranked() {
    let (_server, mut client) = start().await;
    let request = RankItemsRequest {
        item_ids: ids(1001),
        ..Default::default()
    };
    expect_refusal(client.rank_items(request).await, "item_ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_has_at_most_1000_clicks() {
    let (_server, mut client) = start().await;
    let request = RecommendForSessionRequest {
        clicked_item_ids: ids(1001),
        ..Default::default()
    };
    let refused = client.recommend_for_session(request).await;
    expect_refusal(refused, "clicked_item_ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_of_a_filter_have_at_most_1000_entries() {
    let (_server, mut client) = start().await;
    let excluded_ids = Filter {
        exclude_item_ids: ids(1001),
        ..Default::default()
    };
    let categories = Filter {
        categories: ids(1001),
        ..Default::default()
    };
    let excluded_categories = Filter {
        exclude_categories: ids(1001),
        ..Default::default()
    };
    for (filter, field) in [
        (excluded_ids, "options.filter.exclude_item_ids"),
        (categories, "options.filter.categories"),
        (excluded_categories, "options.filter.exclude_categories"),
    ] {
        let refused = client.recommend_for_user(with_filter(filter)).await;
        expect_refusal(refused, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_not_negative() {
    let (_server, mut client) = start().await;
    let min = Filter {
        min_price: pounds(-1, 0),
        ..Default::default()
    };
    let max = Filter {
        max_price: pounds(1, -5),
        ..Default::default()
    };
    for (filter, field) in [
        (min, "options.filter.min_price"),
        (max, "options.filter.max_price"),
    ] {
        let refused = client.recommend_for_user(with_filter(filter)).await;
        expect_refusal(refused, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_has_less_than_a_billion_nanos() {
    let (_server, mut client) = start().await;
    let filter = Filter {
        min_price: pounds(1, 1_000_000_000),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_filter(filter)).await;
    expect_refusal(refused, "options.filter.min_price");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_price_is_not_below_the_lowest() {
    let (_server, mut client) = start().await;
    let filter = Filter {
        min_price: pounds(3, 0),
        max_price: pounds(2, 0),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_filter(filter)).await;
    expect_refusal(refused, "options.filter.max_price");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_prices_of_a_filter_have_one_currency() {
    let (_server, mut client) = start().await;
    let euros = Money {
        currency_code: "EUR".into(),
        units: 3,
        nanos: 0,
    };
    let filter = Filter {
        min_price: pounds(1, 0),
        max_price: Some(euros),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_filter(filter)).await;
    expect_refusal(refused, "options.filter.max_price.currency_code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spend_gap_is_in_the_currency_of_the_filter() {
    let (_server, mut client) = start().await;
    let filter = Filter {
        min_price: pounds(1, 0),
        ..Default::default()
    };
    let euros = Money {
        currency_code: "EUR".into(),
        units: 3,
        nanos: 0,
    };
    let request = CrossSellRequest {
        options: with_filter(filter).options,
        spend_gap: Some(euros),
        ..Default::default()
    };
    let refused = client.cross_sell(request).await;
    expect_refusal(refused, "spend_gap.currency_code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spend_gap_is_not_negative() {
    let (_server, mut client) = start().await;
    let request = CrossSellRequest {
        spend_gap: pounds(-1, 0),
        ..Default::default()
    };
    expect_refusal(client.cross_sell(request).await, "spend_gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_names_known_fields() {
    let (_server, mut client) = start().await;
    let filter = Filter {
        condition: "item.prize < 1.5".into(),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_filter(filter)).await;
    expect_refusal(refused, "options.filter.condition");
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_are_in_their_ranges() {
    let (_server, mut client) = start().await;
    let diversity = Controls {
        diversity: Some(3.0),
        ..Default::default()
    };
    let rotation = Controls {
        rotation: Some(-0.1),
        ..Default::default()
    };
    let relevance = Controls {
        min_relevance: Some(f32::NAN),
        ..Default::default()
    };
    let brand = Controls {
        max_per_brand: Some(0),
        ..Default::default()
    };
    let category = Controls {
        max_per_category: Some(0),
        ..Default::default()
    };
    for controls in [diversity, rotation, relevance, brand, category] {
        let request = with_options(RequestOptions {
            controls: Some(controls),
            ..Default::default()
        });
        let refused = client.recommend_for_user(request).await;
        expect_refusal(refused, "options.controls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_has_at_most_32_attributes() {
    let (_server, mut client) = start().await;
    let of = |count: usize| RequestContext {
        attributes: ids(count).into_iter().map(|id| (id.clone(), id)).collect(),
        ..Default::default()
    };
    let accepted = client.recommend_for_user(with_context(of(32))).await;
    assert!(accepted.is_ok());
    let refused = client.recommend_for_user(with_context(of(33))).await;
    expect_refusal(refused, "options.context.attributes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_context_has_at_most_256_bytes() {
    let (_server, mut client) = start().await;
    let device = |bytes: usize| RequestContext {
        device: "x".repeat(bytes),
        ..Default::default()
    };
    let accepted = client.recommend_for_user(with_context(device(256))).await;
    assert!(accepted.is_ok());
    let refused = client.recommend_for_user(with_context(device(257))).await;
    expect_refusal(refused, "options.context");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_a_context_has_at_most_256_bytes() {
    let (_server, mut client) = start().await;
    let context = RequestContext {
        attributes: [("x".repeat(257), "value".to_string())].into(),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_context(context)).await;
    expect_refusal(refused, "options.context");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_time_is_after_1970() {
    let (_server, mut client) = start().await;
    let context = RequestContext {
        local_time: before_1970(),
        ..Default::default()
    };
    let refused = client.recommend_for_user(with_context(context)).await;
    expect_refusal(refused, "options.context.local_time");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_time_is_after_1970() {
    let (_server, mut client) = start().await;
    let cart = CrossSellRequest {
        request_time: before_1970(),
        ..Default::default()
    };
    expect_refusal(client.cross_sell(cart).await, "request_time");
    let upsell = UpsellRequest {
        item_id: CAKESTAND.into(),
        request_time: before_1970(),
        ..Default::default()
    };
    expect_refusal(client.upsell(upsell).await, "request_time");
    let reorders = BuyAgainRequest {
        options: options("x", 0),
        request_time: before_1970(),
        ..Default::default()
    };
    expect_refusal(client.buy_again(reorders).await, "request_time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_band_is_above_the_item_and_not_empty() {
    let (_server, mut client) = start().await;
    for (min, max) in [(f32::NAN, 2.0), (0.5, 2.0), (3.0, 2.0), (1.5, f32::NAN)] {
        let request = UpsellRequest {
            item_id: CAKESTAND.into(),
            min_price_ratio: min,
            max_price_ratio: max,
            ..Default::default()
        };
        expect_refusal(client.upsell(request).await, "min_price_ratio");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_horizon_has_at_most_365_days() {
    let (_server, mut client) = start().await;
    let horizon = |days: u32| BuyAgainRequest {
        options: options("x", 0),
        horizon_days: days,
        ..Default::default()
    };
    assert!(client.buy_again(horizon(365)).await.is_ok());
    expect_refusal(client.buy_again(horizon(366)).await, "horizon_days");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_a_call_is_about_are_required() {
    let (_server, mut client) = start().await;
    let similar = client.similar_items(SimilarItemsRequest::default()).await;
    expect_refusal(similar, "item_id");
    expect_refusal(client.upsell(UpsellRequest::default()).await, "item_id");
    let reorders = client.buy_again(BuyAgainRequest::default()).await;
    expect_refusal(reorders, "options.user_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_at_most_20_slots() {
    let (_server, mut client) = start().await;
    let slot = PageSlot {
        placement: "x".into(),
        call: Some(page_slot::Call::ForUser(for_user("", 1))),
    };
    let page = |slots: usize| RecommendPageRequest {
        slots: vec![slot.clone(); slots],
        ..Default::default()
    };
    assert!(client.recommend_page(page(20)).await.is_ok());
    expect_refusal(client.recommend_page(page(21)).await, "slots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_has_a_call() {
    let (_server, mut client) = start().await;
    let empty = PageSlot {
        placement: "x".into(),
        call: None,
    };
    let request = RecommendPageRequest {
        slots: vec![empty],
        ..Default::default()
    };
    expect_refusal(client.recommend_page(request).await, "slots.call");
}

/// One update that no server accepts.
async fn expect_update_refused(updates: Vec<ItemUpdate>, field: &str) {
    let server = small_shop().serve().await;
    let mut models = model_client(&server).await;
    let refused = models.update_items(update(updates));
    expect_refusal(refused.await, field);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_has_at_most_10_000_items() {
    let one = ItemUpdate {
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    expect_update_refused(vec![one; 10_001], "updates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_names_its_item() {
    expect_update_refused(vec![ItemUpdate::default()], "updates.item_id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_has_no_negative_price() {
    let negative = ItemUpdate {
        item_id: CAKESTAND.into(),
        price: pounds(-1, 0),
        ..Default::default()
    };
    expect_update_refused(vec![negative], "updates.price").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_a_new_item_has_at_most_1024_bytes() {
    let long = NewItem {
        title: "x".repeat(1025),
        ..Default::default()
    };
    let long = ItemUpdate {
        item_id: "long".into(),
        new_item: Some(long),
        ..Default::default()
    };
    expect_update_refused(vec![long], "updates.new_item").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_item_has_at_most_32_attributes() {
    let many = NewItem {
        attributes: ids(33).into_iter().map(|id| (id.clone(), id)).collect(),
        ..Default::default()
    };
    let many = ItemUpdate {
        item_id: "many".into(),
        new_item: Some(many),
        ..Default::default()
    };
    expect_update_refused(vec![many], "updates.new_item.attributes").await;
}
