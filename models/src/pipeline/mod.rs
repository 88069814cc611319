//! From a request to an answer.
//!
//! In: [`FittedModels`](crate::FittedModels), a [`LiveState`](live_state::LiveState) and a request
//! (`request.rs`). Out: an [`Answer`](response::Answer). The steps, each a function of these three
//! and nothing else:
//!
//! 1. `filter.rs`: the eligible items, by stock, filter, exclusions and rules. No later step widens
//!    them.
//! 2. `calls/`: candidates, one file a call.
//! 3. `fallback.rs`: what candidates leave of `k` is filled with best sellers.
//! 4. `rerank.rs`: boosts, pins, limits, diversity and rotation, where rules or the request ask for
//!    them.
//!
//! A new call is a request struct, a file of `calls/` and a
//! [`CandidateSource`](response::CandidateSource).

pub mod calls;
pub(crate) mod fallback;
pub(crate) mod filter;
pub mod live_catalog;
pub mod live_state;
pub mod request;
pub(crate) mod rerank;
pub mod response;
pub mod rules;
