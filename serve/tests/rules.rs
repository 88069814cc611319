//! Rules, conditions, controls and circumstances over a real socket: set, seen, refused, rolled back, and the same on another server.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use aisle_proto::rule_service_client::RuleServiceClient;
use aisle_proto::{
    Controls, CrossSellRequest, Filter, GetRulesRequest, Money, PageSlot, RecommendForUserRequest, RecommendPageRequest,
    RecommendResponse, RequestContext, RollbackRulesRequest, Rule, SetRulesRequest, page_slot, reason::Kind, rule,
};
use aisle_serve::{Config, Running};
use common::{publish, published};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

fn price(item: &aisle_proto::RecommendedItem) -> f32 {
    item.price.as_ref().unwrap().to_price()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_decides() {
    let folder = tempfile::tempdir().unwrap();
    let config = published(folder.path());
    let running = Running::start(&config).await.unwrap();
    let address = format!("http://{}", running.address());
    let mut client = RecommendationServiceClient::connect(address.clone()).await.unwrap();
    let mut rules = RuleServiceClient::connect(address).await.unwrap();
    let ask = RecommendForUserRequest { user_id: "14911".into(), page_size: 20, ..Default::default() };
    let plain = client.recommend_for_user(ask.clone()).await.unwrap().into_inner();

    // A condition of the request is a gate; a wrong one is shown where it is.
    let filter = |condition: &str| Some(Filter { condition: condition.into(), ..Default::default() });
    let cheap = RecommendForUserRequest { filter: filter("item.price < 1.5 AND NOT item.title : 'BAG'"), ..ask.clone() };
    let answer = client.recommend_for_user(cheap).await.unwrap().into_inner();
    assert_eq!(answer.items.len(), 20);
    assert!(answer.items.iter().all(|item| price(item) < 1.5 && !item.title.contains("BAG")));
    let wrong = RecommendForUserRequest { filter: filter("item.prize < 1.5"), ..ask.clone() };
    let refused = client.recommend_for_user(wrong).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("column 1")), (Code::InvalidArgument, true), "{}", refused.message());

    // Controls of the request.
    let controls = Controls { max_per_category: Some(2), ..Default::default() };
    let few = RecommendForUserRequest { controls: Some(controls), page_size: 12, ..ask.clone() };
    let answer = client.recommend_for_user(few).await.unwrap().into_inner();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    answer.items.iter().for_each(|item| *counts.entry(&item.category).or_default() += 1);
    assert!(answer.items.len() == 12 && counts.values().all(|&count| count <= 2), "{counts:?}");
    let wrong = Controls { diversity: Some(3.0), ..Default::default() };
    let refused = client.recommend_for_user(RecommendForUserRequest { controls: Some(wrong), ..ask.clone() }).await.unwrap_err();
    assert_eq!(refused.get_error_details().bad_request().unwrap().field_violations[0].field, "controls");

    // A rule holds from the next request on, for its placement and circumstances, and says so.
    let first = plain.items[0].item_id.clone();
    let made = vec![
        Rule {
            name: "no bargains at home".into(),
            placements: vec!["home".into()],
            when: "context.device = mobile".into(),
            only: "item.price >= 3".into(),
            ..Default::default()
        },
        Rule {
            name: "cake stand first".into(),
            placements: vec!["home".into()],
            pins: vec![rule::Pin { item_id: "22423".into(), position: 2 }],
            exclude: format!("item.id = \"{first}\""),
            ..Default::default()
        },
    ];
    let set = rules.set_rules(SetRulesRequest { rules: made.clone(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((set.revision, set.rules.len()), (1, 2));
    let home = |device: &str| RecommendForUserRequest {
        placement: "home".into(),
        context: Some(RequestContext { device: device.into(), ..Default::default() }),
        ..ask.clone()
    };
    let names = |answer: &RecommendResponse| answer.serving.as_ref().unwrap().applied_rules.clone();
    let mobile = client.recommend_for_user(home("mobile")).await.unwrap().into_inner();
    assert_eq!(names(&mobile), ["no bargains at home", "cake stand first"]);
    assert_eq!((mobile.items.len(), mobile.items[1].item_id.as_str()), (20, "22423"));
    assert_eq!(mobile.items[1].source(), aisle_proto::Rung::Pinned);
    assert!(mobile.items.iter().all(|item| price(item) >= 3.0 && item.item_id != first));
    let desktop = client.recommend_for_user(home("desktop")).await.unwrap().into_inner();
    assert_eq!(names(&desktop), ["cake stand first"]);
    assert!(desktop.items.iter().any(|item| price(item) < 3.0));
    let elsewhere = client.recommend_for_user(ask.clone()).await.unwrap().into_inner();
    assert_eq!((names(&elsewhere).len(), elsewhere.items.clone()), (0, plain.items.clone()));

    // In a page each slot has its placement, and a pin shown above does not come again.
    let slot = PageSlot { placement: "top".into(), ask: Some(page_slot::Ask::ForUser(home("mobile"))) };
    let page = RecommendPageRequest { slots: vec![slot.clone(), slot], ..Default::default() };
    let page = client.recommend_page(page).await.unwrap().into_inner();
    let shown: Vec<&str> =
        page.slots.iter().flat_map(|slot| &slot.answer.as_ref().unwrap().items).map(|item| item.item_id.as_str()).collect();
    assert_eq!((shown.len(), shown.iter().filter(|&&id| id == "22423").count()), (40, 1));

    // Another server of the registry follows; what cannot be meant is refused whole; a stale revision is told.
    let second = Running::start(&config).await.unwrap();
    let mut other = RuleServiceClient::connect(format!("http://{}", second.address())).await.unwrap();
    assert_eq!(other.get_rules(GetRulesRequest::default()).await.unwrap().into_inner(), set);
    let broken = Rule { name: "broken".into(), only: "item.colour = red".into(), ..Default::default() };
    let refused =
        rules.set_rules(SetRulesRequest { rules: vec![made[0].clone(), broken], ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("'broken'") && refused.message().contains("item.brand"), "{}", refused.message());
    let only = SetRulesRequest { rules: vec![made[1].clone()], expected_revision: 1, ..Default::default() };
    assert_eq!(other.set_rules(only.clone()).await.unwrap().into_inner().revision, 2);
    let stale = rules.set_rules(only).await.unwrap_err();
    assert_eq!((stale.code(), stale.get_error_details().error_info().unwrap().reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    for _ in 0..200 {
        if rules.get_rules(GetRulesRequest::default()).await.unwrap().into_inner().revision == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(names(&client.recommend_for_user(home("mobile")).await.unwrap().into_inner()), ["cake stand first"]);
    let back = rules.rollback_rules(RollbackRulesRequest::default()).await.unwrap().into_inner();
    assert_eq!((back.revision, &back.rules), (3, &set.rules));
    assert_eq!(client.recommend_for_user(home("mobile")).await.unwrap().into_inner().items, mobile.items);
    second.stop().await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_moment_counts() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), 1, Some("stable"));
    let rule = aisle_models::Rule { name: "from the config".into(), diversity: Some(0.2), ..Default::default() };
    let rules = aisle_models::RuleSet { revision: 0, rules: vec![rule] };
    let running = Running::start(&Config { rules, ..Config::local(folder.path()) }).await.unwrap();
    let mut client = RecommendationServiceClient::connect(format!("http://{}", running.address())).await.unwrap();

    // A stranger from Germany sees what sells there, and is told so.
    let from = |location: &str| RecommendForUserRequest {
        context: Some(RequestContext { location: location.into(), ..Default::default() }),
        page_size: 50,
        ..Default::default()
    };
    let here = client.recommend_for_user(from("Germany")).await.unwrap().into_inner();
    let there = client.recommend_for_user(from("France")).await.unwrap().into_inner();
    assert!(here.items.len() == 50 && there.items.len() == 50 && here.items != there.items);
    let told: Vec<_> = here.items.iter().flat_map(|item| &item.reasons).filter(|why| why.kind() == Kind::PopularHere).collect();
    assert!(told.iter().any(|why| why.context == "location: Germany" && why.lift >= 1.25 && why.text.contains("Germany")));
    assert_eq!(here.serving.unwrap().applied_rules, ["from the config"]);
    let nowhere = client.recommend_for_user(from("Atlantis")).await.unwrap().into_inner();
    assert_eq!(nowhere.items.len(), 50);

    // A cart that lacks seven pounds: each item closes the gap alone, and how much it is instead of the cart is told.
    let gap = Money { currency_code: "GBP".into(), units: 7, nanos: 200_000_000 };
    let cart = CrossSellRequest {
        cart_item_ids: vec!["22697".into(), "22138".into()],
        spend_gap: Some(gap.clone()),
        page_size: 10,
        ..Default::default()
    };
    let answer = client.cross_sell(cart.clone()).await.unwrap().into_inner();
    assert!(answer.items.len() == 10 && answer.items.iter().all(|item| price(item) >= 7.2));
    assert!(answer.items.iter().all(|item| (0.0..=1.0).contains(&item.substitute_score)));
    let foreign = CrossSellRequest { spend_gap: Some(Money { currency_code: "JPY".into(), ..gap }), ..cart };
    assert!(client.cross_sell(foreign).await.unwrap().into_inner().items.is_empty(), "no item is priced in yen");
    running.stop().await.unwrap();
}
