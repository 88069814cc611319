//! Times the answers of a version on one thread, without the wire: what a request costs beside reading and writing it.
//!
//! `cargo run --release --example answers -- FOLDER-OF-A-VERSION [CALL] [--omit-reasons]`: prints, for each call or one of them, microseconds an
//! answer. `ANSWERS=200` asks fewer questions.

use aisle_benches::Draw;
use aisle_models::{Answer, Bundle, ForAgain, ForCart, ForItem, ForSession, ForUser, ItemFilter, Scene};
use std::io::{Error, Result};
use std::path::Path;
use std::time::Instant;

const K: usize = 20;

fn main() -> Result<()> {
    let (options, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let scene = || Scene { without_reasons: options.iter().any(|option| option == "--omit-reasons"), ..Scene::default() };
    let folder = Path::new(arguments.first().ok_or_else(|| Error::other("expected the folder of a version"))?);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let bundle = Bundle::open(folder, name).map_err(Error::other)?;
    let questions = std::env::var("ANSWERS").ok().and_then(|count| count.parse().ok()).unwrap_or(5000);

    let draw = Draw::new(&bundle);
    let filter = |at: usize| ItemFilter {
        exclude_categories: draw.department(at).map(str::to_string).into_iter().collect(),
        max_price: draw.dear().map(|(price, _)| price),
        ..ItemFilter::default()
    };
    let user = |at: usize| Some(draw.user(at));

    type Ask<'a> = Box<dyn Fn(usize) -> Answer + 'a>;
    let personal = |at: usize| {
        let ask = ForUser { user: user(at), k: K, filter: filter(at), exclude_bought: true, scene: scene(), ..ForUser::default() };
        bundle.for_user(&ask)
    };
    let completed = |at: usize, user: Option<u32>| {
        bundle.cross_sell(&ForCart { cart: draw.cart(at), k: K, filter: filter(at), user, scene: scene(), ..ForCart::default() })
    };
    let item = |at: usize| ForItem { item: draw.item(at), k: K, scene: scene(), ..ForItem::default() };
    let calls: Vec<(&str, Ask)> = vec![
        ("personal", Box::new(personal)),
        ("cross-sell-stranger", Box::new(|at| completed(at, None))),
        ("cross-sell-shopper", Box::new(|at| completed(at, user(at)))),
        ("upsell", Box::new(|at| bundle.upsell(&item(at)))),
        ("similar", Box::new(|at| bundle.similar(&ForItem { filter: filter(at), ..item(at) }))),
        (
            "session",
            Box::new(|at| bundle.for_session(&ForSession { clicks: draw.cart(at), k: K, scene: scene(), ..ForSession::default() })),
        ),
        ("buy-again", Box::new(|at| bundle.buy_again(&ForAgain { user: user(at), k: K, scene: scene(), ..ForAgain::default() }))),
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
