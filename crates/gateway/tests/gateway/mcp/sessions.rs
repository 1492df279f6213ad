//! Two principals on one server: neither sees anything of the other, whatever ids it brings.

use super::{Agent, VERSIONS, facts, refused};
use crate::support::signer::Signer;
use crate::support::{Harness, ISSUER, Reply, Setup, start, start_with};
use astradesk_gateway::auth::KeySource;
use astradesk_gateway::{Issuer, Limits};
use reqwest::{Method, RequestBuilder};
use rmcp::model::{CancelTaskParams, ErrorCode, GetTaskParams, ReadResourceRequestParams, UpdateTaskParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const ACCEPT: &str = "application/json, text/event-stream";

pub(crate) fn post(harness: &Harness, token: &str, body: &Value) -> RequestBuilder {
    harness.request(Method::POST, "/mcp", token).header("accept", ACCEPT).json(body)
}

pub(crate) fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
}

/// Opens a session; gives its id.
pub(crate) async fn open(harness: &Harness, token: &str) -> String {
    let opened = Reply::read(post(harness, token, &initialize()).send().await.unwrap()).await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let id = opened.header("mcp-session-id").to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let told = post(harness, token, &ready).header("mcp-session-id", &id).send().await.unwrap();
    assert_eq!(told.status(), 202);
    id
}

#[tokio::test]
async fn two_principals_see_nothing_of_each_other() {
    let harness = start().await;
    for version in &VERSIONS {
        let ada = Agent::connect(&harness, &harness.token("ada", &["sre"]), version).await;
        let bob = Agent::connect(&harness, &harness.token("bob", &["viewer"]), version).await;
        let hers = ada.call("restart_thing", "web").await;
        let his = bob.call("get_status", "api").await;
        assert!(ada.tools().await.contains(&"restart_thing".to_owned()));
        assert!(!bob.tools().await.contains(&"restart_thing".to_owned()));
        let (hers, his) = (facts(&hers), facts(&his));
        for (who, own, other) in [(&ada, hers, his), (&bob, his, hers)] {
            let seen = who.client.list_all_resources().await.unwrap();
            let uris: Vec<&str> = seen.iter().map(|resource| resource.uri.as_str()).collect();
            let (own, other) = (own["uri"].as_str().unwrap(), other["uri"].as_str().unwrap());
            assert!(uris.contains(&own) && !uris.contains(&other), "{version}: {uris:?}");
            let read = |uri: &str| who.client.read_resource(ReadResourceRequestParams::new(uri));
            assert!(read(own).await.is_ok());
            let error = refused(read(other).await);
            assert_eq!(error.data.unwrap()["code"], "run.not_found");
        }
        // The same key of two principals is two keys.
        let key = json!({"dev.astradesk/idempotency-key": format!("shared {version}").replace(' ', "-")});
        let arguments = || json!({"service": "web"});
        let first = ada.call_with("get_status", &arguments(), &key).await.unwrap();
        let second = bob.call_with("get_status", &arguments(), &key).await.unwrap();
        assert_ne!(facts(&first)["run"], facts(&second)["run"]);
        assert_eq!(facts(&second)["replayed"], false);
    }
}

#[tokio::test]
async fn a_session_serves_who_opened_it_and_nobody_else() {
    let signer = Signer::ed();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({"keys": [signer.jwk("k1")]}).to_string()).unwrap();
    let issuer = Issuer { keys: KeySource::File(file), ..Issuer::new(ISSUER, "astradesk") };
    let harness = start_with(Setup { issuers: vec![issuer], ..Setup::default() }).await;
    let claims = |subject: &str, act: Value| {
        let mut claims = json!({"sub": subject, "roles": ["sre"]});
        if !act.is_null() {
            claims["act"] = json!({"sub": act});
        }
        harness.token_of(&signer, &claims)
    };
    let ada = claims("ada", Value::Null);
    let id = open(&harness, &ada).await;
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let with = |method: Method, token: &str, body: &Value| {
        let request = harness.request(method, "/mcp", token).header("accept", ACCEPT);
        request.header("mcp-session-id", &id).json(body)
    };

    let others = [
        claims("bob", Value::Null),
        // The same name by another issuer, and agents that act for her.
        harness.token("ada", &["sre"]),
        claims("ada", json!("bot")),
    ];
    for other in &others {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let reply = Reply::read(with(method, other, &list).send().await.unwrap()).await;
            reply.is_problem(404, "request.not_found");
        }
        let resumed = with(Method::GET, other, &list).header("last-event-id", "0").send().await.unwrap();
        assert_eq!(resumed.status(), 404);
    }
    // A fresh token of hers is as good as the old one; no token, or one for another audience, is none.
    let elsewhere = json!({"sub": "ada", "roles": ["sre"], "aud": "other"});
    let elsewhere = harness.token_of(&signer, &elsewhere);
    let reply = Reply::read(with(Method::POST, &elsewhere, &list).send().await.unwrap()).await;
    reply.is_problem(401, "auth.audience_mismatch");
    let nobody = harness.client.post(harness.url("/mcp")).header("mcp-session-id", &id).json(&list);
    Reply::read(nobody.send().await.unwrap()).await.is_problem(401, "auth.token_missing");
    harness.clock.advance(1);
    let reply =
        Reply::read(with(Method::POST, &claims("ada", Value::Null), &list).send().await.unwrap()).await;
    assert!(reply.status == 200 && reply.text.contains("restart_thing"), "{reply:?}");
    // What a role can do is found in each token, not in the session.
    let fewer = harness.token_of(&signer, &json!({"sub": "ada", "roles": ["viewer"]}));
    let reply = Reply::read(with(Method::POST, &fewer, &list).send().await.unwrap()).await;
    assert!(reply.text.contains("get_status") && !reply.text.contains("restart_thing"), "{reply:?}");
    // She ends it, and it is there for nobody.
    assert_eq!(with(Method::DELETE, &ada, &list).send().await.unwrap().status(), 202);
    Reply::read(with(Method::POST, &ada, &list).send().await.unwrap())
        .await
        .is_problem(404, "request.not_found");
}

#[tokio::test]
async fn one_principal_cannot_take_the_room_of_the_others() {
    let limits = Limits { mcp_sessions: 18, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    let (ada, bob) = (harness.token("ada", &["sre"]), harness.token("bob", &["sre"]));
    let first = open(&harness, &ada).await;
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let alive = async |token: &str, id: &str| {
        post(&harness, token, &list).header("mcp-session-id", id).send().await.unwrap().status() == 200
    };
    for _ in 1..16 {
        open(&harness, &ada).await;
    }
    assert!(alive(&ada, &first).await);
    let his = open(&harness, &bob).await;
    open(&harness, &ada).await;
    assert!(!alive(&ada, &first).await, "her oldest has gone for her newest");
    assert!(alive(&bob, &his).await);
    open(&harness, &bob).await;
    let carol = harness.token("carol", &["sre"]);
    let full = Reply::read(post(&harness, &carol, &initialize()).send().await.unwrap()).await;
    full.is_problem(429, "request.overloaded");
    // Without a session there is always room.
    let agent = Agent::connect(&harness, &carol, &VERSIONS[0]).await;
    assert!(!agent.tools().await.is_empty());
}

/// The list goes through the session at first, and then not for a second: nobody can tell by what it says.
#[tokio::test]
async fn a_list_that_is_given_at_once_says_what_the_session_says() {
    let harness = start().await;
    let ada = harness.token("ada", &["sre"]);
    let id = open(&harness, &ada).await;
    let list = async |params: Value| {
        let list = json!({"jsonrpc": "2.0", "id": "one", "method": "tools/list", "params": params});
        let reply =
            Reply::read(post(&harness, &ada, &list).header("mcp-session-id", &id).send().await.unwrap())
                .await;
        assert_eq!(reply.status, 200);
        let events = reply.text.lines();
        let data = events.filter_map(|line| line.strip_prefix("data:")).find(|data| data.len() > 1).unwrap();
        // What can be resumed is numbered, which is by a session.
        (reply.text.contains("id:"), serde_json::from_str::<Value>(data).unwrap())
    };
    let begin = std::time::Instant::now();
    let (through_it, first) = list(json!({})).await;
    assert!(through_it && first["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 1));
    let (through_it, second) = list(json!({})).await;
    assert_eq!(first, second);
    assert!(!through_it || begin.elapsed().as_millis() >= 1000);
    let (_, wrong) = list(json!({"cursor": "No Name"})).await;
    assert_eq!(wrong["error"]["data"]["code"], "request.malformed");
    assert_eq!(wrong["id"], "one");
}

/// What ends when nothing is heard of it goes on while it is only asked for tools.
#[tokio::test]
async fn a_session_that_only_lists_tools_is_not_idle() {
    let limits = Limits { mcp_session_seconds: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    let ada = harness.token("ada", &["sre"]);
    let id = open(&harness, &ada).await;
    let begin = std::time::Instant::now();
    // Twice as long as one may be idle.
    while begin.elapsed().as_secs() < 4 {
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let reply = post(&harness, &ada, &list).header("mcp-session-id", &id).send().await.unwrap();
        assert_eq!(reply.status(), 200, "after {:?}", begin.elapsed());
    }
    // This is no word to it: it does not come so far.
    let is_there = async || {
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let request = harness.request(Method::POST, "/mcp", &ada).header("accept", "text/plain");
        request.header("mcp-session-id", &id).json(&list).send().await.unwrap().status() == 406
    };
    assert!(is_there().await);
    while is_there().await {
        assert!(begin.elapsed().as_secs() < 60, "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_run_that_may_not_be_seen_is_no_task() {
    let harness = start().await;
    for version in &VERSIONS {
        let ada = Agent::with_tasks(&harness, &harness.token("ada", &["sre"]), version).await;
        let bob = Agent::with_tasks(&harness, &harness.token("bob", &["sre"]), version).await;
        let asked = ada.call("restart_thing", "lead-web").await;
        let id = facts(&asked)["run"].as_str().unwrap().to_owned();
        let peer = bob.client.peer();
        let unknown = "01920000-0000-7000-8000-000000000001";
        for task in [id.as_str(), unknown, "x"] {
            for error in [
                refused(peer.get_task(GetTaskParams::new(task)).await),
                refused(peer.cancel_task(CancelTaskParams::new(task)).await),
                refused(peer.update_task(UpdateTaskParams::new(task, BTreeMap::new())).await),
            ] {
                assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{task}");
                assert_eq!(error.data.unwrap()["code"], "run.not_found", "{task}");
            }
        }
        let run = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body;
        assert_eq!(run["state"], "awaiting_approval");
        ada.client.peer().cancel_task(CancelTaskParams::new(id.as_str())).await.unwrap();
        assert_eq!(harness.ended(&id).await["state"], "cancelled");
    }
}
