//! HTTP/2 in and out: connections, the admission of requests, and the writing of responses.
//!
//! In: a listening socket, and a service that answers HTTP requests. Out: its responses, or a
//! refusal where there is no room or no time. It knows paths of calls and no recommendation.
//!
//! - `connection.rs`: accepts, serves and ends connections.
//! - `activity.rs`: what happens on a connection, and whether it may stay.
//! - `admission.rs`: how many requests are admitted, and how long they may take.
//! - `deadline.rs`: reads the deadline of a request.
//! - `write_coalescing.rs`: responses that are ready together leave in one write.
//!
//! What may be changed here: the limits, which are constants with their reasons beside them.

pub mod activity;
pub mod admission;
pub mod connection;
mod deadline;
mod write_coalescing;
