//! Bad input at every route: a problem that says what is wrong, and nothing else happens.

use crate::support::{Harness, Reply, start};
use reqwest::Method;
use serde_json::json;

const POSTS: [&str; 2] = ["/v1/run", "/v1/tools/restart_thing/runs"];

fn good(path: &str) -> serde_json::Value {
    if path == "/v1/run" {
        json!({"agent": "ops", "input": "restart web"})
    } else {
        json!({"arguments": {"service": "web"}})
    }
}

async fn send(harness: &Harness, method: Method, path: &str, kind: Option<&str>, body: Vec<u8>) -> Reply {
    let mut request = harness.request(method, path, &harness.admin()).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    Reply::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn bad_bodies_are_refused_at_every_door() {
    let harness = start().await;
    let json_type = Some("application/json");
    for path in POSTS {
        let with = |name: &str, value: serde_json::Value| {
            let mut body = good(path);
            body[name] = value;
            body.to_string().into_bytes()
        };
        let listed = match path {
            "/v1/run" => json!(["ops", "restart web", {}, false]),
            _ => json!([{"service": "web"}, false]),
        };
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000)).into_bytes();
        let malformed: Vec<(&str, Vec<u8>)> = vec![
            ("empty", vec![]),
            ("not JSON", b"restart web".to_vec()),
            ("cut", b"{\"agent\": \"ops\"".to_vec()),
            ("trailing", [good(path).to_string().as_bytes(), b"x"].concat()),
            ("array", b"[]".to_vec()),
            ("the fields as a list", listed.to_string().into()),
            ("null", b"null".to_vec()),
            (
                "invalid UTF-8",
                b"{\"agent\": \"\xff\xfe\", \"input\": \"x\", \"arguments\": {\"service\": \"\xff\"}}"
                    .to_vec(),
            ),
            ("an unknown field", with("approved", json!(true))),
            ("a role in the body", with("roles", json!(["sre"]))),
            ("a field with an escape", with("\u{1b}[31mred", json!(1))),
            ("dry_run as text", with("dry_run", json!("yes"))),
            ("dry_run null", with("dry_run", json!(null))),
            (
                "agent as number, arguments as list",
                json!({"agent": 7, "input": "x", "arguments": []}).to_string().into(),
            ),
            ("deep", deep),
            (
                "a field twice",
                br#"{"agent":"ops","agent":"ops","input":"x","arguments":{},"arguments":{}}"#.to_vec(),
            ),
        ];
        for (fault, body) in malformed {
            let reply = send(&harness, Method::POST, path, json_type, body).await;
            assert_eq!(reply.code(), "request.malformed", "{path} {fault}: {}", reply.text);
            reply.is_problem(400, "request.malformed");
            assert!(!reply.text.contains('\u{1b}'), "{fault}");
        }
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/json; charset=latin-1"),
            Some("application/jsonx"),
        ] {
            let reply = send(&harness, Method::POST, path, kind, good(path).to_string().into()).await;
            reply.is_problem(415, "request.unsupported_media_type");
        }
        let reply = send(
            &harness,
            Method::POST,
            path,
            Some("Application/JSON; charset=UTF-8"),
            good(path).to_string().into(),
        )
        .await;
        assert!(matches!(reply.status, 200 | 202), "{}", reply.text);

        let megabyte = vec![b' '; 1024 * 1024];
        send(&harness, Method::POST, path, json_type, megabyte.clone())
            .await
            .is_problem(413, "request.too_large");
        let chunks = futures::stream::iter(
            megabyte.chunks(8192).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
        );
        let chunked =
            harness.request(Method::POST, path, &harness.admin()).header("content-type", "application/json");
        let reply = Reply::read(chunked.body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap()).await;
        reply.is_problem(413, "request.too_large");
        let unauthenticated = harness.client.post(harness.url(path)).body(megabyte);
        Reply::read(unauthenticated.send().await.unwrap()).await.is_problem(401, "auth.token_missing");
    }
}

#[tokio::test]
async fn bad_headers_are_refused() {
    let harness = start().await;
    let long = "k".repeat(256);
    for key in ["", " ", "a b", "zażółć", &long] {
        for path in POSTS {
            let request = harness.request(Method::POST, path, &harness.admin()).json(&good(path));
            let request = request.header("idempotency-key", key.as_bytes());
            Reply::read(request.send().await.unwrap()).await.is_problem(400, "request.malformed");
        }
    }
    assert_eq!(harness.pack.effects(), 0);
    // A preference is no demand, and an id that is not safe is replaced.
    let request = harness.request(Method::GET, "/v1/tools", &harness.admin());
    let request = request.header("prefer", "wait=banana").header("x-request-id", "a b<script>");
    let reply = Reply::read(request.send().await.unwrap()).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.header("x-request-id").is_empty() && !reply.header("x-request-id").contains('<'));
}

#[tokio::test]
async fn bad_paths_and_queries_are_refused() {
    let harness = start().await;
    let admin = harness.admin();
    let run = "01a2049a-550e-7362-8b45-5eda2c116892";
    for (path, status, code) in [
        ("/", 404, "request.not_found"),
        ("/v1", 404, "request.not_found"),
        ("/v1/run/", 404, "request.not_found"),
        ("/v1/tools/../../etc/passwd", 404, "request.not_found"),
        ("/v1/tools/..%2f..%2fetc%2fpasswd", 404, "tool.not_found"),
        ("/v1/tools/%00", 404, "tool.not_found"),
        ("/v1/tools/%1b%5b31m", 404, "tool.not_found"),
        ("/v1/tools/%ff", 400, "request.malformed"),
        ("/v1/runs/%ff", 400, "request.malformed"),
        ("/v1/runs/x", 404, "run.not_found"),
        ("/v1/runs/..%2fx", 404, "run.not_found"),
        (&format!("/v1/runs/{run}"), 404, "run.not_found"),
        (&format!("/v1/runs/{run}/events"), 404, "run.not_found"),
        (&format!("/v1/runs/{run}/events?after=-1"), 400, "request.malformed"),
        (&format!("/v1/runs/{run}/events?after=9223372036854775808"), 400, "request.malformed"),
        (&format!("/v1/runs/{run}/events?x=1"), 400, "request.malformed"),
        ("/v1/runs?limit=0", 400, "request.malformed"),
        ("/v1/runs?limit=201", 400, "request.malformed"),
        ("/v1/runs?limit=many", 400, "request.malformed"),
        ("/v1/runs?limit=1&limit=2", 400, "request.malformed"),
        ("/v1/runs?state=done", 400, "request.malformed"),
        ("/v1/runs?mine=perhaps", 400, "request.malformed"),
        ("/v1/runs?tool=../x", 400, "request.malformed"),
        ("/v1/runs?cursor=x", 400, "request.malformed"),
        ("/v1/runs?unknown=1", 400, "request.malformed"),
        ("/v1/runs?tool=%ff", 400, "request.malformed"),
        ("/v1/audit?after=x", 400, "request.malformed"),
        ("/v1/audit?after=18446744073709551615", 400, "request.malformed"),
        ("/v1/audit?limit=1000", 400, "request.malformed"),
    ] {
        let reply = harness.get(path, &admin).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{path}: {}", reply.text);
        reply.is_problem(status, code);
        assert!(!reply.text.contains(['\u{0}', '\u{1b}']), "{path}");
    }
    let request =
        harness.request(Method::GET, &format!("/v1/runs/{run}/events"), &admin).header("last-event-id", "x");
    Reply::read(request.send().await.unwrap()).await.is_problem(400, "request.malformed");
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_one() {
    let harness = start().await;
    for (method, path, allow) in [
        (Method::GET, "/v1/run", "POST"),
        (Method::PUT, "/v1/run", "POST"),
        (Method::POST, "/v1/tools", "GET,HEAD"),
        (Method::DELETE, "/v1/runs", "GET,HEAD"),
        (Method::OPTIONS, "/v1/runs", "GET,HEAD"),
        (Method::PATCH, "/v1/runs/01a2049a-550e-7362-8b45-5eda2c116892/cancel", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::TRACE, "/metrics", "GET,HEAD"),
    ] {
        let reply = send(&harness, method, path, None, vec![]).await;
        reply.is_problem(405, "request.method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{path}");
    }
}
