//! The golden list of the protocol's methods, each with the authorization that it passes.

use super::sessions::{open, post};
use super::{Operations, VERSIONS};
use crate::support::{Harness, Reply, start};
use serde_json::{Value, json};

/// What stands behind the token that every message needs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Passes {
    /// Nothing: it shows no target and no principal.
    Handshake,
    /// The Engine shows only what its principal may see.
    Filtered,
    /// The Engine's one door.
    Door,
    /// The policy on other people's runs; what may not be seen is not found.
    Run,
    /// What the resource's kind asks for: a run as `Run`, evidence by its policy, a service through the door.
    Resource,
    /// It is there for who may use every tool that it speaks of.
    Procedure,
    /// The Engine says what there is for its principal; the stream says only that it has changed.
    Listen,
    /// There is no such method here.
    Absent,
}

/// Every method that a client can call, by the protocol's versions and extensions.
const METHODS: [(&str, Passes); 24] = [
    ("completion/complete", Passes::Procedure),
    ("initialize", Passes::Handshake),
    ("logging/setLevel", Passes::Absent),
    ("ping", Passes::Handshake),
    ("prompts/get", Passes::Procedure),
    ("prompts/list", Passes::Filtered),
    ("resources/directory/read", Passes::Absent),
    ("resources/list", Passes::Filtered),
    ("resources/read", Passes::Resource),
    ("resources/subscribe", Passes::Absent),
    ("resources/templates/list", Passes::Filtered),
    ("resources/unsubscribe", Passes::Absent),
    ("server/discover", Passes::Handshake),
    ("skills/get", Passes::Absent),
    ("skills/list", Passes::Absent),
    ("subscriptions/listen", Passes::Listen),
    ("tasks/cancel", Passes::Run),
    ("tasks/get", Passes::Run),
    ("tasks/list", Passes::Absent),
    ("tasks/result", Passes::Absent),
    ("tasks/update", Passes::Run),
    ("tools/call", Passes::Door),
    ("tools/list", Passes::Filtered),
    ("nobody/knows", Passes::Absent),
];

/// Parameters that the method can be called with, on a run of somebody else.
fn parameters(method: &str, run: &str) -> Value {
    let uri = format!("astradesk://runs/{run}");
    match method {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})
        }
        "completion/complete" => json!({
            "ref": {"type": "ref/prompt", "name": "restart_service_safely"},
            "argument": {"name": "service", "value": ""},
        }),
        "prompts/get" => json!({"name": "restart_service_safely", "arguments": {"service": "web"}}),
        "resources/read"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "skills/get"
        | "resources/directory/read" => json!({"uri": uri}),
        "logging/setLevel" => json!({"level": "debug"}),
        "subscriptions/listen" => json!({"notifications": {"toolsListChanged": true}}),
        "tasks/cancel" | "tasks/get" | "tasks/result" => json!({"taskId": run}),
        "tasks/update" => json!({"taskId": run, "inputResponses": {}}),
        "tools/call" => json!({"name": "restart_thing", "arguments": {"service": "web"}}),
        _ => json!({}),
    }
}

/// Sends a message without a session, as protocol 2026-07-28 says.
async fn send(harness: &Harness, token: Option<&str>, method: &str, run: &str) -> Reply {
    let mut params = parameters(method, run);
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = match token {
        Some(token) => post(harness, token, &body),
        None => harness.client.post(harness.url("/mcp")).json(&body),
    };
    let name = ["name", "uri", "taskId"].iter().find_map(|member| params[member].as_str());
    let request = name.into_iter().fold(request, |request, name| request.header("mcp-name", name));
    let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    Reply::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_method_passes_what_the_list_says() {
    let harness = start().await;
    let _pack = Operations::register(&harness);
    let (nobody, owner) = (harness.token("nobody", &[]), harness.token("owner", &["sre"]));
    let asked = json!({"arguments": {"service": "lead-web"}});
    let run = harness.post("/v1/tools/restart_thing/runs", &owner, asked).await;
    let run = run.body["run"]["id"].as_str().unwrap().to_owned();
    for (method, passes) in METHODS {
        send(&harness, None, method, &run).await.is_problem(401, "auth.token_missing");
        if matches!(method, "initialize" | "ping") || passes == Passes::Listen {
            // These belong to sessions, see below; and the answer to who listens comes when the stream ends: `changes`.
            continue;
        }
        let reply = send(&harness, Some(&nobody), method, &run).await;
        let (result, error) = (&reply.body["result"], &reply.body["error"]);
        let place = format!("{method}: {}", reply.text);
        match passes {
            Passes::Handshake => assert!(result["capabilities"]["tools"].is_object(), "{place}"),
            Passes::Filtered => {
                let lists: Vec<&Value> =
                    result.as_object().unwrap().values().filter(|one| one.is_array()).collect();
                assert_eq!(lists.len(), 1, "{place}");
                for shown in lists[0].as_array().unwrap() {
                    let general = ["explain_run", "run"].map(|name| json!(name));
                    assert!(general.contains(&shown["name"]), "{place}");
                }
            }
            Passes::Door => assert_eq!(
                (&result["isError"], &result["structuredContent"]["error"]["code"]),
                (&json!(true), &json!("policy.role_required")),
                "{place}"
            ),
            Passes::Run | Passes::Resource => assert_eq!(error["data"]["code"], "run.not_found", "{place}"),
            Passes::Procedure => assert_eq!(error["code"], -32602, "{place}"),
            Passes::Listen | Passes::Absent => {
                assert_eq!((error["code"].as_i64(), reply.status), (Some(-32601), 404), "{place}");
            }
        }
    }
    assert_eq!(harness.pack.effects(), 0);
    let run = harness.get(&format!("/v1/runs/{run}"), &owner).await.body;
    assert_eq!(run["state"], "awaiting_approval", "nobody could touch it");
}

/// What only sessions have, and that a session has nothing more than the list says.
#[tokio::test]
async fn a_session_has_the_same_methods() {
    let harness = start().await;
    let token = harness.token("nobody", &[]);
    let id = open(&harness, &token).await;
    for (method, passes) in METHODS {
        if matches!(method, "initialize" | "server/discover") {
            continue;
        }
        let params = parameters(method, "01920000-0000-7000-8000-000000000001");
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let request = post(&harness, &token, &body).header("mcp-session-id", &id);
        let reply =
            Reply::read(request.header("mcp-protocol-version", VERSIONS[1].as_str()).send().await.unwrap())
                .await;
        let absent = reply.text.contains("-32601");
        // A session is told without asking.
        assert_eq!(absent, matches!(passes, Passes::Absent | Passes::Listen), "{method}: {}", reply.text);
    }
}
