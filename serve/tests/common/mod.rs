//! Versions of the bundled sample, servers and clients for all tests of the server.
#![allow(dead_code, reason = "each test file uses a part of this")]

use aisle_data::{Dataset, Tables};
use aisle_models::{ModelError, Registry, Version};
use aisle_proto::model_service_client::ModelServiceClient;
use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use aisle_proto::rule_service_client::RuleServiceClient;
use aisle_proto::{
    CrossSellRequest, ItemUpdate, ModelSelector, Money, RecommendForUserRequest, RecommendResponse,
    RecommendedItem, RequestOptions, SetAliasRequest, UpdateItemsRequest, model_selector::Target,
};
use aisle_serve::{Config, Server};
use aisle_train::settings::Settings;
use http_body_util::BodyExt;
use http_body_util::channel::Sender;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");
/// A shopper of the sample with many orders.
pub const SHOPPER: &str = "14911";
/// The REGENCY CAKESTAND 3 TIER of the sample.
pub const CAKESTAND: &str = "22423";
/// A teacup and a baking set of the sample.
pub const CART: [&str; 2] = ["22697", "22138"];

pub type Client = RecommendationServiceClient<Channel>;
pub type ModelClient = ModelServiceClient<Channel>;
pub type RuleClient = RuleServiceClient<Channel>;

/// Fits a small version on the bundled sample, whose task weights are not learned, and publishes
/// it.
pub fn publish(registry: &Path, seed: u64, alias: Option<&str>) -> String {
    let unlearned =
        ["cross-sell", "upsell", "buy-again"].map(|task| format!("{task}.learn_days=0"));
    let small = [
        "factors=16".to_string(),
        "iterations=2".to_string(),
        "cross-sell.factors=8".to_string(),
        format!("seed={seed}"),
    ];
    publish_with(registry, &[&small[..], &unlearned].concat(), alias)
}

/// Fits a version on the bundled sample with these settings and publishes it.
pub fn publish_with(registry: &Path, pairs: &[String], alias: Option<&str>) -> String {
    let config = Path::new(SAMPLE).join("aisle.toml");
    let settings = Settings::read(Some(&config), None, pairs).unwrap();
    let (events, items) = (
        format!("{SAMPLE}/events.parquet"),
        format!("{SAMPLE}/items.parquet"),
    );
    let tables = Tables {
        events: &events,
        items: Some(&items),
        users: None,
    };
    let data = Dataset::read(&tables, &settings.data()).unwrap();
    let hyperparameters = settings.hyperparameters();
    let mut version = Version::fit(&data, &settings.data(), hyperparameters, &()).unwrap();
    let registry = Registry::new(registry);
    let name = registry.publish("shop", &mut version).unwrap();
    if let Some(alias) = alias {
        registry.set_alias("shop", alias, &name).unwrap();
    }
    name
}

/// Publishes a version beside a server that answers.
pub async fn publish_later(registry: &Path, seed: u64, alias: Option<&'static str>) -> String {
    let registry = registry.to_path_buf();
    tokio::task::spawn_blocking(move || publish(&registry, seed, alias))
        .await
        .unwrap()
}

/// A registry of one version, fitted once for all tests of a file.
pub struct Shop {
    pub folder: TempDir,
    pub version: Version,
}

impl Shop {
    fn new(publish: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let name = publish(folder.path());
        let version = Registry::new(folder.path()).verify("shop", &name).unwrap();
        Self { folder, version }
    }

    /// The row of an item.
    pub fn row(&self, id: &str) -> u32 {
        self.version.models.items.get(id).unwrap()
    }

    /// Whether a shopper bought an item.
    pub fn bought(&self, user: &str, item: &str) -> bool {
        let models = &self.version.models;
        let user = models.users.get(user).unwrap();
        models.purchased(user).contains(&self.row(item))
    }

    /// A server of this registry. Tests that change the registry use one of their own.
    pub async fn serve(&self) -> Server {
        Server::start(&Config::local(self.folder.path()))
            .await
            .unwrap()
    }
}

/// A shop whose version has the default settings, with learned task weights.
pub fn learned_shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| Shop::new(|folder| publish_with(folder, &[], Some("stable"))))
}

/// A shop whose version is small.
pub fn small_shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| Shop::new(|folder| publish(folder, 1, Some("stable"))))
}

/// A registry of its own with a copy of the small version, and a config of a server that looks at
/// it often.
pub fn own_registry() -> (TempDir, Config) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let name = &small_shop().version.name;
    let from = small_shop().folder.path().join("shop").join(name);
    copy_version(&from, &folder.path().join("shop").join(name));
    Registry::new(folder.path())
        .set_alias("shop", "stable", name)
        .unwrap();
    let config = Config {
        poll: Duration::from_millis(50),
        ..Config::local(folder.path())
    };
    (folder, config)
}

/// Copies the files of a version.
pub fn copy_version(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Publishes a copy of the small version whose manifest was edited; its name has the digest of the
/// edited manifest.
pub fn publish_edited(registry: &Path, edit: impl FnOnce(&mut serde_json::Value)) -> String {
    publish_altered(registry, edit, |_| {})
}

/// Publishes a copy of the small version whose manifest was edited and whose other files were
/// altered in its folder. It appears at once, as a version does, so no server sees half of it.
pub fn publish_altered(
    registry: &Path,
    edit: impl FnOnce(&mut serde_json::Value),
    alter: impl FnOnce(&Path),
) -> String {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("shop");
    let from = small_shop().folder.path().join("shop");
    let unnamed = "29991231T235900Z-000000000000";
    copy_version(&from.join(&small_shop().version.name), &root.join(unnamed));
    let manifest = root.join(unnamed).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    edit(&mut value);
    std::fs::write(&manifest, serde_json::to_string_pretty(&value).unwrap()).unwrap();
    // The refusal of the wrong name tells the right digest.
    let refused = Registry::new(scratch.path()).manifest("shop", unnamed);
    let found = match refused.unwrap_err() {
        ModelError::Damaged { found, .. } => found,
        other => other.to_string(),
    };
    let digest = found.strip_prefix("digest ").unwrap();
    let name = format!("29991231T235900Z-{digest}");
    alter(&root.join(unnamed));
    std::fs::rename(root.join(unnamed), registry.join("shop").join(&name)).unwrap();
    name
}

/// Flips the last bit of a file.
pub fn flip_last_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// A connection to a server.
pub async fn channel(server: &Server) -> Channel {
    let address = format!("http://{}", server.address());
    let endpoint = Channel::from_shared(address).unwrap();
    endpoint.connect().await.unwrap()
}

pub async fn client(server: &Server) -> Client {
    Client::new(channel(server).await)
}

pub async fn model_client(server: &Server) -> ModelClient {
    ModelClient::new(channel(server).await)
}

pub async fn rule_client(server: &Server) -> RuleClient {
    RuleClient::new(channel(server).await)
}

/// Options of a request for a shopper, or with an empty id for a stranger.
pub fn options(user_id: &str, page_size: u32) -> Option<RequestOptions> {
    Some(RequestOptions {
        user_id: user_id.into(),
        page_size,
        ..Default::default()
    })
}

/// As [`options`], without reasons.
pub fn without_reasons(user_id: &str, page_size: u32) -> Option<RequestOptions> {
    Some(RequestOptions {
        omit_reasons: true,
        ..options(user_id, page_size).unwrap()
    })
}

/// The ids of [`CART`].
pub fn cart_ids() -> Vec<String> {
    CART.map(String::from).to_vec()
}

/// A request for what goes with [`CART`].
pub fn cart_of(user_id: &str, page_size: u32) -> CrossSellRequest {
    CrossSellRequest {
        options: options(user_id, page_size),
        cart_item_ids: cart_ids(),
        ..Default::default()
    }
}

/// The price of an item of an answer.
pub fn price(item: &RecommendedItem) -> f32 {
    item.price.as_ref().unwrap().to_price()
}

/// A request for what a shopper would like.
pub fn for_user(user_id: &str, page_size: u32) -> RecommendForUserRequest {
    RecommendForUserRequest {
        options: options(user_id, page_size),
        ..Default::default()
    }
}

/// Selects the version of an alias.
pub fn by_alias(alias: &str) -> Option<ModelSelector> {
    Some(ModelSelector {
        target: Some(Target::Alias(alias.into())),
    })
}

/// Selects a version by name.
pub fn by_version(version: &str) -> Option<ModelSelector> {
    Some(ModelSelector {
        target: Some(Target::Version(version.into())),
    })
}

pub fn pounds(units: i64, nanos: i32) -> Option<Money> {
    Some(Money {
        currency_code: "GBP".into(),
        units,
        nanos,
    })
}

pub fn point(alias: &str, version: &str) -> SetAliasRequest {
    SetAliasRequest {
        model: String::new(),
        alias: alias.into(),
        version: version.into(),
    }
}

pub fn update(updates: Vec<ItemUpdate>) -> UpdateItemsRequest {
    UpdateItemsRequest {
        updates,
        ..Default::default()
    }
}

/// An update that says whether an item is in stock.
pub fn in_stock(item_id: &str, available: bool) -> ItemUpdate {
    ItemUpdate {
        item_id: item_id.into(),
        available: Some(available),
        ..Default::default()
    }
}

/// The ids of an answer, best first.
pub fn ids(response: &RecommendResponse) -> Vec<String> {
    let items = response.items.iter();
    items.map(|item| item.item_id.clone()).collect()
}

/// The ids and scores of an answer, best first.
pub fn scored(response: &RecommendResponse) -> Vec<(String, f32)> {
    let items = response.items.iter();
    items
        .map(|item| (item.item_id.clone(), item.score))
        .collect()
}

/// The field that a status names as wrong.
pub fn wrong_field(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    violations[0].field.clone()
}

/// The stable reason of a status.
pub fn reason_of(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().unwrap().reason.clone()
}

/// Waits until a check holds, looking every 20 ms.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let until = Instant::now() + Duration::from_secs(60);
    while !check().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call of RecommendForUser as raw HTTP/2, which no client library would send.
pub struct RawCall {
    /// Sends more of the body; the body ends when it is dropped.
    pub body: Sender<Bytes>,
    /// Status and message of the response.
    pub response: tokio::task::JoinHandle<(String, String)>,
}

impl RawCall {
    /// Opens a connection, and sends headers with this deadline and the start of a body.
    pub async fn begin(
        address: SocketAddr,
        grpc_timeout: Option<&str>,
        start: &'static [u8],
    ) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let mut request =
            http::Request::post("http://shop/aisle.v1.RecommendationService/RecommendForUser")
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        if let Some(text) = grpc_timeout {
            request = request.header("grpc-timeout", text);
        }
        let (mut body, channel) = http_body_util::channel::Channel::<Bytes>::new(1);
        body.send_data(Bytes::from_static(start)).await.unwrap();
        let response = tokio::spawn(async move {
            let response = send.send_request(request.body(channel).unwrap());
            status_of(response.await.unwrap()).await
        });
        Self { body, response }
    }
}

/// The status and message of a response, from its headers or its trailers.
async fn status_of(response: http::Response<hyper::body::Incoming>) -> (String, String) {
    let header = |headers: &http::HeaderMap, name: &str| {
        let value = headers.get(name);
        value.map(|value| value.to_str().unwrap().to_string())
    };
    let message = header(response.headers(), "grpc-message").unwrap_or_default();
    if let Some(status) = header(response.headers(), "grpc-status") {
        return (status, message);
    }
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (
        header(&trailers, "grpc-status").unwrap_or_default(),
        header(&trailers, "grpc-message").unwrap_or_default(),
    )
}
