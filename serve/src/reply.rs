//! From an answer to a response.

use crate::live::Chosen;
use aisle_models::{Answer, Bundle, Reason, Rung};
use aisle_proto::{self as proto, Money, RecommendResponse, RecommendedItem, ServingInfo, reason::Kind};
use bytes::{Buf, BufMut};
use metrics::counter;
use prost::Message;
use prost::encoding::{self, DecodeContext, WireType};

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

/// A `RecommendResponse`, encoded.
#[derive(Clone, Debug, Default)]
pub struct Encoded(Vec<u8>);

/// As tonic wants its messages. Only ever sent.
impl Message for Encoded {
    fn encode_raw(&self, to: &mut impl BufMut) {
        to.put_slice(&self.0);
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
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// The response to a question. `known_user` tells whether the version knows the shopper.
pub fn respond(chosen: &Chosen, answer: &Answer, unknown_item_ids: Vec<String>, known_user: bool) -> Encoded {
    let bundle = &chosen.version.bundle;
    let shelf = bundle.shelf();
    let mut bytes = Vec::with_capacity(answer.items.len() * 192 + 256);
    for (ranked, rank) in answer.items.iter().zip(1..) {
        let currency = || bundle.catalog.currency.get(ranked.item);
        let price_delta = ranked.reasons.iter().find_map(|reason| match reason {
            Reason::SteppedUp { price_delta, .. } => Some(Money::from_price((price_delta * 1e4).round() / 1e4, currency())),
            _ => None,
        });
        // A message is the sum of its parts: the card says what does not depend on the request.
        let new_price = shelf.new_price(ranked.item);
        let card = chosen.version.cards.get(ranked.item, new_price.is_none());
        let rest = RecommendedItem {
            rank,
            score: ranked.score,
            source: rung(ranked.source).into(),
            reasons: ranked.reasons.iter().map(|why| reason(bundle, why)).collect(),
            price: new_price.map(|price| Money::from_price(price, currency())),
            price_delta,
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
        unknown_item_ids,
        known_user,
        rung: rung(answer.rung).into(),
        fallback_reason: answer.fallback.unwrap_or_default().to_string(),
    };
    RecommendResponse { items: Vec::new(), serving: Some(serving) }.encode_raw(&mut bytes);
    Encoded(bytes)
}
