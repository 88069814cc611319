//! From an answer to a response.

use crate::live::Chosen;
use aisle_models::{Answer, Bundle, Reason, Rung};
use aisle_proto::{self as proto, Money, RecommendResponse, RecommendedItem, ServingInfo, reason::Kind};
use metrics::counter;

fn rung(rung: Rung) -> proto::Rung {
    match rung {
        Rung::Personal => proto::Rung::Personal,
        Rung::Similar => proto::Rung::Similar,
        Rung::CrossSell => proto::Rung::CrossSell,
        Rung::Upsell => proto::Rung::Upsell,
        Rung::Popular => proto::Rung::Popular,
    }
}

fn reason(bundle: &Bundle, reason: &Reason) -> proto::Reason {
    let (kind, item, count, lift) = match reason {
        Reason::BecauseOf { item } => (Kind::BecauseOf, Some(*item), 0, 0.0),
        Reason::Like { item, .. } => (Kind::Similar, Some(*item), 0, 0.0),
        Reason::BoughtTogether(pair) => (Kind::BoughtTogether, Some(pair.item), pair.orders, pair.lift),
        Reason::SteppedUp { item, shoppers, .. } => (Kind::SteppedUp, Some(*item), *shoppers, 0.0),
        Reason::BestSeller => (Kind::BestSeller, None, 0, 0.0),
    };
    proto::Reason {
        kind: kind.into(),
        item_ids: item.map(|item| bundle.items.id(item).to_string()).into_iter().collect(),
        count,
        lift,
        text: reason.words(bundle),
    }
}

/// The response to a question. `known_user` tells whether the version knows the shopper.
pub fn respond(chosen: &Chosen, answer: &Answer, unknown_item_ids: Vec<String>, known_user: bool) -> RecommendResponse {
    let bundle = &chosen.bundle;
    let catalog = &bundle.catalog;
    let items = answer
        .items
        .iter()
        .zip(1..)
        .map(|(ranked, rank)| {
            let price = catalog.price[ranked.item as usize];
            let currency = catalog.currency.get(ranked.item);
            let price_delta = ranked.reasons.iter().find_map(|reason| match reason {
                Reason::SteppedUp { price_delta, .. } => Some(Money::from_price((price_delta * 1e4).round() / 1e4, currency)),
                _ => None,
            });
            RecommendedItem {
                item_id: bundle.items.id(ranked.item).to_string(),
                rank,
                score: ranked.score,
                source: rung(ranked.source).into(),
                reasons: ranked.reasons.iter().map(|why| reason(bundle, why)).collect(),
                title: catalog.title.get(ranked.item).unwrap_or_default().to_string(),
                category: catalog.category.get(ranked.item).unwrap_or_default().to_string(),
                price: (!price.is_nan()).then(|| Money::from_price(price, currency)),
                price_delta,
            }
        })
        .collect();
    counter!("aisle_answers_total", "rung" => answer.rung.name(), "fallback" => if answer.fallback.is_some() { "yes" } else { "no" }).increment(1);
    let serving = ServingInfo {
        model: bundle.manifest.model.clone(),
        model_version: bundle.version.clone(),
        alias: chosen.alias.clone(),
        eligible_count: answer.eligible as u32,
        unknown_item_ids,
        known_user,
        rung: rung(answer.rung).into(),
        fallback_reason: answer.fallback.unwrap_or_default().to_string(),
    };
    RecommendResponse { items, serving: Some(serving) }
}
