//! The OpenAPI document against real answers.

use crate::support::{Reply, start};
use astradesk_core::approval::check_reason;
use astradesk_gateway::openapi;
use astradesk_runtime::port::Store as _;
use reqwest::Method;
use serde_json::{Value, json};

/// Checks an answer against the document: its status, its required headers, its body.
pub(crate) fn check(document: &Value, method: &str, route: &str, reply: &Reply) {
    let place = format!("{method} {route} {}", reply.status);
    let operation = &document["paths"][route][method.to_lowercase()];
    let response = &operation["responses"][reply.status.to_string()];
    assert!(response.is_object(), "{place} is not documented: {}", reply.text);
    for (name, header) in response["headers"].as_object().unwrap() {
        if header["required"] == true {
            assert!(!reply.header(name).is_empty(), "{place} has no `{name}`");
        }
    }
    let kind = reply.header("content-type").split(';').next().unwrap();
    let content = &response["content"][kind];
    assert!(content.is_object(), "{place} answers `{kind}`, which is not documented");
    if kind.ends_with("json") {
        let schema =
            json!({"$ref": "#/schema", "schema": content["schema"], "components": document["components"]});
        let validator = jsonschema::draft202012::options().build(&schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&reply.body)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{place}: {faults:#?}\n{}", reply.text);
    }
}

/// Of each character: whether it may stand in a reason, and be one.
#[test]
fn a_reason_is_documented_as_it_is_taken() {
    let schema = &openapi()["components"]["schemas"]["Why"];
    assert_eq!(
        openapi()["components"]["schemas"]["Word"]["properties"]["reason"]["$ref"],
        "#/components/schemas/Why"
    );
    let validator = jsonschema::draft202012::options().build(schema).unwrap();
    // Between these are ideographs and what is not assigned.
    for c in ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e1000}') {
        for reason in [format!("{c}"), format!("x{c}"), format!(" {c}x")] {
            let (taken, documented) = (check_reason(&reason).is_ok(), validator.is_valid(&json!(reason)));
            assert_eq!(taken, documented, "{reason:?}, U+{:04X}", c as u32);
        }
    }
    for (length, valid) in [(0, false), (1, true), (1000, true), (1001, false)] {
        let reason = "ż".repeat(length);
        assert_eq!((check_reason(&reason).is_ok(), validator.is_valid(&json!(reason))), (valid, valid));
    }
}

#[tokio::test]
async fn real_answers_are_as_documented() {
    let harness = start().await;
    let served = harness.get("/openapi.json", "").await;
    let document = openapi();
    assert_eq!(served.body, document);
    assert_eq!(document["openapi"], "3.1.0");

    let call = |service: &str| json!({"arguments": {"service": service}});
    let say = |input: &str| json!({"agent": "ops", "input": input});
    let (get, tool) = ("GET", "/v1/tools/{tool}/runs");
    let slow = harness.post("/v1/tools/restart_thing/runs", &harness.admin(), call("slow")).await;
    check(&document, "POST", tool, &slow);
    let id = slow.body["run"]["id"].as_str().unwrap().to_owned();
    harness.pack.slow_call().await;
    let note = harness.get("/v1/audit/checkpoint", &harness.admin()).await.body;
    let (seq, text) = (note["seq"].as_u64().unwrap(), note["note"].as_str().unwrap());
    harness.store.keep_checkpoint(seq, harness.engine.now(), text).await.unwrap();
    let asked = harness.post("/v1/tools/restart_thing/runs", &harness.admin(), call("quorum-web")).await;
    check(&document, "POST", tool, &asked);
    let waiting = asked.body["run"]["id"].as_str().unwrap().to_owned();
    let digest = &asked.body["run"]["approvals"]["digest"];
    let lea = harness.token("lea", &["lead"]);
    let word = json!({"digest": digest, "reason": "seen"});
    for (verb, token, body) in [
        ("approve", &harness.admin(), word.clone()),
        ("approve", &lea, word.clone()),
        ("approve", &lea, word.clone()),
        ("approve", &lea, json!({"digest": digest, "reason": " "})),
        ("approve", &lea, json!({"digest": digest})),
    ] {
        let reply = harness.post(&format!("/v1/runs/{waiting}/{verb}"), token, body).await;
        check(&document, "POST", &format!("/v1/runs/{{id}}/{verb}"), &reply);
    }
    let person = json!({"subject": "ada", "roles": ["sre"]});
    let case = json!({
        "name": "a", "principal": person, "expect": {"decision": "needs_approval"},
        "call": {"tool": "restart_thing", "arguments": {"service": "lead-web"},
                 "targets": ["kubernetes/test/default/deployment/lead-web"]},
        "context": {"source": "cli", "facts": [{"tier": "critical"}], "approvals": [], "now": "2026-11-23T08:00:00Z"},
    });
    let cases = json!({"cases": [case]});
    for (method, route, path, body) in [
        (get, "/v1/approvals", "/v1/approvals", Value::Null),
        (get, "/v1/approvals/{id}", &format!("/v1/approvals/{waiting}"), Value::Null),
        (get, "/v1/approvals/{id}", &format!("/v1/approvals/{id}"), Value::Null),
        (get, "/v1/runs/{id}", &format!("/v1/runs/{waiting}"), Value::Null),
        (get, "/v1/runs/{id}/explanation", &format!("/v1/runs/{waiting}/explanation"), Value::Null),
        (get, "/v1/policy", "/v1/policy", Value::Null),
        ("POST", "/v1/policy/test", "/v1/policy/test", cases),
        ("POST", "/v1/policy/test", "/v1/policy/test", json!({})),
        (get, "/v1/webhooks/dead", "/v1/webhooks/dead", Value::Null),
        ("POST", "/v1/webhooks/dead/{id}/retry", "/v1/webhooks/dead/x/retry", json!({})),
        (get, "/v1/audit", "/v1/audit?kind=approval.given&limit=1", Value::Null),
        (get, "/v1/audit", "/v1/audit?kind=x", Value::Null),
        (get, "/healthz", "/healthz", Value::Null),
        (get, "/readyz", "/readyz", Value::Null),
        (get, "/metrics", "/metrics", Value::Null),
        (get, "/openapi.json", "/openapi.json", Value::Null),
        (get, "/v1/agents", "/v1/agents", Value::Null),
        (get, "/v1/packs", "/v1/packs", Value::Null),
        (get, "/v1/tools", "/v1/tools", Value::Null),
        (get, "/v1/tools/{tool}", "/v1/tools/get_status", Value::Null),
        (get, "/v1/tools/{tool}", "/v1/tools/nope", Value::Null),
        ("POST", tool, "/v1/tools/get_status/runs", call("web")),
        ("POST", tool, "/v1/tools/get_status/runs", call("broken")),
        ("POST", tool, "/v1/tools/get_status/runs", call("ghost")),
        ("POST", tool, "/v1/tools/get_status/runs", call("defect")),
        ("POST", tool, "/v1/tools/get_status/runs", call("A")),
        ("POST", tool, "/v1/tools/get_status/runs", json!(7)),
        ("POST", tool, "/v1/tools/restart_thing/runs", call("paused")),
        (
            "POST",
            tool,
            "/v1/tools/restart_thing/runs",
            json!({"arguments": {"service": "web"}, "dry_run": true}),
        ),
        ("POST", "/v1/run", "/v1/run", say("status web")),
        ("POST", "/v1/run", "/v1/run", say("restart web")),
        ("POST", "/v1/run", "/v1/run", say("what?")),
        ("POST", "/v1/run", "/v1/run", json!({"agent": "ops", "input": "restart web", "dry_run": true})),
        (get, "/v1/runs", "/v1/runs", Value::Null),
        (get, "/v1/runs", "/v1/runs?limit=0", Value::Null),
        (get, "/v1/runs/{id}", &format!("/v1/runs/{id}"), Value::Null),
        (get, "/v1/runs/{id}", "/v1/runs/x", Value::Null),
        ("POST", "/v1/runs/{id}/cancel", &format!("/v1/runs/{id}/cancel"), Value::Null),
        (get, "/v1/runs/{id}/events", &format!("/v1/runs/{id}/events"), Value::Null),
        ("POST", "/v1/runs/{id}/cancel", &format!("/v1/runs/{id}/cancel"), Value::Null),
        (get, "/v1/audit", "/v1/audit", Value::Null),
        (get, "/v1/audit/checkpoint", "/v1/audit/checkpoint", Value::Null),
        (get, "/v1/audit/checkpoints", "/v1/audit/checkpoints?after=0&limit=2", Value::Null),
        ("POST", "/v1/runs/{id}/revoke", &format!("/v1/runs/{waiting}/revoke"), json!({})),
        ("POST", "/v1/runs/{id}/reject", &format!("/v1/runs/{waiting}/reject"), word),
    ] {
        let request = harness.request(method.parse::<Method>().unwrap(), path, &harness.admin());
        let request = if body.is_null() { request } else { request.json(&body) };
        let reply = Reply::read(request.send().await.unwrap()).await;
        check(&document, method, route, &reply);
        if route.starts_with("/v1/") {
            let without = harness.client.request(method.parse().unwrap(), harness.url(path));
            check(&document, method, route, &Reply::read(without.send().await.unwrap()).await);
        }
    }
}
