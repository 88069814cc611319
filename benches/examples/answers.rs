//! Times the answers of a version on one thread, without the wire: what a request costs beside
//! reading and writing it.
//!
//! `cargo run --release --example answers -- FOLDER-OF-A-VERSION [CALL] [--omit-reasons]` prints,
//! for each call or for one of them, microseconds an answer. `ANSWERS=200` makes fewer requests.

use aisle_benches::Workload;
use aisle_models::{
    Answer, CartRequest, FittedModels, ItemFilter, ItemRequest, LiveState, ReorderRequest,
    RequestContext, SessionRequest, UserRequest, Version, buy_again, cross_sell,
    recommend_for_session, recommend_for_user, similar_items, upsell,
};
use std::io::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// Items that each request asks for.
const K: usize = 20;
/// The calls that are timed.
const CALLS: [&str; 7] = [
    "personal",
    "cross-sell-stranger",
    "cross-sell-shopper",
    "upsell",
    "similar",
    "session",
    "buy-again",
];

struct Timer<'a> {
    models: &'a FittedModels,
    live: LiveState,
    workload: Workload<'a>,
    context: RequestContext,
}

impl Timer<'_> {
    fn filter(&self, at: usize) -> ItemFilter {
        let department = self.workload.department(at).map(str::to_string);
        ItemFilter {
            exclude_categories: department.into_iter().collect(),
            max_price: self.workload.high_price().map(|high| high.price),
            ..ItemFilter::default()
        }
    }

    fn personal(&self, at: usize) -> Answer {
        let request = UserRequest {
            user: Some(self.workload.user(at)),
            k: K,
            filter: self.filter(at),
            exclude_purchased: true,
            context: self.context.clone(),
            ..UserRequest::default()
        };
        recommend_for_user(self.models, &self.live, &request)
    }

    fn cross_sell(&self, at: usize, user: Option<u32>) -> Answer {
        let request = CartRequest {
            cart: self.workload.cart(at),
            k: K,
            filter: self.filter(at),
            user,
            context: self.context.clone(),
            ..CartRequest::default()
        };
        cross_sell(self.models, &self.live, &request)
    }

    fn item_request(&self, at: usize) -> ItemRequest {
        let (item, context) = (self.workload.item(at), self.context.clone());
        ItemRequest {
            item,
            k: K,
            context,
            ..ItemRequest::default()
        }
    }

    fn session(&self, at: usize) -> Answer {
        let (clicks, context) = (self.workload.cart(at), self.context.clone());
        let request = SessionRequest {
            clicks,
            k: K,
            context,
            ..SessionRequest::default()
        };
        recommend_for_session(self.models, &self.live, &request)
    }

    fn buy_again(&self, at: usize) -> Answer {
        let (user, context) = (Some(self.workload.user(at)), self.context.clone());
        let request = ReorderRequest {
            user,
            k: K,
            context,
            ..ReorderRequest::default()
        };
        buy_again(self.models, &self.live, &request)
    }

    fn answer(&self, call: &str, at: usize) -> Answer {
        match call {
            "personal" => self.personal(at),
            "cross-sell-stranger" => self.cross_sell(at, None),
            "cross-sell-shopper" => self.cross_sell(at, Some(self.workload.user(at))),
            "upsell" => upsell(self.models, &self.live, &self.item_request(at)),
            "similar" => {
                let request = ItemRequest {
                    filter: self.filter(at),
                    ..self.item_request(at)
                };
                similar_items(self.models, &self.live, &request)
            }
            "session" => self.session(at),
            _ => self.buy_again(at),
        }
    }

    /// Prints microseconds an answer of a call.
    fn print_times(&self, call: &str, requests: usize) {
        (0..requests / 10).for_each(|at| drop(self.answer(call, at)));
        let mut micros: Vec<f64> = Vec::with_capacity(requests);
        let mut items = 0;
        for at in 0..requests {
            let began = Instant::now();
            let answer = self.answer(call, at);
            micros.push(began.elapsed().as_secs_f64() * 1e6);
            items += answer.items.len();
        }
        micros.sort_unstable_by(f64::total_cmp);
        let [p50, p90, p99] =
            [0.5, 0.9, 0.99].map(|share: f64| micros[(share * (requests - 1) as f64) as usize]);
        let mean = micros.iter().sum::<f64>() / requests as f64;
        let items = items as f64 / requests as f64;
        println!(
            "{call}: mean {mean:.1}, p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1} µs, {items:.1} items"
        );
    }
}

fn main() -> Result<()> {
    let (options, arguments): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let folder = arguments
        .first()
        .ok_or_else(|| Error::other("expected the folder of a version"))?;
    let folder = Path::new(folder);
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let models = Version::open(folder, name).map_err(Error::other)?.models;
    let requests = std::env::var("ANSWERS")
        .ok()
        .and_then(|count| count.parse().ok());
    let omit_reasons = options.iter().any(|option| option == "--omit-reasons");
    let timer = Timer {
        models: &models,
        live: LiveState::unchanged(&models),
        workload: Workload::new(&models),
        context: RequestContext {
            omit_reasons,
            ..RequestContext::default()
        },
    };
    for call in CALLS
        .iter()
        .filter(|call| arguments.get(1).is_none_or(|only| only == *call))
    {
        timer.print_times(call, requests.unwrap_or(5000));
    }
    Ok(())
}
