//! New prices, new stock and new items, while a version serves.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::{
    CandidateSource, CrossSellRequest, Filter, ItemUpdate, Money, NewItem, RankItemsRequest,
    RecommendForUserRequest, RecommendResponse, RecommendedItem, RequestOptions,
    SimilarItemsRequest,
};
use aisle_serve::{Config, Server};
use common::{
    Client, ModelClient, SHOPPER, by_alias, client, eventually, for_user, ids, in_stock,
    model_client, options, own_registry, point, pounds, publish_later, update,
};
use tempfile::TempDir;
use tonic::Code;

/// A server of its own registry, with the items that the shopper likes best.
struct Running {
    folder: TempDir,
    config: Config,
    server: Server,
    client: Client,
    models: ModelClient,
    best: Vec<RecommendedItem>,
}

impl Running {
    async fn start() -> Self {
        let (folder, config) = own_registry();
        let server = Server::start(&config).await.unwrap();
        let (mut client, models) = (client(&server).await, model_client(&server).await);
        let answer = client.recommend_for_user(for_user(SHOPPER, 20)).await;
        let best = answer.unwrap().into_inner().items;
        Self {
            folder,
            config,
            server,
            client,
            models,
            best,
        }
    }

    /// Stops the server and starts another one on the same registry.
    async fn restart(self) -> Self {
        self.server.stop().await.unwrap();
        let server = Server::start(&self.config).await.unwrap();
        let (client, models) = (client(&server).await, model_client(&server).await);
        Self {
            server,
            client,
            models,
            ..self
        }
    }

    /// Publishes another version and points `stable` at it.
    async fn replace_version(&mut self) -> String {
        let version = publish_later(self.folder.path(), 2, None).await;
        let moved = self.models.set_alias(point("stable", &version)).await;
        assert_eq!(moved.unwrap().get_ref().version, version);
        version
    }

    async fn update(&mut self, updates: Vec<ItemUpdate>) -> Vec<String> {
        let updated = self.models.update_items(update(updates)).await;
        updated.unwrap().into_inner().unknown_item_ids
    }

    /// Details like those of the item that the shopper likes best.
    fn twin(&self) -> NewItem {
        NewItem {
            title: self.best[0].title.clone(),
            category: self.best[0].category.clone(),
            ..Default::default()
        }
    }

    /// The shopper's best items now.
    async fn best_now(&mut self) -> RecommendResponse {
        let answer = self.client.recommend_for_user(for_user(SHOPPER, 20)).await;
        answer.unwrap().into_inner()
    }

    /// These items ranked for the shopper.
    async fn rank(&mut self, item_ids: &[&str]) -> RecommendResponse {
        rank(&mut self.client, "stable", item_ids).await
    }

    /// Waits until this many of the items can be ranked by the version of an alias.
    async fn wait_for(&self, alias: &str, item_ids: &[&str], count: usize) {
        let what = format!("{alias} never knew {count} of {item_ids:?}");
        eventually(&what, || {
            let mut client = self.client.clone();
            async move { rank(&mut client, alias, item_ids).await.items.len() >= count }
        })
        .await;
    }
}

async fn rank(client: &mut Client, alias: &str, item_ids: &[&str]) -> RecommendResponse {
    let request = RankItemsRequest {
        options: Some(RequestOptions {
            selector: by_alias(alias),
            ..options(SHOPPER, 0).unwrap()
        }),
        item_ids: item_ids.iter().map(|id| id.to_string()).collect(),
        ..Default::default()
    };
    client.rank_items(request).await.unwrap().into_inner()
}

fn new_item(item_id: &str, item: &NewItem) -> ItemUpdate {
    ItemUpdate {
        item_id: item_id.into(),
        new_item: Some(item.clone()),
        ..Default::default()
    }
}

fn with_price(item_id: &str, price: Option<Money>) -> ItemUpdate {
    ItemUpdate {
        item_id: item_id.into(),
        price,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_item_gets_a_place_by_its_content() {
    let mut running = Running::start().await;
    let price = pounds(7, 770_000_000);
    let twin = ItemUpdate {
        price: price.clone(),
        ..new_item("twin", &running.twin())
    };
    running.update(vec![twin]).await;
    running.wait_for("stable", &["twin"], 1).await;
    let ranked = running.rank(&["twin"]).await;
    let found = &ranked.items[0];
    let like = &running.best[0];
    assert_eq!(
        (&found.title, &found.category),
        (&like.title, &like.category)
    );
    assert_eq!(found.price, price);
    assert_eq!(found.source(), CandidateSource::Personal);
    assert!(found.score > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_names_ids_that_nobody_knows() {
    let mut running = Running::start().await;
    let twin = new_item("twin", &running.twin());
    let unknown = running.update(vec![twin, in_stock("nowhere", true)]).await;
    assert_eq!(unknown, ["nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_item_out_of_stock_comes_when_it_is_in_stock() {
    let mut running = Running::start().await;
    let later = ItemUpdate {
        available: Some(false),
        ..new_item("later", &running.twin())
    };
    let twin = new_item("twin", &running.twin());
    running.update(vec![twin, later]).await;
    running.wait_for("stable", &["twin", "later"], 1).await;
    assert_eq!(ids(&running.rank(&["twin", "later"]).await), ["twin"]);
    running.update(vec![in_stock("later", true)]).await;
    assert_eq!(running.rank(&["twin", "later"]).await.items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alias_of_a_version_knows_its_new_items() {
    let mut running = Running::start().await;
    let version = running.best_now().await.serving.unwrap().model_version;
    let moved = running.models.set_alias(point("canary", &version)).await;
    moved.unwrap();
    let twin = running.twin();
    let updates = vec![new_item("first", &twin), new_item("second", &twin)];
    running.update(updates).await;
    for alias in ["canary", "stable"] {
        running.wait_for(alias, &["first", "second"], 2).await;
        running.update(vec![in_stock("first", false)]).await;
        let mut client = running.client.clone();
        let left = rank(&mut client, alias, &["first", "second"]).await;
        assert_eq!(ids(&left), ["second"], "{alias} sells what is sold out");
        running.update(vec![in_stock("first", true)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_details_of_a_new_item_count() {
    let mut running = Running::start().await;
    let twin = running.twin();
    let corrected = NewItem {
        brand: "CORRECTED".into(),
        category: "Corrected > Path".into(),
        ..twin.clone()
    };
    let updates = vec![new_item("new", &corrected), new_item("new", &twin)];
    running.update(updates).await;
    running.wait_for("stable", &["new"], 1).await;
    let found = running.rank(&["new"]).await.items.remove(0);
    assert_eq!(found.category, twin.category);
    running.update(vec![new_item("new", &corrected)]).await;
    eventually("a correction is never seen", || {
        let mut client = running.client.clone();
        async move {
            let ranked = rank(&mut client, "stable", &["new"]).await;
            ranked.items[0].category == "Corrected > Path"
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_calls_can_be_about_a_new_item() {
    let mut running = Running::start().await;
    running
        .update(vec![new_item("twin", &running.twin())])
        .await;
    running.wait_for("stable", &["twin"], 1).await;
    let similar = SimilarItemsRequest {
        options: options("", 3),
        item_id: "twin".into(),
        ..Default::default()
    };
    let answer = running.client.similar_items(similar).await.unwrap();
    assert_eq!(answer.get_ref().items.len(), 3);
    let cart = CrossSellRequest {
        options: options("", 3),
        cart_item_ids: vec!["twin".into()],
        ..Default::default()
    };
    let answer = running.client.cross_sell(cart).await.unwrap();
    assert_eq!(answer.get_ref().items.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_items_outlast_a_version_and_a_restart() {
    let mut running = Running::start().await;
    running
        .update(vec![new_item("twin", &running.twin())])
        .await;
    running.wait_for("stable", &["twin"], 1).await;
    let version = running.replace_version().await;
    running.wait_for("stable", &["twin"], 1).await;
    let ranked = running.rank(&["twin"]).await;
    assert_eq!(ranked.serving.unwrap().model_version, version);
    let mut running = running.restart().await;
    running.wait_for("stable", &["twin"], 1).await;
    let found = running.rank(&["twin"]).await.items.remove(0);
    assert_eq!(found.source(), CandidateSource::Personal);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_new_items_than_a_version_takes_are_refused_whole() {
    let mut running = Running::start().await;
    let twin = running.twin();
    let first = ["a", "b", "c", "d"].map(|id| new_item(id, &twin));
    running.update(first.to_vec()).await;
    let many = (0..9_997).map(|number| new_item(&format!("n{number}"), &twin));
    let refused = running.models.update_items(update(many.collect())).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("10001 items would be new"),
        "{}",
        refused.message()
    );
    let registry = running.server.versions().registry();
    assert_eq!(registry.item_changes("shop").unwrap().new.len(), 4);
}

/// A price that no item of the sample has.
fn high_price() -> Option<Money> {
    pounds(999, 500_000_000)
}

/// Whether answers of a server have no `gone`, show the high price of `costly`, and find it by that
/// price.
async fn sees_changes(client: &mut Client, gone: &str, costly: &str) -> bool {
    let answer = client.recommend_for_user(for_user(SHOPPER, 20)).await;
    let answer = answer.unwrap().into_inner();
    let mut items = answer.items.iter();
    let shown = items.find(|item| item.item_id == costly);
    let filter = Filter {
        min_price: pounds(900, 500_000_000),
        ..Default::default()
    };
    let expensive = RecommendForUserRequest {
        options: Some(RequestOptions {
            filter: Some(filter),
            ..options(SHOPPER, 20).unwrap()
        }),
        ..Default::default()
    };
    let found = client.recommend_for_user(expensive).await.unwrap();
    assert_eq!(answer.items.len(), 20);
    !ids(&answer).iter().any(|id| id == gone)
        && shown.map(|item| &item.price) == Some(&high_price())
        && ids(found.get_ref()).iter().any(|id| id == costly)
}

/// Lets the shopper's best item sell out, and makes the second expensive.
async fn change_two_items(running: &mut Running) -> (String, String) {
    let gone = running.best[0].item_id.clone();
    let costly = running.best[1].item_id.clone();
    let updates = vec![in_stock(&gone, false), with_price(&costly, high_price())];
    running.update(updates).await;
    (gone, costly)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_request_sees_new_prices_and_stock() {
    let mut running = Running::start().await;
    let (gone, costly) = change_two_items(&mut running).await;
    assert!(sees_changes(&mut running.client, &gone, &costly).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_the_changes_in_force() {
    let mut running = Running::start().await;
    change_two_items(&mut running).await;
    let updates = update(vec![in_stock("nowhere", false)]);
    let updated = running.models.update_items(updates).await;
    let updated = updated.unwrap().into_inner();
    assert_eq!(updated.unknown_item_ids, ["nowhere"]);
    assert_eq!(updated.changed_items, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_of_the_registry_sees_new_prices_and_stock() {
    let mut running = Running::start().await;
    let other = Server::start(&running.config).await.unwrap();
    let (gone, costly) = change_two_items(&mut running).await;
    let elsewhere = client(&other).await;
    eventually("another server never saw it", || {
        let mut elsewhere = elsewhere.clone();
        let (gone, costly) = (gone.clone(), costly.clone());
        async move { sees_changes(&mut elsewhere, &gone, &costly).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_prices_and_stock_outlast_a_version_and_a_restart() {
    let mut running = Running::start().await;
    let (gone, costly) = change_two_items(&mut running).await;
    let path = running.folder.path().to_path_buf();
    let again = tokio::task::spawn_blocking(move || common::publish(&path, 1, None));
    let version = again.await.unwrap();
    let moved = running.models.set_alias(point("stable", &version)).await;
    moved.unwrap();
    assert!(
        sees_changes(&mut running.client, &gone, &costly).await,
        "a later version does not see it"
    );
    let mut running = running.restart().await;
    assert!(
        sees_changes(&mut running.client, &gone, &costly).await,
        "it is lost on a restart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_back_in_stock_is_back_in_its_place() {
    let mut running = Running::start().await;
    let (gone, _) = change_two_items(&mut running).await;
    running.update(vec![in_stock(&gone, true)]).await;
    assert_eq!(running.best_now().await.items[0].item_id, gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_in_another_currency_is_refused() {
    let mut running = Running::start().await;
    let euros = Money {
        currency_code: "EUR".into(),
        units: 1,
        nanos: 0,
    };
    let update = update(vec![with_price(&running.best[1].item_id, Some(euros))]);
    let refused = running.models.update_items(update).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("expected GBP"),
        "{}",
        refused.message()
    );
}
