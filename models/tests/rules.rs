//! What rules and controls do to answers of a real, if small, version.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use aisle_data::{Catalog, DataConfig, Dataset, EventLog, EventRole, EventType, IdMap, Labels, ReadReport};
use aisle_models::{
    Als, Answer, Boost, Bought, Bundle, Controls, ForCart, ForItem, ForUser, Hyperparameters, Personal, Pin, Reason, Registry,
    Rule, RuleSet, Rung, Scene, Segments,
};
use std::sync::Arc;

const DAY: i64 = 86_400_000;

/// Sixty shoppers and thirty items of three brands and three categories; shopper n likes items near n. All bought on days 100 to 160.
fn shop() -> Bundle {
    let mut log = EventLog {
        types: vec![EventType { name: "purchase".into(), role: EventRole::Purchase, weight: 1.0, half_life_days: None, rows: 0 }],
        ..EventLog::default()
    };
    let name = |letter: &str, count: usize| Arc::new((0..count).map(|n| format!("{letter}{n:02}")).collect::<Vec<_>>());
    let ids = |names: &[String]| Arc::new(names.iter().map(String::as_str).collect::<IdMap>());
    (log.users, log.items) = (ids(&name("u", 60)), ids(&name("i", 30)));
    for user in 0..60u32 {
        for step in 0..8u32 {
            log.user.push(user);
            log.item.push((user / 2 + step * step) % 30);
            log.kind.push(0);
            log.order.push(user * 4 + step / 2);
            log.time.push((100 + i64::from(step / 2) * 20 - i64::from(user % 3)) * DAY);
        }
    }
    let mut catalog = Catalog { given: true, ..Catalog::default() };
    for item in 0..30u32 {
        catalog.title.push(Some(&format!("Item {item}")));
        catalog.category.push(Some(["Cups", "Plates", "Spoons"][item as usize % 3]));
        catalog.price.push(1.0 + item as f32);
        catalog.currency.push(Some("EUR"));
        catalog.brand.push(Some(["ALBA", "BORA", "CARA"][item as usize / 10]));
        catalog.available.push(item != 9);
    }
    let mut tiers = Labels::default();
    (0..60).for_each(|user| tiers.push(Some(if user < 30 { "gold" } else { "none" })));
    let data = Dataset {
        log,
        catalog,
        user_attributes: vec![("tier".into(), tiers)],
        report: ReadReport::default(),
        items_report: None,
        inputs: Vec::new(),
    };
    let parameters = Hyperparameters {
        segments: Segments {
            named: [("early".to_string(), "user.tier = gold".to_string())].into(),
            min_shoppers: 5,
            ..Segments::default()
        },
        ..Hyperparameters::of(Personal::Als(Als { factors: 8, ..Als::default() }))
    };
    Bundle::fit(&data, &DataConfig::default(), parameters, &()).unwrap()
}

fn rule(rule: Rule) -> Arc<RuleSet> {
    Arc::new(RuleSet { revision: 1, rules: vec![Rule { name: "tested".into(), ..rule }] })
}

fn ask(shop: &Bundle, user: u32, k: usize, scene: Scene) -> Answer {
    shop.for_user(&ForUser { user: Some(user), k, scene, ..ForUser::default() })
}

fn rows(answer: &Answer) -> Vec<u32> {
    answer.items.iter().map(|ranked| ranked.item).collect()
}

#[test]
fn a_rule_holds_where_and_when_it_says() {
    let shop = shop();
    let plain = rows(&ask(&shop, 3, 5, Scene::default()));
    let spoons = Some("item.category : Spoons".to_string());
    let holds = |made: Rule, user: u32, scene: Scene| {
        shop.rule(&rule(Rule { only: spoons.clone(), ..made }));
        let answer = ask(&shop, user, 5, scene);
        let held = answer.items.iter().all(|ranked| ranked.item % 3 == 2);
        assert_eq!(held, answer.rules.names().eq(["tested"]), "told as it is");
        held
    };
    let at = |placement: &str| Scene { placement: placement.into(), ..Scene::default() };
    assert!(holds(Rule::default(), 3, Scene::default()));
    let home = Rule { placements: vec!["home".into()], ..Rule::default() };
    assert!(holds(home.clone(), 3, at("home")) && !holds(home, 3, at("cart")));
    assert!(holds(Rule { placements: vec!["personal".into()], ..Rule::default() }, 3, at("anywhere")));
    assert!(!holds(Rule { placements: vec!["upsell".into()], ..Rule::default() }, 3, at("")));
    let gold = Rule { when: Some("user.tier = gold".into()), ..Rule::default() };
    assert!(holds(gold.clone(), 3, at("")) && !holds(gold, 33, at("")));
    let mobile = Rule { when: Some("context.device = mobile AND user.known = true".into()), ..Rule::default() };
    let on = |device: &str| Scene { circumstances: [("device".into(), device.into())].into(), ..Scene::default() };
    assert!(holds(mobile.clone(), 3, on("mobile")) && !holds(mobile.clone(), 3, on("desktop")) && !holds(mobile, 3, at("")));
    let advent = Rule { from: Some("2026-12-01".into()), until: Some("2026-12-25T00:00:00Z".into()), ..Rule::default() };
    let time = |text: &str| Scene { time: aisle_data::parse_moment(text), ..Scene::default() };
    assert!(holds(advent.clone(), 3, time("2026-12-24")) && !holds(advent.clone(), 3, time("2026-12-25")));
    assert!(!holds(advent, 3, Scene::default()), "without a time a span does not hold");
    shop.rule(&Arc::default());
    assert_eq!(rows(&ask(&shop, 3, 5, Scene::default())), plain);
}

#[test]
fn segments_are_something_to_ask_for() {
    let shop = shop();
    let holds = |user: u32| ask(&shop, user, 5, Scene::default()).rules.held.len() == 1;
    shop.rule(&rule(Rule { when: Some("user.segments : early".into()), diversity: Some(0.1), ..Rule::default() }));
    assert!((0..60).all(|user| holds(user) == (user < 30)));
    // And what was learned has a name of its own.
    let early = shop.segments().number("early");
    let number = (0..60).flat_map(|user| shop.segments().of(user)).copied().find(|&number| Some(number) != early).unwrap();
    let name = &shop.segments().describe(number).unwrap().name;
    shop.rule(&rule(Rule { when: Some(format!("user.segments : \"{name}\"")), diversity: Some(0.1), ..Rule::default() }));
    assert!((0..60).all(|user| holds(user) == shop.segments().of(user).contains(&number)));
}

#[test]
fn pins_stand_at_their_place_and_pass_the_gate() {
    let shop = shop();
    let pin = |item_id: &str, position| Pin { item_id: item_id.into(), position };
    // i09 cannot be bought, i99 does not exist.
    let pins = vec![pin("i20", 3), pin("i09", 1), pin("i99", 2), pin("i21", 1), pin("i22", 40)];
    shop.rule(&rule(Rule { pins, ..Rule::default() }));
    let answer = ask(&shop, 3, 6, Scene::default());
    assert_eq!((rows(&answer)[0], rows(&answer)[2], answer.items.len()), (21, 20, 6));
    assert_eq!((answer.items[0].source, answer.rung), (Rung::Pinned, Rung::Personal));
    assert!(!rows(&answer).contains(&22) || answer.items.iter().all(|ranked| ranked.item != 22 || ranked.source != Rung::Pinned));
    // A cart's own category stays out, pinned or not.
    let cart = shop.cross_sell(&ForCart { cart: vec![2], k: 6, ..ForCart::default() });
    assert!(rows(&cart).iter().all(|item| item % 3 != 2), "{:?}", rows(&cart));
    assert_eq!(rows(&cart)[0], 21);
    // A pinned step up says what it costs more, for prices are told even where reasons are not.
    shop.rule(&rule(Rule { pins: vec![pin("i12", 1)], ..Rule::default() }));
    for without_reasons in [false, true] {
        let scene = Scene { without_reasons, ..Scene::default() };
        let first = shop.upsell(&ForItem { item: 3, k: 3, scene, ..ForItem::default() }).items.remove(0);
        let delta = |reason: &Reason| matches!(reason, Reason::SteppedUp(step) if step.price_delta == 9.0);
        assert!((first.item, first.source) == (12, Rung::Pinned) && first.reasons.iter().any(delta), "{first:?}");
    }
}

#[test]
fn boosts_lift_and_bury() {
    let shop = shop();
    let place = |factor: f32, item: u32| {
        let boost = Boost { items: format!("item.id = i{item:02}"), factor };
        shop.rule(&rule(Rule { boost: Some(boost), ..Rule::default() }));
        rows(&ask(&shop, 3, 29, Scene::default())).iter().position(|&other| other == item).unwrap()
    };
    let middle = rows(&ask(&shop, 3, 29, Scene::default()))[6];
    assert_eq!(place(100.0, middle), 0);
    assert!(place(0.01, middle) > 6);
    assert_eq!(place(1.0, middle), 6);
}

#[test]
fn bounds_hold_and_what_they_leave_is_counted() {
    let shop = shop();
    let controls = Controls { max_per_brand: Some(2), ..Controls::default() };
    let answer = ask(&shop, 3, 6, Scene { controls, ..Scene::default() });
    let of = |brand: u32| rows(&answer).iter().filter(|&&item| item / 10 == brand).count();
    assert_eq!([of(0), of(1), of(2)], [2, 2, 2]);
    assert!(answer.items.iter().all(|ranked| !ranked.reasons.is_empty()), "reasons survive the arranging");
    let answer = ask(&shop, 3, 10, Scene { controls, ..Scene::default() });
    assert_eq!((answer.items.len(), answer.eligible), (6, 6));
    // A rule and a request: the strictest counts.
    shop.rule(&rule(Rule { max_per_brand: Some(1), ..Rule::default() }));
    assert_eq!(ask(&shop, 3, 10, Scene { controls, ..Scene::default() }).items.len(), 3);
}

#[test]
fn variety_and_relevance_pull_apart() {
    let shop = shop();
    let with = |diversity: f32| {
        let controls = Controls { diversity: Some(diversity), ..Controls::default() };
        rows(&ask(&shop, 3, 6, Scene { controls, ..Scene::default() }))
    };
    let kinds = |items: &[u32]| items.iter().map(|item| item % 3).collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(with(0.0), rows(&ask(&shop, 3, 6, Scene::default())));
    assert_eq!(kinds(&with(1.0)[..3]), 3, "{:?}", with(1.0));
    let all = ask(&shop, 3, 20, Scene::default());
    let controls = Controls { min_relevance: Some(0.5), ..Controls::default() };
    let best = ask(&shop, 3, 20, Scene { controls, ..Scene::default() });
    let expected = all.items.iter().filter(|ranked| ranked.source == all.rung && ranked.score >= 0.5 * all.items[0].score).count();
    assert_eq!((best.items.len(), best.eligible), (expected, expected));
}

#[test]
fn rotation_changes_from_day_to_day_and_from_viewer_to_viewer() {
    let shop = shop();
    let on = |day: i64, viewer: &str| {
        let controls = Controls { rotation: Some(0.8), ..Controls::default() };
        rows(&ask(&shop, 3, 8, Scene { controls, time: Some(day * DAY), viewer: viewer.into(), ..Scene::default() }))
    };
    assert_eq!(on(1, "ada"), on(1, "ada"));
    assert!((2..12).any(|day| on(day, "ada") != on(1, "ada")));
    assert!((1..12).any(|day| on(day, "ada") != on(day, "bea")));
}

#[test]
fn what_was_bought_lately_stays_out_of_its_category_only() {
    let shop = shop();
    let bought = |days: f32, items: Option<&str>| {
        let exclude_bought = Some(Bought { days, items: items.map(str::to_string) });
        shop.rule(&rule(Rule { exclude_bought, ..Rule::default() }));
        rows(&ask(&shop, 3, 29, Scene { time: Some(161 * DAY), ..Scene::default() }))
    };
    // Shopper 3 bought 1 + step²: 1, 2 | 5, 10 | 17, 26 | 7, 20, on days 100, 120, 140, 160.
    let within = |answer: &[u32], items: &[u32]| items.iter().filter(|item| answer.contains(item)).count();
    assert_eq!(within(&bought(10.0, None), &[7, 20]), 0);
    assert_eq!(within(&bought(10.0, None), &[1, 2, 5, 10, 17, 26]), 6);
    assert_eq!(within(&bought(1000.0, None), &[1, 2, 5, 7, 10, 17, 20, 26]), 0);
    assert_eq!(within(&bought(10.0, Some("item.category = Spoons")), &[7, 20]), 1);
}

#[test]
fn rules_follow_prices_and_are_kept_with_those_before() {
    let shop = shop();
    shop.rule(&rule(Rule { only: Some("item.price <= 3".into()), ..Rule::default() }));
    assert_eq!(ask(&shop, 3, 29, Scene::default()).items.len(), 3);
    let mut changes = aisle_models::ItemChanges::default();
    let price = aisle_models::ItemChange { available: None, price: Some(2.5) };
    changes.add(aisle_models::ItemNews { items: [("i20".to_string(), price)].into(), ..Default::default() });
    shop.shelve(&changes);
    assert!(rows(&ask(&shop, 3, 29, Scene::default())).contains(&20));

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    let registry = Registry::new(folder.path());
    assert_eq!(registry.rules("shop").unwrap().revision, 0);
    let named = |name: &str| vec![Rule { name: name.into(), diversity: Some(0.1), ..Rule::default() }];
    assert_eq!(registry.set_rules("shop", named("a"), 0).unwrap().revision, 1);
    assert_eq!(registry.set_rules("shop", named("b"), 1).unwrap().revision, 2);
    assert!(registry.set_rules("shop", named("c"), 1).unwrap_err().to_string().contains("revision 2, expected 1"));
    let back = registry.rollback_rules("shop").unwrap();
    assert_eq!((back.revision, back.rules[0].name.as_str()), (3, "a"));
    assert_eq!(registry.rules("shop").unwrap(), back);
    registry.rollback_rules("shop").unwrap();
    assert!(registry.rollback_rules("shop").unwrap_err().to_string().contains("no rules before"));
}
