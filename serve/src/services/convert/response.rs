//! Encodes answers. Most of an item's bytes were encoded when its version was loaded.

use crate::services::convert::request::RequestConverter;
use crate::versions::{CachedPrice, RoutedVersion};
use aisle_models::{Answer, AttributeDelta, CandidateSource, FittedModels, RankedItem, Reason};
use aisle_proto::{self as proto, Money, RecommendResponse, RecommendedItem, ServingInfo};
use metrics::counter;
use prost::Message;
use prost::encoding::{self, WireType};
use proto::reason::Kind;

/// About how many bytes an item of an answer takes, and the rest of the answer.
const ITEM_BYTES: usize = 192;
const SERVING_BYTES: usize = 256;

/// An encoded `RecommendResponse` or `RecommendPageResponse`.
#[derive(Clone, Debug, Default)]
pub struct EncodedResponse {
    /// The encoded message.
    pub bytes: Vec<u8>,
    /// The rows of the items of a `RecommendResponse`.
    pub items: Vec<u32>,
}

/// Encodes the answer to the request that `converter` converted.
pub fn encode_answer(
    routed: &RoutedVersion,
    converter: RequestConverter,
    answer: &Answer,
) -> EncodedResponse {
    let encoder = ItemEncoder {
        routed,
        models: routed.models(),
        omit_reasons: converter.options().omit_reasons,
    };
    let mut bytes = Vec::with_capacity(answer.items.len() * ITEM_BYTES + SERVING_BYTES);
    for (ranked, rank) in answer.items.iter().zip(1..) {
        encoder.encode(ranked, rank, &mut bytes);
    }
    let known_user = converter.user().is_some();
    let serving = serving_info(
        routed,
        answer,
        known_user,
        converter.into_unknown_item_ids(),
    );
    let rest = RecommendResponse {
        items: Vec::new(),
        serving: Some(serving),
    };
    // A message is the concatenation of its parts.
    rest.encode_raw(&mut bytes);
    let fallback = match answer.fallback_reason {
        Some(_) => "yes",
        None => "no",
    };
    let source = answer.source.name();
    counter!("aisle_answers_total", "source" => source, "fallback" => fallback).increment(1);
    EncodedResponse {
        bytes,
        items: answer.items.iter().map(|ranked| ranked.item).collect(),
    }
}

/// Encodes the answers to the slots of a page, each with the name of its slot.
pub fn encode_page(slots: &[(&str, EncodedResponse)]) -> EncodedResponse {
    // Field numbers of RecommendPageResponse and RecommendPageResponse.Slot.
    const SLOTS: u32 = 1;
    const PLACEMENT: u32 = 1;
    const ANSWER: u32 = 2;
    let mut bytes = Vec::new();
    for (placement, answer) in slots {
        let mut slot = Vec::with_capacity(answer.bytes.len() + placement.len() + 16);
        encoding::string::encode(PLACEMENT, &placement.to_string(), &mut slot);
        encode_bytes(ANSWER, &[&answer.bytes], &mut slot);
        encode_bytes(SLOTS, &[&slot], &mut bytes);
    }
    EncodedResponse {
        bytes,
        items: Vec::new(),
    }
}

/// Encodes a message field whose encoded value is the concatenation of `parts`.
fn encode_bytes(field: u32, parts: &[&[u8]], into: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    encoding::encode_key(field, WireType::LengthDelimited, into);
    encoding::encode_varint(length as u64, into);
    for part in parts {
        into.extend_from_slice(part);
    }
}

/// Encodes the items of one answer.
struct ItemEncoder<'a> {
    routed: &'a RoutedVersion,
    models: &'a FittedModels,
    omit_reasons: bool,
}

impl ItemEncoder<'_> {
    /// Appends an item as field `items` of a `RecommendResponse`.
    fn encode(&self, ranked: &RankedItem, rank: u32, into: &mut Vec<u8>) {
        const ITEMS: u32 = 1;
        let changed_price = self.routed.live.catalog.changed_price(ranked.item);
        let cached_price = match changed_price {
            Some(_) => CachedPrice::LeaveOut,
            None => CachedPrice::Include,
        };
        let item_cache = self.routed.version.item_cache();
        let cached = item_cache.get(ranked.item, cached_price);
        let rest = self.request_dependent_fields(ranked, rank, changed_price);
        encoding::encode_key(ITEMS, WireType::LengthDelimited, into);
        encoding::encode_varint((cached.len() + rest.encoded_len()) as u64, into);
        into.extend_from_slice(cached);
        rest.encode_raw(into);
    }

    /// The fields of an item that the cache does not hold.
    fn request_dependent_fields(
        &self,
        ranked: &RankedItem,
        rank: u32,
        changed_price: Option<f32>,
    ) -> RecommendedItem {
        let currency = || self.models.catalog.currency.get(ranked.item);
        let money = |amount: f32| Money::from_price((amount * 1e4).round() / 1e4, currency());
        let step = ranked.reasons.iter().find_map(|reason| match reason {
            Reason::SteppedUp(step) => Some(step),
            _ => None,
        });
        let (reasons, attribute_deltas) = if self.omit_reasons {
            (Vec::new(), Vec::new())
        } else {
            let deltas = step
                .map(|step| aisle_models::attribute_deltas(self.models, step.item, ranked.item));
            let reasons = ranked.reasons.iter();
            (
                reasons.map(|reason| self.reason(reason)).collect(),
                deltas.unwrap_or_default(),
            )
        };
        RecommendedItem {
            rank,
            score: ranked.score,
            source: source_to_proto(ranked.source).into(),
            reasons,
            price: changed_price.map(|price| Money::from_price(price, currency())),
            price_delta: step.map(|step| money(step.price_delta)),
            price_ratio: step.map_or(0.0, |step| step.price_ratio),
            expected_value: step.map(|step| money(ranked.score * step.price_delta)),
            attribute_deltas: attribute_deltas
                .into_iter()
                .map(|AttributeDelta { name, from, to }| proto::AttributeDelta { name, from, to })
                .collect(),
            substitute_score: ranked.substitute,
            ..Default::default()
        }
    }

    fn reason(&self, reason: &Reason) -> proto::Reason {
        let mut converted = proto::Reason {
            text: reason.text(self.models),
            ..proto::Reason::default()
        };
        let (kind, item) = match *reason {
            Reason::BecauseOf { item } => (Kind::BecauseOf, Some(item)),
            Reason::Like { item, .. } => (Kind::Similar, Some(item)),
            Reason::BoughtTogether(pair) => {
                (converted.count, converted.lift) = (pair.orders, pair.lift);
                (Kind::BoughtTogether, Some(pair.item))
            }
            Reason::BoughtBefore { orders, days } => {
                (converted.count, converted.days_ago) = (orders, days);
                (Kind::BoughtBefore, None)
            }
            Reason::Due {
                orders,
                days,
                due_in,
            } => {
                (converted.count, converted.days_ago) = (orders, days);
                converted.due_in_days = due_in;
                (Kind::Due, None)
            }
            Reason::SteppedUp(step) => {
                converted.count = step.shoppers;
                (Kind::SteppedUp, Some(step.item))
            }
            Reason::InVisits { visits } => {
                converted.count = visits;
                (Kind::InVisits, None)
            }
            Reason::PopularHere { ref place, lift } => {
                (converted.context, converted.lift) = (place.clone(), lift);
                (Kind::PopularHere, None)
            }
            Reason::BestSeller => (Kind::BestSeller, None),
        };
        converted.kind = kind.into();
        let id = item.map(|item| self.models.items.id(item).to_string());
        converted.item_ids = id.into_iter().collect();
        converted
    }
}

fn source_to_proto(source: CandidateSource) -> proto::CandidateSource {
    match source {
        CandidateSource::Personal => proto::CandidateSource::Personal,
        CandidateSource::Similar => proto::CandidateSource::Similar,
        CandidateSource::CrossSell => proto::CandidateSource::CrossSell,
        CandidateSource::Upsell => proto::CandidateSource::Upsell,
        CandidateSource::Popular => proto::CandidateSource::Popular,
        CandidateSource::Session => proto::CandidateSource::Session,
        CandidateSource::BuyAgain => proto::CandidateSource::BuyAgain,
        CandidateSource::Pinned => proto::CandidateSource::Pinned,
    }
}

fn serving_info(
    routed: &RoutedVersion,
    answer: &Answer,
    known_user: bool,
    unknown_item_ids: Vec<String>,
) -> ServingInfo {
    let version = routed.version.version();
    ServingInfo {
        model: version.manifest.model.clone(),
        model_version: version.name.clone(),
        alias: routed.alias.clone(),
        eligible_count: answer.eligible as u32,
        unknown_item_ids,
        known_user,
        source: source_to_proto(answer.source).into(),
        fallback_reason: answer.fallback_reason.unwrap_or_default().to_string(),
        applied_rules: answer.rules.names().map(str::to_string).collect(),
        rules_revision: answer.rules.set.revision,
    }
}
