//! The calls that are measured, and questions for them.

use aisle_benches::Draw;
use aisle_models::Registry;
use aisle_proto::{CrossSellRequest, Filter, Money, RecommendForUserRequest, SimilarItemsRequest, UpsellRequest};
use anyhow::{Context, Result};
use bytes::Bytes;
use prost::Message;
use std::path::Path;
use tonic::codegen::http::uri::PathAndQuery;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A health check: what the same server takes for a call without work.
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
    /// Those that recommend.
    pub const ASKED: [Call; 4] = [Call::User, Call::Cart, Call::Upsell, Call::Similar];
    /// All, the empty one first.
    pub const ALL: [Call; 5] = [Call::Empty, Call::User, Call::Cart, Call::Upsell, Call::Similar];

    /// Those of some names; all that are not empty for none.
    pub fn chosen(names: &[String]) -> Vec<Call> {
        Self::ASKED.into_iter().filter(|call| names.is_empty() || names.iter().any(|name| name == call.name())).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Call::Empty => "empty",
            Call::User => "RecommendForUser",
            Call::Cart => "CrossSell",
            Call::Upsell => "Upsell",
            Call::Similar => "SimilarItems",
        }
    }

    /// Where it is called.
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

/// How many different questions each call asks.
const QUESTIONS: usize = 20_000;
/// Items of an answer.
pub const K: u32 = 20;

/// Encoded questions of each call.
pub struct Questions(Vec<Vec<Bytes>>);

impl Questions {
    /// Draws shoppers of the newest version, and items as they were sold: what sells is looked at. Answers leave out what was bought, what is
    /// dear, and one department.
    pub fn draw(registry: &Path, model: &str, omit_reasons: bool) -> Result<Self> {
        let registry = Registry::new(registry);
        let versions = registry.version_names(model)?;
        let newest = versions.last().with_context(|| format!("the model {model} has no version"))?;
        let bundle = registry.load(model, newest)?;
        let draw = Draw::new(&bundle);
        let dear = draw.dear().map(|(price, item)| Money::from_price(price, bundle.catalog.currency.get(item)));
        let filter = |at: usize| Filter {
            exclude_categories: draw.department(at).map(str::to_string).into_iter().collect(),
            max_price: dear.clone(),
            ..Filter::default()
        };
        let id = |item: u32| bundle.items.id(item).to_string();
        let item = |at: usize| id(draw.item(at));
        let user = |at: usize| bundle.users.id(draw.user(at)).to_string();
        let cart = |at: usize| draw.cart(at).into_iter().map(id).collect::<Vec<_>>();
        let all = |encode: &dyn Fn(usize) -> Vec<u8>| (0..QUESTIONS).map(|at| Bytes::from(encode(at))).collect::<Vec<_>>();
        Ok(Self(vec![
            vec![Bytes::new()],
            all(&|at| {
                RecommendForUserRequest {
                    user_id: user(at),
                    page_size: K,
                    filter: Some(filter(at)),
                    exclude_purchased: true,
                    omit_reasons,
                    ..Default::default()
                }
                .encode_to_vec()
            }),
            all(&|at| {
                CrossSellRequest {
                    cart_item_ids: cart(at),
                    page_size: K,
                    filter: Some(filter(at)),
                    omit_reasons,
                    ..Default::default()
                }
                .encode_to_vec()
            }),
            all(&|at| UpsellRequest { item_id: item(at), page_size: K, omit_reasons, ..Default::default() }.encode_to_vec()),
            all(&|at| {
                SimilarItemsRequest {
                    item_id: item(at),
                    page_size: K,
                    filter: Some(filter(at)),
                    omit_reasons,
                    ..Default::default()
                }
                .encode_to_vec()
            }),
        ]))
    }

    /// One of the questions of a call.
    pub fn get(&self, call: Call, at: usize) -> Bytes {
        let all = &self.0[Call::ALL.iter().position(|&other| other == call).unwrap_or_default()];
        all[at % all.len()].clone()
    }
}
