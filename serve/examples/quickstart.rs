//! From a real shop's log to recommendations, in one run: inspect the log, measure on its end, fit,
//! publish, serve, and request recommendations.
//!
//! `cargo run --release --example quickstart` serves until Ctrl-C; with `-- --once` it ends after
//! the answers.

use aisle_data::{Dataset, Inspection, Split, Tables};
use aisle_models::Registry;
use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use aisle_proto::rule_service_client::RuleServiceClient;
use aisle_proto::{
    BuyAgainRequest, Controls, CrossSellRequest, Money, RecommendForSessionRequest,
    RecommendForUserRequest, RecommendResponse, RequestContext, RequestOptions, Rule,
    SetRulesRequest, SimilarItemsRequest, UpsellRequest,
};
use aisle_serve::{Config, Server, shutdown};
use aisle_train::evaluate::{
    self, CrossSellOptions, HeldOutLines, PersonalOptions, TargetKind, TrainTestSplit,
};
use aisle_train::fit::{Target, fit};
use aisle_train::settings::Settings;
use aisle_train::{inspect, report::seconds};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use tonic::transport::Channel;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/samples/online_retail");
const SHOPPER: &str = "14911";
const CAKESTAND: &str = "22423";
const CART: [&str; 2] = ["22697", "22138"];
const T_LIGHT_HOLDER: &str = "85123A";

fn heading(text: &str) {
    println!("\n{text}\n{}", "─".repeat(text.chars().count()));
}

fn money(money: &Option<Money>) -> String {
    money.as_ref().map_or_else(String::new, |money| {
        let symbol = match money.currency_code.as_str() {
            "GBP" => "£",
            "EUR" => "€",
            "USD" => "$",
            other => other,
        };
        format!("{symbol}{:.2}", money.to_price())
    })
}

fn show(response: &RecommendResponse) {
    for item in &response.items {
        let more = item.price_delta.as_ref().map_or_else(String::new, |delta| {
            format!(" (+{})", money(&Some(delta.clone())))
        });
        println!(
            "  {}. {:<36} {:>7}{more}",
            item.rank,
            item.title,
            money(&item.price)
        );
        let mut why: Vec<String> = item
            .reasons
            .iter()
            .map(|reason| reason.text.clone())
            .collect();
        why.extend(
            item.attribute_deltas
                .iter()
                .map(|delta| format!("{} {} → {}", delta.name, delta.from, delta.to)),
        );
        why.iter().for_each(|why| println!("     {why}"));
    }
    if let Some(serving) = response
        .serving
        .as_ref()
        .filter(|serving| !serving.fallback_reason.is_empty())
    {
        println!("  (filled up: {})", serving.fallback_reason);
    }
}

/// Options of a request for three items, for a shopper or, with an empty id, for a stranger.
fn three_items(user_id: &str) -> Option<RequestOptions> {
    Some(RequestOptions {
        user_id: user_id.into(),
        page_size: 3,
        ..Default::default()
    })
}

fn pounds(units: i64, nanos: i32) -> Option<Money> {
    Some(Money {
        currency_code: "GBP".into(),
        units,
        nanos,
    })
}

type Client = RecommendationServiceClient<Channel>;

/// Recommendations for a shopper and for a cart.
async fn show_shopper_and_cart(client: &mut Client, title: &impl Fn(&str) -> String) -> Result<()> {
    heading(&format!("For shopper {SHOPPER}, who was here before"));
    let request = RecommendForUserRequest {
        options: three_items(SHOPPER),
        exclude_purchased: true,
        ..Default::default()
    };
    show(client.recommend_for_user(request).await?.get_ref());

    heading("What they may be running out of");
    let request = BuyAgainRequest {
        options: three_items(SHOPPER),
        ..Default::default()
    };
    show(client.buy_again(request).await?.get_ref());

    let cart = || CrossSellRequest {
        options: three_items(""),
        cart_item_ids: CART.map(String::from).to_vec(),
        ..Default::default()
    };
    let titles = CART.map(title).join(" and ");
    heading(&format!("Goes with a cart of {titles}"));
    show(client.cross_sell(cart()).await?.get_ref());

    heading(&format!(
        "The same cart, if it is that of shopper {SHOPPER}"
    ));
    let request = CrossSellRequest {
        options: three_items(SHOPPER),
        ..cart()
    };
    show(client.cross_sell(request).await?.get_ref());

    heading("The stranger's cart lacks £7.20 to free shipping");
    let request = CrossSellRequest {
        spend_gap: pounds(7, 200_000_000),
        ..cart()
    };
    show(client.cross_sell(request).await?.get_ref());
    Ok(())
}

/// Recommendations that start from one item.
async fn show_item(client: &mut Client, title: &impl Fn(&str) -> String) -> Result<()> {
    heading(&format!("Better than the {}", title(CAKESTAND)));
    let request = UpsellRequest {
        options: three_items(""),
        item_id: CAKESTAND.into(),
        ..Default::default()
    };
    show(client.upsell(request).await?.get_ref());

    heading(&format!(
        "A stranger looked at the {}",
        title(T_LIGHT_HOLDER)
    ));
    let request = RecommendForSessionRequest {
        options: three_items(""),
        clicked_item_ids: vec![T_LIGHT_HOLDER.into()],
        ..Default::default()
    };
    show(client.recommend_for_session(request).await?.get_ref());

    heading(&format!("Like the {}", title(T_LIGHT_HOLDER)));
    let request = SimilarItemsRequest {
        options: three_items(""),
        item_id: T_LIGHT_HOLDER.into(),
        ..Default::default()
    };
    show(client.similar_items(request).await?.get_ref());
    Ok(())
}

/// The front page for a stranger, before and after the shop sets a rule for it.
async fn show_front_page(client: &mut Client, address: &str) -> Result<()> {
    heading("Somebody from Germany opens the front page");
    let context = RequestContext {
        location: "Germany".into(),
        ..Default::default()
    };
    let front = RecommendForUserRequest {
        options: Some(RequestOptions {
            placement: "front".into(),
            context: Some(context),
            page_size: 3,
            ..Default::default()
        }),
        ..Default::default()
    };
    show(client.recommend_for_user(front.clone()).await?.get_ref());

    heading("The shop decides: nothing under £5 on the front page, one of a kind");
    let rule = Rule {
        name: "front page".into(),
        placements: vec!["front".into()],
        only: "item.price >= 5".into(),
        controls: Some(Controls {
            max_per_category: Some(1),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut rules = RuleServiceClient::connect(address.to_string())
        .await
        .context("connecting to our own server")?;
    let request = SetRulesRequest {
        rules: vec![rule],
        ..Default::default()
    };
    rules.set_rules(request).await?;
    show(client.recommend_for_user(front).await?.get_ref());
    Ok(())
}

async fn show_all(address: SocketAddr, title: impl Fn(&str) -> String) -> Result<()> {
    let address = format!("http://{address}");
    let mut client = RecommendationServiceClient::connect(address.clone())
        .await
        .context("connecting to our own server")?;
    let began = Instant::now();
    show_shopper_and_cart(&mut client, &title).await?;
    show_item(&mut client, &title).await?;
    show_front_page(&mut client, &address).await?;
    println!(
        "\nTen questions over gRPC, one rule set, printed, in {}.",
        seconds(began.elapsed().as_secs_f64())
    );
    Ok(())
}

/// Reads the sample: its events, its items and its config.
fn read_sample(sample: &Path) -> Result<(Settings, Dataset)> {
    let path = |name: &str| sample.join(name).to_string_lossy().into_owned();
    let settings = Settings::read(Some(&sample.join("aisle.toml")), None, &[])?;
    let tables = Tables {
        events: &path("events.parquet"),
        items: Some(&path("items.parquet")),
        users: None,
    };
    let data = Dataset::read(&tables, &settings.data())?;
    Ok((settings, data))
}

/// Fits models to the first nine tenths of the log and measures them on the last.
fn measure(data: &Dataset, settings: &Settings) -> Result<()> {
    heading("Learned on the past, measured on the future");
    let (train, test) = "time:0.9".parse::<Split>()?.apply(&data.log)?;
    let parts = TrainTestSplit {
        train: Dataset {
            log: train,
            ..data.clone()
        },
        test,
        description: "the last tenth of the events".into(),
    };
    let personal = PersonalOptions {
        k: 20,
        repeats: false,
    };
    let measured = evaluate::personal(&parts, settings, &[settings.algorithm], personal)?;
    print!("{}", measured.render());
    println!();
    let cross_sell = CrossSellOptions {
        k: 10,
        lines: HeldOutLines::One,
        targets: TargetKind::All,
    };
    let measured = evaluate::cross_sell(&parts, settings, &[], cross_sell)?;
    print!("{}", measured.render());
    Ok(())
}

fn show_commands(sample: &Path) {
    heading("The same by hand");
    let here = std::env::current_dir().unwrap_or_default();
    let sample = sample.strip_prefix(here).unwrap_or(sample).display();
    let tables = format!("--events {sample}/events.parquet --items {sample}/items.parquet");
    let request = format!(r#"{{"item_id": "{CAKESTAND}", "options": {{"page_size": 3}}}}"#);
    let commands = [
        "cargo build --release --bins".to_string(),
        format!("target/release/aisle-train inspect {tables}"),
        format!("target/release/aisle-train fit {tables} \\"),
        format!("    --config {sample}/aisle.toml --registry registry --model shop --alias stable"),
        "target/release/aisle-serve --registry registry --listen 127.0.0.1:50051".into(),
        format!("grpcurl -plaintext -d '{request}' 127.0.0.1:50051 \\"),
        "    aisle.v1.RecommendationService/Upsell".into(),
    ];
    for command in commands {
        println!("  {command}");
    }
}

/// Whether the program ends after the answers, or serves until Ctrl-C.
#[derive(Clone, Copy, PartialEq)]
enum Stay {
    Once,
    UntilSignal,
}

async fn serve(registry: &Path, data: &Dataset, stay: Stay, began: Instant) -> Result<()> {
    let server = Server::start(&Config::local(registry)).await?;
    let title = |id: &str| {
        let item = data.log.items.get(id);
        let title = item.and_then(|item| data.catalog.title.get(item));
        title.unwrap_or(id).to_string()
    };
    show_all(server.address(), title).await?;
    let total = seconds(began.elapsed().as_secs_f64());
    println!("Everything together took {total}.");
    let sample = Path::new(SAMPLE);
    show_commands(&sample.canonicalize().unwrap_or_else(|_| sample.into()));
    if stay == Stay::UntilSignal {
        println!(
            "\nThe server of this run answers on {} until Ctrl-C (registry {}).",
            server.address(),
            registry.display()
        );
        shutdown::wait_for_signal().await?;
    }
    server.stop().await
}

fn main() -> Result<()> {
    let stay = if std::env::args().any(|argument| argument == "--once") {
        Stay::Once
    } else {
        Stay::UntilSignal
    };
    let began = Instant::now();
    heading("What is in the log");
    let sample = Path::new(SAMPLE);
    let sample = sample.canonicalize().unwrap_or_else(|_| sample.into());
    let (settings, data) = read_sample(&sample)?;
    print!("{}", inspect::render(&Inspection::of(&data), &data));
    measure(&data, &settings)?;

    heading("Fitted on everything and published");
    let registry = tempfile::tempdir().context("a folder for the registry")?;
    let target = Target {
        registry: Registry::new(registry.path()),
        model: "shop".into(),
        alias: Some("stable".into()),
    };
    fit(&data, &settings, &target, None)?;

    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(registry.path(), &data, stay, began))
}
