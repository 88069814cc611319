//! From an answer to a response.

use crate::live::Chosen;
use aisle_models::{Answer, AttributeDelta, Bundle, Ranked, Reason, Rung};
use aisle_proto::{self as proto, Money, RecommendResponse, RecommendedItem, ServingInfo, reason::Kind};
use bytes::{Buf, BufMut};
use metrics::counter;
use prost::Message;
use prost::encoding::{self, DecodeContext, WireType};
use std::hint::black_box;

fn rung(rung: Rung) -> proto::Rung {
    match rung {
        Rung::Personal => proto::Rung::Personal,
        Rung::Similar => proto::Rung::Similar,
        Rung::CrossSell => proto::Rung::CrossSell,
        Rung::Upsell => proto::Rung::Upsell,
        Rung::Popular => proto::Rung::Popular,
        Rung::Session => proto::Rung::Session,
        Rung::BuyAgain => proto::Rung::BuyAgain,
        Rung::Pinned => proto::Rung::Pinned,
    }
}

fn reason(bundle: &Bundle, reason: &Reason) -> proto::Reason {
    let mut told = proto::Reason { text: reason.words(bundle), ..proto::Reason::default() };
    let (kind, item) = match *reason {
        Reason::BecauseOf { item } => (Kind::BecauseOf, Some(item)),
        Reason::Like { item, .. } => (Kind::Similar, Some(item)),
        Reason::BoughtTogether(pair) => {
            (told.count, told.lift) = (pair.orders, pair.lift);
            (Kind::BoughtTogether, Some(pair.item))
        }
        Reason::BoughtBefore { orders, days } => {
            (told.count, told.days_ago) = (orders, days);
            (Kind::BoughtBefore, None)
        }
        Reason::Due { orders, days, due_in } => {
            (told.count, told.days_ago, told.due_in_days) = (orders, days, due_in);
            (Kind::Due, None)
        }
        Reason::SteppedUp(step) => {
            told.count = step.shoppers;
            (Kind::SteppedUp, Some(step.item))
        }
        Reason::InVisits { visits } => {
            told.count = visits;
            (Kind::InVisits, None)
        }
        Reason::PopularHere { ref place, lift } => {
            (told.context, told.lift) = (place.clone(), lift);
            (Kind::PopularHere, None)
        }
        Reason::BestSeller => (Kind::BestSeller, None),
    };
    told.kind = kind.into();
    told.item_ids = item.map(|item| bundle.items.id(item).to_string()).into_iter().collect();
    told
}

/// A `RecommendResponse`, encoded.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// Rows of its items.
    pub items: Vec<u32>,
}

/// As tonic wants its messages. Only ever sent.
impl Message for Encoded {
    fn encode_raw(&self, to: &mut impl BufMut) {
        to.put_slice(&self.bytes);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        encoding::skip_field(wire_type, tag, from, context)
    }

    fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// The answers to several questions of a page, each with its placement.
pub fn page(slots: Vec<(String, Encoded)>) -> Encoded {
    let mut page = Encoded::default();
    for (placement, answer) in slots {
        // Slot: placement = 1, answer = 2; the page holds slots = 1.
        let mut slot = Vec::with_capacity(answer.bytes.len() + placement.len() + 16);
        encoding::string::encode(1, &placement, &mut slot);
        encoding::message::encode(2, &answer, &mut slot);
        encoding::encode_key(1, WireType::LengthDelimited, &mut page.bytes);
        encoding::encode_varint(slot.len() as u64, &mut page.bytes);
        page.bytes.extend_from_slice(&slot);
    }
    page
}

/// What a response says beside its answer.
pub struct About {
    /// Ids of the request that the version does not know.
    unknown: Vec<String>,
    /// Whether it knows the shopper.
    known_user: bool,
    /// Whether the caller does not want to know why.
    omit_reasons: bool,
}

impl About {
    /// Of a request for a shopper, if the version knows them.
    pub fn of(unknown: Vec<String>, user: Option<u32>, omit_reasons: bool) -> Self {
        Self { unknown, known_user: user.is_some(), omit_reasons }
    }
}

/// The response to a question.
pub fn respond(chosen: &Chosen, answer: &Answer, about: About) -> Encoded {
    let About { unknown, known_user, omit_reasons } = about;
    let bundle = &chosen.version.bundle;
    let shelf = bundle.shelf();
    let mut bytes = Vec::with_capacity(answer.items.len() * 192 + 256);
    let changed: Vec<Option<f32>> = answer.items.iter().map(|ranked| shelf.new_price(ranked.item)).collect();
    let card = |(ranked, changed): (&Ranked, &Option<f32>)| chosen.version.cards.get(ranked.item, changed.is_none());
    let cards: Vec<&[u8]> = answer.items.iter().zip(&changed).map(card).collect();
    // They lie anywhere in memory: all are waited for together, and not one after another.
    black_box(cards.iter().filter_map(|card| Some(card.first()? ^ card.last()?)).fold(0, |sum, byte| sum ^ byte));
    for (((ranked, new_price), card), rank) in answer.items.iter().zip(changed).zip(cards).zip(1..) {
        let currency = || bundle.catalog.currency.get(ranked.item);
        let money = |amount: f32| Money::from_price((amount * 1e4).round() / 1e4, currency());
        let step = ranked.reasons.iter().find_map(|reason| match reason {
            Reason::SteppedUp(step) => Some(step),
            _ => None,
        });
        let compared = step.filter(|_| !omit_reasons);
        let deltas = compared.map(|step| bundle.attribute_deltas(step.item, ranked.item)).unwrap_or_default();
        let told = if omit_reasons { &[][..] } else { &ranked.reasons };
        // A message is the sum of its parts: the card says what does not depend on the request.
        let rest = RecommendedItem {
            rank,
            score: ranked.score,
            source: rung(ranked.source).into(),
            reasons: told.iter().map(|why| reason(bundle, why)).collect(),
            price: new_price.map(|price| Money::from_price(price, currency())),
            price_delta: step.map(|step| money(step.price_delta)),
            price_ratio: step.map_or(0.0, |step| step.price_ratio),
            expected_value: step.map(|step| money(ranked.score * step.price_delta)),
            attribute_deltas: deltas
                .into_iter()
                .map(|AttributeDelta { name, from, to }| proto::AttributeDelta { name, from, to })
                .collect(),
            substitute_score: ranked.substitute,
            ..Default::default()
        };
        encoding::encode_key(1, WireType::LengthDelimited, &mut bytes);
        encoding::encode_varint((card.len() + rest.encoded_len()) as u64, &mut bytes);
        bytes.extend_from_slice(card);
        rest.encode_raw(&mut bytes);
    }
    counter!("aisle_answers_total", "rung" => answer.rung.name(), "fallback" => if answer.fallback.is_some() { "yes" } else { "no" }).increment(1);
    let serving = ServingInfo {
        model: bundle.manifest.model.clone(),
        model_version: bundle.version.clone(),
        alias: chosen.alias.clone(),
        eligible_count: answer.eligible as u32,
        unknown_item_ids: unknown,
        known_user,
        rung: rung(answer.rung).into(),
        fallback_reason: answer.fallback.unwrap_or_default().to_string(),
        applied_rules: answer.rules.names().map(str::to_string).collect(),
        rules_revision: answer.rules.set.revision,
    };
    RecommendResponse { items: Vec::new(), serving: Some(serving) }.encode_raw(&mut bytes);
    Encoded { bytes, items: answer.items.iter().map(|ranked| ranked.item).collect() }
}
