//! Reasons, broken glass, traces, policies, filters of the evidence, and what nobody is shown.

use crate::support::log::Log;
use crate::support::{Harness, Reply, Setup, start, start_with, until};
use astradesk_core::{Code, Error, Guardrail};
use astradesk_runtime::port::Store as _;
use reqwest::Method;
use serde_json::{Value, json};
use tracing::Level;

const WRITE: &str = "/v1/tools/restart_thing/runs";

fn call(service: &str) -> Value {
    json!({"arguments": {"service": service}})
}

#[tokio::test]
async fn the_glass_is_broken_with_a_reason_by_who_may() {
    let budget: Guardrail =
        serde_json::from_value(json!({"name": "few", "budget": {"runs": 1, "per": "1h"}})).unwrap();
    let harness = start_with(Setup { guardrails: vec![budget], ..Setup::default() }).await;
    let (anna, bea) = (harness.token("anna", &["sre"]), harness.token("bea", &["sre", "breaker"]));
    assert_eq!(harness.post(WRITE, &anna, call("web")).await.status, 202);
    until("the first has its effect", async || harness.pack.effects() == 1).await;
    harness.post(WRITE, &bea, call("api")).await.is_problem(409, "guard.budget_exhausted");

    let breaking = |reason: Option<&str>| json!({"arguments": {"service": "api"}, "break_glass": true, "reason": reason});
    harness.post(WRITE, &bea, breaking(None)).await.is_problem(422, "request.reason_required");
    let denied = harness.post(WRITE, &anna, breaking(Some("outage"))).await;
    denied.is_problem(403, "policy.break_glass_denied");
    assert_eq!(harness.pack.effects(), 1);
    let broken = harness.post(WRITE, &bea, breaking(Some("outage"))).await;
    assert_eq!((broken.status, &broken.body["run"]["break_glass"]), (202, &json!(true)), "{}", broken.text);
    until("the second has its effect", async || harness.pack.effects() == 2).await;
    let records = harness.evidence().await.unwrap();
    assert!(records.iter().any(|record| record["kind"] == "guard.overridden"), "{records:?}");
    let metrics = harness.get("/metrics", "").await.text;
    assert!(metrics.contains("astradesk_refusals_total{code=\"guard.budget_exhausted\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_trace_goes_with_the_run_if_the_header_is_valid() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let harness = start().await;
    let submit = async |header: String| {
        let request = harness.request(Method::POST, WRITE, &harness.admin()).header("traceparent", header);
        Reply::read(request.json(&call("web")).send().await.unwrap()).await
    };
    let traced = submit(format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert_eq!((traced.status, &traced.body["run"]["trace"]), (202, &json!(TRACE)), "{}", traced.text);
    let id = traced.body["run"]["id"].as_str().unwrap();
    harness.ended(id).await;
    let ignored = submit(format!("00-{TRACE}-00f067aa0ba902b7-01-x")).await;
    assert_eq!((ignored.status, ignored.body["run"].get("trace")), (202, None), "{}", ignored.text);
    let records = harness.evidence().await.unwrap();
    let of_run: Vec<_> = records.iter().filter(|record| record["run"] == id).collect();
    assert!(of_run.len() >= 3 && of_run.iter().all(|record| record["trace"] == TRACE), "{of_run:?}");
}

#[tokio::test]
async fn the_evidence_is_searched() {
    let harness = start().await;
    let admin = harness.admin();
    let mut ids = Vec::new();
    for service in ["web", "api"] {
        let reply = harness.post(WRITE, &admin, call(service)).await;
        ids.push(reply.body["run"]["id"].as_str().unwrap().to_owned());
        harness.ended(&ids[ids.len() - 1]).await;
    }
    harness
        .post(WRITE, &harness.token("eve", &[]), call("web"))
        .await
        .is_problem(403, "policy.role_required");
    let search = async |query: &str| -> Vec<Value> {
        let reply = harness.get(&format!("/v1/audit?{query}"), &admin).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        reply.body["records"].as_array().unwrap().iter().map(|one| one["record"].clone()).collect()
    };
    let all = search("").await;
    let of_run = search(&format!("run={}", ids[1])).await;
    assert!(of_run.len() >= 3 && of_run.iter().all(|record| record["run"] == ids[1]), "{of_run:?}");
    let denied = search("kind=run.denied").await;
    assert_eq!(denied.len(), 1);
    let several = search("kind=run.denied,run.finished").await;
    assert_eq!(several.len(), 3);
    let at = denied[0]["at"].as_str().unwrap();
    let place = denied[0]["seq"].as_u64().unwrap();
    assert_eq!(search(&format!("since={at}")).await[0]["seq"], place);
    assert_eq!(search(&format!("until={at}")).await.len() as u64, place - 1);
    assert_eq!(search(&format!("after={}&limit=1", all[0]["seq"])).await, all[1..2]);
    for query in [
        "run=x",
        "kind=run.nonsense",
        "kind=",
        "kind=run.denied,",
        "since=yesterday",
        "until=2026-11-23",
        "kinds=run.denied",
        "run=",
    ] {
        let reply = harness.get(&format!("/v1/audit?{query}"), &admin).await;
        assert_eq!((reply.status, reply.code()), (400, "request.malformed"), "{query}: {}", reply.text);
    }
}

#[tokio::test]
async fn the_checkpoints_that_were_kept_are_listed() {
    let harness = start().await;
    let admin = harness.admin();
    harness.post("/v1/tools/get_status/runs", &admin, call("web")).await;
    let signed = harness.get("/v1/audit/checkpoint", &admin).await.body;
    let (seq, note) = (signed["seq"].as_u64().unwrap(), signed["note"].as_str().unwrap());
    harness.store.keep_checkpoint(seq, harness.engine.now(), note).await.unwrap();
    let list = harness.get("/v1/audit/checkpoints", &admin).await;
    assert_eq!(list.body["checkpoints"][0]["note"], note, "{}", list.text);
    let after = harness.get(&format!("/v1/audit/checkpoints?after={seq}"), &admin).await;
    assert_eq!(after.body, json!({"checkpoints": []}));
    let viewer = harness.token("vera", &["viewer", "sre"]);
    harness.get("/v1/audit/checkpoints", &viewer).await.is_problem(403, "policy.denied");
}

#[tokio::test]
async fn policies_are_shown_tried_and_explained() {
    let harness = start().await;
    let admin = harness.admin();
    let status = harness.get("/v1/policy", &admin).await;
    assert_eq!((status.status, &status.body["policies"]), (200, &json!(3)), "{}", status.text);
    assert_eq!(status.body["warnings"], json!(["`x` can never match"]));

    let case = |roles: Value, decision: &str| {
        json!({
            "name": "a restart", "principal": {"subject": "ada", "roles": roles},
            "call": {"tool": "restart_thing", "arguments": {"service": "web"},
                     "targets": ["kubernetes/test/default/deployment/web"]},
            "expect": {"decision": decision},
        })
    };
    let cases = json!({"cases": [case(json!(["sre"]), "permit"), case(json!([]), "permit")]});
    let tried = harness.post("/v1/policy/test", &admin, cases.clone()).await;
    assert_eq!((tried.status, &tried.body["failed"]), (200, &json!(1)), "{}", tried.text);
    let passed = |i: usize| tried.body["outcomes"][i]["passed"].clone();
    assert_eq!((passed(0), passed(1)), (json!(true), json!(false)));
    let viewer = harness.token("vera", &["viewer", "sre"]);
    harness.post("/v1/policy/test", &viewer, cases).await.is_problem(403, "policy.denied");
    let small = json!({"name": "", "principal": {"subject": ""}, "call": {"tool": "a", "targets": []}});
    let many = json!({"cases": vec![small; 1001]});
    let limits =
        astradesk_gateway::Limits { max_body_bytes: 1 << 20, ..astradesk_gateway::Limits::default() };
    let roomy = start_with(Setup { limits, ..Setup::default() }).await;
    let reply = roomy.post("/v1/policy/test", &roomy.admin(), many.clone()).await;
    reply.is_problem(400, "request.malformed");
    assert!(reply.text.contains("1001 cases"), "{}", reply.text);
    harness.post("/v1/policy/test", &admin, many).await.is_problem(413, "request.too_large");
    let mut unknown = case(json!(["sre"]), "permit");
    unknown["approved"] = json!(true);
    let reply = harness.post("/v1/policy/test", &admin, json!({"cases": [unknown]})).await;
    reply.is_problem(400, "request.malformed");
    for (place, list) in [
        ("/principal", json!(["ada"])),
        ("/call", json!(["restart_thing", {"service": "web"}, ["kubernetes/test/default/deployment/web"]])),
        ("/expect", json!(["permit"])),
        ("", json!(["a restart", {"subject": "ada"}, {"tool": "restart_thing", "targets": []}])),
    ] {
        let mut listed = case(json!(["sre"]), "permit");
        *listed.pointer_mut(place).unwrap() = list;
        let reply = harness.post("/v1/policy/test", &admin, json!({"cases": [listed]})).await;
        reply.is_problem(400, "request.malformed");
        assert!(reply.text.contains("a list where an object must be"), "{place}: {}", reply.text);
    }

    let denied = harness.post(WRITE, &harness.token("eve", &[]), call("web")).await;
    let path = format!("{}/explanation", denied.body["instance"].as_str().unwrap());
    let explained = harness.get(&path, &harness.token("eve", &[])).await;
    assert_eq!(explained.status, 200, "{}", explained.text);
    let step = &explained.body["steps"][0];
    assert_eq!((&step["decision"], &step["error"]["code"]), (&json!("deny"), &json!("policy.role_required")));
    assert_eq!(step["otherwise"], json!(["another role would have permitted it"]));
    harness.get(&path, &harness.token("ben", &["sre"])).await.is_problem(404, "run.not_found");
}

/// The answer of `/readyz` once its policy check is or is not sound: it is kept for a second.
async fn ready(harness: &Harness, sound: bool) -> (Reply, Value) {
    let mut found = None;
    until("the check of the policies", async || {
        let reply = harness.get("/readyz", "").await;
        let checks = reply.body["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "policy").unwrap().clone();
        let will_do = check["ok"] == sound;
        found = Some((reply, check));
        will_do
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn without_policies_the_gateway_is_not_ready_and_with_those_of_before_it_is() {
    let (log, _guard) = Log::start(Level::WARN);
    let harness = start().await;
    assert_eq!(ready(&harness, true).await.0.status, 200);
    let fault = Error::new(Code::PolicySetInvalid, "`team.cedar`, line 3: unexpected `}`");
    *harness.policy.problem.lock().unwrap() = Some((fault.clone(), false));
    let (reply, check) = ready(&harness, false).await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &json!("ready")), "{}", reply.text);
    let expected = "`policy.set_invalid`; the gateway's log says why, and so does `GET /v1/policy`";
    assert_eq!(check["detail"], expected);
    assert!(!reply.text.contains("team.cedar"), "{}", reply.text);
    let told = log.text();
    assert!(told.contains("`team.cedar`, line 3") && told.contains("3 policies"), "{told}");
    let metrics = harness.get("/metrics", "").await.text;
    assert!(metrics.contains("astradesk_check_ok{check=\"policy\"} 0"), "{metrics}");
    assert!(metrics.contains("astradesk_policy_warnings 1\n"), "{metrics}");

    *harness.policy.problem.lock().unwrap() = None;
    ready(&harness, true).await;
    *harness.policy.problem.lock().unwrap() = Some((fault, true));
    let (reply, check) = ready(&harness, false).await;
    reply.is_problem(503, "policy.unavailable");
    assert!(check["detail"].as_str().unwrap().starts_with("`policy.unavailable`; "), "{check}");
    assert!(!reply.text.contains("team.cedar"), "{}", reply.text);
    assert!(log.text().contains("everything is denied"), "{}", log.text());
    let eve = harness.token("eve", &[]);
    harness.get("/v1/policy", &eve).await.is_problem(403, "policy.set_invalid");
    assert_eq!(harness.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn what_a_schema_calls_write_only_is_shown_to_nobody() {
    const OPEN: &str = "/v1/tools/open_thing/runs";
    let harness = start().await;
    let admin = harness.admin();
    let body = |service: &str| json!({"arguments": {"service": service, "password": "hunter2"}});
    let opened = harness.post(OPEN, &admin, body("web")).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    assert_eq!(opened.body["run"]["steps"][0]["call"]["arguments"]["password"], "[redacted]");
    let broken = harness.post(OPEN, &admin, body("broken")).await;
    broken.is_problem(502, "rollout.crash_loop");
    let mut preview = body("web");
    preview["dry_run"] = json!(true);
    let preview = harness.post(OPEN, &admin, preview).await;
    assert_eq!(preview.status, 200, "{}", preview.text);
    let awaiting = harness.post(OPEN, &admin, body("lead-web")).await;
    let id = opened.body["run"]["id"].as_str().unwrap();
    for reply in [
        opened.text.clone(),
        broken.text,
        preview.text,
        awaiting.text.clone(),
        harness.get("/v1/runs", &admin).await.text,
        harness.get(&format!("/v1/runs/{id}"), &admin).await.text,
        harness.get(&format!("/v1/runs/{id}/events"), &admin).await.text,
        harness.get("/v1/approvals", &admin).await.text,
        harness.get("/v1/audit", &admin).await.text,
    ] {
        assert!(!reply.contains("hunter2"), "{reply}");
    }
}
