//! A real server, a real client, real versions on a real disk.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_models::{ForItem, Registry};
use aisle_proto::model_service_client::ModelServiceClient;
use aisle_proto::model_version::State;
use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use aisle_proto::{
    BuyAgainRequest, CrossSellRequest, Filter, HistoryItem, ItemUpdate, ListVersionsRequest, ModelSelector, Money, NewItem,
    PageSlot, RankItemsRequest, RecommendForSessionRequest, RecommendForUserRequest, RecommendPageRequest, RecommendResponse,
    RollbackRequest, Rung, SetAliasRequest, SimilarItemsRequest, UpdateItemsRequest, UpsellRequest, model_selector::Target,
    page_slot,
};
use aisle_serve::split::Split;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use aisle_serve::{Config, Running};
use common::{publish, publish_with, published};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt;

async fn client(running: &Running) -> RecommendationServiceClient<Channel> {
    RecommendationServiceClient::connect(format!("http://{}", running.address())).await.unwrap()
}

async fn models(running: &Running) -> ModelServiceClient<Channel> {
    ModelServiceClient::connect(format!("http://{}", running.address())).await.unwrap()
}

fn ids(response: &RecommendResponse) -> Vec<String> {
    response.items.iter().map(|item| item.item_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let version = publish_with(folder.path(), &[], Some("stable"));
    let running = Running::start(&Config::local(folder.path())).await.unwrap();
    let mut client = client(&running).await;
    let bundle = Registry::new(folder.path()).verify("shop", &version).unwrap();
    let row = |id: &str| bundle.items.get(id).unwrap();

    // Exactly k, in order of rank, one version, nothing bought before, nothing unavailable.
    let ask = RecommendForUserRequest { user_id: "14911".into(), page_size: 50, exclude_purchased: true, ..Default::default() };
    let answer = client.recommend_for_user(ask.clone()).await.unwrap().into_inner();
    let serving = answer.serving.clone().unwrap();
    assert_eq!(answer.items.len(), 50);
    assert!(serving.known_user && serving.model_version == version && serving.alias == "stable" && serving.model == "shop");
    let bought: BTreeSet<u32> = bundle.bought(bundle.users.get("14911").unwrap()).iter().copied().collect();
    assert!(!bought.is_empty());
    for (item, rank) in answer.items.iter().zip(1..) {
        assert_eq!(item.rank, rank);
        assert!(!bought.contains(&row(&item.item_id)) && bundle.catalog.available[row(&item.item_id) as usize]);
    }

    // Filters: category, price, exclusions; a set smaller than k comes back whole and says its size.
    let money = |units, nanos| Some(Money { currency_code: "GBP".into(), units, nanos });
    let filter = Filter {
        categories: vec![answer.items[0].category.clone()],
        min_price: money(1, 0),
        max_price: money(3, 500_000_000),
        exclude_item_ids: vec![answer.items[0].item_id.clone()],
        ..Default::default()
    };
    let bare = client.recommend_for_user(RecommendForUserRequest { omit_reasons: true, ..ask.clone() }).await.unwrap().into_inner();
    let same = bare.items.iter().zip(&answer.items).all(|(bare, full)| bare.item_id == full.item_id && bare.score == full.score);
    assert!(same && bare.items.len() == 50);
    assert!(bare.items.iter().all(|item| item.reasons.is_empty()) && answer.items.iter().any(|item| !item.reasons.is_empty()));
    let narrow = RecommendForUserRequest { filter: Some(filter.clone()), page_size: 1000, ..ask.clone() };
    let narrow = client.recommend_for_user(narrow).await.unwrap().into_inner();
    assert_eq!(narrow.items.len() as u32, narrow.serving.as_ref().unwrap().eligible_count.min(1000));
    assert!(!narrow.items.is_empty());
    for item in &narrow.items {
        let price = item.price.as_ref().unwrap().to_price();
        assert!((1.0..=3.5).contains(&price) && item.category.starts_with(&filter.categories[0]));
        assert_ne!(item.item_id, filter.exclude_item_ids[0]);
    }
    let nowhere = Filter { categories: vec!["No > Such".into()], ..Default::default() };
    let empty =
        client.recommend_for_user(RecommendForUserRequest { filter: Some(nowhere), ..ask.clone() }).await.unwrap().into_inner();
    assert!(empty.items.is_empty() && empty.serving.unwrap().eligible_count == 0);

    // A stranger with a history gets personal answers; one without gets best sellers and is told so.
    let history = vec![
        HistoryItem { item_id: "22423".into(), event_type: String::new() },
        HistoryItem { item_id: "nope".into(), event_type: "view".into() },
    ];
    let stranger = RecommendForUserRequest { history, exclude_purchased: true, page_size: 10, ..Default::default() };
    let answer = client.recommend_for_user(stranger).await.unwrap().into_inner();
    assert_eq!(answer.serving.as_ref().unwrap().unknown_item_ids, ["nope"]);
    assert_eq!(answer.serving.as_ref().unwrap().rung(), aisle_proto::Rung::Personal);
    assert_eq!(answer.items[0].reasons[0].item_ids, ["22423"]);
    let answer =
        client.recommend_for_user(RecommendForUserRequest { page_size: 10, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(answer.items.len(), 10);
    assert_eq!(answer.serving.as_ref().unwrap().rung(), aisle_proto::Rung::Popular);
    assert!(!answer.serving.unwrap().fallback_reason.is_empty());

    // Similar: never the item itself; an unknown item is data.
    let answer = client
        .similar_items(SimilarItemsRequest { item_id: "22423".into(), page_size: 30, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert!(answer.items.len() == 30 && !ids(&answer).contains(&"22423".to_string()));
    let answer =
        client.similar_items(SimilarItemsRequest { item_id: "nope".into(), ..Default::default() }).await.unwrap().into_inner();
    assert!(answer.items.is_empty() && answer.serving.unwrap().unknown_item_ids == ["nope"]);

    // Cross-sell: other categories than the cart's, nothing of the cart, reasons with counts above the floor.
    let cart = vec!["22697".to_string(), "22138".to_string()];
    let answer = client
        .cross_sell(CrossSellRequest { cart_item_ids: cart.clone(), page_size: 40, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.items.len(), 40);
    let held: BTreeSet<&str> = cart.iter().filter_map(|id| bundle.catalog.category.get(row(id))).collect();
    for item in &answer.items {
        assert!(!held.contains(item.category.as_str()) && !cart.contains(&item.item_id));
        assert!(item.reasons.iter().all(|reason| reason.kind() != aisle_proto::reason::Kind::BoughtTogether || reason.count >= 5));
    }
    assert_eq!(answer.items[0].reasons[0].kind(), aisle_proto::reason::Kind::BoughtTogether);
    assert!(answer.items.iter().any(|item| item.substitute_score > 0.0));
    // Without reasons the same items with the same scores, and what is told of them beside.
    let bare = CrossSellRequest { cart_item_ids: cart.clone(), page_size: 40, omit_reasons: true, ..Default::default() };
    let bare = client.cross_sell(bare).await.unwrap().into_inner();
    let scores =
        |answer: &RecommendResponse| answer.items.iter().map(|item| (item.item_id.clone(), item.score)).collect::<Vec<_>>();
    assert_eq!(scores(&bare), scores(&answer));
    assert!(bare.items.iter().all(|item| item.reasons.is_empty() && item.substitute_score == 0.0 && !item.title.is_empty()));

    // Upsell: category, band, currency, availability; the price difference is the difference.
    let answer =
        client.upsell(UpsellRequest { item_id: "22423".into(), page_size: 100, ..Default::default() }).await.unwrap().into_inner();
    let anchor = bundle.catalog.price[row("22423") as usize];
    let category = bundle.catalog.category.get(row("22423")).unwrap();
    assert!(!answer.items.is_empty());
    assert_eq!(answer.items.len() as u32, answer.serving.unwrap().eligible_count.min(100));
    for item in &answer.items {
        let price = item.price.as_ref().unwrap().to_price();
        assert!(price >= anchor * 1.05 && price <= anchor * 4.0 && item.category == category);
        let delta = item.price_delta.as_ref().unwrap().to_price();
        assert!((delta - (price - anchor)).abs() < 0.01 && (item.price_ratio - price / anchor).abs() < 1e-3);
        assert!((0.0..=1.0).contains(&item.score));
        assert!((item.expected_value.as_ref().unwrap().to_price() - item.score * delta).abs() < 1e-3);
    }

    let total: f32 = answer.items.iter().map(|item| item.score).sum();
    assert!(total < 1.0, "a step is taken once or not at all: {total}");
    // Where titles count the same thing, the answer says what there is more of.
    let step = |&item: &u32| {
        let above = bundle.upsell(&ForItem { item, k: 1, ..ForItem::default() });
        above.items.first().map(|first| first.item).filter(|&to| !bundle.attribute_deltas(item, to).is_empty())
    };
    let from = bundle.trained().iter().find(|item| step(item).is_some()).unwrap();
    let stepping = UpsellRequest { item_id: bundle.items.id(from).into(), page_size: 1, ..Default::default() };
    let first = client.upsell(stepping.clone()).await.unwrap().into_inner().items.remove(0);
    let bare = UpsellRequest { omit_reasons: true, ..stepping };
    let bare = client.upsell(bare).await.unwrap().into_inner().items.remove(0);
    assert!(bare.reasons.is_empty() && bare.attribute_deltas.is_empty() && !first.reasons.is_empty());
    assert_eq!((&bare.item_id, &bare.price_delta, bare.score), (&first.item_id, &first.price_delta, first.score));
    let expected = bundle.attribute_deltas(from, row(&first.item_id));
    assert!(first.attribute_deltas.iter().zip(&expected).all(|(told, known)| told.name == known.name && told.to == known.to));
    assert_eq!(first.attribute_deltas.len(), expected.len());

    // A shopper's cart knows what they come back for, and a stranger's does not.
    let asked =
        |user: &str| CrossSellRequest { cart_item_ids: cart.clone(), user_id: user.into(), page_size: 20, ..Default::default() };
    let theirs = client.cross_sell(asked("14911")).await.unwrap().into_inner();
    let stranger = client.cross_sell(asked("")).await.unwrap().into_inner();
    let before = |answer: &RecommendResponse| {
        answer
            .items
            .iter()
            .flat_map(|item| &item.reasons)
            .filter(|reason| reason.kind() == aisle_proto::reason::Kind::BoughtBefore)
            .count()
    };
    assert!(before(&theirs) > 5 && before(&stranger) == 0);

    // A visit: the last click never comes back, others may unless they must not; the next answer follows the next click.
    let visit = |clicks: &[&str]| RecommendForSessionRequest {
        clicked_item_ids: clicks.iter().map(|id| id.to_string()).collect(),
        page_size: 30,
        ..Default::default()
    };
    let answer = client.recommend_for_session(visit(&["22697", "nope", "22423"])).await.unwrap().into_inner();
    assert!(answer.items.len() == 30 && !ids(&answer).contains(&"22423".to_string()));
    assert_eq!(answer.serving.as_ref().unwrap().rung(), aisle_proto::Rung::Session);
    assert_eq!(answer.serving.as_ref().unwrap().unknown_item_ids, ["nope"]);
    let new = RecommendForSessionRequest { exclude_clicked: true, ..visit(&["22697", "22423"]) };
    let new = client.recommend_for_session(new).await.unwrap().into_inner();
    assert!(!ids(&new).iter().any(|id| id == "22697" || id == "22423"));
    let other = client.recommend_for_session(visit(&["22697"])).await.unwrap().into_inner();
    assert_ne!(ids(&other), ids(&answer));
    let nothing = client.recommend_for_session(visit(&[])).await.unwrap().into_inner();
    assert_eq!(nothing.serving.unwrap().rung(), aisle_proto::Rung::Popular);

    // Buy again: only what they had, most likely first, probabilities grow with the horizon; nobody has nothing.
    let again = BuyAgainRequest { user_id: "14911".into(), page_size: 50, ..Default::default() };
    let answer = client.buy_again(again.clone()).await.unwrap().into_inner();
    assert!(answer.items.len() == 50 && answer.items.iter().all(|item| bought.contains(&row(&item.item_id))));
    assert!(answer.items.is_sorted_by(|a, b| a.score >= b.score) && answer.items.iter().all(|item| item.score <= 1.0));
    assert_eq!(answer.items[0].reasons[0].kind(), aisle_proto::reason::Kind::Due);
    let sooner = client.buy_again(BuyAgainRequest { horizon_days: 3, ..again.clone() }).await.unwrap().into_inner();
    assert!(sooner.items[0].score < answer.items[0].score);
    let nobody = client.buy_again(BuyAgainRequest { user_id: "nobody".into(), ..Default::default() }).await.unwrap().into_inner();
    assert!(nobody.items.is_empty() && !nobody.serving.unwrap().known_user);
    let refused = client.buy_again(BuyAgainRequest { horizon_days: 1000, ..again.clone() }).await.unwrap_err();
    assert_eq!(refused.get_error_details().bad_request().unwrap().field_violations[0].field, "horizon_days");

    // A page: every placement as alone, less what stands above it; one version, no item twice.
    let slots = vec![
        PageSlot { placement: "again".into(), ask: Some(page_slot::Ask::BuyAgain(BuyAgainRequest { page_size: 5, ..again })) },
        PageSlot {
            placement: "you".into(),
            ask: Some(page_slot::Ask::ForUser(RecommendForUserRequest {
                user_id: "14911".into(),
                page_size: 5,
                ..Default::default()
            })),
        },
        PageSlot { placement: "cart".into(), ask: Some(page_slot::Ask::CrossSell(asked("14911"))) },
        PageSlot { placement: "visit".into(), ask: Some(page_slot::Ask::ForSession(visit(&["22423"]))) },
    ];
    let page =
        client.recommend_page(RecommendPageRequest { slots: slots.clone(), ..Default::default() }).await.unwrap().into_inner();
    let shown: Vec<String> = page.slots.iter().flat_map(|slot| ids(slot.answer.as_ref().unwrap())).collect();
    assert_eq!(page.slots.iter().map(|slot| slot.placement.as_str()).collect::<Vec<_>>(), ["again", "you", "cart", "visit"]);
    assert_eq!((shown.len(), shown.iter().collect::<BTreeSet<_>>().len()), (60, 60));
    assert_eq!(shown[..5], ids(&answer)[..5]);
    let hollow = PageSlot { placement: "x".into(), ask: None };
    let refused = client.recommend_page(RecommendPageRequest { slots: vec![hollow], ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let many = RecommendPageRequest { slots: vec![slots[0].clone(); 21], ..Default::default() };
    assert_eq!(client.recommend_page(many).await.unwrap_err().code(), Code::InvalidArgument);

    // Rank: all ids come back once.
    let asked: Vec<String> = ids(&client.recommend_for_user(ask).await.unwrap().into_inner()).into_iter().rev().collect();
    let ranked = RankItemsRequest { user_id: "14911".into(), item_ids: asked.clone(), ..Default::default() };
    let ranked = client.rank_items(ranked).await.unwrap().into_inner();
    assert_eq!(ids(&ranked), asked.iter().rev().cloned().collect::<Vec<_>>(), "ranking a list gives the order that recommended it");

    // What the user bought stays out of every call that is asked to leave it out.
    let mine = |id: &String| bought.contains(&row(id));
    let user = || "14911".to_string();
    let some: Vec<String> = bought.iter().take(20).map(|&item| bundle.items.id(item).to_string()).chain(asked).collect();
    for exclude_purchased in [false, true] {
        let similar = SimilarItemsRequest {
            item_id: some[0].clone(),
            user_id: user(),
            exclude_purchased,
            page_size: 1000,
            ..Default::default()
        };
        let cross = CrossSellRequest {
            cart_item_ids: cart.clone(),
            user_id: user(),
            exclude_purchased,
            page_size: 1000,
            ..Default::default()
        };
        let upsell =
            UpsellRequest { item_id: "22697".into(), user_id: user(), exclude_purchased, page_size: 1000, ..Default::default() };
        let rank = RankItemsRequest { item_ids: some.clone(), user_id: user(), exclude_purchased, ..Default::default() };
        for answer in [
            client.similar_items(similar).await.unwrap().into_inner(),
            client.cross_sell(cross).await.unwrap().into_inner(),
            client.upsell(upsell).await.unwrap().into_inner(),
            client.rank_items(rank).await.unwrap().into_inner(),
        ] {
            assert!(!answer.items.is_empty());
            assert_eq!(ids(&answer).iter().any(mine), !exclude_purchased);
        }
    }

    // Errors say which field, and carry a reason.
    let refused = client.recommend_for_user(RecommendForUserRequest { page_size: 5000, ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.get_error_details().bad_request().unwrap().field_violations[0].field, "page_size");
    let refused = client
        .upsell(UpsellRequest { item_id: "22423".into(), min_price_ratio: f32::NAN, max_price_ratio: 2.0, ..Default::default() })
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let pinned = ModelSelector { target: Some(Target::Version("none-such".into())) };
    let refused = client
        .similar_items(SimilarItemsRequest { item_id: "22423".into(), selector: Some(pinned), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "VERSION_NOT_LOADED");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_registry_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { poll: Duration::from_millis(20), ..Config::local(folder.path()) };
    let running = Running::start(&config).await.unwrap();
    let mut client = client(&running).await;
    let refused = client.recommend_for_user(RecommendForUserRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.get_error_details().retry_info().is_some() && refused.message().contains("aisle-train fit"));
    let path = folder.path().to_path_buf();
    tokio::task::spawn_blocking(move || publish(&path, 1, Some("stable"))).await.unwrap();
    for _ in 0..500 {
        if client.recommend_for_user(RecommendForUserRequest::default()).await.is_ok() {
            return running.stop().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the published version was never served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_sends_each_user_always_to_the_same_version() {
    let folder = tempfile::tempdir().unwrap();
    let stable = publish(folder.path(), 1, Some("stable"));
    let canary = publish(folder.path(), 2, Some("canary"));
    let weights = BTreeMap::from([("stable".to_string(), 90.0), ("canary".to_string(), 10.0)]);
    let config = Config { split: Split::new("test", "stable", &weights).unwrap(), ..Config::local(folder.path()) };
    let running = Running::start(&config).await.unwrap();
    let mut client = client(&running).await;
    let mut seen = BTreeMap::<String, usize>::new();
    for user in 0..400 {
        let ask = RecommendForUserRequest { user_id: format!("u{user}"), page_size: 1, ..Default::default() };
        let mut versions = BTreeSet::new();
        for _ in 0..3 {
            let serving = client.recommend_for_user(ask.clone()).await.unwrap().into_inner().serving.unwrap();
            versions.insert(serving.model_version);
        }
        assert_eq!(versions.len(), 1);
        *seen.entry(versions.pop_first().unwrap()).or_default() += 1;
    }
    assert!((20..70).contains(&seen[&canary]) && seen[&canary] + seen[&stable] == 400, "{seen:?}");
    running.stop().await.unwrap();
}

/// While clients ask without pause: 50 swaps and rollbacks, and 5 broken publications. Not one request fails, and every
/// answer is wholly that of the version it names.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_and_broken_publications_never_fail_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let a = publish(folder.path(), 1, Some("stable"));
    let b = publish(folder.path(), 2, None);
    let config = Config { poll: Duration::from_millis(10), ..Config::local(folder.path()) };
    let running = Running::start(&config).await.unwrap();

    // What each version answers, by itself.
    let ask = RecommendForUserRequest { user_id: "14911".into(), page_size: 20, ..Default::default() };
    let mut expected: BTreeMap<String, Vec<(String, f32)>> = BTreeMap::new();
    let mut admin = models(&running).await;
    let mut first = client(&running).await;
    let pairs =
        |response: &RecommendResponse| response.items.iter().map(|item| (item.item_id.clone(), item.score)).collect::<Vec<_>>();
    for version in [&b, &a] {
        admin.set_alias(SetAliasRequest { model: String::new(), alias: "stable".into(), version: version.clone() }).await.unwrap();
        let answer = first.recommend_for_user(ask.clone()).await.unwrap().into_inner();
        assert_eq!(answer.serving.as_ref().unwrap().model_version, *version);
        expected.insert(version.clone(), pairs(&answer));
    }
    assert_ne!(expected[&a], expected[&b]);

    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut loops = Vec::new();
    for _ in 0..4 {
        let (mut client, ask, expected) = (client(&running).await, ask.clone(), expected.clone());
        let (over, asked) = (over.clone(), asked.clone());
        loops.push(tokio::spawn(async move {
            let mut versions = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let answer = client.recommend_for_user(ask.clone()).await.unwrap().into_inner();
                let version = answer.serving.as_ref().unwrap().model_version.clone();
                let found: Vec<(String, f32)> = answer.items.iter().map(|item| (item.item_id.clone(), item.score)).collect();
                assert_eq!(found, expected[&version], "an answer that is not its version's");
                versions.insert(version);
                asked.fetch_add(1, Ordering::Relaxed);
            }
            versions
        }));
    }

    let root = folder.path().join("shop");
    let mut broken_names = Vec::new();
    for swap in 0..50 {
        if swap % 2 == 0 {
            let target = if running.live().serving()[0].1 == a { &b } else { &a };
            admin
                .set_alias(SetAliasRequest { model: "shop".into(), alias: "stable".into(), version: target.clone() })
                .await
                .unwrap();
        } else {
            admin.rollback(RollbackRequest { model: "shop".into(), alias: "stable".into() }).await.unwrap();
        }
        if swap % 10 == 5 {
            // A copy of a version with one byte changed, or cut short, and the alias file pointed at it by force.
            let broken = format!("29991231T2359{:02}Z-{}", swap, a.rsplit('-').next().unwrap());
            std::fs::create_dir(root.join(&broken)).unwrap();
            for file in ["manifest.json", "items.parquet", "users.parquet", "weights.safetensors"] {
                let mut bytes = std::fs::read(root.join(&a).join(file)).unwrap();
                match (swap, file) {
                    (5, "weights.safetensors") => bytes.truncate(bytes.len() / 2),
                    (15, "weights.safetensors") => *bytes.last_mut().unwrap() ^= 1,
                    (25, "items.parquet") => bytes[100] ^= 0x40,
                    (35, "manifest.json") => bytes[50] ^= 1,
                    (45, "users.parquet") => bytes.clear(),
                    _ => {}
                }
                std::fs::write(root.join(&broken).join(file), bytes).unwrap();
            }
            let refused = admin
                .set_alias(SetAliasRequest { model: "shop".into(), alias: "stable".into(), version: broken.clone() })
                .await
                .unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains("damaged"), "{refused}");
            let aliases = std::fs::read_to_string(root.join("aliases.json")).unwrap();
            let serving = running.live().serving()[0].1.clone();
            std::fs::write(root.join("aliases.json"), aliases.replacen(&serving, &broken, 1)).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(running.live().serving()[0].1, serving, "a broken version must not be served");
            std::fs::write(root.join("aliases.json"), aliases).unwrap();
            broken_names.push(broken);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut versions = BTreeSet::new();
    for task in loops {
        versions.extend(task.await.unwrap());
    }
    assert_eq!(versions.len(), 2, "both versions answered");
    assert!(asked.load(Ordering::Relaxed) > 200);

    let listed = admin.list_versions(ListVersionsRequest::default()).await.unwrap().into_inner();
    for version in listed.versions {
        let broken = broken_names.contains(&version.version);
        assert_eq!(version.state() == State::Failed, broken, "{version:?}");
        assert_eq!(version.failure.is_empty(), !broken);
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_an_error_and_not_a_queue() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), 1, Some("stable"));
    let config = Config { max_concurrent_requests: 1, ..Config::local(folder.path()) };
    let running = Running::start(&config).await.unwrap();
    let client = client(&running).await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        let mut client = client.clone();
        calls.push(tokio::spawn(async move {
            client
                .recommend_for_user(RecommendForUserRequest { user_id: "14911".into(), page_size: 1000, ..Default::default() })
                .await
        }));
    }
    let (mut answered, mut turned_away) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => answered += 1,
            Err(refused) => {
                turned_away += 1;
                assert_eq!(refused.code(), Code::ResourceExhausted);
                assert!(refused.get_error_details().retry_info().is_some());
            }
        }
    }
    assert!(answered > 0 && turned_away > 0, "{answered} answered, {turned_away} turned away");
    running.stop().await.unwrap();
}

/// One call as raw HTTP/2, with headers that no client library would send. Returns its status and message. The body is sent or only begun.
async fn raw(running: &Running, grpc_timeout: Option<&str>, whole: bool) -> (String, String) {
    let stream = tokio::net::TcpStream::connect(running.address()).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post("http://shop/aisle.v1.RecommendationService/RecommendForUser")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(text) = grpc_timeout {
        request = request.header("grpc-timeout", text);
    }
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes>::new(1);
    sender.send_data(Bytes::from_static(if whole { &[0; 5] } else { &[0; 2] })).await.unwrap();
    let held = (!whole).then_some(sender);
    let response = send.send_request(request.body(body).unwrap()).await.unwrap();
    drop(held);
    let of = |headers: &http::HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_string());
    let (status, message) = (of(response.headers(), "grpc-status"), of(response.headers(), "grpc-message"));
    match status {
        Some(status) => (status, message.unwrap_or_default()),
        None => {
            let body = response.into_body().collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            (of(&trailers, "grpc-status").unwrap_or_default(), of(&trailers, "grpc-message").unwrap_or_default())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_honoured_and_told() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), 1, Some("stable"));
    let config = Config { default_deadline: Duration::from_millis(200), ..Config::local(folder.path()) };
    let running = Running::start(&config).await.unwrap();
    let code = |code: Code| (code as i32).to_string();
    for fine in [None, Some("10S"), Some("99999999H")] {
        assert_eq!(raw(&running, fine, true).await.0, code(Code::Ok), "{fine:?}");
    }
    for gone in ["0n", "0H"] {
        assert_eq!(raw(&running, Some(gone), true).await.0, code(Code::DeadlineExceeded), "{gone}");
    }
    for bad in ["soon", "5", "-5m", "123456789m"] {
        let (status, message) = raw(&running, Some(bad), true).await;
        assert_eq!(status, code(Code::InvalidArgument), "{bad}");
        assert!(message.contains("grpc-timeout") && message.contains("50m"), "{message}");
    }
    // A client that is slow to say what it wants gets no more time than it asked for, or than the default.
    for (asked, at_least) in [(Some("50m"), 50), (None, 200)] {
        let began = Instant::now();
        assert_eq!(raw(&running, asked, false).await.0, code(Code::DeadlineExceeded));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(at_least) && took < Duration::from_millis(at_least + 400), "{took:?}");
    }
    running.stop().await.unwrap();
}

/// New items are recommended by what is known of them within seconds, by versions that come later too, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn new_items_find_a_place_without_a_new_version() {
    let folder = tempfile::tempdir().unwrap();
    let config = published(folder.path());
    let running = Running::start(&config).await.unwrap();
    let (mut ask, mut admin) = (client(&running).await, models(&running).await);
    let question = RecommendForUserRequest { user_id: "14911".into(), page_size: 5, ..Default::default() };
    let like = ask.recommend_for_user(question.clone()).await.unwrap().into_inner().items[0].clone();

    // A twin of what the shopper likes best, at a price of its own, and one that is not in stock yet.
    let twin = NewItem { title: like.title.clone(), category: like.category.clone(), ..Default::default() };
    let price = Some(Money { currency_code: "GBP".into(), units: 7, nanos: 770_000_000 });
    let updates = vec![
        ItemUpdate { item_id: "twin".into(), price: price.clone(), new_item: Some(twin.clone()), ..Default::default() },
        ItemUpdate { item_id: "later".into(), available: Some(false), new_item: Some(twin.clone()), ..Default::default() },
        ItemUpdate { item_id: "nowhere".into(), available: Some(true), ..Default::default() },
    ];
    let told = admin.update_items(UpdateItemsRequest { updates, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(told.unknown_item_ids, ["nowhere"]);
    let rank = RankItemsRequest {
        user_id: "14911".into(),
        item_ids: ["twin", "later", &like.item_id].map(str::to_string).to_vec(),
        ..Default::default()
    };
    async fn appears(ask: &mut RecommendationServiceClient<Channel>, rank: &RankItemsRequest) -> RecommendResponse {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let ranked = ask.rank_items(rank.clone()).await.unwrap().into_inner();
            if ids(&ranked).contains(&"twin".to_string()) {
                return ranked;
            }
            assert!(Instant::now() < until, "the new item never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let check = |ranked: &RecommendResponse| {
        let found = ranked.items.iter().find(|item| item.item_id == "twin").unwrap();
        assert_eq!((ranked.items.len(), &found.title, &found.category), (2, &like.title, &like.category));
        assert_eq!(found.price, price);
        assert_eq!(found.source(), Rung::Personal, "it has a place by its content");
        assert!(found.score > 0.0);
    };
    check(&appears(&mut ask, &rank).await);
    // A second alias of the same version, another new item, a correction, and one that sells out: both aliases see all of it.
    let version = ask.rank_items(rank.clone()).await.unwrap().into_inner().serving.unwrap().model_version;
    admin.set_alias(SetAliasRequest { alias: "canary".into(), version, ..Default::default() }).await.unwrap();
    let right = NewItem { brand: "CORRECTED".into(), category: "Corrected > Path".into(), ..twin.clone() };
    let updates = vec![
        ItemUpdate { item_id: "third".into(), new_item: Some(twin.clone()), ..Default::default() },
        ItemUpdate { item_id: "second".into(), new_item: Some(right.clone()), ..Default::default() },
        ItemUpdate { item_id: "second".into(), new_item: Some(twin.clone()), ..Default::default() },
    ];
    admin.update_items(UpdateItemsRequest { updates, ..Default::default() }).await.unwrap();
    for alias in ["canary", "stable"] {
        let selector = ModelSelector { target: Some(Target::Alias(alias.into())) };
        let item_ids = ["third", "second"].map(str::to_string).to_vec();
        let third = RankItemsRequest { item_ids, selector: Some(selector), ..rank.clone() };
        let until = Instant::now() + Duration::from_secs(60);
        while ask.rank_items(third.clone()).await.unwrap().into_inner().items.len() < 2 {
            assert!(Instant::now() < until, "{alias} never saw the third item");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sold = |available: bool| ItemUpdate { item_id: "third".into(), available: Some(available), ..Default::default() };
        let updates = |available: bool| UpdateItemsRequest { updates: vec![sold(available)], ..Default::default() };
        admin.update_items(updates(false)).await.unwrap();
        assert_eq!(ids(&ask.rank_items(third.clone()).await.unwrap().into_inner()), ["second"], "{alias} sells what is sold out");
        admin.update_items(updates(true)).await.unwrap();
    }
    let updates = vec![ItemUpdate { item_id: "second".into(), new_item: Some(right), ..Default::default() }];
    admin.update_items(UpdateItemsRequest { updates, ..Default::default() }).await.unwrap();
    let second = RankItemsRequest { item_ids: vec!["second".into()], ..rank.clone() };
    let until = Instant::now() + Duration::from_secs(60);
    while ask.rank_items(second.clone()).await.unwrap().into_inner().items[0].category != "Corrected > Path" {
        assert!(Instant::now() < until, "a correction is never seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // It can be asked about like any other.
    let similar = SimilarItemsRequest { item_id: "twin".into(), page_size: 3, ..Default::default() };
    assert_eq!(ask.similar_items(similar).await.unwrap().into_inner().items.len(), 3);
    let cart = CrossSellRequest { cart_item_ids: vec!["twin".into()], page_size: 3, ..Default::default() };
    assert_eq!(ask.cross_sell(cart).await.unwrap().into_inner().items.len(), 3);

    // A later version, and a server that starts later.
    let path = folder.path().to_path_buf();
    let second = tokio::task::spawn_blocking(move || publish(&path, 2, None)).await.unwrap();
    admin.set_alias(SetAliasRequest { alias: "stable".into(), version: second.clone(), ..Default::default() }).await.unwrap();
    let ranked = appears(&mut ask, &rank).await;
    check(&ranked);
    assert_eq!(ranked.serving.unwrap().model_version, second);
    running.stop().await.unwrap();
    let running = Running::start(&config).await.unwrap();
    let (mut ask, mut admin) = (client(&running).await, models(&running).await);
    check(&appears(&mut ask, &rank).await);

    // Into stock at once; and more than a version takes in are refused whole.
    let arrived = vec![ItemUpdate { item_id: "later".into(), available: Some(true), ..Default::default() }];
    admin.update_items(UpdateItemsRequest { updates: arrived, ..Default::default() }).await.unwrap();
    assert_eq!(ask.rank_items(rank.clone()).await.unwrap().into_inner().items.len(), 3);
    let many = (0..9_997).map(|n| ItemUpdate { item_id: format!("n{n}"), new_item: Some(twin.clone()), ..Default::default() });
    let refused = admin.update_items(UpdateItemsRequest { updates: many.collect(), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("10001 items would be new"), "{}", refused.message());
    let long = NewItem { title: "x".repeat(2000), ..Default::default() };
    let long = vec![ItemUpdate { item_id: "long".into(), new_item: Some(long), ..Default::default() }];
    let refused = admin.update_items(UpdateItemsRequest { updates: long, ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    running.stop().await.unwrap();
}

/// New prices and stock are seen by the next request, by every server of the registry, by versions that come later, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn new_prices_and_stock_are_seen_at_once_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let config = published(folder.path());
    let (running, other) = (Running::start(&config).await.unwrap(), Running::start(&config).await.unwrap());
    let (mut ask, mut admin) = (client(&running).await, models(&running).await);
    let question = RecommendForUserRequest { user_id: "14911".into(), page_size: 20, ..Default::default() };
    let before = ask.recommend_for_user(question.clone()).await.unwrap().into_inner();
    let (gone, dear) = (before.items[0].item_id.clone(), before.items[1].item_id.clone());

    // The first sells out, and the second costs nearly 1,000.
    let price = Some(Money { currency_code: "GBP".into(), units: 999, nanos: 500_000_000 });
    let updates = vec![
        ItemUpdate { item_id: gone.clone(), available: Some(false), ..Default::default() },
        ItemUpdate { item_id: dear.clone(), price: price.clone(), ..Default::default() },
        ItemUpdate { item_id: "nowhere".into(), available: Some(false), ..Default::default() },
    ];
    let told = admin.update_items(UpdateItemsRequest { updates, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((told.unknown_item_ids, told.changed_items), (vec!["nowhere".to_string()], 3));
    let floor = Filter { min_price: Some(Money { units: 900, ..price.clone().unwrap() }), ..Default::default() };
    let expensive = RecommendForUserRequest { filter: Some(floor), ..question.clone() };
    async fn check(
        ask: &mut RecommendationServiceClient<Channel>,
        questions: (&RecommendForUserRequest, &RecommendForUserRequest),
        (gone, dear, price): (&str, &str, &Option<Money>),
    ) -> bool {
        let after = ask.recommend_for_user(questions.0.clone()).await.unwrap().into_inner();
        let shown = after.items.iter().find(|item| item.item_id == dear).map(|item| &item.price);
        let found = ask.recommend_for_user(questions.1.clone()).await.unwrap().into_inner();
        assert_eq!(after.items.len(), 20);
        !ids(&after).iter().any(|id| id == gone) && shown == Some(price) && ids(&found).iter().any(|id| id == dear)
    }
    let questions = (&question, &expensive);
    let expected = (gone.as_str(), dear.as_str(), &price);
    assert!(check(&mut ask, questions, expected).await, "the next request does not see it");
    let mut elsewhere = client(&other).await;
    let until = Instant::now() + Duration::from_secs(10);
    while !check(&mut elsewhere, questions, expected).await {
        assert!(Instant::now() < until, "another server never saw it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.stop().await.unwrap();

    // A later version, and a server that starts later.
    let path = folder.path().to_path_buf();
    let second = tokio::task::spawn_blocking(move || publish(&path, 1, None)).await.unwrap();
    admin.set_alias(SetAliasRequest { alias: "stable".into(), version: second, ..Default::default() }).await.unwrap();
    assert!(check(&mut ask, questions, expected).await, "a later version does not see it");
    running.stop().await.unwrap();
    let running = Running::start(&config).await.unwrap();
    let (mut ask, mut admin) = (client(&running).await, models(&running).await);
    assert!(check(&mut ask, questions, expected).await, "it is lost on a restart");

    // Back in stock; and what is wrong is told.
    let back = vec![ItemUpdate { item_id: gone.clone(), available: Some(true), ..Default::default() }];
    admin.update_items(UpdateItemsRequest { updates: back, ..Default::default() }).await.unwrap();
    let after = ask.recommend_for_user(question).await.unwrap().into_inner();
    assert_eq!(after.items[0].item_id, gone);
    let price = Some(Money { currency_code: "EUR".into(), units: 1, nanos: 0 });
    let euros = vec![ItemUpdate { item_id: dear, price, ..Default::default() }];
    let refused = admin.update_items(UpdateItemsRequest { updates: euros, ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("expected GBP"), "{}", refused.message());
    running.stop().await.unwrap();
}
