//! The calls that are measured, and encoded requests for them.

use aisle_benches::Workload;
use aisle_models::{FittedModels, Registry};
use aisle_proto::{
    CrossSellRequest, Filter, Money, RecommendForUserRequest, RequestOptions, SimilarItemsRequest,
    UpsellRequest,
};
use anyhow::{Context, Result};
use bytes::Bytes;
use prost::Message;
use std::path::Path;
use tonic::codegen::http::uri::PathAndQuery;

/// A call that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A health check: what the same server needs for a call without work.
    Empty,
    /// RecommendForUser.
    User,
    /// CrossSell.
    Cart,
    /// Upsell.
    Upsell,
    /// SimilarItems.
    Similar,
}

impl Call {
    /// The calls that recommend something.
    pub const RECOMMENDING: [Call; 4] = [Call::User, Call::Cart, Call::Upsell, Call::Similar];

    /// The recommending calls of some names; all of them if no name is given.
    pub fn named(names: &[String]) -> Vec<Call> {
        let is_named =
            |call: &Call| names.is_empty() || names.iter().any(|name| name == call.name());
        Self::RECOMMENDING.into_iter().filter(is_named).collect()
    }

    /// The name of the call in the gRPC contract, or `empty`.
    pub fn name(self) -> &'static str {
        match self {
            Call::Empty => "empty",
            Call::User => "RecommendForUser",
            Call::Cart => "CrossSell",
            Call::Upsell => "Upsell",
            Call::Similar => "SimilarItems",
        }
    }

    /// The HTTP path of the call.
    pub fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Call::Empty => "/grpc.health.v1.Health/Check",
            Call::User => "/aisle.v1.RecommendationService/RecommendForUser",
            Call::Cart => "/aisle.v1.RecommendationService/CrossSell",
            Call::Upsell => "/aisle.v1.RecommendationService/Upsell",
            Call::Similar => "/aisle.v1.RecommendationService/SimilarItems",
        })
    }
}

/// Different requests that are made of each call.
const REQUESTS: usize = 20_000;
/// Items that each request asks for.
pub const PAGE_SIZE: u32 = 20;

/// Encoded requests of each call.
pub struct Requests {
    user: Vec<Bytes>,
    cart: Vec<Bytes>,
    upsell: Vec<Bytes>,
    similar: Vec<Bytes>,
}

/// Makes requests of one set of models.
struct RequestMaker<'a> {
    models: &'a FittedModels,
    workload: Workload<'a>,
    omit_reasons: bool,
}

impl RequestMaker<'_> {
    fn item_id(&self, item: u32) -> String {
        self.models.items.id(item).to_string()
    }

    fn options(&self) -> RequestOptions {
        let omit_reasons = self.omit_reasons;
        RequestOptions {
            page_size: PAGE_SIZE,
            omit_reasons,
            ..RequestOptions::default()
        }
    }

    /// Options with a filter: no item of one department, and none that is expensive.
    fn filtered(&self, at: usize) -> RequestOptions {
        let max_price = self
            .workload
            .high_price()
            .map(|high| Money::from_price(high.price, self.models.catalog.currency.get(high.item)));
        let department = self.workload.department(at).map(str::to_string);
        let exclude_categories = department.into_iter().collect();
        let filter = Filter {
            exclude_categories,
            max_price,
            ..Filter::default()
        };
        RequestOptions {
            filter: Some(filter),
            ..self.options()
        }
    }

    fn user(&self, at: usize) -> RecommendForUserRequest {
        let user_id = self.models.users.id(self.workload.user(at)).to_string();
        RecommendForUserRequest {
            options: Some(RequestOptions {
                user_id,
                ..self.filtered(at)
            }),
            exclude_purchased: true,
            ..Default::default()
        }
    }

    fn cart(&self, at: usize) -> CrossSellRequest {
        let cart = self.workload.cart(at).into_iter();
        CrossSellRequest {
            options: Some(self.filtered(at)),
            cart_item_ids: cart.map(|item| self.item_id(item)).collect(),
            ..Default::default()
        }
    }

    fn upsell(&self, at: usize) -> UpsellRequest {
        UpsellRequest {
            options: Some(self.options()),
            item_id: self.item_id(self.workload.item(at)),
            ..Default::default()
        }
    }

    fn similar(&self, at: usize) -> SimilarItemsRequest {
        SimilarItemsRequest {
            options: Some(self.filtered(at)),
            item_id: self.item_id(self.workload.item(at)),
            ..Default::default()
        }
    }
}

fn encoded<M: Message>(make: impl Fn(usize) -> M) -> Vec<Bytes> {
    (0..REQUESTS)
        .map(|at| Bytes::from(make(at).encode_to_vec()))
        .collect()
}

impl Requests {
    /// Draws shoppers and items of a model's newest version.
    pub fn draw(registry: &Path, model: &str, omit_reasons: bool) -> Result<Self> {
        let registry = Registry::new(registry);
        let versions = registry.version_names(model)?;
        let newest = versions
            .last()
            .with_context(|| format!("model '{model}' has no version"))?;
        let models = registry.load(model, newest)?.models;
        let make = RequestMaker {
            models: &models,
            workload: Workload::new(&models),
            omit_reasons,
        };
        Ok(Self {
            user: encoded(|at| make.user(at)),
            cart: encoded(|at| make.cart(at)),
            upsell: encoded(|at| make.upsell(at)),
            similar: encoded(|at| make.similar(at)),
        })
    }

    /// One of the requests of a call.
    pub fn get(&self, call: Call, at: usize) -> Bytes {
        let requests = match call {
            Call::Empty => return Bytes::new(),
            Call::User => &self.user,
            Call::Cart => &self.cart,
            Call::Upsell => &self.upsell,
            Call::Similar => &self.similar,
        };
        requests[at % requests.len()].clone()
    }
}
