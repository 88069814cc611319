//! Rules, conditions, controls and contexts over a real socket: set, seen, refused, rolled back,
//! and the same on another server.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::{
    CandidateSource, Controls, CrossSellRequest, Filter, GetRulesRequest, PageSlot,
    RecommendForUserRequest, RecommendPageRequest, RecommendResponse, RequestContext,
    RequestOptions, RollbackRulesRequest, Rule, RuleSet, SetRulesRequest, page_slot, reason::Kind,
    rule,
};
use aisle_serve::{Config, Server};
use common::{
    CAKESTAND, Client, RuleClient, SHOPPER, cart_ids, client, eventually, for_user, options,
    own_registry, pounds, price, rule_client, small_shop,
};
use std::collections::BTreeMap;
use tempfile::TempDir;
use tonic::Code;

fn with_condition(condition: &str) -> RecommendForUserRequest {
    let filter = Filter {
        condition: condition.into(),
        ..Default::default()
    };
    RecommendForUserRequest {
        options: Some(RequestOptions {
            filter: Some(filter),
            ..options(SHOPPER, 20).unwrap()
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_of_a_request_narrows_its_answer() {
    let server = small_shop().serve().await;
    let request = with_condition("item.price < 1.5 AND NOT item.title : 'BAG'");
    let answer = client(&server).await.recommend_for_user(request).await;
    let items = answer.unwrap().into_inner().items;
    assert_eq!(items.len(), 20);
    for item in &items {
        assert!(price(item) < 1.5 && !item.title.contains("BAG"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_condition_is_refused_with_the_column_of_the_mistake() {
    let server = small_shop().serve().await;
    let request = with_condition("item.prize < 1.5");
    let refused = client(&server).await.recommend_for_user(request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("column 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_of_a_request_limits_its_categories() {
    let server = small_shop().serve().await;
    let controls = Controls {
        max_per_category: Some(2),
        ..Default::default()
    };
    let request = RecommendForUserRequest {
        options: Some(RequestOptions {
            controls: Some(controls),
            ..options(SHOPPER, 12).unwrap()
        }),
        ..Default::default()
    };
    let answer = client(&server).await.recommend_for_user(request).await;
    let items = answer.unwrap().into_inner().items;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &items {
        *counts.entry(&item.category).or_default() += 1;
    }
    assert_eq!(items.len(), 12);
    assert!(counts.values().all(|&count| count <= 2), "{counts:?}");
}

/// A server of its own registry with two rules for the placement `home`.
struct Running {
    _folder: TempDir,
    config: Config,
    server: Server,
    client: Client,
    rules: RuleClient,
    /// The shopper's answer without rules.
    plain: RecommendResponse,
    set: RuleSet,
}

/// For the placement `home`: the first rule for mobile devices only, the second for all.
fn home_rules(excluded: &str) -> Vec<Rule> {
    let no_bargains = Rule {
        name: "no bargains at home".into(),
        placements: vec!["home".into()],
        when: "context.device = mobile".into(),
        only: "item.price >= 3".into(),
        ..Default::default()
    };
    let pin = rule::Pin {
        item_id: CAKESTAND.into(),
        position: 2,
    };
    let cake_stand = Rule {
        name: "cake stand first".into(),
        placements: vec!["home".into()],
        pins: vec![pin],
        exclude: format!("item.id = \"{excluded}\""),
        ..Default::default()
    };
    vec![no_bargains, cake_stand]
}

fn set_rules(rules: Vec<Rule>, expected_revision: u64) -> SetRulesRequest {
    SetRulesRequest {
        rules,
        expected_revision,
        ..Default::default()
    }
}

/// A request for the placement `home`.
fn home(device: &str) -> RecommendForUserRequest {
    let context = RequestContext {
        device: device.into(),
        ..Default::default()
    };
    RecommendForUserRequest {
        options: Some(RequestOptions {
            placement: "home".into(),
            context: Some(context),
            ..options(SHOPPER, 20).unwrap()
        }),
        ..Default::default()
    }
}

fn applied(answer: &RecommendResponse) -> Vec<String> {
    answer.serving.as_ref().unwrap().applied_rules.clone()
}

impl Running {
    async fn start() -> Self {
        let (folder, config) = own_registry();
        let server = Server::start(&config).await.unwrap();
        let (mut client, mut rules) = (client(&server).await, rule_client(&server).await);
        let plain = client.recommend_for_user(for_user(SHOPPER, 20)).await;
        let plain = plain.unwrap().into_inner();
        let request = set_rules(home_rules(&plain.items[0].item_id), 0);
        let set = rules.set_rules(request).await.unwrap().into_inner();
        Self {
            _folder: folder,
            config,
            server,
            client,
            rules,
            plain,
            set,
        }
    }

    async fn answer(&mut self, request: RecommendForUserRequest) -> RecommendResponse {
        let answer = self.client.recommend_for_user(request).await;
        answer.unwrap().into_inner()
    }

    /// Another server of the same registry.
    async fn other(&self) -> (Server, RuleClient) {
        let other = Server::start(&self.config).await.unwrap();
        let rules = rule_client(&other).await;
        (other, rules)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rules_have_revision_1() {
    let running = Running::start().await;
    assert_eq!((running.set.revision, running.set.rules.len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_apply_to_the_next_request_which_names_them() {
    let mut running = Running::start().await;
    let mobile = running.answer(home("mobile")).await;
    assert_eq!(
        applied(&mobile),
        ["no bargains at home", "cake stand first"]
    );
    assert_eq!(mobile.items.len(), 20);
    let excluded = &running.plain.items[0].item_id;
    for item in &mobile.items {
        assert!(price(item) >= 3.0 && item.item_id != *excluded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_item_is_at_its_position() {
    let mut running = Running::start().await;
    let mobile = running.answer(home("mobile")).await;
    assert_eq!(mobile.items[1].item_id, CAKESTAND);
    assert_eq!(mobile.items[1].source(), CandidateSource::Pinned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_applies_only_in_its_context() {
    let mut running = Running::start().await;
    let desktop = running.answer(home("desktop")).await;
    assert_eq!(applied(&desktop), ["cake stand first"]);
    assert!(desktop.items.iter().any(|item| price(item) < 3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_changes_nothing_at_other_placements() {
    let mut running = Running::start().await;
    let elsewhere = running.answer(for_user(SHOPPER, 20)).await;
    assert!(applied(&elsewhere).is_empty());
    assert_eq!(elsewhere.items, running.plain.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_appears_once_on_a_page() {
    let mut running = Running::start().await;
    let slot = PageSlot {
        placement: "top".into(),
        call: Some(page_slot::Call::ForUser(home("mobile"))),
    };
    let request = RecommendPageRequest {
        slots: vec![slot.clone(), slot],
        ..Default::default()
    };
    let page = running.client.recommend_page(request).await.unwrap();
    let answers = page.get_ref().slots.iter();
    let items = answers.flat_map(|slot| &slot.answer.as_ref().unwrap().items);
    let shown: Vec<&str> = items.map(|item| item.item_id.as_str()).collect();
    let pins = shown.iter().filter(|id| **id == CAKESTAND).count();
    assert_eq!((shown.len(), pins), (40, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_of_the_registry_has_the_same_rules() {
    let running = Running::start().await;
    let (_other, mut rules) = running.other().await;
    let found = rules.get_rules(GetRulesRequest::default()).await.unwrap();
    assert_eq!(*found.get_ref(), running.set);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_set_on_another_server_are_followed() {
    let mut running = Running::start().await;
    let (_other, mut rules) = running.other().await;
    let only = set_rules(vec![running.set.rules[1].clone()], 1);
    let set = rules.set_rules(only).await.unwrap();
    assert_eq!(set.get_ref().revision, 2);
    eventually("the rules never came", || {
        let mut rules = running.rules.clone();
        async move {
            let found = rules.get_rules(GetRulesRequest::default()).await;
            found.unwrap().get_ref().revision == 2
        }
    })
    .await;
    let mobile = running.answer(home("mobile")).await;
    assert_eq!(applied(&mobile), ["cake stand first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_rule_is_refused_with_its_name_and_the_fields_there_are() {
    let mut running = Running::start().await;
    let broken = Rule {
        name: "broken".into(),
        only: "item.colour = red".into(),
        ..Default::default()
    };
    let request = set_rules(vec![running.set.rules[0].clone(), broken], 0);
    let refused = running.rules.set_rules(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("'broken'") && refused.message().contains("item.brand"),
        "{}",
        refused.message()
    );
    let found = running.rules.get_rules(GetRulesRequest::default()).await;
    assert_eq!(*found.unwrap().get_ref(), running.set, "nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_made_from_an_old_revision_are_refused() {
    let mut running = Running::start().await;
    let only = set_rules(vec![running.set.rules[1].clone()], 1);
    running.rules.set_rules(only.clone()).await.unwrap();
    let stale = running.rules.set_rules(only).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert_eq!(common::reason_of(&stale), "ETAG_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_the_rules_and_the_answers_before() {
    let mut running = Running::start().await;
    let before = running.answer(home("mobile")).await;
    let only = set_rules(vec![running.set.rules[1].clone()], 0);
    running.rules.set_rules(only).await.unwrap();
    let back = running
        .rules
        .rollback_rules(RollbackRulesRequest::default());
    let back = back.await.unwrap().into_inner();
    assert_eq!((back.revision, &back.rules), (3, &running.set.rules));
    assert_eq!(running.answer(home("mobile")).await.items, before.items);
    running.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_config_always_applies() {
    let rule = aisle_models::Rule {
        name: "from the config".into(),
        diversity: Some(0.2),
        ..Default::default()
    };
    let rules = aisle_models::RuleSet {
        revision: 0,
        rules: vec![rule],
    };
    let config = Config {
        rules,
        ..Config::local(small_shop().folder.path())
    };
    let server = Server::start(&config).await.unwrap();
    let mut client = client(&server).await;
    let answer = client.recommend_for_user(for_user("", 50));
    assert_eq!(
        applied(answer.await.unwrap().get_ref()),
        ["from the config"]
    );
}

/// A stranger at a location.
fn from(location: &str) -> RecommendForUserRequest {
    let context = RequestContext {
        location: location.into(),
        ..Default::default()
    };
    RecommendForUserRequest {
        options: Some(RequestOptions {
            context: Some(context),
            page_size: 50,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_what_sells_at_their_location_and_is_told_so() {
    let server = small_shop().serve().await;
    let mut client = client(&server).await;
    let here = client.recommend_for_user(from("Germany")).await.unwrap();
    let there = client.recommend_for_user(from("France")).await.unwrap();
    let (here, there) = (here.into_inner().items, there.into_inner().items);
    assert!(here.len() == 50 && there.len() == 50 && here != there);
    let mut reasons = here.iter().flat_map(|item| &item.reasons);
    assert!(reasons.any(|reason| {
        reason.kind() == Kind::PopularHere
            && reason.context == "location: Germany"
            && reason.lift >= 1.25
            && reason.text.contains("Germany")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_nobody_knows_gets_a_full_answer() {
    let server = small_shop().serve().await;
    let mut client = client(&server).await;
    let answer = client.recommend_for_user(from("Atlantis"));
    assert_eq!(answer.await.unwrap().get_ref().items.len(), 50);
}

fn cart_with_gap() -> CrossSellRequest {
    CrossSellRequest {
        options: options("", 10),
        cart_item_ids: cart_ids(),
        spend_gap: pounds(7, 200_000_000),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_closes_the_spend_gap_of_a_cart_alone() {
    let server = small_shop().serve().await;
    let answer = client(&server).await.cross_sell(cart_with_gap()).await;
    let items = answer.unwrap().into_inner().items;
    assert_eq!(items.len(), 10);
    for item in &items {
        assert!(price(item) >= 7.2);
        assert!((0.0..=1.0).contains(&item.substitute_score));
        // Beyond what goes with the cart come best sellers, not items that orders say nothing of.
        assert!(item.source() == CandidateSource::Popular || !item.reasons.is_empty());
    }
    assert_eq!(items[0].source(), CandidateSource::CrossSell);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spend_gap_in_another_currency_is_closed_by_nothing() {
    let server = small_shop().serve().await;
    let mut request = cart_with_gap();
    request.spend_gap.as_mut().unwrap().currency_code = "JPY".into();
    let answer = client(&server).await.cross_sell(request).await;
    let items = answer.unwrap().into_inner().items;
    assert!(items.is_empty(), "no item is priced in yen");
}
