//! The calls of `RecommendationService`: each converts its request, lets `aisle-models` answer, and
//! encodes the answer. A new call is an implementation of [`Call`] and a line in [`CALLS`] and in
//! `recommendation.rs`.

use crate::error::ServeError;
use crate::services::convert::check_entries;
use crate::services::convert::filter::require_spend_gap;
use crate::services::convert::request::{Purchased, RequestConverter, horizon_days};
use crate::services::convert::response::{EncodedResponse, encode_answer, encode_page};
use crate::versions::RoutedVersion;
use aisle_models::{
    Answer, CandidateSource, CartRequest, ItemRequest, ReorderRequest, RepeatPolicy,
    SessionRequest, UserRequest,
};
use aisle_proto::{
    BuyAgainRequest, CrossSellRequest, PageSlot, RankItemsRequest, RecommendForSessionRequest,
    RecommendForUserRequest, RecommendPageRequest, RequestOptions, SimilarItemsRequest,
    UpsellRequest, page_slot,
};
use prost::Message;

/// The most slots of a page.
const MAX_SLOTS: usize = 20;

/// The names of all calls.
pub const CALLS: [&str; 8] = [
    RecommendForUserRequest::NAME,
    SimilarItemsRequest::NAME,
    CrossSellRequest::NAME,
    UpsellRequest::NAME,
    RankItemsRequest::NAME,
    RecommendForSessionRequest::NAME,
    BuyAgainRequest::NAME,
    RecommendPageRequest::NAME,
];

/// A request of `RecommendationService`.
pub trait Call: Message + Default + Send + 'static {
    /// The name of the call.
    const NAME: &'static str;

    /// The options that all calls share.
    fn options(&self) -> Option<&RequestOptions>;

    /// Answers the request by one version.
    ///
    /// # Errors
    /// [`ServeError::Invalid`] names the field that cannot be used.
    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError>;
}

/// What a request is answered with, beside its own fields.
pub struct CallInput<'a> {
    /// The version that answers.
    pub routed: &'a RoutedVersion,
    /// The options of the request.
    pub options: &'a RequestOptions,
    /// Whether there is only time for best sellers.
    pub popular_only: bool,
    /// The rows of items that earlier slots of the page hold.
    pub taken: &'a [u32],
}

impl<'a> CallInput<'a> {
    fn converter(&self) -> RequestConverter<'a> {
        RequestConverter::new(self.routed, self.options, self.taken)
    }

    fn encode(&self, converter: RequestConverter, answer: &Answer) -> EncodedResponse {
        encode_answer(self.routed, converter, answer)
    }
}

impl Call for RecommendForUserRequest {
    const NAME: &'static str = "RecommendForUser";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let request = UserRequest {
            user: converter.user(),
            recent: converter.history(&self.history)?,
            k: converter.page_size()?,
            filter: converter.filter()?,
            exclude_purchased: self.exclude_purchased,
            popular_only: input.popular_only,
            context: converter.context()?,
        };
        let answer = aisle_models::recommend_for_user(routed.models(), &routed.live, &request);
        Ok(input.encode(converter, &answer))
    }
}

impl Call for SimilarItemsRequest {
    const NAME: &'static str = "SimilarItems";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let item = converter.item("item_id", &self.item_id)?;
        let request = ItemRequest {
            item: item.unwrap_or_default(),
            k: converter.page_size()?,
            filter: converter.filter_purchased(Purchased::excluded(self.exclude_purchased))?,
            user: converter.user(),
            popular_only: input.popular_only,
            context: converter.context()?,
            ..ItemRequest::default()
        };
        let answer = match item {
            Some(_) => aisle_models::similar_items(routed.models(), &routed.live, &request),
            None => Answer::empty(CandidateSource::Similar),
        };
        Ok(input.encode(converter, &answer))
    }
}

impl Call for CrossSellRequest {
    const NAME: &'static str = "CrossSell";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let cart = converter.items("cart_item_ids", &self.cart_item_ids)?;
        let mut filter = converter.filter_purchased(Purchased::excluded(self.exclude_purchased))?;
        if let Some(gap) = &self.spend_gap {
            require_spend_gap(&mut filter, gap)?;
        }
        let request = CartRequest {
            cart,
            k: converter.page_size()?,
            filter,
            same_category: self.include_cart_categories,
            only_with_evidence: self.spend_gap.is_some(),
            user: converter.user(),
            now: converter.time_in_days(self.request_time.as_ref())?,
            exclude_purchased: self.exclude_purchased,
            popular_only: input.popular_only,
            context: converter.context()?,
        };
        let answer = aisle_models::cross_sell(routed.models(), &routed.live, &request);
        Ok(input.encode(converter, &answer))
    }
}

impl Call for UpsellRequest {
    const NAME: &'static str = "Upsell";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let item = converter.item("item_id", &self.item_id)?;
        let request = ItemRequest {
            item: item.unwrap_or_default(),
            k: converter.page_size()?,
            filter: converter.filter_purchased(Purchased::excluded(self.exclude_purchased))?,
            band: converter.price_band(self.min_price_ratio, self.max_price_ratio)?,
            user: converter.user(),
            now: converter.time_in_days(self.request_time.as_ref())?,
            // An upsell has no cheaper answer.
            popular_only: false,
            context: converter.context()?,
        };
        let answer = match item {
            Some(_) => aisle_models::upsell(routed.models(), &routed.live, &request),
            None => Answer::empty(CandidateSource::Upsell),
        };
        Ok(input.encode(converter, &answer))
    }
}

impl Call for RankItemsRequest {
    const NAME: &'static str = "RankItems";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let items = converter.items("item_ids", &self.item_ids)?;
        let request = UserRequest {
            user: converter.user(),
            recent: converter.history(&self.history)?,
            k: items.len(),
            filter: converter.filter_purchased(Purchased::excluded(self.exclude_purchased))?,
            context: converter.context()?,
            ..UserRequest::default()
        };
        let answer = aisle_models::rank_items(routed.models(), &routed.live, &request, &items);
        Ok(input.encode(converter, &answer))
    }
}

impl Call for RecommendForSessionRequest {
    const NAME: &'static str = "RecommendForSession";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        let repeats = if self.exclude_clicked {
            RepeatPolicy::None
        } else {
            RepeatPolicy::AllButLast
        };
        let request = SessionRequest {
            clicks: converter.items("clicked_item_ids", &self.clicked_item_ids)?,
            k: converter.page_size()?,
            filter: converter.filter_purchased(Purchased::excluded(self.exclude_purchased))?,
            repeats,
            user: converter.user(),
            popular_only: input.popular_only,
            context: converter.context()?,
        };
        let answer = aisle_models::recommend_for_session(routed.models(), &routed.live, &request);
        Ok(input.encode(converter, &answer))
    }
}

impl Call for BuyAgainRequest {
    const NAME: &'static str = "BuyAgain";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        let routed = input.routed;
        let mut converter = input.converter();
        converter.require_user_id()?;
        let request = ReorderRequest {
            user: converter.user(),
            k: converter.page_size()?,
            filter: converter.filter()?,
            now: converter.time_in_days(self.request_time.as_ref())?,
            days: horizon_days(self.horizon_days)?,
            context: converter.context()?,
        };
        let answer = aisle_models::buy_again(routed.models(), &routed.live, &request);
        Ok(input.encode(converter, &answer))
    }
}

impl Call for RecommendPageRequest {
    const NAME: &'static str = "RecommendPage";

    fn options(&self) -> Option<&RequestOptions> {
        self.options.as_ref()
    }

    fn answer(&self, input: &CallInput) -> Result<EncodedResponse, ServeError> {
        check_entries("slots", self.slots.len(), MAX_SLOTS)?;
        let mut taken: Vec<u32> = Vec::new();
        let mut slots = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let answer = answer_slot(slot, input, &taken)?;
            taken.extend_from_slice(&answer.items);
            slots.push((slot.placement.as_str(), answer));
        }
        Ok(encode_page(&slots))
    }
}

fn answer_slot(
    slot: &PageSlot,
    page: &CallInput,
    taken: &[u32],
) -> Result<EncodedResponse, ServeError> {
    match &slot.call {
        Some(page_slot::Call::ForUser(call)) => answer_call(call, page, taken),
        Some(page_slot::Call::SimilarItems(call)) => answer_call(call, page, taken),
        Some(page_slot::Call::CrossSell(call)) => answer_call(call, page, taken),
        Some(page_slot::Call::Upsell(call)) => answer_call(call, page, taken),
        Some(page_slot::Call::ForSession(call)) => answer_call(call, page, taken),
        Some(page_slot::Call::BuyAgain(call)) => answer_call(call, page, taken),
        None => Err(ServeError::Invalid {
            field: "slots.call",
            what: format!("none for slot '{}': expected one", slot.placement),
        }),
    }
}

/// Answers the call of a slot by the version of the page, without the items of earlier slots.
fn answer_call(
    call: &impl Call,
    page: &CallInput,
    taken: &[u32],
) -> Result<EncodedResponse, ServeError> {
    let defaults = RequestOptions::default();
    call.answer(&CallInput {
        routed: page.routed,
        options: call.options().unwrap_or(&defaults),
        popular_only: page.popular_only,
        taken,
    })
}
