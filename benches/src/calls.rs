//! The calls that are measured, and questions for them.

use aisle_models::{Bundle, Registry};
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

/// Steps through rows without an order.
fn spread(at: usize, rows: usize) -> u32 {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows.max(1) as u64) as u32
}

impl Questions {
    /// Draws shoppers of the newest version, and items as they were sold: what sells is looked at. Answers leave out what was bought, what is
    /// dear, and one department.
    pub fn draw(registry: &Path, model: &str, omit_reasons: bool) -> Result<Self> {
        let registry = Registry::new(registry);
        let versions = registry.version_names(model)?;
        let newest = versions.last().with_context(|| format!("the model {model} has no version"))?;
        let bundle = registry.load(model, newest)?;
        let departments: Vec<String> = {
            let paths = (0..bundle.items.len() as u32).filter_map(|item| bundle.catalog.category.get(item));
            let mut names: Vec<String> = paths.map(|path| aisle_data::cut(path, 1).to_string()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let mut prices: Vec<(f32, u32)> =
            (0..).zip(&bundle.catalog.price).filter(|(_, price)| price.is_finite()).map(|(item, &price)| (price, item)).collect();
        prices.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let dear =
            prices.get(prices.len() * 9 / 10).map(|&(price, item)| Money::from_price(price, bundle.catalog.currency.get(item)));
        let filter = |at: usize| Filter {
            exclude_categories: departments.get(at % departments.len().max(1)).cloned().into_iter().collect(),
            max_price: dear.clone(),
            ..Filter::default()
        };
        let sold: Vec<u32> = (0..bundle.users.len() as u32).flat_map(|user| bundle.history(user).0).copied().collect();
        let item = |at: usize| bundle.items.id(sold[spread(at, sold.len()) as usize]).to_string();
        let user = |at: usize| bundle.users.id(spread(at, bundle.users.len())).to_string();
        let cart = |bundle: &Bundle, at: usize| {
            let (history, _) = bundle.history(spread(at, bundle.users.len()));
            history.iter().take(3).map(|&item| bundle.items.id(item).to_string()).collect::<Vec<_>>()
        };
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
                CrossSellRequest { cart_item_ids: cart(&bundle, at), page_size: K, filter: Some(filter(at)), ..Default::default() }
                    .encode_to_vec()
            }),
            all(&|at| UpsellRequest { item_id: item(at), page_size: K, ..Default::default() }.encode_to_vec()),
            all(&|at| {
                SimilarItemsRequest { item_id: item(at), page_size: K, filter: Some(filter(at)), ..Default::default() }
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
