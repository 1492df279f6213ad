//! Too much, too slow, hanging up, and stopping.

use crate::support::pack::TestPack;
use crate::support::{Harness, Reply, Setup, engine, start, start_with};
use astradesk_gateway::{Auth, Config, DevIssuer, Gateway, Limits};
use astradesk_runtime::port::SystemClock;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const READ: &str = "/v1/tools/get_status/runs";
const WRITE: &str = "/v1/tools/restart_thing/runs";

fn call(service: &str) -> Value {
    json!({"arguments": {"service": service}})
}

async fn with(change: impl FnOnce(&mut Limits)) -> Harness {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    start_with(setup).await
}

/// A request that is sent now and answered later.
fn later(harness: &Harness, path: &str, service: &str) -> tokio::task::JoinHandle<Reply> {
    let request = harness
        .request(Method::POST, path, &harness.admin())
        .header("prefer", "wait=60")
        .json(&call(service));
    tokio::spawn(async move { Reply::read(request.send().await.unwrap()).await })
}

#[tokio::test]
async fn too_many_requests_are_refused_at_once() {
    let harness = with(|limits| limits.concurrent_requests = 1).await;
    let slow = later(&harness, READ, "slow");
    harness.pack.slow_call().await;
    let asked = Instant::now();
    let refused = harness.get("/v1/tools", &harness.admin()).await;
    refused.is_problem(429, "request.overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(harness.get("/healthz", "").await.status, 200, "probes are answered");
    assert_eq!(harness.get("/readyz", "").await.status, 200);
    harness.pack.release();
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(harness.get("/v1/tools", &harness.admin()).await.status, 200);
}

#[tokio::test]
async fn too_many_streams_are_refused_and_too_many_waits_are_answered() {
    let harness = with(|limits| (limits.event_streams, limits.waits) = (1, 0)).await;
    let accepted = later(&harness, WRITE, "slow").await.unwrap();
    assert_eq!((accepted.status, accepted.header("preference-applied")), (202, ""));
    let path = format!("{}/events", accepted.header("location"));
    let first = harness.request(Method::GET, &path, &harness.admin()).send().await.unwrap();
    assert_eq!(first.status(), 200);
    harness.get(&path, &harness.admin()).await.is_problem(429, "request.overloaded");
    drop(first);
    // The gateway sees that the client is gone when it has something to send to it.
    harness.pack.slow_call().await;
    harness.pack.release();
    loop {
        let reply = harness.get(&path, &harness.admin()).await;
        if reply.status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_its_turn() {
    let harness = with(|limits| limits.connections = 1).await;
    let mut first = TcpStream::connect(harness.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1024];
    assert!(first.read(&mut buffer).await.unwrap() > 0);
    let mut second = TcpStream::connect(harness.address).await.unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut buffer)).await;
    assert!(early.is_err(), "it was served beside the first");
    drop(first);
    assert!(second.read(&mut buffer).await.unwrap() > 0);
}

/// Sends raw bytes and reads until the gateway closes the connection.
async fn raw(harness: &Harness, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut text)).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn clients_that_take_their_time_are_let_go() {
    let harness = with(|limits| (limits.header_seconds, limits.body_seconds) = (1, 1)).await;
    assert_eq!(raw(&harness, b"GET /healthz HTTP/1.1\r\nho").await, "", "half a head, then nothing");
    let head = format!(
        "POST {READ} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"arg",
        harness.admin()
    );
    let answer = raw(&harness, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request.timeout"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_answered_or_closed() {
    let harness = start().await;
    let mut long = b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ".to_vec();
    long.extend(vec![b'a'; 100_000]);
    for bytes in
        [&b"\x16\x03\x01\x02\x00"[..], b"hello\r\n\r\n", b"GET /v1/tools\x00 HTTP/1.1\r\n\r\n", &long]
    {
        let answer = raw(&harness, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(harness.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_nothing() {
    let harness = start().await;
    let body = call("slow").to_string();
    let request = format!(
        "POST {WRITE} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nprefer: wait=60\r\nidempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        harness.admin(),
        body.len(),
    );
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    harness.pack.slow_call().await;
    drop(stream);
    harness.pack.release();
    let again = harness.request(Method::POST, WRITE, &harness.admin()).json(&call("slow"));
    let again = again.header("idempotency-key", "k").header("prefer", "wait=20").send().await.unwrap();
    let again = Reply::read(again).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{}", again.text);
    assert_eq!(harness.pack.effects(), 1);
}

#[tokio::test]
async fn many_denials_make_few_records() {
    let harness = with(|limits| limits.auth_records_per_second = 5).await;
    for _ in 0..50 {
        harness.get("/v1/tools", "x.y.z").await.is_problem(401, "auth.token_malformed");
    }
    tokio::time::sleep(Duration::from_millis(1050)).await;
    harness.get("/v1/tools", "x.y.z").await.is_problem(401, "auth.token_malformed");
    let records = harness.evidence().await.unwrap();
    let suppressed: u64 =
        records.iter().map(|record| record["data"]["suppressed"].as_u64().unwrap_or(0)).sum();
    assert!(records.len() < 51 && records.len() >= 6, "{} records", records.len());
    assert_eq!(records.len() as u64 + suppressed, 51, "every denial is counted");
}

#[tokio::test]
async fn stopping_answers_waits_ends_streams_and_finishes_reads() {
    let harness = start().await;
    let waiting = later(&harness, WRITE, "slow");
    harness.pack.slow_call().await;
    let admin = harness.admin();
    let runs = harness.get("/v1/runs", &admin).await;
    let run = runs.body["runs"][0]["id"].as_str().unwrap();
    let stream =
        harness.request(Method::GET, &format!("/v1/runs/{run}/events"), &admin).send().await.unwrap();
    let reading = later(&harness, READ, "slow");
    harness.pack.slow_call().await;

    harness.shutdown.cancel();
    let waited = waiting.await.unwrap();
    assert_eq!((waited.status, waited.header("location")), (202, format!("/v1/runs/{run}").as_str()));
    assert!(stream.text().await.unwrap().contains("retry: 1000"));
    assert!(TcpStream::connect(harness.address).await.is_err(), "nobody is accepted any more");
    // One permit for each call that is under way: the run that was waited for goes on as well.
    harness.pack.release();
    harness.pack.release();
    assert_eq!(reading.await.unwrap().status, 200, "a request in flight is finished");
    assert!(harness.serving.await.unwrap(), "everything was drained");
}

#[tokio::test]
async fn development_tokens_are_for_loopback_only() {
    let clock = Arc::new(crate::support::TestClock::default());
    let store = Arc::new(crate::support::store::TestStore::in_memory().await);
    let engine = engine(clock, &TestPack::new(), store, astradesk_runtime::engine::Limits::default()).await;
    let auth = Auth::new(vec![], Some(&DevIssuer::generate().unwrap()), Arc::new(SystemClock)).unwrap();
    let config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
    let error = Gateway::bind(config, engine, auth).err().unwrap();
    assert_eq!(error.code.as_str(), "config.invalid");
    assert!(error.message.contains("loopback"), "{error}");
}

#[test]
fn a_development_key_lasts_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.key");
    let first = DevIssuer::from_file(&path).unwrap();
    let again = DevIssuer::from_file(&path).unwrap();
    let at = astradesk_core::Timestamp::UNIX_EPOCH;
    let mint = |issuer: &DevIssuer| issuer.mint("a", &[], Duration::from_mins(1), at).unwrap();
    assert_eq!(mint(&first), mint(&again));
    assert!(first.mint("a", &[], Duration::from_hours(25), at).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(&path, "no key").unwrap();
    assert_eq!(DevIssuer::from_file(&path).err().unwrap().code.as_str(), "config.invalid");
}
