//! Deadlines, and more requests than a server can answer.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_serve::{Config, Server};
use common::{RawCall, SHOPPER, client, for_user, small_shop};
use std::time::{Duration, Instant};
use tonic::Code;
use tonic_types::StatusExt;

fn config() -> Config {
    Config::local(small_shop().folder.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_an_error_and_not_a_queue() {
    let config = Config {
        max_concurrent_requests: 1,
        ..config()
    };
    let server = Server::start(&config).await.unwrap();
    let client = client(&server).await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        let mut client = client.clone();
        let call = async move { client.recommend_for_user(for_user(SHOPPER, 1000)).await };
        calls.push(tokio::spawn(call));
    }
    let (mut answered, mut refusals) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => answered += 1,
            Err(refused) => {
                refusals += 1;
                assert_eq!(refused.code(), Code::ResourceExhausted);
                assert!(refused.get_error_details().retry_info().is_some());
            }
        }
    }
    assert!(
        answered > 0 && refusals > 0,
        "{answered} answered, {refusals} refused"
    );
    server.stop().await.unwrap();
}

/// An empty message with its frame.
const MESSAGE: &[u8] = &[0; 5];

/// A call with an empty message and this deadline. Returns its status and message.
async fn raw_call(server: &Server, grpc_timeout: Option<&str>) -> (String, String) {
    let RawCall { body, response } = RawCall::begin(server.address(), grpc_timeout, MESSAGE).await;
    drop(body);
    response.await.unwrap()
}

fn number(code: Code) -> String {
    (code as i32).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_leaves_time_is_met() {
    let server = Server::start(&config()).await.unwrap();
    for deadline in [None, Some("10S"), Some("99999999H")] {
        let (status, _) = raw_call(&server, deadline).await;
        assert_eq!(status, number(Code::Ok), "{deadline:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_over_is_told() {
    let server = Server::start(&config()).await.unwrap();
    for deadline in ["0n", "0H"] {
        let (status, _) = raw_call(&server, Some(deadline)).await;
        assert_eq!(status, number(Code::DeadlineExceeded), "{deadline}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_cannot_be_read_is_refused_with_an_example() {
    let server = Server::start(&config()).await.unwrap();
    for deadline in ["soon", "5", "-5m", "123456789m"] {
        let (status, message) = raw_call(&server, Some(deadline)).await;
        assert_eq!(status, number(Code::InvalidArgument), "{deadline}");
        assert!(
            message.contains("grpc-timeout") && message.contains("50m"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_no_more_time_than_its_deadline_or_the_default() {
    let config = Config {
        default_deadline: Duration::from_millis(200),
        ..config()
    };
    let server = Server::start(&config).await.unwrap();
    for (deadline, millis) in [(Some("50m"), 50), (None, 200)] {
        let began = Instant::now();
        // The body is only begun, and stays open.
        let call = RawCall::begin(server.address(), deadline, &MESSAGE[..2]).await;
        let (status, _) = call.response.await.unwrap();
        assert_eq!(status, number(Code::DeadlineExceeded));
        let took = began.elapsed();
        let allowed = Duration::from_millis(millis)..Duration::from_millis(millis + 400);
        assert!(allowed.contains(&took), "{took:?}");
    }
}
