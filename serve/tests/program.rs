//! The program `aisle-serve` as it is started by a shop.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::recommendation_service_client::RecommendationServiceClient;
use common::{RawCall, for_user, small_shop};
use hyper::body::Bytes;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aisle-serve"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs the program to its end.
fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running program, which is killed with the test.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts the program on a registry and waits until it says that it listens.
    fn start(registry: &Path, arguments: &[&str]) -> Self {
        let mut child = command()
            .arg("--registry")
            .arg(registry)
            .args(["--listen", "127.0.0.1:0", "--log-json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .map(Result::unwrap)
            .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap())
            .find(|entry| entry["fields"]["message"] == "listening")
            .map(|entry| {
                entry["fields"]["address"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .unwrap();
        // A pipe that nobody reads would block the program.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address }
    }

    /// Sends SIGTERM and waits for the end.
    fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the program does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_missing_registry_exits_with_1_and_says_what_to_do() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(text.contains("give --registry FOLDER"), "{text}");
}

#[test]
fn a_setting_out_of_range_exits_with_1_and_names_the_range() {
    let output = run(&["--registry", "/x", "--poll-millis", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(text.contains("expected 10 to 3600000"), "{text}");
}

#[test]
fn an_unknown_key_of_the_config_exits_with_1_and_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("serve.toml");
    std::fs::write(&config, "registy = \"/models\"\n").unwrap();
    let output = run(&["--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(
        text.contains("registy") && text.contains("serve.toml"),
        "{text}"
    );
}

#[test]
fn an_address_in_use_exits_with_1_and_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().to_str().unwrap();
    let output = run(&["--registry", registry, "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
}

#[test]
fn sigterm_exits_with_0_on_an_idle_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), &[]);
    assert_eq!(program.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_exits_with_0_after_the_request_in_flight_was_answered() {
    let mut program = Program::start(small_shop().folder.path(), &[]);
    // The message is only begun when the signal comes.
    let call = RawCall::begin(program.address, Some("10S"), &[0; 2]).await;
    let RawCall { mut body, response } = call;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let end = tokio::task::spawn_blocking(move || program.terminate());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        !end.is_finished(),
        "the program did not wait for the request"
    );
    body.send_data(Bytes::from_static(&[0; 3])).await.unwrap();
    drop(body);
    let (status, message) = response.await.unwrap();
    assert_eq!(status, "0", "{message}");
    assert_eq!(end.await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap();
    drop(free);
    let program = Program::start(
        small_shop().folder.path(),
        &["--metrics", &metrics.to_string()],
    );
    let address = format!("http://{}", program.address);
    let mut client = RecommendationServiceClient::connect(address).await.unwrap();
    client.recommend_for_user(for_user("", 3)).await.unwrap();
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(" 200 OK"), "{text}");
    let line = "aisle_requests_total{rpc=\"RecommendForUser\",code=\"Ok\"} 1";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("source=\"popular\""), "{text}");
}
