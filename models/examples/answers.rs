//! Times the answers of a version on one thread, without the wire: what a request costs beside reading and writing it.
//!
//! `cargo run --release --example answers -- FOLDER-OF-A-VERSION [CALL]`: prints, for each call or one of them, microseconds an answer. Under
//! `valgrind --tool=callgrind` it counts instructions: `ANSWERS=200` asks fewer questions.

use aisle_models::{Answer, Bundle, ForAgain, ForCart, ForItem, ForSession, ForUser, ItemFilter};
use std::io::{Error, Result};
use std::path::Path;
use std::time::Instant;

const K: usize = 20;

/// Steps through rows without an order.
fn spread(at: usize, rows: usize) -> usize {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows.max(1) as u64) as usize
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or_else(|| Error::other("expected the folder of a version"))?);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let bundle = Bundle::open(folder, name).map_err(Error::other)?;
    let questions = std::env::var("ANSWERS").ok().and_then(|count| count.parse().ok()).unwrap_or(5000);

    let users = bundle.users.len();
    let sold: Vec<u32> = (0..users as u32).flat_map(|user| bundle.history(user).0).copied().collect();
    let mut departments: Vec<String> = (0..bundle.items.len() as u32)
        .filter_map(|item| bundle.catalog.category.get(item))
        .map(|path| aisle_data::cut(path, 1).to_string())
        .collect();
    departments.sort_unstable();
    departments.dedup();
    let mut prices: Vec<f32> = bundle.catalog.price.iter().copied().filter(|price| price.is_finite()).collect();
    prices.sort_unstable_by(f32::total_cmp);
    let filter = |at: usize| ItemFilter {
        exclude_categories: departments.get(at % departments.len().max(1)).cloned().into_iter().collect(),
        max_price: prices.get(prices.len() * 9 / 10).copied(),
        ..ItemFilter::default()
    };
    let user = |at: usize| Some(spread(at, users) as u32);
    let item = |at: usize| sold[spread(at, sold.len())];
    let cart = |at: usize| bundle.history(spread(at, users) as u32).0.iter().take(3).copied().collect::<Vec<u32>>();

    type Ask<'a> = Box<dyn Fn(usize) -> Answer + 'a>;
    let personal = |at: usize, without_reasons: bool| {
        let ask = ForUser { user: user(at), k: K, filter: filter(at), exclude_bought: true, without_reasons, ..ForUser::default() };
        bundle.for_user(&ask)
    };
    let completed = |at: usize, user: Option<u32>| {
        bundle.cross_sell(&ForCart { cart: cart(at), k: K, filter: filter(at), user, ..ForCart::default() })
    };
    let calls: Vec<(&str, Ask)> = vec![
        ("personal", Box::new(|at| personal(at, false))),
        ("personal-without-reasons", Box::new(|at| personal(at, true))),
        ("cross-sell-stranger", Box::new(|at| completed(at, None))),
        ("cross-sell-shopper", Box::new(|at| completed(at, user(at)))),
        ("upsell", Box::new(|at| bundle.upsell(&ForItem { item: item(at), k: K, ..ForItem::default() }))),
        ("similar", Box::new(|at| bundle.similar(&ForItem { item: item(at), k: K, filter: filter(at), ..ForItem::default() }))),
        ("session", Box::new(|at| bundle.for_session(&ForSession { clicks: cart(at), k: K, ..ForSession::default() }))),
        ("buy-again", Box::new(|at| bundle.buy_again(&ForAgain { user: user(at), k: K, ..ForAgain::default() }))),
    ];
    for (name, ask) in calls.iter().filter(|call| arguments.get(1).is_none_or(|only| only == call.0)) {
        (0..questions / 10).for_each(|at| drop(ask(at)));
        let mut micros: Vec<f64> = Vec::with_capacity(questions);
        let mut items = 0;
        for at in 0..questions {
            let began = Instant::now();
            let answer = ask(at);
            micros.push(began.elapsed().as_secs_f64() * 1e6);
            items += answer.items.len();
        }
        micros.sort_unstable_by(f64::total_cmp);
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share: f64| micros[(share * (questions - 1) as f64) as usize]);
        let mean = micros.iter().sum::<f64>() / questions as f64;
        println!(
            "{name}: mean {mean:.1}, p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1} µs, {:.1} items",
            items as f64 / questions as f64
        );
    }
    Ok(())
}
