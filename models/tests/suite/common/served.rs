//! Versions with the prices, stock and rules that are laid over them, and short ways to make
//! requests.

use aisle_data::{DataConfig, Dataset};
use aisle_models::{
    Answer, CartRequest, FittedModels, Hyperparameters, ItemChanges, ItemRequest, LiveState,
    ReorderRequest, Rule, RuleSet, SessionRequest, UserRequest, Version,
};
use std::sync::Arc;

/// A version as a server answers from it. A change of prices or rules makes another one, which
/// shares the version.
pub struct ServedVersion {
    pub version: Arc<Version>,
    pub live: LiveState,
}

/// Fits a version with the default reading of the data.
pub fn fit(data: &Dataset, hyperparameters: Hyperparameters) -> Version {
    Version::fit(data, &DataConfig::default(), hyperparameters, &()).unwrap()
}

impl ServedVersion {
    /// Serves a version with the prices and stock of its own catalogue, and without rules.
    pub fn new(version: impl Into<Arc<Version>>) -> Self {
        let version = version.into();
        let live = LiveState::unchanged(&version.models);
        Self { version, live }
    }

    pub fn models(&self) -> &FittedModels {
        &self.version.models
    }

    /// The same version, prices and stock under these rules alone.
    pub fn with_rules(&self, rules: Vec<Rule>) -> Self {
        let rules = Arc::new(RuleSet { revision: 1, rules });
        Self {
            version: self.version.clone(),
            live: self.live.with_rules(self.models(), &rules),
        }
    }

    /// The same version and rules with these prices and this stock.
    pub fn with_item_changes(&self, changes: &ItemChanges) -> Self {
        Self {
            version: self.version.clone(),
            live: self.live.with_item_changes(self.models(), changes),
        }
    }

    pub fn recommend_for_user(&self, request: &UserRequest) -> Answer {
        aisle_models::recommend_for_user(self.models(), &self.live, request)
    }

    pub fn recommend_for_session(&self, request: &SessionRequest) -> Answer {
        aisle_models::recommend_for_session(self.models(), &self.live, request)
    }

    pub fn similar_items(&self, request: &ItemRequest) -> Answer {
        aisle_models::similar_items(self.models(), &self.live, request)
    }

    pub fn cross_sell(&self, request: &CartRequest) -> Answer {
        aisle_models::cross_sell(self.models(), &self.live, request)
    }

    pub fn upsell(&self, request: &ItemRequest) -> Answer {
        aisle_models::upsell(self.models(), &self.live, request)
    }

    pub fn buy_again(&self, request: &ReorderRequest) -> Answer {
        aisle_models::buy_again(self.models(), &self.live, request)
    }

    pub fn rank_items(&self, request: &UserRequest, items: &[u32]) -> Answer {
        aisle_models::rank_items(self.models(), &self.live, request, items)
    }
}

/// Item rows of an answer, best first.
pub fn items_of(answer: &Answer) -> Vec<u32> {
    answer.items.iter().map(|ranked| ranked.item).collect()
}

/// Item rows of an answer with their scores, best first.
pub fn scored_items_of(answer: &Answer) -> Vec<(u32, f32)> {
    let scored = answer
        .items
        .iter()
        .map(|ranked| (ranked.item, ranked.score));
    scored.collect()
}

pub fn user_request(user: u32, k: usize) -> UserRequest {
    UserRequest {
        user: Some(user),
        k,
        ..UserRequest::default()
    }
}

pub fn item_request(item: u32, k: usize) -> ItemRequest {
    ItemRequest {
        item,
        k,
        ..ItemRequest::default()
    }
}

pub fn cart_request(cart: &[u32], k: usize) -> CartRequest {
    CartRequest {
        cart: cart.to_vec(),
        k,
        ..CartRequest::default()
    }
}

pub fn session_request(clicks: &[u32], k: usize) -> SessionRequest {
    SessionRequest {
        clicks: clicks.to_vec(),
        k,
        ..SessionRequest::default()
    }
}

pub fn reorder_request(user: u32, k: usize) -> ReorderRequest {
    ReorderRequest {
        user: Some(user),
        k,
        ..ReorderRequest::default()
    }
}
