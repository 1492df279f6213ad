//! What stands before the protocol: tokens, Host and Origin, limits, metadata.

use super::sessions::{ACCEPT, initialize, open, post};
use super::{Agent, VERSIONS, params};
use crate::support::log::Log;
use crate::support::signer::Signer;
use crate::support::{Harness, ISSUER, Reply, Setup, start, start_with, until};
use astradesk_gateway::auth::KeySource;
use astradesk_gateway::{Issuer, Limits};
use reqwest::Method;
use reqwest::header::{HOST, ORIGIN};
use serde_json::{Value, json};

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}}}})
}

/// A request without a session, of the newest protocol.
fn stateless(harness: &Harness, token: &str, body: &Value) -> reqwest::RequestBuilder {
    let method = body["method"].as_str().unwrap_or("x").to_owned();
    post(harness, token, body).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method)
}

#[tokio::test]
async fn who_has_no_token_is_told_where_one_is_to_be_had() {
    let mut issuer = Issuer::new("https://login.example.com", "https://ops.example.com/mcp");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({"keys": [Signer::ed().jwk("k1")]}).to_string()).unwrap();
    issuer.keys = KeySource::File(file);
    let public_url = Some("https://ops.example.com/".to_owned());
    let harness = start_with(Setup { issuers: vec![issuer], public_url, ..Setup::default() }).await;
    let metadata = "https://ops.example.com/.well-known/oauth-protected-resource/mcp";
    for (token, code, challenge) in [
        (None, "auth.token_missing", "Bearer resource_metadata="),
        (Some("x.y.z"), "auth.token_malformed", "Bearer error=\"invalid_token\", resource_metadata="),
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let request = harness.client.request(method, harness.url("/mcp")).json(&list());
            let request = token.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
            let reply = Reply::read(request.send().await.unwrap()).await;
            reply.is_problem(401, code);
            assert_eq!(reply.header("www-authenticate"), format!("{challenge}\"{metadata}\""));
        }
    }
    for (path, resource) in [("", "https://ops.example.com"), ("/mcp", "https://ops.example.com/mcp")] {
        let reply = harness.client.get(harness.url(&format!("/.well-known/oauth-protected-resource{path}")));
        let reply = Reply::read(reply.send().await.unwrap()).await;
        assert_eq!(reply.body["resource"], resource);
        // The development issuer is no place to go to.
        assert_eq!(reply.body["authorization_servers"], json!(["https://login.example.com"]));
    }
    // Other routes say no such thing, and no audience but ours is taken.
    let other = Reply::read(harness.client.get(harness.url("/v1/tools")).send().await.unwrap()).await;
    assert_eq!(other.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_one_it_needs() {
    let signer = Signer::ed();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({"keys": [signer.jwk("k1")]}).to_string()).unwrap();
    let issuer = Issuer {
        keys: KeySource::File(file),
        required_scope: Some("astradesk.use".into()),
        ..Issuer::new(ISSUER, "astradesk")
    };
    let harness = start_with(Setup { issuers: vec![issuer], ..Setup::default() }).await;
    let metadata = harness.url("/.well-known/oauth-protected-resource/mcp");
    for (scopes, taken) in [
        (json!({}), false),
        (json!({"scope": "openid astradesk.user"}), false),
        (json!({"scope": 7, "scp": {"astradesk.use": true}}), false),
        (json!({"scope": "openid astradesk.use"}), true),
        (json!({"scp": ["openid", "astradesk.use"]}), true),
    ] {
        let mut claims = json!({"sub": "ada", "roles": ["sre"]});
        claims.as_object_mut().unwrap().extend(scopes.as_object().unwrap().clone());
        let token = harness.token_of(&signer, &claims);
        let reply = Reply::read(stateless(&harness, &token, &list()).send().await.unwrap()).await;
        if taken {
            assert_eq!(reply.status, 200, "{scopes}: {reply:?}");
            continue;
        }
        reply.is_problem(403, "auth.scope_missing");
        assert_eq!(
            reply.header("www-authenticate"),
            format!(
                "Bearer error=\"insufficient_scope\", scope=\"astradesk.use\", resource_metadata=\"{metadata}\""
            )
        );
        harness.get("/v1/tools", &token).await.is_problem(403, "auth.scope_missing");
    }
    let told = Reply::read(harness.client.get(metadata).send().await.unwrap()).await;
    assert_eq!(told.body["scopes_supported"], json!(["astradesk.use"]));
    let evidence = harness.evidence().await.unwrap();
    assert!(
        evidence
            .iter()
            .any(|one| one["kind"] == "auth.denied" && one["data"]["code"] == "auth.scope_missing")
    );
}

#[tokio::test]
async fn no_page_reaches_it_by_a_name_of_its_own() {
    let setup = Setup {
        allowed_hosts: vec!["ops.example.com".into()],
        allowed_origins: vec!["https://app.example.com".into()],
        ..Setup::default()
    };
    let harness = start_with(setup).await;
    let token = harness.admin();
    for (header, value, status) in [
        (HOST, "evil.example", 403),
        (HOST, "evil.example:8787", 403),
        (HOST, "localhost.evil.example", 403),
        (HOST, "localhost:1234", 200),
        (HOST, "[::1]:8787", 200),
        (HOST, "ops.example.com", 200),
        (ORIGIN, "https://evil.example", 403),
        (ORIGIN, "null", 403),
        (ORIGIN, "http://localhost:6274", 200),
        (ORIGIN, "https://app.example.com", 200),
        (ORIGIN, "https://app.example.com:444", 403),
        (ORIGIN, "http://app.example.com", 403),
    ] {
        let reply = stateless(&harness, &token, &list()).header(&header, value).send().await.unwrap();
        let reply = Reply::read(reply).await;
        assert_eq!(reply.status, status, "{header} {value}: {reply:?}");
        let opened = post(&harness, &token, &initialize()).header(&header, value).send().await.unwrap();
        assert_eq!(opened.status(), status, "{header} {value}");
    }
}

#[tokio::test]
async fn a_body_has_the_limits_of_every_route() {
    let limits = Limits { max_body_bytes: 2048, body_seconds: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    let token = harness.admin();
    let mut large = list();
    large["params"]["x"] = json!("x".repeat(2048));
    let reply = Reply::read(stateless(&harness, &token, &large).send().await.unwrap()).await;
    reply.is_problem(413, "request.too_large");
    let chunks = futures::stream::iter([vec![b' '; 1500], vec![b' '; 1500]].map(Ok::<_, std::io::Error>));
    let request = harness.request(Method::POST, "/mcp", &token).header("content-type", "application/json");
    let reply =
        request.header("accept", ACCEPT).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    Reply::read(reply).await.is_problem(413, "request.too_large");
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = harness.request(Method::POST, "/mcp", &token).header("content-type", "application/json");
    let reply =
        request.header("accept", ACCEPT).body(reqwest::Body::wrap_stream(never)).send().await.unwrap();
    Reply::read(reply).await.is_problem(408, "request.timeout");
    let reply = harness.request(Method::POST, "/mcp", &token).body("x").header("content-type", "text/plain");
    Reply::read(reply.send().await.unwrap()).await.is_problem(415, "request.unsupported_media_type");
    // Depth and nonsense are answered, too.
    for nonsense in [
        "",
        "x",
        "[]",
        "{}",
        &"[".repeat(2000),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#,
    ] {
        let request =
            harness.request(Method::POST, "/mcp", &token).header("content-type", "application/json");
        let reply = request.header("accept", ACCEPT).body(nonsense.to_owned()).send().await.unwrap();
        let status = reply.status().as_u16();
        assert!((400..500).contains(&status), "{status} {nonsense:.40}");
    }
}

/// A call counts among the requests for as long as its answer lasts, streamed or not.
#[tokio::test]
async fn calls_that_wait_count_among_the_requests() {
    let limits = Limits { concurrent_requests: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let peer = agent.client.peer().clone();
        let params = params("get_status", &json!({"service": "slow"}), &json!({}));
        let calling = tokio::spawn(async move { peer.call_tool(params).await });
        harness.pack.slow_call().await;
        let refused = harness.get("/v1/tools", &harness.admin()).await;
        refused.is_problem(429, "request.overloaded");
        harness.pack.release();
        calling.await.unwrap().unwrap();
        until("there is room again", async || harness.get("/v1/tools", &harness.admin()).await.status == 200)
            .await;
    }
}

#[tokio::test]
async fn streams_take_a_place_and_end_with_the_gateway() {
    let limits = Limits { event_streams: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    let token = harness.admin();
    let id = open(&harness, &token).await;
    let listen = || {
        let request = harness.request(Method::GET, "/mcp", &token).header("accept", "text/event-stream");
        request.header("mcp-session-id", &id).send()
    };
    let stream = listen().await.unwrap();
    assert_eq!(stream.status(), 200);
    Reply::read(listen().await.unwrap()).await.is_problem(429, "request.overloaded");
    let metrics = harness.get("/metrics", "").await.text;
    assert!(metrics.contains("astradesk_event_streams 1"), "{metrics}");
    harness.shutdown.cancel();
    stream.text().await.unwrap();
    assert!(harness.stop().await);
}

#[tokio::test]
async fn requests_are_counted_by_their_method() {
    let harness = start().await;
    let token = harness.admin();
    assert_eq!(stateless(&harness, &token, &list()).send().await.unwrap().status(), 200);
    harness.request(Method::GET, "/mcp", &token).send().await.unwrap();
    let metrics = harness.get("/metrics", "").await.text;
    for line in [
        "astradesk_http_requests_total{route=\"/mcp\",method=\"POST\",status=\"200\"} 1",
        "astradesk_http_requests_total{route=\"/mcp\",method=\"GET\",status=\"other\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// Nothing of a message is logged, at whatever level the gateway's own parts log.
#[tokio::test]
async fn no_message_and_no_token_is_logged() {
    let (log, _logging) = Log::start(tracing::Level::INFO);
    let harness = start().await;
    let token = harness.admin();
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &token, version).await;
        let secret = json!({"service": "web", "password": "hunter2-hunter2"});
        agent.call_with("open_thing", &secret, &json!({})).await.unwrap();
    }
    let text = log.text();
    assert!(text.contains("route=\"/mcp\""), "{text}");
    for hidden in ["hunter2", token.rsplit('.').next().unwrap()] {
        assert!(!text.contains(hidden), "{hidden} is in the log");
    }
}
