//! Two towers where other models cannot go: items and users that nobody has seen, fits that were
//! interrupted, and GPUs.

use crate::common::category_shop::{ITEMS, USERS, two_kinds, two_tower};
use crate::common::logs::TrainingData;
use crate::common::served::{ServedVersion, fit, items_of, user_request};
use crate::common::written_and_loaded;
use aisle_data::Labels;
use aisle_models::{
    Bitmap, CandidateSource, Eligible, Fit, History, Hyperparameters, Loss, Personal, Progress,
    Recommend, SearchBuffer, TwoTower, TwoTowerModel, Version,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

/// Two users with a history and two new ones, one of each kind.
const TWO_KNOWN_AND_TWO_NEW_USERS: [u32; 4] = [0, 1, USERS - 2, USERS - 1];

fn scores(model: &TwoTowerModel, history: History) -> Vec<f32> {
    let items: Vec<u32> = (0..ITEMS).collect();
    let scores = model.score(history, &items).into_iter();
    scores.map(Option::unwrap_or_default).collect()
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// Towers that read the kinds of users and items, fitted once for all tests of this file.
static FITTED: LazyLock<(TrainingData, TwoTowerModel)> = LazyLock::new(|| {
    let data = two_kinds();
    let model = two_tower().fit(&data.training(), &()).unwrap();
    (data, model)
});

fn scores_of_user(user: u32) -> Vec<f32> {
    let (data, model) = &*FITTED;
    scores(model, data.known_history(user))
}

#[test]
fn new_users_have_no_history() {
    let is_new = |user: u32| FITTED.0.history(user).items.is_empty();
    let found = TWO_KNOWN_AND_TWO_NEW_USERS.map(is_new);
    assert_eq!(found, [false, false, true, true]);
}

#[test]
fn known_and_new_users_prefer_items_of_their_kind() {
    for user in TWO_KNOWN_AND_TWO_NEW_USERS {
        let scores = scores_of_user(user);
        let mean_of_kind = |kind: u32| {
            let items = (0..ITEMS).filter(|item| item % 2 == kind);
            let scores: Vec<f32> = items.map(|item| scores[item as usize]).collect();
            mean(&scores)
        };
        let (own, other) = (mean_of_kind(user % 2), mean_of_kind(1 - user % 2));
        assert!(own > other + 0.3, "user {user}: {own} {other}");
    }
}

#[test]
fn a_new_item_is_preferred_by_users_of_its_kind() {
    for user in TWO_KNOWN_AND_TWO_NEW_USERS {
        let scores = scores_of_user(user);
        let (own, other) = (ITEMS - 2 + user % 2, ITEMS - 1 - user % 2);
        let is_preferred = scores[own as usize] > scores[other as usize] + 0.3;
        assert!(is_preferred, "user {user}: {scores:?}");
    }
}

#[test]
fn a_new_item_with_known_features_can_be_recommended() {
    assert!(FITTED.1.knows_cold_item(ITEMS - 1));
}

/// The features of an item say nothing if no item that sold has them.
#[test]
fn a_new_item_whose_features_no_item_that_sold_has_cannot_be_recommended() {
    let mut data = two_kinds();
    let mut category = Labels::default();
    for item in 0..ITEMS - 1 {
        category.push(data.catalog.category.get(item));
    }
    category.push(Some("elsewhere"));
    data.catalog.category = category;
    let model = TwoTower {
        epochs: 1,
        ..two_tower()
    };
    let model = model.fit(&data.training(), &()).unwrap();
    let are_known = [ITEMS - 1, ITEMS - 2].map(|item| model.knows_cold_item(item));
    assert_eq!(are_known, [false, true]);
}

/// Towers that read no features.
fn without_features() -> TwoTower {
    TwoTower {
        item_features: Vec::new(),
        user_features: Vec::new(),
        ..two_tower()
    }
}

fn fitted_without_features() -> TwoTowerModel {
    let settings = TwoTower {
        epochs: 1,
        ..without_features()
    };
    settings.fit(&two_kinds().training(), &()).unwrap()
}

#[test]
fn without_features_a_new_item_cannot_be_recommended() {
    let model = fitted_without_features();
    let are_known = [ITEMS - 1, 0].map(|item| model.knows_cold_item(item));
    assert_eq!(are_known, [false, true]);
}

#[test]
fn without_features_a_new_user_is_recommended_nothing() {
    let model = fitted_without_features();
    let everything = Bitmap::filled(ITEMS as usize, true);
    let new_user = History {
        user: Some(USERS - 1),
        ..History::default()
    };
    let mut found = SearchBuffer::default();
    model.recommend(new_user, 5, Eligible::without(&everything, &[]), &mut found);
    assert!(found.items.is_empty());
}

/// The towers in a version, as it was fitted and as a server loads it.
fn fitted_and_loaded() -> [ServedVersion; 2] {
    static VERSIONS: LazyLock<[Arc<Version>; 2]> = LazyLock::new(|| {
        let hyperparameters = Hyperparameters::of(Personal::TwoTower(two_tower()));
        let mut fitted = fit(&two_kinds().dataset(), hyperparameters);
        let loaded = written_and_loaded(&mut fitted);
        [fitted, loaded].map(Arc::new)
    });
    VERSIONS.clone().map(ServedVersion::new)
}

#[test]
fn a_new_user_is_recommended_items_of_their_kind_by_the_personal_model() {
    let [_, loaded] = fitted_and_loaded();
    let answer = loaded.recommend_for_user(&user_request(USERS - 1, ITEMS as usize / 2));
    let source = (answer.source, answer.fallback_reason);
    assert_eq!(source, (CandidateSource::Personal, None));
    assert!(items_of(&answer).iter().all(|item| item % 2 == 1));
}

#[test]
fn a_new_user_is_recommended_the_new_item_of_their_kind() {
    let [_, loaded] = fitted_and_loaded();
    let answer = loaded.recommend_for_user(&user_request(USERS - 1, ITEMS as usize / 2));
    assert!(items_of(&answer).contains(&(ITEMS - 1)));
}

#[test]
fn a_new_user_is_answered_the_same_by_a_loaded_version() {
    let request = user_request(USERS - 1, ITEMS as usize / 2);
    let [fitted, loaded] = fitted_and_loaded().map(|shop| shop.recommend_for_user(&request));
    assert_eq!(loaded, fitted);
}

/// Matrix factorisation: a vector for each user, nothing read of histories or features.
fn factorisation() -> TwoTower {
    TwoTower {
        loss: Loss::Bpr,
        history: 0,
        ..without_features()
    }
}

#[test]
fn factorisation_without_histories_prefers_what_a_user_bought() {
    let data = two_kinds();
    let model = factorisation().fit(&data.training(), &()).unwrap();
    let history = data.known_history(4);
    let scores = scores(&model, history);
    let bought: Vec<f32> = history
        .items
        .iter()
        .map(|&item| scores[item as usize])
        .collect();
    let means = (mean(&bought), mean(&scores));
    assert!(means.0 > means.1 + 1.0, "{means:?}");
}

#[test]
fn factorisation_without_histories_knows_no_strangers() {
    let data = two_kinds();
    let model = factorisation().fit(&data.training(), &()).unwrap();
    assert_eq!(model.score(data.history(4), &[1]), [None]);
}

/// What a fit says of settings that it refuses.
fn refusal(settings: TwoTower) -> String {
    let data = two_kinds();
    settings
        .fit(&data.training(), &())
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn an_item_feature_that_does_not_exist_is_refused_with_those_there_are() {
    let refused = refusal(TwoTower {
        item_features: vec!["colour".into()],
        ..two_tower()
    });
    assert!(
        refused.contains("'colour'") && refused.contains("category"),
        "{refused}"
    );
}

#[test]
fn a_user_feature_named_twice_is_refused() {
    let refused = refusal(TwoTower {
        user_features: vec!["kind".into(), "kind".into()],
        ..two_tower()
    });
    assert!(
        refused.contains("some of: kind, each at most once"),
        "{refused}"
    );
}

#[test]
fn a_user_tower_that_reads_nothing_is_refused() {
    let refused = refusal(TwoTower {
        history: 0,
        users: false,
        user_features: Vec::new(),
        ..two_tower()
    });
    assert!(refused.contains("user_features"), "{refused}");
}

/// A fit that keeps checkpoints and remembers what was said of it.
struct CheckpointedFit {
    folder: tempfile::TempDir,
    lines: Mutex<Vec<String>>,
}

impl Progress for CheckpointedFit {
    fn step(&self, _stage: &str, _done: usize, _total: usize) {}

    fn message(&self, line: &str) {
        self.lines.lock().unwrap().push(line.into());
    }

    fn checkpoints(&self) -> Option<&Path> {
        Some(self.folder.path())
    }
}

impl CheckpointedFit {
    /// A fit that was interrupted after some epochs.
    fn interrupted_after(epochs: usize) -> Self {
        let fit = Self {
            folder: tempfile::tempdir().unwrap(),
            lines: Mutex::default(),
        };
        fit_epochs(epochs, &fit);
        fit
    }

    fn checkpoint(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.folder.path()).unwrap();
        files.next().unwrap().unwrap().path()
    }

    fn has_said(&self, text: &str) -> bool {
        let lines = self.lines.lock().unwrap();
        lines.iter().any(|line| line.contains(text))
    }
}

/// The bits of one user's scores after a fit of some epochs.
fn fit_epochs(epochs: usize, progress: &dyn Progress) -> Vec<u32> {
    let settings = TwoTower {
        epochs,
        ..two_tower()
    };
    let model = settings.fit(&two_kinds().training(), progress).unwrap();
    let history = History {
        user: Some(0),
        ..History::default()
    };
    scores(&model, history)
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

#[test]
fn an_interrupted_fit_goes_on_to_the_same_bits() {
    let fit = CheckpointedFit::interrupted_after(3);
    let resumed = fit_epochs(7, &fit);
    assert!(fit.has_said("goes on after epoch 3"));
    assert_eq!(resumed, fit_epochs(7, &()));
}

#[test]
fn a_fit_whose_checkpoint_was_cut_starts_anew_and_gives_the_same_bits() {
    let fit = CheckpointedFit::interrupted_after(3);
    let checkpoint = fit.checkpoint();
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let anew = fit_epochs(7, &fit);
    assert!(fit.has_said("starts anew"));
    assert_eq!(anew, fit_epochs(7, &()));
}

/// A fit on the first GPU.
#[cfg(feature = "cuda")]
struct FitOnGpu;

#[cfg(feature = "cuda")]
impl Progress for FitOnGpu {
    fn step(&self, _stage: &str, _done: usize, _total: usize) {}

    fn device(&self) -> aisle_models::Device {
        aisle_models::Device::Cuda(0)
    }
}

/// Runs where a GPU is at hand; says so where none is.
#[cfg(feature = "cuda")]
#[test]
fn a_fit_on_a_gpu_agrees_with_one_on_the_cpu() {
    /// Scores differ by less than this between processors after a whole fit.
    const TOLERANCE: f32 = 0.02;
    let data = two_kinds();
    for loss in [Loss::Softmax, Loss::CosineContrastive, Loss::Bpr] {
        let settings = TwoTower {
            loss,
            hidden: 4,
            epochs: 5,
            ..two_tower()
        };
        let on_cpu = settings.fit(&data.training(), &()).unwrap();
        let on_gpu = match settings.fit(&data.training(), &FitOnGpu) {
            Ok(model) => model,
            Err(error) => return eprintln!("skipped: no GPU to compare with: {error}"),
        };
        for user in 0..USERS {
            let history = data.known_history(user);
            let pairs = scores(&on_cpu, history)
                .into_iter()
                .zip(scores(&on_gpu, history));
            for (a, b) in pairs {
                let is_close = (a - b).abs() < TOLERANCE * a.abs().max(1.0);
                assert!(is_close, "{loss:?} user {user}: {a} {b}");
            }
        }
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_fit_on_a_gpu_agrees_with_one_on_the_cpu() {
    eprintln!("skipped: built without the feature `cuda`");
}
