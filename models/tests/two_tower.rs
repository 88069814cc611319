//! Two towers where others cannot go: items and users that nobody has seen, and fits that were interrupted.

use aisle_data::{
    Catalog, DataConfig, Dataset, EventLog, EventRole, EventType, IdMap, Interactions, Labels, NewItem, Orders, ReadReport,
};
use aisle_models::{
    Als, Bitmap, Bundle, Eligible, Fit, ForItem, ForUser, Found, History, Hyperparameters, ItemChanges, ItemNews, Loss, LowPass,
    Personal, Recommend, Registry, Rung, Training, TwoTower, TwoTowerModel, Watch,
};
use std::path::Path;
use std::sync::{Arc, Mutex};

const USERS: u32 = 60;
const ITEMS: u32 = 40;

/// Users and items of some kinds by turns; who is of a kind takes seven of its items. The last item and user of each kind took no part.
struct Shop {
    log: EventLog,
    interactions: Interactions,
    orders: Orders,
    catalog: Catalog,
    users: Vec<(String, Labels)>,
}

fn ids(prefix: &str, count: u32) -> Arc<IdMap> {
    let mut map = IdMap::new();
    (0..count).for_each(|number| {
        map.intern(&format!("{prefix}{number:04}"));
    });
    Arc::new(map)
}

fn labels(count: u32, kinds: u32) -> Labels {
    let mut labels = Labels::default();
    (0..count).for_each(|number| labels.push(Some(&format!("shop > {}", number % kinds))));
    labels
}

impl Shop {
    fn new() -> Self {
        Self::of(USERS, ITEMS, 2)
    }

    /// Whole numbers of users and items a kind.
    fn of(users: u32, items: u32, kinds: u32) -> Self {
        let item = move |user: u32, number: u32| (user % kinds + kinds * (user / kinds * 5 + number * 3)) % (items - kinds);
        let taken = |user: u32| (0..7).map(move |number| (user, item(user, number)));
        let mut events: Vec<(u32, u32)> = (0..users - kinds).flat_map(taken).collect();
        events.sort_unstable();
        events.dedup();
        let kind = EventType {
            name: "purchase".into(),
            role: EventRole::Purchase,
            weight: 1.0,
            half_life_days: None,
            rows: events.len() as u64,
        };
        let log = EventLog {
            users: ids("u", users),
            items: ids("i", items),
            types: vec![kind],
            user: events.iter().map(|event| event.0).collect(),
            item: events.iter().map(|event| event.1).collect(),
            kind: vec![0; events.len()],
            ..EventLog::default()
        };
        let catalog = Catalog { category: labels(items, kinds), ..Catalog::unknown(items as usize) };
        let (interactions, orders) = (Interactions::of(&log), Orders::of(&log));
        Self { log, interactions, orders, catalog, users: vec![("kind".into(), labels(users, kinds))] }
    }

    fn data(&self) -> Dataset {
        Dataset {
            log: self.log.clone(),
            catalog: self.catalog.clone(),
            user_attributes: self.users.clone(),
            report: ReadReport::default(),
            items_report: None,
            inputs: Vec::new(),
        }
    }

    fn training(&self) -> Training<'_> {
        Training {
            log: &self.log,
            interactions: &self.interactions,
            orders: &self.orders,
            catalog: &self.catalog,
            users: &self.users,
        }
    }
}

fn tower() -> TwoTower {
    TwoTower {
        factors: 8,
        epochs: 40,
        batch: 64,
        negatives: 16,
        dropout: 0.3,
        item_features: vec!["category".into()],
        user_features: vec!["kind".into()],
        ..TwoTower::default()
    }
}

fn scores(model: &TwoTowerModel, history: History) -> Vec<f32> {
    let items: Vec<u32> = (0..ITEMS).collect();
    model.score(history, &items).into_iter().map(Option::unwrap_or_default).collect()
}

#[test]
fn new_items_and_new_users_are_placed_by_what_is_known_of_them() {
    let shop = Shop::new();
    let model = tower().fit(&shop.training(), &()).unwrap();
    for user in [0u32, 1, USERS - 2, USERS - 1] {
        // The last two are new: no history, only their kind.
        let (items, values) = shop.interactions.by_user.row(user as usize);
        assert_eq!(items.is_empty(), user >= USERS - 2);
        let found = scores(&model, History { items, values, user: Some(user) });
        let mean = |parity: u32| {
            let of: Vec<f32> = (0..ITEMS).filter(|item| item % 2 == parity).map(|item| found[item as usize]).collect();
            of.iter().sum::<f32>() / of.len() as f32
        };
        assert!(mean(user % 2) > mean(1 - user % 2) + 0.3, "user {user}: {} {}", mean(0), mean(1));
        // The last two items are new: nobody has them, and they lie with their kind.
        let (same, other) = (ITEMS - 2 + user % 2, ITEMS - 1 - user % 2);
        assert!(found[same as usize] > found[other as usize] + 0.3, "user {user}: {found:?}");
    }
    assert!(model.knows(ITEMS - 1));

    // And so says a whole version: the personal rung answers who has no history, new items included.
    let parameters = Hyperparameters::of(Personal::TwoTower(tower()));
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let mut bundle = Bundle::fit(&shop.data(), &DataConfig::default(), parameters, &()).unwrap();
    let version = registry.publish("shop", &mut bundle).unwrap();
    let served = registry.verify("shop", &version).unwrap();
    let ask = ForUser { user: Some(USERS - 1), k: ITEMS as usize / 2, ..ForUser::default() };
    let answer = served.for_user(&ask);
    assert_eq!((answer.rung, answer.fallback), (Rung::Personal, None));
    assert!(answer.items.iter().all(|ranked| ranked.item % 2 == 1) && answer.items.iter().any(|ranked| ranked.item == ITEMS - 1));
    assert_eq!(answer, bundle.for_user(&ask));

    // What is known of a new item says nothing where no item that sold has it.
    let mut shop = shop;
    let mut odd = Labels::default();
    (0..ITEMS).for_each(|item| odd.push(if item == ITEMS - 1 { Some("elsewhere") } else { shop.catalog.category.get(item) }));
    shop.catalog.category = odd;
    let model = TwoTower { epochs: 1, ..tower() }.fit(&shop.training(), &()).unwrap();
    assert!(!model.knows(ITEMS - 1) && model.knows(ITEMS - 2));
    // Without features there is nothing to know them by.
    let plain = TwoTower { item_features: Vec::new(), user_features: Vec::new(), epochs: 1, ..tower() };
    let model = plain.fit(&shop.training(), &()).unwrap();
    assert!(!model.knows(ITEMS - 1) && model.knows(0));
    let everything = Bitmap::filled(ITEMS as usize, true);
    let mut found = Found::default();
    model.recommend(History { user: Some(USERS - 1), ..History::default() }, 5, Eligible::without(&everything, &[]), &mut found);
    assert!(found.items.is_empty());
}

#[test]
fn a_version_of_many_items_looks_at_lists_of_them() {
    let shop = Shop::of(400, 6000, 40);
    let mut parameters = Hyperparameters::of(Personal::TwoTower(TwoTower { epochs: 10, lists_from: 6000, ..tower() }));
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let mut bundle = Bundle::fit(&shop.data(), &DataConfig::default(), parameters.clone(), &()).unwrap();
    let told = bundle.manifest.retrieval.clone().unwrap();
    assert!(told.pays() && told.probes < told.lists / 4, "{told:?}");
    let version = registry.publish("shop", &mut bundle).unwrap();
    let served = registry.verify("shop", &version).unwrap();
    let read = served.manifest.retrieval.as_ref().unwrap();
    assert_eq!((read.lists, read.probes, read.shoppers), (told.lists, told.probes, told.shoppers));
    parameters.personal = Personal::TwoTower(TwoTower { epochs: 10, lists_from: 6001, ..tower() });
    let exact = Bundle::fit(&shop.data(), &DataConfig::default(), parameters, &()).unwrap();
    assert!(exact.manifest.retrieval.is_none());
    let (mut good, mut all) = (0, 0);
    for user in 0..400 {
        let ask = ForUser { user: Some(user), k: 20, ..ForUser::default() };
        let answer = served.for_user(&ask);
        assert_eq!(answer, bundle.for_user(&ask), "user {user}");
        let best = exact.for_user(&ask);
        assert_eq!((answer.items.len(), answer.eligible), (20, best.eligible));
        good += answer.items.iter().filter(|ranked| best.items.iter().any(|best| best.item == ranked.item)).count();
        all += best.items.len();
    }
    assert!(good as f64 >= 0.98 * f64::from(all as u32), "{good} of {all}");

    // A manifest that tells of other lists than there are.
    let from = registry.version_folder("shop", &version).unwrap();
    let path = from.join("manifest.json");
    let (probes, other) = (format!("\"probes\": {}", told.probes), format!("\"probes\": {}", told.probes + 1));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(&probes).count(), 1);
    let text = text.replace(&probes, &other);
    std::fs::write(&path, &text).unwrap();
    let (time, _) = version.rsplit_once('-').unwrap();
    let version = format!("{time}-{}", &blake3::hash(text.as_bytes()).to_hex()[..12]);
    std::fs::rename(&from, from.with_file_name(&version)).unwrap();
    let refused = registry.verify("shop", &version).err().unwrap().to_string();
    assert!(refused.contains("lists of items") && refused.contains("as the manifest says"), "{refused}");
}

#[test]
fn neighbours_that_a_version_stores_are_those_of_a_search() {
    let shop = Shop::of(400, 600, 20);
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(folder.path());
    let mut changes = ItemChanges::default();
    let new = |at: u32| NewItem { category: shop.catalog.category.get(at).map(str::to_string), ..NewItem::default() };
    changes.add(ItemNews { new: (0..30).map(|at| (format!("new{at:02}"), new(at))).collect(), ..ItemNews::default() });
    let als = Als { factors: 8, ..Als::default() };
    let low_pass = LowPass { factors: 8, ..LowPass::default() };
    for personal in [Personal::Als(als), Personal::LowPass(low_pass), Personal::TwoTower(TwoTower { epochs: 2, ..tower() })] {
        let name = personal.algorithm();
        let mut bundle = Bundle::fit(&shop.data(), &DataConfig::default(), Hyperparameters::of(personal), &()).unwrap();
        let version = registry.publish("shop", &mut bundle).unwrap();
        let weights = std::fs::read(registry.version_folder("shop", &version).unwrap().join("weights.safetensors")).unwrap();
        let header = String::from_utf8_lossy(&weights[..5000]);
        assert!(header.contains(&format!("\"{}.near\"", name.replace('-', "_"))), "{name}: {header}");
        for changes in [&ItemChanges::default(), &changes] {
            let served = registry.verify_with("shop", &version, changes, &[]).unwrap();
            served.shelve(changes);
            for item in 0..600 {
                // Of so many more than are stored none is looked up.
                let near = |k: usize| served.similar(&ForItem { item, k, ..ForItem::default() }).items;
                assert_eq!(near(20), near(70)[..20], "{name}, item {item}, {} new ones", changes.new.len());
            }
        }
    }
}

#[test]
fn factorisation_without_histories_knows_its_users_and_no_strangers() {
    let shop = Shop::new();
    let plain = TwoTower { loss: Loss::Bpr, history: 0, item_features: Vec::new(), user_features: Vec::new(), ..tower() };
    let model = plain.fit(&shop.training(), &()).unwrap();
    let (items, values) = shop.interactions.by_user.row(4);
    let found = scores(&model, History { items, values, user: Some(4) });
    let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
    let had: Vec<f32> = items.iter().map(|&item| found[item as usize]).collect();
    assert!(mean(&had) > mean(&found) + 1.0, "{} {}", mean(&had), mean(&found));
    assert_eq!(model.score(History { items, values, user: None }, &[1]), [None]);
}

#[test]
fn a_setting_that_names_nothing_says_what_there_is() {
    let shop = Shop::new();
    let refuse = |tower: TwoTower| tower.fit(&shop.training(), &()).err().unwrap().to_string();
    let text = refuse(TwoTower { item_features: vec!["colour".into()], ..tower() });
    assert!(text.contains("'colour'") && text.contains("category"), "{text}");
    let text = refuse(TwoTower { user_features: vec!["kind".into(), "kind".into()], ..tower() });
    assert!(text.contains("some of: kind, each at most once"), "{text}");
    let text = refuse(TwoTower { history: 0, users: false, user_features: Vec::new(), ..tower() });
    assert!(text.contains("user_features"), "{text}");
}

struct Keeps<'a>(&'a Path, Mutex<Vec<String>>);

impl Watch for Keeps<'_> {
    fn step(&self, _: &str, _: usize, _: usize) {}

    fn say(&self, line: &str) {
        self.1.lock().map(|mut lines| lines.push(line.into())).unwrap_or_default();
    }

    fn checkpoints(&self) -> Option<&Path> {
        Some(self.0)
    }
}

#[test]
fn an_interrupted_fit_goes_on_to_the_same_bits() {
    let shop = Shop::new();
    let folder = tempfile::tempdir().unwrap();
    let keeps = Keeps(folder.path(), Mutex::default());
    let bits = |model: &TwoTowerModel| -> Vec<u32> {
        scores(model, History { user: Some(0), ..History::default() }).iter().map(|score| score.to_bits()).collect()
    };
    let straight = TwoTower { epochs: 7, ..tower() }.fit(&shop.training(), &()).unwrap();
    TwoTower { epochs: 3, ..tower() }.fit(&shop.training(), &keeps).unwrap();
    let resumed = TwoTower { epochs: 7, ..tower() }.fit(&shop.training(), &keeps).unwrap();
    assert!(keeps.1.lock().unwrap().iter().any(|line| line.contains("goes on after epoch 3")));
    assert!(bits(&straight) == bits(&resumed));
    // Other settings do not take it up, and a cut file is no reason to fail.
    let checkpoint = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let anew = TwoTower { epochs: 7, ..tower() }.fit(&shop.training(), &keeps).unwrap();
    assert!(keeps.1.lock().unwrap().iter().any(|line| line.contains("starts anew")));
    assert!(bits(&straight) == bits(&anew));
}

/// Scores differ by less than this between processors after a whole fit.
#[cfg(feature = "cuda")]
const TOLERANCE: f32 = 0.02;

/// Runs where a GPU is at hand; says so where none is.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_agrees_with_the_cpu() {
    struct OnGpu;
    impl Watch for OnGpu {
        fn step(&self, _: &str, _: usize, _: usize) {}
        fn device(&self) -> aisle_models::Device {
            aisle_models::Device::Cuda(0)
        }
    }
    let shop = Shop::new();
    for loss in [Loss::Softmax, Loss::CosineContrastive, Loss::Bpr] {
        let tower = TwoTower { loss, hidden: 4, epochs: 5, ..tower() };
        let ours = tower.fit(&shop.training(), &()).unwrap();
        let theirs = match tower.fit(&shop.training(), &OnGpu) {
            Ok(model) => model,
            Err(error) => return eprintln!("no GPU to compare with: {error}"),
        };
        for user in 0..USERS {
            let (items, values) = shop.interactions.by_user.row(user as usize);
            let history = History { items, values, user: Some(user) };
            for (a, b) in scores(&ours, history).iter().zip(scores(&theirs, history)) {
                assert!((a - b).abs() < TOLERANCE * a.abs().max(1.0), "{loss:?} user {user}: {a} {b}");
            }
        }
    }
}
