//! Ten thousand requests over five hundred connections: each is answered as `/openapi.json` says.

use astradesk_e2e::{Client, Place, Serve, Settings, deployment, on_both};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpStream;

on_both!(ten_thousand_requests);

const CONNECTIONS: usize = 500;
const EACH: usize = 20;

/// A request that is sent again and again.
struct Kind {
    method: Method,
    path: &'static str,
    /// Its path in the OpenAPI document.
    template: &'static str,
    body: Vec<u8>,
    authenticated: bool,
    expected: u16,
}

fn kinds() -> Vec<Kind> {
    const RUN: &str = "/v1/run";
    const CALL: &str = "/v1/tools/{tool}/runs";
    let get = |path, template, expected| (Method::GET, path, template, Vec::new(), true, expected);
    let post =
        |path, template, body: &[u8], expected| (Method::POST, path, template, body.to_vec(), true, expected);
    let status = "/v1/tools/get_service_status/runs";
    let read = json!({"arguments": {"service": "webapp"}}).to_string();
    let traversal = json!({"arguments": {"service": "../../etc/passwd"}}).to_string();
    [
        get("/healthz", "/healthz", 200),
        get("/v1/tools", "/v1/tools", 200),
        get("/v1/runs?limit=5", "/v1/runs", 200),
        post(status, CALL, read.as_bytes(), 200),
        (Method::GET, "/v1/runs", "/v1/runs", Vec::new(), false, 401),
        get("/v1/runs/..%2f..%2fetc", "/v1/runs/{id}", 404),
        get("/v1/runs?limit=nine", "/v1/runs", 400),
        post(RUN, RUN, b"", 400),
        post(RUN, RUN, b"{\"agent\": \"ops\", \"input\": \"restart webapp", 400),
        post(RUN, RUN, b"\xff\xfe\xfd", 400),
        post(RUN, RUN, br#"{"agent": "ops", "input": "restart webapp", "approved": true}"#, 400),
        post(RUN, RUN, br#"{"agent": "ops", "input": 7}"#, 400),
        post(RUN, RUN, br#"{"agent": "ops", "input": "restart \u0000webapp"}"#, 422),
        post(RUN, RUN, br#"{"agent": "ops", "input": "do not restart webapp"}"#, 422),
        post(RUN, RUN, br#"{"agent": "ops", "input": "restart ledger"}"#, 422),
        post(status, CALL, traversal.as_bytes(), 422),
        post(RUN, RUN, &vec![b' '; 100_000], 413),
        (Method::DELETE, "/v1/tools", "", Vec::new(), true, 405),
        get("/v1/../../etc/passwd", "", 404),
        get("/readyz", "/readyz", 200),
    ]
    .into_iter()
    .map(|(method, path, template, body, authenticated, expected)| Kind {
        method,
        path,
        template,
        body,
        authenticated,
        expected,
    })
    .collect()
}

async fn ten_thousand_requests(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = place.state(&webapp).await;
    let settings = Settings::of(place, &["webapp"]);
    let serve = Serve::start(place, &settings).await;
    let document = serve.client.get("/openapi.json").await.body;
    let kinds = Arc::new(kinds());
    let bearer: Arc<str> = format!("Bearer {}", settings.token("ada", "sre")).into();

    let connections = (0..CONNECTIONS)
        .map(|number| tokio::spawn(connection(serve.client.clone(), kinds.clone(), bearer.clone(), number)));
    let mut answers: BTreeMap<(usize, u16), usize> = BTreeMap::new();
    for answered in futures::future::join_all(connections.collect::<Vec<_>>()).await {
        for answer in answered.unwrap() {
            *answers.entry(answer).or_default() += 1;
        }
    }
    assert_eq!(answers.values().sum::<usize>(), CONNECTIONS * EACH, "{answers:?}");
    let mut as_expected = 0;
    for ((kind, status), count) in answers {
        let Kind { method, path, template, expected, .. } = &kinds[kind];
        // A limit may be reached on a busy machine; what is said then is documented as well.
        assert!(
            status == *expected || matches!(status, 429 | 503),
            "{method} {path}: {count} times {status}"
        );
        if !template.is_empty() {
            let answers = &document["paths"][*template][method.as_str().to_lowercase()]["responses"];
            assert!(answers[status.to_string()].is_object(), "{method} {template} documents no {status}");
        }
        as_expected += if status == *expected { count } else { 0 };
    }
    let all = CONNECTIONS * EACH;
    assert!(as_expected * 20 >= all * 19, "{as_expected} of {all} were answered as expected");

    // It goes on as before, what it says of all this holds together, and nothing came of it.
    assert_eq!(serve.client.get("/readyz").await.status, 200);
    serve.client.call("get_service_status", &json!({"service": "webapp"})).await.expect_success();
    assert!(serve.client.evidence().await.len() > CONNECTIONS);
    assert_eq!(place.state(&webapp).await, before);
    let (code, log) = serve.terminate().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(&bearer["Bearer ".len()..]), "a token is in the log");
}

/// Sends each kind in turn over one connection that is kept; its kind and its status for each answer.
async fn connection(
    client: Client,
    kinds: Arc<Vec<Kind>>,
    bearer: Arc<str>,
    number: usize,
) -> Vec<(usize, u16)> {
    let address = client.url.strip_prefix("http://").unwrap();
    let mut sender = None;
    let mut answers = Vec::new();
    for turn in 0..EACH {
        let index = (number + turn) % kinds.len();
        let kind = &kinds[index];
        if sender.as_ref().is_none_or(hyper::client::conn::http1::SendRequest::is_closed) {
            let stream = TcpStream::connect(address).await.unwrap();
            let (fresh, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(driver);
            sender = Some(fresh);
        }
        let sending = sender.as_mut().unwrap();
        sending.ready().await.unwrap();
        let mut request = Request::builder().method(&kind.method).uri(kind.path).header("host", "x");
        if kind.authenticated {
            request = request.header("authorization", &*bearer);
        }
        if kind.method == Method::POST {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(kind.body.clone()))).unwrap();
        let response =
            sending.send_request(request).await.unwrap_or_else(|error| panic!("{}: {error}", kind.path));
        let status = response.status().as_u16();
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(status < 400 || body["code"].is_string(), "{status} without a code: {body}");
        answers.push((index, status));
        if closes {
            sender = None;
        }
    }
    answers
}
