//! From a real shop's log to recommendations, in one run: inspect, measure, fit, publish, serve, ask.
//!
//! `cargo run --release --example quickstart` stays up until Ctrl-C; with `-- --once` it ends after the answers.

use aisle_data::{Dataset, Inspection, Split, Tables};
use aisle_models::Registry;
use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use aisle_proto::rule_service_client::RuleServiceClient;
use aisle_proto::{
    BuyAgainRequest, Controls, CrossSellRequest, Money, RecommendForSessionRequest, RecommendForUserRequest, RecommendResponse,
    RequestContext, Rule, SetRulesRequest, SimilarItemsRequest, UpsellRequest,
};
use aisle_serve::{Config, Running, shutdown};
use aisle_train::evaluate::{self, Ask, AskPersonal, Lines, Parts, Targets};
use aisle_train::fit::{Target, fit};
use aisle_train::settings::Settings;
use aisle_train::{inspect, report::seconds};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;

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
        let more = item.price_delta.as_ref().map_or_else(String::new, |delta| format!(" (+{})", money(&Some(delta.clone()))));
        println!("  {}. {:<36} {:>7}{more}", item.rank, item.title, money(&item.price));
        let mut why: Vec<String> = item.reasons.iter().map(|reason| reason.text.clone()).collect();
        why.extend(item.attribute_deltas.iter().map(|delta| format!("{} {} → {}", delta.name, delta.from, delta.to)));
        why.iter().for_each(|why| println!("     {why}"));
    }
    if let Some(serving) = response.serving.as_ref().filter(|serving| !serving.fallback_reason.is_empty()) {
        println!("  (filled up: {})", serving.fallback_reason);
    }
}

async fn ask(address: std::net::SocketAddr, title: impl Fn(&str) -> String) -> Result<()> {
    let mut client =
        RecommendationServiceClient::connect(format!("http://{address}")).await.context("connecting to our own server")?;
    let began = Instant::now();

    heading(&format!("For shopper {SHOPPER}, who was here before"));
    let request = RecommendForUserRequest { user_id: SHOPPER.into(), page_size: 3, exclude_purchased: true, ..Default::default() };
    show(client.recommend_for_user(request).await?.get_ref());

    heading("What they may be running out of");
    let request = BuyAgainRequest { user_id: SHOPPER.into(), page_size: 3, ..Default::default() };
    show(client.buy_again(request).await?.get_ref());

    heading(&format!("Goes with a cart of {}", CART.map(&title).join(" and ")));
    let request = CrossSellRequest { cart_item_ids: CART.map(String::from).to_vec(), page_size: 3, ..Default::default() };
    show(client.cross_sell(request.clone()).await?.get_ref());

    heading(&format!("The same cart, if it is that of shopper {SHOPPER}"));
    show(client.cross_sell(CrossSellRequest { user_id: SHOPPER.into(), ..request }).await?.get_ref());

    heading("The stranger's cart lacks £7.20 to free shipping");
    let spend_gap = Some(Money { currency_code: "GBP".into(), units: 7, nanos: 200_000_000 });
    let cart_item_ids = CART.map(String::from).to_vec();
    let request = CrossSellRequest { cart_item_ids, spend_gap, page_size: 3, ..Default::default() };
    show(client.cross_sell(request).await?.get_ref());

    heading(&format!("Better than the {}", title(CAKESTAND)));
    let request = UpsellRequest { item_id: CAKESTAND.into(), page_size: 3, ..Default::default() };
    show(client.upsell(request).await?.get_ref());

    heading(&format!("A stranger looked at the {}", title(T_LIGHT_HOLDER)));
    let clicked_item_ids = vec![T_LIGHT_HOLDER.into()];
    let request = RecommendForSessionRequest { clicked_item_ids, page_size: 3, ..Default::default() };
    show(client.recommend_for_session(request).await?.get_ref());

    heading(&format!("Like the {}", title(T_LIGHT_HOLDER)));
    let request = SimilarItemsRequest { item_id: T_LIGHT_HOLDER.into(), page_size: 3, ..Default::default() };
    show(client.similar_items(request).await?.get_ref());

    heading("Somebody from Germany opens the front page");
    let context = Some(RequestContext { location: "Germany".into(), ..Default::default() });
    let front = RecommendForUserRequest { placement: "front".into(), context, page_size: 3, ..Default::default() };
    show(client.recommend_for_user(front.clone()).await?.get_ref());

    heading("The shop decides: nothing under £5 on the front page, one of a kind");
    let rule = Rule {
        name: "front page".into(),
        placements: vec!["front".into()],
        only: "item.price >= 5".into(),
        controls: Some(Controls { max_per_category: Some(1), ..Default::default() }),
        ..Default::default()
    };
    let mut rules = RuleServiceClient::connect(format!("http://{address}")).await.context("connecting to our own server")?;
    rules.set_rules(SetRulesRequest { rules: vec![rule], ..Default::default() }).await?;
    show(client.recommend_for_user(front).await?.get_ref());

    println!("\nTen questions over gRPC, one rule set, printed, in {}.", seconds(began.elapsed().as_secs_f64()));
    Ok(())
}

fn main() -> Result<()> {
    let once = std::env::args().any(|argument| argument == "--once");
    let began = Instant::now();
    let sample = Path::new(SAMPLE).canonicalize().unwrap_or_else(|_| SAMPLE.into());
    let path = |name: &str| sample.join(name).to_string_lossy().into_owned();
    let (events, items, config) = (path("events.parquet"), path("items.parquet"), sample.join("aisle.toml"));
    let settings = Settings::read(Some(&config), None, &[])?;

    heading("What is in the log");
    let data = Dataset::read(&Tables { events: &events, items: Some(&items), users: None }, &settings.data())?;
    print!("{}", inspect::render(&Inspection::of(&data), &data));

    heading("Learned on the past, measured on the future");
    let (train, test) = "time:0.9".parse::<Split>()?.apply(&data.log)?;
    let parts = Parts { train: Dataset { log: train, ..data.clone() }, test, split: "the last tenth of the events".into() };
    print!("{}", evaluate::personal(&parts, &settings, &[settings.algorithm], AskPersonal { k: 20, repeats: false })?.render());
    println!();
    print!("{}", evaluate::cross_sell(&parts, &settings, &[], Ask { k: 10, lines: Lines::One, targets: Targets::All })?.render());

    heading("Fitted on everything and published");
    let registry = tempfile::tempdir().context("a folder for the registry")?;
    let target = Target { registry: Registry::new(registry.path()), model: "shop".into(), alias: Some("stable".into()) };
    fit(&data, &settings, &target, None)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let running = Running::start(&Config::local(registry.path())).await?;
        let title = |id: &str| {
            let item = data.log.items.get(id);
            item.and_then(|item| data.catalog.title.get(item)).unwrap_or(id).to_string()
        };
        ask(running.address(), title).await?;
        println!("Everything together took {}.", seconds(began.elapsed().as_secs_f64()));

        heading("The same by hand");
        let sample = sample.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&sample).display().to_string();
        println!(
            "  cargo build --release --bins\n  \
             target/release/aisle-train inspect --events {sample}/events.parquet --items {sample}/items.parquet\n  \
             target/release/aisle-train fit --events {sample}/events.parquet --items {sample}/items.parquet \\\n      \
             --config {sample}/aisle.toml --registry registry --model shop --alias stable\n  \
             target/release/aisle-serve --registry registry --listen 127.0.0.1:50051\n  \
             grpcurl -plaintext -d '{{\"item_id\": \"{CAKESTAND}\", \"page_size\": 3}}' 127.0.0.1:50051 \\\n      \
             aisle.v1.RecommendationService/Upsell"
        );
        if !once {
            println!(
                "\nThe server of this run answers on {} until Ctrl-C (registry {}).",
                running.address(),
                registry.path().display()
            );
            shutdown::asked_to_stop().await?;
        }
        running.stop().await
    })
}
